"""
Trouble on order. A rule says which requests it is about and what happens to them: an error, a delay, silence, a lost
connection, half an answer, or the end of the whole sandbox. Rules count, so that the third delete fails in every run of
a test and never the second.
"""

import asyncio
import re
from itertools import count
from typing import Any, Literal

import msgspec

When = Literal["before", "after"]
Server = Literal["api", "registry"]


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Which requests. `method` is one, or several with | between; `path` is a regular expression searched in the path with
    its query, as it was sent.
    """

    method: str | None = None
    path: str = ""
    server: Server | None = None

    def covers(self, server: str, method: str, path: str) -> bool:
        return (
            self.server in (None, server)
            and (self.method is None or method in self.method.upper().split("|"))
            and re.search(self.path, path) is not None
        )


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What happens. `delay` (seconds) comes first and may go with any other. `status` answers with `headers` and `body`
    (text, or JSON), by default as the server would word it. `hang` never answers. `hold` does nothing until the rule is
    removed, then the request is handled as if nothing had been; not when its client has disconnected meanwhile. `drop`
    resets the connection before the request is handled, or after it, when only the answer is lost. `truncate` sends so
    many bytes of the answer's body. `pad` sends so many bytes of spaces before the body, with `compress` both as gzip.
    `trickle` sends the body byte by byte, with so many seconds in between. `kill` ends the sandbox, before or after.
    """

    delay: float = 0.0
    status: int | None = None
    headers: dict[str, str] = {}
    body: Any = None
    hang: bool = False
    hold: bool = False
    drop: When | None = None
    truncate: int | None = None
    pad: int = 0
    compress: bool = False
    trickle: float | None = None
    kill: When | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """
    Applies to the matching requests numbered `from` to `to` (from 1, both included; without `to` there is no end), and
    of those to each `every`-th, beginning with the first.
    """

    action: Action
    match: Match = Match()
    first: int = 1
    last: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        re.compile(self.match.path)
        if self.first < 1 or self.every < 1:
            raise ValueError("from and every are at least 1")

    def applies(self, number: int) -> bool:
        within = self.first <= number and (self.last is None or number <= self.last)
        return within and (number - self.first) % self.every == 0


class Counted(msgspec.Struct):
    """A rule with its matches so far."""

    id: int
    rule: Rule
    matched: int = 0
    fired: int = 0


class Faults:
    """The rules in force. The first that applies decides; every rule that matches counts."""

    def __init__(self) -> None:
        self.rules: list[Counted] = []
        self._ids = count(1)
        self._news = asyncio.Event()

    def add(self, rule: Rule) -> int:
        counted = Counted(next(self._ids), rule)
        self.rules.append(counted)
        return counted.id

    def remove(self, identity: int | None = None) -> None:
        """Removes one rule, or all."""
        self.rules = [counted for counted in self.rules if identity is not None and counted.id != identity]
        self._tell()

    def find(self, identity: int) -> Counted | None:
        return next((counted for counted in self.rules if counted.id == identity), None)

    async def fired(self, identity: int) -> bool:
        """Returns when the rule has fired, with True, or when it is removed before."""
        while (counted := self.find(identity)) is not None and not counted.fired:
            await self._news.wait()
        return counted is not None

    async def removed(self, identity: int) -> None:
        """Returns when the rule is removed."""
        while self.find(identity) is not None:
            await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def choose(self, server: str, method: str, path: str) -> Counted | None:
        """The rule that says what happens to this request; None leaves it alone."""
        chosen: Counted | None = None
        for counted in self.rules:
            if counted.rule.match.covers(server, method, path):
                counted.matched += 1
                if chosen is None and counted.rule.applies(counted.matched):
                    chosen = counted
        if chosen is None:
            return None
        chosen.fired += 1
        self._tell()
        return chosen
