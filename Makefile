# Thin: every target is a command that also works without make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
GLIDE  := $(BIN)/glidepath
PYTEST := $(BIN)/pytest
UNIT   := -n auto --dist loadfile -m "not system and not vllm and not slow and not long"

.PHONY: demo up setup setup-dev compile test test-long check style bench bench-gates load lock clean

## the main job
demo: setup            ## live traffic while evidence ramps a share from 1 % to 100 %, and rolls three others back
	$(GLIDE) demo

up: setup              ## the same system, left running
	$(GLIDE) up

## environments
setup: $(VENV)/.runtime            ## .venv with the glidepath command (no vLLM)
setup-dev: $(VENV)/.dev            ## the same with test tools

$(VENV)/.runtime: requirements.lock pyproject.toml
	$(PYTHON) deploy/make_environment.py $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PYTHON) deploy/make_environment.py $(VENV) requirements-dev.lock
	@touch $@

## the request path as C extensions, in a folder of its own (optional; needs a C compiler)
COMPILED := build/compiled
compile: $(COMPILED)/gateway    ## then: PYTHONPATH=$$PWD/build/compiled glidepath gateway ...

$(COMPILED)/gateway: pyproject.toml deploy/compile.py $(shell find gateway rollout serving loadtests -name '*.py') | setup-dev
	$(BIN)/python deploy/compile.py $(COMPILED)
	@touch $@

## tests
test: style            ## the whole suite, real vLLM included
	$(PYTEST) $(UNIT)
	$(GLIDE) serving install
	$(PYTEST) -n 4 --dist loadfile -m "(system or slow) and not vllm and not long"
	$(PYTEST) -m vllm tests/serving tests/system

test-long: setup-dev   ## what takes minutes each: fuzzing for longer, a short soak, the tests on the compiled form
	$(PYTEST) -m long

check: style           ## style, types, import direction, unit tests on fewer examples: under a minute
	$(PYTEST) $(UNIT) --hypothesis-profile=quick

style: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## speed and load
bench: setup compile   ## the data plane's goals beside nginx, vllm-router, sglang-router, LiteLLM: 15 min, quiet machine
	PYTHONPATH=$(CURDIR)/$(COMPILED) $(GLIDE) bench --output docs/benchmarks

RUNS ?= 1000
USERS_RUNS ?= 200
bench-gates: setup     ## the error rates of ramps by evidence, beside other gates: an hour or two on 4 cores; RUNS=50: minutes
	$(BIN)/python -m rollout.gates_bench.cli --users --runs $(USERS_RUNS) --keep build/gates-bench --output docs/statistics
	$(BIN)/python -m rollout.gates_bench.cli --runs $(RUNS) --rivals --keep build/gates-bench --output docs/statistics

load: setup-dev        ## the smoke scenario against a running `make up`
	$(GLIDE) load loadtests/scenarios/smoke.toml

lock:                  ## refresh both lock files
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --build-deps-for editable -o requirements.lock pyproject.toml
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --build-deps-for editable --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
