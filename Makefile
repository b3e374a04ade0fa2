# Everything starts from here; `make help` lists it. The first call makes .venv (see scripts/bootstrap).

DATASET ?= dev
AGENT ?= atlas
PORT ?= 3000
POINTS ?= 200
PYTEST_ARGS ?= -n auto --dist loadfile --no-loadscope-reorder

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help env baseline test test-all ui lint bench soak doctor clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: ## Make or renew .venv from requirements.lock
	@scripts/bootstrap

# Without cost, even where an API key is set: ATLAS_OFFLINE_MODE=0 asks the configuration's models.
ATLAS_OFFLINE_MODE ?= 1
baseline: env ## Run the dataset DATASET (dev) with AGENT (atlas) through the whole lineage
	@ATLAS_OFFLINE_MODE=$(ATLAS_OFFLINE_MODE) $(BIN)/crm-assets baseline --dataset $(DATASET) --agent $(AGENT)

# With bytecode, even where the environment wants none: the tests start many processes.
test: env ## Run the tests that need no browser, Atlas SDK or Dagster processes
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not whole" $(PYTEST_ARGS)

test-all: env ## Run the whole test suite, as CI does
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PYTEST_ARGS)

ui: env ## Run Dagster's webserver and daemon on 127.0.0.1:PORT (3000)
	@$(BIN)/crm-assets ui --port $(PORT)

lint: env ## Check style, formatting, types and imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: env ## Measure the harness and print the figures
	@$(BIN)/python -m benchmarks

soak: env ## Stop small runs at POINTS (200) writes and go on; writes docs/reliability.md
	@$(BIN)/python -m tests.soak --points $(POINTS)

doctor: env ## Check every prerequisite
	@$(BIN)/crm-assets doctor

clean: ## Stop the embedded server and remove what can be made again; baselines stay
	@if [ -x $(BIN)/crm-assets ]; then $(BIN)/crm-assets db stop; fi
	rm -rf .venv .crm_assets .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
