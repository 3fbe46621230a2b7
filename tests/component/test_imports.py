"""Which modules each entry point imports: what somebody waits for before anything happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pruner.cli.entry import VERBS
from pruner.plan import encode
from tests.builders.objects import A, analysed, image
from tests.servers import ROOT

HELP = """
from pruner.cli import main
try: main([*sys.argv[1:], "--help"], "pruner")
except SystemExit as ended: assert ended.code == 0
"""


def imported(program: str, *arguments: str) -> set[str]:
    """The modules that a program has imported when it ends, without those of every interpreter here."""
    code = (
        f"import json, sys; before = set(sys.modules)\n{program}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, timeout=120, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def packages(modules: set[str]) -> set[str]:
    """The packages that these modules belong to, without those of the standard library."""
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names


@pytest.mark.parametrize(
    "verb", [[], *([name] for name in VERBS), ["fleet", "preview"], ["fleet", "up"], ["retention", "try"]]
)
def test_help_imports_click_and_the_declarations_of_options(verb: list[str]) -> None:
    modules = imported(HELP, *verb)
    assert packages(modules) == {"click", "pruner"}
    own = {module for module in modules if module.startswith("pruner.")}
    assert own <= {
        "pruner.cli",
        "pruner.cli.entry",
        "pruner.cli.options",
        "pruner.cli.output",
        "pruner.cli.parameters",
        "pruner.defects",
        "pruner.errors",
        "pruner.printable",
        *(VERBS[name][0].partition(":")[0] for name in verb[:1]),
    }
    # Each of these takes longer to import than everything that help needs of pruner.
    assert not modules & {"asyncio", "dataclasses", "json", "pathlib", "subprocess", "traceback"}


KUBERNETES = {"kubernetes", "oauthlib", "requests", "requests_oauthlib", "pydantic", "websocket", "urllib3"}
"""What the package `kubernetes` brings with it, which takes longer to import than a small cluster to read."""


def test_the_program_imports_pulumi_and_the_declarations_of_parameters() -> None:
    modules = imported("import pulumi, pulumi.dynamic; before = set(sys.modules); from pruner import PrunedImages")
    assert packages(modules) == {"msgspec", "pruner"}
    rooms = {module.split(".")[1] for module in modules if module.startswith("pruner.")}
    assert rooms == {"documents", "errors", "printable", "provider", "settings", "suggestions"}
    assert "pruner.provider.lifecycle" not in modules


def test_the_provider_imports_what_plans_and_runs_need_and_no_kubernetes_client() -> None:
    modules = imported("import pruner.provider.lifecycle")
    assert {"aiohttp", "pruner.apply.executor", "pruner.planning"} <= modules
    assert not modules & {*KUBERNETES, "jinja2", "jsonschema", "rich.console", "pruner.schedule", "pruner.fleet"}


def test_the_policy_pack_imports_neither_client_nor_run() -> None:
    modules = imported("import policies.pack")
    assert {"pulumi_policy", "pruner.report.model", "pruner.provider.store"} <= modules
    assert not modules & {*KUBERNETES, "aiohttp", "jinja2", "pruner.apply.executor", "pruner.planning"}


@pytest.mark.parametrize("verb", ["plan", "explain", "doctor"])
def test_verbs_that_read_a_cluster_import_no_kubernetes_client(verb: str) -> None:
    program = "try: main(sys.argv[1:], 'pruner')\nexcept SystemExit as ended: assert ended.code == 1, ended.code"
    asked = ["shop/web:latest"] if verb == "explain" else []
    modules = imported(f"from pruner.cli import main\n{program}", verb, *asked, "--host", "http://127.0.0.1:9")
    assert "aiohttp" in modules
    assert not modules & {*KUBERNETES, "pulumi", "jinja2"}


def test_a_report_of_a_file_imports_no_client_and_no_engine(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(b"".join(encode(analysed(image(A)).plan)))
    program = "try: main(sys.argv[1:], 'pruner')\nexcept SystemExit as ended: assert ended.code == 0, ended.code"
    modules = imported(
        f"from pruner.cli import main\n{program}", "report", str(path), "--output", str(tmp_path / "text")
    )
    assert "pruner.report.model" in modules
    assert not modules & {*KUBERNETES, "aiohttp", "pulumi", "jinja2", "pruner.apply.executor"}
