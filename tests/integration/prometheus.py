"""Debian's Prometheus on loopback, with whatever history a test writes down: nothing is scraped."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import yaml

from tests.integration.authorities import Pair
from tests.integration.processes import answers, free_port, program, started

INFO, INIT_INFO = "kube_pod_container_info", "kube_pod_init_container_info"


class Ran(msgspec.Struct, frozen=True):
    """A container that ran from so many days ago until so many days ago, as kube-state-metrics tells of it."""

    image_id: str
    image_spec: str = ""
    first: float = 40.0
    last: float = 0.2
    metric: str = INFO


def written(containers: Iterable[Ran], now: datetime) -> str:
    """OpenMetrics text: a sample every six hours."""
    lines: dict[str, list[str]] = {INFO: [], INIT_INFO: []}
    for number, each in enumerate(containers):
        pod = f'namespace="shop",pod="p{number}",container="c{number}"'
        labels = f'{pod},image_id="{each.image_id}",image_spec="{each.image_spec}"'
        ages = (each.first - step / 4 for step in range(int((each.first - each.last) * 4) + 1))
        lines[each.metric] += [
            f"{each.metric}{{{labels}}} 1 {(now - timedelta(days=age)).timestamp():.0f}" for age in ages
        ]
    parts = [f"# TYPE {name} gauge\n" + "\n".join(samples) + "\n" for name, samples in lines.items() if samples]
    return "".join(parts) + "# EOF\n"


@contextmanager
def running_prometheus(
    folder: Path, containers: Iterable[Ran], now: datetime, *arguments: str, pair: Pair | None = None
) -> Iterator[str]:
    """The URL of a Prometheus with this history."""
    prometheus, promtool = program("prometheus", "prometheus"), program("promtool", "prometheus")
    folder.mkdir(parents=True)
    data, text, log = folder / "data", folder / "history.txt", folder / "log"
    found = list(containers)
    text.write_text(written(found, now))
    if found:
        subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", text, data], check=True, capture_output=True
        )
    config, web = folder / "prometheus.yml", folder / "web.yml"
    config.write_text("global: {}\n")
    tls = {} if pair is None else {"tls_server_config": {"cert_file": str(pair.certificate), "key_file": str(pair.key)}}
    web.write_text(yaml.safe_dump(tls))
    url = f"{'http' if pair is None else 'https'}://127.0.0.1:{free_port()}"
    command = [
        prometheus,
        f"--config.file={config}",
        f"--web.config.file={web}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address={url.partition('://')[2]}",
        *arguments,
    ]
    with started(command, log, lambda: answers(f"{url}/-/ready")):
        yield url
