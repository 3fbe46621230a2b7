"""A cluster's registry and its pruning in one stack: what the first makes, the second uses.

    pulumi config set registry_host registry.apps.example.com
    pulumi config set --secret pruner:api_key ...
    pulumi config set pruner:host https://api.example.com:6443
    pulumi up

The registry gets a route under a name that is known, and pruning reaches it there once the route is made. On a schedule
it goes on inside the cluster, in place of OpenShift's own ImagePruner.
"""

from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource, CustomResourcePatch

from pruner import PrunedImages
from pruner.schedule import PruneSchedule

config = pulumi.Config()
host = config.require("registry_host")

registry = CustomResourcePatch(
    "registry",
    api_version="imageregistry.operator.openshift.io/v1",
    kind="Config",
    metadata={"name": "cluster", "annotations": {"pulumi.com/patchForce": "true"}},
    spec={"routes": [{"name": "pulumi", "hostname": host}]},
)

limits = CustomResource(
    "shop-limits",
    api_version="v1",
    kind="LimitRange",
    metadata={"name": "images", "namespace": "shop"},
    spec={"limits": [{"type": "openshift.io/Image", "max": {"storage": "1Gi"}}]},
)

# The fields of a kind that Pulumi does not know are found when the program runs, and by no type checker.
spec: pulumi.Output[dict[str, Any]] = registry.spec  # type: ignore[attr-defined]

pruned = PrunedImages(
    "pruned",
    registry_url=pulumi.Output.concat("https://", spec.apply(lambda found: found["routes"][0]["hostname"])),
    keep_younger_than=1440,
    opts=pulumi.ResourceOptions(depends_on=[registry, limits]),
)

schedule = PruneSchedule(
    "nightly",
    image="registry.example.com/tools/pruner:0.1.0",
    take_over=True,
    settings={"keep_younger_than": 1440, "max_deletions": "10%"},
    network_policy=True,
    opts=pulumi.ResourceOptions(depends_on=[pruned]),
)

pulumi.export("summary", pruned.summary)
pulumi.export("schedule", schedule.message)
