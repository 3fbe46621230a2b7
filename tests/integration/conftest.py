"""
Real servers for integration tests, once in a session: kube-apiserver with RBAC, Debian's docker-registry, and a forward
proxy. What a machine lacks is a skip with the reason, and in CI a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.settings import Settings, read
from tests.integration import container as image
from tests.integration.authorities import Authority
from tests.integration.docker_registry import DockerRegistry, running_docker_registry
from tests.integration.kubernetes_api import READ_RULES, Kubernetes, running_kubernetes


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A Kubernetes API whose user `pruner` has what preview and up need, and `reader` what preview needs."""
    with running_kubernetes(tmp_path_factory.mktemp("kubernetes")) as cluster:
        writing = [
            {"apiGroups": ["image.openshift.io"], "resources": ["images"], "verbs": ["delete"]},
            {"apiGroups": ["image.openshift.io"], "resources": ["imagestreams/status"], "verbs": ["update"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        ]
        cluster.allow("pruner", [*READ_RULES, *writing])
        cluster.allow("reader", READ_RULES)
        yield cluster


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A docker-registry over plain HTTP."""
    with running_docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def container(tmp_path_factory: pytest.TempPathFactory) -> image.Container:
    """The container image, built once by whichever of pytest-xdist's workers comes first."""
    base = tmp_path_factory.getbasetemp()
    return image.build((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "container")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no system trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def as_user(kubernetes: Kubernetes):  # type: ignore[no-untyped-def]
    """Settings for a user of the API: `as_user("pruner", namespace="shop")`."""

    def settings(user: str, **more: object) -> Settings:
        token = kubernetes.tokens[user]
        return read({"host": kubernetes.url, "ca_cert": kubernetes.ca, "api_key": token, **more})

    return settings


def api(settings: Settings) -> Api:
    """A client with these settings."""
    return Api(connect(settings), workers=settings.workers)


def text_file(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)
