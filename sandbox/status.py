"""
Failures as the Kubernetes API words them. Clients decide by `code` and `reason`, people by `message`; all three follow
k8s.io/apimachinery/pkg/api/errors, so that what is learnt against the sandbox holds against a cluster.
"""

from typing import Any

import msgspec
from starlette.responses import PlainTextResponse, Response

from sandbox.kinds import Resource

Json = dict[str, Any]


def json_response(content: object, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), code, headers, "application/json")


class StatusError(Exception):
    """A request that failed; carries the `Status` object that the client gets."""

    def __init__(
        self, code: int, reason: str, message: str, details: Json | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            **({"details": details} if details else {}),
            "code": code,
        }

    def response(self) -> Response:
        return json_response(self.status, self.code, self.headers)


class PlainError(StatusError):
    """A failure that real servers word in plain text, since
    it comes from before the part of them that knows objects.
    """

    def response(self) -> Response:
        return PlainTextResponse(f"{self}\n", self.code, self.headers)


def _details(resource: Resource, name: str) -> Json:
    named = {"name": name} if name else {}
    grouped = {"group": resource.group} if resource.group else {}
    return {**named, **grouped, "kind": resource.plural}


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized", headers={"WWW-Authenticate": 'Basic realm="openshift"'})


def forbidden(resource: Resource, user: str, verb: str, *, namespace: str, name: str, subresource: str) -> StatusError:
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    group = resource.group
    message = f'{subject} is forbidden: User "{user}" cannot {verb} resource "{plural}" in API group "{group}" {where}'
    return StatusError(403, "Forbidden", message, _details(resource, name))


def path_forbidden(user: str, verb: str, path: str) -> StatusError:
    return StatusError(403, "Forbidden", f'forbidden: User "{user}" cannot {verb} path "{path}"', {})


def not_found(resource: Resource, name: str) -> StatusError:
    message = f'{resource.qualified} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(resource, name))


def no_such_path() -> StatusError:
    return PlainError(404, "NotFound", "404 page not found")


def unavailable() -> StatusError:
    """What kube-apiserver says in place of an aggregated server that is down."""
    return PlainError(503, "ServiceUnavailable", "service unavailable")


def method_not_allowed(resource: Resource, verb: str) -> StatusError:
    message = f"{verb} is not supported on resources of kind {resource.qualified!r}".replace("'", '"')
    return StatusError(405, "MethodNotAllowed", message, _details(resource, ""))


def already_exists(resource: Resource, name: str) -> StatusError:
    return StatusError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> StatusError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name))


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def unsupported_media_type(given: str, supported: str) -> StatusError:
    message = f"the body of the request was in an unknown format ({given}) - accepted media types include: {supported}"
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(resource: Resource, name: str, why: str) -> StatusError:
    message = f'{resource.kind}{"." + resource.group if resource.group else ""} "{name}" is invalid: {why}'
    return StatusError(422, "Invalid", message, {**_details(resource, name), "kind": resource.kind})
