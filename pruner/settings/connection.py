"""The parameters of the connection to the API server and the registry, declared as those of `declaration` are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

from pruner.settings import files, values
from pruner.settings.parameter import Parameter


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """Where the API server and the registry are, as whom to talk to them, and what to trust."""

    host: Annotated[
        str | None,
        Parameter(
            parse=values.api_url,
            metavar="URL",
            default="from kubeconfig",
            environment="K8S_AUTH_HOST",
            help="Address of the API server",
        ),
    ] = None
    api_key: Annotated[
        str | None,
        Parameter(
            parse=values.bearer_token,
            environment="K8S_AUTH_API_KEY",
            secret=True,
            help="Bearer token for the API and the registry",
        ),
    ] = None
    username: Annotated[
        str | None,
        Parameter(
            parse=values.user_name,
            environment="K8S_AUTH_USERNAME",
            help="User name for basic authentication or OpenShift's OAuth challenge flow",
        ),
    ] = None
    password: Annotated[
        str | None,
        Parameter(parse=values.secret_text, environment="K8S_AUTH_PASSWORD", secret=True, help="Password of username"),
    ] = None
    ca_cert: Annotated[
        str | None,
        Parameter(
            parse=files.certificates,
            metavar="PATH",
            takes="path or PEM content",
            default="from kubeconfig",
            aliases=("ssl_ca_cert",),
            environment="K8S_AUTH_SSL_CA_CERT",
            help="CA bundle used to verify the API server's certificate",
        ),
    ] = None
    client_cert: Annotated[
        str | None,
        Parameter(
            parse=files.certificates,
            metavar="PATH",
            takes="path or PEM content",
            aliases=("cert_file",),
            environment="K8S_AUTH_CERT_FILE",
            help="Client certificate, which may include its key",
        ),
    ] = None
    client_key: Annotated[
        str | None,
        Parameter(
            parse=files.certificates,
            metavar="PATH",
            takes="path or PEM content",
            aliases=("key_file",),
            environment="K8S_AUTH_KEY_FILE",
            help="Private key of the client certificate",
        ),
    ] = None
    validate_certs: Annotated[
        bool | None,
        Parameter(
            parse=values.boolean,
            default="true",
            aliases=("verify_ssl",),
            environment="K8S_AUTH_VERIFY_SSL",
            help="Verify the API server's certificate",
        ),
    ] = None
    kubeconfig: Annotated[
        str | dict[str, Any] | None,
        Parameter(
            parse=files.kubeconfig,
            metavar="PATH",
            takes="path, joined paths, content or dict",
            default="as kubectl finds it, then in-cluster",
            environment="K8S_AUTH_KUBECONFIG",
            help="Kubeconfig file, several joined like KUBECONFIG, or the content of one",
        ),
    ] = None
    context: Annotated[
        str | None,
        Parameter(
            parse=values.text,
            metavar="NAME",
            default="current context",
            environment="K8S_AUTH_CONTEXT",
            help="Context of the kubeconfig to use",
        ),
    ] = None
    persist_config: Annotated[
        bool,
        Parameter(
            parse=values.boolean,
            environment="K8S_AUTH_PERSIST_CONFIG",
            help="Write refreshed credentials back to the kubeconfig",
        ),
    ] = False
    impersonate_user: Annotated[
        str | None,
        Parameter(
            parse=values.header,
            metavar="NAME",
            environment="K8S_AUTH_IMPERSONATE_USER",
            help="User to impersonate in requests to the API",
        ),
    ] = None
    impersonate_groups: Annotated[
        tuple[str, ...],
        Parameter(
            parse=values.groups,
            metavar="LIST",
            default="none",
            environment="K8S_AUTH_IMPERSONATE_GROUPS",
            help="Groups to impersonate, together with impersonate_user",
        ),
    ] = ()
    proxy: Annotated[
        str | None,
        Parameter(
            parse=values.proxy_url,
            metavar="URL",
            environment="K8S_AUTH_PROXY",
            help="HTTP proxy; HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment are not used",
        ),
    ] = None
    no_proxy: Annotated[
        str | None,
        Parameter(
            parse=values.text,
            metavar="LIST",
            takes="comma-separated hosts, domains, IPs, CIDRs",
            environment="K8S_AUTH_NO_PROXY",
            help="Hosts, domains and CIDRs to reach directly",
        ),
    ] = None
    proxy_headers: Annotated[
        dict[str, str],
        Parameter(
            parse=values.proxy_headers,
            metavar="MAP",
            default="none",
            environment="K8S_AUTH_PROXY_HEADERS_*",
            secret=True,
            help="Headers for the proxy: proxy_basic_auth and basic_auth (`user:password`), user_agent",
        ),
    ] = dataclasses.field(default_factory=dict)
    registry_url: Annotated[
        str | None,
        Parameter(
            parse=values.registry_url,
            metavar="URL",
            takes="[scheme://]host[:port]",
            default="discovered",
            help="Address of the registry",
        ),
    ] = None
    registry_ca_cert: Annotated[
        str | None,
        Parameter(
            parse=files.certificates,
            metavar="PATH",
            takes="path or PEM content",
            help="CA bundle used to verify the registry's certificate",
        ),
    ] = None
    registry_validate_certs: Annotated[
        bool | None,
        Parameter(
            parse=values.boolean,
            default="as validate_certs",
            environment="K8S_AUTH_VERIFY_SSL",
            help="Verify the registry's certificate",
        ),
    ] = None

    @property
    def certs_validated(self) -> bool:
        """`validate_certs`, true where it is not set; set, it wins over what a kubeconfig says."""
        return self.validate_certs is not False

    @property
    def registry_certs_validated(self) -> bool:
        """`registry_validate_certs`, which is what `validate_certs` is where it is not set."""
        return self.certs_validated if self.registry_validate_certs is None else self.registry_validate_certs
