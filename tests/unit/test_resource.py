"""The resource's parts that need no engine: what a preview
shows of a plan, where plans are kept, and whose turn it is.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruner.analysis import Analysis
from pruner.apply import Result
from pruner.apply.result import Failure
from pruner.cluster.objects import Registry
from pruner.errors import PrunerError, UnsafePlanError
from pruner.provider.lifecycle import WHOLE, _outputs
from pruner.provider.process_lock import process_lock
from pruner.provider.rendering import LISTED, rendered
from pruner.provider.store import KeptPlans
from pruner.report.jsonl import decode_report, encode_report
from tests.builders.objects import L1, L2, L3, A, B, C, analysed, image, image_stream, index

WAIT = 10
"""Seconds after which a thread that does not come is a failure."""


def made(*, deletes_blobs: bool = True) -> Analysis:
    """A goes with its index B, and shares a layer with C, which stays."""
    return analysed(
        image(A, layers=[L1, L2], repository="shop/web"),
        index(B, [A]),
        image(C, layers=[L2, L3], repository="shop/web"),
        image_stream("shop/web", latest=[C, B]),
        revisions=1,
        registry=Registry("https://registry.example.com", deletes_blobs=deletes_blobs, found="setting"),
        blob_sizes={L1: 1000, A: 500},
    )


# --- what a preview shows ---------------------------------------------------------------------------------------------


def test_an_image_is_shown_with_where_it_came_from_and_what_it_shares() -> None:
    shown = rendered(made().plan)["images"][A]
    assert "from shop/web, 2 blobs, 1.5 kB, shares 1 blob that is kept: " in shown


def test_a_manifest_list_is_shown_as_one() -> None:
    assert "a list of 1 manifest, 1 blob, " in rendered(made().plan)["images"][B]


def test_nothing_is_called_shared_where_the_registry_deletes_no_blobs() -> None:
    assert "shares" not in str(rendered(made(deletes_blobs=False).plan))


# --- what is given back -----------------------------------------------------------------------------------------------


def test_results_are_whole_objects_up_to_a_number_and_names_beyond_it() -> None:
    streams = [{"metadata": {"name": f"s{number}", "namespace": "shop"}, "spec": {}} for number in range(WHOLE)]
    images = [{"metadata": {"name": f"sha256:{number}"}} for number in range(WHOLE + 1)]
    outputs = _outputs(Result(deleted_images=images, updated_image_streams=streams))
    assert outputs["updated_image_streams"] == streams
    assert outputs["deleted_images"] == [image["metadata"]["name"] for image in images]
    assert outputs["summary"]["images"] == WHOLE + 1


def test_very_many_failures_are_counted_where_they_are_not_listed() -> None:
    failures = [Failure(f"image {number}", "it is on fire") for number in range(LISTED + 5)]
    outputs = _outputs(Result(failures=failures))
    assert len(outputs["failures"]) == LISTED + 1
    assert outputs["failures"][-1] == {"what": "5 more", "why": "the report has them all"}


# --- where plans are kept ---------------------------------------------------------------------------------------------


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptPlans:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return KeptPlans.of_user()


def test_a_plan_that_two_resources_have_made_is_kept_until_both_have_carried_it_out(plans: KeptPlans) -> None:
    analysis = made()
    fingerprint = analysis.plan.fingerprint
    plans.keep(analysis)
    plans.keep(analysis)
    plans.forget(fingerprint)
    assert plans.plan(fingerprint) == analysis.plan
    plans.forget(fingerprint)
    assert list(plans.folder.iterdir()) == []
    with pytest.raises(UnsafePlanError, match="cannot be read"):
        plans.plan(fingerprint)


def test_policies_read_what_was_kept_with_what_stays(plans: KeptPlans) -> None:
    analysis = made()
    plans.keep(analysis)
    assert plans.report(analysis.plan.fingerprint) == decode_report(encode_report(analysis), "report")


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        PrunerError, match=r"cache/pruner/plans: cannot be made: Not a directory; let XDG_CACHE_HOME name a folder"
    ):
        KeptPlans.of_user().keep(made())


def test_a_relative_cache_is_ignored_since_policies_run_in_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert KeptPlans.of_user().folder == Path("/home/somebody/.cache/pruner/plans")


def test_kept_plans_are_for_their_owner_only_whatever_the_umask(plans: KeptPlans) -> None:
    before = os.umask(0)
    try:
        path = plans.keep(made())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(plans.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(plans.folder.parent.stat().st_mode) == 0o700


def _opened(folder: Path) -> None:
    folder.chmod(0o770)


def _linked(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("change", "message"),
    [(_opened, r"is open to other users \(mode 0770\); run chmod 0700"), (_linked, "is not a folder but a link")],
)
def test_a_folder_that_others_can_change_is_refused_by_whoever_writes_and_reads(
    plans: KeptPlans, change: Callable[[Path], None], message: str
) -> None:
    analysis = made()
    plans.keep(analysis)
    change(plans.folder)
    with pytest.raises(PrunerError, match=message):
        plans.keep(analysis)
    for read in (plans.plan, plans.report):
        with pytest.raises(UnsafePlanError, match=message):
            read(analysis.plan.fingerprint)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_a_folder_of_another_user_is_refused(plans: KeptPlans) -> None:
    plans.folder.mkdir(mode=0o700, parents=True)
    os.chown(plans.folder, 65534, -1)
    with pytest.raises(PrunerError, match="belongs to user 65534, who could change the plan"):
        plans.keep(made())


def _writable(path: Path) -> None:
    path.chmod(0o620)


def _link_to_a_copy(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _without_seal(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_writable, "has mode 0620, so others could have changed it"),
        (_link_to_a_copy, "cannot be read .*Too many levels of symbolic links"),
        (_a_pipe, "is not a regular file"),
        (_a_folder, "cannot be read .*Is a directory"),
        (_without_seal, "is truncated, or was changed"),
    ],
)
def test_a_kept_plan_that_others_could_have_changed_is_refused(
    plans: KeptPlans, change: Callable[[Path], None], message: str
) -> None:
    analysis = made()
    change(plans.keep(analysis))
    for read in (plans.plan, plans.report):
        with pytest.raises(UnsafePlanError, match=message):
            read(analysis.plan.fingerprint)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_byte_that_policies_and_up_look_at_is_bound(plans: KeptPlans, data: st.DataObject) -> None:
    """Also what the fingerprint does not cover: sizes, ages, and what keeps the rest."""
    analysis = made()
    path = plans.keep(analysis)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = (content[position] + data.draw(st.integers(1, 255))) % 256
    path.write_bytes(content)
    for read in (plans.plan, plans.report):
        with pytest.raises(UnsafePlanError):
            read(analysis.plan.fingerprint)


def test_what_a_killed_run_has_left_is_removed_and_what_is_being_written_is_not(plans: KeptPlans) -> None:
    plans.keep(made())
    files = {
        name: plans.folder / name for name in (".pruner-1.part", ".pruner-2.part", f"sha256-{'0' * 64}.jsonl", "mine")
    }
    for path in files.values():
        path.touch()
    week_ago = time.time() - 8 * 24 * 3600
    for name in (".pruner-1.part", f"sha256-{'0' * 64}.jsonl", "mine"):
        os.utime(files[name], (week_ago, week_ago))
    plans.keep(made())
    left = {path.name for path in plans.folder.iterdir()}
    assert left == {".pruner-2.part", "mine", plans.path(made().plan.fingerprint).name}


@pytest.mark.parametrize("fingerprint", ["", "sha256:../../etc/passwd", "sha256:" + "G" * 64, "md5:" + "0" * 64])
def test_what_is_not_a_fingerprint_names_no_file(plans: KeptPlans, fingerprint: str) -> None:
    with pytest.raises(UnsafePlanError, match="is not the fingerprint of a plan"):
        plans.plan(fingerprint)


# --- whose turn it is -------------------------------------------------------------------------------------------------


def test_a_second_run_against_a_cluster_waits_for_the_first_and_says_so() -> None:
    said = threading.Event()
    done: list[str] = []

    def second() -> None:
        with process_lock("one", progress=lambda _: said.set(), wish_to_stop=lambda: False):
            done.append("second")

    waiting = threading.Thread(target=second)
    with process_lock("one", progress=lambda _: None, wish_to_stop=lambda: False):
        waiting.start()
        assert said.wait(WAIT)
        done.append("first")
    waiting.join(WAIT)
    assert done == ["first", "second"]


def test_runs_against_different_clusters_do_not_wait() -> None:
    def never(_message: str) -> None:
        raise AssertionError("it waits")

    with (
        process_lock("one", progress=never, wish_to_stop=lambda: False),
        process_lock("two", progress=never, wish_to_stop=lambda: False),
    ):
        pass


def test_who_waits_hears_the_wish_to_stop() -> None:
    raised: list[UnsafePlanError] = []

    def second() -> None:
        try:
            with process_lock("one", progress=lambda _: None, wish_to_stop=lambda: True):
                raise AssertionError("it was not its turn")
        except UnsafePlanError as error:
            raised.append(error)

    waiting = threading.Thread(target=second)
    with process_lock("one", progress=lambda _: None, wish_to_stop=lambda: False):
        waiting.start()
        waiting.join(WAIT)
    assert "interrupted" in str(raised[0])
