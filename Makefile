# A fresh machine needs Python 3.11 or newer and make; everything else is installed from here.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
PROJECT_FILES := pyproject.toml $(wildcard app/__init__.py)

.DEFAULT_GOAL := all
.PHONY: all help demo viewer install test check format fuzz bench soak docs lock migrate up

all: check test  ## check and test: what CI runs (`make` alone)

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z]+:.*  ## / {printf "make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: install  ## import the sample corpus and serve it
	@$(BIN)/dermzoo migrate >/dev/null
	@$(BIN)/dermzoo import isic --images corpus/isic-sample/images --metadata corpus/isic-sample/metadata.csv
	@$(BIN)/dermzoo serve

install: $(INSTALLED)  ## .venv/bin/dermzoo with what it needs to run, nothing else

viewer: install  ## the OHIF viewer on what `make demo` serves (ARGS=URL for another DICOMweb root)
	@tools/install-viewer
	@$(BIN)/python -m tools.ohif $(ARGS)

test: $(TESTABLE)  ## the whole suite; installs what it needs, PostgreSQL and Chromium too
	@tools/install-test-peers
	@$(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile --reruns 1 $(ARGS)

check: $(TESTABLE)  ## format, lint, types, import layers
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(TESTABLE)  ## put the code into its format
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format

fuzz: $(TESTABLE)  ## bytes that nobody meant, for every reader of bytes (SECONDS=20 for each), and the API's own document
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install 'atheris>=3.0' 2>/dev/null || echo "atheris cannot be had here: inputs are changed at random"
	@$(BIN)/python -m fuzz --seconds $(or $(SECONDS),20) $(ARGS)
	@API_EXAMPLES=$(or $(EXAMPLES),200) $(BIN)/python -m pytest -q tests/web/test_api_document.py

bench: $(TESTABLE)  ## our own benchmarks: ratios against peers, in one run
	@tools/install-bench-peers
	@$(BIN)/python -m bench $(ARGS)

soak: $(TESTABLE)  ## kill -9 a thousand times; a thousand slow clients; ten minutes of 200 greedy ones
	@SOAK_SOCKETS=$(or $(SOCKETS),1000) $(BIN)/python -m pytest tests/web/test_slow_clients.py
	@SOAK_EGRESS_S=$(or $(EGRESS_S),600) SOAK_EGRESS_CLIENTS=200 $(BIN)/python -m pytest -s --timeout 3600 tests/throttle/test_promises.py
	@SOAK_KILLS=$(or $(KILLS),1000) $(BIN)/python -m pytest tests/durability $(ARGS)

docs: $(TESTABLE)  ## the generated parts of docs/ anew
	@$(BIN)/python -m tools.docs

lock: $(TESTABLE)  ## requirements/*.txt anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@tools/lock $(ARGS)

migrate: $(INSTALLED)  ## bring the catalogue to the current schema
	@$(BIN)/dermzoo migrate

up:  ## serve from a container, with compose
	docker compose up --build

$(BIN)/python:
	@tools/make-venv $(PYTHON) $(VENV)

$(INSTALLED): requirements/run.txt $(PROJECT_FILES) | $(BIN)/python
	@echo "installing what dermzoo runs on"
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(TESTABLE): requirements/test.txt | $(INSTALLED)
	@echo "installing what the tests need"
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@
