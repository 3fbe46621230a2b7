"""Clusters that are filled once, and what an undisturbed run leaves of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pruning import broken_images, end_state, prune, settings_for
from tests.servers import copied, renewed, running_sandbox
from tests.small_clusters import saved, settings_of


class Saved(NamedTuple):
    """A cluster's folder to copy; what is not whole in it at first; and its end state after an undisturbed run.

    A stream that only names an image of another one links nothing.
    """

    folder: Path
    broken: frozenset[str]
    end: str


SavedCluster = Callable[[str], Saved]


@pytest.fixture(scope="session")
def saved_cluster(tmp_path_factory: pytest.TempPathFactory) -> SavedCluster:
    """Gives the cluster of a name (tests.small_clusters)."""

    def make(name: str) -> Saved:
        within = tmp_path_factory.mktemp(name.replace(" ", "-"))
        folder = saved(name, within / "saved")
        with running_sandbox(copied(folder, within / "undisturbed")) as sandbox:
            broken = frozenset(broken_images(sandbox))
            prune(settings_for(sandbox, **settings_of(name)))
            return Saved(folder, broken, end_state(sandbox))

    @cache
    def making(name: str) -> Callable[[], Saved]:
        return renewed(lambda: make(name))

    return lambda name: making(name)()
