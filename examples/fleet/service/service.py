"""A fleet as a service: a few HTTP endpoints over the library, with the Automation API behind it.

python service.py fleet.yaml 8080

GET  /clusters                    what came of the last runs
POST /clusters/NAME/preview       make a plan for the cluster; answers its outcome, the plan is kept
GET  /clusters/NAME/plan          the plan, to be reviewed
POST /clusters/NAME/up            carry out the plan that is kept; needs its fingerprint, `If-Match: sha256:...`

It listens on loopback: who may use it is the business of what stands in front of it.
"""

from __future__ import annotations

import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from pruner.errors import PrunerError
from pruner.fleet import Fleet, Options, preview, read_fleet, up
from pruner.fleet.ledger import Ledger
from pruner.planning import read_plan


class Service(ThreadingHTTPServer):
    """Serves one fleet. One run of a cluster at a time: a second one is told so."""

    daemon_threads = True

    def __init__(self, file: Path, port: int) -> None:
        self.fleet = read_fleet(file)
        work = file.resolve().parent / ".fleet"
        self.plans = work / "plans"
        self.options = Options(folder=file.resolve().parent, work=work, plans=self.plans, again=True)
        self.busy = {cluster.name: threading.Lock() for cluster in self.fleet.clusters}
        super().__init__(("127.0.0.1", port), Requests)

    def only(self, name: str) -> Fleet:
        chosen = tuple(cluster for cluster in self.fleet.clusters if cluster.name == name)
        return msgspec.structs.replace(self.fleet, clusters=chosen)

    def plan(self, name: str) -> Path:
        return self.plans / f"{name}.jsonl"


class Requests(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["clusters"]:
                ledger = Ledger(self.server.options.work)
                runs = {
                    name: [run for verb in ("preview", "up") if (run := ledger.last(name, verb)) is not None]
                    for name in self.server.busy
                }
                self.answer(HTTPStatus.OK, msgspec.json.encode(runs))
            case ["clusters", name, "plan"] if name in self.server.busy and self.server.plan(name).is_file():
                self.answer(HTTPStatus.OK, self.server.plan(name).read_bytes(), "application/jsonl")
            case _:
                self.refuse(HTTPStatus.NOT_FOUND, "there is no such thing")

    def do_POST(self) -> None:
        match self.path.strip("/").split("/"):
            case ["clusters", name, "preview" | "up" as verb] if name in self.server.busy:
                if not self.server.busy[name].acquire(blocking=False):
                    self.refuse(HTTPStatus.CONFLICT, f"{name} is at work")
                    return
                try:
                    status, body = self.run(name, verb)
                finally:
                    self.server.busy[name].release()
                self.answer(status, body)
            case _:
                self.refuse(HTTPStatus.NOT_FOUND, "there is no such thing")

    def run(self, name: str, verb: str) -> tuple[HTTPStatus, bytes]:
        """What to answer: whoever has read the answer finds the cluster free for the next run."""
        try:
            if verb == "up" and read_plan(str(self.server.plan(name))).fingerprint != self.headers.get("If-Match"):
                why = "If-Match is not the fingerprint of the plan that is kept"
                return HTTPStatus.PRECONDITION_FAILED, failure(why)
            run = preview if verb == "preview" else up
            (outcome,) = run(self.server.only(name), self.server.options, lambda _: None)
        except PrunerError as error:
            return HTTPStatus.UNPROCESSABLE_ENTITY, failure(str(error))
        status = HTTPStatus.OK if outcome.state in ("done", "skipped") else HTTPStatus.BAD_GATEWAY
        return status, msgspec.json.encode(outcome)

    def refuse(self, status: HTTPStatus, why: str) -> None:
        self.answer(status, failure(why))

    def answer(self, status: HTTPStatus, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def failure(why: str) -> bytes:
    return msgspec.json.encode({"error": why})


if __name__ == "__main__":
    Service(Path(sys.argv[1]), int(sys.argv[2])).serve_forever()
