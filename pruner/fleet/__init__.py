"""Many clusters at once: a stack for each, previewed, reviewed and pruned together through Pulumi's Automation API.

`read_fleet` reads a `fleet.yaml`; `preview` and `up` run over the clusters of a `Fleet` and give an `Outcome` for each.
The commands of `pruner fleet` are made of these, and so can other programs be.
"""

from typing import TYPE_CHECKING, Any

from pruner.fleet.model import Cluster, Fleet, Outcome, PolicyPack, Wave

if TYPE_CHECKING:
    from pruner.fleet.reading import read_fleet
    from pruner.fleet.run import Options, preview, up

__all__ = ["Cluster", "Fleet", "Options", "Outcome", "PolicyPack", "Wave", "preview", "read_fleet", "up"]


def __getattr__(name: str) -> Any:
    # What runs a fleet brings Pulumi with it, which the help and the status of a fleet do without.
    if name == "read_fleet":
        from pruner.fleet.reading import read_fleet  # noqa: PLC0415

        return read_fleet
    if name in ("Options", "preview", "up"):
        from pruner.fleet import run  # noqa: PLC0415

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
