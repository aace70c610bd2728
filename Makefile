.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve test check lint types walls bench lock

VENV ?= .venv
PORT ?= 8000
PYTHON3 ?= python3
PYTHON = $(VENV)/bin/python
PIP = $(PYTHON) -m pip --disable-pip-version-check -q install
RUN = $(VENV)/.run-installed
DEV = $(VENV)/.dev-installed
NODE = tests/interop/node
# One process leaves a core idle. In the order of the folders, or files of few long tests come last, one at a time.
SIDE_BY_SIDE = --numprocesses 2 --dist loadfile --no-loadscope-reorder

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(RUN) ## Serve examples/quickstart on http://127.0.0.1:8000 (PORT=9000 for another port)
	@VALETKEY_DATA_DIR=var $(VENV)/bin/valetkey --app examples/quickstart/app.py serve --demo --port $(PORT) --data-dir var

test: $(DEV) $(NODE)/node_modules/.package-lock.json ## Run the tests (T=tests/protocol for some)
	@requirements/services.sh
	@$(PYTHON) -m pytest -q $(if $(T),$(T),$(SIDE_BY_SIDE))

check: lint types walls test ## All that CI runs

lint: $(DEV) ## Check format and style
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .

types: $(DEV) ## Check the types
	@$(VENV)/bin/mypy

walls: $(DEV) ## Check which room imports which
	@$(VENV)/bin/lint-imports

bench: $(DEV) ## Measure beside other servers
	@$(PYTHON) -m benchmarks

lock: $(PYTHON) ## Choose the newest versions and lock them
	@$(PIP) uv
	@requirements/lock.sh $(VENV)/bin/uv
	@cd $(NODE) && npm update --package-lock-only --omit-lockfile-registry-resolved

$(PYTHON):
	@$(PYTHON3) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON3=python3.13 ...")'
	@$(PYTHON3) -c 'import ensurepip' 2>/dev/null || requirements/debian.sh python3-venv
	@$(PYTHON3) -m venv $(VENV)

# The locks are whole: without --no-deps pip would ask for the newest of `package[extra]`, and refuse its hash.
$(RUN): requirements/run.lock pyproject.toml | $(PYTHON)
	@echo "Installing into $(VENV) ..."
	@$(PIP) --require-hashes --no-deps -r requirements/run.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.lock pyproject.toml | $(PYTHON)
	@echo "Installing into $(VENV) ..."
	@$(PIP) --require-hashes --no-deps -r requirements/dev.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(RUN) $@

$(NODE)/node_modules/.package-lock.json: $(NODE)/package-lock.json
	@requirements/services.sh
	@cd $(NODE) && npm ci --silent --no-audit --no-fund
	@touch $@
