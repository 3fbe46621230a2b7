"""What ran in the past, of a Prometheus that scrapes kube-state-metrics (R39): one query, with a line for each image.

The history counts only where it is known to be whole: an answer with warnings, without any container, or of a history
that begins after the window does, ends the run.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.tls import CertificateError, tls_context
from pruner.cluster.workloads import ExtraReference, Referrer, Workload, WorkloadMeta
from pruner.errors import ClusterError, Problem, SettingsError
from pruner.http.bounds import MAX_LIST_BODY
from pruner.http.client import HTTPClient, Timeouts, json_headers
from pruner.http.failures import TransportError
from pruner.http.response import UNDECODABLE, Response
from pruner.http.urls import query
from pruner.settings import UsageHistory, minutes_of
from pruner.settings.files import named

KIND: Final = "UsageHistory"
"""The kind of the workload that stands for all that ran."""
METRICS: Final = ("kube_pod_container_info", "kube_pod_init_container_info")
SECONDS: Final = 120
"""What Prometheus may take for the query, which is its own default."""
SLACK: Final = timedelta(hours=2)
"""How much later than the window a history may begin, of which Prometheus writes two hours at a time."""
_BEGINS: Final = "pruner_begins"
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}")


class _Sample(msgspec.Struct, frozen=True):
    metric: dict[str, str]


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str = ""
    result: list[_Sample] = []


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    status: str = ""
    data: _Data = _Data()
    error: str = ""
    error_type: str = ""
    warnings: list[str] = []


async def used_before(
    history: UsageHistory, within: timedelta, connection: Connection, now: datetime, *, timeouts: Timeouts | None = None
) -> Referrer:
    """What ran within this time before `now`, as one workload that refers to all of it.

    Raises ClusterError where that is not known.
    """
    try:
        tls = tls_context(history.ca_cert, validates=True) if history.url.startswith("https://") else None
    except CertificateError as error:
        raise SettingsError([Problem("usage_history", f"ca_cert {named(history.ca_cert or '')}: {error}")]) from None
    given = timeouts or Timeouts()
    patient = msgspec.structs.replace(given, read=max(given.read, SECONDS + 10.0)) if timeouts is None else given
    authorization = f"Bearer {history.token}" if history.token is not None else await connection.authorization()
    asked = query_of(within, partial=history.partial_history)
    url = f"{history.url}/api/v1/query" + query(
        {"query": asked, "time": int(now.timestamp()), "timeout": f"{SECONDS}s", "partial_response": "false"}
    )
    async with HTTPClient(
        lambda: tls, proxy=connection.proxy, trust="usage_history.ca_cert", timeouts=patient, max_body=MAX_LIST_BODY
    ) as http:
        try:
            response = await http.request("GET", url, headers=json_headers(authorization))
        except TransportError as error:
            raise ClusterError(f"usage_history: {error}") from None
    return _referrer(_samples(history, within, response), within)


def query_of(within: timedelta, *, partial: bool) -> str:
    """The query: every image once, and whether the history reaches back to the beginning of the window."""
    window = _promql(within)
    images = " or ".join(f"group by (image_id, image_spec) (last_over_time({metric}[{window}]))" for metric in METRICS)
    if partial:
        return images
    slack = min(SLACK, within / 2)
    earlier = f"last_over_time({METRICS[0]}[{_promql(timedelta(days=1) + slack)}] offset {_promql(within - slack)})"
    return f'{images} or label_replace(group({earlier}), "{_BEGINS}", "yes", "", "")'


def _promql(span: timedelta) -> str:
    return f"{math.ceil(span.total_seconds())}s"


def _samples(history: UsageHistory, within: timedelta, response: Response) -> list[dict[str, str]]:
    """The labels of the answer. Raises ClusterError for everything that is not a whole answer."""
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except UNDECODABLE:
        answer = _Answer()
    where = f"usage_history: {history.url}"
    if response.status in (401, 403):
        raise ClusterError(
            f"{where}: the credentials may not query it ({response.status}); grant the ClusterRole "
            "cluster-monitoring-view, or give a token"
        )
    if answer.status == "error":
        raise ClusterError(
            f"{where}: the query failed ({answer.error_type or response.status}: {answer.error}); "
            "shorten keep_used_within, or ask whoever runs this Prometheus"
        )
    if response.status != 200 or answer.status != "success" or answer.data.result_type != "vector":
        raise ClusterError(
            f"{where}: the answer is not one of Prometheus ({response.describe()}); give the address that comes before "
            "/api/v1/query as url"
        )
    if answer.warnings and not history.partial_history:
        raise ClusterError(
            f"{where}: the answer is not complete ({answer.warnings[0]}); try again, or set partial_history"
        )
    samples = [sample.metric for sample in answer.data.result]
    found = [labels for labels in samples if labels.get("image_id") or labels.get("image_spec")]
    if not found:
        raise ClusterError(
            f"{where}: has no {METRICS[0]} of the last {written(within)}, so what ran is not known; "
            "check that it scrapes kube-state-metrics, or leave out keep_used_within"
        )
    if not history.partial_history and not any(_BEGINS in labels for labels in samples):
        raise ClusterError(
            f"{where}: its history does not go back {written(within)}; shorten keep_used_within, or set partial_history"
        )
    return found


def _referrer(samples: list[dict[str, str]], within: timedelta) -> Referrer:
    """One workload for all: what the cluster makes of the texts is decided where those of pods are (R7, R11)."""
    texts = {
        _normal(labels[name]): name for name in ("image_spec", "image_id") for labels in samples if labels.get(name)
    }
    references = tuple(ExtraReference(name, text, "value") for text, name in sorted(texts.items()))
    return Referrer(KIND, Workload(WorkloadMeta(name=f"of {written(within)}")), references)


def _normal(text: str) -> str:
    """The image ID as kubelets write it, with its algorithm where it is the digest of a config alone."""
    transport, _, rest = text.strip().rpartition("://")
    digest = rest if transport in ("", "docker", "docker-pullable", "containerd", "cri-o") else ""
    return f"sha256:{digest}" if _HEXADECIMAL.fullmatch(digest) else text.strip()


def written(within: timedelta) -> str:
    """As a setting writes it."""
    minutes = minutes_of(within)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"
