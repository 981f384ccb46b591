# Two commands set everything up: `make demo` and `make test`.
# They need Python 3.10+, a C++ compiler (for torch.compile) and a package index.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo

.PHONY: demo test lint format tables reference-model clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python 3.10 or newer is needed, this is {v.major}.{v.minor}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cpu,export,dev]'
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python -m benchmarks.demo $(DEMO)

test: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tables of README.md are rendered from the records in benchmarks/results.
tables: $(VENV)/.ready
	$(BIN)/python -m benchmarks.render

# Trains the model that `bench` uses when none is named, on simulated EEG.
reference-model: $(VENV)/.ready
	$(BIN)/python -m benchmarks.reference_model

clean:
	rm -rf $(VENV) build dist *.egg-info
