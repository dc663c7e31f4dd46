# The region's commands; `make help` lists them. Everything that is downloaded goes to IMAGING_CACHE, outside the tree.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export IMAGING_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imaging-cloud
export UV_CACHE_DIR ?= $(IMAGING_CACHE)/uv
# Compiled Python files, kept out of the tree: without them every process of a region compiles its imports for 2 s.
export PYTHONPYCACHEPREFIX ?= $(IMAGING_CACHE)/pycache

VENV := .venv
PY := $(VENV)/bin/python
MEMBERS := libs/common deploy/native deploy/operate $(wildcard services/*)
STAMP := $(VENV)/.installed

.PHONY: help deps check-deps venv fetch run test lint types unit contract integration browser faults bench replay \
	audit-verify schemas pins format

help: ## What can be called
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements.txt pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	@echo "python: installing the environment"
	@test -x $(PY) || python3.11 -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check uv
	@$(VENV)/bin/uv pip install -q --python $(PY) -r requirements.txt
	@$(VENV)/bin/uv pip install -q --python $(PY) --no-deps $(addprefix -e ,$(MEMBERS))
	@touch $@

venv: $(STAMP) ## The Python environment

deps: venv ## Debian packages (installs them as root, else names the missing ones and fails)
	@$(PY) -m imaging_native deps

check-deps: venv
	@$(PY) -m imaging_native deps --check

fetch: venv ## Kafka, MongoDB, MinIO, Keycloak and OHIF into IMAGING_CACHE
	@$(PY) -m imaging_native fetch

run: deps fetch ## A region on this machine, and its story (ONCE=1 ends after it; REGION_STATE=file)
	@exec $(PY) -m imaging_native run $(if $(ONCE),--once) $(if $(PICTURES),--pictures $(PICTURES))

test: lint types unit contract integration browser ## Everything

lint: venv ## ruff and import-linter
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check -q .
	@$(VENV)/bin/lint-imports --no-cache

types: venv ## mypy, strict
	@$(VENV)/bin/mypy libs/common/src deploy/native/src deploy/operate/src $(wildcard services/*/src)

unit: deps ## Without servers
	@$(PY) -m pytest -q libs services deploy

contract: venv ## The contracts in schemas/
	@$(PY) -m pytest -q tests/contract

integration: deps fetch ## On the real servers
	@$(PY) -m pytest -q tests/integration

browser: deps fetch ## In real Chromium
	@$(PY) -m pytest -q tests/browser

faults: deps fetch ## Kills processes while images are sent (SEED=n)
	@$(PY) -m imaging_native.faults $(if $(SEED),--seed $(SEED))

bench: deps fetch ## Against Debian's Orthanc; writes bench/results.json
	@$(PY) bench/run.py

replay: venv ## Sends a dead letter topic back to its source (TOPIC=…, LIMIT=n, REGION_STATE=file)
	@$(PY) -m imaging_native.replay $(TOPIC) $(if $(LIMIT),--limit $(LIMIT))

audit-verify: venv ## Walks the audit chains and compares them with their anchors (REGION_STATE=file)
	@$(PY) -m imaging_native.audit_verify

schemas: venv ## Writes schemas/ anew from the models
	@$(PY) -m imaging_common.contracts export

pins: venv ## Pins anew from requirements.in
	@$(VENV)/bin/uv pip compile -q requirements.in -o requirements.txt --no-emit-index-url --no-header --no-annotate

format: venv ## Formats the code
	@$(VENV)/bin/ruff check -q --fix . ; $(VENV)/bin/ruff format -q .
