# Every target does its own set-up: a virtual environment in .venv, from requirements.lock.
#   make demo    a real shop, from its log to feeds over HTTP
#   make test    all tests that need no accelerator, a process a core; BESIDE= for one after the other
#   make check   format, lint, types, then the tests: what CI runs
#   make bench   the benchmarks, side by side with what they are measured against; BENCH="ward feed" runs those
#   make ablations   the published ablations of the rankers, on the shared sets and simulated people; ABLATIONS=--quick
#   make screenshots   the pictures of the studio in docs/images, from a demo workspace (SHOP=demo-shop)
#   make docs    check the links of the documentation
#   make lock    write requirements.lock anew from what .venv holds

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH ?=
ABLATIONS ?=
BESIDE ?= -n auto --maxprocesses 4 --dist loadfile
SHOP ?= demo-shop

.DEFAULT_GOAL := test
.PHONY: setup demo test check bench ablations screenshots docs lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "wayline needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)
	$(BIN)/wayline demo

test: $(STAMP)
	$(BIN)/python scripts/install_browser.py
	$(BIN)/python -m pytest $(BESIDE)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory test

bench: $(STAMP)
	set -e; for name in $(or $(BENCH),$$($(BIN)/wayline bench)); do $(BIN)/wayline bench $$name; done

ablations: $(STAMP)
	$(BIN)/python -m benchmarks.ablations $(ABLATIONS)

screenshots: $(STAMP)
	$(BIN)/python scripts/install_browser.py
	$(BIN)/python scripts/screenshots.py $(SHOP)

docs: $(STAMP)
	$(BIN)/python scripts/check_docs.py

lock: $(STAMP)
	$(BIN)/python scripts/lock.py > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:
	rm -rf $(VENV) build dist demo-shop .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find src -name '*.egg-info' -type d -prune -exec rm -rf {} +
