"""A real forward proxy on loopback, Debian's tinyproxy, with basic authentication where a user is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.processes import free_port, listens, program, started


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    url: str
    log: Path

    def tunnels(self) -> list[str]:
        """Lines of the log about what was asked for, in order."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if "Request (file descriptor" in line]

    def saw(self, server: str) -> bool:
        """Whether it was asked to connect to `host:port`."""
        return any(server in line for line in self.tunnels())


@contextmanager
def running_proxy(folder: Path, *, user: str | None = None) -> Iterator[ForwardProxy]:
    """`user` is `name:password`."""
    path = program("tinyproxy", "tinyproxy")
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "log"
    log.touch()
    lines = [
        f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 100", f'LogFile "{log}"', "LogLevel Connect",
        "DisableViaHeader Yes", *([f"BasicAuth {user.replace(':', ' ')}"] if user else []),
    ]  # fmt: skip
    file = folder / "tinyproxy.conf"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with started([path, "-d", "-c", str(file)], folder / "output", lambda: listens(port)):
        yield ForwardProxy(f"http://127.0.0.1:{port}", log)
