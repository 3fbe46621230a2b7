"""The command line: what Pulumi has no verb for.

Each verb is a module with its options and nothing else; what it shows is made below. pruner.cli.entry turns whatever
happens into one line and an exit code, and pruner.cli.options makes options of the parameters.
"""

from pruner.cli.entry import main

__all__ = ["main"]
