# make run    train the default job under supervision (the first command to try)
# make demo   the same job with faults, so that each recovery is seen to happen
# make test   the tests, in a few minutes
# make check  ruff and mypy
# make torture   the long tests
#
# Each works as the first command: it makes .venv and installs into it; a later one installs nothing again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOB ?= configs/jobs/energy_flow.yaml
# A fresh run directory each time.
STAMP := $(shell date +%Y%m%d-%H%M%S)
RUN_DIR ?= runs/energy_flow-$(STAMP)

.PHONY: run demo test check torture clean help

help:
	@sed -n '1,7s/^# \{0,1\}//p' Makefile

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt setuptools torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: $(READY)
	$(BIN)/supervisor run $(JOB) --run-dir $(RUN_DIR)

demo: $(READY)
	$(BIN)/supervisor run configs/jobs/demo.yaml --run-dir runs/demo-$(STAMP)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

torture: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
