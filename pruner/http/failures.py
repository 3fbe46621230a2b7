"""Why a request has no usable response, in one sentence that names the server, the cause and the way out."""

from __future__ import annotations

import errno
import os
import ssl
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from pruner.http.bounds import MAX_HEADER, MAX_HEADERS, in_words


class TransportError(Exception):
    """There is no usable response; `str()` says why, in words that can be shown.

    `transient` is true when the same request may succeed a moment later, `untrusted_certificate` when the server speaks
    TLS and only its certificate is at fault.
    """

    def __init__(self, message: str, *, transient: bool = False, untrusted_certificate: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.untrusted_certificate = untrusted_certificate


class UnacceptableResponseError(Exception):
    """A response that exceeds a bound; `str()` names the bound."""


TRANSPORT_FAULTS: Final = (aiohttp.ClientError, TimeoutError, OSError, UnacceptableResponseError)
"""Exceptions of a request that `failure` explains."""

_LASTING: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientConnectorDNSError,
    aiohttp.ClientConnectorSSLError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    TimeoutError,
    UnacceptableResponseError,
)
"""Faults that stay: a bad certificate or an unknown host name, and a hang, which has taken long enough."""


def failure(error: BaseException, url: str, *, trust: str = "ca_cert", proxied: bool = False) -> TransportError:
    """The failure that an exception of a request amounts to. `trust` is the setting with the trusted certificates."""
    certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
    lasting = isinstance(error, _LASTING) or _headers_too_large(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        words = _distrust(error, trust)
    elif isinstance(error, aiohttp.ConnectionTimeoutError) and proxied:
        words = "timed out connecting through the proxy; check proxy, and whether it reaches this address"
    else:
        words = _what_happened(error)
    return TransportError(f"{server_of(url)}: {words}", transient=not lasting, untrusted_certificate=certificate)


def server_of(url: str) -> str:
    """A URL's server, without credentials: `https://host:port`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def refused_by_proxy(status: int, message: str) -> str:
    return f"the proxy refuses: {status} {message}; check proxy and proxy_headers"


_EXPIRED, _NOT_YET, _OTHER_NAMES = 10, 9, frozenset({62, 64})
"""OpenSSL's codes for faults of a certificate (X509_V_ERR_...)."""


def _distrust(error: aiohttp.ClientConnectorCertificateError, trust: str) -> str:
    inner = error.certificate_error
    reason = getattr(inner, "verify_message", None) or str(inner)
    code = getattr(inner, "verify_code", None)
    if code in (_EXPIRED, _NOT_YET):
        way_out = "renew it, or check this machine's clock"
    elif code in _OTHER_NAMES:
        way_out = "use an address that the certificate is for"
    else:
        way_out = f"give the CA that signed it as {trust}"
    return f"the certificate is not trusted ({reason.rstrip('.')}); {way_out}"


def _what_happened(error: BaseException) -> str:  # noqa: C901, PLR0911, PLR0912 - a table of faults
    match error:
        case UnacceptableResponseError():
            return str(error)
        case aiohttp.ClientResponseError() if _headers_too_large(error):
            return (
                f"the response has more than {MAX_HEADERS} headers, or one larger than {in_words(MAX_HEADER)}, the "
                "most that is accepted; check the address and what stands in between"
            )
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return f"TLS handshake failed ({_reason(error)}); check that this port speaks https"
        case aiohttp.ClientConnectorDNSError():
            return "host name not found; check the address"
        case aiohttp.ClientProxyConnectionError():
            return f"cannot connect to the proxy ({_reason(error)}); check proxy"
        case aiohttp.ClientHttpProxyError():
            return refused_by_proxy(error.status, error.message)
        case aiohttp.ClientConnectorError():
            return f"cannot connect ({_reason(error)}); check the address and that the server is up"
        case aiohttp.ConnectionTimeoutError():
            return "timed out connecting; check the address and the network"
        case TimeoutError():
            return "timed out waiting for a response; check whether the server is overloaded"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | aiohttp.ClientOSError():
            return (
                "the connection closed before the response was complete; check the address and what stands in between"
            )
        case aiohttp.ClientPayloadError():
            return "the response is truncated or damaged; check what stands in between"
        case aiohttp.ClientResponseError():
            return "the response is not HTTP; check the address and its port"
        case _:
            return f"the request failed ({_reason(error)})"


def _headers_too_large(error: BaseException) -> bool:
    """Whether aiohttp has refused the headers for their size or
    number, for which it has words and no exceptions of their own.
    """
    message = error.message if isinstance(error, aiohttp.ClientResponseError) else ""
    return message.startswith(("Got more than", "Too many headers"))


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLError):
        return (inner.reason or str(inner)).replace("_", " ").lower()
    if isinstance(inner, OSError) and inner.errno is not None and inner.errno in errno.errorcode:
        # asyncio writes the address, which is said already, where the system has words.
        return os.strerror(inner.errno)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
