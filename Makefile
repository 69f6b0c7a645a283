# make run    train the default job under supervision (the first command to try)
# make demo   the same job with faults, so that each recovery is seen to happen
# make test   the tests, in a few minutes
# make check  ruff and mypy
# make torture   the long tests
# make docs     docs/reference/ anew, and all of docs/ as a site in build/site
# make examples  what the pages say that commands print, anew (minutes)
#
# Each works as the first command: it makes .venv and installs into it; a later one installs nothing again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOB ?= configs/jobs/energy_flow.yaml
# A fresh run directory each time.
STAMP := $(shell date +%Y%m%d-%H%M%S)
RUN_DIR ?= runs/energy_flow-$(STAMP)

.PHONY: ready run demo test check torture docs examples clean help

help:
	@sed -n '1,9s/^# \{0,1\}//p' Makefile

ready:
	@$(PYTHON) scripts/make_venv.py $(VENV)

run: ready
	$(BIN)/supervisor run $(JOB) --run-dir $(RUN_DIR)

demo: ready
	$(BIN)/supervisor run configs/jobs/demo.yaml --run-dir runs/demo-$(STAMP)

test: ready
	$(BIN)/python -m pytest -n 3 --dist worksteal

# The long tests, and examples of hypothesis that are not the same ones every time.
torture: ready
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow or hypothesis' --hypothesis-profile searching

check: ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: ready
	$(BIN)/python scripts/make_reference.py
	rm -rf build/site
	$(BIN)/sphinx-build --builder html --fail-on-warning --keep-going --quiet docs build/site
	@echo "open build/site/index.html"

examples: ready
	$(BIN)/python scripts/run_examples.py --slow --update

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
