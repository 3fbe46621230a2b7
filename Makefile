# The commands of this repository. Each target installs what it needs; a second run finds it installed.
#
#   make demo           a populated sandbox: preview, up, preview again
#   make test           everything but test-schedule, as CI runs it
#   make test-unit      the fast tests alone, without the properties over generated clusters
#   make test-schedule  the schedule with Pulumi's Kubernetes plugin, which is built for it; CI runs it as well
#   make coverage       the same tests, and which branches of pruner they take
#   make check          format, lint, types, layers, generated parts, writing, and whether every test can be collected
#   make plugin         the archive of the native provider, in artefacts
#   make docs           the API reference, from docstrings, in artefacts/api
#   make bench          measurements (see bench/)
#   make mutants        mutation run over pruner/analysis

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test test-unit test-schedule coverage check plugin docs bench mutants setup setup-pulumi setup-servers setup-integration clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pruner
export KUBE_APISERVER = $(shell cat "$(TOOLS)/kube-apiserver.path" 2>/dev/null)
export PRUNER_ANSIBLE = $(shell cat "$(TOOLS)/ansible.path" 2>/dev/null)
export CONTAINER_PARTS = $(shell cat "$(TOOLS)/container-parts.path" 2>/dev/null)
export PULUMI_KUBERNETES_PLUGIN = $(shell cat "$(TOOLS)/pulumi-kubernetes.path" 2>/dev/null)
export TEKTON_CRDS = $(shell cat "$(TOOLS)/tekton.path" 2>/dev/null)
tool_paths = $(foreach tool,pulumi pulumi-yaml pulumi-nodejs,"$(TOOLS)/$(tool).path")
pulumi_path = $(shell { echo "$(CURDIR)/$(BIN)"; cat $(tool_paths) 2>/dev/null; } | paste -sd: -)
pytest = PATH="$(pulumi_path):$$PATH" $(BIN)/python -m pytest

$(VENV)/.stamp: requirements.txt policies/requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("%s is Python %d.%d" % ((sys.executable,) + sys.version_info[:2]))' || \
	  { echo "pruner needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

setup: $(VENV)/.stamp

setup-pulumi:
	@mkdir -p "$(TOOLS)"
	@tools/get_pulumi "$(TOOLS)" | tail -1 > "$(TOOLS)/pulumi.path"

setup-servers:
	@mkdir -p "$(TOOLS)"
	@tools/get_debian
	@{ PYTHON=$(BIN)/python tools/get_container_parts "$(TOOLS)" || [ -z "$${CI:-}" ]; } | tail -1 > "$(TOOLS)/container-parts.path"
	@{ tools/get_kube_apiserver "$(TOOLS)" || [ -z "$${CI:-}" ]; } | tail -1 > "$(TOOLS)/kube-apiserver.path"

setup-integration: setup-servers
	@tools/get_chromium
	@{ tools/get_pulumi_yaml "$(TOOLS)" || [ -z "$${CI:-}" ]; } | tail -1 > "$(TOOLS)/pulumi-yaml.path"
	@{ tools/get_pulumi_nodejs "$(TOOLS)" || [ -z "$${CI:-}" ]; } | tail -1 > "$(TOOLS)/pulumi-nodejs.path"
	@{ tools/get_tekton || [ -z "$${CI:-}" ]; } | tail -1 > "$(TOOLS)/tekton.path"
	@{ tools/get_ansible "$(TOOLS)" || [ -z "$${CI:-}" ]; } | tail -1 > "$(TOOLS)/ansible.path"

demo: setup setup-pulumi
	@PATH="$(pulumi_path):$$PATH" $(BIN)/python -m tools.demo

test-unit: setup
	$(BIN)/python -m pytest --numprocesses 2 -m "not properties" tests/unit

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check
	$(BIN)/python -m policies.table --check
	$(BIN)/python -m tools.check_writing
	@found=$$($(BIN)/python -m pytest --collect-only --quiet tests 2>&1) || { echo "$$found" | sed -n '/ERRORS/,$$p'; exit 1; }

# What ends soon when something is wrong comes first: checks and unit tests before the set-up of the rest, which takes minutes on a new
# machine. The rest is a make of its own, so that the paths that set-up has written are read.
.PHONY: test-rest test-plugin
test: check
	$(BIN)/python -m pytest $(spread) tests/unit
	$(MAKE) --no-print-directory setup-pulumi setup-integration
	$(MAKE) --no-print-directory test-rest

spread = --numprocesses 2 --dist worksteal --durations 40
plugin_tests = tests/integration/plugin

test-rest:
	$(pytest) $(spread) --ignore=tests/unit --ignore=$(plugin_tests) tests

# Apart from `test`, since building the plugin takes longer than what is tested with it.
test-schedule: setup setup-pulumi setup-servers
	@tools/get_pulumi_kubernetes "$(TOOLS)" | tail -1 > "$(TOOLS)/pulumi-kubernetes.path"
	$(MAKE) --no-print-directory test-plugin

test-plugin:
	$(pytest) --durations 10 $(plugin_tests)

# Apart from `test`, since every process that a test starts is slower when it is measured.
coverage: setup setup-pulumi setup-integration
	rm -f .coverage .coverage.*
	$(pytest) $(spread) --cov --cov-report=term:skip-covered --ignore=$(plugin_tests) tests

plugin: setup
	@$(BIN)/python -m tools.plugin

docs: setup
	$(BIN)/python -m tools.api_reference

mutants: setup
	$(BIN)/python tools/mutants.py "$(TOOLS)/mutants"

bench: setup setup-pulumi
	PATH="$(pulumi_path):$$PATH" $(BIN)/python -m bench

clean:
	rm -rf $(VENV) .demo artefacts .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
