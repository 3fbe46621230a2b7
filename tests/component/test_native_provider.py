"""The native provider as a process, spoken to as the engine does, against a sandbox."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from google.rpc import status_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from pruner import __version__
from tests.pruning import broken_images, plan, settings_for
from tests.servers import ROOT, RunningSandbox

URN = "urn:pulumi:test::images::pruner:index:PrunedImages::pruned"


class Log(engine_pb2_grpc.EngineServicer):
    """The engine's log."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Log(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        self.requests.append(request)
        return empty_pb2.Empty()


@dataclass
class Provider:
    """A running provider, and the engine that it has."""

    process: subprocess.Popen[str]
    stub: provider_pb2_grpc.ResourceProviderStub
    engine: grpc.Server
    log: Log

    def check(self, **news: Any) -> Any:
        return self.stub.Check(provider_pb2.CheckRequest(urn=URN, news=struct(news), randomSeed=b"seed"))

    def create(self, inputs: struct_pb2.Struct, timeout: float | None = None) -> Any:
        return self.stub.Create(provider_pb2.CreateRequest(urn=URN, properties=inputs), timeout=timeout)


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    found = struct_pb2.Struct()
    found.update(values)
    return found


def plain(values: struct_pb2.Struct) -> dict[str, Any]:
    found: dict[str, Any] = rpc.deserialize_properties(values)
    return found


@pytest.fixture
def provider(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Provider]:
    """Configured for the sandbox by the stack's configuration."""
    log = Log()
    engine = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    engine_pb2_grpc.add_EngineServicer_to_server(log, engine)
    address = f"127.0.0.1:{engine.add_insecure_port('127.0.0.1:0')}"
    engine.start()
    kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pruner.provider.native", "--logtostderr", address],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    # As much as the engine's own client takes, which is written in Go.
    sizes = [("grpc.max_metadata_size", 2**24), ("grpc.absolute_max_metadata_size", 2**24)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=sizes) as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        args = struct({"host": sandbox.api_url, "api_key": sandbox.tokens["admin"]})
        stub.Configure(provider_pb2.ConfigureRequest(args=args, acceptSecrets=True))
        yield Provider(process, stub, engine, log)
    process.terminate()
    # Nothing but the port stands on standard output.
    rest, _ = process.communicate(timeout=30)
    assert rest == ""
    engine.stop(None)


def failure(caught: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[str, provider_pb2.ErrorResourceInitFailed | None]:
    """The message of a failed call, and what of it the state keeps."""
    metadata = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    kept = provider_pb2.ErrorResourceInitFailed()
    return status.message, kept if status.details and status.details[0].Unpack(kept) else None


def test_it_says_its_version_and_schema(provider: Provider) -> None:
    assert provider.stub.GetPluginInfo(empty_pb2.Empty()).version == __version__
    schema = json.loads(provider.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
    assert (schema["name"], schema["version"]) == ("pruner", __version__)


def test_check_makes_a_plan_and_create_carries_it_out(provider: Provider, sandbox: RunningSandbox) -> None:
    images = set(sandbox.images())
    checked = provider.check(keepTagRevisions=3)
    inputs = plain(checked.inputs)
    assert list(checked.failures) == []
    assert (inputs["host"], "apiKey" in inputs) == (sandbox.api_url, False)
    assert set(sandbox.images()) == images
    assert {request.urn for request in provider.log.requests} == {URN}
    assert any("to delete: " in request.message for request in provider.log.requests)

    created = provider.create(checked.inputs)
    outputs = plain(created.properties)
    assert images - set(sandbox.images()) == set(inputs["plan"]["images"])
    assert {each["metadata"]["name"] for each in outputs["deletedImages"]} == set(inputs["plan"]["images"])
    assert sandbox.tokens["admin"] not in str(created)
    assert broken_images(sandbox) == []

    again = provider.check(keepTagRevisions=3)
    assert plain(again.inputs)["plan"] == {}
    diff = provider_pb2.DiffRequest(id=created.id, urn=URN, olds=created.properties, news=again.inputs)
    assert provider.stub.Diff(diff).changes == provider_pb2.DiffResponse.DIFF_NONE
    read = provider.stub.Read(provider_pb2.ReadRequest(id=created.id, urn=URN, properties=created.properties))
    assert plain(read.properties) == outputs
    provider.stub.Delete(provider_pb2.DeleteRequest(id=created.id, urn=URN, properties=created.properties))


def test_a_refresh_shows_as_drift_what_there_is_to_prune_now(provider: Provider, sandbox: RunningSandbox) -> None:
    checked = provider.check(keepTagRevisions=3)
    created = provider.create(checked.inputs)
    assert plain(created.properties)["backlog"] == {}

    def refreshed() -> tuple[dict[str, Any], bool]:
        """As the engine refreshes: the diff is of what was read, against the inputs of the last up."""
        read = provider.stub.Read(provider_pb2.ReadRequest(id=created.id, urn=URN, properties=created.properties))
        request = provider_pb2.DiffRequest(id=created.id, urn=URN, olds=read.properties, news=checked.inputs)
        assert plain(read.inputs)["plan"] == plain(read.properties)["plan"] == {}
        assert sandbox.tokens["admin"] not in str(read)
        drifted = provider.stub.Diff(request).changes == provider_pb2.DiffResponse.DIFF_SOME
        return plain(read.properties)["backlog"], drifted

    images = sandbox.images()
    assert refreshed() == ({}, False)

    sandbox.call("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api")
    found, drifted = refreshed()
    assert (sorted(found), drifted) == (["image_streams", "summary"], True)
    assert list(found["image_streams"]) == ["shop/api"]
    assert found["summary"].startswith("1 revision of 1 image stream, 1 image, ")
    assert "sha256:" not in str(found)

    # The plan of the preview that follows is of the same look at the cluster.
    sandbox.forget_requests()
    planned = plain(provider.check(keepTagRevisions=3).inputs)["plan"]
    assert (planned["summary"], sandbox.requests()) == (found["summary"], [])
    # And the one after that of a look of its own.
    provider.check(keepTagRevisions=3)
    assert sandbox.requests() != []
    again = provider_pb2.DiffRequest(id=created.id, urn=URN, olds=created.properties, news=checked.inputs)
    assert provider.stub.Diff(again).changes == provider_pb2.DiffResponse.DIFF_SOME

    # With other settings, too.
    refreshed()
    sandbox.forget_requests()
    provider.check(keepTagRevisions=2)
    assert sandbox.requests() != []

    sandbox.add_fault({"status": 401}, server="api")
    found, drifted = refreshed()
    assert found["summary"].startswith("what there is to prune is not known: ")
    assert drifted
    sandbox.clear_faults()
    assert sandbox.images() == images


def test_what_failed_is_kept_without_the_configurations_secret(provider: Provider, sandbox: RunningSandbox) -> None:
    checked = provider.check()
    sandbox.add_fault({"status": 403}, method="DELETE", path="/apis/image.openshift.io/v1/images", server="api")
    with pytest.raises(grpc.RpcError) as caught:
        provider.create(checked.inputs)
    message, kept = failure(caught)
    assert "deletions failed" in message
    assert kept is not None
    assert plain(kept.properties)["failures"]
    assert plain(kept.properties)["plan"] == {}
    assert sandbox.tokens["admin"] not in str(kept)

    sandbox.clear_faults()
    again = provider.check()
    request = provider_pb2.UpdateRequest(id=kept.id, urn=URN, olds=kept.properties, news=again.inputs)
    assert plain(provider.stub.Update(request).properties)["failures"] == []
    assert plan(settings_for(sandbox)).empty


def test_a_wrong_value_is_a_failure_of_its_property(provider: Provider) -> None:
    failures = provider.check(keepTagRevisions=-1, keepYungerThan=3).failures
    assert [each.property for each in failures if each.property] == ["keepTagRevisions"]
    assert any("did you mean 'keep_younger_than'?" in each.reason for each in failures)


def test_cancel_ends_the_run_and_the_next_one_finishes_it(provider: Provider, sandbox: RunningSandbox) -> None:
    checked = provider.check(workers=1)
    sandbox.add_fault({"delay": 0.2}, method="DELETE", path="/admin/blobs", server="registry")
    with futures.ThreadPoolExecutor(max_workers=1) as pool:
        created = pool.submit(provider.create, checked.inputs)
        while not sandbox.faults()[0]["fired"]:
            assert not created.done()
        provider.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError):
            created.result()
    assert broken_images(sandbox) == []
    assert not plan(settings_for(sandbox)).empty


def test_the_process_ends_with_its_engine_and_deletes_nothing_more(provider: Provider, sandbox: RunningSandbox) -> None:
    checked = provider.check(workers=1)
    sandbox.add_fault({"delay": 0.2}, method="DELETE", path="/admin/blobs", server="registry")
    with futures.ThreadPoolExecutor(max_workers=1) as pool:
        created = pool.submit(provider.create, checked.inputs)
        while not sandbox.faults()[0]["fired"]:
            assert not created.done()
        provider.engine.stop(None)
        with pytest.raises(grpc.RpcError):
            created.result()
    ended = os.pidfd_open(provider.process.pid)
    assert select.select([ended], [], [], 60)[0] == [ended]
    os.close(ended)
    assert broken_images(sandbox) == []
    assert not plan(settings_for(sandbox)).empty


@pytest.mark.parametrize("arguments", [[], ["--help"], ["engine"]])
def test_started_by_hand_it_says_who_starts_it(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pruner.provider.native", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pulumi-resource-pruner is started by pulumi, with the address of its engine; docs/native.md says how to "
        "install it\n"
    )
