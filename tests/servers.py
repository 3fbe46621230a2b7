"""
Starts a sandbox of its own for a test, in a process of its own, and hands out a small client for it. What a test needs
to know about its cluster in addition to what the cluster's own API says (requests, disk, faults, clock) is asked for
here.
"""

import http.client
import json
import os
import select
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

from sandbox.builder import Builder

ROOT = Path(__file__).parent.parent
READY_SECONDS = 90
STOP_SECONDS = 10
IMAGE_API = "/apis/image.openshift.io/v1"
OBJECTS_FILE, REGISTRY_FOLDER = "objects.json", "docker"
POPULATED = "populated"
"""The file of a populated folder that says when that was."""
FRESH_SECONDS = 600
"""For how long a populated folder is copied before it is filled again: far less than by how much clocks may differ."""

Json = dict[str, Any]
Made = TypeVar("Made")
Server = Literal["api", "registry"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found


@dataclass(slots=True)
class RunningSandbox:
    """A sandbox that is up, and what one can ask of it. Methods raise OSError or HTTPException when it is not."""

    process: subprocess.Popen[bytes]
    folder: Path
    state: Json
    tokens: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.state["tokens"]

    @property
    def api_url(self) -> str:
        return str(self.state["api"])

    @property
    def registry_url(self) -> str:
        return str(self.state["registry"])

    @property
    def registry_host(self) -> str:
        """The registry as images and pods name it, `host:port`."""
        return str(self.state["registry_host"])

    @property
    def kubeconfig(self) -> Path:
        """A file with a context for each user; that of `admin` is current."""
        return Path(self.state["kubeconfig"])

    def builder(self) -> Builder:
        """Fills this sandbox: `async with sandbox.builder() as cluster`."""
        return Builder(self.api_url, self.registry_url, self.tokens["admin"])

    # -- requests of a client

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str | None = "admin",
        server: Server = "api",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; a `body` that is not bytes is sent as JSON, None sends no body."""
        sent = {"Authorization": f"Bearer {self.tokens[user]}"} if user else {}
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if raw is not None:
            sent["Content-Type"] = "application/json"
        connection = self._connect(server)
        try:
            connection.request(method, path, raw, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, *, user: str | None = "admin", server: Server = "api") -> Json:
        """The JSON at a path. AssertionError unless the answer is 200."""
        answer = self.call("GET", path, user=user, server=server)
        assert answer.status == 200, f"GET {path} answered {answer.status}: {answer.body.decode()}"
        return answer.json()

    def items(self, path: str) -> list[Json]:
        """The items of a list."""
        found: list[Json] = self.get(path)["items"]
        return found

    def stream(self, ref: str) -> Json:
        """The image stream `namespace/name`."""
        namespace, _, name = ref.partition("/")
        return self.get(f"{IMAGE_API}/namespaces/{namespace}/imagestreams/{name}")

    def history(self, ref: str) -> list[str]:
        """The digests in the history of the tag `namespace/name:tag`, newest first; empty when there is no tag."""
        repository, _, tag = ref.partition(":")
        tags = self.stream(repository)["status"].get("tags") or []
        return [item["image"] for entry in tags if entry["tag"] == tag for item in entry.get("items") or []]

    def images(self) -> dict[str, Json]:
        """All Image objects by digest."""
        return {image["metadata"]["name"]: image for image in self.items(f"{IMAGE_API}/images")}

    # -- the control interface

    def requests(self, *, server: Server | None = None, method: str | None = None) -> list[Json]:
        """What was asked, in order: number, server, method, path (with query), user, status (None: no answer)."""
        answer = self._control("GET", "requests")
        entries: list[Json] = json.loads(answer.body)
        return [entry for entry in entries if server in (None, entry["server"]) and method in (None, entry["method"])]

    def forget_requests(self) -> None:
        self._control("DELETE", "requests")

    def add_fault(
        self,
        action: Json,
        *,
        method: str | None = None,
        path: str = "",
        server: Server | None = None,
        first: int = 1,
        last: int | None = None,
        every: int = 1,
    ) -> int:
        """Adds a rule, see sandbox.faults, and returns its number."""
        match = {"method": method, "path": path, "server": server}
        rule = {"match": match, "from": first, "to": last, "every": every, "action": action}
        identity: int = self._control("POST", "faults", rule).json()["id"]
        return identity

    def faults(self) -> list[Json]:
        """The rules, each with how many requests it `matched` and how often it `fired`."""
        found: list[Json] = json.loads(self._control("GET", "faults").body)
        return found

    def fired(self, rule: int) -> int:
        """How often a rule has fired."""
        (counted,) = [found for found in self.faults() if found["id"] == rule]
        return int(counted["fired"])

    def has_fired(self, rule: int) -> bool:
        """Waits until a rule has fired, and returns True, or until it is removed."""
        fired: bool = self._control("GET", f"faults/{rule}/fired").json()["fired"]
        return fired

    def remove_fault(self, rule: int) -> None:
        """Removes one rule; requests that it holds go on."""
        self._control("DELETE", f"faults/{rule}")

    def clear_faults(self) -> None:
        """Removes all rules; requests that are held go on."""
        self._control("DELETE", "faults")

    def set_discovery(self, *, aggregated: bool = True, stale: Iterable[str] = ()) -> None:
        """How discovery answers from now on: aggregated or in the old form, and which groups' servers are down."""
        self._control("PUT", "discovery", {"aggregated": aggregated, "stale": list(stale)})

    def disk(self) -> Json:
        """`blob_bytes` and `files` of the registry."""
        return self._control("GET", "disk").json()

    def set_clock(self, now: str, *, frozen: bool = True) -> None:
        """Sets the sandbox's time, RFC 3339."""
        self._control("PUT", "clock", {"now": now, "frozen": frozen})

    def advance_clock(self, seconds: float) -> None:
        self._control("PUT", "clock", {"advance": seconds})

    def clock(self) -> str:
        now: str = self._control("GET", "clock").json()["now"]
        return now

    def release_clock(self) -> None:
        self._control("DELETE", "clock")

    def expire(self) -> None:
        """All continue tokens and all past of watches are too old from now on."""
        self._control("POST", "expire")

    def age(self, resource: str, ref: str, *, days: float, group: str = "image.openshift.io") -> Json:
        """Makes one object, `name` or `namespace/name`, so many days old."""
        namespace, _, name = ref.rpartition("/")
        age = {"group": group, "resource": resource, "namespace": namespace, "name": name, "days": days}
        return self._control("POST", "age", age).json()

    def put_user(self, name: str, rules: list[Json], *, groups: list[str] | None = None) -> str:
        """Adds a user, or changes the permissions of one, and returns the token."""
        token = self.tokens.setdefault(name, f"sandbox-{name}-token")
        self._control("POST", "users", {"name": name, "token": token, "groups": groups or [], "rules": rules})
        return token

    def restore(self, source: Path) -> None:
        """Restarts with a copy of a saved folder, without faults and requests, like a sandbox that is started on it."""
        wanted, found = files_in(source / REGISTRY_FOLDER), files_in(self.folder / REGISTRY_FOLDER)
        # What a file of the registry is called says what is in it, so that only names need to be compared.
        for extra in found - wanted:
            (self.folder / REGISTRY_FOLDER / extra).unlink()
        for missing in wanted - found:
            target = self.folder / REGISTRY_FOLDER / missing
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(source / REGISTRY_FOLDER / missing)
        shutil.copy2(source / OBJECTS_FILE, self.folder / OBJECTS_FILE)
        self._control("POST", "load")
        self.go_on_from(source)

    def go_on_from(self, folder: Path) -> None:
        """Sets the clock to when this folder was populated, where it was."""
        if (folder / POPULATED).is_file():
            self.set_clock((folder / POPULATED).read_text(), frozen=False)

    def save(self) -> None:
        """Writes the objects into the folder."""
        self._control("POST", "save")

    def stop(self) -> None:
        """Stops the process and waits for its end."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(STOP_SECONDS)

    def _control(self, method: str, what: str, body: object = None) -> Answer:
        answer = self.call(method, f"/sandbox/{what}", body, user=None)
        assert answer.status < 300, f"{method} /sandbox/{what} answered {answer.status}: {answer.body.decode()}"
        return answer

    def _connect(self, server: Server) -> http.client.HTTPConnection:
        parts = urlsplit(self.api_url if server == "api" else self.registry_url)
        host, port = str(parts.hostname), parts.port
        if parts.scheme == "https":
            unchecked = ssl._create_unverified_context()  # noqa: S323 - this client is no part of what is tested
            return http.client.HTTPSConnection(host, port, timeout=READY_SECONDS, context=unchecked)
        return http.client.HTTPConnection(host, port, timeout=READY_SECONDS)


def escaped(text: str) -> str:
    """A text as a value in a query."""
    return quote(text, safe="")


@contextmanager
def running_sandbox(
    data: Path, *arguments: str, populate: Literal["demo", "pipelines", "none"] = "none"
) -> Iterator[RunningSandbox]:
    """
    A sandbox on a folder, for as long as the context lasts. Further arguments are those of the command line, such as
    `"--without-group", "apps.openshift.io"`. AssertionError with what it said when it does not start.

    The clock of a populated folder's copy goes on from when that was populated: what is young there is young however
    long the tests have been running.
    """
    command = [sys.executable, "-m", "sandbox", "--data", str(data), "--populate", populate, "--with-parent"]
    # A file takes any number of complaints; a pipe that nobody reads would stop the sandbox in the middle of one.
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        running: RunningSandbox | None = None
        try:
            running = RunningSandbox(process, data, _ready(process, said))
            running.go_on_from(data)
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(STOP_SECONDS)


def _ready(process: subprocess.Popen[bytes], said: IO[bytes]) -> Json:
    assert process.stdout is not None
    select.select([process.stdout], [], [], READY_SECONDS)
    line = process.stdout.readline() if select.select([process.stdout], [], [], 0)[0] else b""
    if not line:
        process.kill()
        process.wait()
        said.seek(0)
        raise AssertionError(f"the sandbox did not start: {said.read().decode()}")
    state: Json = json.loads(line)
    return state


def renewed(make: Callable[[], Made], seconds: float = FRESH_SECONDS) -> Callable[[], Made]:
    """Gives what `make` made, and makes it again once that is older than `seconds`.

    A copy of a populated cluster goes on from the time it was filled at, and a run believes no clock that is far from
    this machine's.
    """
    made: list[tuple[float, Made]] = []

    def give() -> Made:
        if not made or time.monotonic() - made[-1][0] > seconds:
            made.append((time.monotonic(), make()))
        return made[-1][1]

    return give


def populated_folder(folder: Path) -> Path:
    """Fills a new folder with the demo cluster, and leaves it for copying."""
    with running_sandbox(folder, populate="demo") as sandbox:
        now = sandbox.clock()
    (folder / POPULATED).write_text(now)
    return folder


def files_in(folder: Path) -> set[str]:
    """The files in a folder, by their paths in it."""
    return {
        os.path.relpath(os.path.join(within, name), folder) for within, _, names in os.walk(folder) for name in names
    }


def copied(source: Path, target: Path) -> Path:
    """A copy of a saved folder.

    The registry's files are linked, not copied: what is written into one is what is there.
    """
    target.mkdir(parents=True)
    if (source / REGISTRY_FOLDER).is_dir():
        shutil.copytree(source / REGISTRY_FOLDER, target / REGISTRY_FOLDER, copy_function=os.link)
    shutil.copy2(source / OBJECTS_FILE, target / OBJECTS_FILE)
    if (source / POPULATED).is_file():
        shutil.copy2(source / POPULATED, target / POPULATED)
    return target
