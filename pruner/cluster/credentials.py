"""Credentials that a kubeconfig's user has, and how they are renewed.

`Source.load` fills a client's configuration; `renew` does so again. The `kubernetes` package renews the tokens of the
old auth- providers (pruner.cluster.auth_provider); everything else is done here as kubectl does it: credentials that
cannot be had (an exec plugin that fails, a token that is not renewed) are an error and not a request without any,
credentials that end are renewed shortly before they do and when they are refused, a token file wins over a token and is
read again, and `as` and `as-groups` are heeded. Keys are kept in memory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.cluster.exec_plugin import credential
from pruner.cluster.kubeconfig import Entries, KubeconfigError, UserEntry
from pruner.settings.files import is_pem
from pruner.settings.shown import shown

LONGEST_MARGIN: Final = timedelta(minutes=5)
"""Credentials are renewed so long before they end, or a quarter of their life before, whichever is shorter."""

TOKEN_FILE_READ_AGAIN: Final = timedelta(minutes=1)
"""As client-go does: kubelets replace a pod's token in place."""

LONGEST_TOKEN: Final = 1024 * 1024
"""Bytes of a token file; servers refuse headers of some 10 kB."""


class ClientConfiguration(msgspec.Struct):
    """Which server to talk to, as whom, and what to trust: the used fields of the `kubernetes` package's Configuration.

    `api_key` has the Authorization header as `BearerToken`. `refresh_api_key_hook` renews what has ended.
    """

    host: str = ""
    api_key: dict[str, str] = {}
    username: str | None = None
    password: str | None = None
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl: bool = True
    tls_server_name: str | None = None
    proxy: str | None = ""
    refresh_api_key_hook: Callable[[ClientConfiguration], None] | None = None


class Source:
    """Where the credentials in a client's configuration come from."""

    def __init__(self, entries: Entries, persist: Callable[[], None] | None = None) -> None:
        self._loader = _Loader(entries, persist)
        self._user = entries.user

    @property
    def impersonation(self) -> list[tuple[str, str]]:
        """The headers that the user's entry asks for with `as`, `as-uid`, `as-groups` and `as-user-extra`."""
        user = self._user
        if not user.as_:
            return []
        extra = [(f"Impersonate-Extra-{key}", each) for key, all_ in user.as_user_extra.items() for each in all_]
        uid = [("Impersonate-Uid", user.as_uid)] if user.as_uid else []
        headers = [
            ("Impersonate-User", user.as_),
            *uid,
            *(("Impersonate-Group", each) for each in user.as_groups),
            *extra,
        ]
        for name, value in headers:
            if not (name.isascii() and name.replace("-", "").isprintable()) or not value.isprintable():
                raise KubeconfigError("its user's `as` fields contain a character that a header cannot carry")
        return headers

    def load(self, configuration: ClientConfiguration) -> None:
        """Fill the configuration. Raises KubeconfigError, OSError."""
        self._loader.load(configuration)

    def renew(self, configuration: ClientConfiguration) -> None:
        """Read or make the credentials again although they have not ended: they were refused.

        Raises KubeconfigError, OSError.
        """
        self._loader.renew(configuration)


class _Loader:
    """Reads the credentials of one user's entry, which has been checked, and keeps what is known of them."""

    def __init__(self, entries: Entries, persist: Callable[[], None] | None) -> None:
        self._entries = entries
        self._persist = persist
        self._ends_at: datetime | None = None
        self._read_at = datetime.now(UTC)
        self._authorization = ""
        self._certificate: tuple[str | None, str | None] | None = None
        self._auth_provider: Any = None

    def load(self, configuration: ClientConfiguration) -> None:
        self._load_authentication()
        self._set_cluster(configuration)
        self._set_credentials(configuration)

    @property
    def _entry(self) -> UserEntry:
        return self._entries.user

    def _load_authentication(self) -> None:
        self._read_at = datetime.now(UTC)
        for load in (self._load_auth_provider_token, self._load_user_token, self._load_from_exec_plugin):
            if load():
                return
        self._load_user_pass_token()

    def _load_auth_provider_token(self) -> bool:
        if self._entry.auth_provider is None:
            return False
        if self._auth_provider is None:
            # Few kubeconfigs have one, and the package takes longer to import than a small cluster to read.
            from pruner.cluster.auth_provider import TokenSource  # noqa: PLC0415

            self._auth_provider = TokenSource(self._entries, self._entry.auth_provider, self._persist)
        self._authorization = self._auth_provider.authorization()
        return True

    def _load_user_token(self) -> bool:
        token = self._entry.token.strip()
        if self._entry.token_file:
            token = self._token_of_file() or token
        if not token:
            return False
        self._authorization = f"Bearer {token}"
        return True

    def _token_of_file(self) -> str:
        """The content of the token file; where it cannot be
        read, the token that is known already, as kubectl has it.
        """
        known = self._authorization.removeprefix("Bearer ") or self._entry.token.strip()
        path = self._entries.user_folder / Path(self._entry.token_file).expanduser()
        try:
            with path.open("rb") as opened:
                token = opened.read(LONGEST_TOKEN).decode("ascii").strip()
        except (OSError, ValueError, RuntimeError) as error:
            if known:
                return known
            reason = error.strerror if isinstance(error, OSError) else "it holds no token"
            raise KubeconfigError(f"its tokenFile {shown(self._entry.token_file)} cannot be read: {reason}") from None
        if not token and not known:
            raise KubeconfigError(f"its tokenFile {shown(self._entry.token_file)} is empty")
        return token or known

    def _load_from_exec_plugin(self) -> bool:
        plugin = self._entry.exec
        if plugin is None:
            return False
        given = credential(plugin, self._entries.user_folder, self._entries.raw_cluster)
        if given.token:
            self._authorization = f"Bearer {given.token}"
        if given.certificate is not None:
            self._certificate = given.certificate
        end = given.expiration_timestamp
        self._ends_at = end if end is None or end.tzinfo else end.replace(tzinfo=UTC)
        return True

    def _load_user_pass_token(self) -> None:
        user, password = self._entry.username, self._entry.password
        if user and password is not None:
            try:
                self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            except UnicodeEncodeError:
                raise KubeconfigError("its user name or password contains a character that cannot be sent") from None

    def _set_cluster(self, configuration: ClientConfiguration) -> None:
        cluster, user = self._entries.cluster, self._entry
        configuration.host = cluster.server.rstrip("/")
        configuration.ssl_ca_cert = _pem(
            "certificate-authority",
            cluster.certificate_authority_data,
            cluster.certificate_authority,
            self._entries.cluster_folder,
        )
        if self._certificate is None:
            folder = self._entries.user_folder
            self._certificate = (
                _pem("client-certificate", user.client_certificate_data, user.client_certificate, folder),
                _pem("client-key", user.client_key_data, user.client_key, folder),
            )
        configuration.verify_ssl = not cluster.insecure_skip_tls_verify
        configuration.tls_server_name = cluster.tls_server_name or configuration.tls_server_name
        configuration.proxy = cluster.proxy_url or configuration.proxy

    def _set_credentials(self, configuration: ClientConfiguration) -> None:
        if self._authorization:
            configuration.api_key["BearerToken"] = self._authorization
        if self._certificate is not None:
            configuration.cert_file, configuration.key_file = self._certificate
        configuration.refresh_api_key_hook = self._renew if self._ends else None

    @property
    def _ends(self) -> bool:
        """Whether the credentials may have to be read or made again."""
        user = self._entry
        return user.exec is not None or user.auth_provider is not None or bool(user.token_file)

    def renew(self, client_configuration: ClientConfiguration) -> None:
        if self._ends:
            self._load_authentication()
            self._set_credentials(client_configuration)

    def _renew(self, client_configuration: ClientConfiguration) -> None:
        if self._is_stale(datetime.now(UTC)):
            self._load_authentication()
        self._set_credentials(client_configuration)

    def _is_stale(self, now: datetime) -> bool:
        if self._entry.auth_provider is not None:
            # The package looks into the token itself.
            return True
        if self._entry.token_file:
            return now - self._read_at >= TOKEN_FILE_READ_AGAIN
        if self._ends_at is None:
            return False
        margin = max(timedelta(0), min(LONGEST_MARGIN, (self._ends_at - self._read_at) / 4))
        return bool(now >= self._ends_at - margin)


def _pem(key: str, data: str, path: str, folder: Path) -> str | None:
    """A certificate or key as content, or as the path of a file; None where the entry has neither.

    Data wins, as with kubectl.
    """
    if not data:
        # Some tools write the content where the path belongs.
        return path if is_pem(path) else str(folder / Path(path).expanduser()) if path else None
    try:
        content = base64.b64decode(data.encode("ascii")).decode("ascii")
    except (binascii.Error, ValueError):
        raise KubeconfigError(f"its {key}-data is not base64 of PEM") from None
    if not is_pem(content):
        what = "its authority's certificate cannot be used: " if key == "certificate-authority" else "its "
        raise KubeconfigError(f"{what}{key}-data holds nothing in PEM form")
    return content
