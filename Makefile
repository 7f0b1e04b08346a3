# Every target prepares .venv first; bash_files/setup.sh installs only what changed.
SHELL := bash
with := source bash_files/setup.sh && "$$python"
# One more than there are cores, since many tests wait for processes; at most 4.
workers := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores + 1 : 4)))
.DEFAULT_GOAL := help
.PHONY: help setup run check format test test-slow bench exactness audit pythons ci clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv and install what requirements.txt and the extra `dev` list
	@bash bash_files/setup.sh dev

run: ## SimCLR on the embedded digits, the shortest whole run
	@bash bash_files/run_contrastive.sh

check: setup ## formatting, lint, types, import order
	@$(with) -m ruff format --check
	@$(with) -m ruff check
	@$(with) -m pyright --pythonpath "$$python"
	@$(with) .venv/bin/lint-imports

format: setup ## format and repair what ruff can
	@$(with) -m ruff format
	@$(with) -m ruff check --fix

test: setup ## all tests but the slow ones; ARGS="-k dcl" passes anything on to pytest
	@$(with) -m pytest -n $(workers) --dist loadscope -m "not slow" $(ARGS)

test-slow: setup ## the tests that take minutes
	@$(with) -m pytest -m slow $(ARGS)

bench: setup ## ours beside peers by turns; writes docs/performance.md, fails below a floor
	@$(with) -m benchmarks

exactness: setup ## docs/exactness.md anew: every loss and method on 1 to 4 processes
	@$(with) docs/exactness.py

audit: setup ## known advisories about the versions in constraints.txt; asks the network
	@$(with) -m pip install -qq --disable-pip-version-check pip-audit
	@$(with) -m pip_audit -r constraints.txt --no-deps --disable-pip

pythons: ## a short part of the tests on each newer Python that is installed; 6 GB at a time
	@bash .ci/pythons

ci: ## what must pass before a change lands: setup, check, test
	@bash .ci/run

clean: ## caches and build leftovers; .venv and trained_models stay
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
