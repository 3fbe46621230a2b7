"""What Pulumi stores of the provider in a stack's state, and loads from it for refresh and destroy."""

import base64

import dill
from pulumi.dynamic.dynamic import serialize_provider

from pruner.provider.provider import PrunedImagesProvider

OF_0_1 = "gASVOAAAAAAAAACMGHBydW5lci5yZXNvdXJjZS5wcm92aWRlcpSMFFBydW5lZEltYWdlc1Byb3ZpZGVylJOUKYGULg=="
"""As version 0.1 has stored it."""

OF_0_2 = "gASVOAAAAAAAAACMGHBydW5lci5wcm92aWRlci5wcm92aWRlcpSMFFBydW5lZEltYWdlc1Byb3ZpZGVylJOUKYGULg=="


def test_state_refers_to_the_provider_by_module_and_name() -> None:
    """If this fails, states of earlier versions still hold the old text: keep a module that loads it."""
    assert serialize_provider(PrunedImagesProvider()) == OF_0_2


def test_provider_that_an_earlier_version_stored_is_loaded() -> None:
    assert b"pruner.resource.provider" in base64.b64decode(OF_0_1)
    assert type(dill.loads(base64.b64decode(OF_0_1))) is PrunedImagesProvider  # noqa: S301 - our own constant
