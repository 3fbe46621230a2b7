"""The resource: a cluster whose unused images are pruned.

    from pruner import PrunedImages
    PrunedImages("prod", keep_younger_than=60, namespace="shop")

What an argument does not say the stack configuration says (`pulumi config set pruner:keep_younger_than 60`), and what
that does not say the environment; the environment is read by the provider, so that credentials in it never enter the
program or the state.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi.runtime
from pulumi.dynamic import Resource
from pulumi.runtime.config import CONFIG

from pruner.provider.provider import NATIVE_TYPE, OUTPUTS, PrunedImagesProvider
from pruner.settings import ALIASES, BY_NAME, PARAMETERS, is_secret, settled_by

NAMESPACE = "pruner"
"""Of the keys in the stack configuration."""


class PrunedImages(Resource, module="pruner", name="PrunedImages"):
    """The pruned state of one OpenShift cluster.

    Args:
        all_images: Also prune images imported from other registries, not only those pushed to the integrated registry
            (bool; default true)
        ignore_invalid_refs: Ignore image references that cannot be parsed, with a warning, instead of stopping (bool;
            default false)
        keep_younger_than: Keep images and revisions younger than this many minutes (minutes; default 60)
        keep_tag_revisions: Number of newest revisions to keep of every tag (int; default 3)
        namespace: Prune image streams of this namespace only; references are read from all namespaces (NAME; default
            every namespace)
        prune_over_size_limit: Prune revisions over the namespace's size limit; the two keep settings then apply only
            where they are set (bool; default false)
        prune_registry: Also delete layer links, manifests and blobs in the registry (bool; default true)
        references: References that keep an image: only those `oc adm prune images` reads, or those of more kinds and
            fields (`extended` or `oc`; default extended)
        protect: Never prune these: namespace/stream, namespace/stream:tag or digests, with * and ? as wildcards (list
            of patterns; default [])
        protect_selector: Never prune image streams with these labels, nor those of namespaces with these labels (label
            selector; default none)
        strict: Fail when a pattern of protect or a rule of retention matches nothing (bool; default false)
        retention: Rules that say which tags are kept, and let all other tags that they match expire (list of rules, or
            path of a YAML file with them; default [])
        empty_streams: Delete image streams without tags that are older than this and that nothing refers to (map of
            older_than and streams; default none is deleted)
        attached: Whether tags such as sha256-DIGEST.sig follow the image they are attached to, or are tags like others
            (`follow` or `keep`; default follow)
        grace: Retire images for this long, in which they can be restored, before a later run deletes them (minutes, or
            such as 36h or 7d; default 0)
        host: Address of the API server (URL; default from kubeconfig; environment K8S_AUTH_HOST)
        api_key: Bearer token for the API and the registry (TEXT; default none; environment K8S_AUTH_API_KEY)
        username: User name for basic authentication or OpenShift's OAuth challenge flow (TEXT; default none;
            environment K8S_AUTH_USERNAME)
        password: Password of username (TEXT; default none; environment K8S_AUTH_PASSWORD)
        ca_cert: CA bundle used to verify the API server's certificate (path or PEM content; default from kubeconfig;
            environment K8S_AUTH_SSL_CA_CERT)
        client_cert: Client certificate, which may include its key (path or PEM content; default none; environment
            K8S_AUTH_CERT_FILE)
        client_key: Private key of the client certificate (path or PEM content; default none; environment
            K8S_AUTH_KEY_FILE)
        validate_certs: Verify the API server's certificate (bool; default true; environment K8S_AUTH_VERIFY_SSL)
        kubeconfig: Kubeconfig file, several joined like KUBECONFIG, or the content of one (path, joined paths, content
            or dict; default as kubectl finds it, then in-cluster; environment K8S_AUTH_KUBECONFIG)
        context: Context of the kubeconfig to use (NAME; default current context; environment K8S_AUTH_CONTEXT)
        persist_config: Write refreshed credentials back to the kubeconfig (bool; default false; environment
            K8S_AUTH_PERSIST_CONFIG)
        impersonate_user: User to impersonate in requests to the API (NAME; default none; environment
            K8S_AUTH_IMPERSONATE_USER)
        impersonate_groups: Groups to impersonate, together with impersonate_user (list; default none; environment
            K8S_AUTH_IMPERSONATE_GROUPS)
        proxy: HTTP proxy; HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment are not used (URL; default none;
            environment K8S_AUTH_PROXY)
        no_proxy: Hosts, domains and CIDRs to reach directly (comma-separated hosts, domains, IPs, CIDRs; default none;
            environment K8S_AUTH_NO_PROXY)
        proxy_headers: Headers for the proxy: proxy_basic_auth and basic_auth (`user:password`), user_agent (map;
            default none; environment K8S_AUTH_PROXY_HEADERS_*)
        registry_url: Address of the registry ([scheme://]host[:port]; default discovered)
        registry_ca_cert: CA bundle used to verify the registry's certificate (path or PEM content; default none)
        registry_validate_certs: Verify the registry's certificate (bool; default as validate_certs; environment
            K8S_AUTH_VERIFY_SSL)
        uses_from: Further clusters that pull from this registry: what they use is kept (list of maps of name and
            settings, or path of a YAML file with them; default [])
        registry_hosts: Further hosts by which the clusters of uses_from name this registry (list of host[:port];
            default [])
        keep_used_within: Keep images that ran within this time, by usage_history (minutes, or such as 30d; default only
            what is in use now)
        usage_history: Prometheus that knows which images ran, for keep_used_within (map of url, ca_cert, token and
            partial_history; default none)
        extra_referrers: Further kinds whose images are in use: presets, or resources with the dotted paths of their
            images (list of presets (argo-rollouts, knative, kserve, kubevirt, tekton) and maps of group, version,
            resource, and template, images, values or streams; default [])
        approved_plan: Reviewed plan: prune only what it names, unless it came into use since (PATH; default none)
        approved_digest: SHA-256 digest of the file of approved_plan; a file with another digest is refused (64 hex
            digits, as sha256sum prints them, with or without sha256:; default none)
        require_approval: Refuse an up that nobody reviewed (bool; default false)
        as_of: Time that ages are measured against, to reproduce a plan (RFC 3339 time; default now, by the API server's
            clock)
        max_deletions: Refuse a plan that deletes more images, revisions and image streams than this (number or
            percentage; default none)
        allow_empty_cluster: Prune although no workloads or no image streams are visible, which usually means missing
            permissions (bool; default false)
        restart_registry: Restart OpenShift's registry after blobs were deleted if it has several replicas, since each
            caches what there is (bool; default false)
        workers: Number of concurrent requests (int; default 20)
        report: File to write the plan and the result to, as JSON Lines (PATH; default none)

    """

    deleted_images: pulumi.Output[list[dict[str, Any]]]
    """Whole Image objects that the latest up has deleted; their names where there are very many."""
    updated_image_streams: pulumi.Output[list[dict[str, Any]]]
    """Whole ImageStream objects that the latest up has updated, as they are since."""
    summary: pulumi.Output[dict[str, Any]]
    """Counts, and `bytes` freed."""
    skipped: pulumi.Output[list[dict[str, str]]]
    """What was planned or approved and is used again, with the reason."""
    registry_restart: pulumi.Output[dict[str, Any]]
    """Whether the registry's replicas were restarted after blobs
    were deleted, and the command; empty where they need not be."""
    backlog: pulumi.Output[dict[str, Any]]
    """What a refresh has found to prune, in sums; empty after up."""
    plan: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, **settings: pulumi.Input[Any]) -> None:
        given = _given(settings)
        secrets = [key for key, value in given.items() if is_secret(ALIASES.get(key, key), value)]
        properties = {key: pulumi.Output.secret(value) if key in secrets else value for key, value in given.items()}
        outputs = dict.fromkeys((*OUTPUTS, "plan"))
        # A stack that the native provider has updated comes back without a replacement.
        returned = pulumi.ResourceOptions(aliases=[pulumi.Alias(type_=NATIVE_TYPE)])
        opts = pulumi.ResourceOptions.merge(opts, returned)
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
            secret = is_secret(parameter.name, config.get(key) or "")
            secret = secret or pulumi.runtime.is_config_secret(config.full_key(key))
            value = config.get_secret(key) if secret else config.get(key)
            if value is not None and config.get(key) not in ("", parameter.schema_default):
                found[key] = value
    return found | _unknown_keys()


def _unknown_keys() -> dict[str, str]:
    """Keys of our namespace that are no parameter: handed on, so that the provider refuses them by name."""
    prefix = f"{NAMESPACE}:"
    keys = (key.removeprefix(prefix) for key in CONFIG.get() if key.startswith(prefix))
    return {key: "" for key in keys if ALIASES.get(key, key) not in BY_NAME}
