.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help install fix check test starts attacks kill fuzz contract bench

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install:  ## make .venv with everything for development
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -e '.[dev]'

fix:  ## format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check:  ## format, lint, types and the house test, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest -q tests/test_house.py

test:  ## the default tests
	$(BIN)/pytest -n 3

starts:  ## the tests of the command line and of the server, with a process of its own for every command
	$(BIN)/pytest -n 3 --starts tests/cli tests/runs tests/server tests/attacks/test_replayed_records.py

attacks:  ## every attack on the sandbox, behind every wall of this machine
	$(BIN)/pytest -m "slow or not slow" -r s tests/attacks tests/sandbox

kill:  ## every kill: the whole matrix, a thousand at random moments, a torn log at every byte
	$(BIN)/pytest -m "slow or not slow" -p no:randomly tests/kill tests/cli/test_research.py

fuzz:  ## many more random cases: the budget against a hostile endpoint, the server against its specification
	$(BIN)/pytest -m slow -p no:randomly tests/guard/test_wall.py tests/server/test_specification.py

contract:  ## the server before old and new clients and two frameworks, each in an environment of its own (.contract/)
	$(BIN)/python -m tests.contract.environments $(CONTRACT_ENVIRONMENTS)
	$(BIN)/pytest -p no:randomly tests/contract

bench:  ## the figures in docs/, side by side with what users would pick instead
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/sandbox.py
	$(BIN)/python -m bench.guard $(TRACES)
	$(BIN)/python -m bench.steps $(if $(PEERS),--peers $(PEERS))
	$(BIN)/python -m bench.server
	$(if $(SCIFACT),$(BIN)/python -m bench.retrieval $(SCIFACT))
