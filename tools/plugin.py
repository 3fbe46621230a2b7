"""Makes the archive that `pulumi plugin install resource pruner VERSION --file` takes.

    python -m tools.plugin FOLDER     writes FOLDER/pulumi-resource-pruner-vVERSION-OS-ARCH.tar.gz and prints its path

The archive holds a script that starts the installed package: the plugin is as small as that on every platform, and one
`pip install` keeps the command, the dynamic provider and the plugin at one version.
"""

from __future__ import annotations

import io
import platform
import sys
import tarfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pruner import __version__  # noqa: E402

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}

SCRIPT: Final = f"""#!/bin/sh
# The native provider of pruner {__version__}: started by pulumi, runs the Python package pulumi-pruner.
# PRUNER_PYTHON names the Python that has it; without it the active virtual environment is used, then python3.
python=${{PRUNER_PYTHON:-${{VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}}}}
python=${{python:-python3}}
found=$("$python" -c 'import pruner; print(pruner.__version__)' 2>/dev/null)
if [ "$found" != "{__version__}" ]; then
  echo "pulumi-resource-pruner: $python has pulumi-pruner ${{found:-not installed}}," \\
    "and this plugin needs {__version__};" \\
    "run $python -m pip install pulumi-pruner=={__version__}, or name a Python that has it with PRUNER_PYTHON" >&2
  exit 1
fi
exec "$python" -u -m pruner.provider.native "$@"
"""


def archive(folder: Path) -> Path:
    """Write the archive into the folder; its path."""
    machine = platform.machine().lower()
    name = (
        f"pulumi-resource-pruner-v{__version__}-{platform.system().lower()}-"
        f"{_ARCHITECTURES.get(machine, machine)}.tar.gz"
    )
    folder.mkdir(parents=True, exist_ok=True)
    content = SCRIPT.encode()
    member = tarfile.TarInfo("pulumi-resource-pruner")
    member.size, member.mode = len(content), 0o755
    with tarfile.open(folder / name, "w:gz") as opened:
        opened.addfile(member, io.BytesIO(content))
    return folder / name


if __name__ == "__main__":
    print(archive(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "artefacts")))
