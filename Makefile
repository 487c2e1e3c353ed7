# Needs Python 3.11 or newer and make; everything else goes into .venv.
#   make demo PYTHON=python3.12                    another interpreter
#   make demo PIP_FLAGS="--index-url <address>"    another package index, for example torch's for CPU builds

PYTHON ?= python3
PIP_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all faults lint clean

help:
	@echo "make demo       install into .venv and train the default model on real data"
	@echo "make test       install into .venv and run the tests"
	@echo "make test-all   the tests that need servers or browsers as well"
	@echo "make faults     kills, corruptions, bad inputs, hostile files, failing disks: all of them, for an hour"
	@echo "make lint       ruff and mypy"
	@echo "make clean      remove .venv and caches"

demo: .venv/.installed
	.venv/bin/trainkit fit

test: .venv/.installed-test
	.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile

test-all: .venv/.installed-test
	.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile -m ""

faults: .venv/.installed-test
	.venv/bin/python -m pytest -n logical --maxprocesses 4 --timeout 3600 -m faults tests/faults

lint: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

.venv/.installed: pyproject.toml | .venv/bin/pip
	.venv/bin/python -m pip install $(PIP_FLAGS) -e .
	@touch $@

.venv/.installed-test: pyproject.toml | .venv/bin/pip
	.venv/bin/python -m pip install $(PIP_FLAGS) -e ".[all,test]"
	@touch .venv/.installed $@

.venv/.installed-dev: pyproject.toml | .venv/bin/pip
	.venv/bin/python -m pip install $(PIP_FLAGS) -e ".[dev]"
	@touch .venv/.installed .venv/.installed-test $@

.venv/bin/pip:
	@command -v $(PYTHON) > /dev/null || { \
		echo "error: '$(PYTHON)' was not found; name an interpreter: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
		echo "error: trainkit needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
			"name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { \
		rm -rf .venv; \
		echo "error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu the package python3-venv provides it"; exit 1; }
