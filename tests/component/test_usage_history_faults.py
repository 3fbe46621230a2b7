"""A usage history that does not answer, or not with one: the
run ends before any change, and says which server it is (R39).
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pruner.cli import main
from pruner.cluster.session import session
from pruner.cluster.usage_history import query_of
from pruner.errors import ClusterError
from pruner.planning import make_plan
from tests.component.small_servers import served
from tests.pruning import settings_for
from tests.servers import RunningSandbox


def metric(**labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1, "1"]}


RAN = metric(image_id="quay.io/a/b@sha256:" + "1" * 64, image_spec="quay.io/a/b:1")
BEGINS = metric(pruner_begins="yes")


def vector(*result: dict[str, Any], **more: Any) -> Response:
    return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": result}, **more})


def prometheus(answer: Response, asked: list[Request] | None = None) -> Starlette:
    async def query(request: Request) -> Response:
        if asked is not None:
            asked.append(request)
        return answer

    return Starlette(routes=[Route("/api/v1/query", query)])


def plan(sandbox: RunningSandbox, **history: Any) -> None:
    given = settings_for(sandbox, keep_used_within="30d", usage_history=history)

    async def made() -> None:
        async with session(given) as api:
            await make_plan(api, given)

    asyncio.run(made())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            PlainTextResponse("no", 401),
            "the credentials may not query it (401); grant the ClusterRole cluster-monitoring-view, or give a token",
        ),
        (
            PlainTextResponse("no", 403),
            "the credentials may not query it (403); grant the ClusterRole cluster-monitoring-view, or give a token",
        ),
        (
            PlainTextResponse("<html>", 200),
            "the answer is not one of Prometheus (STATUS); give the address that comes before /api/v1/query as url",
        ),
        (
            JSONResponse({"status": "success", "data": {"resultType": "matrix", "result": []}}),
            "the answer is not one of Prometheus (STATUS); give the address that comes before /api/v1/query as url",
        ),
        (
            JSONResponse({"status": "error", "errorType": "timeout", "error": "query timed out"}, 422),
            (
                "the query failed (timeout: query timed out); shorten keep_used_within, or ask whoever runs this "
                "Prometheus"
            ),
        ),
        (
            vector(),
            "has no kube_pod_container_info of the last 30d, so what ran is not known; check that it scrapes "
            "kube-state-metrics, or leave out keep_used_within",
        ),
        (vector(RAN), "its history does not go back 30d; shorten keep_used_within, or set partial_history"),
        (vector(RAN, BEGINS, warnings=["store down"]),
         "the answer is not complete (store down); try again, or set partial_history"),
    ],
)  # fmt: skip
def test_R39_an_answer_that_is_none_ends_the_run(empty_sandbox: RunningSandbox, answer: Response, message: str) -> None:
    with served(prometheus(answer)) as url, pytest.raises(ClusterError) as raised:
        plan(empty_sandbox, url=url)
    said = re.sub(r"\(status [^)]*\)", "(STATUS)", str(raised.value))
    assert said == f"usage_history: {url}: {message}"


def test_R39_nobody_listening_is_said_with_the_address(empty_sandbox: RunningSandbox) -> None:
    with pytest.raises(ClusterError, match=r"^usage_history: http://127.0.0.1:9: cannot connect"):
        plan(empty_sandbox, url="http://127.0.0.1:9")


def test_R39_a_partial_history_is_used_as_far_as_it_goes(empty_sandbox: RunningSandbox) -> None:
    with served(prometheus(vector(RAN, warnings=["store down"]))) as url:
        plan(empty_sandbox, url=url, partial_history=True)


@pytest.mark.parametrize("given", [{}, {"token": "another"}])
def test_R39_one_query_that_aggregates_has_the_token_given_or_that_of_the_cluster(
    empty_sandbox: RunningSandbox, given: dict[str, str]
) -> None:
    """However many images ran: Prometheus answers with one line for each, whatever series there are."""
    ran = (metric(image_id=f"quay.io/a/b@sha256:{number:064x}", image_spec="quay.io/a/b:1") for number in range(5000))
    asked: list[Request] = []
    with served(prometheus(vector(*ran, BEGINS), asked)) as url:
        plan(empty_sandbox, url=url, **given)
    (request,) = asked
    expected = given.get("token", empty_sandbox.tokens["admin"])
    assert request.headers["Authorization"] == f"Bearer {expected}"
    assert request.query_params["query"] == query_of(timedelta(days=30), partial=False)
    assert request.query_params["query"].count("group by (image_id, image_spec)") == 2


def test_doctor_says_that_the_history_cannot_be_used(empty_sandbox: RunningSandbox) -> None:
    history = json.dumps({"url": "http://127.0.0.1:9"})
    environment = {"K8S_AUTH_HOST": empty_sandbox.api_url, "K8S_AUTH_API_KEY": empty_sandbox.tokens["admin"]}
    options = ["--no-prune-registry", "--keep-used-within", "30d", "--usage-history", history]
    result = CliRunner().invoke(main, ["doctor", *options], env=environment)
    assert result.exit_code == 1
    assert "usage_history: http://127.0.0.1:9: cannot connect" in result.stdout
