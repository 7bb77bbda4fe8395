# `make setup` once, then the rest. PYTHON makes the virtual environment; BIN is where its programs are.
PYTHON ?= python3
BIN    ?= .venv/bin
PYTEST  = $(BIN)/python -m pytest -q

.PHONY: help setup test lint types cover fuzz storm full nogil sanitize bench docs others clean

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  \1\t/p' Makefile | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv .venv

setup: ## .venv with the package (editable) and the tools
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -U pip  # the pip of an older Python knows no --group
	$(BIN)/python -m pip install -q -e '.[test]' --group dev

test: ## the README's test command: installs, then runs the default tests
	$(PYTHON) -m venv .venv && .venv/bin/pip install -q '.[test]' && .venv/bin/python -m pytest -q

lint: ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: ## mypy --strict; what it and pyright say about right and wrong programs, and the examples
	$(BIN)/mypy
	$(PYTEST) -m slow -n 0 tests/typing

cover: ## the default tests, and the lines and branches that they miss
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

fuzz: ## a million random cases for each framing, a hundred times more examples; CASES=10000 for a look, not for hours
	FOURTUPLE_FUZZ_CASES=$(or $(CASES),1000000) $(PYTEST) -m "" --hypothesis-profile fuzz --timeout 0 \
		$(wildcard tests/framing tests/stream)

storm: ## whole servers, random peers and handlers, from seeds: both twins, both readinesses; SECONDS=60, SEED=1 for one round
	BIN=$(BIN) SECONDS_IN_ALL=$(or $(SECONDS),60) SEED=$(SEED) .ci/storm

full: ## every test, slow ones too, on both ways of readiness and both loops
	for loop in asyncio uvloop; do $(PYTEST) -m "" --readiness both --loop $$loop || exit 1; done

nogil: ## a free-threaded Python is built, in a folder of its own, and the tests run there: without its lock, and with it
	FOLDER=$$(mktemp -d) && .ci/free-threaded "$$FOLDER"; status=$$?; rm -rf "$$FOLDER"; exit $$status

sanitize: ## the C under AddressSanitizer and UBSan, in an environment of its own; CASES=100000 for more chance
	CASES=$(CASES) .ci/sanitize $(PYTHON)

bench: $(BIN)/python ## the benchmarks, about 70 minutes; BENCH=--quick for a look, BENCH='--rows fixed' for some
	$(BIN)/python -m pip install -q -U pip  # as in setup
	$(BIN)/python -m pip install -q -e '.[cli]' --group bench
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(BIN)/python ## the site in build/site/html, every warning an error; its pages opened in Chromium; all code is run
	$(BIN)/python -m pip install -q -U pip  # as in setup
	$(BIN)/python -m pip install -q -e '.[test]' --group docs
	$(BIN)/python docs/site/build.py
	FOURTUPLE_SITE=$(CURDIR)/build/site/html $(PYTEST) -m "" -n 2 --dist=loadgroup $(or $(DOCS_TESTS),tests/docs)

others: ## other projects' test suites and programs on our engine, in an environment of its own; WANTED=hl7 for one
	.ci/others $(PYTHON) $(WANTED)

clean: ## what was built and measured here, .venv included
	rm -rf .venv build dist htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -prune -exec rm -rf {} +
	find src -name '*.egg-info' -prune -exec rm -rf {} +
	find src -name '*.so' -delete
