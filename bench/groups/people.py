"""What people type and wait for, each beside the least that anything of its kind takes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bench.groups import Json, Run, Target
from bench.processes import PRUNER, PYTHON, best_of, say, served, timed, watched
from bench.tables import mib, table
from pruner.cli.entry import VERBS
from pruner.planning import read_plan
from tests.pulumi_project import Project
from tests.servers import RunningSandbox, copied, populated_folder, running_sandbox

ORDER: Final = 10
TITLE: Final = "What people do"

IMAGES: Final = 100_000
QUICK: Final = 1000
TIMES: Final = 3
HELP_TIMES: Final = 7
EMPTY: Final = "import pulumi\n\npulumi.export('summary', 1)\n"
"""A program with no resource: what Pulumi takes by itself."""
NOTHING: Final = """
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Nothing(ResourceProvider):
    def create(self, props):
        return CreateResult("1", {})


class DoesNothing(Resource):
    pass


DoesNothing(Nothing(), "nothing", {})
"""
"""A program with one dynamic resource that does nothing."""
FLEET: Final = 10
PULUMI: Final = ("pulumi", "--non-interactive")
UP: Final = (*PULUMI, "up", "--yes", "--suppress-outputs")


def measure(run: Run) -> Json:
    found: Json = {"help": _help(1 if run.quick else HELP_TIMES)}
    say(f"  help: {found['help']}")
    if run.pulumi:
        demo = populated_folder(run.folder / "demo")
        found["small"] = _small(run.folder / "small", demo, 1 if run.quick else TIMES)
        say(f"  small: {found['small']}")
        found["fleet"] = _fleet(run.folder / "fleet", demo)
        say(f"  fleet: {found['fleet']}")
    found["large"] = _large(run, QUICK if run.quick else IMAGES)
    say(f"  large: {found['large']}")
    return found


# --- help -------------------------------------------------------------------------------------------------------------


def _help(times: int) -> Json:
    """Help of every verb, beside an interpreter that imports click. They take turns, so the ratios are of one time."""
    commands = {"click": [PYTHON, "-c", "import click"], "": [*PRUNER, "--help"]}
    commands |= {verb: [*PRUNER, verb, "--help"] for verb in VERBS}
    return best_of({name: partial(timed, command) for name, command in commands.items()}, times)


def _slowest_help(found: Json) -> str:
    verbs: dict[str, float] = {
        verb: float(took["wall"]) for verb, took in found["help"].items() if verb not in ("click", "")
    }
    return max(verbs, key=verbs.__getitem__)


# --- the demo cluster -------------------------------------------------------------------------------------------------


def _small(folder: Path, demo: Path, times: int) -> Json:
    """Previews and an up of the demo cluster, beside those of an empty program and of a resource that does nothing."""
    floors = {name: Project.make(folder / name, program) for name, program in (("empty", EMPTY), ("nothing", NOTHING))}
    with running_sandbox(copied(demo, folder / "sandbox")) as sandbox:
        project = _project(folder / "project", sandbox)
        projects = {**floors, "demo": project}
        previews = {name: partial(_pulumi, of, *PULUMI, "preview") for name, of in projects.items()}
        found: Json = {"preview": best_of(previews, times)}
        found["up"] = {name: _pulumi(of, *UP) for name, of in projects.items()}
        found["second"] = best_of(previews, times)
        command = [*PRUNER, "plan", "--kubeconfig", str(sandbox.kubeconfig), "--output", str(folder / "plan.txt")]
        found["plan"] = best_of({"plan": lambda: timed(command)}, times)["plan"]
    return found


def _project(folder: Path, sandbox: RunningSandbox) -> Project:
    project = Project.make(folder)
    project.configure(host=sandbox.api_url, api_key=sandbox.tokens["admin"])
    return project


def _pulumi(project: Project, *command: str) -> Json:
    return watched([*command], cwd=project.folder, env=project.environment)


def _fleet(folder: Path, demo: Path) -> Json:
    """A preview of a fleet, whose clusters are one sandbox; beside as many empty programs, one after the other."""
    folder.mkdir()
    with running_sandbox(copied(demo, folder / "sandbox")) as sandbox:
        clusters = []
        for number in range(FLEET):
            # Clusters with one kubeconfig would be refused as being the same one.
            kubeconfig = folder / f"kubeconfig-{number}"
            shutil.copy(sandbox.kubeconfig, kubeconfig)
            clusters.append({"name": f"cluster-{number}", "settings": {"kubeconfig": str(kubeconfig)}})
        (folder / "fleet.yaml").write_text(json.dumps({"clusters": clusters}), encoding="utf-8")
        empty = Project.make(folder / "empty", EMPTY)
        command = [*PRUNER, "fleet", "preview", "--file", str(folder / "fleet.yaml")]
        environment = {**empty.environment, "PULUMI_CONFIG_PASSPHRASE": "bench"}
        return {
            "fleet": watched(command, cwd=folder, env=environment),
            "empty": _pulumi(empty, *PULUMI, "preview"),
        }


# --- a large cluster --------------------------------------------------------------------------------------------------


def _large(run: Run, images: int) -> Json:
    """A preview, a plan file, and what is made of it."""
    folder = run.folder / "large"
    folder.mkdir()
    found: Json = {"images": images}
    with served(images) as server:
        to = ["--host", server["url"], "--no-prune-registry"]
        plan = folder / "plan.jsonl"
        environment = {"K8S_AUTH_API_KEY": "bench", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(_root())}
        found["plan"] = timed([*PRUNER, "plan", *to, "--out", str(plan), "--output", "/dev/null"], env=environment)
        tag = "team-0000/app-00000:v0"
        found["explain"] = timed([*PRUNER, "explain", *to, tag], env=environment)
        found["storage"] = timed([*PRUNER, "storage", *to, "--output", "/dev/null"], env=environment)
        if run.pulumi:
            project = Project.make(folder / "project")
            project.configure(host=server["url"], api_key="bench", prune_registry="false")
            found["empty"] = _pulumi(Project.make(folder / "empty", EMPTY), *PULUMI, "preview")
            saved = folder / "saved.json"
            found["preview"] = _pulumi(project, *PULUMI, "preview", "--save-plan", str(saved))
            found["preview"]["saved"] = saved.stat().st_size
            found["up"] = _pulumi(project, *UP, "--skip-preview")
            found["up"]["state"] = sum(path.stat().st_size for path in (project.folder / "state").rglob("test.json"))
    found["deletions"] = read_plan(str(plan)).deletions
    found["file"] = plan.stat().st_size
    pages = {form: folder / f"report.{form}" for form in ("text", "html")}
    reports = {
        form: partial(timed, [*PRUNER, "report", str(plan), "--format", form, "--output", str(path)])
        for form, path in pages.items()
    }
    reports["explain"] = partial(timed, [*PRUNER, "explain", tag, "--plan", str(plan)])
    found["report"] = best_of(reports, 1 if run.quick else TIMES)
    found["page"] = pages["html"].stat().st_size
    found["opens"], found["searchable"] = _opened(pages["html"])
    return found


def _root() -> Path:
    return Path(__file__).resolve().parent.parent.parent


def _opened(page: Path) -> tuple[float | None, float | None]:
    """Seconds that a browser takes until the page shows its list of images, and until all of it can be searched.

    None without a browser.
    """
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        return None, None
    from selenium import webdriver  # noqa: PLC0415 - where there is a browser
    from selenium.webdriver.chrome.options import Options  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = Options()
    options.binary_location = str(programs[0])
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(str(programs[1])))
    try:
        browser.get("about:blank")
        times: dict[str, list[float]] = {"shown": [], "ready": []}
        for _ in range(TIMES):
            began = time.perf_counter()
            browser.get(page.as_uri())
            for state, took in times.items():
                while not browser.execute_script(f"return document.documentElement.dataset.{state}"):
                    pass
                took.append(time.perf_counter() - began)
        return min(times["shown"]), min(times["ready"])
    finally:
        browser.quit()


# --- what is shown ----------------------------------------------------------------------------------------------------


def section(found: Json) -> list[str]:
    return [
        "From the start of the process to its end. The memory of Pulumi's commands is that of all processes together. "
        f"*Empty program*: a Pulumi program without resources. The large cluster has {found['large']['images']:,} "
        "images, and stands on the unpaced server.",
        table(
            ("what", "s", "MiB", "floor", "floor s"),
            [*_help_rows(found), *_small_rows(found), *_large_rows(found["large"])],
        ),
    ]


Row = tuple[str, str, str, str, str]


def _row(what: str, took: Json, floor: str = "", least: Json | None = None) -> Row:
    return what, f"{took['wall']:.2f}", mib(took), floor, "" if least is None else f"{least['wall']:.2f}"


def _help_rows(found: Json) -> Iterator[Row]:
    click = found["help"]["click"]
    slowest = _slowest_help(found)
    yield _row("`pruner --help`", found["help"][""], '`python -c "import click"`', click)
    yield _row(
        f"`pruner {slowest} --help`, the slowest verb", found["help"][slowest], '`python -c "import click"`', click
    )


def _small_rows(found: Json) -> Iterator[Row]:
    if "small" not in found:
        return
    small, fleet = found["small"], found["fleet"]
    yield _row("`pruner plan` of the demo cluster", small["plan"])
    for name, what in (
        ("preview", "first `pulumi preview` of the demo cluster"),
        ("up", "`pulumi up` of the demo cluster, with its preview"),
        ("second", "second `pulumi preview`, when nothing is left"),
    ):
        yield _row(what, small[name]["demo"], "empty program", small[name]["empty"])
        yield _row(
            "the same of a resource that does nothing", small[name]["nothing"], "empty program", small[name]["empty"]
        )
    yield _row(
        f"`pruner fleet preview` of {FLEET} such clusters, 4 at once",
        fleet["fleet"],
        f"{FLEET} previews of an empty program, one after the other",
        {"wall": FLEET * fleet["empty"]["wall"]},
    )


def _large_rows(large: Json) -> Iterator[Row]:
    plan = large["plan"]
    yield _row("`pruner plan --out` of the large cluster", plan)
    yield _row("`pruner explain` of one of its tags", large["explain"], "`pruner plan`", plan)
    yield _row("`pruner storage` of it", large["storage"], "`pruner plan`", plan)
    if "preview" in large:
        yield _row("`pulumi preview --save-plan` of it", large["preview"], "empty program", large["empty"])
        yield _row(
            "`pulumi up --skip-preview` of it, where deletions cost nothing",
            large["up"],
            "empty program",
            large["empty"],
        )
    yield _row("`pruner explain --plan` of one of its tags, by its plan file", large["report"]["explain"])
    yield _row(f"`pruner report` of its plan file of {large['file'] / 1e6:.0f} MB", large["report"]["text"])
    yield _row(f"`pruner report --format html`, a page of {large['page'] / 1e6:.0f} MB", large["report"]["html"])
    if large["opens"] is not None:
        yield "opening that page in Chromium", f"{large['opens']:.2f}", "", "", ""
    if large.get("searchable") is not None:
        yield "the same, until all of its list can be searched", f"{large['searchable']:.2f}", "", "", ""


def targets(found: Json) -> Iterator[Target]:
    yield from _help_targets(found)
    if "small" in found:
        yield from _small_targets(found["small"])
    yield from _large_targets(found["large"])


def _help_targets(found: Json) -> Iterator[Target]:
    for verb, text in (("", "help"), (_slowest_help(found), "help of the slowest verb")):
        ratio = found["help"][verb]["wall"] / found["help"]["click"]["wall"]
        yield Target(f"{text} at most 2.5 times an import of click", f"{ratio:.2f}", ratio <= 2.5)


def _small_targets(small: Json) -> Iterator[Target]:
    for name, text, starts in (
        ("preview", "first", "a second Python"),
        ("second", "second", "two more Pythons, one of them for the refresh"),
    ):
        empty = small[name]["empty"]["wall"]
        more, nothing = small[name]["demo"]["wall"] - empty, small[name]["nothing"]["wall"] - empty
        yield Target(
            f"{text} preview of the demo cluster at most 1 s above an empty program",
            f"{more:.2f} s",
            more <= 1,
            f"{nothing:.2f} s are a dynamic resource that does nothing, for which Pulumi starts {starts}; and "
            f"`pruner plan` alone takes {small['plan']['wall']:.2f} s, two thirds of it imports",
        )


def _large_targets(large: Json) -> Iterator[Target]:
    what = f"{large['images']:,} images"
    if "preview" in large:
        more = large["preview"]["wall"] - large["empty"]["wall"]
        yield Target(
            f"preview of {what} at most 6 s above an empty program",
            f"{more:.1f} s",
            more <= 6,
            f"{large['explain']['wall']:.1f} s are reading the cluster and deciding, as `pruner explain` does; the "
            "rest is putting the plan together, keeping it for up, and Pulumi's second Python",
        )
        added = (large["preview"]["memory"] - large["plan"]["memory"]) / 1e6
        yield Target(f"preview of {what} takes at most 500 MB more than the plan", f"{added:.0f} MB", added <= 500)
        for name, size in (("saved plan", large["preview"]["saved"]), ("state after up", large["up"]["state"])):
            yield Target(f"{name} of {what} under 5 MB", f"{size / 1e6:.1f} MB", size < 5e6)
    ratio = large["storage"]["wall"] / large["plan"]["wall"]
    yield Target(f"storage of {what} at most twice the plan", f"{ratio:.2f}", ratio <= 2)
    for form, name in (("text", "report"), ("explain", "explain")):
        took, of = large["report"][form], f"{name} of a plan file of {large['deletions']:,} deletions"
        yield Target(
            f"{of} within 2 s",
            f"{took['wall']:.1f} s",
            took["wall"] <= 2,
            f"half of it is checking the {large['file'] / 1e6:.0f} MB that are read: their checksum, the fingerprint, "
            "and that each line is as preview writes it",
        )
        yield Target(f"{of} within 300 MB", f"{took['memory'] / 1e6:.0f} MB", took["memory"] <= 300e6)
    yield Target(f"page of {what} under 30 MB", f"{large['page'] / 1e6:.0f} MB", large["page"] < 30e6)
    if large["opens"] is not None:
        yield Target(
            f"page of {what} opens within 1 s",
            f"{large['opens']:.2f} s",
            large["opens"] <= 1,
            f"the browser reads all {large['page'] / 1e6:.0f} MB, with the rows of {what}, before it counts as open",
        )
