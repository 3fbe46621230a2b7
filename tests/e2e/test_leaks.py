"""
Credentials reach nothing that is written: a recognisable text is planted in every secret parameter, in every way of
giving it, and looked for in the state, saved plans, the report, the logs at their most verbose, and in the arguments of
all processes that a run starts.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.proxy import ForwardProxy, running_proxy
from tests.pulumi_project import Project
from tests.servers import RunningSandbox

MARK = "planted-c0ffee"
TOKEN = f"{MARK}-token"
PASSWORD = f"{MARK}-password"
PROXY_PASSWORD = f"{MARK}-proxy"
HEADER_PASSWORD = f"{MARK}-header"
NEEDLES = [
    MARK.encode(),
    base64.b64encode(f"leak:{PASSWORD}".encode()),
    base64.b64encode(f"bob:{PROXY_PASSWORD}".encode()),
    base64.b64encode(f"eve:{HEADER_PASSWORD}".encode()),
    base64.b64encode(f"pruner:{TOKEN}".encode()),
]
ENGINES_INPUT = re.compile(rb'"msg":"(un)?marshaling property for RPC', re.IGNORECASE)
"""In lines that the engine itself logs at level 9: all that a program
hands over to it, secrets among it (docs/connection.md)."""

VERBOSE = ("--verbose=9", "--logtostderr", "--logflow")

PROGRAM = """
import json, os
from pruner import PrunedImages
PrunedImages("pruned", **json.loads(os.environ.get("GIVEN", "{}")))
"""

Json = dict[str, Any]


@pytest.fixture
def cluster(sandbox: RunningSandbox) -> RunningSandbox:
    """A cluster whose user `leak` has the planted token and password."""
    everything = [{"verbs": ["*"], "resources": ["*"]}]
    user = {"name": "leak", "token": TOKEN, "password": PASSWORD, "rules": everything}
    assert sandbox.call("POST", "/sandbox/users", user, user=None).status == 204
    return sandbox


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[ForwardProxy]:
    """A forward proxy with a planted password."""
    with running_proxy(tmp_path / "proxy", user=f"bob:{PROXY_PASSWORD}") as running:
        yield running


def descendants(ancestor: int) -> set[int]:
    """The processes that this one has started, and those that they have."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
    found = {ancestor}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


@contextmanager
def watched_arguments() -> Iterator[set[bytes]]:
    """The arguments of all processes that this one starts meanwhile, as anybody on the machine can see them."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in descendants(os.getpid()):
                try:
                    seen.add(Path(f"/proc/{process}/cmdline").read_bytes())
                except OSError:
                    continue  # it has ended meanwhile

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def leaks_in(content: bytes) -> list[bytes]:
    """What of the planted texts is there, with a little of what is around it."""
    found = []
    for needle in NEEDLES:
        at = content.find(needle)
        if at >= 0:
            found.append(content[max(at - 120, 0) : at + 60])
    return found


def without_input(content: bytes) -> bytes:
    """Without the lines in which the engine logs what a program hands over to it."""
    return b"\n".join(line for line in content.split(b"\n") if ENGINES_INPUT.search(line) is None)


def why(log: bytes) -> str:
    """The lines of a verbose log that say what went wrong."""
    lines = log.decode(errors="replace").splitlines()
    return "\n".join(line[:500] for line in lines if re.search(r"error:|Error:|\"severity\": \"error\"|reason", line))[
        -4000:
    ]


def run_everything(project: Project, cluster: RunningSandbox, environment: dict[str, str]) -> dict[str, bytes]:
    """Preview, a failing up, up and refresh; all that they have written, by where."""
    plan, report = project.folder / "saved-plan.json", project.folder / "report.jsonl"
    project.configure(report=str(report))
    written: dict[str, bytes] = {}

    def run(name: str, *arguments: str) -> int:
        done = project.run(*arguments, *VERBOSE, environment=environment)
        written[f"log of {name}"] = done.output.encode()
        return done.code

    with watched_arguments() as arguments:
        saving = ("--save-plan", str(plan))
        assert run("preview", "preview", "--diff", "--json", *saving) == 0, why(written["log of preview"])
        cluster.add_fault({"status": 403}, method="DELETE")
        assert run("failing up", "up", "--yes", "--skip-preview", "--diff") != 0
        written["state after a failing up"] = json.dumps(project.state()).encode()
        cluster.clear_faults()
        assert run("up", "up", "--yes", "--diff") == 0, why(written["log of up"])
        assert run("refresh", "refresh", "--yes", "--diff") == 0, why(written["log of refresh"])
    assert any(b"pulumi" in line for line in arguments), "no process was seen"
    written["arguments of processes"] = b"\n".join(sorted(arguments))
    for file in project.folder.rglob("*"):
        if file.is_file():
            written[str(file.relative_to(project.folder))] = file.read_bytes()
    assert plan.name in written
    assert report.name in written
    return written


WAYS = ("argument", "configuration", "environment")
VARIABLES = {
    "api_key": "K8S_AUTH_API_KEY",
    "username": "K8S_AUTH_USERNAME",
    "password": "K8S_AUTH_PASSWORD",
    "kubeconfig": "K8S_AUTH_KUBECONFIG",
    "proxy": "K8S_AUTH_PROXY",
}


def with_token(cluster: RunningSandbox, proxy: ForwardProxy) -> Json:
    headers = {"proxy_basic_auth": f"bob:{PROXY_PASSWORD}", "basic_auth": f"eve:{HEADER_PASSWORD}"}
    other = {"name": "other", "settings": {"host": cluster.api_url, "api_key": TOKEN}}
    return {"api_key": TOKEN, "proxy": proxy.url, "proxy_headers": headers, "uses_from": [other]}


def with_password(_: RunningSandbox, _proxy: ForwardProxy) -> Json:
    return {"username": "leak", "password": PASSWORD, "prune_registry": "false"}


def with_kubeconfig(cluster: RunningSandbox, _: ForwardProxy) -> Json:
    return {
        "kubeconfig": {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "main",
            "clusters": [{"name": "main", "cluster": {"server": cluster.api_url}}],
            "users": [{"name": "main", "user": {"token": TOKEN}}],
            "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
        }
    }


def given_as(way: str, project: Project, given: Json) -> dict[str, str]:
    """Hand the parameters over in this way; the environment that the runs need for it."""
    if way == "argument":
        return {"GIVEN": json.dumps(given)}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    if way == "configuration":
        headers = {f"proxy_headers.{name}": text for name, text in given.get("proxy_headers", {}).items()}
        for name, text in {**texts, **headers}.items():
            if name != "proxy_headers":
                project.succeed("config", "set", "--secret", "--path", "--", f"pruner:{name}", text)
        return {}
    headers = given.get("proxy_headers", {})
    found = {f"K8S_AUTH_PROXY_HEADERS_{name.upper()}": value for name, value in headers.items()}
    for name, text in texts.items():
        if name in VARIABLES:
            found[VARIABLES[name]] = text
        elif name == "uses_from":
            project.configure(uses_from=text.replace(json.dumps(TOKEN), '{"env": "OTHER_TOKEN"}'))
            found["OTHER_TOKEN"] = TOKEN
        elif name != "proxy_headers":
            project.configure(**{name: text})
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("credentials", [with_token, with_password, with_kubeconfig])
def test_no_credential_is_in_anything_that_is_written(
    project: Project,
    cluster: RunningSandbox,
    proxy: ForwardProxy,
    way: str,
    credentials: Callable[[RunningSandbox, ForwardProxy], Json],
) -> None:
    (project.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    given = credentials(cluster, proxy)
    if "kubeconfig" not in given:
        project.configure(host=cluster.api_url)
    environment = given_as(way, project, given)

    written = run_everything(project, cluster, environment)
    if way != "environment":
        written = {where: without_input(content) for where, content in written.items()}

    assert {where: found for where, content in written.items() if (found := leaks_in(content))} == {}


@pytest.mark.parametrize(
    "given",
    [
        {"kubeconfig": {"users": [{"token": TOKEN}], "current-context": "absent", "contexts": []}},
        {"apikey": TOKEN, "host": "https://127.0.0.1:9"},
        {"uses_from": [{"name": "other", "settings": {"host": "https://127.0.0.1:9", "apikey": TOKEN}}]},
    ],
    ids=["kubeconfig", "misspelt", "misspelt elsewhere"],
)
def test_message_about_a_wrong_parameter_shows_no_credential(project: Project, given: Json) -> None:
    """The engine prints the value of a property that a check refuses."""
    (project.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")

    output = project.run("preview", "--diff", environment={"GIVEN": json.dumps(given)}).output

    assert f"resource 'pruned' has a problem: {next(iter(given))}: " in output
    assert leaks_in(output.encode()) == []
