"""
A real Kubernetes API with RBAC: etcd and kube-apiserver, and behind it, as an APIService, the project's sandbox for
image.openshift.io, the way OpenShift serves it. DeploymentConfigs, BuildConfigs and Builds are custom resources. There
are no controllers: what a test creates stays as it is.
"""

import http.client
import json
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.integration.authorities import Authority, Pair
from tests.integration.processes import answers, cannot, free_port, pause, program, started
from tests.servers import RunningSandbox, running_sandbox

Json = dict[str, Any]

VERSION = "1.36.3"
ADMIN_TOKEN = "integration-admin-token"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
READ = ("get", "list")
MACHINES = "machineconfiguration.openshift.io"
CUSTOM_KINDS = (
    ("apps.openshift.io", "deploymentconfigs", "DeploymentConfig", "Namespaced"),
    ("build.openshift.io", "buildconfigs", "BuildConfig", "Namespaced"),
    ("build.openshift.io", "builds", "Build", "Namespaced"),
    ("config.openshift.io", "clusterversions", "ClusterVersion", "Cluster"),
    (MACHINES, "machineconfigs", "MachineConfig", "Cluster"),
    (MACHINES, "machineosconfigs", "MachineOSConfig", "Cluster"),
    (MACHINES, "machineosbuilds", "MachineOSBuild", "Cluster"),
    (MACHINES, "machineconfignodes", "MachineConfigNode", "Cluster"),
    (MACHINES, "pinnedimagesets", "PinnedImageSet", "Cluster"),
)
TOKENS = {
    "admin": (ADMIN_TOKEN, "system:masters"),
    "pruner": ("integration-pruner-token", ""),
    "reader": ("integration-reader-token", ""),
    "limited": ("integration-limited-token", ""),
    "robot": ("integration-robot-token", ""),
    "nobody": ("integration-nobody-token", ""),
}
"""Users of the static token file: token and group of each."""

READ_RULES: list[Json] = [
    {"apiGroups": [""], "resources": ["pods", "replicationcontrollers", "limitranges"], "verbs": ["list"]},
    {
        "apiGroups": ["apps"],
        "resources": ["daemonsets", "deployments", "replicasets", "statefulsets", "controllerrevisions"],
        "verbs": ["list"],
    },
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": ["list"]},
    {"apiGroups": ["apps.openshift.io"], "resources": ["deploymentconfigs"], "verbs": ["list"]},
    {"apiGroups": ["build.openshift.io"], "resources": ["buildconfigs", "builds"], "verbs": ["list"]},
    {"apiGroups": ["image.openshift.io"], "resources": ["images", "imagestreams"], "verbs": ["get", "list"]},
    {
        "apiGroups": [MACHINES],
        "resources": [plural for group, plural, *_ in CUSTOM_KINDS if group == MACHINES],
        "verbs": ["list"],
    },
]


def binary() -> str:
    """kube-apiserver: of KUBE_APISERVER, else of KUBEBUILDER_ASSETS, else as the set-up has built it."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidates = [
        os.environ.get("KUBE_APISERVER"),
        f"{assets}/kube-apiserver" if assets else None,
        f"{Path.home()}/.cache/pruner/kube-apiserver-{VERSION}",
    ]
    found = next((path for path in candidates if path and os.access(path, os.X_OK)), None)
    if found is None:
        cannot("there is no kube-apiserver: set KUBE_APISERVER or KUBEBUILDER_ASSETS, or have the set-up build one")
    return found


@dataclass(slots=True)
class Kubernetes:
    """A kube-apiserver that is up. `sandbox` serves image.openshift.io behind it."""

    url: str
    authority: Authority
    sandbox: RunningSandbox
    tokens: Mapping[str, str]

    @property
    def ca(self) -> str:
        return str(self.authority.ca)

    def call(self, method: str, path: str, body: object = None, *, token: str = ADMIN_TOKEN) -> tuple[int, Json]:
        """One request: status and JSON of the answer."""
        parts = urlsplit(self.url)
        trusting = ssl.create_default_context(cafile=self.ca)
        connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=30, context=trusting)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
            return response.status, json.loads(raw) if raw.startswith(b"{") else {"message": raw.decode()}
        finally:
            connection.close()

    def put(self, path: str, body: Json) -> Json:
        """Create an object; one that is there already stays as it is."""
        status, answer = self.call("POST", path, body)
        assert status in (200, 201, 409), f"POST {path} answered {status}: {answer.get('message')}"
        return answer

    def get(self, path: str) -> Json:
        status, answer = self.call("GET", path)
        assert status == 200, f"GET {path} answered {status}: {answer.get('message')}"
        return answer

    def namespace(self, name: str) -> None:
        self.put("/api/v1/namespaces", {"metadata": {"name": name}})

    def allow(self, user: str, rules: Iterable[Json]) -> None:
        """Give the user a ClusterRole with exactly these rules, instead of what it had."""
        for kind in ("clusterrolebindings", "clusterroles"):
            self.call("DELETE", f"{RBAC}/{kind}/{user}")
        self.put(f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": list(rules)})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        binding = {"metadata": {"name": user}, "roleRef": role, "subjects": [subject]}
        self.put(f"{RBAC}/clusterrolebindings", binding)

    def empty(self, *namespaces: str) -> None:
        """Delete what tests leave behind: all images and image streams, and the workloads in these namespaces."""
        sandbox = self.sandbox
        for image in sandbox.images():
            sandbox.call("DELETE", f"/apis/image.openshift.io/v1/images/{image}")
        for stream in sandbox.items("/apis/image.openshift.io/v1/imagestreams"):
            meta = stream["metadata"]
            sandbox.call(
                "DELETE",
                f"/apis/image.openshift.io/v1/namespaces/{meta['namespace']}/imagestreams/{meta['name']}",
            )
        for namespace in namespaces:
            for root, plural in WORKLOADS:
                self.call("DELETE", f"{root}/namespaces/{namespace}/{plural}?gracePeriodSeconds=0")

    def kubeconfig(self, user: Mapping[str, Any], **cluster: Any) -> Json:
        """A kubeconfig with one context, of this user."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "main",
            "clusters": [
                {"name": "main", "cluster": {"server": self.url, "certificate-authority": self.ca, **cluster}}
            ],
            "users": [{"name": "main", "user": dict(user)}],
            "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
        }


WORKLOADS = (
    ("/api/v1", "pods"),
    ("/api/v1", "replicationcontrollers"),
    ("/api/v1", "limitranges"),
    ("/apis/apps/v1", "deployments"),
    ("/apis/apps/v1", "daemonsets"),
    ("/apis/apps/v1", "statefulsets"),
    ("/apis/apps/v1", "replicasets"),
    ("/apis/batch/v1", "jobs"),
    ("/apis/batch/v1", "cronjobs"),
    ("/apis/apps.openshift.io/v1", "deploymentconfigs"),
    ("/apis/build.openshift.io/v1", "buildconfigs"),
    ("/apis/build.openshift.io/v1", "builds"),
)


@contextmanager
def running_kubernetes(folder: Path) -> Iterator[Kubernetes]:
    """The whole of it, for as long as the context lasts."""
    etcd_program, apiserver = program("etcd", "etcd-server"), binary()
    authority, front = Authority(folder / "ca"), Authority(folder / "front-proxy")
    server = authority.server()
    with (
        _etcd(etcd_program, folder) as etcd,
        running_sandbox(
            folder / "sandbox", "--trust-front-proxy", "--registry-without-tls",
            "--tls-cert", str(server.certificate), "--tls-key", str(server.key), "--tls-ca", str(authority.ca),
        ) as sandbox,
        _apiserver(apiserver, folder, etcd, authority, server, front) as url,
    ):  # fmt: skip
        cluster = Kubernetes(url, authority, sandbox, {user: token for user, (token, _) in TOKENS.items()})
        # The registry asks the cluster who a token belongs to; this one knows the one user that is to delete in it.
        sandbox.tokens["pruner"] = cluster.tokens["pruner"]
        sandbox.put_user("pruner", [{"verbs": ["*"], "resources": ["*"]}])
        _serve_custom_kinds(cluster)
        _serve_images(cluster)
        _wait_for_kinds(cluster)
        yield cluster


@contextmanager
def _etcd(path: str, folder: Path) -> Iterator[str]:
    client, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    command = [
        path, "--data-dir", str(folder / "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        "--unsafe-no-fsync",
    ]  # fmt: skip
    with started(command, folder / "etcd.log", lambda: answers(f"{client}/health")):
        yield client


@contextmanager
def _apiserver(
    path: str, folder: Path, etcd: str, authority: Authority, server: Pair, front: Authority
) -> Iterator[str]:
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    tokens = folder / "tokens.csv"
    lines = [f'{token},{user},{user},"{group}"' for user, (token, group) in TOKENS.items()]
    tokens.write_text("\n".join(lines) + "\n", encoding="utf-8")
    proxy, accounts = front.client("front-proxy-client"), authority.client("service-accounts")
    flags = {
        "etcd-servers": etcd,
        "secure-port": str(port),
        "bind-address": "127.0.0.1",
        "tls-cert-file": str(server.certificate),
        "tls-private-key-file": str(server.key),
        "client-ca-file": str(authority.ca),
        "token-auth-file": str(tokens),
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(accounts.key),
        "service-account-signing-key-file": str(accounts.key),
        "service-cluster-ip-range": "10.0.0.0/24",
        # There is no controller that would make the accounts that this one waits for.
        "disable-admission-plugins": "ServiceAccount",
        "requestheader-client-ca-file": str(front.ca),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(proxy.certificate),
        "proxy-client-key-file": str(proxy.key),
    }
    command = [path, *(f"--{name}={value}" for name, value in flags.items())]
    with started(command, folder / "kube-apiserver.log", lambda: answers(f"{url}/readyz")):
        yield url


def _serve_custom_kinds(cluster: Kubernetes) -> None:
    for group, plural, kind, scope in CUSTOM_KINDS:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        definition = {
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": scope,
                "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        }
        cluster.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)


def _serve_images(cluster: Kubernetes) -> None:
    port = urlsplit(cluster.sandbox.api_url).port
    cluster.namespace("openshift-apiserver")
    service = {
        "metadata": {"name": "api", "namespace": "openshift-apiserver"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }
    cluster.put("/api/v1/namespaces/openshift-apiserver/services", service)
    registration = {
        "metadata": {"name": "v1.image.openshift.io"},
        "spec": {
            "group": "image.openshift.io",
            "version": "v1",
            "groupPriorityMinimum": 9900,
            "versionPriority": 15,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": "openshift-apiserver", "name": "api", "port": port},
        },
    }
    cluster.put("/apis/apiregistration.k8s.io/v1/apiservices", registration)


def _wait_for_kinds(cluster: Kubernetes) -> None:
    """Until every kind can be listed: definitions and services take a moment to be served."""
    wanted = [f"/apis/{group}/v1/{plural}" for group, plural, *_ in CUSTOM_KINDS]
    wanted += ["/apis/image.openshift.io/v1/images", "/apis/image.openshift.io/v1/imagestreams"]
    for _ in range(300):
        wanted = [path for path in wanted if cluster.call("GET", path)[0] != 200]
        if not wanted:
            return
        pause()
    raise AssertionError(f"kube-apiserver does not serve {wanted}: {cluster.call('GET', wanted[0])}")
