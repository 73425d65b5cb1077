"""SLURM's script runs a sweep, on one machine that plays an allocation of one node."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
# `srun` as far as the script uses it: the options, then the command, on this machine.
SRUN = '#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n'
SMALL = (
    "data.id.limit=100",
    "data.ood=[]",
    "data.probes=[{source: glyphs, limit: 60, score: zero_shot}]",
    "training.epochs=1",
    "search.trials=2",
    "baselines=[]",
    "budget={active_blocks: 32}",
    "resources.pack=1",
)


def test_a_sweep_runs_to_its_end_and_leaves_no_ray(tmp_path: Path) -> None:
    address = subprocess.run(
        [sys.executable, "-c", "import ray.util; print(ray.util.get_node_ip_address())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    for name, text in {"srun": SRUN, "scontrol": f"#!/bin/sh\necho {address}\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SWEEPER_VENV": sys.prefix,
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": address,
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "2",
    }
    space = REPOSITORY / "spaces" / "clip_lambda.yaml"
    options = [word for change in SMALL for word in ("--set", change)]
    with (tmp_path / "said").open("w") as said:
        ended = subprocess.run(
            ["bash", REPOSITORY / "deploy" / "slurm.sh", "run", space, *options],
            cwd=tmp_path,
            env=environment,
            stdout=said,
            stderr=said,
        )
    assert ended.returncode == 0, (tmp_path / "said").read_text()[-3000:]
    assert (tmp_path / "sweeps" / "clip_lambda" / "report" / "index.html").stat().st_size > 0
    port = f"--port={20000 + os.getpid() % 20000}"
    commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.parent.is_dir()]
    assert not [command for command in commands if port.encode() in command and b"start" in command]
