"""Kubeconfigs, read by the `kubernetes` package and kept to what kubectl does where that package does something else.

`load` fills a client's configuration from a path, several joined paths or a dictionary, and gives what the user's entry says besides. Four
things differ from the package's own loader: of joined files the first one that has a current context decides; credentials that cannot be
had (an exec plugin that fails, a token that is not renewed) are an error and not a request without any; credentials that end are renewed
shortly before they do, however short they live, and when they are refused; and `as` and `as-groups` are heeded.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.client import Configuration
from kubernetes.client.exceptions import OpenApiException
from kubernetes.config import kube_config
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import FileOrData, KubeConfigLoader, KubeConfigMerger
from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from pruner.cluster.exec_plugin import credential

LONGEST_MARGIN: Final = timedelta(minutes=5)
"""Credentials are renewed so long before they end, or a quarter of their life before, whichever is shorter."""

TOKEN_FILE_READ_AGAIN: Final = timedelta(minutes=1)


def default_paths() -> str:
    """Where kubectl looks: `KUBECONFIG`, else `~/.kube/config`."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def default_exists() -> bool:
    """Whether there is a kubeconfig in the default place."""
    return any(Path(path).expanduser().is_file() for path in default_paths().split(os.pathsep) if path)


class Source:
    """Where the credentials in a client's configuration come from."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    @property
    def impersonation(self) -> list[tuple[str, str]]:
        """The headers that the user's entry asks for with `as`, `as-uid`, `as-groups` and `as-user-extra`."""
        user = self._loader.user
        if not user.get("as"):
            return []
        extra = [
            (f"Impersonate-Extra-{key}", str(each))
            for key, all_ in (user.get("as-user-extra") or {}).items()
            for each in all_
        ]
        uid = [("Impersonate-Uid", str(user["as-uid"]))] if user.get("as-uid") else []
        groups = [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
        return [("Impersonate-User", str(user["as"])), *uid, *groups, *extra]

    def renew(self, configuration: Configuration) -> None:
        """Read or make the credentials again although they have not ended: they were refused. Raises ConfigException, OSError."""
        self._loader.renew(configuration)


def load(configuration: Configuration, source: str | dict[str, Any], *, context: str | None, persist: bool) -> Source:
    """Fill the configuration. Raises ConfigException, OSError and what PyYAML raises for a file that is no kubeconfig."""
    if isinstance(source, dict):
        loader = _Loader(source, active_context=context, config_base_path=None)
    else:
        files = KubeConfigMerger(source)
        if files.config is None:
            raise ConfigException(f"there is no file {source!r}")
        loader = _Loader(
            files.config,
            active_context=context or _first_current_context(source),
            config_base_path=None,
            config_persister=files.save_changes if persist else None,
        )
    loader.load_and_set(configuration)
    return Source(loader)


def _first_current_context(paths: str) -> str | None:
    """The current context of the first of these files that has one; the package takes the last."""
    for path in paths.split(os.pathsep):
        file = Path(path).expanduser()
        if path and file.is_file():
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            current = content.get("current-context") if isinstance(content, Mapping) else None
            if current:
                return str(current)
    return None


_PackageLoader: Any = KubeConfigLoader  # without types


class _Loader(_PackageLoader):  # type: ignore[misc]
    """The package's loader, with credentials that must be had and that are renewed."""

    def _load_from_exec_plugin(self) -> bool | None:
        if "exec" not in self._user:
            return None
        base_path = self._get_base_path(self._cluster.path)
        given = credential(self._user["exec"], base_path, self._cluster)
        if given.token:
            self.token = f"Bearer {given.token}"
        if given.certificate is not None:
            self.cert_file, self.key_file = (_in_file(text) for text in given.certificate)
        end = given.expiration_timestamp
        self.expiry = end if end is None or end.tzinfo else end.replace(tzinfo=UTC)
        return True

    def _load_auth_provider_token(self) -> Any:
        if "auth-provider" not in self._user:
            return None
        provider = self._user["auth-provider"].safe_get("name")
        if provider not in ("gcp", "oidc"):
            raise ConfigException(f"auth-provider {provider!r} is not known: have the kubeconfig made anew, with exec")
        try:
            token = super()._load_auth_provider_token()
        except (HTTPError, OpenApiException, OAuth2Error, OSError, ValueError, KeyError) as error:
            raise ConfigException(
                f"auth-provider {provider!r}: its token cannot be renewed: {type(error).__name__}: {error}"
            ) from None
        if not token:
            raise ConfigException(f"auth-provider {provider!r}: has no token that can be used; log in again")
        return token

    def _refresh_oidc(self, provider: Any) -> None:
        with _verified_issuer(provider["config"]):
            super()._refresh_oidc(provider)

    def _load_authentication(self) -> None:
        super()._load_authentication()
        self._read_at = datetime.now(UTC)

    def _set_config(self, client_configuration: Configuration) -> None:
        super()._set_config(client_configuration)
        hook: Any = self._renew if self._ends else None
        client_configuration.refresh_api_key_hook = hook

    @property
    def _ends(self) -> bool:
        """Whether the credentials may have to be read or made again."""
        return self._user is not None and any(kind in self._user for kind in ("exec", "auth-provider", "tokenFile"))

    @property
    def user(self) -> Mapping[str, Any]:
        """The user's entry, empty where the context names none."""
        return self._user.value if self._user is not None else {}

    def renew(self, client_configuration: Configuration) -> None:
        if self._ends:
            self._load_authentication()
            self._set_config(client_configuration)

    def _renew(self, client_configuration: Configuration) -> None:
        if self._is_stale(datetime.now(UTC)):
            self._load_authentication()
        self._set_config(client_configuration)

    def _is_stale(self, now: datetime) -> bool:
        if "auth-provider" in self._user:
            # The package looks into the token itself.
            return True
        if "tokenFile" in self._user:
            return now - self._read_at >= TOKEN_FILE_READ_AGAIN
        end = getattr(self, "expiry", None)
        if end is None:
            return False
        margin = max(timedelta(0), min(LONGEST_MARGIN, (end - self._read_at) / 4))
        return bool(now >= end - margin)


def _in_file(text: str) -> str:
    """The path of a file with this content; it is the process's own, and goes with it."""
    path: str = FileOrData({"x-data": text}, None, data_key_name="x-data", base64_file_content=False).as_file()
    return path


def discard(path: str | None) -> None:
    """Remove a file that was written for a kubeconfig's data, once it has been read; one of the user's own stays."""
    # The package would leave a key there when the process is killed. It writes the file anew where it is missing.
    if path in kube_config._temp_files.values():
        Path(str(path)).unlink(missing_ok=True)


@contextmanager
def _verified_issuer(config: Any) -> Iterator[None]:
    """The issuer of tokens with its certificate verified; the package verifies none where the kubeconfig names no CA."""
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
