# The one door: `make help` lists what is behind it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STEP := scripts/step
CONFIG ?= config/mediaserver.yaml
PYTEST_ARGS ?=
# Tests that were asked for may all be in one of two runs: the other one finds none (pytest's status 5).
SOME := $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])

RUST_SOURCES := $(shell find rust -name target -prune -o -type f \( -name '*.rs' -o -name Cargo.toml -o -name Cargo.lock \) -print)
CARGO := cargo
CARGO_FLAGS := --locked --manifest-path rust/Cargo.toml
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all:
PYTHON_SOURCES := mediaserver tests $(wildcard benchmarks) $(wildcard scripts/*.py)

.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev peers test lint typecheck test-rust test-python e2e bench bench-sfu bench-edge bench-sip bench-bwe bench-line fuzz schema lock dist clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

run: setup ## set everything up and start the daemon (CONFIG=file; state in ./.state)
	@exec $(BIN)/mediaserver run --config $(CONFIG)

setup: $(VENV)/.engine ## environment and release build of the extension

setup-dev: $(VENV)/.dev setup ## the same with what tests and lints need

$(VENV)/.python:
	@scripts/check-tools python
	@$(STEP) "environment in $(VENV)" $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: requirements/runtime.lock requirements/build.lock | $(VENV)/.python
	@$(STEP) "packages the daemon needs" $(PIP_INSTALL) -r requirements/runtime.lock -r requirements/build.lock
	@touch $@

$(VENV)/.dev: requirements/dev.lock | $(VENV)/.runtime
	@$(STEP) "packages tests and lints need" $(PIP_INSTALL) -r requirements/dev.lock
	@touch $@

$(VENV)/.engine: $(VENV)/.runtime pyproject.toml $(RUST_SOURCES)
	@scripts/check-tools rust
	@$(STEP) "packet engine, release build" env PIP_QUIET=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) PATH=$(CURDIR)/$(BIN):$$PATH \
		$(BIN)/maturin develop --release --locked --quiet
	@touch $@

peers: ## browsers and phones for the tests, from Debian's packages where they are missing
	@scripts/install-peers.sh

test: setup-dev peers lint typecheck test-rust test-python ## everything but the long end-to-end tests

lint: $(VENV)/.dev ## formatting, ruff, clippy, import layers
	@$(STEP) "ruff format" $(BIN)/ruff format --check --quiet $(PYTHON_SOURCES)
	@$(STEP) "ruff" $(BIN)/ruff check --quiet $(PYTHON_SOURCES)
	@$(STEP) "import layers" $(BIN)/lint-imports --no-cache
	@$(STEP) "rustfmt" $(CARGO) fmt --manifest-path rust/Cargo.toml --all --check
	@$(STEP) "clippy" $(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets --quiet -- -D warnings

typecheck: setup-dev ## mypy --strict, and the stub of the extension against the extension
	@$(STEP) "mypy" $(BIN)/mypy
	@$(STEP) "stubtest" $(BIN)/stubtest mediaserver._engine

test-rust: ## cargo test
	@$(STEP) "cargo test" $(CARGO) test $(CARGO_FLAGS) --workspace --quiet

test-python: setup-dev ## pytest without the end-to-end tests (PYTEST_ARGS=...)
	@$(STEP) "pytest" $(BIN)/python -m pytest -m "not e2e and not smoke" -n auto --dist loadfile $(PYTEST_ARGS) $(SOME)
	@$(STEP) "pytest with real peers" $(BIN)/python -m pytest -m "smoke and not e2e" $(PYTEST_ARGS) $(SOME)

e2e: setup-dev peers ## end-to-end tests: browsers, phones, namespaces, long runs
	@$(STEP) "pytest e2e" $(BIN)/python -m pytest -m e2e $(PYTEST_ARGS)

bench: setup-dev peers ## figures: `name: value unit` lines, and benchmarks/results/*.json
	@$(BIN)/python -m benchmarks

bench-sfu: setup-dev peers ## forwarding beside janus and livekit-server, where they are on the PATH
	@$(BIN)/python -m benchmarks sfu

bench-edge: setup-dev peers ## TURN beside coturn, an Edge's paths beside the limit, calls through an Edge and without
	@$(BIN)/python -m benchmarks edge

# A peer to compare with, in an environment of its own: it comes as source and compiles parts of itself.
$(VENV)/.sippy: requirements/sippy.lock | $(VENV)/.dev
	@$(STEP) "sippy, to compare with" bash -c '$(PYTHON) -m venv --clear $(VENV)/sippy && \
		$(VENV)/sippy/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<'
	@touch $@

bench-sip: setup-dev peers $(VENV)/.sippy ## SIP calls, registrations and relayed packets, beside sippy and rtpengine (where it is on the PATH)
	@$(BIN)/python -m benchmarks sip-all

bench-bwe: setup-dev ## bandwidth estimation on a virtual wire: the cases of RFC 8867, as a table and as figures
	@$(BIN)/python -m benchmarks bwe

bench-line: setup-dev peers ## a line that becomes slow and recovers under a viewer, in Chromium and Firefox
	@$(BIN)/python -m benchmarks line

fuzz: ## every fuzz target, FUZZ_SECONDS (60) each
	@scripts/fuzz.sh

schema: $(VENV)/.runtime ## write config/mediaserver.yaml and config/schema.json from the models
	@$(BIN)/python -m mediaserver.config.document config

lock: $(VENV)/.dev ## write the lock files again from requirements/*.in
	@for name in runtime build dev sippy; do \
		$(STEP) "lock $$name" $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-header --no-annotate requirements/$$name.in --output-file requirements/$$name.lock; \
	done

dist: setup ## an abi3 wheel in dist/ that installs without a compiler
	@rm -rf dist
	@$(STEP) "wheel" env PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/maturin build --release --locked --quiet --out dist \
		--interpreter $(BIN)/python
	@ls -l dist

clean: ## remove what the targets above have made, except the state folder
	rm -rf $(VENV) dist build rust/target mediaserver/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
