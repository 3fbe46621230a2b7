"""Speaking to Pulumi's engine from the provider: progress on the status line, warnings as Diagnostics, clean failures.

The SDK hands a dynamic provider none of these. The engine's address is the provider process's last argument; the call
that is being served, with the resource's URN in its request and with its gRPC context, is found on the stack. Outside
of an engine, as in tests of the provider, nothing is said and failures are raised as they are.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import grpc
from google.rpc import status_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2

from pruner.errors import PrunerError
from pruner.printable import LONGEST_LINE, prefixed, printable
from pruner.provider.lifetime import end_with_engine

_BETWEEN: Final = 0.2
"""Seconds between two lines of progress; the status line is read by people."""


class EngineLog:
    """The engine's log, for messages about the resource whose call is being served."""

    def __init__(self) -> None:
        call = _serving()
        self._urn = call.request.urn if call is not None else ""
        address = _address()
        if address is not None:
            end_with_engine(address, cancelled)
        self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address)) if address else None
        self._last = 0.0

    def progress(self, message: str) -> None:
        """Show on the status line, where the next one replaces it."""
        now = time.monotonic()
        if now - self._last >= _BETWEEN:
            self._last = now
            self._say(engine_pb2.INFO, message, ephemeral=True)

    def warn(self, message: str) -> None:
        self._say(engine_pb2.WARNING, message)

    def info(self, message: str, lines: Iterable[str] = (), prefix: str = "- ") -> None:
        """Show under Diagnostics. The lines after the first begin with the prefix."""
        self._say(engine_pb2.INFO, message, prefixed(lines, prefix))

    def _say(self, severity: Any, message: str, more: str = "", *, ephemeral: bool = False) -> None:
        """Say it, made printable: the engine prints what it is told as it is."""
        if self._stub is None:
            return
        message = printable(message, LONGEST_LINE, again=True) + (f"\n{more}" if more else "")
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=self._urn, ephemeral=ephemeral)
        try:
            self._stub.Log(request, timeout=5)
        except (grpc.RpcError, ValueError):
            # An engine that takes no more messages, or has closed the channel (ValueError), is on its way out; a run
            # must not fail by its commentary.
            self._stub = None


_native: Final[list[tuple[str, Callable[[Mapping[str, Any]], Any]]]] = []
"""The engine's address, and how outputs are encoded for it, in the process of the native provider."""


def serve_natively(address: str, encode: Callable[[Mapping[str, Any]], Any]) -> None:
    """Tell this module that it runs in the native provider, whose engine has this address."""
    _native.append((address, encode))
    end_with_engine(address, cancelled)


def _address() -> str | None:
    """The engine's address; None outside of an engine, as in tests of the provider."""
    if _native:
        return _native[0][0]
    return address_in(sys.argv) if _is_provider_process() else None


def address_in(arguments: Sequence[str]) -> str | None:
    """The engine's address among the arguments of a provider's
    process, where it is the last one, after flags for logs.
    """
    last = arguments[-1] if len(arguments) > 1 else ""
    host, _, port = last.rpartition(":")
    return last if host and port.isdecimal() else None


def _encoded(outputs: Mapping[str, Any]) -> Any:
    return _native[0][1](outputs) if _native else asyncio.run(rpc.serialize_properties(dict(outputs), {}))


def _is_provider_process() -> bool:
    main = sys.modules.get("__main__")
    return getattr(main, "DynamicResourceProviderServicer", None) is not None


class FailedCallError(Exception):
    """What a failed call raises outside of an engine."""

    def __init__(self, message: str, resource_id: str | None, outputs: Mapping[str, Any] | None) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.outputs = outputs


def fail(error: PrunerError, *, resource_id: str | None = None, outputs: Mapping[str, Any] | None = None) -> NoReturn:
    """End the call that is being served with this error's message, which is printable, and no traceback.

    With an id and outputs the resource is kept in the state as one whose last step failed: the next up resumes it.
    """
    call, message = _serving(), str(error)
    if call is None:
        raise FailedCallError(message, resource_id, outputs)
    # What is raised on purpose is said once, by the engine.
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    if resource_id is not None:
        properties = _encoded(outputs or {})
        failed = provider_pb2.ErrorResourceInitFailed(id=resource_id, properties=properties, reasons=[message])
        status.details.add().Pack(failed)
    call.context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    call.context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort does not return")


def urn() -> str:
    """Of the resource whose call is being served, empty outside of an engine."""
    call = _serving()
    return str(call.request.urn) if call is not None else ""


def seed() -> bytes:
    """The random seed of the check that is being served, empty outside of one.

    The engine draws a new one for each resource and deployment, and keeps it in the file of `preview --save-plan`: a
    check of `up --plan` has the seed of that preview.
    """
    call = _serving()
    return bytes(getattr(call.request, "randomSeed", b"")) if call is not None else b""


cancelled = threading.Event()
"""Set when the engine asks the provider to stop."""


def _cancel(self: Any, request: Any, context: Any) -> Any:  # noqa: ARG001 - the servicer's signature
    """Serves the engine's Cancel in the SDK's place, whose own does nothing."""
    from google.protobuf import empty_pb2  # noqa: PLC0415 - runs as a method of another module

    sys.modules["pruner.provider.engine"].cancelled.set()
    return empty_pb2.Empty()


def wish_to_stop() -> Callable[[], bool]:
    """Whether the run is to come to an end: Ctrl-C, or the end of the call that is being served.

    The engine tells of Ctrl-C by Cancel, which the SDK's servicer leaves unanswered, and waits for the calls under way.
    The servicer was registered before this module was loaded, so not the method is replaced but what it does.
    """
    main = sys.modules.get("__main__")
    servicer = getattr(main, "DynamicResourceProviderServicer", None)
    if servicer is not None:
        servicer.Cancel.__code__ = _cancel.__code__
    call, thread = _serving(), threading.main_thread()
    return lambda: cancelled.is_set() or not thread.is_alive() or (call is not None and not call.context.is_active())


class _Call(NamedTuple):
    request: Any
    context: Any


_CALLS: Final = frozenset({"Check", "Create", "Delete", "Diff", "Read", "Update"})
"""Methods of the SDK's servicer from which the provider is called."""


def _serving() -> _Call | None:
    """The call that is being served; None outside of one."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name in _CALLS and "context" in frame.f_locals:
            return _Call(frame.f_locals["request"], frame.f_locals["context"])
        frame = frame.f_back
    return None
