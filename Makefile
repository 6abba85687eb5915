PYTHON ?= python3
VENV ?= .venv
WORKERS ?= auto
FAULTS ?= faults
RECORDS ?= 500000
EXTRA ?=
PACKAGE_PYTHON ?=
PACKAGE_ARCH ?=
CHECK ?=

BIN := $(VENV)/bin
SERVERS := .venv-servers
NODE_SERVERS := .node-servers
SCANNER := .venv-infra
INSTALLED := $(VENV)/.installed
PACKAGES := lake ingest compaction queries proof standin dynalake
PYTHON_FILES := $(PACKAGES) tests examples infra $(wildcard benchmarks)

.DEFAULT_GOAL := help
.PHONY: help demo test test-extra lint format faults property bench package infra-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## set up, then the whole pipeline on the embedded stand-in, with real data
	$(BIN)/dynalake demo

test: $(INSTALLED) ## set up, then the tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow and not faults and not extra"

test-extra: $(INSTALLED) $(SERVERS)/.installed $(NODE_SERVERS)/.installed ## tests against servers of an environment of their own (EXTRA="-k ministack")
	$(BIN)/pytest -m extra $(EXTRA) tests/extra

lint: $(INSTALLED) ## ruff, mypy and the import contracts
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## mend what ruff can mend
	$(BIN)/ruff check --fix $(PYTHON_FILES)
	$(BIN)/ruff format $(PYTHON_FILES)

faults: $(INSTALLED) ## kills, stops and races of whole processes (FAULTS="faults and not slow" for a share)
	$(BIN)/pytest -m "$(FAULTS)" tests/faults --ignore tests/faults/test_playbook.py
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "$(FAULTS)" tests/faults/test_playbook.py

property: $(INSTALLED) ## every property on thousands of random cases, and whatever else is slow
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n $(WORKERS) -m "(hypothesis or slow) and not faults and not extra"

bench: $(INSTALLED) ## speed against its limits (RECORDS=50000 for a quick look)
	$(BIN)/python benchmarks/compact.py --records $(RECORDS)
	$(BIN)/python -m benchmarks.backfill --items $$(($(RECORDS) / 5))
	$(BIN)/python -m benchmarks.capture --records $$(($(RECORDS) / 5))
	$(BIN)/python -m benchmarks.proof --items $$(($(RECORDS) / 5))
	$(BIN)/python -m benchmarks.queries --items $$(($(RECORDS) * 4))
	$(BIN)/python -m benchmarks.imports

package: $(INSTALLED) ## zips for Lambda, in dist/ (PACKAGE_PYTHON=3.13, PACKAGE_ARCH=arm64; this Python and both unless told)
	$(BIN)/python infra/package.py $(addprefix --python=,$(PACKAGE_PYTHON)) $(addprefix --arch=,$(PACKAGE_ARCH))

infra-check: $(SCANNER)/.installed ## infra/: format, validate, tests, mutations, scanner (CHECK="--module lake")
	$(SCANNER)/bin/python infra/check.py $(CHECK)

clean: ## remove what set-up and runs have made here, .venv and the demo's lake too
	rm -rf .venv .venv-servers .venv-infra .node-servers demo-lake build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	touch $@

$(SERVERS)/.installed: tests/extra/requirements.txt
	$(PYTHON) -m venv $(SERVERS)
	$(SERVERS)/bin/pip install -q --disable-pip-version-check -r $<
	touch $@

$(SCANNER)/.installed: infra/requirements.txt
	$(PYTHON) -m venv $(SCANNER)
	$(SCANNER)/bin/pip install -q --disable-pip-version-check -r $<
	touch $@

# Without Node the tests of its servers, and those in a browser, skip.
$(NODE_SERVERS)/.installed: tests/extra/node/package.json
	if command -v node >/dev/null && command -v npm >/dev/null; then mkdir -p $(@D) && cp $< $(@D)/ && npm install \
	  --prefix $(@D) --silent --ignore-scripts --no-audit --no-fund --no-package-lock && touch $@ \
	  || echo "npm could not install what needs Node: its tests skip"; fi
