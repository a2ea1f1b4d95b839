# Every target sets itself up: .venv with the versions of constraints.txt, made once (see .ci/setup).
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test lint slow learn chaos gpu clean

help:
	@echo "make demo   four synthetic clips: annotate, report, train a minute, sample, evaluate"
	@echo "make test   lint, types, import contracts, tests (without the slow ones)"
	@echo "make slow   the tests that take minutes"
	@echo "make learn  proof that training through the whole line makes a model that uses its cameras: a table"
	@echo "make chaos  a hundred faults at random points of a run, a power cut at every one, and the corpus is none the worse"
	@echo "make lint   lint, types and import contracts alone"
	@echo "make gpu    figures of this machine's GPU as JSON lines; needs torch alone, makes no .venv"
	@echo "make clean  remove what the tools left behind; .venv stays"

setup: # PYTHON=... names an interpreter; without it the first of 3.11 or newer is taken
	@PYTHON="$(PYTHON)" .ci/setup

demo: setup
	@$(BIN)/python -m wmkit demo

# Everything runs even if something before it says no: one look shows all that is wrong.
test: setup
	@rc=0; $(MAKE) --no-print-directory lint || rc=1; $(PYTEST) -n 2 || rc=1; exit $$rc

slow: setup
	@$(PYTEST) -m slow

learn: setup
	@PYTHONPATH=. $(BIN)/python benchmarks/learn.py

chaos: setup # FAULTS=n, EXECUTOR=local|ray, REAL=folders of clips, POINTS=n (power cuts a session; 0 for all)
	@$(BIN)/python -m tests.faults.chaos --faults $(or $(FAULTS),100) --executor $(or $(EXECUTOR),both) $(if $(REAL),--real $(REAL))
	@$(BIN)/python -m tests.faults.power --points $(or $(POINTS),0)

lint: setup
	@rc=0; \
	$(BIN)/ruff check --quiet || rc=1; \
	$(BIN)/ruff format --check --quiet || rc=1; \
	$(BIN)/basedpyright || rc=1; \
	$(BIN)/lint-imports --no-cache --no-logo || rc=1; \
	exit $$rc

gpu: # with the machine's own python: .venv has the CPU build of torch
	@PYTHONPATH=. $(or $(PYTHON),python3) benchmarks/gpu_figures.py

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find wmkit tests -name __pycache__ -type d -prune -exec rm -rf {} +
