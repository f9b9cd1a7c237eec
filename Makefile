# `make` alone lists the targets. Each target that needs the environment sets it up first, once: requirements/set_up.sh.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAKE ?= lake
PYTEST_ARGS ?=
WORKERS ?= 2
UPGRADE ?=
CONFIG ?=
DS ?=
PORT ?= 8080
SEEDS ?= 1
FULL ?=
NODE_PYTHON ?= /usr/bin/python3.11
SET_UP := .venv/.set_up
SET_UP_AIRFLOW := .airflow/.set_up
SET_UP_S3 := .s3/.set_up
RUN := .venv/bin/python -m
# Test files side by side, in the order of tests/conftest.py: docs/decisions/0017-tests-side-by-side.md
PYTEST := $(RUN) pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# A link that leads nowhere ends it: docs/decisions/0048-sphinx.md
SITE := $(RUN) sphinx --quiet --fail-on-warning --keep-going -c docs/site
# For the first Python 3.11, which needs packages that later ones do not.
COMPILE := .venv/bin/uv pip compile --quiet --python .venv/bin/python --python-version 3.11.0 --generate-hashes --no-annotate --no-header $(UPGRADE)

# A Spark or a Python path of the caller's own would take the place of the environment's.
unexport SPARK_HOME SPARK_CONF_DIR PYTHONPATH PYTHONHOME

.PHONY: help demo test test-slow test-gpu test-s3 test-faults airflow airflow-run lint format site lock dist test-dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9_-]*\):.*  ## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target what; do \
		printf '  make %-11s %s\n' "$$target" "$$what"; done

demo: $(SET_UP)  ## run whole days on MovieLens-100k, from raw log to published candidates (LAKE=lake: the folder to write)
	$(RUN) jobs.run_demo --lake "$(LAKE)"

test: $(SET_UP)  ## run every test that is not marked slow (PYTEST_ARGS="tests/model -x" selects some, WORKERS=2)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(SET_UP)  ## run the tests marked slow: sweeps, further variants and real data (PYTEST_ARGS=, WORKERS=2)
	$(PYTEST) -m slow $(PYTEST_ARGS)

test-gpu: $(SET_UP)  ## run the tests that need a GPU (each is skipped, with the reason, where torch sees none)
	$(RUN) pytest -rs tests/model/test_gpu.py $(PYTEST_ARGS)

test-s3: $(SET_UP_S3)  ## run the tests of a lake on an object store, against a local S3 server (downloads 570 MB into .s3, once)
	BATCH_RECALL_S3="$(CURDIR)/.s3" $(RUN) pytest -rs tests/test_object_store.py $(PYTEST_ARGS)

test-faults: $(SET_UP)  ## kill every job at its first file, at its first commit and at seeded moments (SEEDS=1: so many a job)
	FAULT_SEEDS="$(SEEDS)" $(RUN) pytest -s tests/faults/test_killed.py $(PYTEST_ARGS)

airflow: $(SET_UP_AIRFLOW)  ## start Airflow here, its page on 127.0.0.1, the DAG ready to trigger (LAKE=, CONFIG=, PORT=8080)
	@LAKE="$(LAKE)" CONFIG="$(CONFIG)" PORT="$(PORT)" exec bash dags/local/start.sh

airflow-run: $(SET_UP_AIRFLOW)  ## run the DAG for one day, without the page (DS=YYYY-MM-DD, LAKE=, CONFIG=)
	@LAKE="$(LAKE)" CONFIG="$(CONFIG)" exec bash dags/local/run_one_day.sh "$(DS)"

lint: $(SET_UP)  ## check style, format, types and the links of the documentation, changing nothing
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && echo '$(SITE) --builder dummy' && \
		$(SITE) --builder dummy . "$$folder"

format: $(SET_UP)  ## sort imports, mend what ruff can mend, and format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

site: $(SET_UP)  ## build the documentation as a web site into build/site (front page: index.html)
	$(SITE) --doctree-dir build/doctrees . build/site

lock: $(SET_UP)  ## compile requirements/*.in to locks with hashes (UPGRADE=--upgrade moves the pins)
	$(COMPILE) requirements/compute.in --output-file requirements/compute.txt
	sed '/^# development/,$$d' requirements/compute.in | $(COMPILE) - --constraints requirements/compute.txt --output-file requirements/runtime.txt
	$(COMPILE) requirements/build.in --output-file requirements/build.txt
	$(COMPILE) requirements/airflow.in --output-file requirements/airflow.txt
	$(COMPILE) requirements/s3.in --output-file requirements/s3.txt

dist: $(SET_UP)  ## pack into dist/ batch-recall.zip (--py-files) and environment.tar.gz (--archives; FULL=1: with torch)
	.venv/bin/python build_zip.py dist/batch-recall.zip
	.venv/bin/python build_environment.py dist/environment.tar.gz --python "$(NODE_PYTHON)" $(if $(FULL),--full)

test-dist: dist  ## run a job on a standalone cluster whose Python is the packed environment (NODE_PYTHON=/usr/bin/python3.11)
	$(RUN) pytest tests/check_dist.py $(PYTEST_ARGS)

clean:  ## delete what the tools leave behind (never .venv, .airflow, .s3 or a lake)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache spark-warehouse metastore_db derby.log
	find . \( -path ./.venv -o -path ./.airflow -o -path ./.s3 \) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# The stamp is the last thing that set_up.sh writes: an interrupted set-up goes on at the next `make`.
$(SET_UP): setup.py $(filter-out requirements/airflow% requirements/runtime% requirements/s3% requirements/set_up_%.sh,$(wildcard requirements/*))
	@bash requirements/set_up.sh

$(SET_UP_AIRFLOW): requirements/airflow.txt requirements/set_up_airflow.sh requirements/steps.sh | $(SET_UP)
	@bash requirements/set_up_airflow.sh

$(SET_UP_S3): requirements/s3.txt requirements/s3_jars.txt requirements/set_up_s3.sh requirements/steps.sh | $(SET_UP)
	@bash requirements/set_up_s3.sh
