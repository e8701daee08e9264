# make demo   light environment (no torch, no Qt), the main job on the bundled samples
# make test   everything: full environment, style, types, the whole suite
# Variables: PYTHON=python3.12 picks the interpreter; PYTEST_ARGS="-k spatial" narrows the suite.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP_FLAGS := --disable-pip-version-check --quiet
# Two processes, a file each: the suite waits for subprocesses and windows as much as it computes.
PYTEST_ARGS ?=
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
LIGHT := .venv-demo
FULL := .venv

.PHONY: demo test display lint clean python

python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install one, or say which: make PYTHON=/path/to/python3.12"; exit 2; }

$(LIGHT)/ready: pyproject.toml setup.py napari.yaml constraints.txt | python
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

demo: $(LIGHT)/ready
	$(LIGHT)/bin/tinymig demo -o demo_output

$(FULL)/ready: pyproject.toml setup.py constraints.txt | python
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt torch torchvision
	$(FULL)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	@touch $@

display:
	@sh .ci/display.sh

lint: $(FULL)/ready
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	rm -rf build && $(FULL)/bin/python -m pip install $(PIP_FLAGS) --no-deps --target build/typed .
	cd build/typed && ../../$(FULL)/bin/mypy --config-file ../../pyproject.toml -p napari_tinymig # mypy cannot follow the folder mapping in place

test: $(FULL)/ready display lint
	$(FULL)/bin/$(PYTEST) $(PYTEST_ARGS)

clean:
	rm -rf $(LIGHT) $(FULL) demo_output build dist *.egg-info napari_tinymig/napari.yaml
