# Set-up is part of every target: `.venv` is made and filled when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.ready-docs
PEERS := .venv-peers/bin
PEERS_READY := .venv-peers/.ready

.PHONY: demo test test-all test-peers lint docs wheel

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $(DOCS_READY)

demo: $(READY)
	$(BIN)/interpbench demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-all: lint $(DOCS_READY)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'slow or not slow'

# An environment of its own, so that `.venv` stays without PyTorch.
$(PEERS_READY): pyproject.toml
	test -x $(PEERS)/python || $(PYTHON) -m venv .venv-peers
	$(PEERS)/python -m pip install --quiet --editable '.[dev,peers]' attrs blobfile ordered-set plotly
	$(PEERS)/python -m pip install --quiet --no-deps auto-circuit==1.0.1 git+https://github.com/hannamw/EAP-IG
	touch $(PEERS_READY)

test-peers: $(PEERS_READY)
	INTERPBENCH_PEERS=1 $(PEERS)/python -m pytest -m 'slow or not slow' tests/zoo/test_*peer.py \
		tests/zoo/test_torch_files.py tests/zoo/test_export_in_other_tools.py

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html is the first page; to search, serve it: $(BIN)/python -m http.server -d site"

# An environment of its own, in which nothing but the wheel is installed.
wheel:
	rm -rf build/wheel dist/*.whl
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	build/wheel/bin/python -m pip install --quiet dist/*.whl
	cd build/wheel && bin/python -I ../../tests/wheel_smoke.py
