"""Many clusters at once: a stack for each, previewed, reviewed and pruned together through Pulumi's Automation API.

`read_fleet` reads a `fleet.yaml`; `preview` and `up` run over the clusters of a `Fleet` and give an `Outcome` for each. The commands of
`python -m pruner fleet` are made of these, and so can other programs be.
"""

from pruner.fleet.model import Cluster, Fleet, Outcome, PolicyPack, Wave
from pruner.fleet.reading import read_fleet
from pruner.fleet.run import Options, preview, up

__all__ = ["Cluster", "Fleet", "Options", "Outcome", "PolicyPack", "Wave", "preview", "read_fleet", "up"]
