"""The package's metadata agrees with the pinned set that the tests run with."""

from __future__ import annotations

import tomllib
from typing import Any

import yaml
from packaging.requirements import Requirement

from pruner import __version__
from tests.servers import ROOT


def metadata() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def pinned(*files: str) -> dict[str, str]:
    """Versions by name; each line has a reason behind it."""
    versions = {}
    for file in files:
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith(("#", "-r ")):
                requirement, _, reason = line.partition("#")
                assert reason.strip(), f"{file}: {line}: has no reason"
                name, _, version = requirement.strip().partition("==")
                versions[name] = version
    return versions


def ranges() -> dict[str, Requirement]:
    project = metadata()
    extras = [each for group in project["optional-dependencies"].values() for each in group]
    return {each.name: each for each in map(Requirement, [*project["dependencies"], *extras])}


def test_the_package_requires_what_is_pinned_and_nothing_else() -> None:
    assert ranges().keys() == pinned("requirements.txt", "policies/requirements.txt").keys()


def test_every_pinned_version_is_within_the_package_s_range() -> None:
    versions = pinned("requirements.txt", "policies/requirements.txt")
    outside = {name: versions[name] for name, each in ranges().items() if versions[name] not in each.specifier}
    assert outside == {}


def test_every_range_has_an_upper_bound() -> None:
    assert [name for name, each in ranges().items() if "<" not in str(each.specifier)] == []


def test_the_policy_pack_has_the_package_s_version() -> None:
    pack = yaml.safe_load((ROOT / "policies" / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
    assert pack["version"] == __version__


def test_the_changelog_begins_with_the_package_s_version() -> None:
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line.startswith("## ")
    ]
    assert __version__ in headings[0]
