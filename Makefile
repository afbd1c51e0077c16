# Tasks for people who change raftsched. CI calls the same targets.
PYTHON ?= .venv/bin/python
BIN = $(dir $(PYTHON))
SEEDS ?= 20

.DEFAULT_GOAL := help
.PHONY: help setup check fix format lint types layers unit sim chaos test integration attack proto contracts proto-check proto-lint packages lock ui ui-check e2e \
  cluster-up cluster-down

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with everything that tests and checks need
	./scripts/setup dev

check: format lint types layers unit sim ## What must hold before each commit, in minutes

fix: ## Format the code and repair what ruff can
	$(BIN)ruff check --fix-only .
	$(BIN)ruff format .

format: ## Is the code formatted?
	$(BIN)ruff format --check .

lint: ## ruff
	$(BIN)ruff check .

types: ## mypy, strict
	$(BIN)mypy
	cd scripts/lib && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml *.py

layers: ## Does each room import only what docs/architecture.md says?
	PYTHON=$(PYTHON) ./scripts/generate-contracts --check
	$(BIN)lint-imports

unit: ## Unit, property and conformance tests
	$(PYTHON) -m pytest -q -n 2 tests/unit tests/property tests/conformance

sim: ## Simulated clusters: SEEDS=1000 JOBS=2 NODES=5 for so many, SEED=7 for one, with a trace
	$(PYTHON) -m tests.simulation $(if $(SEED),--seed $(SEED) --trace,--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) $(if $(NODES),--nodes $(NODES))

chaos: ## Break a real cluster: MINUTES=5 SEED=7 NODES=3
	$(PYTHON) -m tests.chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(if $(NODES),--nodes $(NODES))

test: ## Every test
	./scripts/test

integration: ## Tests with real processes
	$(PYTHON) -m pytest tests/integration

attack: ## Attacks on real processes
	$(PYTHON) -m pytest tests/attack

proto: ## Generate the protobuf code
	PYTHON=$(PYTHON) ./scripts/generate-proto

contracts: ## Generate the import contracts from docs/architecture.md
	PYTHON=$(PYTHON) ./scripts/generate-contracts

proto-check: ## Is the generated code that of proto/?
	PYTHON=$(PYTHON) ./scripts/generate-proto --check

proto-lint: ## buf lint
	PYTHON=$(PYTHON) ./scripts/lint-proto

packages: ## Build both distributions and install them into an empty environment
	PYTHON=$(PYTHON) ./scripts/check-packages

lock: ## Resolve requirements/*.txt anew from pyproject.toml
	./scripts/lock

ui: ## Build the web interface into raftsched/ui_dist (needs npm)
	./scripts/build-ui

ui/node_modules/.package-lock.json: ui/package.json ui/package-lock.json
	npm ci --prefix ui --no-audit --no-fund --loglevel=error

ui-check: ui/node_modules/.package-lock.json ## Format, lint, types and tests of the web interface, and whether its types are those of the API
	npm run --prefix ui --silent check
	PYTHON=$(PYTHON) ./scripts/generate-ui-types --check

e2e: ui/node_modules/.package-lock.json ui ## The web interface in a browser, against a real cluster (needs Chromium)
	PYTHON=$(abspath $(PYTHON)) npm run --prefix ui --silent e2e

cluster-up: ## Start three nodes on this machine
	./scripts/cluster up

cluster-down: ## Stop them
	./scripts/cluster down
