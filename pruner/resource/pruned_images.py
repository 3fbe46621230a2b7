"""The resource: a cluster whose unused images are pruned.

    from pruner import PrunedImages
    PrunedImages("prod", keep_younger_than=60, namespace="shop")

What an argument does not say the stack configuration says (`pulumi config set pruner:keep_younger_than 60`), and what that does not say
the environment; the environment is read by the provider, so that credentials in it never enter the program or the state.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi.runtime
from pulumi.dynamic import Resource
from pulumi.runtime.config import CONFIG

from pruner.resource.provider import OUTPUTS, PrunedImagesProvider
from pruner.settings import ALIASES, BY_NAME, PARAMETERS, SECRETS, settled_by

NAMESPACE = "pruner"
"""Of the keys in the stack configuration."""


class PrunedImages(Resource, module="pruner", name="PrunedImages"):
    """The pruned state of one OpenShift cluster.

    Args:
        all_images: bool: also prune images that were imported from other registries; false: only those pushed to the
            integrated one (default: true)
        ignore_invalid_refs: bool: go on with a warning where a pull spec does not parse, instead of ending with an
            error (default: false)
        keep_younger_than: minutes, >= 0: keep what is younger than this many minutes (default: 60)
        namespace: str: change the image streams of this namespace only; uses are read from all of them (default: every
            namespace)
        prune_over_size_limit: bool: prune revisions larger than the namespace's limit for images; keep_younger_than and
            keep_tag_revisions then apply only where they are given (default: false)
        prune_registry: bool: also delete layer links, manifests and blobs in the registry (default: true)
        registry_url: [scheme://]host[:port]: where the registry is reached, instead of where the cluster says it is
            (default: discovered)
        registry_ca_cert: path: file of the CA certificates that the registry's is verified with (default: none)
        registry_validate_certs: bool: verify the registry's certificate (default: as validate_certs; environment
            K8S_AUTH_VERIFY_SSL)
        host: URL: the API server (default: from kubeconfig; environment K8S_AUTH_HOST)
        api_key: str: the bearer token, for the API and the registry (default: none; environment K8S_AUTH_API_KEY)
        username: str: name for basic authentication, or for a token by OpenShift's challenge (default: none;
            environment K8S_AUTH_USERNAME)
        password: str: the password that belongs to username (default: none; environment K8S_AUTH_PASSWORD)
        ca_cert: path: file of the CA certificates that the API server's is verified with (default: from kubeconfig;
            environment K8S_AUTH_SSL_CA_CERT)
        client_cert: path: file of the client certificate (default: none; environment K8S_AUTH_CERT_FILE)
        client_key: path: file of the client certificate's key (default: none; environment K8S_AUTH_KEY_FILE)
        validate_certs: bool: verify the API server's certificate (default: true; environment K8S_AUTH_VERIFY_SSL)
        kubeconfig: path, several joined by the system's path separator, or a dict: the configuration of the client
            (default: the client's own, then in-cluster; environment K8S_AUTH_KUBECONFIG)
        context: str: context of the kubeconfig (default: current context; environment K8S_AUTH_CONTEXT)
        persist_config: bool: write refreshed credentials back to the kubeconfig (default: false; environment
            K8S_AUTH_PERSIST_CONFIG)
        impersonate_user: str: ask as this user (default: none; environment K8S_AUTH_IMPERSONATE_USER)
        impersonate_groups: list of str: ask as a member of these groups; comma separated in the environment (default:
            none; environment K8S_AUTH_IMPERSONATE_GROUPS)
        proxy: URL: the HTTP proxy; those in the environment's usual variables are not used (default: none; environment
            K8S_AUTH_PROXY)
        no_proxy: comma separated hosts, domains, IPs, CIDRs: what is reached without the proxy (default: none;
            environment K8S_AUTH_NO_PROXY)
        proxy_headers: dict: headers: basic_auth and proxy_basic_auth (`user:password`), user_agent (default: none;
            environment K8S_AUTH_PROXY_HEADERS_*)
        keep_tag_revisions: int >= 0: newest revisions of every tag that are always kept (default: 3)
        references: `extended` or `oc`: which uses protect an image: those that `oc adm prune images` knows, or more
            (default: extended)
        extra_referrers: list: further kinds whose images are in use: presets (argo-rollouts, knative, tekton), or maps
            of group, version, resource, and template or images (dotted paths) (default: [])
        protect: list of patterns: never prune these: namespace/stream, namespace/stream:tag or digests, with * and ?
            (default: [])
        strict: bool: a pattern of protect that matches nothing is an error (default: false)
        approved_plan: path: a reviewed plan: delete only what it names and what may still go (default: none)
        as_of: RFC 3339 time: the time that ages are measured against, so that a plan can be made again (default: now,
            by the API server's clock)
        max_deletions: int or percent: a plan that would delete more images and revisions is an error, before anything
            is touched (default: none)
        allow_empty_cluster: bool: prune although the cluster shows no workload, or images and no image stream (default:
            false)
        workers: int >= 1: concurrent requests (default: 20)
        report: path: file that the plan, and the result, are written to, as JSON Lines (default: none)

    """

    deleted_images: pulumi.Output[list[dict[str, Any]]]
    """Whole Image objects that the latest up has deleted; their names where there are very many."""
    updated_image_streams: pulumi.Output[list[dict[str, Any]]]
    """Whole ImageStream objects that the latest up has updated, as they are since."""
    summary: pulumi.Output[dict[str, Any]]
    """Counts, and `bytes` freed."""
    skipped: pulumi.Output[list[dict[str, str]]]
    """What was planned or approved and is used again, with the reason."""
    plan: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, **settings: pulumi.Input[Any]) -> None:
        given = _given(settings)
        # A name that is none may be a misspelt one of a secret.
        secrets = [key for key in given if ALIASES.get(key, key) in SECRETS or ALIASES.get(key, key) not in BY_NAME]
        properties = {key: pulumi.Output.secret(value) if key in secrets else value for key, value in given.items()}
        outputs = dict.fromkeys((*OUTPUTS, "plan"))
        super().__init__(PrunedImagesProvider(), name, {**properties, **outputs}, opts)


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say something, and what the stack configuration says about the other parameters."""
    given = {key: value for key, value in arguments.items() if value is not None}
    return {**_configured(given), **given}


def _configured(given: dict[str, Any]) -> dict[str, Any]:
    """What the stack configuration says about parameters that no argument gives, by whichever of their names."""
    config = pulumi.Config(NAMESPACE)
    settled = {ALIASES.get(key, key) for key in given} | settled_by(given)
    found: dict[str, Any] = {}
    for parameter in PARAMETERS:
        if parameter.name in settled:
            continue
        for key in (parameter.name, *parameter.aliases):
            secret = parameter.name in SECRETS or pulumi.runtime.is_config_secret(config.full_key(key))
            value = config.get_secret(key) if secret else config.get(key)
            if value is not None and config.get(key) not in ("", parameter.schema_default):
                found[key] = value
    return found | _unknown_keys()


def _unknown_keys() -> dict[str, str]:
    """Keys of our namespace that are no parameter: handed on, so that the provider refuses them by name."""
    prefix = f"{NAMESPACE}:"
    keys = (key.removeprefix(prefix) for key in CONFIG.get() if key.startswith(prefix))
    return {key: "" for key in keys if ALIASES.get(key, key) not in BY_NAME}
