"""Every way of getting into a cluster, against a real kube-apiserver: who one is by it is what the server says."""

import asyncio
import base64
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.config import incluster_config

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.identity import Identity, whoami
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.resources import IMAGES
from pruner.errors import ClusterError, ForbiddenError, SettingsError, UnauthorizedError
from pruner.settings import read
from tests.integration.authorities import Authority, Pair
from tests.integration.kubernetes_api import TOKENS, Kubernetes
from tests.integration.proxy import ForwardProxy, running_proxy
from tests.servers import RunningSandbox

Json = dict[str, Any]

PROXY_USER = "bob:proxy-password"


@pytest.fixture(autouse=True)
def _no_cluster_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own: no kubeconfig, no pod, none of the module's variables."""
    for name in [name for name in os.environ if name.startswith(("K8S_AUTH_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


async def who(**given: Any) -> Identity:
    """Who one is with these parameters."""
    async with Api(connect(read(given, environ=os.environ))) as api:
        return await whoami(api)


@pytest.fixture
def there(kubernetes: Kubernetes) -> Json:
    """The address of the API, and the authority that it is trusted by."""
    return {"host": kubernetes.url, "ca_cert": kubernetes.ca}


def written(path: Path, content: Json) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def token_of(user: str) -> str:
    return TOKENS[user][0]


# --- credentials that are given --------------------------------------------------------------------------------------


async def test_token(there: Json) -> None:
    assert (await who(**there, api_key=token_of("robot"))).name == "robot"


async def test_token_of_the_environment(there: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_HOST", there["host"])
    monkeypatch.setenv("K8S_AUTH_SSL_CA_CERT", there["ca_cert"])
    monkeypatch.setenv("K8S_AUTH_API_KEY", token_of("robot"))

    assert (await who()).name == "robot"


async def test_rejected_token_is_said(there: Json) -> None:
    with pytest.raises(UnauthorizedError, match=r"the credentials are not accepted \(401"):
        await who(**there, api_key="wrong")


async def test_client_certificate(there: Json, kubernetes: Kubernetes) -> None:
    pair = kubernetes.authority.client("jane", "admins")

    found = await who(**there, client_cert=str(pair.certificate), client_key=str(pair.key))

    assert found.name == "jane"
    assert "admins" in found.groups


async def test_client_certificate_and_key_in_one_file(there: Json, kubernetes: Kubernetes, tmp_path: Path) -> None:
    pair = kubernetes.authority.client("joan")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())

    assert (await who(**there, client_cert=str(both))).name == "joan"


async def test_key_of_another_certificate_is_a_problem_of_client_cert(there: Json, kubernetes: Kubernetes) -> None:
    jane, jack = kubernetes.authority.client("jane"), kubernetes.authority.client("jack")

    with pytest.raises(SettingsError, match=r"client_cert: .*cannot be used with its key"):
        await who(**there, client_cert=str(jane.certificate), client_key=str(jack.key))


async def test_token_wins_over_the_certificate_of_the_kubeconfig(kubernetes: Kubernetes) -> None:
    pair = kubernetes.authority.client("jane")
    kubeconfig = kubernetes.kubeconfig({"client-certificate": str(pair.certificate), "client-key": str(pair.key)})

    assert (await who(kubeconfig=kubeconfig)).name == "jane"
    assert (await who(kubeconfig=kubeconfig, api_key=token_of("robot"))).name == "robot"


async def test_certificate_wins_over_the_token_of_the_kubeconfig(kubernetes: Kubernetes) -> None:
    pair = kubernetes.authority.client("jane")
    kubeconfig = kubernetes.kubeconfig({"token": token_of("robot")})

    found = await who(kubeconfig=kubeconfig, client_cert=str(pair.certificate), client_key=str(pair.key))

    assert found.name == "jane"


# --- kubeconfigs -----------------------------------------------------------------------------------------------------


async def test_kubeconfig_by_path(kubernetes: Kubernetes, tmp_path: Path) -> None:
    path = written(tmp_path / "config", kubernetes.kubeconfig({"token": token_of("robot")}))

    assert (await who(kubeconfig=path)).name == "robot"


async def test_kubeconfig_as_a_dictionary(kubernetes: Kubernetes) -> None:
    assert (await who(kubeconfig=kubernetes.kubeconfig({"token": token_of("robot")}))).name == "robot"


async def test_kubeconfig_as_json_text(kubernetes: Kubernetes) -> None:
    text = json.dumps(kubernetes.kubeconfig({"token": token_of("robot")}))

    assert (await who(kubeconfig=text)).name == "robot"


async def test_kubeconfig_of_the_environment(
    kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "config", kubernetes.kubeconfig({"token": token_of("robot")}))
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", path)

    assert (await who()).name == "robot"


async def test_default_kubeconfig_is_that_of_KUBECONFIG(
    kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "config", kubernetes.kubeconfig({"token": token_of("robot")}))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "absent"), path]))

    assert (await who()).name == "robot"


async def test_default_kubeconfig_is_that_of_the_home_folder(kubernetes: Kubernetes, tmp_path: Path) -> None:
    written(tmp_path / "home" / ".kube" / "config", kubernetes.kubeconfig({"token": token_of("robot")}))

    assert (await who()).name == "robot"


async def test_host_that_is_given_alone_gets_no_credentials_of_the_default_kubeconfig(
    kubernetes: Kubernetes, there: Json, tmp_path: Path
) -> None:
    written(tmp_path / "home" / ".kube" / "config", kubernetes.kubeconfig({"token": token_of("robot")}))

    with pytest.raises(ClusterError, match=r"401|anonymous"):
        await who(**there)


async def test_joined_kubeconfigs_are_merged_and_the_first_to_say_something_wins(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    whole = kubernetes.kubeconfig({"token": token_of("robot")})
    first = {key: value for key, value in whole.items() if key != "users"}
    second = {
        "users": whole["users"],
        "contexts": [{"name": "second", "context": {"cluster": "main", "user": "absent"}}],
        "clusters": [{"name": "main", "cluster": {"server": "https://second.invalid"}}],
        "current-context": "second",
    }
    paths = [written(tmp_path / "one", first), str(tmp_path / "absent"), written(tmp_path / "two", second)]

    assert (await who(kubeconfig=os.pathsep.join(paths))).name == "robot"


async def test_relative_paths_in_a_kubeconfig_start_at_its_folder(kubernetes: Kubernetes, tmp_path: Path) -> None:
    pair = kubernetes.authority.client("jane")
    for name, source in (("ca.pem", kubernetes.authority.ca), ("c.pem", pair.certificate), ("c.key", pair.key)):
        shutil.copy(source, tmp_path / name)
    kubeconfig = kubernetes.kubeconfig(
        {"client-certificate": "c.pem", "client-key": "c.key"}, **{"certificate-authority": "ca.pem"}
    )

    assert (await who(kubeconfig=written(tmp_path / "config", kubeconfig))).name == "jane"


async def test_context(kubernetes: Kubernetes) -> None:
    kubeconfig = kubernetes.kubeconfig({"token": token_of("robot")})
    kubeconfig["users"].append({"name": "other", "user": {"token": token_of("pruner")}})
    kubeconfig["contexts"].append({"name": "other", "context": {"cluster": "main", "user": "other"}})

    assert (await who(kubeconfig=kubeconfig, context="other")).name == "pruner"


async def test_unknown_context_is_a_problem_of_context(kubernetes: Kubernetes) -> None:
    with pytest.raises(SettingsError, match="context: the kubeconfig has no context 'absent'"):
        await who(kubeconfig=kubernetes.kubeconfig({}), context="absent")


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"server": "api.example.org:6443"}, "its cluster's server takes a URL like https://host:port"),
        ({"server": "https://bob:hush@api.example.org"}, "its cluster's server takes a URL without credentials in it"),
        ({"proxy-url": "socks5://127.0.0.1:1080"}, "its proxy-url is not like http://host:port"),
        ({"certificate-authority-data": "bm90aGluZw=="}, "its authority's certificate cannot be used"),
    ],
)
async def test_address_in_a_kubeconfig_that_cannot_be_used_is_a_problem_of_kubeconfig(
    kubernetes: Kubernetes, cluster: Json, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"kubeconfig: {message}") as raised:
        await who(kubeconfig=kubernetes.kubeconfig({"token": token_of("robot")}, **cluster))

    assert "hush" not in str(raised.value)


async def test_tls_server_name_of_the_kubeconfig(kubernetes: Kubernetes) -> None:
    by_name = kubernetes.kubeconfig({"token": token_of("robot")}, **{"tls-server-name": "localhost"})
    other = kubernetes.kubeconfig({"token": token_of("robot")}, **{"tls-server-name": "other.example.org"})

    assert (await who(kubeconfig=by_name)).name == "robot"
    with pytest.raises(ClusterError, match="the certificate is not trusted"):
        await who(kubeconfig=other)


@pytest.mark.parametrize(
    "content", ["", "just a text", "[1, 2]", "clusters: {}\n", "a: [", "current-context: main\ncontexts: []\n"]
)
async def test_file_that_is_no_kubeconfig_is_a_problem_of_kubeconfig(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(SettingsError) as raised:
        await who(kubeconfig=str(path))

    assert [problem.parameter for problem in raised.value.problems] == ["kubeconfig"]


async def test_nothing_that_names_a_cluster_is_a_problem_of_host() -> None:
    with pytest.raises(SettingsError, match="host: no cluster is given: give host, or kubeconfig"):
        await who()


# --- in a pod --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pod(kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod finds around it; gives the token's file."""
    host, _, port = kubernetes.url.removeprefix("https://").partition(":")
    token = tmp_path / "token"
    token.write_text(token_of("robot") + "\n", encoding="utf-8")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", kubernetes.ca)
    return token


@pytest.mark.usefixtures("pod")
async def test_in_a_pod() -> None:
    assert (await who()).name == "robot"


@pytest.mark.usefixtures("pod")
async def test_token_of_a_pod_is_one_for_the_registry_too() -> None:
    assert await connect(read({})).token() == token_of("robot")


@pytest.mark.usefixtures("pod")
async def test_token_that_is_given_wins_in_a_pod() -> None:
    assert (await who(api_key=token_of("pruner"))).name == "pruner"


# --- exec plugins and what renews itself -----------------------------------------------------------------------------

PLUGIN = """
import json, os, pathlib, sys
from datetime import datetime, timedelta, UTC
folder = pathlib.Path(sys.argv[1])
runs = len(list(folder.glob("run-*")))
(folder / f"run-{runs}").write_text(os.environ["KUBERNETES_EXEC_INFO"])
tokens = json.loads((folder / "tokens").read_text())
life = float((folder / "life").read_text())
given = tokens[min(runs, len(tokens) - 1)]
status = given if isinstance(given, dict) else {"token": given}
if life >= 0:
    status["expirationTimestamp"] = (datetime.now(UTC) + timedelta(seconds=life)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


@pytest.fixture
def plugin(kubernetes: Kubernetes, tmp_path: Path) -> Callable[..., Json]:
    """A kubeconfig whose exec plugin gives these tokens one after the other, each for `life` seconds (-1: for ever).

    In place of a token it may be given the whole status.
    """

    def made(*tokens: str | Json, life: float = -1) -> Json:
        (tmp_path / "plugin.py").write_text(PLUGIN, encoding="utf-8")
        (tmp_path / "tokens").write_text(json.dumps(tokens), encoding="utf-8")
        (tmp_path / "life").write_text(str(life), encoding="utf-8")
        command = {"command": sys.executable, "args": [str(tmp_path / "plugin.py"), str(tmp_path)]}
        return kubernetes.kubeconfig(
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", **command}}
        )

    return made


def runs(folder: Path) -> int:
    return len(list(folder.glob("run-*")))


async def test_exec_plugin(plugin: Callable[..., Json], tmp_path: Path) -> None:
    assert (await who(kubeconfig=plugin(token_of("robot")))).name == "robot"
    assert runs(tmp_path) == 1


async def test_exec_plugin_runs_again_in_mid_run_when_its_token_has_expired(
    plugin: Callable[..., Json], tmp_path: Path
) -> None:
    kubeconfig = plugin(token_of("robot"), token_of("pruner"), life=0)

    async with Api(connect(read({"kubeconfig": kubeconfig}))) as api:
        assert (await whoami(api)).name == "pruner"
        assert (await whoami(api)).name == "pruner"

    assert runs(tmp_path) == 3


async def test_exec_plugin_does_not_run_again_while_its_short_lived_token_is_good(
    plugin: Callable[..., Json], tmp_path: Path
) -> None:
    async with Api(connect(read({"kubeconfig": plugin(token_of("robot"), life=200)}))) as api:
        for _ in range(3):
            await whoami(api)

    assert runs(tmp_path) == 1


async def test_words_of_an_exec_plugin_that_fails_are_not_shown(kubernetes: Kubernetes) -> None:
    script = "import sys; print('hush'); sys.exit('hush')"
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": ["-c", script]}

    with pytest.raises(
        SettingsError, match=r"kubeconfig: exec: .* has ended with exit code 1; run it by hand"
    ) as raised:
        await who(kubeconfig=kubernetes.kubeconfig({"exec": command}))

    assert "hush" not in str(raised.value)


async def test_exec_plugin_that_is_not_there_is_said(kubernetes: Kubernetes) -> None:
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}

    with pytest.raises(SettingsError, match="kubeconfig: exec: 'no-such-plugin' cannot be run"):
        await who(kubeconfig=kubernetes.kubeconfig({"exec": command}))


async def test_exec_plugin_that_fails_in_mid_run_ends_it(plugin: Callable[..., Json], tmp_path: Path) -> None:
    async with Api(connect(read({"kubeconfig": plugin(token_of("robot"), life=0)}))) as api:
        (tmp_path / "tokens").unlink()
        with pytest.raises(ClusterError, match="the credentials have expired and could not be renewed"):
            await whoami(api)


async def test_exec_plugin_runs_again_when_its_token_is_refused_although_it_has_not_ended(
    plugin: Callable[..., Json], tmp_path: Path
) -> None:
    async with Api(connect(read({"kubeconfig": plugin("revoked", token_of("robot"))}))) as api:
        found = await asyncio.gather(*(whoami(api) for _ in range(5)))

    assert {identity.name for identity in found} == {"robot"}
    assert runs(tmp_path) == 2


async def test_exec_plugin_that_gives_the_same_refused_token_is_not_run_again_and_again(
    plugin: Callable[..., Json], tmp_path: Path
) -> None:
    async with Api(connect(read({"kubeconfig": plugin("revoked")}))) as api:
        for _ in range(3):
            with pytest.raises(UnauthorizedError):
                await whoami(api)

    assert runs(tmp_path) == 2


def as_status(pair: Pair) -> Json:
    return {"clientCertificateData": pair.certificate.read_text(), "clientKeyData": pair.key.read_text()}


async def test_exec_plugin_may_give_a_client_certificate(kubernetes: Kubernetes, plugin: Callable[..., Json]) -> None:
    assert (await who(kubeconfig=plugin(as_status(kubernetes.authority.client("jane"))))).name == "jane"


async def test_certificate_that_is_renewed_in_mid_run_is_shown_from_then_on(
    kubernetes: Kubernetes, plugin: Callable[..., Json]
) -> None:
    """Also where a connection is open in which the old one was shown: the server goes by that one."""
    jane, jack = (as_status(kubernetes.authority.client(name)) for name in ("jane", "jack"))

    async with Api(connect(read({"kubeconfig": plugin(jane, jane, jack, life=0)}))) as api:
        assert [(await whoami(api)).name for _ in range(2)] == ["jane", "jack"]


async def test_key_of_a_kubeconfig_is_not_left_in_a_file(
    kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    jane = kubernetes.authority.client("jane")
    data = {
        "client-certificate-data": base64.b64encode(jane.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(jane.key.read_bytes()).decode(),
    }

    for _ in range(2):
        assert (await who(kubeconfig=kubernetes.kubeconfig(data))).name == "jane"
        assert not keys_in(tmp_path)


def keys_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if b"PRIVATE KEY" in file.read_bytes()]


async def test_user_of_a_kubeconfig_may_ask_as_somebody_else(kubernetes: Kubernetes) -> None:
    kubeconfig = kubernetes.kubeconfig({"token": token_of("admin"), "as": "alice", "as-groups": ["one"]})

    assert (await who(kubeconfig=kubeconfig)).name == "alice"
    assert "one" in (await who(kubeconfig=kubeconfig)).groups
    assert "one" not in (await who(kubeconfig=kubeconfig, impersonate_user="bob")).groups
    assert (await who(kubeconfig=kubeconfig, api_key=token_of("robot"))).name == "robot"


async def test_token_file_of_a_kubeconfig(kubernetes: Kubernetes, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token_of("robot"), encoding="utf-8")

    assert (await who(kubeconfig=kubernetes.kubeconfig({"tokenFile": str(tmp_path / "token")}))).name == "robot"


# --- trust -----------------------------------------------------------------------------------------------------------


async def test_authority_of_somebody_else_is_not_trusted(kubernetes: Kubernetes, authority: Authority) -> None:
    with pytest.raises(ClusterError, match=r"the certificate is not trusted .*; give the CA that signed it"):
        await who(host=kubernetes.url, ca_cert=str(authority.ca), api_key=token_of("robot"))


async def test_without_a_ca_the_systems_authorities_decide(kubernetes: Kubernetes) -> None:
    with pytest.raises(ClusterError, match="the certificate is not trusted"):
        await who(host=kubernetes.url, api_key=token_of("robot"))


async def test_validate_certs_false_asks_for_no_authority(kubernetes: Kubernetes) -> None:
    found = await who(host=kubernetes.url, api_key=token_of("robot"), validate_certs=False)

    assert found.name == "robot"


async def test_scheme_in_capitals_is_trusted_no_more_and_no_less(there: Json) -> None:
    there["host"] = there["host"].replace("https", "HTTPS")

    assert (await who(**there, api_key=token_of("robot"))).name == "robot"


async def test_validate_certs_that_is_given_wins_over_the_kubeconfig(kubernetes: Kubernetes) -> None:
    kubeconfig = kubernetes.kubeconfig({"token": token_of("robot")}, **{"insecure-skip-tls-verify": True})
    del kubeconfig["clusters"][0]["cluster"]["certificate-authority"]

    assert (await who(kubeconfig=kubeconfig)).name == "robot"
    with pytest.raises(ClusterError, match="the certificate is not trusted"):
        await who(kubeconfig=kubeconfig, validate_certs=True)


async def test_verify_ssl_of_the_environment(kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "no")

    assert (await who(host=kubernetes.url, api_key=token_of("robot"))).name == "robot"


# --- impersonation ---------------------------------------------------------------------------------------------------


async def test_impersonation_of_a_user_and_groups(there: Json) -> None:
    found = await who(**there, api_key=token_of("admin"), impersonate_user="alice", impersonate_groups=["one", "two"])

    assert found.name == "alice"
    assert {"one", "two"} <= set(found.groups)


async def test_impersonation_without_the_right_to_it_is_said(there: Json) -> None:
    with pytest.raises(ForbiddenError, match="cannot impersonate"):
        await who(**there, api_key=token_of("robot"), impersonate_user="alice")


# --- the proxy -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForwardProxy]:
    """A forward proxy that wants a password."""
    with running_proxy(tmp_path_factory.mktemp("proxy"), user=PROXY_USER) as running:
        yield running


def server(kubernetes: Kubernetes) -> str:
    return kubernetes.url.removeprefix("https://")


async def test_proxy_with_its_password(there: Json, kubernetes: Kubernetes, proxy: ForwardProxy) -> None:
    before = len(proxy.tunnels())

    found = await who(
        **there, api_key=token_of("robot"), proxy=proxy.url, proxy_headers={"proxy_basic_auth": PROXY_USER}
    )

    assert found.name == "robot"
    assert server(kubernetes) in proxy.tunnels()[before]


async def test_both_kinds_of_basic_auth_do_not_replace_each_other(there: Json, proxy: ForwardProxy) -> None:
    headers = {"proxy_basic_auth": PROXY_USER, "basic_auth": "somebody:else", "user_agent": "pruner-test/1.0"}

    assert (await who(**there, api_key=token_of("robot"), proxy=proxy.url, proxy_headers=headers)).name == "robot"


async def test_proxy_without_its_password_is_said(there: Json, proxy: ForwardProxy) -> None:
    with pytest.raises(ClusterError, match=r"the proxy refuses: 407 .*; check proxy and proxy_headers"):
        await who(**there, api_key=token_of("robot"), proxy=proxy.url)


async def test_proxy_of_plain_http_without_its_password_is_said(proxy: ForwardProxy, kubernetes: Kubernetes) -> None:
    with pytest.raises(ClusterError, match=r"the proxy refuses: 407 .*; check proxy and proxy_headers"):
        await who(host=kubernetes.sandbox.registry_url, api_key=token_of("robot"), proxy=proxy.url)


async def test_watch_through_a_proxy_of_plain_http_has_its_password(
    proxy: ForwardProxy, sandbox: RunningSandbox
) -> None:
    given = {"host": sandbox.api_url, "api_key": sandbox.tokens["admin"], "proxy": proxy.url}
    settings = read({**given, "proxy_headers": {"proxy_basic_auth": PROXY_USER}})
    async with Api(connect(settings)) as api:
        version = (await anext(api.pages(IMAGES, decoder_of_pages(dict)))).metadata.resource_version
        async with api.watch(IMAGES, version, seconds=60) as events:
            assert await nothing_within(0.5, events)


async def nothing_within(seconds: float, events: AsyncIterator[Any]) -> bool:
    """Whether a watch is held open without an event."""
    try:
        await asyncio.wait_for(anext(events), seconds)
    except TimeoutError:
        return True
    return False


async def test_proxy_that_is_not_there_is_said(there: Json) -> None:
    with pytest.raises(ClusterError, match=r"cannot connect to the proxy .*; check proxy"):
        await who(**there, api_key=token_of("robot"), proxy="http://127.0.0.1:9")


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "127.0.0.0/8", ".example.org,127.0.0.1", "*"])
async def test_no_proxy_names_what_is_reached_directly(there: Json, no_proxy: str) -> None:
    found = await who(**there, api_key=token_of("robot"), proxy="http://127.0.0.1:9", no_proxy=no_proxy)

    assert found.name == "robot"


async def test_proxy_url_of_the_kubeconfig(kubernetes: Kubernetes, tmp_path: Path) -> None:
    with running_proxy(tmp_path / "open") as running:
        kubeconfig = kubernetes.kubeconfig({"token": token_of("robot")}, **{"proxy-url": running.url})

        assert (await who(kubeconfig=kubeconfig)).name == "robot"
        assert running.saw(server(kubernetes))


async def test_credentials_in_the_proxy_url_of_the_kubeconfig_are_told_to_the_proxy_alone(
    kubernetes: Kubernetes, proxy: ForwardProxy
) -> None:
    url = proxy.url.replace("//", f"//{PROXY_USER}@")
    kubeconfig = kubernetes.kubeconfig({"token": token_of("robot")}, **{"proxy-url": url})

    assert (await who(kubeconfig=kubeconfig)).name == "robot"
    assert PROXY_USER not in str(vars(connect(read({"kubeconfig": kubeconfig})).proxy)["url"])


async def test_usual_proxy_variables_of_the_environment_are_not_picked_up(
    there: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert (await who(**there, api_key=token_of("robot"))).name == "robot"


async def test_proxy_variables_of_the_module_are_picked_up(
    there: Json, kubernetes: Kubernetes, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(proxy.tunnels())
    monkeypatch.setenv("K8S_AUTH_PROXY", proxy.url)
    monkeypatch.setenv("K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH", PROXY_USER)

    assert (await who(**there, api_key=token_of("robot"))).name == "robot"
    assert server(kubernetes) in proxy.tunnels()[before]
