# The region's commands; `make help` lists them. Everything that is downloaded goes to IMAGING_CACHE, outside the tree.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export IMAGING_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imaging-cloud
export UV_CACHE_DIR ?= $(IMAGING_CACHE)/uv
# Compiled Python files, kept out of the tree: without them every process of a region compiles its imports for 2 s.
export PYTHONPYCACHEPREFIX ?= $(IMAGING_CACHE)/pycache

VENV := .venv
VERSION ?= 0.1.0
PY := $(VENV)/bin/python
MEMBERS := libs/common deploy/native deploy/operate $(wildcard services/*)
STAMP := $(VENV)/.installed

.PHONY: help deps check-deps venv fetch run test lint types unit contract integration browser faults bench replay \
	audit-verify backup restore reconcile schemas pins format containers-test scaling release-baseline rules-test \
	charts charts-test cluster-test external-test images compose-test restore-test deploy-test

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

containers-test: deps fetch ## The integration tests on servers in containers (TESTS=…, KAFKA_IMAGE=… and the like)
	@BACKENDS=containers $(PY) -m pytest -q $(or $(TESTS),tests/integration)

browser: deps fetch ## In real Chromium
	@$(PY) -m pytest -q tests/browser

PROMETHEUS_VERSION ?= v0.305.0
PROMTOOL := $(IMAGING_CACHE)/bin/promtool-$(PROMETHEUS_VERSION)

# As a dependency of an empty module: `go install` refuses modules whose go.mod replaces something.
$(PROMTOOL):
	@echo "promtool: building $(PROMETHEUS_VERSION), minutes the first time"
	@mkdir -p $(@D) $(IMAGING_CACHE)/promtool && cd $(IMAGING_CACHE)/promtool && rm -f go.mod go.sum \
	  && go mod init promtool.local/build 2>/dev/null \
	  && go get github.com/prometheus/prometheus/cmd/promtool@$(PROMETHEUS_VERSION) 2>/dev/null \
	  && go build -ldflags '-s -w' -o $@ github.com/prometheus/prometheus/cmd/promtool

rules-test: venv $(PROMTOOL) ## Alert rules and promises with promtool; dashboards and pages (builds promtool the first time)
	@cd deploy/observability && $(PROMTOOL) check rules rules/*.yml && $(PROMTOOL) test rules rules/tests/*.yml
	@$(PY) -m pytest -q deploy/observability/tests

faults: deps fetch ## Kills processes while images are sent (SEED=n)
	@$(PY) -m imaging_native.faults $(if $(SEED),--seed $(SEED))

bench: deps fetch ## Against Debian's Orthanc; writes bench/results.json
	@$(PY) bench/run.py

scaling: deps fetch ## 1 and 2 copies of every service under load, one killed; writes bench/scaling.json (SEED=n)
	@$(PY) -m imaging_native.scaling $(if $(SEED),--seed $(SEED))

replay: venv ## Sends a dead letter topic back to its source (TOPIC=…, LIMIT=n, REGION_STATE=file)
	@$(PY) -m imaging_operate replay $(TOPIC) $(if $(LIMIT),--limit $(LIMIT))

audit-verify: venv ## Walks the audit chains and compares them with their anchors (REGION_STATE=file)
	@$(PY) -m imaging_operate audit verify

backup: venv ## Saves a region (TARGET=folder or s3://bucket/prefix, RECIPIENTS=age public keys, REGION_STATE=file)
	@$(PY) -m imaging_operate backup make $(TARGET) $(if $(RECIPIENTS),--recipients $(RECIPIENTS))

restore: venv ## Puts the last backup into an empty region (TARGET=…, IDENTITY=age private key, REGION_STATE=file)
	@$(PY) -m imaging_operate restore $(TARGET) $(if $(IDENTITY),--identity $(IDENTITY)) $(if $(BACKUP),--backup $(BACKUP))

reconcile: venv ## Finds what is missing between edges, index, archive and events, and mends it (DRY_RUN=1)
	@$(PY) -m imaging_operate reconcile $(if $(DRY_RUN),--dry-run)

images: venv ## Builds all container images (VERSION=0.1.0, IMAGE_PREFIX=imaging-cloud, IMAGES="indexer …")
	@OHIF=$$($(PY) -m imaging_native ohif | tail -1) VERSION=$(VERSION) deploy/images/build.sh $(IMAGES)

compose-test: venv ## The region with Compose, and its story in it; needs a container engine (PICTURES=folder, KEEP=1)
	@OHIF=$$($(PY) -m imaging_native ohif | tail -1) VERSION=$(VERSION) deploy/compose/test.sh

charts: ## Copies the alert rules and dashboards of deploy/observability into the centre's chart
	@rm -rf deploy/k8s/centre/observability
	@mkdir -p deploy/k8s/centre/observability/rules deploy/k8s/centre/observability/dashboards
	@cp deploy/observability/rules/*.yml deploy/k8s/centre/observability/rules/
	@cp deploy/observability/grafana/dashboards/*.json deploy/k8s/centre/observability/dashboards/

CHARTS_TOOLS := $(IMAGING_CACHE)/bin/helm $(IMAGING_CACHE)/bin/kubeconform
$(IMAGING_CACHE)/bin/helm:
	@GOBIN=$(@D) go install helm.sh/helm/v3/cmd/helm@v3.22.0
$(IMAGING_CACHE)/bin/kubeconform:
	@GOBIN=$(@D) go install github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0

export KUBERNETES_VERSIONS ?= 1.32.10 1.33.6 1.34.2
export KUBERNETES_SCHEMAS ?= $(IMAGING_CACHE)/kubernetes-schemas
charts-test: venv $(CHARTS_TOOLS) ## The Helm charts: lint, schemas of the supported Kubernetes versions, policies, values
	@$(PY) deploy/k8s/tests/kubernetes_schemas.py $(KUBERNETES_SCHEMAS) $(KUBERNETES_VERSIONS)
	@PYTHONPATH=deploy/k8s/tests $(PY) -m pytest -q deploy/k8s/tests/charts_*.py

cluster-test: venv $(CHARTS_TOOLS) ## Both charts on the cluster that kubectl reaches, story, upgrade under load (CLUSTER_LOAD=command, KEEP=1)
	@$(PY) deploy/k8s/tests/cluster.py

external-test: venv ## The centre's chart on servers outside of the cluster (EXTERNAL_ADDRESS of this machine, as pods reach it)
	@PATH=$(IMAGING_CACHE)/bin:$$PATH deploy/k8s/tests/external.sh

restore-test: deps fetch ## A backup of a region with studies, reports and a consult, restored into an empty one
	@$(PY) -m pytest -q tests/integration/test_operate_restore.py

deploy-test: venv ## All that needs Go, a container engine or a cluster; exits with 3 if something had to be skipped
	@$(PY) -m imaging_native.deploy_test

schemas: venv ## Writes schemas/ anew from the models
	@$(PY) -m imaging_common.contracts export

release-baseline: venv ## At a release: contracts, and documents of a region (REGION_STATE=file), to compare later ones with
	@$(PY) -m imaging_common.contracts baseline
	@$(PY) -m imaging_native.documents tests/contract/baseline/documents

pins: venv ## Pins anew from requirements.in
	@$(VENV)/bin/uv pip compile -q requirements.in -o requirements.txt --no-emit-index-url --no-header --no-annotate

format: venv ## Formats the code
	@$(VENV)/bin/ruff check -q --fix . ; $(VENV)/bin/ruff format -q .
