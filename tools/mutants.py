"""Mutation run over what decides: how many small planted defects of analysis, reasons and rules the unit tests find.

    python tools/mutants.py [FOLDER]          FOLDER keeps the virtual environment and the results; .tools/mutants
    python tools/mutants.py --only MODULE     only mutants of this module, such as analysis.blobs; more than once
    python tools/mutants.py --fast            without the properties over generated clusters: what is killed then is
                                              the least that is killed with them, in a fraction of the time
    python tools/mutants.py --sample N        only N of all, each drawn with the same chance, the same ones each time;
                                              --seed N draws others
    python tools/mutants.py --survivors       run those again that survived the last run, with the tests of now
    python tools/mutants.py --show NAME       what a mutant that survived changes

Mutants are planted by mutmut into a copy of the package; each is run against the unit tests that reach it, in a forked
process. The properties over generated clusters take most of the time, so that only mutants that survive all other tests
are run against them. Printed are killed and surviving mutants, and their names; the exit code is 1 where less than 90 %
were killed.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tools" / "mutants-requirements.txt"
WANTED = 90.0
TESTS = (
    "all_reasons",
    "api_objects",
    "blobs",
    "explain",
    "further_kinds",
    "globs",
    "history",
    "ignored_references",
    "images",
    "plan",
    "properties",
    "protection",
    "pull_specs",
    "reasons",
    "retention",
    "retention_properties",
    "retention_recipes",
    "retention_settings",
    "retirement",
    "sizes",
    "storage",
    "storage_steps",
    "tag_sources",
    "usage",
    "uses_elsewhere",
)
CONFIGURATION = f"""
[tool.mutmut]
source_paths = ["pruner"]
only_mutate = ["pruner/analysis/*", "pruner/reasons/*", "pruner/settings/retention.py"]
also_copy = ["tests", "docs", "pyproject.toml"]
pytest_add_cli_args = ["-x", "-q", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {json.dumps([f"tests/unit/test_{name}.py" for name in TESTS])}
"""
CONFTEST = """
from hypothesis import HealthCheck, settings
slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "mutants", max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=slow
)
settings.load_profile("mutants")
"""
"""Few examples, and the same ones for each mutant."""
EXAMPLES = {"PYTEST_ADDOPTS": '-m "not properties"'}
"""In the environment, since mutmut forgets all results when its configuration changes."""
KILLED = {1, 3, -24, 24, 36, 152, 255}
"""Exit codes of mutants that were found: by a failing or crashing test, or by never ending."""


SKIPPED = 34
"""mutmut's exit code of a mutant that is not to be run."""


def environment(folder: Path) -> Path:
    """A virtual environment with mutmut, which also sees the packages of the Python that runs this."""
    home = folder / "environment"
    stamp = home / "stamp"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip: list[str | Path] = [
            home / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        ours = home / "lib" / version / "site-packages" / "project.pth"
        ours.write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
        stamp.write_text(wanted, encoding="utf-8")
    return home / "bin" / "mutmut"


def copy_project(work: Path) -> None:
    """What the run needs of the project; results of an earlier run stay."""
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("pruner", "docs", "tests/builders", "tests/unit"):
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.copytree(ROOT / name, work / name, ignore=without_caches)
    if (work / "mutants").exists():
        # Of what is not Python, mutmut keeps the copy of its first run.
        only_data = shutil.ignore_patterns("__pycache__", "*.py")
        shutil.copytree(work / "pruner", work / "mutants" / "pruner", ignore=only_data, dirs_exist_ok=True)
    for name in ("__init__.py", "hostile.py"):
        shutil.copy(ROOT / "tests" / name, work / "tests")
    (work / "tests" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (work / "pyproject.toml").write_text(settings + CONFIGURATION, encoding="utf-8")


def results(work: Path) -> dict[str, int | None]:
    """The exit code of the tests by mutant; None for one that was not run."""
    found: dict[str, int | None] = {}
    for path in _results(work):
        found.update(json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"])
    return found


def forget_survivors(work: Path) -> None:
    """Have those run again that survived. What has changed in the package is run again anyway."""
    for path in _results(work):
        found = json.loads(path.read_text(encoding="utf-8"))
        codes = found["exit_code_by_key"]
        decided = KILLED | {SKIPPED}
        found["exit_code_by_key"] = {name: code if code in decided else None for name, code in codes.items()}
        path.write_text(json.dumps(found), encoding="utf-8")


def sample(names: Iterable[str], size: int, seed: int) -> set[str]:
    """So many of these names, the same ones for the same names and seed."""
    ordered = sorted(names)
    return set(random.Random(seed).sample(ordered, min(size, len(ordered))))  # noqa: S311 - nothing secret


def plus_minus(share: float, size: int) -> float:
    """How far all may be from a sample, in per cent, in 19 of 20 samples (normal approximation)."""
    return 1.96 * math.sqrt(share * (100 - share) / size)


def plant(mutmut: Path, folder: Path) -> None:
    """Plant all mutants and run none: mutmut says that no mutant has this name when all are planted."""
    with (folder / "log").open("w", encoding="utf-8") as log:
        subprocess.run(
            [mutmut, "run", "pruner.none"],
            cwd=folder / "work",
            env=os.environ | EXAMPLES,
            stdout=log,
            stderr=log,
            check=False,
        )


def skip_all_but(work: Path, chosen: set[str]) -> None:
    for path in _results(work):
        found = json.loads(path.read_text(encoding="utf-8"))
        found["exit_code_by_key"] = {name: None if name in chosen else SKIPPED for name in found["exit_code_by_key"]}
        path.write_text(json.dumps(found), encoding="utf-8")


def _results(work: Path) -> list[Path]:
    return sorted((work / "mutants" / "pruner").rglob("*.meta"))


def _survivors(found: dict[str, int | None]) -> list[str]:
    return [name for name, code in found.items() if code not in KILLED]


def _module(name: str) -> str:
    """`history` of `pruner.analysis.history.x_function__mutmut_1`,
    `wording` of `pruner.reasons.wording.x_function__mutmut_1`.
    """
    return name.split(".")[-2]


def report(found: dict[str, int | None], seconds: float) -> int:
    counts = collections.Counter(map(_module, found))
    survivors = _survivors(found)
    surviving = collections.Counter(map(_module, survivors))
    for name in survivors:
        print(f"survived  {name}{'' if found[name] == 0 else '  (no test reaches it, or it was not run)'}")
    for module, count in sorted(counts.items()):
        print(f"{module:16} {count:5} mutants, {surviving[module]:3} survived")
    killed = len(found) - len(survivors)
    share = 100 * killed / len(found) if found else 0.0
    print(f"{killed} of {len(found)} mutants killed: {share:.1f} % in {seconds / 60:.1f} minutes")
    return 0 if share >= WANTED else 1


def run(mutmut: Path, folder: Path, seconds: float, *, fast: bool) -> None:
    """Run the mutants without a result, for so many seconds at most."""
    with (folder / "log").open("w", encoding="utf-8") as log:
        try:
            ran = subprocess.run(
                [mutmut, "run"],
                cwd=folder / "work",
                env=os.environ | (EXAMPLES if fast else {}),
                stdout=log,
                stderr=log,
                timeout=max(seconds, 0),
                check=False,
            )
        except subprocess.TimeoutExpired:
            print("not all mutants were run in the time of --minutes")
        else:
            if ran.returncode:
                print(f"mutmut ended with {ran.returncode}; its output is in {folder / 'log'}")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", nargs="?", type=Path, default=ROOT / ".tools" / "mutants")
    options.add_argument("--minutes", type=float, default=30, help="of running mutants, at most (30)")
    options.add_argument("--show", metavar="NAME", help="show what this mutant changes")
    options.add_argument(
        "--only", metavar="MODULE", action="append", default=[], help="run only mutants of this module"
    )
    options.add_argument("--fast", action="store_true", help="without the properties over generated clusters")
    options.add_argument("--sample", metavar="N", type=int, help="run only so many, drawn from all")
    options.add_argument(
        "--seed", metavar="N", type=int, default=0, help="draw another sample than with 0, the default"
    )
    options.add_argument("--survivors", action="store_true", help="run only those again that survived the last run")
    asked = options.parse_args()
    folder: Path = asked.folder.resolve()
    work = folder / "work"
    mutmut = environment(folder)
    if asked.show:
        return subprocess.run([mutmut, "show", asked.show], cwd=work, check=False).returncode
    if asked.survivors:
        forget_survivors(work)
    else:
        shutil.rmtree(work, ignore_errors=True)
    (work / "tests").mkdir(parents=True, exist_ok=True)
    copy_project(work)
    began = time.monotonic()
    of_modules = tuple(f"pruner.{each}." for each in asked.only) or ("",)
    if (asked.only or asked.sample) and not asked.survivors:
        plant(mutmut, folder)
        names = {name for name in results(work) if name.startswith(of_modules)}
        skip_all_but(work, sample(names, asked.sample, asked.seed) if asked.sample else names)
    until = began + asked.minutes * 60
    run(mutmut, folder, until - time.monotonic(), fast=True)
    if not asked.fast:
        forget_survivors(work)
        run(mutmut, folder, until - time.monotonic(), fast=False)
    planted = {name: code for name, code in results(work).items() if name.startswith(of_modules)}
    found = {name: code for name, code in planted.items() if code != SKIPPED}
    exit_code = report(found, time.monotonic() - began)
    if len(found) < len(planted):
        survived = 100 * len(_survivors(found)) / len(found)
        print(f"of {len(planted)} mutants: {100 - survived:.1f} % ± {plus_minus(survived, len(found)):.1f}")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
