"""
What the API says about itself: its version, its groups and their resources. A client that finds a group missing here
may take it that there are no objects of it.
"""

from sandbox.kinds import Catalogue, Resource
from sandbox.status import Json

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


def document(catalogue: Catalogue, path: str) -> Json | None:
    """The discovery document at a path, None when there is none."""
    parts = path.strip("/").split("/")
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
