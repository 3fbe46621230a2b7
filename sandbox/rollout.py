"""
The deployment of the registry, and what a deployment controller does with it: when its pod template changes, replicas
are replaced one after the other, and each new one has nothing in memory.
"""

import asyncio
from collections.abc import Sequence

from sandbox.descriptors import Descriptors
from sandbox.kinds import NAMESPACES
from sandbox.objects import RESOURCES
from sandbox.status import Json
from sandbox.store import Store

DEPLOYMENTS = RESOURCES["Deployment"]
NAMESPACE = "openshift-image-registry"
NAME = "image-registry"
_LABELS = {"docker-registry": "default"}


class Rollout:
    """Deployment `image-registry` with a replica for each cache of descriptors."""

    def __init__(self, store: Store, replicas: Sequence[Descriptors]) -> None:
        self.store = store
        self.replicas = replicas
        self._running: Json = {}

    def ensure(self) -> None:
        """Creates the deployment and its namespace unless they are there; all of its replicas are ready."""
        if not self.store.find(NAMESPACES, "", NAMESPACE):
            self.store.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
        if not self.store.find(DEPLOYMENTS, NAMESPACE, NAME):
            container = {"name": "registry", "image": "quay.io/openshift-release-dev/ocp-v4.0-art-dev:registry"}
            template = {"metadata": {"labels": _LABELS}, "spec": {"containers": [container]}}
            spec = {"replicas": len(self.replicas), "selector": {"matchLabels": _LABELS}, "template": template}
            self.store.create(DEPLOYMENTS, NAMESPACE, {"metadata": {"name": NAME}, "spec": spec})
        self._running = self._template() or {}
        self._say(len(self.replicas))

    async def follow(self) -> None:
        """Does what the controller does, for ever."""
        while True:
            template = self._template()
            if template is None or template == self._running:
                await self.store.changed()
                continue
            self._running = template
            for updated, replica in enumerate(self.replicas):
                self._say(updated)
                await asyncio.sleep(0)
                replica.clear()
            self._say(len(self.replicas))

    def _template(self) -> Json | None:
        item = self.store.find(DEPLOYMENTS, NAMESPACE, NAME)
        found: Json | None = item.content["spec"]["template"] if item else None
        return found

    def _say(self, updated: int) -> None:
        item = self.store.find(DEPLOYMENTS, NAMESPACE, NAME)
        if item is None:
            return
        whole = len(self.replicas)
        counts = {"replicas": whole, "readyReplicas": whole, "availableReplicas": whole, "updatedReplicas": updated}
        status = {"observedGeneration": item.metadata["generation"], **counts}
        self.store.rewrite(item, {**item.content, "status": status})
