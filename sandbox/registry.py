"""
The integrated image registry: the OCI distribution API over the files of `blobs`, with OpenShift's ways added. Rights
are those of the cluster's users, tags are those of image streams, a push makes Image objects, and `/admin/blobs`
deletes what lies on the disk. Sources: opencontainers/distribution-spec, distribution/distribution,
openshift/image-registry.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.blobs import DIGEST, Blobs, digest_of
from sandbox.descriptors import Descriptors
from sandbox.identity import User, Users, basic_credentials
from sandbox.images import ImageStreams
from sandbox.kinds import IMAGES, NAMESPACES
from sandbox.manifests import Manifest, image_of, parse_manifest
from sandbox.status import StatusError, json_response

TOKEN_SECONDS = 4 * 3600
_ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    read_only: bool = False
    without_admin: bool = False


class RegistryError(Exception):
    """A failure as the distribution specification words it."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"errors": [{"code": code, "message": message, "detail": None}]}
        self.headers = headers

    def response(self) -> Response:
        return json_response(self.content, self.status, self.headers)


def _blob_unknown(digest: str) -> RegistryError:
    return RegistryError(404, "BLOB_UNKNOWN", f"blob unknown to registry: {digest}")


def _manifest_unknown(reference: str) -> RegistryError:
    return RegistryError(404, "MANIFEST_UNKNOWN", f"manifest unknown: {reference}")


def _unknown() -> RegistryError:
    return RegistryError(500, "UNKNOWN", "unknown error")


def _unsupported() -> RegistryError:
    return RegistryError(405, "UNSUPPORTED", "The operation is unsupported.")


@dataclass(frozen=True, slots=True)
class Call:
    """A request with what its path names. `reference` is a digest, a tag or an upload."""

    request: Request
    namespace: str = ""
    name: str = ""
    reference: str = ""

    @property
    def repository(self) -> str:
        return f"{self.namespace}/{self.name}"


_NAME = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"  # of distribution's grammar; no component is only dots
_REPOSITORY = rf"/v2/(?P<namespace>{_NAME})/(?P<name>{_NAME})"


class Registry:
    """The ASGI application of the registry, or of one of its replicas, which has `descriptors` of its own."""

    def __init__(
        self,
        blobs: Blobs,
        streams: ImageStreams,
        users: Users,
        options: RegistryOptions,
        descriptors: Descriptors | None = None,
    ) -> None:
        self.blobs = blobs
        self.descriptors = descriptors or Descriptors(remembering=False)
        self.streams = streams
        self.users = users
        self.options = options
        routes: list[tuple[str, dict[str, Callable[[Call], Awaitable[Response]]]]] = [
            (r"/|/healthz", {"GET": self._health}),
            (r"/openshift/token", {"GET": self._token}),
            (r"/v2/?", {"GET": self._version}),
            (r"/v2/_catalog", {"GET": self._catalog}),
            (_REPOSITORY + r"/tags/list", {"GET": self._tags}),
            (_REPOSITORY + r"/blobs/uploads/?", {"POST": self._start_upload}),
            (
                _REPOSITORY + r"/blobs/uploads/(?P<reference>[0-9a-f-]{36})",
                {
                    "GET": self._upload_state,
                    "PATCH": self._append,
                    "PUT": self._finish_upload,
                    "DELETE": self._cancel_upload,
                },
            ),
            (_REPOSITORY + r"/blobs/(?P<reference>[^/]+)", {"GET": self._blob, "DELETE": self._delete_layer_link}),
            (
                _REPOSITORY + r"/manifests/(?P<reference>[^/]+)",
                {"GET": self._manifest, "PUT": self._put_manifest, "DELETE": self._delete_manifest_link},
            ),
            (r"/admin/blobs/(?P<reference>[^/]+)", {"DELETE": self._delete_blob}),
        ]
        self._routes = [(re.compile(pattern), answers) for pattern, answers in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(Request(scope, receive))
        except RegistryError as error:
            response = error.response()
        except StatusError as error:  # what the cluster refuses, the registry passes on
            response = RegistryError(error.code, "DENIED", str(error)).response()
        except ClientDisconnect:
            return
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path.startswith("/admin/") and self.options.without_admin:
            return PlainTextResponse("404 page not found\n", 404)
        for pattern, answers in self._routes:
            if found := pattern.fullmatch(path):
                method = "GET" if request.method == "HEAD" else request.method
                if method not in answers:
                    raise _unsupported()
                return await answers[method](Call(request, **found.groupdict()))
        return PlainTextResponse("404 page not found\n", 404)

    # -- who

    async def _health(self, _call: Call) -> Response:
        return Response(status_code=200)

    async def _token(self, call: Call) -> Response:
        scheme, _, credentials = call.request.headers.get("authorization", "").partition(" ")
        token = _ANONYMOUS
        if scheme.lower() == "basic":
            pair = basic_credentials(credentials)
            if pair is None or self.users.by_token(pair[1]) is None:
                headers = {"WWW-Authenticate": 'Basic realm="openshift"'}
                raise RegistryError(401, "UNAUTHORIZED", "authentication required", headers)
            token = pair[1]
        issued = self.streams.store.clock.timestamp()
        return json_response({"token": token, "access_token": token, "expires_in": TOKEN_SECONDS, "issued_at": issued})

    def _user(self, request: Request) -> User:
        """Who asks, by bearer token, or by Basic with any name and the token as password."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if not credentials:
            realm = f'Bearer realm="{request.url.scheme}://{request.url.netloc}/openshift/token"'
            raise RegistryError(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": realm})
        pair = basic_credentials(credentials) if scheme.lower() == "basic" else ("", credentials)
        user = self.users.by_token(pair[1]) if pair else None
        if user is None:
            raise _refused("invalid token")
        request.scope["sandbox.user"] = user.name
        return user

    def _require(self, call: Call, verb: str, resource: str, namespace: str) -> None:
        """A missing right is 401, as in OpenShift, where one would expect 403."""
        if not self._user(call.request).may(verb, "image.openshift.io", resource, namespace):
            raise _refused("access denied")

    def _require_pull(self, call: Call) -> None:
        self._require(call, "get", "imagestreams/layers", call.namespace)

    def _require_push(self, call: Call) -> None:
        self._require(call, "update", "imagestreams/layers", call.namespace)
        if not self.users.trust_front_proxy and not self.streams.store.find(NAMESPACES, "", call.namespace):
            raise RegistryError(404, "NAME_UNKNOWN", f"namespace {call.namespace} not found")
        if self.options.read_only:
            raise _unsupported()

    def _require_prune(self, call: Call) -> None:
        self._require(call, "delete", IMAGES.plural, "")
        if self.options.read_only:
            raise _unsupported()

    # -- reading

    async def _version(self, call: Call) -> Response:
        self._user(call.request)
        return json_response({})

    async def _catalog(self, call: Call) -> Response:
        self._require(call, "list", "imagestreams", "")
        return json_response({"repositories": self.blobs.repositories()})

    async def _tags(self, call: Call) -> Response:
        self._require_pull(call)
        tags = self.streams.tags(call.namespace, call.name)
        if tags is None:
            raise RegistryError(404, "NAME_UNKNOWN", "repository name not known to registry")
        return json_response({"name": call.repository, "tags": tags})

    async def _blob(self, call: Call) -> Response:
        self._require_pull(call)
        digest = _digest(call.reference)
        path = self.blobs.reachable(self.blobs.layer_link(call.repository, digest))
        if path is None:
            raise _unknown() if self.descriptors.has(call.repository, digest) else _blob_unknown(digest)
        self.descriptors.remember(call.repository, digest)
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        return FileResponse(path, headers=headers, media_type="application/octet-stream")

    async def _manifest(self, call: Call) -> Response:
        self._require_pull(call)
        digest = call.reference
        if ":" not in digest:
            item = self.streams.current(call.namespace, call.name, digest)
            if item is None:
                raise _manifest_unknown(call.reference)
            digest = item["image"]
        path = self.blobs.reachable(self.blobs.manifest_link(call.repository, _digest(digest)))
        if path is None:
            raise _manifest_unknown(call.reference)
        image = self.streams.store.find(IMAGES, "", digest)
        media_type = image.content.get("dockerImageManifestMediaType") if image else None
        raw = path.read_bytes()
        if not media_type:
            media_type = parse_manifest(digest, "", raw).media_type
        return Response(raw, 200, {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}, media_type)

    # -- pushing

    async def _start_upload(self, call: Call) -> Response:
        self._require_push(call)
        query = call.request.query_params
        if (digest := query.get("mount")) and self._has(query.get("from", ""), _digest(digest)):
            return self._linked(call, digest)
        if digest := query.get("digest"):
            return self._stored(call, await call.request.body(), digest)
        return self._progress(call, self.blobs.start_upload(call.repository), 202)

    def _has(self, repository: str, digest: str) -> bool:
        named = re.fullmatch(f"{_NAME}/{_NAME}", repository)
        return named is not None and self._has_layer(repository, digest)

    def _has_layer(self, repository: str, digest: str) -> bool:
        """Whether a repository has a layer, as far as this replica knows: what it remembers it does not look up."""
        if self.descriptors.has(repository, digest):
            return True
        return self.blobs.reachable(self.blobs.layer_link(repository, digest)) is not None

    async def _upload_state(self, call: Call) -> Response:
        self._require_push(call)
        self._uploaded(call)
        return self._progress(call, call.reference, 204)

    async def _append(self, call: Call) -> Response:
        self._require_push(call)
        path = self._uploaded(call)
        start = call.request.headers.get("content-range", "").partition("-")[0]
        if start and start != str(path.stat().st_size):
            raise RegistryError(416, "BLOB_UPLOAD_INVALID", "the range does not begin where the upload has got to")
        with path.open("ab") as upload:
            upload.write(await call.request.body())
        return self._progress(call, call.reference, 202)

    async def _finish_upload(self, call: Call) -> Response:
        self._require_push(call)
        path = self._uploaded(call)
        content = path.read_bytes() + await call.request.body()
        answer = self._stored(call, content, call.request.query_params.get("digest", ""))
        self.blobs.cancel_upload(call.repository, call.reference)
        return answer

    async def _cancel_upload(self, call: Call) -> Response:
        self._require_push(call)
        self._uploaded(call)
        self.blobs.cancel_upload(call.repository, call.reference)
        return Response(status_code=204)

    def _uploaded(self, call: Call) -> Path:
        path = self.blobs.upload(call.repository, call.reference)
        if not path.is_file():
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return path

    def _progress(self, call: Call, upload: str, status: int) -> Response:
        size = self.blobs.upload(call.repository, upload).stat().st_size
        headers = {
            "Location": f"/v2/{call.repository}/blobs/uploads/{upload}",
            "Docker-Upload-UUID": upload,
            "Range": f"0-{max(size - 1, 0)}",
        }
        return Response(status_code=status, headers=headers)

    def _stored(self, call: Call, content: bytes, digest: str) -> Response:
        if digest_of(content) != _digest(digest):
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs.write(content)
        return self._linked(call, digest)

    def _linked(self, call: Call, digest: str) -> Response:
        self.blobs.link(self.blobs.layer_link(call.repository, digest), digest)
        self.descriptors.remember(call.repository, digest)
        headers = {"Location": f"/v2/{call.repository}/blobs/{digest}", "Docker-Content-Digest": digest}
        return Response(status_code=201, headers=headers)

    async def _put_manifest(self, call: Call) -> Response:
        self._require_push(call)
        raw = await call.request.body()
        digest = digest_of(raw)
        tag = "" if ":" in call.reference else call.reference
        if not tag and _digest(call.reference) != digest:
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        try:
            manifest = parse_manifest(digest, call.request.headers.get("content-type", ""), raw)
        except ValueError as error:
            raise RegistryError(400, "MANIFEST_INVALID", f"manifest invalid: {error}") from error
        self._check_parts(call, manifest)
        self._record(call, manifest, raw, tag)
        headers = {"Location": f"/v2/{call.repository}/manifests/{digest}", "Docker-Content-Digest": digest}
        return Response(status_code=201, headers=headers)

    def _check_parts(self, call: Call, manifest: Manifest) -> None:
        """Everything that a manifest names must be in the repository already."""
        if manifest.is_index:
            links = {
                entry["digest"]: self.blobs.manifest_link(call.repository, entry["digest"])
                for entry in manifest.members
            }
            missing = [digest for digest, link in links.items() if self.blobs.reachable(link) is None]
        else:
            parts = [part["digest"] for part in (manifest.config, *manifest.layers)]
            missing = [digest for digest in parts if not self._has_layer(call.repository, digest)]
        if missing:
            raise RegistryError(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {missing[0]}")

    def _record(self, call: Call, manifest: Manifest, raw: bytes, tag: str) -> None:
        config = b"" if manifest.is_index else self._config(manifest.config["digest"])
        reference = f"{self.streams.repository(call.namespace, call.name)}@{manifest.digest}"
        image = image_of(manifest, config, reference)
        self.blobs.write(raw)
        self.blobs.link(self.blobs.manifest_link(call.repository, manifest.digest), manifest.digest)
        self.streams.add(self.streams.ensure(call.namespace, call.name), image, tag)

    def _config(self, digest: str) -> bytes:
        try:
            return self.blobs.path(digest).read_bytes()
        except FileNotFoundError:
            raise _unknown() from None

    # -- deleting

    async def _delete_layer_link(self, call: Call) -> Response:
        self._require_prune(call)
        digest = _digest(call.reference)
        self.descriptors.forget(digest, call.repository)
        if not self.blobs.unlink(self.blobs.layer_link(call.repository, digest)):
            raise _blob_unknown(digest)
        return Response(status_code=202)

    async def _delete_manifest_link(self, call: Call) -> Response:
        self._require_prune(call)
        digest = _digest(call.reference)
        if digest in self.streams.named(call.namespace, call.name):
            raise _unsupported()
        if not self.blobs.unlink(self.blobs.manifest_link(call.repository, digest)):
            raise _manifest_unknown(digest)
        return Response(status_code=202)

    async def _delete_blob(self, call: Call) -> Response:
        self._require_prune(call)
        self.descriptors.forget(_digest(call.reference))
        self.blobs.delete(_digest(call.reference))
        return Response(status_code=204)


def _digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise RegistryError(400, "DIGEST_INVALID", f"invalid digest: {text!r}")
    return text


def _refused(why: str) -> RegistryError:
    headers = {"WWW-Authenticate": f'Basic realm=openshift,error="{why}"'}
    return RegistryError(401, "UNAUTHORIZED", why, headers)
