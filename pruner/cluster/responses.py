"""What counts as an API server's response to a request, and the error for everything else.

A response with status 200 says little: proxies, login pages and broken servers send it too. So an object has to be the
one that was asked for, and a 404 counts as an object that is absent only where the API server itself says so.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import msgspec

from pruner.cluster.resources import Resource
from pruner.errors import ClusterError, ConflictError, ExpiredError, ForbiddenError, NotFoundError, UnauthorizedError
from pruner.http.response import UNDECODABLE, Response, reason_of
from pruner.http.retry import TRANSIENT_STATUSES

T = TypeVar("T")

_NO_SUCH_PATH = b"404 page not found"
"""The whole answer of an API server for a path of a group or version that it does not have."""


class _Details(msgspec.Struct, frozen=True):
    name: str = ""


class Status(msgspec.Struct, frozen=True):
    """An API server's words on a request that it did not answer with an object."""

    kind: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""


class _Object(msgspec.Struct, frozen=True, rename="camel"):
    """What an object says about itself. `status` is not read: it has another form in every kind."""

    kind: str = ""
    api_version: str = ""
    metadata: _Meta | None = None


def status_in(response: Response) -> Status:
    """The Status in a response; an empty one where there is none."""
    try:
        return msgspec.json.decode(response.body, type=Status)
    except UNDECODABLE:
        return Status()


def says_not_found(response: Response, name: str) -> bool:
    """Whether a response with status 404 is an API server's word that the object of this name is absent.

    A Status with details is about the object that it names; with an empty `name` it may be about any, such as a
    namespace.
    """
    found = status_in(response)
    if found.kind != "Status" or found.reason != "NotFound":
        return False
    return found.details is None or not name or found.details.name == name


def says_no_such_path(response: Response) -> bool:
    """Whether a response with status 404 has the words of an API server for a path that it does not know."""
    return response.body.strip() == _NO_SUCH_PATH or (status_in(response).reason == "NotFound")


def failure(  # noqa: PLR0911 - a table
    server: str, response: Response, verb: str, resource: Resource | None, path: str, *, absent: bool
) -> ClusterError:
    """The error for a response whose status is not one of success. `absent`: a 404 is the API server's own."""
    said = status_in(response).message
    words = f", {said}" if said else ""
    path = path.partition("?")[0]
    what = resource.name if resource else path
    match response.status:
        case 401:
            return UnauthorizedError(
                f"{server}: the credentials are not accepted (401{words}); give a valid api_key, or log in again"
            )
        case 403:
            group = repr(resource.group) if resource and resource.group else "'' (core)"
            return ForbiddenError(
                f"{server}: no permission to {verb} {what} (403{words}); "
                f"grant verb {verb!r} on resource {resource.plural if resource else path!r} of API group {group}"
            )
        case 404 if absent:
            return NotFoundError(f"{server}: {path} is not there (404{words})")
        case 409:
            return ConflictError(f"{server}: {verb} {what}: {said or 'the object has changed'} (409)")
        case 410:
            return ExpiredError(f"{server}: {verb} {what}: {said or 'too old'} (410)")
        case status if 300 <= status < 400:
            where = response.headers.get("Location", "nowhere").partition("?")[0]
            return ClusterError(f"{server}: sends one on to {where} ({status}); give that address as host")
    if response.status == 404:
        error = ClusterError(
            f"{server}: {verb} {what}: the 404 for {path} is not the API server's word that it is absent "
            f"({said or response.describe()}); check what stands between, or try again when the API server is up"
        )
    else:
        later = "; it stays busy, try again later" if response.status in TRANSIENT_STATUSES else ""
        said = said or response.describe()
        error = ClusterError(f"{server}: {verb} {what}: the server answers {response.status} ({said}){later}")
    error.status = response.status
    return error


def not_understood(server: str, response: Response, path: str, why: object) -> ClusterError:
    """The error for a response that cannot be decoded, or is not what was asked for."""
    return ClusterError(
        f"{server}: the answer to {path} is not what an API server gives ({response.describe()}: {why}); "
        "give the address of the API as host"
    )


def decoded(server: str, response: Response, kind: type[T], path: str) -> T:
    """The JSON of a response as this type. Raises ClusterError for anything else."""
    try:
        return msgspec.json.decode(response.body, type=kind)
    except UNDECODABLE as error:
        raise not_understood(server, response, path, reason_of(error)) from None


def check_object(
    server: str,
    response: Response,
    resource: Resource,
    path: str,
    *,
    name: str = "",
    namespace: str = "",
    uid: str = "",
) -> None:
    """Raise ClusterError unless a response is this object, as far as it is known which: kind, name, namespace and uid.

    Objects that leave out their kind, as the items of lists do, are known by the rest.
    """
    found = decoded(server, response, _Object, path)
    if (found.kind and resource.kind and found.kind != resource.kind) or (
        found.api_version and found.api_version != resource.api_version
    ):
        _refuse(server, response, path, f"{_typed(found)}, and not a {resource.kind or resource.name}")
    metadata = found.metadata or _Meta()
    for field, value, wanted in (
        ("name", metadata.name, name),
        ("namespace", metadata.namespace, namespace),
        ("uid", metadata.uid, uid),
    ):
        if wanted and value != wanted:
            _refuse(server, response, path, f"its {field} is {value!r}, and not {wanted!r}")


def check_deletion(server: str, response: Response, resource: Resource, path: str, name: str) -> None:
    """Raise ClusterError unless a response says that the object
    is deleted: a Status of success, or the object as it was.
    """
    found = status_in(response)
    if found.kind == "Status":
        if found.status != "Success":
            _refuse(server, response, path, f"a Status {found.status or 'without a status'}: {found.message}")
    else:
        check_object(server, response, resource, path, name=name)


def _typed(found: _Object) -> str:
    return f"a {found.kind or 'thing without a kind'} of {found.api_version or 'no version'}"


def _refuse(server: str, response: Response, path: str, why: str) -> NoReturn:
    raise not_understood(server, response, path, why)


def identity_in(body: object) -> dict[str, Any]:
    """Name, namespace and uid that an object which is sent has, for `check_object`."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict):
        return {}
    return {field: metadata[field] for field in ("name", "namespace", "uid") if metadata.get(field)}
