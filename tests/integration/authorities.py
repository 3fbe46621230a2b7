"""Certificates of test servers and their users, from authorities that each test session makes for itself."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A CA with its certificate in `ca`, that issues into the same folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._authority = trustme.CA()
        self._numbers = count(1)
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def server(self, name: str = "server", *hosts: str, expired: bool = False) -> Pair:
        """A server's certificate; for loopback by name and address where no host is given."""
        ended = datetime.now(UTC) - timedelta(days=1) if expired else None
        began = datetime.now(UTC) - timedelta(days=9) if expired else None
        issued = self._authority.issue_cert(*(hosts or ("127.0.0.1", "localhost")), not_after=ended, not_before=began)
        return self._written(name, issued)

    def client(self, user: str, *groups: str) -> Pair:
        """A client's certificate, as Kubernetes reads it: the user is the CN, one group the O."""
        assert len(groups) <= 1, "one group is as many as an O takes"
        # Without any name in it, Go refuses the certificate's list of names.
        issued = self._authority.issue_cert(
            "client.example.org", common_name=user, organization_name=groups[0] if groups else None
        )
        return self._written(f"client-{user.replace(':', '-')}", issued)

    def _written(self, name: str, issued: trustme.LeafCert) -> Pair:
        # Never the files of another one: a server that is just starting may be reading them.
        number = next(self._numbers)
        pair = Pair(self.folder / f"{name}-{number}.pem", self.folder / f"{name}-{number}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(pair.key))
        return pair
