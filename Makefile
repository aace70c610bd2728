.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve test check lint types imports dead soak bench lock oldest

VENV ?= .venv
PORT ?= 8000
PYTHON3 ?= python3
PYTHON = $(VENV)/bin/python
PIP = $(PYTHON) -m pip --disable-pip-version-check -q install
RUN = $(VENV)/.run-installed
DEV = $(VENV)/.dev-installed
NODE = tests/interop/node
# Two processes use both cores. Files run in the order of the folders; else files with few long tests come last, alone.
SIDE_BY_SIDE = --numprocesses 2 --dist loadfile --no-loadscope-reorder

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(RUN) ## Serve examples/quickstart on http://127.0.0.1:8000 (PORT=9000 for another port)
	@$(VENV)/bin/valetkey --app examples/quickstart/app.py serve --demo --port $(PORT) --data-dir var/quickstart

test: $(DEV) $(NODE)/node_modules/.package-lock.json ## Run the tests (T=tests/protocol for some)
	@requirements/services.sh
	@$(PYTHON) -m pytest -q $(if $(T),$(T),$(SIDE_BY_SIDE))

oldest: ## Run the tests with the oldest versions of the dependencies (own environment .venv-oldest)
	@$(MAKE) --no-print-directory VENV=.venv-oldest .venv-oldest/.dev-installed
	@.venv-oldest/bin/python -m pip --disable-pip-version-check -q install uv
	@requirements/oldest.sh .venv-oldest/bin/python
	@$(MAKE) --no-print-directory VENV=.venv-oldest test

check: lint types imports dead test ## Run everything that CI runs

lint: $(DEV) ## Check format and style
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .

types: $(DEV) ## Check the types
	@$(VENV)/bin/mypy

imports: $(DEV) ## Check which package imports which
	@$(VENV)/bin/lint-imports

dead: $(DEV) ## Look for dead code
	@$(VENV)/bin/vulture

soak: $(DEV) ## Test revocation in random orders of events (MINUTES=60)
	@requirements/services.sh
	@SOAK_SECONDS=$$(( $(or $(MINUTES),10) * 60 )) $(PYTHON) -m pytest -q --timeout=0 tests/security/test_late_commit.py \
		tests/security/test_revocation_states.py

bench: $(DEV) ## Measure beside other servers
	@$(PYTHON) -m benchmarks

lock: $(PYTHON) ## Choose the newest versions of dependencies and lock them
	@$(PIP) uv
	@requirements/lock.sh $(VENV)/bin/uv
	@cd $(NODE) && npm update --package-lock-only --omit-lockfile-registry-resolved

$(PYTHON):
	@$(PYTHON3) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON3=python3.13 ...")'
	@$(PYTHON3) -c 'import ensurepip' 2>/dev/null || requirements/debian.sh python3-venv
	@$(PYTHON3) -m venv $(VENV)

# The lock files are complete. Without --no-deps, pip would resolve `package[extra]` to its newest version and reject the hash.
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
