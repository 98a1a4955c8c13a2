# Every target sets up .venv first when needed. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
DURATION ?=
DATA ?=
QUICK ?=
BENCH ?=

.PHONY: help setup lock demo lint test integration soak images e2e test-browser test-rules docs cluster-demo evaluate bench scale chaos clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done ## .venv with everything, and .venv/bin/holter

.venv/.done: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on PATH: Holter needs Python 3.11 (or name one: make PYTHON=python3.12 …)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock: setup ## requirements.lock anew, from pyproject.toml
	$(BIN)/uv pip compile --quiet --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url pyproject.toml --output-file requirements.lock
	scripts/lock-images

demo: setup ## the main job on this machine: simulated patients, alerts, a summary; DURATION=90 ends by itself
	$(BIN)/holter demo $(if $(DURATION),--duration $(DURATION))

lint: setup ## ruff, mypy strict, import layers, CRD
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: setup ## unit, handler, property and one-machine tests
	$(BIN)/python -c "from holter.inference.warm import warm; warm()" # compiles once, not within a test's time
	$(BIN)/python -m pytest

# Where images are built: ../shared/cluster loads them into its node, docker and kind do elsewhere.
CLUSTER ?= $(wildcard ../shared/cluster/cluster)
IMAGE_PREFIX ?= docker.io/library/holter-
IMAGE_TAG ?= dev
export IMAGE_PREFIX IMAGE_TAG

images: ## holter-operator and holter-services, for the cluster of KUBECONFIG
	scripts/images $(CLUSTER)

integration: setup ## real API server and real InfluxDB: KUBECONFIG, INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG
	scripts/need prometheus-alertmanager prometheus-alertmanager
	HOLTER_PROMETHEUS_CRDS=$${HOLTER_PROMETHEUS_CRDS:-$$(scripts/prometheus-crds)} $(BIN)/python -m pytest tests/chart tests/integration -m "not chaos"

soak: setup ## 30 minutes of 500 patients: memory stays flat (MINUTES=…, PATIENTS=…)
	$(BIN)/python -m tests.soak

# What a later capability brings says so, and fails: a target that does nothing must not look like one that passed.
define WAITS
	@echo "make $@: not there yet; it comes with $(1)" >&2; exit 2
endef

e2e: setup images ## image, chart, real pods, real ECG through the Service to an alert: KUBECONFIG, HOLTER_ECG
	scripts/need prometheus prometheus
	$(BIN)/python -m pytest tests/e2e -x

cluster-demo: setup images ## the demo on the cluster of KUBECONFIG: chart, InfluxDB, a cohort, simulated patients, their alerts
	DURATION=$(DURATION) $(BIN)/python -m scripts.cluster_demo

test-browser: setup ## the console in a real Chromium (CHROMIUM=…, Debian's by default): alerts, acknowledging, 200 patients, axe
	@test -n "$${CHROMIUM:-}" || scripts/need chromium chromium
	$(BIN)/python -m pytest tests/browser

docs: setup ## the documentation as pages in build/docs, strictly; axe on each; its clients compiled and run against a real ingest
	scripts/need cc build-essential
	@test -n "$${CHROMIUM:-}" || scripts/need chromium chromium
	$(BIN)/sphinx-build -q -W --keep-going -b dirhtml docs build/docs
	$(BIN)/python -m pytest tests/docs

test-rules: setup ## promtool on all rules; every query of the dashboards on a real Prometheus and InfluxDB
	scripts/need promtool prometheus
	$(BIN)/python -m pytest tests/rules

evaluate: setup ## detection quality on annotated WFDB records: DATA=folder; all figures in evaluation.json
	@test -n "$(DATA)" || { echo "make evaluate: DATA=folder of WFDB records is missing" >&2; exit 2; }
	$(BIN)/holter evaluate $(DATA) --json evaluation.json

bench: setup ## speed and cost beside the tutorial's pipeline: INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG; QUICK=1 takes two minutes (BENCH=… adds options)
	$(BIN)/holter bench $(if $(QUICK),--quick) $(BENCH)

scale: setup ## 1,000 cohorts on the control plane of KUBECONFIG with nodes that only pretend (COHORTS=…)
	$(BIN)/python -m pytest tests/scale -s

chaos: setup ## the operator killed between any two writes, workers killed and frozen: KUBECONFIG, a real InfluxDB
	$(BIN)/python -m pytest tests/integration -m chaos

clean: ## the virtual environment, caches and local state
	rm -rf .venv .holter build .mypy_cache .ruff_cache .pytest_cache .hypothesis
