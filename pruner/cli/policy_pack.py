"""`pruner policy-pack`: where the policy pack is."""

from __future__ import annotations

import click


@click.command(name="policy-pack")
def policy_pack() -> None:
    """Print the path of the policy pack, for `pulumi preview --policy-pack`."""
    from pruner import installation

    click.echo(installation.policy_pack())
