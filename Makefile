# `make demo` and `make test` each do all the set-up they need; tools/setup.sh says what that is and what steers it.
PY := .venv/bin/python
export PYTHON TORCH_INDEX WHEELS

.PHONY: help setup demo test test-fast lint site wheels

help:
	@echo "make demo       the whole path on synthetic images, about 5 minutes; results in demo/"
	@echo "make test       every test"
	@echo "make test-fast  the tests without the slow ones"
	@echo "make lint       ruff, mypy, and hadolint for the Dockerfile"
	@echo "make site       the guide and the Python reference as a searchable site, in site/"
	@echo "make setup      only the set-up: Debian packages where missing, .venv"
	@echo "make wheels     fill .wheels/ for a machine without a network (there: make demo WHEELS=.wheels)"
	@echo "with PYTHON=python3.12, TORCH_INDEX=URL or WHEELS=DIR behind it where the set-up should differ"

setup:
	@tools/setup.sh

demo: setup
	$(PY) -m fastrad demo --out demo

# Two processes: one file of tests at a time in each, since its tests share what they set up.
PYTEST := $(PY) -m pytest -n 2 --dist loadfile

test: setup
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m "not slow"

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/hadolint Dockerfile

site: setup
	.venv/bin/zensical build --clean --strict

wheels: setup
	PIP_CONSTRAINT=.venv/constraints.txt PIP_BUILD_CONSTRAINT=.venv/constraints.txt $(PY) -m pip wheel \
		--wheel-dir .wheels $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '.[all]' pip setuptools wheel
	cp .venv/constraints.txt .wheels/
