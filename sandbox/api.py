"""
The Kubernetes API over HTTP: finds out who asks, what for and whether they may, then reads or writes the store. It
takes and gives what a kube-apiserver with OpenShift's aggregated APIs takes and gives, as far as pruning needs it.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sandbox import discovery, status
from sandbox.identity import User, Users
from sandbox.images import ImageStreams
from sandbox.kinds import (
    ACCESS_REVIEWS,
    IMAGE_STREAMS,
    MAPPINGS,
    NAMESPACES,
    SELF_REVIEWS,
    STREAM_IMAGES,
    STREAM_TAGS,
    USERS,
    Catalogue,
    Resource,
)
from sandbox.selectors import selector
from sandbox.status import Json, StatusError, json_response
from sandbox.store import Page, Selector, Store, metadata_of

GZIP_FROM_BYTES = 128 * 1024
BOOKMARK_SECONDS = 60.0
WATCH_SECONDS = 1800.0
_MERGING = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_OPEN_PATHS = ("/healthz", "/livez", "/readyz")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def full_plural(self) -> str:
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is allowed, on a resource that exists."""

    request: Request
    user: User
    verb: str
    target: Target
    resource: Resource
    dry_run: bool = field(default=False)


def parse_target(path: str) -> Target | None:
    """What a path under /api or /apis names, as it was sent: names may be any text; None when it names no resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3 or not all(rest):
        return None
    return Target(group, version, rest[0], namespace, *rest[1:])


def merged(base: object, patch: object) -> object:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


async def body_of(request: Request) -> Json:
    """The JSON object in a body, empty when there is none. StatusError 400 and 415 for anything else."""
    content_type = request.headers.get("content-type", "application/json")
    if "json" not in content_type:
        raise status.unsupported_media_type(content_type, "application/json")
    raw = await request.body()
    if not raw:
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise status.bad_request(f"the object provided is unrecognized: {error}") from error


def number(request: Request, name: str) -> int:
    """A query parameter that is a count, 0 when it is absent."""
    text = request.query_params.get(name, "")
    if text and not text.isdigit():
        raise status.bad_request(f"invalid {name}: {text!r}")
    return int(text or 0)


class Api:
    """The ASGI application of the API server."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        users: Users,
        streams: ImageStreams,
        situation: discovery.Situation,
        stopping: asyncio.Event,
    ) -> None:
        self.store = store
        self.catalogue = catalogue
        self.users = users
        self.streams = streams
        self.stopping = stopping
        self.situation = situation
        self._computed: dict[Resource, Callable[[Call], Awaitable[Response]]] = {
            MAPPINGS: self._map_image,
            STREAM_TAGS: self._stream_tag,
            STREAM_IMAGES: self._stream_image,
            SELF_REVIEWS: self._who_am_i,
            ACCESS_REVIEWS: self._may_i,
            USERS: self._user,
        }
        self._verbs: dict[str, Callable[[Call], Awaitable[Response]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except StatusError as error:
            response = error.response()
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("ascii")
        if path == "/version":
            return json_response(discovery.VERSION)
        if path.startswith(_OPEN_PATHS):
            return PlainTextResponse("ok")
        user = self._caller(request)
        request.scope["sandbox.user"] = user.name
        accept = request.headers.get("accept", "*/*")
        if request.method == "GET" and (found := discovery.answer(self.catalogue, self.situation, path, accept)):
            return found
        target = parse_target(path)
        if target is None:
            raise status.no_such_path()
        if target.group in self.situation.stale:
            raise status.unavailable()
        if "json" not in accept and "*" not in accept:
            raise StatusError(406, "NotAcceptable", "only the following media types are accepted: application/json")
        call = self._allowed(request, user, target)
        answer = self._computed.get(call.resource) or self._verbs[call.verb]
        return await answer(call)

    # -- who, and whether they may

    def _caller(self, request: Request) -> User:
        user = self.users.authenticate(request.headers)
        if user is None:
            raise status.unauthorized()
        name = request.headers.get("impersonate-user")
        if not name:
            return user
        if not user.may("impersonate", "", "users"):
            users = Resource("", "v1", "users", "User", namespaced=False)
            raise status.forbidden(users, user.name, "impersonate", namespace="", name=name, subresource="")
        return self.users.impersonated(name, request.headers.getlist("impersonate-group"))

    def _allowed(self, request: Request, user: User, target: Target) -> Call:
        verb = self._verb(request, target)
        resource = self.catalogue.find(target.group, target.version, target.plural)
        shown = resource or Resource(target.group, target.version, target.plural, target.plural)
        for_everybody = shown in (SELF_REVIEWS, ACCESS_REVIEWS) or (shown == USERS and target.name == "~")
        if not for_everybody and not user.may(verb, target.group, target.full_plural, target.namespace):
            raise status.forbidden(
                shown, user.name, verb, namespace=target.namespace, name=target.name, subresource=target.subresource
            )
        if resource is None or bool(target.namespace) > resource.namespaced:
            raise status.no_such_path()
        if verb not in resource.verbs:
            raise status.method_not_allowed(resource, verb)
        if target.subresource and not (target.subresource == "status" and resource.has_status):
            raise status.no_such_path()
        if resource.namespaced and not target.namespace and verb not in ("list", "watch"):
            raise status.bad_request("an empty namespace may not be set when a resource name is provided")
        dry_run = request.query_params.get("dryRun") == "All"
        return Call(request, user, verb, target, resource, dry_run)

    def _verb(self, request: Request, target: Target) -> str:
        if request.method == "DELETE":
            return "delete" if target.name else "deletecollection"
        if request.method in _VERBS:
            return _VERBS[request.method]
        if request.method != "GET":
            raise StatusError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        if request.query_params.get("watch", "") in ("true", "1"):
            return "watch"
        return "get" if target.name else "list"

    # -- reading

    async def _get(self, call: Call) -> Response:
        item = self.store.get(call.resource, call.target.namespace, call.target.name)
        if "as=PartialObjectMetadata" in call.request.headers.get("accept", ""):
            return Response(item.metadata_only(), media_type="application/json")
        return Response(item.whole(), media_type="application/json")

    async def _list(self, call: Call) -> Response:
        request, query = call.request, call.request.query_params
        limit = number(request, "limit")
        wanted = self._selector(request)
        if token := query.get("continue"):
            page = self.store.next_page(call.resource, call.target.namespace, token, limit)
        else:
            exact = query.get("resourceVersionMatch") == "Exact"
            if exact and query.get("resourceVersion") != str(self.store.version):
                raise status.expired("The resourceVersion for the provided list is too old.")
            page = self.store.first_page(call.resource, call.target.namespace, wanted, limit)
        raw = self._encode(call, page, counted=wanted is None)
        if len(raw) >= GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(gzip.compress(raw, 1, mtime=0), 200, headers, "application/json")
        return Response(raw, media_type="application/json")

    @staticmethod
    def _encode(call: Call, page: Page, *, counted: bool) -> bytes:
        metadata: Json = {"resourceVersion": str(page.version)}
        if page.token:
            metadata["continue"] = page.token
            if counted:  # a server does not know how many of the rest a selector would select
                metadata["remainingItemCount"] = page.remaining
        if "as=PartialObjectMetadataList" in call.request.headers.get("accept", ""):
            kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
            items = [item.metadata_only() for item in page.items]
        else:
            kind, api_version = f"{call.resource.kind}List", call.resource.api_version
            items = [item.listed() for item in page.items]
        head = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
        return msgspec.json.encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}\n"

    @staticmethod
    def _selector(request: Request) -> Selector | None:
        query = request.query_params
        return selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))

    # -- watching

    async def _watch(self, call: Call) -> Response:
        text = call.request.query_params.get("resourceVersion", "")
        if text and not text.isdigit():
            raise status.bad_request(f"Invalid value: {text!r}: resourceVersion must be a number")
        if "sendInitialEvents" in call.request.query_params:  # clients take this answer as a sign to list first
            why = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch"
            raise status.invalid(call.resource, "", why)
        number(call.request, "timeoutSeconds")
        self._selector(call.request)
        return StreamingResponse(self._events(call, int(text or 0)), media_type="application/json")

    async def _events(self, call: Call, version: int) -> AsyncIterator[bytes]:
        wanted = self._selector(call.request) or (lambda _item: True)
        loop = asyncio.get_running_loop()
        end = loop.time() + (number(call.request, "timeoutSeconds") or WATCH_SECONDS)
        bookmarks = call.request.query_params.get("allowWatchBookmarks", "") in ("true", "1")
        namespace = call.target.namespace
        if version == 0:
            version = self.store.version
            for item in filter(wanted, self.store.items(call.resource, namespace)):
                yield _line("ADDED", item.whole())
        while True:
            try:
                for event in self.store.events_since(call.resource, version):
                    version = event.version
                    if namespace in ("", event.item.key[0]) and wanted(event.item):
                        yield _line(event.type, event.item.whole())
            except StatusError as error:
                yield _line("ERROR", msgspec.json.encode(error.status))
                return
            over = not await self._news(min(end - loop.time(), BOOKMARK_SECONDS))
            if over and bookmarks and not self.stopping.is_set():
                yield _line("BOOKMARK", _bookmark(call.resource, self.store.version))
            if self.stopping.is_set() or loop.time() >= end:
                return

    async def _news(self, seconds: float) -> bool:
        """Whether something was written within so many seconds; False too when the sandbox is stopping."""
        waiting = [asyncio.ensure_future(self.store.changed()), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait(waiting, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
            return waiting[0].done()
        finally:
            for task in waiting:
                task.cancel()

    # -- writing

    async def _create(self, call: Call) -> Response:
        content = await self._content(call)
        namespace = call.target.namespace
        if namespace and not self.users.trust_front_proxy:
            self.store.get(NAMESPACES, "", namespace)
        if call.resource == IMAGE_STREAMS:
            content = self.streams.prepare(content, namespace)
        item = self.store.create(call.resource, namespace, content, dry_run=call.dry_run)
        return Response(item.whole(), 201, media_type="application/json")

    async def _update(self, call: Call) -> Response:
        return self._replaced(call, await self._content(call))

    async def _patch(self, call: Call) -> Response:
        content_type = call.request.headers.get("content-type", "")
        if content_type.partition(";")[0] not in _MERGING:
            raise status.unsupported_media_type(content_type, ", ".join(_MERGING))
        patch = await body_of(call.request)
        current = self.store.get(call.resource, call.target.namespace, call.target.name)
        content = merged(current.copy(), {key: patch[key] for key in patch if key not in ("kind", "apiVersion")})
        return self._replaced(call, content if isinstance(content, dict) else {})

    def _replaced(self, call: Call, content: Json) -> Response:
        item = self.store.replace(
            call.resource,
            call.target.namespace,
            content,
            only_status=call.target.subresource == "status",
            dry_run=call.dry_run,
        )
        return Response(item.whole(), media_type="application/json")

    async def _delete(self, call: Call) -> Response:
        options = await body_of(call.request)
        preconditions = options.get("preconditions")
        wanted: Json = preconditions if isinstance(preconditions, dict) else {}
        dry_run = call.dry_run or options.get("dryRun") == ["All"]
        target = call.target
        item = self.store.delete(
            call.resource,
            target.namespace,
            target.name,
            uid=wanted.get("uid"),
            version=wanted.get("resourceVersion"),
            dry_run=dry_run,
        )
        if call.resource == NAMESPACES and not dry_run:
            self._empty(target.name)
        details = {"name": target.name, "group": target.group, "kind": target.plural, "uid": item.metadata["uid"]}
        return _success(200, {key: value for key, value in details.items() if value})

    def _empty(self, namespace: str) -> None:
        """A namespace takes along what is in it."""
        for item in [item for item in self.store if item.key[0] == namespace]:
            self.store.delete(item.resource, *item.key)

    async def _content(self, call: Call) -> Json:
        """The object in the body, when it is the one that the path names. StatusError 400 otherwise."""
        body = await body_of(call.request)
        resource, target, metadata = call.resource, call.target, metadata_of(body)
        for key, wanted in (("kind", resource.kind), ("apiVersion", resource.api_version)):
            if body.get(key, wanted) != wanted:
                raise status.bad_request(f"the {key} in the data ({body[key]}) does not match the expected ({wanted})")
        if metadata.get("namespace", target.namespace) != target.namespace:
            raise status.bad_request("the namespace of the provided object does not match the namespace on the request")
        if target.name and metadata.get("name") != target.name:
            found = metadata.get("name", "")
            raise status.bad_request(
                f"the name of the object ({found}) does not match the name on the URL ({target.name})"
            )
        return {key: value for key, value in body.items() if key not in ("kind", "apiVersion")}

    # -- what is computed

    async def _map_image(self, call: Call) -> Response:
        self.streams.map(call.target.namespace, await self._content(call))
        return _success(201)

    async def _stream_tag(self, call: Call) -> Response:
        return _typed(call.resource, self.streams.stream_tag(call.target.namespace, call.target.name))

    async def _stream_image(self, call: Call) -> Response:
        return _typed(call.resource, self.streams.stream_image(call.target.namespace, call.target.name))

    async def _who_am_i(self, call: Call) -> Response:
        groups = [*call.user.groups, "system:authenticated"]
        user = {"username": call.user.name, "uid": f"uid-of-{call.user.name}", "groups": groups}
        return _typed(call.resource, {"metadata": {}, "status": {"userInfo": user}}, 201)

    async def _may_i(self, call: Call) -> Response:
        body = await body_of(call.request)
        spec = body.get("spec")
        asked: Json = spec.get("resourceAttributes") or {} if isinstance(spec, dict) else {}
        plural = (
            f"{asked.get('resource', '')}/{asked['subresource']}" if asked.get("subresource") else asked.get("resource")
        )
        allowed = call.user.may(
            asked.get("verb", ""), asked.get("group", ""), str(plural or ""), asked.get("namespace", "")
        )
        return _typed(call.resource, {"metadata": {}, "spec": spec, "status": {"allowed": allowed}}, 201)

    async def _user(self, call: Call) -> Response:
        name = call.user.name if call.target.name == "~" else call.target.name
        known = next((user for user in self.users if user.name == name), None)
        if known is None:
            raise status.not_found(USERS, name)
        return _typed(call.resource, {"metadata": {"name": name}, "identities": None, "groups": known.groups})


def _typed(resource: Resource, content: Json, code: int = 200) -> Response:
    return json_response({"kind": resource.kind, "apiVersion": resource.api_version, **content}, code)


def _success(code: int, details: Json | None = None) -> Response:
    head: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return json_response({**head, "details": details} if details else head, code)


def _line(event: str, whole: bytes) -> bytes:
    return f'{{"type":"{event}","object":'.encode() + whole + b"}\n"


def _bookmark(resource: Resource, version: int) -> bytes:
    content = {"metadata": {"resourceVersion": str(version), "creationTimestamp": None}}
    return msgspec.json.encode({"kind": resource.kind, "apiVersion": resource.api_version, **content})
