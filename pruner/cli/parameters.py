"""The options of the command line that set parameters, as
data: a command's help is shown without importing the settings.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Option(NamedTuple):
    """The option of one parameter.

    `metavar` is None where the `choices` say what the value is, and of a flag, which takes none.
    """

    name: str
    concern: str
    """`analysis`, `connection` or `run`."""
    metavar: str | None
    choices: tuple[str, ...]
    help: str

    @property
    def is_flag(self) -> bool:
        return self.metavar is None and not self.choices


# fmt: off
# generated from pruner/settings/declaration.py
OPTIONS: Final = (
    Option("all_images", "analysis", None, (),
           "Also prune images imported from other registries, not only those pushed to the integrated registry"),
    Option("ignore_invalid_refs", "analysis", None, (),
           "Ignore image references that cannot be parsed, with a warning, instead of stopping"),
    Option("keep_younger_than", "analysis", "MINUTES", (),
           "Keep images and revisions younger than this many minutes"),
    Option("keep_tag_revisions", "analysis", "N", (),
           "Number of newest revisions to keep of every tag"),
    Option("namespace", "analysis", "NAME", (),
           "Prune image streams of this namespace only; references are read from all namespaces"),
    Option("prune_over_size_limit", "analysis", None, (),
           "Prune revisions over the namespace's size limit; the two keep settings then apply only where they are "
           "set"),
    Option("prune_registry", "analysis", None, (),
           "Also delete layer links, manifests and blobs in the registry"),
    Option("references", "analysis", None, ("extended", "oc"),
           "References that keep an image: only those `oc adm prune images` reads, or those of more kinds and fields"),
    Option("protect", "analysis", "LIST", (),
           "Never prune these: namespace/stream, namespace/stream:tag or digests, with * and ? as wildcards"),
    Option("protect_selector", "analysis", "SELECTOR", (),
           "Never prune image streams with these labels, nor those of namespaces with these labels"),
    Option("strict", "analysis", None, (),
           "Fail when a pattern of protect or a rule of retention matches nothing"),
    Option("retention", "analysis", "FILE", (),
           "Rules that say which tags are kept, and let all other tags that they match expire"),
    Option("empty_streams", "analysis", "JSON", (),
           "Delete image streams without tags that are older than this and that nothing refers to"),
    Option("attached", "analysis", None, ("follow", "keep"),
           "Whether tags such as sha256-DIGEST.sig follow the image they are attached to, or are tags like others"),
    Option("grace", "analysis", "AGE", (),
           "Retire images for this long, in which they can be restored, before a later run deletes them"),
    Option("host", "connection", "URL", (),
           "Address of the API server"),
    Option("username", "connection", "TEXT", (),
           "User name for basic authentication or OpenShift's OAuth challenge flow"),
    Option("ca_cert", "connection", "PATH", (),
           "CA bundle used to verify the API server's certificate"),
    Option("client_cert", "connection", "PATH", (),
           "Client certificate, which may include its key"),
    Option("client_key", "connection", "PATH", (),
           "Private key of the client certificate"),
    Option("validate_certs", "connection", None, (),
           "Verify the API server's certificate"),
    Option("kubeconfig", "connection", "PATH", (),
           "Kubeconfig file, several joined like KUBECONFIG, or the content of one"),
    Option("context", "connection", "NAME", (),
           "Context of the kubeconfig to use"),
    Option("persist_config", "connection", None, (),
           "Write refreshed credentials back to the kubeconfig"),
    Option("impersonate_user", "connection", "NAME", (),
           "User to impersonate in requests to the API"),
    Option("impersonate_groups", "connection", "LIST", (),
           "Groups to impersonate, together with impersonate_user"),
    Option("proxy", "connection", "URL", (),
           "HTTP proxy; HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment are not used"),
    Option("no_proxy", "connection", "LIST", (),
           "Hosts, domains and CIDRs to reach directly"),
    Option("registry_url", "connection", "URL", (),
           "Address of the registry"),
    Option("registry_ca_cert", "connection", "PATH", (),
           "CA bundle used to verify the registry's certificate"),
    Option("registry_validate_certs", "connection", None, (),
           "Verify the registry's certificate"),
    Option("uses_from", "run", "FILE", (),
           "Further clusters that pull from this registry: what they use is kept"),
    Option("registry_hosts", "run", "LIST", (),
           "Further hosts by which the clusters of uses_from name this registry"),
    Option("keep_used_within", "run", "AGE", (),
           "Keep images that ran within this time, by usage_history"),
    Option("usage_history", "run", "JSON", (),
           "Prometheus that knows which images ran, for keep_used_within"),
    Option("extra_referrers", "run", "LIST", (),
           "Further kinds whose images are in use: presets, or resources with the dotted paths of their images"),
    Option("approved_plan", "run", "PATH", (),
           "Reviewed plan: prune only what it names, unless it came into use since"),
    Option("approved_digest", "run", "DIGEST", (),
           "SHA-256 digest of the file of approved_plan; a file with another digest is refused"),
    Option("require_approval", "run", None, (),
           "Refuse an up that nobody reviewed"),
    Option("as_of", "run", "TIME", (),
           "Time that ages are measured against, to reproduce a plan"),
    Option("max_deletions", "run", "N|N%", (),
           "Refuse a plan that deletes more images, revisions and image streams than this"),
    Option("allow_empty_cluster", "run", None, (),
           "Prune although no workloads or no image streams are visible, which usually means missing permissions"),
    Option("restart_registry", "run", None, (),
           "Restart OpenShift's registry after blobs were deleted if it has several replicas, since each caches what"
           " there is"),
    Option("workers", "run", "N", (),
           "Number of concurrent requests"),
    Option("report", "run", "PATH", (),
           "File to write the plan and the result to, as JSON Lines"),
)
# end of what is generated
# fmt: on
