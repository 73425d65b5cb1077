# Everything a newcomer needs: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check setup lock weights

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

# Trains the models that ship, again, from their seeds.
weights: setup
	$(BIN)/python -m trainables.backbones.tiny_clip.train
	$(BIN)/python -m trainables.backbones.tiny_dino.train
