#!/bin/bash
# A sweep under SLURM: Ray on all nodes of one allocation, and the driver on the first.
#
#     sbatch --nodes=4 deploy/slurm.sh run spaces/clip_lambda.yaml
#     sbatch --nodes=4 deploy/slurm.sh resume clip_lambda      # a job that ran out of time goes on
#
# Starts in the folder where `sbatch` was called, on a file system of all nodes: it keeps `sweeps/`. The package must be
# installed there in .venv, or SWEEPER_VENV says where. MLFLOW_TRACKING_URI, SWEEPER_STORAGE and SWEEPER_RESULTS are
# handed on if they are set. With GPUs: --gpus-per-node=8, and `resources.gpus_per_trial` in the space.
#
# SLURM sends SIGTERM to the driver five minutes before the time is over: it ends cleanly, and can be resumed.

#SBATCH --job-name=sweep
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300

set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: sbatch --nodes=N $0 run SPACE.yaml | resume NAME" >&2
    exit 2
fi

# shellcheck source=/dev/null
source "${SWEEPER_VENV:-.venv}/bin/activate"

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines=1)
port=$((20000 + SLURM_JOB_ID % 20000))
address="$first:$port"
common=(--block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK")

# Whoever else is on these nodes cannot join without the token, which SLURM hands to the tasks with the environment.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN OMP_NUM_THREADS=1
RAY_AUTH_TOKEN=$(od --address-radix=n --read-bytes=32 --format=x8 /dev/urandom | tr --delete ' \n')

# Ray ends with this script.
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT

srun --nodes=1 --ntasks=1 --overlap --nodelist="$first" \
    ray start --head --port="$port" "${common[@]}" &
head=$!
until ray status --address="$address" >/dev/null 2>&1; do
    kill -0 "$head" || { echo "Ray's head on $first has ended" >&2; exit 1; }
    sleep 2
done

if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$first" --overlap \
        ray start --address="$address" "${common[@]}" &
fi

# In the background, so that this shell can hand the signal on at once.
python -m sweeper "$@" --address "$address" &
driver=$!
trap 'kill -TERM "$driver"' TERM
# A signal ends the first wait: the driver is then still ending its sweep.
wait "$driver" || true
wait "$driver"
