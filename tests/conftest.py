"""
Clusters and Pulumi projects for tests of every layer that needs one. The demo cluster is made once in a session; each
test gets a copy of it, with a process of its own, so that no test sees what another did.
"""

import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import pruner
from tests.pulumi_project import Project, pulumi_path
from tests.servers import RunningSandbox, copied, populated_folder, renewed, running_sandbox

# The same examples in every run, more of them where HYPOTHESIS_PROFILE=thorough asks for it. Hypothesis draws constants
# of all imported modules: without these imports, the examples would depend on which tests ran before.
for _module in pkgutil.walk_packages(pruner.__path__, "pruner."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
_common: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("default", max_examples=120, derandomize=True, database=None, **_common)
settings.register_profile("quick", max_examples=20, derandomize=True, database=None, **_common)
settings.register_profile("thorough", max_examples=2000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

StartSandbox = Callable[..., RunningSandbox]
Tried = Callable[[int, str], None]


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Tried:
    """Tells how many cases a test has tried, and of what: `tried(16, "writes at which the run was killed")`."""
    return lambda cases, of_what: record_property("tried", (cases, of_what))


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Has a line printed at the end, which no test judges: `measured("--help after 0.6 s")`."""
    return lambda line: record_property("measured", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the cases that single tests have tried, which no count of tests shows, the examples of the fuzz tests, and
    what was measured.
    """
    reports = terminalreporter.getreports("passed")
    properties = [each for report in reports for each in report.user_properties]
    sums = _sums((of_what, cases) for name, value in properties if name == "tried" for cases, of_what in [value])
    fuzzed = _sums((target, examples) for name, value in properties if name == "fuzzed" for examples, target in [value])
    if fuzzed:
        terminalreporter.line(f"fuzzed: {', '.join(f'{target} {count}' for target, count in sorted(fuzzed.items()))}")
    if sums:
        terminalreporter.section("tried")
    for of_what, cases in sorted(sums.items()):
        terminalreporter.line(f"{cases:>6} {of_what}")
    for name, value in properties:
        if name == "measured":
            terminalreporter.line(f"measured: {value}")


def _sums(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name, count in counts:
        sums[name] += count
    return sums


@pytest.fixture(scope="session")
def demo_folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Gives the saved demo cluster, as it was filled a few minutes ago at most."""
    return renewed(lambda: populated_folder(tmp_path_factory.mktemp("demo") / "cluster"))


@pytest.fixture
def demo_folder(demo_folders: Callable[[], Path]) -> Path:
    """The saved demo cluster. Copy it, do not start it."""
    return demo_folders()


@pytest.fixture
def sandbox(demo_folder: Path, tmp_path: Path) -> Iterator[RunningSandbox]:
    """A fresh copy of the demo cluster."""
    with running_sandbox(copied(demo_folder, tmp_path / "cluster")) as running:
        yield running


@pytest.fixture
def empty_sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    """A cluster with nothing but its own namespaces."""
    with running_sandbox(tmp_path / "empty") as running:
        yield running


@pytest.fixture
def sandbox_with(tmp_path: Path) -> Iterator[StartSandbox]:
    """Starts an empty cluster with the arguments of a command line: `sandbox_with("--registry-read-only")`."""
    with ExitStack() as running:

        def start(*arguments: str) -> RunningSandbox:
            return running.enter_context(running_sandbox(tmp_path / "cluster-with", *arguments))

        yield start


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that knows no cluster yet."""
    if pulumi_path() is None:
        if os.environ.get("CI"):
            pytest.fail("pulumi is not on PATH; run `make setup-pulumi`")
        pytest.skip("pulumi is not on PATH; run `make test`, which gets it")
    return Project.make(tmp_path / "project")
