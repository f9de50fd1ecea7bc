# Everything runs in .venv, from complete, hash-checked locks: pip resolves nothing, so a new release elsewhere changes nothing. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.dev
INSTALLED := $(VENV)/.user

# What is imported is compiled once, not in every process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-loop torch check fast test long faults pipelines coverage lint bench assurance docs changelog wheel dev lock clean
help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements/core.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/core.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip --disable-pip-version-check check
	@touch $@

$(DEV): requirements/dev.txt $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

torch: $(DEV) ## torch networks too: a CPU build of torch, then what needs it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/torch.txt

demo: $(INSTALLED) ## from a fresh clone to a signed, verified, served model on a real clinical table
	@$(BIN)/python demo/demo.py

demo-loop: $(DEV) ## five days of a model's life in three minutes: alarm, rollback, ticket, retraining, canary, post-mortem
	@$(BIN)/python demo/loop.py

dev: $(DEV) ## editable install with all development tools

check: lint fast ## before each commit: lint, and the tests that take no finished project, server or simulation (a minute or two)

# Thousands of small files are synced to disk: in memory that costs nothing.
fast: export TMPDIR := $(shell test -w /dev/shm && echo /dev/shm || echo /tmp)
fast: $(DEV)
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow" --durations=10

# Three at once on two cores: a quarter of the time a test waits, for a server, a sandbox or the disk.
test: $(DEV) ## every kind of test that this machine can run; what it skips is listed with the reason
	$(BIN)/pytest -n 3 --dist worksteal -m "not long" --durations=25

long: $(DEV) ## further variants of what `make test` tries, and stories of minutes (half an hour)
	$(BIN)/pytest -n 2 --dist worksteal -m long

faults: $(DEV) ## every fault test at full length: each point, each trial (hours)
	$(BIN)/python -m pytest -n 2 --dist worksteal --full tests/faults tests/contract tests/unit/controls/test_log.py tests/unit/operations/test_backup_fsck.py tests/unit/controls/test_policy.py

pipelines: $(DEV) ## rendered pipelines of build servers, each run whole: passed, refused, crashed, not approved (minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal --full tests/interop/test_pipelines.py tests/interop/test_kubeflow.py

TIER ?= security
TESTS_fast := -m "not slow"
TESTS_security := -m "not slow or secured" $(addprefix tests/unit/,controls core operations/test_affected.py operations/test_carried.py operations/test_consent.py operations/test_erasure.py operations/test_packs_verified.py test_admission.py test_verification.py config/test_pinned.py serve/test_anomalies.py stages/data/test_disclosure.py deploy/test_gateway_image.py) tests/attacks/test_predictions.py
TESTS_all :=
coverage: $(DEV) ## branch coverage against floors that only rise: TIER=security (the fast tests of controls, signatures and sandbox), fast or all (an hour)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal $(TESTS_$(TIER))
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage json --quiet -o .coverage.json
	$(BIN)/python tests/floors.py $(TIER) $(RAISE) < .coverage.json

lint: $(DEV) ## format, rules, types, layers, docstrings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/interrogate src

bench: $(DEV) ## measured ratios against bare scripts, one line each
	@$(BIN)/python bench/run.py

assurance: $(DEV) ## how often detectors and figures are wrong, by simulation; writes its page in the docs
	@$(BIN)/python bench/assurance

docs: $(DEV) ## regenerate docs/reference, then the site in site/, where every link must lead somewhere
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

changelog: $(DEV) ## what the next release will say, from changes/
	@$(BIN)/towncrier build --draft 2>/dev/null

wheel: $(DEV) ## the wheel of this commit, built twice and compared, and its bill of materials, in dist/
	$(BIN)/python release/wheel.py build

lock: $(DEV) ## resolve requirements again, with hashes; the core is a part of the development set
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c requirements/dev.txt --extra serve --extra plots pyproject.toml -o requirements/core.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --no-deps requirements/torch.in -o requirements/torch.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 requirements/build.in -o requirements/build.txt

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
