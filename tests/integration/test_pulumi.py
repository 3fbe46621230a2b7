"""The main job with nothing made up but image.openshift.io: the real CLI, a real kube-apiserver, a real registry."""

import asyncio
import json
from pathlib import Path

from tests.integration.docker_registry import DockerRegistry
from tests.integration.kubernetes_api import Kubernetes
from tests.integration.test_docker_registry import tagged
from tests.pulumi_project import Project


def test_preview_and_up_prune_a_real_cluster_and_a_real_registry(
    kubernetes: Kubernetes, registry: DockerRegistry, project: Project, tmp_path: Path
) -> None:
    kubernetes.empty("shop")
    kubernetes.namespace("shop")
    used = registry.push("shop/cli", "base", "used by a deployment", tag="live")
    unused = registry.push("shop/cli-old", "base", "used by nothing", tag="one")

    async def fill() -> None:
        async with kubernetes.sandbox.builder() as builder:
            await tagged(builder, registry, used, tag="live", age_days=30)
            await tagged(builder, registry, unused, tag="one", age_days=30)

    asyncio.run(fill())
    template = {
        "metadata": {"labels": {"app": "cli"}},
        "spec": {"containers": [{"name": "main", "image": f"{registry.host}/shop/cli:live"}]},
    }
    spec = {"selector": {"matchLabels": {"app": "cli"}}, "template": template}
    kubernetes.put("/apis/apps/v1/namespaces/shop/deployments", {"metadata": {"name": "cli"}, "spec": spec})
    project.configure(
        host=kubernetes.url,
        ca_cert=kubernetes.ca,
        api_key=kubernetes.tokens["pruner"],
        registry_url=registry.url,
        keep_tag_revisions="0",
    )

    preview = json.loads(project.succeed("preview", "--json", "--save-plan", "plan.json"))
    plan = next(step["newState"]["inputs"]["plan"] for step in preview["steps"] if step["urn"].endswith("::pruned"))
    assert list(plan["images"]) == [unused.digest]
    assert registry.has_manifest("shop/cli-old", unused.digest)

    project.succeed("up", "--yes", "--skip-preview", "--plan", "plan.json")
    assert [image["metadata"]["name"] for image in project.outputs()["deleted_images"]] == [unused.digest]
    assert set(kubernetes.sandbox.images()) == {used.digest}
    assert not registry.has_manifest("shop/cli-old", unused.digest)
    assert registry.pull("shop/cli", used.digest, tmp_path / "pulled")
    assert "2 unchanged" in project.succeed("preview", "--expect-no-changes")
