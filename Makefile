# `make demo` and `make test` do everything on a fresh machine; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE := 1
# uv does not read pip's settings; hand them on where a machine has them.
export UV_FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv/.installed: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode -c constraints.txt -e '.[dev]' \
	  || $(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

setup: .venv/.installed ## install into .venv

demo: setup ## raw data to a served champion, then the loop: drift, one retraining; stops all
	$(BIN)/assay demo

up: setup ## Dagster UI and daemon, MLflow UI, the services; Ctrl-C stops all
	$(BIN)/assay up

test: setup ## every test (10 to 15 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: setup ## ruff, mypy strict, import rules, documentation tests: what CI runs before the tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/docs -q

graph: setup ## accept the present asset graph as the committed snapshot
	$(BIN)/python -m tests.graph.snapshot > tests/graph/asset_graph.txt

lock: ## refresh constraints.txt (no host names in it)
	$(BIN)/uv pip compile pyproject.toml --all-extras -p 3.11 --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --quiet -o constraints.txt
	sed -i 's/+cpu$$//' constraints.txt

clean: ## remove the home with all data, models and runs
	-$(BIN)/assay stop
	rm -rf var

.PHONY: help setup demo up test check graph lock clean
