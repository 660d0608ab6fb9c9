# What people run. Needs Python 3.11 or later, make, and a package index.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests at once, on servers of their own: two that play whole systems, the others beside them (tests/conftest.py).
# JOBS=0: one after the other, as a debugger needs it.
JOBS ?= 3
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

.DEFAULT_GOAL := help
.PHONY: help install demo test faults mutations lint types docs fuzz bench lock clean

help:
	@echo "make install          .venv with pressrun in it"
	@echo "make demo             see it work (ARGS=\"--exit --subscribers 1000\" are passed on)"
	@echo "make test             all tests (ARGS=\"-k name\" are passed on to pytest)"
	@echo "make faults           the long fault suite (ARGS=\"--runs 100 --seed N --scenario kills\"; docs/faults.md)"
	@echo "make mutations        breaks each promise on purpose; its test must notice (docs/promises.md)"
	@echo "make lint types docs  ruff; mypy; the pages and files that are made from the code"
	@echo "make fuzz             hostile bytes for every parser and for the API (ARGS=\"--help\")"
	@echo "make bench            measure this machine, in eight minutes (ARGS=\"--help\" lists the parts)"
	@echo "make lock             choose the newest versions again (needs uv)"

install: $(VENV)/installed

demo: $(VENV)/installed
	@$(BIN)/pressrun demo $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(ARGS)

faults: $(VENV)/installed-dev
	$(BIN)/python -m tests.faults.suite $(ARGS)

mutations: $(VENV)/installed-dev
	$(BIN)/python -m tests.faults.mutations $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

docs: $(VENV)/installed
	$(BIN)/python -m worker.cli.configdoc

fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.security.fuzz $(ARGS)

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks $(ARGS)

lock:
	uv pip compile pyproject.toml $(LOCK) --upgrade --output-file requirements.lock
	uv pip compile pyproject.toml --group dev -c requirements.lock $(LOCK) --upgrade --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

# The stamps make a second `make demo` start at once; a changed lock or project file installs again.
$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@touch $@

# The newest Python on the PATH that is new enough; PYTHON=… chooses another.
$(VENV)/bin/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    if command -v $$python >/dev/null 2>&1 && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; \
	        $$python -m venv $(VENV) || { rm -rf $(VENV); echo "pressrun: this Python makes no virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }; \
	        exit 0; \
	    fi; \
	done; \
	echo "pressrun: no Python 3.11 or later on the PATH (found: $$(python3 --version 2>&1 || echo none)); install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	exit 1
