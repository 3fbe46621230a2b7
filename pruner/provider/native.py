"""`pulumi-resource-pruner`: the provider as a plugin of Pulumi's engine, for programs in every language.

The lifecycle is that of PrunedImagesProvider, which the dynamic provider serves as well. Here are only the calls of the
engine, the names of properties, and the configuration: what the stack's configuration says is used where the program
says nothing, and what of it is not secret is copied into the inputs, where policies see it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from concurrent import futures
from contextvars import ContextVar
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from pruner import __version__
from pruner.provider import engine
from pruner.provider.naming import camel, to_parameters, to_properties
from pruner.provider.provider import PrunedImagesProvider
from pruner.provider.schema import schema_text
from pruner.settings import ALIASES, BY_NAME, is_secret, settled_by

_MESSAGE: Final = 400 * 1024 * 1024
"""Bytes of the largest message, as the engine has it."""
_GRACE: Final = 5
"""Seconds that calls under way get to end when the process is asked to."""
_ENGINES_OWN: Final = frozenset({"version", "pluginDownloadURL", "__internal"})
"""Keys of the configuration that the engine adds."""


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """The calls of the engine. Calls that are absent here are unimplemented, which the engine takes for an answer."""

    def __init__(self) -> None:
        self._provider = PrunedImagesProvider()
        self._configured: dict[str, Any] = {}
        self._concealed: frozenset[str] = frozenset()
        """Parameters whose value the configuration gives as a secret: they reach the inputs of no resource."""

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return plugin_pb2.PluginInfo(version=__version__)

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return provider_pb2.GetSchemaResponse(schema=schema_text())

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        # Another cluster or user is a matter of the resource, whose diff sees what is copied into its inputs.
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        given = to_parameters(rpc.deserialize_properties(request.args, True))
        for name, value in given.items():
            parameter, plain = ALIASES.get(name, name), rpc.unwrap_rpc_secret(value)
            default = BY_NAME[parameter].schema_default if parameter in BY_NAME else None
            if name in _ENGINES_OWN or plain in (None, "", default):
                continue
            self._configured[name] = plain
            if rpc.is_rpc_secret(value) or is_secret(parameter, plain):
                self._concealed |= {name}
        return provider_pb2.ConfigureResponse()

    def Check(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        result = self._provider.check({}, self._merged(rpc.deserialize_properties(request.news, True)))
        failures = [
            provider_pb2.CheckFailure(property=camel(each.property), reason=each.reason) for each in result.failures
        ]
        return provider_pb2.CheckResponse(inputs=encoded(result.inputs), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        olds = to_parameters(rpc.deserialize_properties(request.olds, True))
        news = to_parameters(rpc.deserialize_properties(request.news, True))
        changes = self._provider.diff(request.id, olds, news).changes
        kind = provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=kind)

    def Create(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        result = self._provider.create(self._merged(rpc.deserialize_properties(request.properties)))
        return provider_pb2.CreateResponse(id=result.id, properties=encoded(result.outs or {}))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        olds = to_parameters(rpc.deserialize_properties(request.olds))
        result = self._provider.update(request.id, olds, self._merged(rpc.deserialize_properties(request.news)))
        return provider_pb2.UpdateResponse(properties=encoded(result.outs or {}))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        properties = rpc.deserialize_properties(request.properties)
        result = self._provider.read(request.id, self._merged(properties) if properties else {})
        return provider_pb2.ReadResponse(
            id=result.id or request.id, properties=encoded(result.outs or {}), inputs=encoded(result.inputs or {})
        )

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._provider.delete(request.id, {})
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        engine.cancelled.set()
        return empty_pb2.Empty()

    def _merged(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """What the program gives, and the configuration's values of
        the other parameters, whose secrets `encoded` leaves out again.
        """
        given = to_parameters(properties)
        named = {name for name, value in given.items() if value is not None}
        settled = {ALIASES.get(name, name) for name in named} | settled_by(named)
        more = {name: value for name, value in self._configured.items() if ALIASES.get(name, name) not in settled}
        _left_out.set(self._concealed & more.keys())
        return {**given, **more}


_left_out: Final[ContextVar[frozenset[str]]] = ContextVar("_left_out", default=frozenset())
"""Secrets of the configuration that the call being served works with. They would stand in the state in plain text."""


def encoded(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """Inputs and outputs as the engine takes them."""
    left_out = _left_out.get()
    shown = to_properties({name: value for name, value in values.items() if name not in left_out})
    found: struct_pb2.Struct = asyncio.run(rpc.serialize_properties(shown, {}))
    return found


def main() -> None:
    """Serve the engine whose address is the last argument; prints the port to standard output."""
    address = engine.address_in(sys.argv)
    if address is None:
        sys.exit(
            "pulumi-resource-pruner is started by pulumi, with the address of its engine; docs/native.md says how to "
            "install it"
        )
    # The engine says by Cancel that it was interrupted; the terminal tells this process as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    engine.serve_natively(address, encoded)
    size = [("grpc.max_receive_message_length", _MESSAGE), ("grpc.max_send_message_length", _MESSAGE)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=size)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    os.write(sys.stdout.fileno(), f"{port}\n".encode())
    # Nothing else may stand there.
    sys.stdout = sys.stderr

    def stop(*_: Any) -> None:
        engine.cancelled.set()
        server.stop(_GRACE)

    signal.signal(signal.SIGTERM, stop)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
