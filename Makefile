# Everything a newcomer needs: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check setup lock bounds weights containers

run: setup
	$(BIN)/python -m sweeper run spaces/clip_lambda.yaml

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	$(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@

# The exact versions that are installed, from the bounds in pyproject.toml.
lock:
	$(BIN)/uv pip compile --quiet --upgrade --extra dev --generate-hashes --no-emit-index-url --no-emit-find-links \
		--output-file requirements.lock pyproject.toml

# A small sweep with the oldest versions that pyproject.toml allows, in a folder of its own; with
# `make bounds PYTHON=3.13 RESOLUTION=highest` with the newest, by another Python.
RESOLUTION ?= lowest-direct
bounds: setup
	rm -rf .bounds && mkdir .bounds
	$(BIN)/uv venv --quiet --python $(PYTHON) .bounds/venv
	$(BIN)/uv pip install --quiet --python .bounds/venv/bin/python --resolution $(RESOLUTION) --editable .
	cd .bounds && MLFLOW_TRACKING_URI=sqlite:///mlflow.db venv/bin/python -m sweeper run ../spaces/clip_lambda.yaml \
		--set training.epochs=1 --set search.trials=2 --set baselines=[] --set 'budget={active_blocks: 32}'

# Trains the models that ship, again, from their seeds.
weights: setup
	$(BIN)/python -m tools.tiny_clip.train
	$(BIN)/python -m tools.tiny_dino.train

# docker-compose.yml in Docker's engine, as people use it; docs/containers.md has what it printed last.
containers: setup
	$(BIN)/python tests/cluster/containers
