# Countline: everything here needs only Python 3.11 or newer, make and a network.
# `make PYTHON=/path/to/python3` chooses the Python.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
# uv writes no address of a registry into a lock unless it is asked to; tests/architecture/test_locks.py watches over it.
LOCK := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
BROWSER_TESTS := tests/e2e/test_page*.py
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.DEFAULT_GOAL := help
.PHONY: help demo test lint style types contracts bench page lock clean setup-all setup-test setup-lint python

help: ## Show this list
	@echo "Countline. What you can make here:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: setup-all page ## People in a real video, counted live on a page (Ctrl-C ends it)
	@$(BIN)/countline demo $(ARGS)

test: setup-test page ## All tests
	@if [ -n "$(CHROMIUM)" ] || [ "$$CI" = true ]; then \
		$(BIN)/python -m pytest -q $(ARGS); \
	else \
		echo "No Chromium here, so the page's own tests are left out (on Debian or Ubuntu: apt-get install chromium)."; \
		$(BIN)/python -m pytest -q --ignore-glob='$(BROWSER_TESTS)' $(ARGS); \
	fi

lint: style types contracts ## Style, types and who may import whom

style: setup-lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup-lint
	@$(BIN)/pyright --pythonpath $(BIN)/python

contracts: setup-lint
	@$(BIN)/lint-imports

bench: setup-all ## Speed and accuracy, as tables (one of them: make bench NAME=edge)
	@if [ -n "$(NAME)" ]; then $(BIN)/python -m bench.$(NAME) $(ARGS); else \
		for f in $$(grep -l __main__ bench/*.py); do n=$$(basename $$f .py); \
			echo "== $$n"; $(BIN)/python -m bench.$$n $(ARGS) || exit 1; done; fi

page: dashboard/vendor/.stamp ## Fetch what the page draws its chart with

# A page without npm is a complete page with a plainer chart, so this never fails for the lack of it.
dashboard/vendor/.stamp: dashboard/package.json dashboard/package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
		echo "page: npm ci, npm run build"; \
		(cd dashboard && npm ci --silent --no-audit --no-fund && npm run --silent build) && touch $@ \
		|| echo "page: npm could not fetch uPlot; the page draws a plain SVG chart instead."; \
	else echo "page: npm is not installed; the page draws a plain SVG chart instead of uPlot's."; fi

lock: setup-all ## Choose the newest allowed versions of all packages and pin them with their hashes
	@echo uv | $(LOCK) --upgrade --output-file requirements/uv.txt -
	@$(LOCK) --upgrade pyproject.toml requirements/build.in --extra all --group test --group lint --output-file requirements/lint.txt
	@$(LOCK) pyproject.toml requirements/build.in --extra all --group test -c requirements/lint.txt --output-file requirements/test.txt
	@$(LOCK) pyproject.toml requirements/build.in --extra all -c requirements/lint.txt --output-file requirements/all.txt
	@$(LOCK) pyproject.toml --extra edge -c requirements/lint.txt --output-file requirements/edge.txt
	@echo "Pinned: requirements/{uv,all,test,lint,edge}.txt"

clean: ## Remove what was made here (never counts: countline-data stays)
	@rm -rf .venv .cache .hypothesis .pytest_cache .ruff_cache .import_linter_cache dist dashboard/node_modules dashboard/vendor
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

setup-all setup-test setup-lint: setup-%: python
	@$(PYTHON) tools/bootstrap.py $*

python:
	@if [ -z "$(PYTHON)" ]; then echo "error: no Python 3.11 or newer found: install one, or name it with make PYTHON=/path/to/python3" >&2; exit 1; fi
