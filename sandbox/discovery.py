"""
What the API says about itself: its version, its groups and their resources. A client that finds a group missing here
may take it that there are no objects of it. Whoever asks for it gets all of it in one document (aggregated discovery);
a sandbox can also be one from before that, and groups can be out of reach, as those of an aggregated server that is
down.
"""

import msgspec
from starlette.responses import Response

from sandbox import status
from sandbox.kinds import Catalogue, Resource
from sandbox.status import Json, json_response

VERSION: Json = {
    "major": "1",
    "minor": "31",
    "gitVersion": "v1.31.0-sandbox",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2025-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


AGGREGATED_VERSIONS = ("v2", "v2beta1")


class Situation(msgspec.Struct, forbid_unknown_fields=True):
    """
    How discovery is: `aggregated` or only in the old form; and which groups are `stale`: listed, but the server that
    has them is down, so that nobody knows their resources and requests for them are answered with 503.
    """

    aggregated: bool = True
    stale: tuple[str, ...] = ()


def answer(catalogue: Catalogue, situation: Situation, path: str, accept: str) -> Response | None:
    """The response to a GET of a discovery document, None when there is none at the path.

    StatusError 503 of a stale group.
    """
    parts = path.strip("/").split("/")
    version = _wanted_version(accept) if situation.aggregated and len(parts) == 1 else None
    if version is not None and parts[0] in ("api", "apis"):
        kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        found = _aggregated(catalogue, situation, version, core=parts[0] == "api")
        return Response(msgspec.json.encode(found), headers={"Vary": "Accept"}, media_type=kind)
    if parts[0] == "apis" and len(parts) == 3 and parts[1] in situation.stale:
        raise status.unavailable()
    document = _document(catalogue, parts)
    return None if document is None else json_response(document)


def _wanted_version(accept: str) -> str | None:
    """The version of the aggregated form that an Accept header prefers to the old one, None when it wants none."""
    for choice in accept.split(","):
        parameters = dict(part.strip().partition("=")[::2] for part in choice.split(";")[1:])
        if parameters.get("g") == "apidiscovery.k8s.io" and parameters.get("as") == "APIGroupDiscoveryList":
            version = parameters.get("v")
            if version in AGGREGATED_VERSIONS:
                return version
        elif choice.strip() in ("application/json", "*/*"):
            return None
    return None


def _aggregated(catalogue: Catalogue, situation: Situation, version: str, *, core: bool) -> Json:
    groups = {"": ["v1"]} if core else catalogue.groups()
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": listed,
        }
        for name, versions in groups.items()
        if (listed := [_aggregated_version(catalogue, situation, name, each) for each in versions])
    ]
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}}
    return {**head, "items": items}


def _aggregated_version(catalogue: Catalogue, situation: Situation, group: str, version: str) -> Json:
    if group in situation.stale:
        return {"version": version, "freshness": "Stale"}
    served = [_aggregated_entry(it) for it in catalogue if (it.group, it.version) == (group, version)]
    return {"version": version, "resources": served, "freshness": "Current"}


def _aggregated_entry(resource: Resource) -> Json:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    part = {"subresource": "status", "responseKind": kind, "verbs": ["get", "patch", "update"]}
    return {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.kind.lower(),
        "verbs": list(resource.verbs),
        **({"subresources": [part]} if resource.has_status else {}),
    }


def _document(catalogue: Catalogue, parts: list[str]) -> Json | None:
    """The document in the old form, None when there is none."""
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["api", "v1"]:
        return _resources(catalogue, "", "v1")
    if parts[0] != "apis" or len(parts) > 3:
        return None
    groups = catalogue.groups()
    if len(parts) == 1:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*item) for item in groups.items()]}
    versions = groups.get(parts[1], [])
    if len(parts) == 2 and versions:
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], versions)}
    return _resources(catalogue, parts[1], parts[2]) if len(parts) == 3 and parts[2] in versions else None


def _group(name: str, versions: list[str]) -> Json:
    named = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": named, "preferredVersion": named[0]}


def _resources(catalogue: Catalogue, group: str, version: str) -> Json:
    served = [resource for resource in catalogue if (resource.group, resource.version) == (group, version)]
    listed = [entry for resource in served for entry in _entries(resource)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _entries(resource: Resource) -> list[Json]:
    entry = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    status = {**entry, "name": f"{resource.plural}/status", "singularName": "", "verbs": ["get", "patch", "update"]}
    return [entry, status] if resource.has_status else [entry]
