"""The Containerfile, read instruction by instruction: there
need not be an engine to see that it is pinned and not root.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from pruner.installation import PROGRAM
from pruner.schedule.manifests import PACK, WORK, Schedule, schedule_objects

ROOT = Path(__file__).parent.parent.parent
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "ENTRYPOINT", "CMD"}
Stage = list[tuple[str, str]]


def stages() -> list[Stage]:
    """The instructions of each stage, with lines that go on put together."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Stage] = []
    for line in joined.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest.strip()))
    return found


def values(instruction: str) -> list[str]:
    """What the last stage says by this instruction."""
    return [rest for name, rest in stages()[-1] if name == instruction]


def test_every_instruction_is_one() -> None:
    assert {name for stage in stages() for name, _ in stage} <= KNOWN


def test_every_base_is_pinned_by_a_tag_with_a_whole_version() -> None:
    bases = [stage[0][1].partition(" ")[0] for stage in stages()]
    assert len(bases) == 3
    assert [base for base in bases if not re.search(r"/[a-z-]+:\d+\.\d+\.\d+", base)] == []


def test_the_engine_is_of_the_version_that_the_sdk_is() -> None:
    pinned = re.search(r"^pulumi==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    engine = next(stage[0][1] for stage in stages() if stage[0][1].endswith("AS engine"))
    assert pinned is not None
    assert f":{pinned[1]} " in engine


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


def test_the_last_stage_only_makes_the_folder_to_work_in_for_any_number_of_group_0() -> None:
    assert values("RUN") == [f"install -d -m 0770 -o {values('USER')[0].replace(':', ' -g ')} {WORK}"]
    assert values("USER") == ["65532:0"]
    assert values("WORKDIR") == [WORK]


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
