"""Each fault ends in one message, and docs/faults.md has it: the table there is compared with what is really said."""

import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruner.apply.run_lock import RunLock
from pruner.cluster import discovery, exec_plugin
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.objects import Snapshot
from pruner.cluster.registry import RegistryClient
from pruner.cluster.registry_discovery import find_registry
from pruner.cluster.snapshot import take_snapshot
from pruner.errors import PrunerError
from pruner.http.bounds import MAX_LIST_BODY, MAX_SMALL_BODY
from pruner.http.client import Timeouts
from pruner.restore import Choice, restore
from pruner.settings import read
from tests.component.small_servers import hanging, page, resetting, saying, served
from tests.integration.authorities import Authority
from tests.servers import ROOT, RunningSandbox, running_sandbox


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PAUSES", (0.0,))


PATIENCE = 20.0
"""Seconds; what hangs is waited for a moment only."""
NOBODY_LISTENS = "127.0.0.1:9"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("cluster") / "data") as running:
        yield running


async def read_cluster(
    host: str | None,
    patience: float = PATIENCE,
    connect_within: float = PATIENCE,
    total: float = 300,
    trickle: float = 5,
    **given: Any,
) -> None:
    """What every run begins with: a reading of the cluster at this address."""
    settings = read({"host": host, "api_key": "token", **given})
    timeouts = Timeouts(connect=connect_within, read=patience, total=total, trickle=trickle)
    async with Api(connect(settings), timeouts=timeouts) as api:
        await take_snapshot(api)


async def bring_back(url: str, name: str, **given: Any) -> None:
    async with Api(connect(read({"host": url, **given}))) as api:
        await restore(api, Choice(names=(name,)))


async def begin_run(host: str | None, **given: Any) -> None:
    """What an up begins with."""
    async with Api(connect(read({"host": host, **given}))) as api, RunLock(api, print, print):
        pass


async def ask_registry(url: str, patience: float = PATIENCE, **given: Any) -> None:
    """What a preview asks the registry at this address."""
    settings = read({"host": "https://127.0.0.1:9", "api_key": "token", "registry_url": url, **given})
    nothing = Snapshot(cluster="", as_of=datetime.now(UTC))
    await find_registry(settings, connect(settings), nothing, timeouts=Timeouts(connect=PATIENCE, read=patience))


async def delete_blob(url: str, **given: Any) -> None:
    """What a run asks the registry at this address for."""
    settings = read({"host": "https://127.0.0.1:9", "api_key": "token", **given})
    async with RegistryClient(url, settings, connect(settings)) as client:
        await client.delete_blob(DIGEST)


Ask = Callable[..., Awaitable[None]]
Fault = Callable[
    [AsyncExitStack, Authority, Authority, RunningSandbox], Awaitable[tuple[Ask, str | None, dict[str, Any]]]
]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    """Names a fault as the table does."""

    def named(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return named


def both(what: str, make: Callable[..., Any]) -> None:
    """The same fault of the API and of the registry."""

    async def of_api(stack: AsyncExitStack, ours: Authority, theirs: Authority, _: RunningSandbox) -> Any:
        url, more = await make(stack, ours, theirs, "ca_cert")
        return read_cluster, url, more

    async def of_registry(stack: AsyncExitStack, ours: Authority, theirs: Authority, _: RunningSandbox) -> Any:
        url, more = await make(stack, ours, theirs, "registry_ca_cert")
        return ask_registry, url, more

    FAULTS[f"API: {what}"] = of_api
    FAULTS[f"registry: {what}"] = of_registry


async def _nobody(_stack: Any, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return f"http://{NOBODY_LISTENS}", {}


async def _unknown_name(_stack: Any, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return "https://no-such-host.invalid:6443", {}


async def _hangs(stack: AsyncExitStack, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return await stack.enter_async_context(hanging()), {"patience": 0.3}


async def _resets(stack: AsyncExitStack, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return await stack.enter_async_context(resetting()), {}


async def _wrong_ca(stack: AsyncExitStack, ours: Authority, theirs: Authority, ca: str) -> Any:
    url = await stack.enter_async_context(saying(page("{}"), theirs.server()))
    return url, {ca: str(ours.ca)}


async def _expired(stack: AsyncExitStack, ours: Authority, _theirs: Authority, ca: str) -> Any:
    url = await stack.enter_async_context(saying(page("{}"), ours.server("expired", expired=True)))
    return url, {ca: str(ours.ca)}


async def _other_name(stack: AsyncExitStack, ours: Authority, _theirs: Authority, ca: str) -> Any:
    url = await stack.enter_async_context(saying(page("{}"), ours.server("other", "other.example.org")))
    return url, {ca: str(ours.ca)}


async def _plain_on_tls(stack: AsyncExitStack, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return stack.enter_context(served(Starlette())).replace("http://", "https://"), {}


async def _html(stack: AsyncExitStack, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return await stack.enter_async_context(saying(page("<html>Welcome</html>"))), {}


async def _no_http(stack: AsyncExitStack, _ours: Any, _theirs: Any, _ca: str) -> Any:
    return await stack.enter_async_context(saying(b"SSH-2.0-OpenSSH_9.2\r\n")), {}


both("nobody listens", _nobody)
both("unknown host name", _unknown_name)
both("hangs", _hangs)
both("resets the connection", _resets)
both("certificate of another CA", _wrong_ca)
both("expired certificate", _expired)
both("certificate of another host", _other_name)
both("plain http where https was expected", _plain_on_tls)
both("answers HTML", _html)
both("speaks no HTTP", _no_http)


@fault("API: https where http was given")
async def _tls_on_plain(stack: AsyncExitStack, _ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    # The words of every server that is written in Go, kube-apiserver and docker-registry among them.
    said = page("Client sent an HTTP request to an HTTPS server.\n", status="400 Bad Request", kind="text/plain")
    return read_cluster, await stack.enter_async_context(saying(said)), {}


@fault("API: half an answer")
async def _truncated(stack: AsyncExitStack, _ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    return read_cluster, await stack.enter_async_context(saying(page('{"kind"', length=500))), {}


@fault("API: stays busy")
async def _busy(stack: AsyncExitStack, _ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    said = page("", status="503 Service Unavailable")
    return read_cluster, await stack.enter_async_context(saying(said)), {}


@fault("API: is no OpenShift")
async def _no_openshift(stack: AsyncExitStack, _ours: Authority, _theirs: Authority, sandbox: RunningSandbox) -> Any:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    kubernetes = stack.enter_context(running_sandbox(Path(folder) / "data", "--without-group", "image.openshift.io"))
    return read_cluster, kubernetes.api_url, {"api_key": kubernetes.tokens["admin"]}


def answers_otherwise(what: str, path: str, status: int, body: object) -> None:
    """Another answer to one kind of request to an API server that is otherwise in order."""
    meets(what, path, {"status": status, "body": body})


def meets(what: str, path: str, action: dict[str, Any], last: int | None = None, **given: Any) -> None:
    """A fault of one kind of request to an API server that is otherwise in order."""

    async def make(stack: AsyncExitStack, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
        rule = sandbox.add_fault(action, path=path, last=last)

        def has_fired() -> None:
            fired = sandbox.fired(rule)
            sandbox.remove_fault(rule)
            assert fired

        stack.callback(has_fired)
        return read_cluster, sandbox.api_url, {"api_key": sandbox.tokens["admin"], **given}

    FAULTS[f"API: {what}"] = make


_PAGE = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}
_STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "etcd is away", "code": 500}
_AGAIN = {"resourceVersion": "1", "continue": "again", "remainingItemCount": 1}
answers_otherwise("no discovery", "^/apis$", 404, "<html>default backend - 404</html>")
answers_otherwise("something else than a list", "^/api/v1/pods", 200, _STATUS)
answers_otherwise("a list without items", "^/api/v1/pods", 200, {**_PAGE, "items": None})
answers_otherwise(
    "a list that leaves something out",
    "^/api/v1/pods",
    200,
    {**_PAGE, "metadata": {"resourceVersion": "1", "remainingItemCount": 7}},
)
answers_otherwise(
    "a list that does not end",
    "^/api/v1/pods",
    200,
    {**_PAGE, "metadata": _AGAIN, "items": [{"metadata": {"name": "a"}}]},
)
answers_otherwise("a 404 of something else", "/namespaces/openshift-image-registry$", 404, "<html>404</html>")
answers_otherwise(
    "another object",
    "/namespaces/openshift-image-registry$",
    200,
    {"kind": "Namespace", "metadata": {"name": "default"}},
)


meets("a response that is too large", "^/api/v1/pods", {"pad": MAX_LIST_BODY})
meets("a response that is too large when decompressed", "^/api/v1/pods", {"pad": MAX_LIST_BODY, "compress": True})
meets("a response that is compressed too much", "^/api/v1/pods", {"pad": MAX_LIST_BODY // 2, "compress": True})
meets("a response that trickles", "^/api/v1/pods", {"trickle": 0.02}, trickle=0.3)
meets("a response that takes too long", "^/api/v1/pods", {"trickle": 0.02}, total=0.3)
meets("headers that are too large", "^/api/v1/pods", {"status": 200, "headers": {"X": "y" * 9000}})
meets("the page of a load balancer", "^/api/v1/pods", {"status": 200, "body": "<html>Please log in</html>"})


@fault("API: several clocks")
async def _clocks(stack: AsyncExitStack, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    late = format_datetime(datetime.now(UTC) - timedelta(minutes=30), usegmt=True)
    absent = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
    action = {"status": 404, "body": absent, "headers": {"Date": late}}
    rule = sandbox.add_fault(action, path="/namespaces/openshift-image-registry$")
    stack.callback(sandbox.remove_fault, rule)
    return read_cluster, sandbox.api_url, {"api_key": sandbox.tokens["admin"]}


@fault("API: a group's server is down")
async def _stale(stack: AsyncExitStack, _ours: Authority, _theirs: Authority, sandbox: RunningSandbox) -> Any:
    sandbox.set_discovery(stale=["build.openshift.io"])
    stack.callback(sandbox.set_discovery)
    return read_cluster, sandbox.api_url, {"api_key": sandbox.tokens["admin"]}


@fault("API: a kind that every cluster has is absent")
async def _no_apps(stack: AsyncExitStack, _ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    odd = stack.enter_context(running_sandbox(Path(folder) / "data", "--without-group", "batch"))
    return read_cluster, odd.api_url, {"api_key": odd.tokens["admin"]}


@fault("API: the token is not accepted")
async def _token(_stack: Any, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    return read_cluster, sandbox.api_url, {"api_key": "wrong"}


@fault("API: a permission is missing")
async def _permission(_stack: Any, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    return read_cluster, sandbox.api_url, {"api_key": sandbox.tokens["nobody"]}


@fault("API: its clock is wrong")
async def _wrong_clock(stack: AsyncExitStack, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    sandbox.set_clock("2020-01-01T00:00:00Z")
    stack.callback(sandbox.release_clock)
    return read_cluster, sandbox.api_url, {"api_key": sandbox.tokens["admin"]}


@fault("API: another run is at work")
async def _another_run(stack: AsyncExitStack, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    spec = {"holderIdentity": "host/1/a", "leaseDurationSeconds": 60, "renewTime": datetime.now(UTC).isoformat()}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "pruner"}, "spec": spec}
    assert sandbox.call("POST", leases, lease).status == 201
    stack.callback(sandbox.call, "DELETE", f"{leases}/pruner")
    return begin_run, sandbox.api_url, {"api_key": sandbox.tokens["admin"]}


@fault("restore: the tag was never retired")
async def _never_retired(_stack: Any, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    return bring_back, sandbox.api_url, {"api_key": sandbox.tokens["admin"], "name": "shop/none:v1"}


@fault("restore: a permission is missing")
async def _may_not_patch(stack: AsyncExitStack, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    images = "/apis/image.openshift.io/v1/images"
    name, annotation = f"sha256:{'0' * 64}", '{"version":1,"at":"2026-01-01T00:00:00Z","grace":1}'
    image = {"metadata": {"name": name, "annotations": {"pruner/retired": annotation}}}
    body = {"apiVersion": "image.openshift.io/v1", "kind": "Image", **image}
    assert sandbox.call("POST", images, body).status == 201
    stack.callback(sandbox.call, "DELETE", f"{images}/{name}")
    return bring_back, sandbox.api_url, {"api_key": sandbox.tokens["pruner"], "name": name}


@fault("proxy: nobody listens")
async def _no_proxy(_stack: Any, _ours: Any, _theirs: Any, sandbox: RunningSandbox) -> Any:
    return read_cluster, sandbox.api_url, {"proxy": f"http://{NOBODY_LISTENS}"}


@fault("proxy: wants a password")
async def _proxy_password(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    said = page("", status="407 Proxy Authentication Required")
    proxy = await stack.enter_async_context(saying(said))
    return read_cluster, "https://127.0.0.1:6443", {"proxy": proxy}


@fault("proxy: hangs")
async def _proxy_hangs(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    proxy = await stack.enter_async_context(hanging())
    return read_cluster, "https://127.0.0.1:6443", {"proxy": proxy, "connect_within": 0.3}


@fault("kubeconfig: its exec plugin fails")
async def _plugin_fails(_stack: Any, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return read_cluster, None, with_plugin("sh", "-c", "echo log in first >&2; exit 1")


@fault("kubeconfig: its exec plugin is not installed")
async def _plugin_missing(_stack: Any, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return read_cluster, None, with_plugin("no-such-plugin", hint="Get it with\n  brew install no-such-plugin")


@fault("kubeconfig: its exec plugin hangs")
async def _plugin_hangs(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    stack.enter_context(pytest.MonkeyPatch.context()).setattr(exec_plugin, "LONGEST_RUN", 0.3)
    return read_cluster, None, with_plugin("tail", "-f", "/dev/null")


@fault("kubeconfig: its exec plugin prints something else")
async def _plugin_prints(_stack: Any, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return read_cluster, None, with_plugin("echo", "Welcome!")


@fault("OAuth: the password is not accepted")
async def _password(stack: AsyncExitStack, ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    oauth = stack.enter_context(served(oauth_server(status=401), ours.server()))
    api = stack.enter_context(served(well_known(oauth), ours.server()))
    given = {"api_key": None, "username": "jane", "password": "wrong", "ca_cert": str(ours.ca)}
    return read_cluster, api, given


@fault("OAuth: its server speaks no https")
async def _oauth_without_tls(stack: AsyncExitStack, ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    api = stack.enter_context(served(well_known("http://oauth.example.org"), ours.server()))
    given = {"api_key": None, "username": "jane", "password": "secret", "ca_cert": str(ours.ca)}
    return read_cluster, api, given


@fault("registry: a token is needed and there is none")
async def _no_token(stack: AsyncExitStack, ours: Authority, _theirs: Authority, _: RunningSandbox) -> Any:
    url = stack.enter_context(served(registry_that_refuses('Basic realm="registry"')))
    pair = ours.client("jane")
    given = {"api_key": None, "client_cert": str(pair.certificate), "client_key": str(pair.key)}
    return ask_registry, url, given


@fault("registry: the token is not accepted")
async def _registry_token(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return ask_registry, stack.enter_context(served(registry_that_refuses('Basic realm="registry"'))), {}


@fault("registry: wants the token sent elsewhere")
async def _elsewhere(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    challenge = 'Bearer realm="https://tokens.example.org/token",service="registry"'
    return ask_registry, stack.enter_context(served(registry_that_refuses(challenge))), {}


# --- what they are made of -------------------------------------------------------------------------------------------


def with_plugin(command: str, *arguments: str, hint: str = "") -> dict[str, Any]:
    """A kubeconfig whose user has an exec plugin."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": list(arguments)}
    plugin["installHint"] = hint
    kubeconfig = {
        "current-context": "main",
        "clusters": [{"name": "main", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "main", "user": {"exec": plugin}}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
    }
    return {"api_key": None, "kubeconfig": kubeconfig}


def oauth_server(*, status: int) -> Starlette:
    async def authorize(_: Request) -> Response:
        return Response(status_code=status)

    return Starlette(routes=[Route("/oauth/authorize", authorize)])


def well_known(oauth: str) -> Starlette:
    """The part of an API server that names the OAuth server."""

    async def metadata(_: Request) -> Response:
        return JSONResponse({"issuer": oauth, "authorization_endpoint": f"{oauth}/oauth/authorize"})

    return Starlette(routes=[Route("/.well-known/oauth-authorization-server", metadata)])


def registry_that_refuses(challenge: str) -> Starlette:
    async def healthy(_: Request) -> Response:
        return Response()

    async def refuse(_: Request) -> Response:
        headers = {"WWW-Authenticate": challenge, "Docker-Distribution-Api-Version": "registry/2.0"}
        return JSONResponse({"errors": []}, 401, headers)

    return Starlette(routes=[Route("/", healthy), Route("/v2/", refuse)])


@asynccontextmanager
async def ready(
    name: str, ours: Authority, theirs: Authority, sandbox: RunningSandbox
) -> AsyncIterator[tuple[Ask, str | None, dict[str, Any]]]:
    async with AsyncExitStack() as stack:
        yield await FAULTS[name](stack, ours, theirs, sandbox)


def something_else(status: int, headers: dict[str, str]) -> Starlette:
    """Something before the registry, which answers in its place."""

    async def answer(_: Request) -> Response:
        return Response("<html>" + "x" * 94, status, headers, "text/html")

    return Starlette(routes=[Route("/{rest:path}", answer, methods=["GET", "HEAD", "DELETE"])])


@fault("registry: a 404 of something else")
async def _page_of_a_balancer(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return delete_blob, stack.enter_context(served(something_else(404, {}))), {}


@fault("registry: a success of something else")
async def _login_page(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return delete_blob, stack.enter_context(served(something_else(200, {}))), {}


@fault("registry: a success that cannot be")
async def _impossible(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    own = {"Docker-Distribution-Api-Version": "registry/2.0"}
    return delete_blob, stack.enter_context(served(something_else(200, own))), {}


@fault("registry: a response that is too large")
async def _large_answer(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return ask_registry, await stack.enter_async_context(saying(page("", length=MAX_SMALL_BODY + 1))), {}


@fault("registry: answers 404 to everything")
async def _nothing_there(stack: AsyncExitStack, _ours: Any, _theirs: Any, _: RunningSandbox) -> Any:
    return ask_registry, stack.enter_context(served(Starlette())), {}


def without_addresses(message: str) -> str:
    """A message as the table writes it: what is another in every run is a word in capitals."""
    message = re.sub(r"127\.0\.0\.1:\d+", "HOST:PORT", message)
    message = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", message)
    # What is waited for a moment only here is waited for as long as it usually is.
    message = message.replace("1 KiB in 0.3 seconds", f"1 KiB in {Timeouts().trickle:g} seconds")
    message = message.replace("after 0.3 seconds", f"after {Timeouts().total:g} seconds")
    # OpenSSL's words, which are others in another version of it.
    return re.sub(r"TLS handshake failed \([^)]*\)", "TLS handshake failed (REASON)", message)


def table() -> dict[str, str]:
    """Message by fault, of docs/faults.md."""
    lines = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return {row[0].strip(): row[1].strip("`") for row in rows if len(row) == 3 and row[1].startswith("`")}


async def said(name: str, ours: Authority, theirs: Authority, sandbox: RunningSandbox) -> str:
    async with ready(name, ours, theirs, sandbox) as (ask, url, given):
        with pytest.raises(PrunerError) as raised:
            await ask(url, **given)
    return without_addresses(str(raised.value))


@pytest.mark.parametrize("name", FAULTS)
async def test_fault_has_the_message_of_the_table(
    name: str, authority: Authority, others: Authority, cluster: RunningSandbox
) -> None:
    assert await said(name, authority, others, cluster) == table()[name]


def test_table_has_no_fault_that_is_not_tried() -> None:
    assert set(table()) == set(FAULTS)


def test_no_message_has_a_traceback_or_more_than_one_line() -> None:
    assert table()
    assert [message for message in table().values() if "Traceback" in message or len(message) >= 700] == []


def test_every_row_has_a_way_out() -> None:
    lines = (ROOT / Path("docs") / "faults.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith(tuple(f"| {name} |" for name in FAULTS))]
    assert len(rows) == len(FAULTS)
    assert [row for row in rows if not row[2].strip(" |")] == []
