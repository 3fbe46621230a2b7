"""Runs in the Python with the Ansible collection: openshift_adm_prune_images in check mode, and its times as JSON.

    PYTHON bench/module.py URL [TOKEN]

With a token it deletes, Images and items of image streams only: its client of the registry does not work with the
`kubernetes` package that is installed with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time

from ansible.module_utils import basic
from ansible_collections.community.okd.plugins.modules import openshift_adm_prune_images as module


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    arguments = {"host": sys.argv[1], "api_key": "bench", "keep_younger_than": 60, "_ansible_check_mode": True}
    if len(sys.argv) > 2:
        arguments |= {"api_key": sys.argv[2], "prune_registry": False, "_ansible_check_mode": False}
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    said = io.StringIO()
    before, began = cpu(), time.perf_counter()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main()
    took = {"wall": time.perf_counter() - began, "cpu": cpu() - before}
    answer = json.loads(said.getvalue())
    if answer.get("failed"):
        print(json.dumps({"failed": answer.get("msg"), "error": answer.get("error")}))
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**took, "memory": peak, "images": len(answer["deleted_images"])}))


if __name__ == "__main__":
    main()
