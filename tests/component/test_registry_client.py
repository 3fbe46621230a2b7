"""The registry's client: where the registry is, how it is reached, what it is told, and who never gets the token."""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruner.cluster.connection import connect
from pruner.cluster.metadata import ObjectMeta
from pruner.cluster.objects import Image, ImageStream, ImageStreamStatus, Registry, Snapshot
from pruner.cluster.registry import RegistryClient
from pruner.cluster.registry_discovery import discovered_host, find_registry
from pruner.errors import RegistryError, SettingsError
from pruner.http.client import Timeouts
from pruner.settings import Settings, read
from tests.component.small_servers import served
from tests.integration.authorities import Authority, Pair

API_KEY = "sha256~the-token-of-the-cluster"
START = datetime(2026, 1, 1, tzinfo=UTC)
OWN = {"Docker-Distribution-Api-Version": "registry/2.0"}
BLOB = "sha256:" + "a" * 64


# --- a registry that remembers what it was told ----------------------------------------------------------------------


@dataclass
class FakeRegistry:
    """Wants `scheme` authentication; a bearer token is good for `uses` requests and the repository of its scope."""

    scheme: str = ""
    uses: int = 1_000_000
    realm: str = ""
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    fetched: list[tuple[str, str | None]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)

    async def anything(self, request: Request) -> Response:
        authorization = request.headers.get("authorization")
        self.seen.append((request.method, request.url.path, authorization))
        if request.url.path in ("/", "/healthz"):
            return Response()
        if not self._accepts(request, authorization):
            return JSONResponse({"errors": []}, 401, {**OWN, "WWW-Authenticate": self._challenge(request)})
        if request.url.path.startswith("/admin"):
            return JSONResponse({}, 204 if request.method == "DELETE" else 405, OWN)
        return JSONResponse({}, 202 if request.method == "DELETE" else 200, OWN)

    async def token(self, request: Request) -> Response:
        scope = request.query_params.get("scope", "")
        self.fetched.append((scope, request.headers.get("authorization")))
        token = f"token-{len(self.fetched)}"
        self.left[token], self.scopes[token] = self.uses, scope
        return JSONResponse({"access_token": token, "expires_in": 60})

    def _accepts(self, request: Request, authorization: str | None) -> bool:
        if not self.scheme:
            return True
        if self.scheme == "basic":
            return authorization == "Basic " + base64.b64encode(f"pruner:{API_KEY}".encode()).decode()
        token = (authorization or "").removeprefix("Bearer ")
        if self.left.get(token, 0) <= 0 or self.scopes[token] != self._scope(request):
            return False
        self.left[token] -= 1
        return True

    def _challenge(self, request: Request) -> str:
        if self.scheme == "basic":
            return 'Basic realm="registry"'
        realm = self.realm or f"{request.url.scheme}://{request.url.netloc}/token"
        scope = self._scope(request)
        return f'Bearer realm="{realm}",service="registry"' + (f',scope="{scope}"' if scope else "")

    @staticmethod
    def _scope(request: Request) -> str:
        parts = request.url.path.split("/")
        return f"repository:{parts[2]}/{parts[3]}:delete,pull" if len(parts) > 4 and parts[1] == "v2" else ""

    def application(self) -> Starlette:
        methods = ["GET", "HEAD", "DELETE"]
        return Starlette(routes=[Route("/token", self.token), Route("/{rest:path}", self.anything, methods=methods)])

    def credentials(self) -> list[str]:
        """Everything that it was told to prove who asks."""
        return [shown for *_, shown in self.seen if shown] + [shown for _, shown in self.fetched if shown]


@contextmanager
def running(registry: FakeRegistry, tls: Pair | None = None) -> Iterator[str]:
    with served(registry.application(), tls) as url:
        yield url


def given(**more: object) -> Settings:
    return read({"host": "https://127.0.0.1:9", "api_key": API_KEY, **more})


async def found(settings: Settings, snapshot: Snapshot | None = None) -> Registry | None:
    quick = Timeouts(connect=5, read=5)
    return await find_registry(settings, connect(settings), snapshot or cluster(), timeouts=quick)


def cluster(images: tuple[Image, ...] = (), streams: tuple[ImageStream, ...] = ()) -> Snapshot:
    return Snapshot(cluster="test", as_of=START, images=images, streams=streams)


def image(reference: str, *, day: int = 0, managed: bool = True) -> Image:
    return Image(
        name=f"sha256:{day:064}", uid="u", resource_version="1", created=START + timedelta(days=day), managed=managed,
        location=f"{reference}@sha256:{day:064}", media_type="", size=None, config=None, layers=(), members=(),
    )  # fmt: skip


def stream(repository: str, *, day: int = 0, public: str = "") -> ImageStream:
    meta = ObjectMeta(name=f"s{day}", namespace="ns", uid="u", creation_timestamp=START + timedelta(days=day))
    status = ImageStreamStatus(docker_image_repository=repository, public_docker_image_repository=public)
    return ImageStream(meta, status=status)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# --- where it is: R27 ------------------------------------------------------------------------------------------------


def test_registry_is_that_of_the_newest_managed_image_R27() -> None:
    streams = (stream("old:5000/ns/s"), stream("new:5000/ns/s", day=1), stream("newest:5000/ns/s", day=9))
    images = (image("old:5000/ns/s"), image("new:5000/ns/s", day=2), image("quay.io/a/b", day=3, managed=False))

    assert discovered_host(cluster(images, streams)) == ("new:5000", f"image {images[1].name}")


def test_without_managed_images_it_is_that_of_the_newest_image_stream_R27() -> None:
    streams = (stream("old:5000/ns/s"), stream("new:5000/ns/s", day=1))

    assert discovered_host(cluster((), streams)) == ("new:5000", "image stream ns/s1")


def test_host_that_only_an_image_names_is_not_taken() -> None:
    images = (image("registry:5000/ns/s"), image("evil.example.org/ns/s", day=5))

    assert discovered_host(cluster(images, (stream("registry:5000/ns/s"),))) == (
        "registry:5000",
        f"image {images[0].name}",
    )
    assert discovered_host(cluster(images, ())) is None


def test_public_host_of_the_registry_is_confirmed_too() -> None:
    streams = (stream("registry:5000/ns/s", public="route.example.org/ns/s"),)
    images = (image("route.example.org/ns/s"),)

    assert discovered_host(cluster(images, streams)) == ("route.example.org", f"image {images[0].name}")


async def test_nothing_that_names_a_registry_is_none() -> None:
    assert await found(given()) is None


async def test_registry_url_wins_over_what_the_cluster_says() -> None:
    with running(FakeRegistry()) as url:
        registry = await found(given(registry_url=url), cluster((), (stream("other:5000/ns/s"),)))

    assert registry == Registry(url, True, "registry_url")


async def test_registry_that_the_cluster_names_and_that_is_not_there_is_said_with_where_the_name_is_from() -> None:
    with pytest.raises(
        RegistryError, match=r"the address was taken from image stream ns/s0: .* give a route as registry_url"
    ):
        await found(given(), cluster((), (stream("127.0.0.1:9/ns/s"),)))


# --- how it is reached -----------------------------------------------------------------------------------------------


async def test_https_is_tried_first(authority: Authority) -> None:
    with running(FakeRegistry(), authority.server()) as url:
        host = url.removeprefix("https://")
        registry = await found(given(registry_url=host, registry_ca_cert=str(authority.ca)))

    assert registry is not None
    assert registry.url == url


async def test_private_address_without_a_scheme_may_speak_http() -> None:
    with running(FakeRegistry()) as url:
        registry = await found(given(registry_url=url.removeprefix("http://")))

    assert registry is not None
    assert registry.url == url


async def test_scheme_that_is_given_is_not_changed() -> None:
    with running(FakeRegistry()) as url, pytest.raises(RegistryError, match="TLS handshake failed"):
        await found(given(registry_url=url.replace("http://", "https://")))


async def test_ca_that_is_given_rules_http_out(authority: Authority) -> None:
    fake = FakeRegistry()
    with running(fake) as url, pytest.raises(RegistryError, match="TLS handshake failed"):
        await found(given(registry_url=url.removeprefix("http://"), registry_ca_cert=str(authority.ca)))

    assert not fake.seen


async def test_registry_whose_certificate_is_not_trusted_is_not_tried_without_tls(authority: Authority) -> None:
    fake = FakeRegistry()
    with (
        running(fake, authority.server()) as url,
        pytest.raises(RegistryError, match="give the CA that signed it as registry_ca_cert") as raised,
    ):
        await found(given(registry_url=url.removeprefix("https://")))

    assert "http://" not in str(raised.value)
    assert not fake.credentials()


async def test_registry_validate_certs_false_asks_for_no_authority(authority: Authority) -> None:
    with running(FakeRegistry(), authority.server()) as url:
        assert await found(given(registry_url=url, registry_validate_certs=False)) is not None


async def test_registry_validate_certs_is_what_validate_certs_is_where_it_is_not_given(authority: Authority) -> None:
    with running(FakeRegistry(), authority.server()) as url:
        assert await found(given(registry_url=url, validate_certs=False)) is not None
        with pytest.raises(RegistryError, match="not trusted"):
            await found(given(registry_url=url, validate_certs=False, registry_validate_certs=True))


async def test_authorities_of_the_api_are_trusted_where_the_registry_has_none_of_its_own(authority: Authority) -> None:
    with running(FakeRegistry(), authority.server()) as url:
        assert await found(given(registry_url=url, ca_cert=str(authority.ca))) is not None


async def test_ca_file_that_tls_cannot_use_is_a_problem_of_registry_ca_cert(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    broken = tmp_path_factory.mktemp("broken") / "ca.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n", encoding="utf-8")

    with pytest.raises(SettingsError, match=r"registry_ca_cert: .*cannot be used"):
        await found(given(registry_url="https://127.0.0.1:9", registry_ca_cert=str(broken)))


# --- what it is told -------------------------------------------------------------------------------------------------


async def test_registry_that_asks_for_nothing_is_told_nothing() -> None:
    fake = FakeRegistry()
    with running(fake) as url:
        await found(given(registry_url=url))

    assert not fake.credentials()


async def test_ping_is_made_without_credentials() -> None:
    fake = FakeRegistry(scheme="basic")
    with running(fake) as url:
        await found(given(registry_url=url))

    assert fake.seen[0] == ("GET", "/", None)


async def test_basic_has_the_token_as_password() -> None:
    fake = FakeRegistry(scheme="basic")
    with running(fake) as url:
        await found(given(registry_url=url))

    assert set(fake.credentials()) == {"Basic " + base64.b64encode(f"pruner:{API_KEY}".encode()).decode()}


async def test_bearer_token_is_fetched_with_the_scope_that_is_asked_for() -> None:
    fake = FakeRegistry(scheme="bearer")
    settings_of = given
    with running(fake) as url:
        settings = settings_of(registry_url=url)
        async with RegistryClient(url, settings, connect(settings)) as client:
            await client.delete_layer_link("shop/app", BLOB)
            await client.delete_manifest_link("shop/app", BLOB)
            await client.delete_layer_link("shop/web", BLOB)

    assert [scope for scope, _ in fake.fetched] == [
        "repository:shop/app:delete,pull",
        "repository:shop/web:delete,pull",
    ]


async def test_bearer_token_is_renewed_when_it_expires_in_mid_run() -> None:
    fake = FakeRegistry(scheme="bearer", uses=2)
    with running(fake) as url:
        settings = given(registry_url=url)
        async with RegistryClient(url, settings, connect(settings)) as client:
            for _ in range(5):
                await client.delete_layer_link("shop/app", BLOB)

    assert len(fake.fetched) == 3


async def test_requests_that_are_refused_side_by_side_share_one_new_token() -> None:
    fake = FakeRegistry(scheme="bearer")
    with running(fake) as url:
        settings = given(registry_url=url)
        async with RegistryClient(url, settings, connect(settings)) as client:
            await asyncio.gather(*(client.delete_layer_link("shop/app", BLOB) for _ in range(20)))

    assert len(fake.fetched) == 1


async def test_missing_right_is_not_asked_for_again_and_again() -> None:
    fake = FakeRegistry(scheme="bearer", uses=0)
    with running(fake) as url:
        settings = given(registry_url=url)
        async with RegistryClient(url, settings, connect(settings)) as client:
            with pytest.raises(RegistryError, match=r"may not delete layer link .* \(401\)"):
                await client.delete_layer_link("shop/app", BLOB)

    assert len(fake.fetched) == 1
    assert len(fake.seen) == 2


async def test_caller_without_a_token_is_told_the_two_ways_out(authority: Authority) -> None:
    pair = authority.client("jane")
    with running(FakeRegistry(scheme="basic")) as url:
        settings = given(registry_url=url, api_key=None, client_cert=str(pair.certificate), client_key=str(pair.key))
        with pytest.raises(RegistryError, match=r"give api_key .* or set prune_registry to false"):
            await found(settings)


# --- who never gets the token ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_token_is_not_sent_to_a_realm_on_another_host_or_port(host: str) -> None:
    other = FakeRegistry()
    with running(other) as elsewhere:
        realm = elsewhere.replace("127.0.0.1", host) + "/token"
        with (
            running(FakeRegistry(scheme="bearer", realm=realm)) as url,
            pytest.raises(RegistryError, match=f"wants the token to be sent to {realm.removesuffix('/token')}, which"),
        ):
            await found(given(registry_url=url))

    assert not other.seen
    assert not other.fetched


@pytest.mark.parametrize("realm", ["nonsense", "https://u:p@127.0.0.1:9/", "http://127.0.0.1:x/", "//[/"])
async def test_realm_that_is_no_place_for_a_token_is_an_error(realm: str) -> None:
    with (
        running(FakeRegistry(scheme="bearer", realm=realm)) as url,
        pytest.raises(RegistryError, match="wants the token to be sent to"),
    ):
        await found(given(registry_url=url))


async def test_token_is_not_sent_where_a_redirect_points() -> None:
    other = FakeRegistry()

    async def redirect(_: Request) -> Response:
        return Response(status_code=307, headers={"Location": elsewhere + "/v2/"})

    async def healthy(_: Request) -> Response:
        return Response()

    with running(other) as elsewhere:
        routes = [Route("/", healthy), Route("/v2/", redirect)]
        with (
            served(Starlette(routes=routes)) as url,
            pytest.raises(RegistryError, match="is not the API of a registry"),
        ):
            await found(given(registry_url=url))

    assert not other.seen


async def test_token_is_not_sent_to_a_host_that_only_an_image_names() -> None:
    fake = FakeRegistry(scheme="basic")
    with running(fake) as url:
        registry = await found(given(), cluster((image(url.removeprefix("http://") + "/ns/s"),)))

    assert registry is None
    assert not fake.seen


async def test_no_error_shows_the_token() -> None:
    with running(FakeRegistry(scheme="bearer", uses=0)) as url:
        settings = given(registry_url=url)
        with pytest.raises(RegistryError) as raised:
            await found(settings)

    assert API_KEY not in str(raised.value)
    assert API_KEY not in repr(settings)
    assert API_KEY not in repr(connect(settings))
