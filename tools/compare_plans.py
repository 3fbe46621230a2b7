"""Compare the plans that two revisions of pruner make of the same clusters, each decision but for its wording.

    python -m tools.compare_plans REVISION               the code of REVISION against that of this checkout
    python -m tools.compare_plans REVISION --cases 1000  more clusters; 200 otherwise

A case is a cluster with settings, planned as it is and again with the plan of another cluster as the approved one. Both
revisions are given the same cases as JSON, each in a process of its own. A case with a setting or an object that
REVISION cannot read is left out and counted. Printed are the differences, as paths of values; the exit code is 1 where
there is one, or where nothing could be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent
SHOWN: Final = 20
"""Differences that are printed."""
_WORDING: Final = frozenset({"notes", "rules"})
"""Fields of a plan that are not decisions: what is said with it, and the settings that were given."""


class Case(msgspec.Struct):
    """Two clusters and settings. `settings` has what is not the default."""

    snapshot: msgspec.Raw
    other: msgspec.Raw
    settings: dict[str, Any]


class Answer(msgspec.Struct):
    """What one revision has decided about a case; `decisions` is None where it cannot read a part of it."""

    decisions: dict[str, Any] | None


class Comparison(msgspec.Struct, frozen=True):
    """How many plans were compared, how many of them prune
    something, how many cases were left out, and what differs.
    """

    plans: int
    pruning: int
    left_out: int
    differences: tuple[str, ...]


# --- in the process of either revision --------------------------------------------------------------------------------


def decide(cases: Path, answers: Path) -> None:
    """Answer each case with the pruner that can be imported here."""
    import pruner.settings as declared  # noqa: PLC0415 - of either revision
    from pruner.cluster.objects import Snapshot  # noqa: PLC0415

    # Up to version 0.1 the type of the settings had another name, and was a struct.
    settings_type: Any = getattr(declared, "AnalysisSettings", None) or vars(declared)["Rules"]
    decoder = msgspec.json.Decoder(Case)
    known = set(getattr(settings_type, "__dataclass_fields__", None) or settings_type.__struct_fields__)
    with answers.open("wb") as file:
        for line in cases.read_bytes().splitlines():
            case = decoder.decode(line)
            decisions = None
            if case.settings.keys() <= known:
                with contextlib.suppress(msgspec.ValidationError):
                    settings = msgspec.convert(case.settings, settings_type, strict=False)
                    snapshot, other = (msgspec.json.decode(raw, type=Snapshot) for raw in (case.snapshot, case.other))
                    decisions = _decisions(snapshot, other, settings)
            file.write(msgspec.json.encode(Answer(decisions)) + b"\n")


def _decisions(snapshot: Any, other: Any, settings: Any) -> dict[str, Any]:
    from pruner.analysis import analyse  # noqa: PLC0415
    from pruner.plan import Approval  # noqa: PLC0415

    approval = Approval.of(analyse(other, settings).plan)
    return {
        "plan": _decided(analyse(snapshot, settings)),
        "approved": _decided(analyse(snapshot, settings, approval)),
    }


def _decided(analysis: Any) -> dict[str, Any]:
    """The plan, and the decision on each revision and image, in the plan or not."""
    plan = {name: value for name, value in _plain(analysis.plan).items() if name not in _WORDING}
    revisions = {
        f"{history.stream.name}:{tag.tag}": [
            # Up to version 0.1 reasons were called decisions.
            [item.image, _plain(reason)]
            for item, reason in zip(tag.items, tag.reasons if hasattr(tag, "reasons") else tag.decisions, strict=True)
        ]
        for history in analysis.histories
        for tag in history.tags
    }
    images = {name: _plain(reason) for name, reason in analysis.images.items()}
    return {"plan": plan, "revisions": revisions, "images": images}


def _plain(value: Any) -> Any:
    """The value without what is empty, and reasons by their rules:
    a field that one revision lacks is as one that is empty.
    """
    if hasattr(value, "rule") and hasattr(value, "kept"):
        return f"{'kept' if value.kept else 'pruned'} by {value.rule}"
    if isinstance(value, msgspec.Struct):
        fields = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        return {name: part for name, part in fields.items() if part not in (None, False, 0, "", [], {})}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return msgspec.to_builtins(value)


# --- in the process that compares -------------------------------------------------------------------------------------


def generated(count: int) -> Iterator[bytes]:
    """Cases as lines of JSON, the same ones in every run."""
    import hypothesis  # noqa: PLC0415 - generating is for this process only
    from hypothesis import strategies as st  # noqa: PLC0415

    from tests.builders import clusters  # noqa: PLC0415

    kinds = (clusters.clusters(), clusters.any_settings()), (clusters.tagged_clusters(), clusters.retention_settings())
    found: list[bytes] = []

    @hypothesis.seed(15)
    @hypothesis.settings(
        max_examples=-(-count // len(kinds)),
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.data())
    def collect(data: st.DataObject) -> None:
        for cluster, settings in kinds:
            snapshot, other, given = data.draw(cluster), data.draw(cluster), data.draw(settings)
            first, second = (msgspec.Raw(msgspec.json.encode(each.snapshot)) for each in (snapshot, other))
            found.append(msgspec.json.encode(Case(first, second, _not_default(given))))

    collect()
    yield from found[:count]


def _not_default(settings: Any) -> dict[str, Any]:
    default = msgspec.to_builtins(type(settings)())
    return {name: value for name, value in msgspec.to_builtins(settings).items() if value != default[name]}


def compare(cases: list[bytes], first: Path, second: Path) -> Comparison:
    """Compare what the code in two folders decides about the cases."""
    with tempfile.TemporaryDirectory(prefix="pruner-compare-") as folder:
        asked = Path(folder, "cases.jsonl")
        asked.write_bytes(b"".join(line + b"\n" for line in cases))
        both = [_answers(asked, code, Path(folder, f"answers-{number}")) for number, code in enumerate((first, second))]
    pairs = list(zip(*both, strict=True))
    differences: list[str] = []
    compared = [(a.decisions, b.decisions) for a, b in pairs if a.decisions is not None and b.decisions is not None]
    for number, (ours, theirs) in enumerate(compared):
        differences += [f"case {number}, {each}" for each in _differences(ours, theirs)]
    pruning = sum(bool(_prunes(part)) for ours, _ in compared for part in ours.values())
    return Comparison(2 * len(compared), pruning, len(pairs) - len(compared), tuple(differences))


def _prunes(decided: Mapping[str, Any]) -> bool:
    return any(decided["plan"].get(name) for name in ("streams", "images", "blobs", "empty_streams"))


def _answers(cases: Path, code: Path, answers: Path) -> list[Answer]:
    subprocess.run(
        [sys.executable, Path(__file__).resolve(), "--decide", cases, answers],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        check=True,
    )
    return [msgspec.json.decode(line, type=Answer) for line in answers.read_bytes().splitlines()]


def _differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            yield from _differences(ours.get(name), theirs.get(name), f"{path}.{name}" if path else name)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} was {theirs!r}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("revision", help="commit, branch or tag to compare with")
    options.add_argument("--cases", type=int, default=200, help="number of clusters (200)")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pruner-revision-") as folder:
        archive = subprocess.run(
            ["git", "archive", asked.revision, "pruner"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        found = compare(list(generated(asked.cases)), ROOT, Path(folder))
    for each in found.differences[:SHOWN]:
        print(each)
    if len(found.differences) > SHOWN:
        print(f"and {len(found.differences) - SHOWN} more differences")
    print(
        f"{found.plans} plans compared, {found.pruning} of which prune something; {found.left_out} cases left out; "
        f"{len(found.differences)} differences"
    )
    return 0 if found.plans and not found.differences else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--decide"]:
        decide(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main())
