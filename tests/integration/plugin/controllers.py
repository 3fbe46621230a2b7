"""
What the tests' Kubernetes lacks of a kube-controller-manager, as far as Pulumi's Kubernetes plugin waits for it: Jobs
that succeed, objects that are released by the garbage collector, and namespaces that end once they are deleted.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.integration.kubernetes_api import ADMIN_TOKEN, RBAC, Kubernetes

Json = dict[str, Any]

BETWEEN_SECONDS = 0.3
SELECTED = "?labelSelector=app.kubernetes.io/name%3Dpruner"
NAMESPACES, JOBS = "/api/v1/namespaces", "/apis/batch/v1/jobs"
COLLECTIONS = (
    NAMESPACES, "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/serviceaccounts", JOBS, "/apis/batch/v1/cronjobs",
    "/apis/networking.k8s.io/v1/networkpolicies", f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings",
    f"{RBAC}/roles", f"{RBAC}/rolebindings",
)  # fmt: skip


@contextmanager
def running_controllers(cluster: Kubernetes) -> Iterator[None]:
    """Look after the objects of schedules for as long as the context lasts."""
    stopped = threading.Event()
    parts = urlsplit(cluster.url)
    trusting = ssl.create_default_context(cafile=cluster.ca)

    def work() -> None:
        connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=30, context=trusting)
        with closing(connection):
            controllers = _Controllers(connection)
            while not stopped.wait(BETWEEN_SECONDS):
                controllers.look_after_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Controllers:
    connection: http.client.HTTPSConnection

    def look_after_all(self) -> None:
        for collection in COLLECTIONS:
            for each in self._call("GET", collection + SELECTED)["items"]:
                path = _path(collection, each)
                if "deletionTimestamp" in each["metadata"]:
                    self._end(collection, path, each)
                elif collection == JOBS and not each["status"].get("conditions"):
                    self._call("PUT", f"{path}/status", {**each, "status": _succeeded(each)})

    def _end(self, collection: str, path: str, each: Json) -> None:
        """Release what was deleted in the foreground; nothing here has dependents, and no namespace has content."""
        if each["metadata"].pop("finalizers", None):
            self._call("PUT", path, each)
        elif collection == NAMESPACES:
            self._call("PUT", f"{path}/finalize", {**each, "spec": {"finalizers": []}})

    def _call(self, method: str, path: str, body: object = None) -> Json:
        """The answer, also that another writer was faster: the next look shows what there is to do."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        answer: Json = json.loads(response.read())
        assert response.status in (200, 404, 409), answer
        return answer


def _path(collection: str, each: Json) -> str:
    name, namespace = each["metadata"]["name"], each["metadata"].get("namespace")
    root, _, plural = collection.rpartition("/")
    return f"{root}/{plural}/{name}" if namespace is None else f"{root}/namespaces/{namespace}/{plural}/{name}"


def _succeeded(job: Json) -> Json:
    """The status of a Job whose pods have all succeeded."""
    when, wanted = job["metadata"]["creationTimestamp"], job["spec"]["completions"]
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": when, "lastTransitionTime": when}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {
        "startTime": when, "completionTime": when, "conditions": conditions, "succeeded": wanted,
        "completedIndexes": "0" if wanted == 1 else f"0-{wanted - 1}", "ready": 0, "terminating": 0,
        "uncountedTerminatedPods": {},
    }  # fmt: skip
