"""
The command line of the sandbox: `python -m sandbox`. It prints one line of JSON when it is ready, then serves until it
is told to stop.
"""

import asyncio
import signal
from pathlib import Path

import click
import msgspec

from sandbox.identity import BUILT_IN, User, Users, read_users
from sandbox.kinds import Resource, parse_resource
from sandbox.registry import RegistryOptions
from sandbox.server import LOOPBACK, OBJECTS_FILE, Options, Sandbox, Tls, stop_on, stop_with_parent

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)


class _ResourceType(click.ParamType[Resource]):
    name = "resource"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Resource:
        try:
            return parse_resource(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _loopback(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value != LOOPBACK:
        raise click.BadParameter(f"the sandbox has no locks worth the name and listens on {LOOPBACK} only")
    return value


@click.command(context_settings={"show_default": True})
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=Path(".demo/sandbox"), help="Folder.")
@click.option("--address", default=LOOPBACK, callback=_loopback, help="Only loopback is allowed.")
@click.option("--port", type=_PORT, default=0, help="Port of the API; 0 is any.")
@click.option("--registry-port", type=_PORT, default=0, help="Port of the registry; 0 is any.")
@click.option("--registry-host", default="", help="Name of the registry in image references; its address if empty.")
@click.option(
    "--populate",
    type=click.Choice(["demo", "pipelines", "none"]),
    default="none",
    help="Fill a folder that is new; pipelines: demo and more.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Also write the line to this file when ready.")
@click.option("--users", "users_file", type=_FILE, help="YAML or JSON file of further users.")
@click.option("--tls-cert", type=_FILE, help="Serve with TLS: certificate, PEM.")
@click.option("--tls-key", type=_FILE, help="Serve with TLS: key, PEM.")
@click.option("--tls-ca", type=_FILE, help="Authority for the kubeconfig; without it, it says not to check.")
@click.option("--registry-without-tls", is_flag=True, help="The registry speaks plain HTTP, whatever the API does.")
@click.option("--without-group", "without_groups", multiple=True, metavar="GROUP", help="Leave out an API group.")
@click.option(
    "--resource", "resources", multiple=True, type=_ResourceType(), metavar="GROUP/VERSION/PLURAL/KIND",
    help="Serve a further resource; with ! before it, a cluster-scoped one.",
)  # fmt: skip
@click.option(
    "--registry-replicas", type=click.IntRange(1, 5), default=1, help="Replicas of the registry, each with a cache."
)
@click.option("--registry-read-only", is_flag=True, help="The registry refuses writes with 405.")
@click.option("--registry-without-admin", is_flag=True, help="The registry has no /admin/blobs.")
@click.option("--trust-front-proxy", is_flag=True, help="Take the user from X-Remote-User: behind a kube-apiserver.")
@click.option("--with-parent", is_flag=True, help="End when standard input ends.")
def main(
    *,
    data: Path,
    address: str,  # noqa: ARG001 - checked by its callback, and there is no other
    port: int,
    registry_port: int,
    registry_host: str,
    populate: str,
    ready_file: Path | None,
    users_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    registry_without_tls: bool,
    registry_replicas: int,
    without_groups: tuple[str, ...],
    resources: tuple[Resource, ...],
    registry_read_only: bool,
    registry_without_admin: bool,
    trust_front_proxy: bool,
    with_parent: bool,
) -> None:
    """A small OpenShift on loopback: API and image registry, with made-up contents."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    options = Options(
        folder=data,
        port=port,
        registry_port=registry_port,
        registry_host=registry_host,
        tls=Tls(tls_cert, tls_key, tls_ca) if tls_cert and tls_key else None,
        registry_tls=not registry_without_tls,
        registry_replicas=registry_replicas,
        without_groups=without_groups,
        resources=resources,
        users=Users([*BUILT_IN, *_further_users(users_file)], trust_front_proxy=trust_front_proxy),
        registry=RegistryOptions(registry_read_only, registry_without_admin),
    )
    asyncio.run(_serve(options, populate=populate, ready_file=ready_file, with_parent=with_parent))


def _further_users(path: Path | None) -> list[User]:
    try:
        return read_users(path) if path else []
    except (msgspec.ValidationError, KeyError) as error:
        raise click.UsageError(f"{path}: {error}") from error


async def _serve(options: Options, *, populate: str, ready_file: Path | None, with_parent: bool) -> None:
    try:
        sandbox = Sandbox(options)
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error}") from error
    stop_on((signal.SIGTERM, signal.SIGINT), sandbox.stopping)
    if with_parent:
        stop_with_parent(sandbox.stopping)
    new = not (options.folder / OBJECTS_FILE).exists()
    try:
        await sandbox.start()
    except msgspec.DecodeError as error:
        raise click.ClickException(f"cannot read {sandbox.objects_file}: {error}") from error
    state = sandbox.state()
    if populate != "none" and new:
        from sandbox.population import populate_demo  # noqa: PLC0415 - takes time that a saved sandbox has no use for

        await populate_demo(state["api"], state["registry"], state["tokens"]["admin"])
        if populate == "pipelines":
            from sandbox.pipelines import populate_pipelines  # noqa: PLC0415 - as above

            await populate_pipelines(state["api"], state["registry"], state["tokens"]["admin"])
        sandbox.journal.clear()
        sandbox.save()
    line = msgspec.json.encode(state).decode()
    if ready_file:
        draft = ready_file.with_suffix(".draft")
        draft.write_text(line + "\n", encoding="utf-8")
        draft.replace(ready_file)
    click.echo(line)
    await sandbox.stopping.wait()
    await sandbox.close()


if __name__ == "__main__":
    main()
