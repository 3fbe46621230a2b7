"""The Pulumi program: one cluster, pruned as the stack configuration says."""

import pulumi

from pruner import PrunedImages

pruned = PrunedImages("pruned")
pulumi.export("summary", pruned.summary)
pulumi.export("skipped", pruned.skipped)
