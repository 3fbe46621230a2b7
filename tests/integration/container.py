"""
The container image, built by buildah as docs/container.md describes, and its pods, run the way a kubelet runs them: as
a uid that no file names, with no capabilities, on a read-only root.

Both need mount namespaces and chroot, and no more: no container runtime, no cgroups, no network of their own. Without
root, `buildah unshare` makes the user namespace for them.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.processes import cannot, program
from tests.pulumi_project import pulumi_path
from tests.servers import ROOT

Json = dict[str, Any]

UID = 1000740000 if os.geteuid() == 0 else 54321
"""Of a range that OpenShift gives to a namespace; a user namespace has smaller ones only."""
IMAGE = "localhost/pruner"
SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"
PYTHON_BASE = "FROM scratch\nADD python.tar /\n"
PULUMI_BASE = "FROM scratch\nCOPY pulumi pulumi-language-python* pulumi-resource-pulumi-python /pulumi/bin/\n"
POD = """
root=$1 uid=$2 work=$3
shift 3
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
  unshare --root="$root" mkdir -p "$2"
  target=$root$(unshare --root="$root" readlink -f "$2")
  mount --bind "$1" "$target"
  mount -o remount,bind,ro "$target"
  shift 2
done
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for each in /tmp "$work"; do mount -t tmpfs -o mode=0777 emptydir "$root$each"; done
mount -o remount,bind,ro "$root"
cd /
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+sys_chroot \
  unshare --root="$root" --wd="$work" --setgid=0 --setuid="$uid" "$@"
"""
"""Gives the command that follows `--` the mounts of a pod; before it come pairs of a folder and where it is mounted."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a container has printed, and its exit code."""

    code: int
    output: str
    errors: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.output}\n{self.errors}"


@dataclass(frozen=True, slots=True)
class Container:
    """An image whose root file system lies in a folder. `size` is that of its files, in bytes."""

    root: Path
    config: Json
    size: int

    def run(
        self,
        *arguments: str,
        entry: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
    ) -> Run:
        """Run its entry point. `mounts` maps folders in the container to those that are mounted there."""
        variables = dict(each.split("=", 1) for each in self.config["Env"]) | dict(environment or {})
        pairs = [text for target, source in (mounts or {}).items() for text in (str(source), target)]
        command = [
            *_as_root(), "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private",
            "sh", "-euc", POD, "sh", str(self.root), str(UID), self.config["WorkingDir"], *pairs, "--",
            "/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items()),
            *(entry or self.config["Entrypoint"]), *(arguments or self.config["Cmd"]),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        return Run(done.returncode, done.stdout, done.stderr)

    def run_pod(
        self, objects: Sequence[Json], folder: Path, account: Mapping[str, str] | None = None, **env: str
    ) -> Run:
        """Run the pod of a schedule once, from its objects, which may be those that an API server holds.

        `account` has the files that a kubelet mounts for the ServiceAccount, and `env` what it sets in every pod.
        """
        by_kind = {each["kind"]: each for each in objects}
        (container,) = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        mounts = {"/etc/pruner": _files(folder / "fleet", by_kind["ConfigMap"]["data"])}
        if account:
            mounts[SECRETS] = _files(folder / "account", account)
        secret = by_kind["Secret"]
        environment = {
            **{each["name"]: each.get("value", "") for each in container["env"]},
            **{name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()},
            **secret.get("stringData", {}),
            **env,
        }
        return self.run(*container["args"], environment=environment, mounts=mounts)


def build(folder: Path) -> Container:
    """Build the image in a folder, once, whoever asks first; bases of Debian's packages take the place of those on
    registries.
    """
    buildah = program("buildah", "buildah")
    parts = os.environ.get("CONTAINER_PARTS")
    if not parts or not Path(parts).is_dir():
        cannot("there are no bases for the container image: set CONTAINER_PARTS, or have the set-up make them")
    engine = pulumi_path()
    if engine is None:
        cannot("pulumi is not on PATH")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = folder / "built.json"
        if not built.exists():
            found = _built(_Buildah(buildah, folder), Path(parts), Path(engine).resolve().parent)
            built.write_text(json.dumps(found), encoding="utf-8")
        found = json.loads(built.read_text(encoding="utf-8"))
    return Container(Path(found["root"]), found["config"], found["size"])


@dataclass(frozen=True, slots=True)
class _Buildah:
    path: str
    folder: Path

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run buildah on a storage in the folder. AssertionError with what it printed when it fails."""
        storage = [
            "--storage-driver",
            "vfs",
            "--root",
            str(self.folder / "root"),
            "--runroot",
            str(self.folder / "run"),
        ]
        command = [*_as_root(), self.path, *storage, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def bud(self, name: str, context: Path, *arguments: str, stdin: str = "") -> None:
        self("bud", "--quiet", "--isolation", "chroot", "--tag", name, *arguments, str(context), stdin=stdin)


def _built(buildah: _Buildah, parts: Path, engine: Path) -> Json:
    buildah.bud("localhost/python", parts, "--file", "-", stdin=PYTHON_BASE)
    buildah.bud("localhost/pulumi", engine, "--file", "-", stdin=PULUMI_BASE)
    arguments = {
        "PYTHON_IMAGE": "localhost/python", "PULUMI_IMAGE": "localhost/pulumi", "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
    }  # fmt: skip
    given = [text for name, value in arguments.items() for text in ("--build-arg", f"{name}={value}")]
    wheels = ["--volume", f"{parts / 'wheels'}:/wheels:ro"]
    buildah.bud(IMAGE, ROOT, "--file", str(ROOT / "Containerfile"), *given, *wheels)
    images = json.loads(buildah("inspect", "--type", "image", IMAGE))
    container = buildah("from", "--pull-never", IMAGE)
    root = buildah("mount", container)
    size = int(
        subprocess.run([*_as_root(), "du", "-sb", root], capture_output=True, check=True, text=True).stdout.split()[0]
    )
    return {"root": root, "config": images["OCIv1"]["config"], "size": size}


def _as_root() -> list[str]:
    """What begins a command that has to be root in some user namespace."""
    return [] if os.geteuid() == 0 else [shutil.which("buildah") or "buildah", "unshare"]


def _files(folder: Path, content: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
