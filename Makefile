# The verbs of this project. `make help` lists them; CONTRIBUTING.md says more.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
VENV := .venv/bin
ARGS ?=

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## make .venv and install what is missing (safe to repeat)
	@PYTHON="$(PYTHON)" tools/setup

.PHONY: lab
lab: setup ## start the cluster and open JupyterLab on the labs (ARGS=--no-browser)
	@$(VENV)/k8slab lab $(ARGS)

.PHONY: test
test: ## run every test (ARGS="-k words" for some, "-m slow" for the slow ones)
	@PYTHON="$(PYTHON)" tools/setup --test
	@tools/test $(ARGS)

.PHONY: labs
labs: setup ## build labs/ from solutions/ (for authors)
	@$(VENV)/python -m k8slab.course

.PHONY: lint
lint: setup ## check style, types and import rules
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/mypy
	@$(VENV)/lint-imports

.PHONY: bench
bench: setup ## measure, and compare with the limits (ARGS=up for one)
	@$(VENV)/python benchmarks/run.py $(ARGS)

.PHONY: soak
soak: setup ## change a cluster at random for long (ARGS="--minutes 5", "--moments 100" to kill)
	@tools/soak $(ARGS)

.PHONY: conformance
conformance: setup ## compare predictions with packets on 2,000 random estates (ARGS="--seed N")
	@$(VENV)/python tests/conformance/estates_kit.py $(ARGS)

.PHONY: mutants
mutants: setup ## try right, wrong and spoilt answers on all graders (ARGS=05, "--repeat 200")
	@tools/mutants $(ARGS)

.PHONY: book
book: setup ## run the labs, build the website into book/_build/html (ARGS=--no-run)
	@PYTHONPATH=tools $(VENV)/python -m bookmaking $(ARGS)

.PHONY: clean
clean: ## remove .venv, caches and built files; clusters stay
	@rm -f k8slab/embedded/apiserver/text_table.json
	@rm -rf .venv build dist book/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
