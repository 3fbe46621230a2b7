"""The policy pack as Pulumi runs it: `pulumi preview --policy-pack policies/run` (docs/policies.md)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pulumi_policy import PolicyPack

from policies.pack import complete_servicer, policies

complete_servicer()
PolicyPack(name="pruner", policies=policies())
