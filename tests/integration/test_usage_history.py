"""What ran within a time, asked of a real Prometheus whose history was written down (R39)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pruner.analysis import find_usage
from pruner.apply import apply_plan
from pruner.cluster.session import session
from pruner.cluster.usage_history import used_before
from pruner.errors import ClusterError
from pruner.planning import make_plan
from pruner.settings import read
from tests.builders.objects import HOST, digest, rules, snapshot
from tests.conftest import StartSandbox
from tests.integration.authorities import Authority
from tests.integration.prometheus import INIT_INFO, Ran, running_prometheus
from tests.pruning import broken_images, settings_for
from tests.servers import RunningSandbox

NOW = datetime.now(UTC).replace(microsecond=0)
FORMS = {
    "CRI-O": "{host}/shop/web@{digest}",
    "dockershim": "docker-pullable://{host}/shop/web@{digest}",
    "containerd": "containerd://{digest}",
    "config of containerd": "{digest}",
    "config of Docker": "docker://{digest}",
    "config without an algorithm": "{hex}",
    "another registry": "quay.io/example/web@{digest}",
}
"""Image IDs as kubelets have written them."""


def form(name: str) -> str:
    whole = digest(name)
    return FORMS[name].format(host=HOST, digest=whole, hex=whole.partition(":")[2])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """40 days of history."""
    containers = [
        *(Ran(form(name), f"{HOST}/shop/web:latest", last=20) for name in FORMS),
        Ran(f"{HOST}/shop/init@{digest('init')}", metric=INIT_INFO, last=20),
        Ran(f"{HOST}/shop/old@{digest('old')}", last=35),
        Ran("", f"{HOST}/shop/never:started", last=20),
        Ran("", "not a ! pull spec", last=20),
    ]
    with running_prometheus(tmp_path_factory.mktemp("prometheus") / "history", containers, NOW) as url:
        yield url


async def asked(url: str, days: float, **history: Any) -> Any:
    settings = read(
        {
            "host": "http://127.0.0.1:1",
            "api_key": "own-token",
            "keep_used_within": int(days * 1440),
            "usage_history": {"url": url, **history},
        }
    )
    assert settings.usage_history is not None
    assert settings.keep_used_within is not None
    async with session(settings) as api:
        return await used_before(settings.usage_history, settings.keep_used_within, api.connection, NOW)


async def used(url: str, days: float, **history: Any) -> set[str]:
    """The digests that are in use by the history."""
    usage = find_usage(snapshot(await asked(url, days, **history)), rules())
    assert usage.warnings == ()
    assert {user for users in usage.anywhere.values() for user in users} <= {f"UsageHistory of {days}d"}
    return set(usage.anywhere)


async def test_R39_what_ran_within_the_window_is_in_use_whatever_form_its_id_has(prometheus: str) -> None:
    found = await used(prometheus, 30)
    assert found == {*(digest(name) for name in FORMS), digest("init")}


async def test_R39_what_ran_before_the_window_is_not(prometheus: str) -> None:
    assert digest("old") in await used(prometheus, 38)
    assert digest("old") not in await used(prometheus, 30)
    with pytest.raises(ClusterError, match="has no kube_pod_container_info of the last 10d"):
        await used(prometheus, 10)


async def test_R39_the_tag_of_a_container_that_never_started_is_in_use(prometheus: str) -> None:
    usage = find_usage(snapshot(await asked(prometheus, 30)), rules())
    assert ("shop/never", "started") in usage.tags


async def test_R39_a_history_that_is_shorter_than_the_window_is_an_error(prometheus: str) -> None:
    with pytest.raises(ClusterError) as raised:
        await used(prometheus, 60)
    assert str(raised.value) == (
        f"usage_history: {prometheus}: its history does not go back 60d; shorten keep_used_within, or set "
        "partial_history"
    )
    assert digest("old") in await used(prometheus, 60, partial_history=True)


async def test_R39_an_empty_history_is_an_error(tmp_path: Path) -> None:
    with (
        running_prometheus(tmp_path / "empty", [], NOW) as url,
        pytest.raises(ClusterError, match="has no kube_pod_container_info of the last 30d, so what ran is not known"),
    ):
        await used(url, 30, partial_history=True)


async def test_R39_a_query_that_fails_is_an_error_with_the_words_of_prometheus(tmp_path: Path) -> None:
    containers = [Ran(f"{HOST}/shop/web@{digest('web')}")]
    with (
        running_prometheus(tmp_path / "small", containers, NOW, "--query.max-samples=5") as url,
        pytest.raises(ClusterError, match=r"the query failed .*too many samples"),
    ):
        await used(url, 30)


async def test_R39_a_certificate_is_verified_by_ca_cert(tmp_path: Path, authority: Authority) -> None:
    containers = [Ran(f"{HOST}/shop/web@{digest('web')}")]
    with running_prometheus(tmp_path / "tls", containers, NOW, pair=authority.server()) as url:
        assert await used(url, 30, ca_cert=str(authority.ca)) == {digest("web")}
        assert await used(url, 30, ca_cert=authority.ca.read_text()) == {digest("web")}
        with pytest.raises(ClusterError, match=r"not trusted .* give the CA that signed it as usage_history.ca_cert"):
            await used(url, 30)


async def test_R39_a_run_keeps_what_ran_lately_and_prunes_it_later(sandbox_with: StartSandbox, tmp_path: Path) -> None:
    sandbox = sandbox_with()
    lately, before = await filled(sandbox)
    containers = [
        Ran(f"{sandbox.registry_host}/shop/app@{lately}", last=20),
        Ran(f"{sandbox.registry_host}/shop/app@{before}", last=35),
    ]
    with running_prometheus(tmp_path / "history", containers, NOW) as url:
        given = settings_for(sandbox, keep_tag_revisions=1, keep_used_within="30d", usage_history={"url": url})
        async with session(given) as api:
            analysis = await make_plan(api, given)
            assert [image.name for image in analysis.plan.images] == [before]
            result = await apply_plan(api, analysis.plan, given)
        assert result.failures == []
        assert before not in sandbox.images()
        assert lately in sandbox.images()
        assert broken_images(sandbox) == []
    sandbox.forget_requests()
    async with session(given) as api:
        with pytest.raises(ClusterError, match=f"usage_history: {url}: cannot connect"):
            await make_plan(api, given)
        with pytest.raises(ClusterError, match=f"usage_history: {url}: cannot connect"):
            await apply_plan(api, analysis.plan, given)
    changes = [it for it in sandbox.requests() if it["method"] in ("PUT", "DELETE") and "lease" not in it["path"]]
    assert changes == []


async def filled(sandbox: RunningSandbox) -> tuple[str, str]:
    """A tag with three revisions, of which a workload uses the current one; the other two."""
    async with sandbox.builder() as cluster:
        before = await cluster.push("shop/app:live", layers=[b"base", b"one"], age_days=60)
        lately = await cluster.push("shop/app:live", layers=[b"base", b"two"], age_days=30)
        await cluster.push("shop/app:live", layers=[b"base", b"three"], age_days=10)
        await cluster.deployment("shop/app", cluster.pull_spec("shop/app:live"))
    return lately, before


def test_the_window_is_what_is_written() -> None:
    assert read({"keep_used_within": "30d", "usage_history": {"url": "http://a"}}).keep_used_within == timedelta(30)
