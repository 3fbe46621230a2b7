"""TLS contexts from certificates and keys that are files or content.

Keys are in a file only while OpenSSL reads them.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruner.settings.files import is_pem


class CertificateError(Exception):
    """A certificate or key that cannot be used; the message says why, and shows no content and no path."""


def tls_context(ca: str | None, *, validates: bool) -> ssl.SSLContext:
    """A client's TLS context. `ca` is a path or PEM content; without it the system's authorities are trusted.

    Raises CertificateError.
    """
    with _explained():
        by_content = ca is not None and is_pem(ca)
        context = ssl.create_default_context(cadata=ca) if by_content else ssl.create_default_context(cafile=ca)
    if not validates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def trust(context: ssl.SSLContext, ca: str) -> None:
    """Trust these authorities also: a path or PEM content. Raises CertificateError."""
    with _explained():
        if is_pem(ca):
            context.load_verify_locations(cadata=ca)
        else:
            context.load_verify_locations(ca)


def load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Use this client certificate: paths or PEM content, the key perhaps in the same place. Raises CertificateError."""
    # OpenSSL reads keys from files only. The folder is the user's own (0700), and gone when they are read.
    with _explained(), tempfile.TemporaryDirectory(prefix="pruner-") as folder:
        certificate_file = _file(certificate, Path(folder) / "certificate")
        key_file = None if key is None else _file(key, Path(folder) / "key")
        # Without a password for it OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate_file, key_file, password="")


def _file(content: str, path: Path) -> str:
    if not is_pem(content):
        return content
    path.touch(mode=0o600)
    path.write_text(content, encoding="ascii")
    return str(path)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise CertificateError((error.reason or "not in PEM form").replace("_", " ").lower()) from None
    except OSError as error:
        raise CertificateError(error.strerror or type(error).__name__) from None
    except ValueError:
        raise CertificateError("not in PEM form") from None
