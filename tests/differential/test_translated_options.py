"""The options and examples of the Ansible module itself, against what `pruner translate` knows of them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml

from pruner.cli.ansible import OPTIONS, from_task
from pruner.settings import ALIASES
from tests.differential.conftest import python_with_ansible

DOCUMENTED = """
import json, yaml
from ansible_collections.community.okd.plugins.module_utils.openshift_adm_prune_images import OpenShiftAdmPruneImages
from ansible_collections.community.okd.plugins.modules import openshift_adm_prune_images as module
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
options = {**AUTH_ARG_SPEC, **yaml.safe_load(module.DOCUMENTATION)["options"]}
aliases = [alias for spec in AUTH_ARG_SPEC.values() for alias in spec.get("aliases", ())]
print(json.dumps({"options": sorted(options), "aliases": sorted(aliases), "examples": module.EXAMPLES}))
"""


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    python = python_with_ansible()
    if python is None:
        pytest.skip("needs the Ansible module; make setup-integration installs it")
    done = subprocess.run([python, "-c", DOCUMENTED], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_option_of_the_module_is_known(documented: dict[str, Any]) -> None:
    assert set(documented["options"]) == set(OPTIONS)
    assert documented["aliases"]
    assert set(documented["aliases"]) <= set(ALIASES)


def test_every_example_of_the_module_is_translated(documented: dict[str, Any]) -> None:
    tasks = yaml.safe_load(documented["examples"])
    settings = [from_task(documented["examples"], name=task["name"]).settings for task in tasks]

    assert settings == [task["community.okd.openshift_adm_prune_images"] for task in tasks]
    assert len(settings) == 3
