# `make train` and `make test` need only Python 3.11 or newer and make: each sets up .venv/ first.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
PLATFORM := $(shell uname -sm)
ARGS ?=
BIN := .venv/bin
# where Python may not keep what it has compiled, every start of torch takes twice as long
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup train play test test-fast soak lint format reference tensorboard bench bench-gpu lock audit clean coverage

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready  ## virtual environment in .venv/, from the hashed lock on Linux x86-64, else from pyproject's ranges

# uv, itself taken from the lock by hash, installs four times as fast as pip; pip does it where uv finds no index
.venv/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cnnlab needs Python 3.11 or newer: make PYTHON=/path/to/python")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(PLATFORM),Linux x86_64)
	awk '/^[^ #]/ {own = /^uv==/} own' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
else
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --python $(BIN)/python -e . --group dev
endif
	@$(BIN)/python -c 'import cnnlab.training.classifier'  # compiled now, which the first run then need not wait for
	touch $@

train: .venv/.ready  ## train LeNet-5 on handwritten digits; ARGS="data=mnist model=lenet5" passes overrides on
	@$(BIN)/python -m cnnlab.train $(ARGS)

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

play: train  ## train LeNet-5 on handwritten digits, and open the page in which it runs; ARGS as for train
	@run=$$(ls -td outputs/runs/*/ | head -n 1); page=$${run}play/index.html; $(BIN)/python -m cnnlab.play run="$$run" || exit; \
	  test -z "$$DISPLAY$$WAYLAND_DISPLAY" -a "$$(uname)" != Darwin || $(BIN)/python -m webbrowser -t "file://$(CURDIR)/$$page" || true

test: .venv/.ready  ## all tests, two files at a time; ARGS="-k network" passes options on
	@$(PYTEST) $(ARGS)

test-fast: .venv/.ready  ## those that neither train for long nor start many processes
	@$(PYTEST) -m "not slow" $(ARGS)

coverage: .venv/.ready  ## branch coverage of cnnlab by test-fast, without the processes that tests start
	@$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered $(ARGS)

soak: .venv/.ready  ## 2,000 networks changed at random: each trains a step with right gradients or is refused in one line
	@OMP_NUM_THREADS=1 CNNLAB_CASES=2000 $(BIN)/python -m pytest -q -n 2 tests/models/test_surgery.py $(ARGS)

lint: .venv/.ready  ## format and style by ruff, types by mypy
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: .venv/.ready  ## let ruff rewrite what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

reference: .venv/.ready  ## docs/reference.md anew, from signatures, docstrings and the comments of conf/
	@$(BIN)/python docs/reference.py

tensorboard: .venv/.ready  ## look at all runs in a browser
	@$(BIN)/tensorboard --logdir outputs $(ARGS)

bench: .venv/.ready  ## speed and memory against plain PyTorch loops, as ratios; takes more than an hour
	@for case in lenet5 alexnet_cifar; do $(BIN)/python benchmarks/epoch.py $$case $(ARGS) || exit; echo; done
	@for part in floor graph memory evaluation startup beside looking play pack sweep study_scale scaling speedrun; do $(BIN)/python benchmarks/$$part.py || exit; echo; done

bench-gpu: .venv/.ready  ## what a GPU makes of it: graphs, seeds trained together, the CIFAR-10 record; minutes
	@$(BIN)/python benchmarks/graph.py && $(BIN)/python benchmarks/pack.py --members 8 32 && $(BIN)/python benchmarks/speedrun.py

lock: .venv/.ready  ## requirements.lock anew, from pyproject's ranges
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --generate-hashes --no-header --no-annotate --upgrade -o requirements.lock

audit: .venv/.ready  ## look up what is known to be wrong with the locked packages; needs the network
	@$(BIN)/uv tool run pip-audit -r requirements.lock --disable-pip --require-hashes

clean:  ## remove the virtual environment and caches, keep outputs and data
	@rm -rf .venv dist build .*_cache .coverage; find . -name __pycache__ -type d -prune -exec rm -rf {} +
