"""
The strings of the puppet, under `/sandbox/` on the API's port: what was asked, what shall go wrong, what time it is,
how much the disk holds. Without credentials, since the sandbox listens on loopback only; no part of what is tested.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import faults, identity, status
from sandbox.blobs import Blobs
from sandbox.clock import parse_timestamp, timestamp
from sandbox.discovery import Situation
from sandbox.edge import Surroundings
from sandbox.identity import Users
from sandbox.images import tag_events
from sandbox.kinds import IMAGE_STREAMS, Catalogue
from sandbox.status import Json, StatusError, json_response
from sandbox.store import Store


class SetClock(msgspec.Struct, forbid_unknown_fields=True):
    """
    `now` (RFC 3339) sets the clock, which stands still there if `frozen`; `advance` moves it on by seconds.
    With `days_ago` it stands still in the past, until that is set to 0.
    """

    now: str | None = None
    frozen: bool = False
    advance: float | None = None
    days_ago: float | None = None


class Age(msgspec.Struct, forbid_unknown_fields=True):
    """
    Which object is to be how old: created at `created` (RFC 3339), or `days` before now. History items of an image
    stream come along, only those of `tag` if it is given.
    """

    resource: str
    name: str
    group: str = ""
    namespace: str = ""
    created: str | None = None
    days: float = 0.0
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """The endpoints; `state` describes the sandbox, `save` writes it down and `load` takes what is written down."""

    store: Store
    catalogue: Catalogue
    situation: Situation
    users: Users
    blobs: Blobs
    around: Surroundings
    state: Callable[[], Json]
    save: Callable[[], None]
    load: Callable[[], None]

    def application(self) -> Starlette:
        routes = [
            Route("/sandbox/state", self.get_state, methods=["GET"]),
            Route("/sandbox/requests", self.get_requests, methods=["GET"]),
            Route("/sandbox/requests", self.delete_requests, methods=["DELETE"]),
            Route("/sandbox/faults", self.get_faults, methods=["GET"]),
            Route("/sandbox/faults", self.post_fault, methods=["POST"]),
            Route("/sandbox/faults", self.delete_faults, methods=["DELETE"]),
            Route("/sandbox/faults/{id:int}", self.delete_faults, methods=["DELETE"]),
            Route("/sandbox/faults/{id:int}/fired", self.get_fired, methods=["GET"]),
            Route("/sandbox/discovery", self.put_discovery, methods=["PUT"]),
            Route("/sandbox/clock", self.get_clock, methods=["GET"]),
            Route("/sandbox/clock", self.put_clock, methods=["PUT"]),
            Route("/sandbox/clock", self.delete_clock, methods=["DELETE"]),
            Route("/sandbox/expire", self.post_expire, methods=["POST"]),
            Route("/sandbox/disk", self.get_disk, methods=["GET"]),
            Route("/sandbox/age", self.post_age, methods=["POST"]),
            Route("/sandbox/users", self.post_user, methods=["POST"]),
            Route("/sandbox/save", self.post_save, methods=["POST"]),
            Route("/sandbox/load", self.post_load, methods=["POST"]),
        ]
        mistakes = (ValueError, msgspec.DecodeError, msgspec.ValidationError, StatusError)
        return Starlette(routes=routes, exception_handlers=dict.fromkeys(mistakes, _mistaken))

    async def get_state(self, _request: Request) -> Response:
        return json_response(self.state())

    async def get_requests(self, _request: Request) -> Response:
        return json_response(self.around.journal.entries)

    async def delete_requests(self, _request: Request) -> Response:
        self.around.journal.clear()
        return Response(status_code=204)

    async def get_faults(self, _request: Request) -> Response:
        return json_response(self.around.faults.rules)

    async def post_fault(self, request: Request) -> Response:
        rule = msgspec.json.decode(await request.body(), type=faults.Rule)
        return json_response({"id": self.around.faults.add(rule)}, 201)

    async def delete_faults(self, request: Request) -> Response:
        self.around.faults.remove(request.path_params.get("id"))
        return Response(status_code=204)

    async def get_fired(self, request: Request) -> Response:
        """Answers when the rule has fired, or was removed before."""
        return json_response({"fired": await self.around.faults.fired(request.path_params["id"])})

    async def put_discovery(self, request: Request) -> Response:
        self._set_discovery(msgspec.json.decode(await request.body(), type=Situation))
        return Response(status_code=204)

    def _set_discovery(self, wanted: Situation) -> None:
        self.situation.aggregated, self.situation.stale = wanted.aggregated, wanted.stale

    async def get_clock(self, _request: Request) -> Response:
        return json_response({"now": self.around.clock.timestamp()})

    async def put_clock(self, request: Request) -> Response:
        wanted = msgspec.json.decode(await request.body(), type=SetClock)
        if wanted.now is not None:
            self.around.clock.set(parse_timestamp(wanted.now), frozen=wanted.frozen)
        if wanted.advance is not None:
            self.around.clock.advance(wanted.advance)
        if wanted.days_ago is not None:
            self.around.clock.go_back(wanted.days_ago)
        return await self.get_clock(request)

    async def delete_clock(self, request: Request) -> Response:
        self.around.clock.release()
        return await self.get_clock(request)

    async def post_expire(self, _request: Request) -> Response:
        self.store.expire()
        return Response(status_code=204)

    async def get_disk(self, _request: Request) -> Response:
        return json_response(asdict(self.blobs.usage()))

    async def post_age(self, request: Request) -> Response:
        age = msgspec.json.decode(await request.body(), type=Age)
        resource = self.catalogue.named(age.group, age.resource)
        if resource is None:
            raise status.no_such_path()
        days_ago = self.around.clock.now() - timedelta(days=age.days)
        created = timestamp(parse_timestamp(age.created) if age.created else days_ago)
        item = self.store.get(resource, age.namespace, age.name)
        content = item.copy()
        content["metadata"]["creationTimestamp"] = created
        if resource == IMAGE_STREAMS:
            _age_items(content, created, age.tag)
        return json_response(self.store.rewrite(item, content).content)

    async def post_user(self, request: Request) -> Response:
        self.users.put(msgspec.json.decode(await request.body(), type=identity.User))
        return Response(status_code=204)

    async def post_save(self, _request: Request) -> Response:
        self.save()
        return Response(status_code=204)

    async def post_load(self, _request: Request) -> Response:
        """Restarts with the folder, which was replaced, without faults, requests, and an altered clock."""
        self.around.faults.remove()
        self._set_discovery(Situation())
        self.around.journal.clear()
        self.around.clock.release()
        self.load()
        return Response(status_code=204)


def _age_items(stream: Json, created: str, tag: str | None) -> None:
    tags: list[dict[str, Any]] = (stream.get("status") or {}).get("tags") or []
    chosen = [entry for entry in tags if tag in (None, entry["tag"])]
    for event in tag_events({"status": {"tags": chosen}}):
        event["created"] = created


async def _mistaken(_request: Request, error: Exception) -> Response:
    failure = error if isinstance(error, StatusError) else status.bad_request(str(error))
    return failure.response()
