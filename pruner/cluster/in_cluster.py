"""The credentials that a pod is given: its service account's token, which the kubelet replaces, and the CA.

The `kubernetes` package reads them. This module alone imports that part of it, and is imported only where there is no
kubeconfig.
"""

from __future__ import annotations

from typing import Any

from kubernetes.config import load_incluster_config
from kubernetes.config.config_exception import ConfigException

from pruner.cluster.credentials import ClientConfiguration
from pruner.cluster.kubeconfig import KubeconfigError


def load(configuration: ClientConfiguration) -> None:
    """Fill the configuration, whose hook reads the token again. Raises KubeconfigError outside of a pod, OSError."""
    _call(load_incluster_config, configuration)


def _call(fill: Any, configuration: ClientConfiguration) -> None:
    try:
        fill(configuration)
    except ConfigException as error:
        raise KubeconfigError(f"the service account cannot be used: {error}") from None
    # The package's own hook, which it sets each time, raises its own errors.
    hook = configuration.refresh_api_key_hook
    configuration.refresh_api_key_hook = lambda configuration: _call(hook, configuration)
