"""Tokens of the auth-providers `gcp` and `oidc`, credential helpers of the time before exec plugins.

The `kubernetes` package renews them. This module alone imports that part of it, and is imported only where a kubeconfig
has one.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from kubernetes.client.exceptions import OpenApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import ConfigNode, KubeConfigLoader
from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from pruner.cluster.kubeconfig import AuthProvider, Entries, KubeconfigError
from pruner.settings.shown import shown

_KNOWN: Final = ("gcp", "oidc")

_PROVIDER_FAILS: Final = (
    HTTPError,
    OpenApiException,
    OAuth2Error,
    ConfigException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
)
"""What the package's own code lets through, for whatever a provider answers or a token contains."""


class TokenSource:
    """The token of a user's auth-provider, renewed when it has expired."""

    def __init__(self, entries: Entries, provider: AuthProvider, persist: Callable[[], None] | None) -> None:
        """`persist` writes the kubeconfig back when a token was renewed.

        Raises KubeconfigError for a provider that is not known.
        """
        if provider.name not in _KNOWN:
            raise KubeconfigError(
                f"auth-provider {shown(provider.name)} is not known; create the kubeconfig again, with an exec plugin"
            )
        self._provider = provider
        self._loader = _Loader(entries, persist)

    def authorization(self) -> str:
        """The Authorization header's value. Raises KubeconfigError."""
        name = repr(self._provider.name)
        try:
            token: str | None = self._loader.provider_token()
        except _PROVIDER_FAILS as error:
            # The words of the provider may contain tokens.
            raise KubeconfigError(
                f"auth-provider {name}: its token cannot be renewed ({type(error).__name__}); log in again"
            ) from None
        if not token:
            raise KubeconfigError(f"auth-provider {name}: has no token that can be used; log in again")
        return token


_PackageLoader: Any = KubeConfigLoader  # without types


class _Loader(_PackageLoader):  # type: ignore[misc]
    """The package's loader, which is used for the tokens alone."""

    def __init__(self, entries: Entries, persist: Callable[[], None] | None) -> None:
        document = {
            "contexts": [{"name": "used", "context": {"cluster": "used", "user": "used"}}],
            "clusters": [{"name": "used", "cluster": {"server": entries.cluster.server} | entries.raw_cluster}],
            "users": [{"name": "used", "user": entries.raw_user}],
        }
        super().__init__(ConfigNode("kubeconfig", document), "used", config_base_path="", config_persister=persist)

    def provider_token(self) -> str | None:
        token: str | None = super()._load_auth_provider_token()
        return token

    def _refresh_oidc(self, provider: Any) -> None:
        with _verified_issuer(provider["config"]):
            super()._refresh_oidc(provider)


@contextmanager
def _verified_issuer(config: Any) -> Iterator[None]:
    """The issuer of tokens with its certificate verified; the
    package verifies none where the kubeconfig names no CA.
    """
    named = ("idp-certificate-authority", "idp-certificate-authority-data")
    authorities = ssl.get_default_verify_paths().cafile
    if authorities is None or any(name in config for name in named):
        yield
        return
    config.value[named[0]] = authorities
    try:
        yield
    finally:
        del config.value[named[0]]
