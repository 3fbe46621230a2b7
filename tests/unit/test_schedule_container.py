"""The Containerfile, read instruction by instruction: what it pins and copies shows without a build, which
tests/integration/test_container.py does.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path

import pytest

from pruner.installation import PROGRAM
from pruner.schedule.manifests import PACK, WORK, Schedule, schedule_objects

ROOT = Path(__file__).parent.parent.parent
KNOWN = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "ENTRYPOINT", "CMD"}
Stage = list[tuple[str, str]]


def instructions() -> Stage:
    """All of them, with lines that go on put together."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(instruction, rest) for instruction, _, rest in (line.partition(" ") for line in joined.splitlines())]


def bases() -> dict[str, str]:
    """The arguments before the first stage, which name the images to build on, with their defaults."""
    before = itertools.takewhile(lambda each: each[0] != "FROM", instructions())
    return dict(rest.split("=", 1) for _, rest in before)


def stages() -> list[Stage]:
    """The instructions of each stage."""
    found: list[Stage] = []
    for instruction, rest in itertools.dropwhile(lambda each: each[0] != "FROM", instructions()):
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest.strip()))
    return found


def values(instruction: str) -> list[str]:
    """What the last stage says by this instruction."""
    return [rest for name, rest in stages()[-1] if name == instruction]


def test_every_instruction_is_one() -> None:
    assert {name for stage in stages() for name, _ in stage} <= KNOWN


def test_every_base_is_an_argument_whose_default_is_pinned_by_a_tag_with_a_whole_version() -> None:
    assert [stage[0][1].partition(" ")[0] for stage in stages()] == [
        "${PYTHON_IMAGE}", "${PULUMI_IMAGE}", "${PYTHON_IMAGE}",
    ]  # fmt: skip
    assert bases().keys() == {"PYTHON_IMAGE", "PULUMI_IMAGE"}
    assert [base for base in bases().values() if not re.search(r"^docker\.io/.+:\d+\.\d+\.\d+", base)] == []


def test_the_engine_is_of_the_version_that_the_sdk_is() -> None:
    pinned = re.search(r"^pulumi==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert bases()["PULUMI_IMAGE"].endswith(f":{pinned[1]}")


def test_it_is_not_root_and_says_so_by_number() -> None:
    (user,) = values("USER")
    number = int(user.partition(":")[0])
    assert number > 0


def test_what_is_copied_from_here_is_here_and_no_more_than_is_needed() -> None:
    local = [shlex.split(rest) for rest in values("COPY") if not rest.startswith("--from")]
    # Whatever the modes of the checkout are, any user can read them.
    assert {words[0] for words in local} == {"--chmod=0755"}
    copied = {name for words in local for name in words[1:-1]}
    assert copied == {"LICENSE", *PROGRAM, "pruner", "policies"}
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_what_is_copied_from_a_stage_is_of_one_that_is_there() -> None:
    named = {stage[0][1].partition(" AS ")[2] for stage in stages()}
    wanted = set(re.findall(r"--from=(\S+)", " ".join(values("COPY"))))
    assert wanted
    assert wanted <= named


def test_the_last_stage_compiles_the_project_and_makes_the_folder_to_work_in_for_any_number_of_group_0() -> None:
    assert values("RUN") == [
        "python -m compileall -q --invalidation-mode checked-hash /opt/pruner  && "
        f"install -d -m 0770 -o {values('USER')[0].replace(':', ' -g ')} {WORK}"
    ]
    assert values("USER") == ["65532:0"]
    assert values("WORKDIR") == [WORK]


def test_only_what_is_copied_is_sent_to_a_build() -> None:
    lines = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {"LICENSE", *PROGRAM, "pruner", "policies", "requirements.txt"}
    assert {"*", "**/__pycache__"} <= set(lines)


def test_a_user_that_is_in_no_list_of_users_has_a_name_and_a_home() -> None:
    environment = dict(word.split("=", 1) for word in shlex.split(" ".join(values("ENV"))))
    container = schedule_objects(Schedule(image="x"))[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    pod = {each["name"]: each["value"] for each in container["env"]}
    for name in ("HOME", "USER"):
        assert environment[name] == pod[name] != ""


def test_the_policy_pack_is_where_the_schedule_looks_for_it() -> None:
    copied = [shlex.split(rest)[1:] for rest in values("COPY")]
    assert ["policies", str(Path(PACK[0]).parent)] in copied
    assert (ROOT / "policies" / Path(PACK[0]).name).is_file()


@pytest.mark.parametrize("instruction", ["ENTRYPOINT", "CMD"])
def test_it_starts_without_a_shell(instruction: str) -> None:
    (value,) = values(instruction)
    assert {type(word) for word in json.loads(value)} == {str}


def test_the_schedule_gives_arguments_of_the_entry_point() -> None:
    (entry,) = values("ENTRYPOINT")
    pod = schedule_objects(Schedule(image="x"))[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [*json.loads(entry), *pod["containers"][0]["args"][:2]] == ["python", "-m", "pruner", "fleet", "up"]
