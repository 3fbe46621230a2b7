"""Runs in the Python that has the collection: what the Ansible module does with clusters, said in JSON.

Reads one JSON object per line, {"resources": {kind: [objects]}, "params": {...}, "now": "..."}, and writes one line for
each: {"deleted_images": [...], "streams": {name: {tag: [digests]}}, "layer_links", ..., "looks_in": ..., "senders":
...}, {"failed": message} where the module ends with a message of its own, or {"crashed": "TypeError: ..."}. The
module's own code decides; only its client of the API, its HTTP calls and its clock are replaced.
"""

from __future__ import annotations

import copy
import datetime
import json
import sys
import threading
from typing import Any

from ansible_collections.community.okd.plugins.module_utils import openshift_adm_prune_images as module


class Ended(Exception):  # noqa: N818 - the module's exit, not an error
    """The module has called exit_json or fail_json."""


class FakeRegistry:
    """Takes deletions for the module's REST client, and answers all of them alike."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.reason = "as the test says"
        self.urls: list[str] = []
        self.senders: set[int] = set()
        self.configuration = self
        self.api_key: dict[str, str] = {}

    def DELETE(self, url: str, headers: dict[str, str]) -> FakeRegistry:  # noqa: ARG002 - the client's name
        self.urls.append(url.partition("//")[2].partition("/")[2])
        # The client waits for each answer, so that there are never more requests under way than threads.
        self.senders.add(threading.get_ident())
        return self


class Offline(module.OpenShiftAdmPruneImages):  # type: ignore[misc]
    """The module, with the cluster in memory."""

    def __init__(self, resources: dict[str, list[Any]], params: dict[str, Any], now: datetime.datetime) -> None:
        self.resources = resources
        self.given = {
            "all_images": True,
            "ignore_invalid_refs": False,
            "prune_registry": True,
            "registry_url": "https://registry",
            **params,
        }
        self.now = now
        self.result: dict[str, Any] = {}
        self.registry = self.client = FakeRegistry(self.given.pop("registry_answers", 202))
        self.deleted: list[str] = []
        self.updated: dict[str, Any] = {}
        self.max_creation_timestamp = self.get_max_creation_timestamp()
        self._rest_client = None
        self.registryhost = self.given["registry_url"]
        self.changed = False

    params = property(lambda self: self.given)
    rest_client = property(lambda self: self.registry)
    check_mode = False
    module = property(lambda self: self)

    def get_max_creation_timestamp(self) -> datetime.datetime | None:
        minutes = self.given.get("keep_younger_than")
        return self.now - datetime.timedelta(minutes=minutes) if minutes else None

    def kubernetes_facts(
        self, kind: str, api_version: str, name: str | None = None, namespace: str | None = None
    ) -> dict[str, Any]:
        served = [] if api_version == "batch/v1beta1" else self.resources.get(kind, [])  # gone since Kubernetes 1.25
        found = [
            each
            for each in served
            if (not name or each["metadata"]["name"] == name)
            and (not namespace or each["metadata"].get("namespace") == namespace)
        ]
        return {"resources": copy.deepcopy(found)}

    def update_image_stream_status(self, definition: dict[str, Any]) -> dict[str, Any]:
        self.updated[f"{definition['metadata']['namespace']}/{definition['metadata']['name']}"] = definition
        return definition

    def delete_image(self, image: dict[str, Any]) -> dict[str, Any]:
        self.deleted.append(image["metadata"]["name"])
        return image

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": result.get("msg")}
        raise Ended


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What the module does with one cluster."""
    now = datetime.datetime.strptime(question["now"], "%Y-%m-%dT%H:%M:%SZ")
    kinds = {kind: question["resources"].get(kind, []) for kind in module.ApiConfiguration}
    offline = Offline(kinds, question["params"], now)
    try:
        offline.execute_module()
    except Ended:
        pass
    except Exception as error:  # noqa: BLE001 - any crash of the module is its answer
        return {"crashed": f"{type(error).__name__}: {error}"}
    if "failed" in offline.result:
        return offline.result
    return {
        "deleted_images": sorted(offline.deleted),
        "streams": {
            name: {tag["tag"]: [item["image"] for item in tag["items"]] for tag in definition["status"]["tags"]}
            for name, definition in offline.updated.items()
        },
        **{kind: _kind(offline.registry.urls, mark) for kind, mark in _KINDS.items()},
        "senders": len(offline.registry.senders),
        "looks_in": type(offline.referenced_images).__name__,
    }


_KINDS = {"layer_links": "/blobs/", "manifest_links": "/manifests/", "blobs": "admin/blobs/"}


def _kind(urls: list[str], mark: str) -> list[str]:
    return sorted({url for url in urls if mark in url and (mark.startswith("admin") or not url.startswith("admin"))})


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
