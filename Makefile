# Each target makes .venv first if it is missing or older than the settings.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

# What the versions of Python and JAX may change, in a minute: numbers, transformations,
# names and command lines.
FAST := $(filter-out tests/test_hlo.py, $(wildcard tests/test_*.py)) jaxalign \
	$(wildcard tests/losses/test_*_oracles.py) tests/losses/test_arguments.py \
	tests/data/packing tests/objectives/test_packed.py tests/recipes/test_command_line.py

.PHONY: quickstart test test-fast test-slow lint bench clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "jaxalign needs Python 3.11 or newer; $(PYTHON) is older. Set PYTHON=python3.12, say."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# A module is compiled when it is first imported; few of the thousands ever are.
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile \
	  -c constraints.txt -e '.[test]'
	@touch $@

quickstart: $(VENV)/.installed
	$(RUN) -m experiments.quickstart.run --out quickstart_out

test: $(VENV)/.installed
	$(RUN) -m pytest -n 3 --dist worksteal -q

test-fast: $(VENV)/.installed
	$(RUN) -m pytest -n 3 --dist worksteal -q $(FAST)

test-slow: $(VENV)/.installed
	$(RUN) -m pytest -n 2 --dist worksteal -q -m slow

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)

bench: $(VENV)/.installed
	$(RUN) experiments/benchmarks/step_throughput.py --help

clean:
	rm -rf $(VENV) quickstart_out .pytest_cache .ruff_cache
