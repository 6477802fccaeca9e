# Every target makes .venv and installs what it needs; PYTHON picks the interpreter.
PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-quick test-end-to-end test-slow test-tables parity lint bench bench-quick bench-peers clean

demo: $(VENV)/installed
	$(BIN)/python -m jaxrep.demo

# What guards the behaviour, but for what `test-end-to-end` and `test-slow` run: a quarter of an
# hour on two cores with nothing compiled. The aim is 6 minutes.
test: $(VENV)/installed-test
	$(BIN)/jaxrep parity --quick
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The modules marked `quick`, some of each room: about a minute on two cores.
test-quick: $(VENV)/installed-test
	$(BIN)/python -m pytest -m 'quick and not slow and not end_to_end' \
		--numprocesses 2 --dist loadfile tests

# Whole ways: commands and jobs in processes of their own, the README and docs/extending.md as they
# stand, every format of export, damaged files by the dozen.
test-end-to-end: $(VENV)/installed-test
	$(BIN)/python -m pytest -m 'end_to_end and not slow' --numprocesses 2 --dist loadfile tests

# What takes minutes by nature, each guarded by a smaller test in `make test`.
test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow

# Real tables, which packages ship: the kinds of their columns, and commands without flags.
TABLE_TESTS := tests/data/test_real_tables.py tests/commands/test_commands_on_real_tables.py
test-tables: $(VENV)/installed-test $(VENV)/installed-tables
	$(BIN)/python -m pytest -m slow --numprocesses 2 $(TABLE_TESTS)

parity: $(VENV)/installed-test
	$(BIN)/jaxrep parity

lint: $(VENV)/installed-test $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-test
	$(BIN)/python -m bench

# The libraries that some entries are measured beside, in an environment of their own.
bench-peers: .venv-peers/installed
.venv-peers/installed: bench/requirements-peers.txt
	python3 -m venv .venv-peers
	.venv-peers/bin/pip install --quiet -r bench/requirements-peers.txt
	touch $@

bench-quick: $(VENV)/installed-test
	$(BIN)/python -m bench --quick

clean:
	rm -rf $(VENV) demo_runs .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/installed-%: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[$*]'
	touch $@
