"""The plan as the resource's inputs show it: in full while
it is small, and in sums that stay small however large it is.
"""

from __future__ import annotations

import pytest

from pruner.cluster.objects import Registry
from pruner.plan import PrunedImage, PrunedRevision, PrunePlan, StreamChange
from pruner.provider.rendering import LISTED, rendered
from pruner.reasons import BeyondNewest
from pruner.report.wording import headline
from tests.builders.objects import L1, NOW, A, analysed, digest, image, image_stream

GONE = BeyondNewest(0, 0)


def plan_of(streams: int) -> PrunePlan:
    """An image and a revision for each stream, two for the first one by name."""
    names = [f"app{number:05}" for number in range(streams)]
    changes = tuple(
        StreamChange(
            "shop",
            name,
            "uid",
            "1",
            tuple(
                PrunedRevision("latest", at, digest(f"{name} {at}"), NOW, GONE)
                for at in range(2 if name == names[0] else 1)
            ),
        )
        for name in reversed(names)
    )
    images = tuple(PrunedImage(digest(name), "uid", "1", NOW, "", GONE) for name in names)
    return PrunePlan(cluster="test", as_of=NOW, rules={}, streams=changes, images=images)


def test_a_small_plan_is_listed_with_its_reasons() -> None:
    found = analysed(
        image(A, layers=[L1]),
        image_stream("shop/web", latest=[A]),
        registry=Registry("https://registry"),
        blob_sizes={L1: 1000},
    )
    shown = rendered(found.plan)
    assert "listed" not in shown
    assert list(shown["revisions"]) == [f"shop/web:latest@{A}"]
    assert shown["images"][A].startswith("2025-12-02T12:00:00Z, 2 blobs, 1.0 kB: ")
    assert shown["image_streams"] == {"shop/web": "1 revision, 1 image, 2 links: 1.0 kB"}
    assert not {"blobs", "links"} & shown.keys()
    assert shown["registry"] == "https://registry"


def test_nothing_to_do_is_shown_as_nothing() -> None:
    assert rendered(analysed().plan) == {}


def test_a_large_plan_is_shown_in_sums_the_largest_first() -> None:
    shown = rendered(plan_of(1500))
    assert shown["listed"] is False
    assert not {"revisions", "images", "blobs", "links"} & shown.keys()
    assert len(shown["image_streams"]) == 1501
    assert shown["image_streams"]["shop/app00000"] == "2 revisions, 0 images: 0 bytes"
    assert shown["image_streams"]["(no image stream)"] == "0 revisions, 1\N{NARROW NO-BREAK SPACE}500 images: 0 bytes"
    assert shown["counts"]["revisions"] == 1501


def test_large_numbers_are_written_as_in_reports() -> None:
    of_images = "1\N{NARROW NO-BREAK SPACE}500 images"
    assert of_images in rendered(plan_of(1500))["summary"]
    assert of_images in headline(plan_of(1500))


@pytest.mark.parametrize("streams", [LISTED, LISTED + 500])
def test_of_very_many_image_streams_the_rest_is_counted(streams: int) -> None:
    shown = rendered(plan_of(streams))["image_streams"]
    assert len(shown) == LISTED + 1
    rest = streams + 1 - LISTED
    assert shown["(others)"].startswith(f"{rest} image stream")
