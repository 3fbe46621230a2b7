"""Generate everything that is derived from a declaration: schemas, tables, the resource's docstring.

    python tools/generate.py            rewrite the files that hold them
    python tools/generate.py --check    exit 1 and name the files that differ

Each part stands between two marks in its file, and the rest of the file stays as it is. The schema of fleet.yaml is a
file of its own.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pruner.cli.ansible import OPTIONS  # noqa: E402
from pruner.cli.oc import FLAGS, SHORT  # noqa: E402
from pruner.cli.translation import Counterpart  # noqa: E402
from pruner.fleet import schema as fleet_schema  # noqa: E402
from pruner.settings import BY_NAME, PARAMETERS, Parameter  # noqa: E402
from pruner.settings.parameters import CONCERNS  # noqa: E402

BEGIN, END = "generated from pruner/settings/declaration.py", "end of what is generated"

ESSENTIAL = (
    "keep_younger_than",
    "keep_tag_revisions",
    "namespace",
    "protect",
    "extra_referrers",
    "prune_registry",
    "registry_url",
    "max_deletions",
    "approved_plan",
    "report",
)
"""The parameters that the README shows; docs/parameters.md has all of them."""


def schema() -> str:
    """The `config` of Pulumi.yaml."""
    lines = ["config:"]
    for parameter in PARAMETERS:
        for name in (parameter.name, *parameter.aliases):
            what = _described(parameter) if name == parameter.name else f"another name of {parameter.name}"
            lines += [f"  {name}:", f"    description: {_quoted(what)}", *_typed(parameter)]
    return "\n".join(lines) + "\n"


def _typed(parameter: Parameter) -> list[str]:
    if parameter.kind == "array":
        return ["    type: array", "    items:", "      type: string", "    default: []"]
    if parameter.kind == "object":
        return ["    type: object", "    default: {}"]
    if parameter.schema_default:
        return [f"    type: {parameter.kind}", f"    default: {parameter.schema_default}"]
    return [*([] if parameter.kind == "any" else ["    type: string"]), '    default: ""']


def _described(parameter: Parameter) -> str:
    environment = f"; environment {parameter.environment}" if parameter.environment else ""
    return f"{parameter.help} ({parameter.takes}; default {parameter.default}{environment})"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def essential() -> str:
    """The short table of the README."""
    lines = ["| parameter | default | description |", "|---|---|---|"]
    by_name = {parameter.name: parameter for parameter in PARAMETERS}
    for parameter in (by_name[name] for name in ESSENTIAL):
        default = parameter.default + (" minutes" if parameter.takes == "minutes" else "")
        lines.append(f"| `{parameter.name}` | {default} | {parameter.help} |")
    return "\n".join(lines) + "\n"


def table() -> str:
    """The table of docs/parameters.md."""
    lines = ["| parameter | aliases | value | default | environment | description |", "|---|---|---|---|---|---|"]
    for parameter in PARAMETERS:
        cells = (
            f"`{parameter.name}`" + (" (secret)" if parameter.secret else ""),
            ", ".join(f"`{alias}`" for alias in parameter.aliases),
            parameter.takes,
            parameter.default,
            f"`{parameter.environment}`" if parameter.environment else "",
            parameter.help,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def docstring() -> str:
    """The arguments in the docstring of PrunedImages."""
    entries = (f"{parameter.name}: {_described(parameter)}" for parameter in PARAMETERS)
    lines = (textwrap.fill(entry, 120, initial_indent=" " * 8, subsequent_indent=" " * 12) for entry in entries)
    return "\n".join(lines) + "\n\n"


def flags_of_oc() -> str:
    """The table of docs/from-oc.md."""
    lines = ["| flag | parameter | difference |", "|---|---|---|"]
    short = {name: letter for letter, name in SHORT.items()}
    for name, flag in FLAGS.items():
        also = f", `-{short[name]}`" if short.get(name, name) != name else ""
        lines.append(f"| `--{name}`{also} | {_counterpart(flag.counterpart)} |")
    return "\n".join(lines) + "\n"


def options_of_ansible() -> str:
    """The table of docs/from-ansible.md."""
    lines = ["| option | parameter | difference |", "|---|---|---|"]
    lines += [f"| `{name}` | {_counterpart(counterpart)} |" for name, counterpart in OPTIONS.items()]
    return "\n".join(lines) + "\n"


def _counterpart(found: Counterpart) -> str:
    """The cells for the parameter and what is different."""
    parameter = f"`{found.parameter}`" if found.parameter else "refused" if found.refused else "none"
    return f"{parameter} | {found.note}".rstrip()


def options() -> str:
    """The options of the command line, one for each parameter that is not a secret."""
    rows = []
    for concern in CONCERNS:
        for parameter in (BY_NAME[field.name] for field in dataclasses.fields(concern)):
            if not parameter.secret:
                metavar = None if parameter.choices or parameter.kind == "boolean" else parameter.metavar
                of = concern.__name__.removesuffix("Settings").lower()
                head = ", ".join(map(_literal, (parameter.name, of, metavar, parameter.choices)))
                lines = textwrap.wrap(parameter.help, 104, drop_whitespace=False)
                text = "\n           ".join(map(_literal, lines))
                rows.append(f"    Option({head},\n           {text}),\n")
    return f"OPTIONS: Final = (\n{''.join(rows)})\n"


def _literal(value: object) -> str:
    """The value as ruff writes it."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    return "None" if value is None else _quoted(str(value))


MADE = {
    "pruner/cli/parameters.py": (f"# {BEGIN}\n", f"# {END}\n", options),
    "docs/from-oc.md": ("<!-- generated from pruner/cli/oc.py -->\n", f"<!-- {END} -->\n", flags_of_oc),
    "docs/from-ansible.md": (
        "<!-- generated from pruner/cli/ansible.py -->\n",
        f"<!-- {END} -->\n",
        options_of_ansible,
    ),
    "Pulumi.yaml": (f"# {BEGIN}\n", f"# {END}\n", schema),
    "README.md": (f"<!-- {BEGIN} -->\n", f"<!-- {END} -->\n", essential),
    "docs/parameters.md": (f"<!-- {BEGIN} -->\n", f"<!-- {END} -->\n", table),
    "pruner/provider/pruned_images.py": ("    Args:\n", '    """\n', docstring),
}


def rewritten(path: Path) -> str:
    """The file's text with its part made again."""
    if path == fleet_schema.FILE:
        return fleet_schema.text()
    begin, end, make = MADE[str(path.relative_to(ROOT))]
    text = path.read_text(encoding="utf-8")
    head, mark, rest = text.partition(begin)
    if not mark:
        raise SystemExit(f"{path.name}: has no line {begin.strip()!r}")
    return head + begin + make() + end + rest.partition(end)[2]


def main() -> int:
    differing = []
    for name in (*MADE, str(fleet_schema.FILE.relative_to(ROOT))):
        path = ROOT / name
        new = rewritten(path)
        if new != path.read_text(encoding="utf-8"):
            differing.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if differing and "--check" in sys.argv:
        print(f"{', '.join(differing)}: not what the declarations say; run python tools/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
