"""Prunes one cluster from a Python program, with the dynamic provider. Executed by tests/e2e/test_languages.py."""

import pulumi

from pruner import PrunedImages

prod = PrunedImages("prod", keep_younger_than=1440, protect=["blog/*"])
pulumi.export("summary", prod.summary)
