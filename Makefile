# What one does with this repository; `make` alone lists it. Needs Python 3.11+, git and make.

VENV := .venv
BIN := $(VENV)/bin
FRONT := demo/front
PINS := pyproject.toml constraints.txt $(wildcard requirements/*.txt)
FRONT_SOURCES := $(wildcard $(FRONT)/*.mjs $(FRONT)/tsconfig*.json) $(shell find $(FRONT)/src -type f 2>/dev/null)

# Choices of the caller, as in `make demo PORT=9000 LAYER=redis://localhost`.
PORT ?= 8000
WORKERS ?=
LAYER ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

# Nothing of an activated environment or another project may leak in.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV DJANGO_SETTINGS_MODULE
unexport NODE_ENV NODE_OPTIONS

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types pytest format front chromium bench build pins clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Choices: PORT=8000 LAYER=memory|redis|redis://localhost WORKERS=2 (demo)"
	@echo "           PYTEST_ARGS='-k chat -x' (test)  BENCH_ARGS='--quick' (bench)  PYTHON=python3.12"

demo: $(VENV)/.demo front  ## set up and serve the demo site, print its address
	@$(BIN)/python demo/manage.py migrate --no-input --verbosity 0
	@exec $(BIN)/python demo/serve.py --port $(PORT) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(LAYER),--layer '$(if $(findstring ://,$(LAYER)),$(LAYER),$(LAYER)://)')

test: lint types pytest  ## set up, then all checks and all tests

lint: $(VENV)/.dev  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

pytest: $(VENV)/.dev front chromium  ## the tests alone
	$(BIN)/pytest $(PYTEST_ARGS)

format: $(VENV)/.dev  ## mend what can be mended automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

front: $(FRONT)/dist/.built  ## build the demo's front end

chromium:  ## the browser for the tests: install it on Debian, else say how
	@scripts/setup-chromium.sh

bench: $(VENV)/.bench  ## measure every layer beside its peers
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

build: $(VENV)/.dev  ## wheel and source distribution in dist/
	$(BIN)/python -m build --no-isolation

pins:  ## renew constraints.txt (needs Python 3.11, 3.12 and 3.13)
	@set -e; \
	for version in 3.11 3.12 3.13; do \
		PYTHON=python$$version scripts/find-python.sh; \
	done > .pythons; \
	$$(head -n 1 .pythons) scripts/pin.py $$(cat .pythons); \
	rm .pythons

clean:  ## remove everything that was made here, also the demo's database
	rm -rf $(VENV) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .pythons
	rm -rf $(FRONT)/node_modules $(FRONT)/dist $(FRONT)/dist-tests demo/db.sqlite3*
	find layers consumers demo benchmarks tests scripts -name __pycache__ -prune -exec rm -rf {} +

# Stamps: a second run does nothing until what they depend on changes, or until the Python that
# the environment was made with is gone.
ifneq ($(shell $(BIN)/python -c 'print("works")' 2>/dev/null),works)
.PHONY: $(VENV)/pyvenv.cfg
endif

$(VENV)/pyvenv.cfg:
	@set -e; \
	python=$$(scripts/find-python.sh); \
	echo "Making $(VENV) with $$python"; \
	"$$python" -m venv --clear $(VENV)

$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: $(VENV)/pyvenv.cfg $(PINS) scripts/install.sh
	@scripts/install.sh $(VENV) requirements/$*.txt
	@touch $@

$(FRONT)/node_modules/.installed: $(FRONT)/package.json $(FRONT)/package-lock.json | $(VENV)/pyvenv.cfg
	@scripts/npm.sh $(VENV) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(FRONT)/dist/.built: $(FRONT_SOURCES) $(FRONT)/node_modules/.installed
	@scripts/npm.sh $(VENV) --silent run build
	@touch $@
