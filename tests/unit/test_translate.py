"""`pruner translate`: every flag of oc and every option of the Ansible module, and what is refused."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pruner.cli.ansible import OPTIONS, from_task
from pruner.cli.entry import main
from pruner.cli.oc import FLAGS, SHORT, from_command_line, words_of
from pruner.cli.translate import commands, yaml_file
from pruner.cli.translation import Translation
from pruner.errors import SettingsError
from pruner.settings import BY_NAME, read

PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


def line(text: str) -> Translation:
    return from_command_line(words_of(f"oc adm prune images {text}"))


def refused(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        line(text)
    return str(caught.value)


def task(options: Any, **keywords: Any) -> Translation:
    return from_task(
        yaml.safe_dump([{"name": "prune", "community.okd.openshift_adm_prune_images": options, **keywords}])
    )


def refused_task(text: str, **more: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        from_task(text, **more)
    return str(caught.value)


# --- oc --------------------------------------------------------------------------------------------------------------

FLAG_ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "all": ("--all=false", {"all_images": False}),
    "certificate-authority": ("--certificate-authority={pem}", {"registry_ca_cert": "{pem}"}),
    "force-insecure": ("--force-insecure", {"registry_validate_certs": False}),
    "ignore-invalid-refs": ("--ignore-invalid-refs=T", {"ignore_invalid_refs": True}),
    "keep-tag-revisions": ("--keep-tag-revisions=5", {"keep_tag_revisions": 5}),
    "keep-younger-than": ("--keep-younger-than 1h30m", {"keep_younger_than": 90}),
    "num-workers": ("--num-workers=7", {"workers": 7}),
    "prune-over-size-limit": ("--prune-over-size-limit", {"prune_over_size_limit": True}),
    "prune-registry": ("--prune-registry=0", {"prune_registry": False}),
    "registry-url": ("--registry-url=http://registry.example.org", {"registry_url": "http://registry.example.org"}),
    "namespace": ("-n shop", {"namespace": "shop"}),
    "server": ("-s=https://api.example.org:6443", {"host": "https://api.example.org:6443"}),
    "username": ("--username jane --password x", {"username": "jane"}),
    "client-certificate": ("--client-certificate {pem}", {"client_cert": "{pem}"}),
    "client-key": ("--client-certificate {pem} --client-key={pem}", {"client_cert": "{pem}", "client_key": "{pem}"}),
    "insecure-skip-tls-verify": ("--insecure-skip-tls-verify", {"validate_certs": False}),
    "kubeconfig": ("--kubeconfig={pem}", {"kubeconfig": "{pem}"}),
    "context": ("--context prod", {"context": "prod"}),
    "as": ("--as alice", {"impersonate_user": "alice"}),
    "as-group": ("--as a --as-group=b --as-group 1", {"impersonate_user": "a", "impersonate_groups": ["b", "1"]}),
}
SECRET_FLAGS = {
    "token": ("--token=sesame", ("api_key",)),
    "password": ("--username a --password sesame", ("password",)),
}
REFUSED = {name for name, flag in FLAGS.items() if flag.counterpart.refused}
IGNORED = {name for name, flag in FLAGS.items() if flag.counterpart.parameter is None} - REFUSED


@pytest.fixture
def pem(tmp_path: Path) -> str:
    file = tmp_path / "file.pem"
    file.write_text(PEM, encoding="utf-8")
    return str(file)


def test_every_flag_has_a_row() -> None:
    assert {*FLAG_ROWS, *SECRET_FLAGS} | REFUSED | IGNORED == set(FLAGS)
    assert set(SHORT.values()) <= set(FLAGS)
    assert {flag.counterpart.parameter for flag in FLAGS.values()} - {None} <= set(BY_NAME)


@pytest.mark.parametrize("name", FLAG_ROWS)
def test_a_flag_is_its_parameter(name: str, pem: str) -> None:
    given_line, settings = FLAG_ROWS[name]
    expected = {key: pem if value == "{pem}" else value for key, value in settings.items()}

    assert line(given_line.replace("{pem}", pem)).settings == expected


@pytest.mark.parametrize("name", SECRET_FLAGS)
def test_a_secret_is_named_and_its_value_nowhere(name: str) -> None:
    given_line, secrets = SECRET_FLAGS[name]
    found = line(given_line)

    assert found.secrets == secrets
    assert "sesame" not in repr(found)
    assert [each for each in commands(found) if "--secret" in each] == [
        f"pulumi config set --secret pruner:{secrets[0]}"
    ]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_flag_that_selects_a_cluster_or_user_is_refused(name: str) -> None:
    assert refused(f"--{name}=x") == f"--{name}: has no counterpart: {FLAGS[name].counterpart.note}"


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_a_flag_without_counterpart_changes_nothing(name: str) -> None:
    assert line(f"--context=prod --{name}={'true' if FLAGS[name].alone else '4'}").settings == {"context": "prod"}


@pytest.mark.parametrize(
    ("example", "settings"),
    [
        ("--keep-tag-revisions=3 --keep-younger-than=60m", {"keep_tag_revisions": 3, "keep_younger_than": 60}),
        (
            "--keep-tag-revisions=3 --keep-younger-than=60m --confirm",
            {"keep_tag_revisions": 3, "keep_younger_than": 60},
        ),
        ("--prune-over-size-limit", {"prune_over_size_limit": True}),
        ("--prune-over-size-limit --confirm", {"prune_over_size_limit": True}),
        ("--registry-url=http://registry.example.org --confirm", {"registry_url": "http://registry.example.org"}),
        (
            "--registry-url=registry.example.org --certificate-authority={pem} --confirm",
            {"registry_url": "registry.example.org", "registry_ca_cert": "{pem}"},
        ),
    ],
)
def test_the_examples_in_ocs_help(example: str, settings: dict[str, Any], pem: str) -> None:
    found = line(example.replace("{pem}", pem))

    assert found.settings == {key: pem if value == "{pem}" else value for key, value in settings.items()}
    assert any("pulumi up" in note for note in found.notes) == ("--confirm" in example)


@pytest.mark.parametrize(
    ("written", "minutes"), [("1h0m0s", 60), ("90s", 2), ("0", 0), ("1ns", 0), ("36h0.5s", 2161), ("1.5h", 90)]
)
def test_durations_are_rounded_up_to_minutes(written: str, minutes: int) -> None:
    assert line(f"--keep-younger-than={written}").settings["keep_younger_than"] == minutes


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_no_duration_is_shortened(hours: int, minutes: int, seconds: int) -> None:
    written = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    found = timedelta(minutes=line(f"--keep-younger-than={hours}h{minutes}m{seconds}s").settings["keep_younger_than"])

    assert written <= found < written + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--keep-yunger-than=3h",
         "oc adm prune images has no flag '--keep-yunger-than', did you mean '--keep-younger-than'?"),
        ("--tokn=sesame", "oc adm prune images has no flag '--tokn', did you mean '--token'?"),
        ("--keep-younger-than=-1h", "--keep-younger-than: must not be negative"),
        ("--keep-younger-than=soon", "--keep-younger-than: 'soon' is not a duration such as 60m or 1h30m"),
        ("--keep-tag-revisions", "--keep-tag-revisions: needs a value"),
        ("--keep-tag-revisions=-1", "keep_tag_revisions: must be at least 0, not -1"),
        ("--all=perhaps", "--all: takes true or false, not 'perhaps'"),
        ("--all false", "only oc adm prune images can be translated, without further commands and arguments"),
        ("| tee log", "only oc adm prune images can be translated, without further commands and arguments"),
        ("--prune-over-size-limit --keep-tag-revisions=1",
            "--prune-over-size-limit: oc refuses it beside --keep-younger-than and --keep-tag-revisions"),
        ("--as-group=x",
         "impersonate_groups: needs impersonate_user: the API server accepts groups only together with a user"),
    ],
)  # fmt: skip
def test_what_oc_or_a_preview_would_refuse_is_refused(text: str, message: str) -> None:
    assert refused(text) == message


def test_a_misspelt_secret_is_not_quoted() -> None:
    assert "sesame" not in refused("--tokn sesame") + refused("--passwrd=sesame")


def test_the_last_of_a_flag_wins_and_flags_may_stand_before_the_command() -> None:
    found = from_command_line(["oc", "--context=a", "adm", "prune", "images", "--context", "b"])

    assert found.settings == {"context": "b"}


def test_a_registry_with_an_authority_of_its_own_is_verified_whatever_the_api_is(pem: str) -> None:
    found = line(f"--insecure-skip-tls-verify --certificate-authority={pem}")
    settings = read(found.settings)

    assert (settings.certs_validated, settings.registry_certs_validated) == (False, True)


def test_variables_before_the_command_are_noted() -> None:
    found = from_command_line(words_of("KUBECONFIG=/k oc adm prune images --context=prod"))

    assert found.notes == ("KUBECONFIG: set this variable for pulumi as well",)


# --- Ansible ---------------------------------------------------------------------------------------------------------

OPTION_ROWS: dict[str, dict[str, Any]] = {
    "all_images": {"all_images": False},
    "ca_cert": {"ca_cert": "{pem}"},
    "client_cert": {"client_cert": "{pem}"},
    "client_key": {"client_cert": "{pem}", "client_key": "{pem}"},
    "context": {"context": "prod"},
    "host": {"host": "https://api.example.org:6443"},
    "ignore_invalid_refs": {"ignore_invalid_refs": True},
    "impersonate_groups": {"impersonate_user": "alice", "impersonate_groups": ["a", "b"]},
    "impersonate_user": {"impersonate_user": "alice"},
    "keep_younger_than": {"keep_younger_than": 90},
    "kubeconfig": {"kubeconfig": "{pem}"},
    "namespace": {"namespace": "shop"},
    "no_proxy": {"no_proxy": ".local,10.0.0.0/8"},
    "persist_config": {"persist_config": True},
    "proxy": {"proxy": "http://proxy.example.org:3128"},
    "prune_over_size_limit": {"prune_over_size_limit": True},
    "prune_registry": {"prune_registry": False},
    "registry_ca_cert": {"registry_ca_cert": "{pem}"},
    "registry_url": {"registry_url": "http://registry.example.org"},
    "registry_validate_certs": {"registry_validate_certs": False},
    "validate_certs": {"validate_certs": False},
}
SECRET_OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "api_key": ({"api_key": "{{ sesame }}"}, ("api_key",)),
    "password": ({"username": "jane", "password": "sesame"}, ("password",)),
    "username": ({"username": "jane", "password": "sesame"}, ("password",)),
    "proxy_headers": (
        {"proxy": "http://p:1", "proxy_headers": {"proxy_basic_auth": "sesame:x", "user_agent": "foo/1.0"}},
        ("proxy_headers.proxy_basic_auth",),
    ),
    "kubeconfig": ({"kubeconfig": {"users": [{"name": "sesame"}]}}, ("kubeconfig",)),
}


def test_every_option_has_a_row() -> None:
    assert {*OPTION_ROWS, *SECRET_OPTIONS} == set(OPTIONS)


@pytest.mark.parametrize("name", OPTION_ROWS)
def test_an_option_is_the_parameter_of_its_name(name: str, pem: str) -> None:
    options = {key: pem if value == "{pem}" else value for key, value in OPTION_ROWS[name].items()}

    assert task(options).settings == options


@pytest.mark.parametrize("name", SECRET_OPTIONS)
def test_a_secret_option_is_named_and_its_value_nowhere(name: str) -> None:
    options, secrets = SECRET_OPTIONS[name]
    found = task(options)

    assert found.secrets == secrets
    assert "sesame" not in repr(found)


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        ("keep_younger_than: 60", {"keep_younger_than": 60}),
        ("prune_over_size_limit: true", {"prune_over_size_limit": True}),
        ("registry_url: http://registry.example.org\n  registry_validate_certs: false",
            {"registry_url": "http://registry.example.org", "registry_validate_certs": False}),
        ("keep_younger_than: '60'", {"keep_younger_than": 60}),
        ("verify_ssl: no", {"validate_certs": False}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["community.okd.", "redhat.openshift.", ""])
def test_the_modules_examples(name: str, written: str, settings: dict[str, Any]) -> None:
    assert from_task(f"name: prune\n{name}openshift_adm_prune_images:\n  {written}\n").settings == settings


def test_a_task_deep_in_a_playbook_with_defaults_and_environment() -> None:
    play = {
        "hosts": "localhost",
        "module_defaults": {"group/community.okd.okd": {"context": "prod", "namespace": "other"}},
        "tasks": [
            {"debug": {"msg": "x"}},
            {
                "block": [
                    {
                        "openshift_adm_prune_images": "namespace=shop prune_registry=no",
                        "environment": {"K8S_AUTH_VERIFY_SSL": "no", "K8S_AUTH_IMPERSONATE_USER": "alice", "LANG": "C"},
                    }
                ]
            },
        ],
    }
    found = from_task(yaml.safe_dump([play]))

    expected = {"context": "prod", "namespace": "shop", "prune_registry": False, "validate_certs": False}
    assert found.settings == {**expected, "impersonate_user": "alice"}
    assert "environment: 'LANG': set this variable for pulumi as well" in found.notes


def test_one_of_several_tasks_is_chosen_by_its_name() -> None:
    text = yaml.safe_dump([{"name": name, "openshift_adm_prune_images": {"namespace": name}} for name in ("a", "b")])

    assert from_task(text, name="b").settings == {"namespace": "b"}
    assert refused_task(text) == "there are 2 tasks of the module ('a', 'b'); choose one with --name"
    assert refused_task(text, name="c") == "no task of the module is called 'c'; there are 'a', 'b'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- openshift_adm_prune_images: {namespace: '{{ ns }}'}",
            "namespace: '{{ ns }}' has a template, whose value only Ansible knows; write the value in its place"),
        ("- openshift_adm_prune_images: {namspace: x}",
         "the module has no option 'namspace', did you mean 'namespace'?"),
        ("- openshift_adm_prune_images: {keep_tag_revisions: 3}", "the module has no option 'keep_tag_revisions'"),
        ("- openshift_adm_prune_images: {keep_younger_than: -1}",
            "keep_younger_than: must be at least 0, not -1; it is an age in minutes, or such as 36h or 14d"),
        ("- openshift_adm_prune_images: [a]", "the module's options are a map"),
        ("- openshift_adm_prune_images: all", "the module's options are a map, or name=value with spaces between"),
        ("- debug: {}", "there is no task of community.okd.openshift_adm_prune_images in it"),
        ("a: [", "the task is not YAML (line 1)"),
        ("- openshift_adm_prune_images: {api_key: !vault [a]}", "the task has a list or a map with the tag !vault"),
        ("- openshift_adm_prune_images: {api_key: !secret a}", "the task is not YAML (line 1)"),
    ],
)  # fmt: skip
def test_a_task_that_means_something_else_here_is_refused(text: str, message: str) -> None:
    assert refused_task(text).startswith(message)


def test_an_encrypted_secret_is_a_secret() -> None:
    found = from_task(
        "- openshift_adm_prune_images:\n    api_key: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      3163\n"
    )

    assert (found.settings, found.secrets) == ({}, ("api_key",))


def test_what_the_module_does_without_an_option_is_noted() -> None:
    without, with_it = task({}).notes, task({"keep_younger_than": 5}, when="x", register="y").notes

    assert any("images of any age" in note for note in without)
    assert not any("images of any age" in note for note in with_it)
    assert [note.partition(":")[0] for note in with_it] == ["register", "when", "keep_tag_revisions"]


# --- what is printed -------------------------------------------------------------------------------------------------


def test_a_file_of_another_machine_is_a_note() -> None:
    found = line("--context=a --kubeconfig=/no/such/file")

    assert found.settings["kubeconfig"] == "/no/such/file"
    assert found.notes == ("kubeconfig: there is no file '/no/such/file' on this machine",)


def test_commands_quote_what_a_shell_would_change() -> None:
    found = line("--context='a b;$(c)' --as=-x --as-group=7")

    assert [shlex.split(each)[3:] for each in commands(found)] == [
        ["pruner:context", "a b;$(c)"],
        ["--", "pruner:impersonate_user", "-x"],
        ["--path", "--type", "string", "pruner:impersonate_groups[0]", "7"],
    ]


def test_yaml_is_what_pulumi_writes() -> None:
    text = "\n".join(yaml_file(line("--all=false --num-workers=3 --as=a --as-group=7 --token=sesame")))

    assert yaml.safe_load(text) == {
        "config": {
            "pruner:all_images": "false",
            "pruner:workers": "3",
            "pruner:impersonate_user": "a",
            "pruner:impersonate_groups": ["7"],
        }
    }
    assert text.endswith("# pulumi config set --secret pruner:api_key")


def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["translate", *arguments], input=stdin)
    return done.exit_code, done.stdout, done.stderr


def test_options_of_translate_stand_before_the_command_line() -> None:
    code, output, _ = run("--json", "oc", "adm", "prune", "images", "--all=false", "--context", "a")

    assert code == 0
    assert json.loads(output) == {"settings": {"all_images": False, "context": "a"}, "secrets": [], "notes": []}
    assert run("--json", "oc adm prune images --all=false --context a")[1] == output


def test_a_task_from_standard_input_and_from_a_file(tmp_path: Path) -> None:
    text = "- openshift_adm_prune_images: {keep_younger_than: 5}\n"
    (tmp_path / "task.yml").write_text(text, encoding="utf-8")
    code, output, notes = run("-", stdin=text)

    assert (code, output) == (0, "pulumi config set pruner:keep_younger_than 5\n")
    assert notes.startswith("note: keep_tag_revisions: ")
    assert run(str(tmp_path / "task.yml")) == (code, output, notes)


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_translated() -> None:
    code, output, errors = run("oc", "adm", "prune", "images", "--cluster=x", "--al")

    assert (code, output) == (2, "")
    assert [each.partition(":")[0] for each in errors.splitlines()] == ["error", "error"]


def test_what_is_neither_a_command_line_nor_a_file(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"- a: \xff")

    assert run("kubectl", "get", "pods")[0] == 2
    assert run(str(tmp_path / "none"))[0] == 1
    assert "not UTF-8" in run(str(tmp_path / "latin"))[2]
    assert run("--name", "x", "oc", "adm", "prune", "images")[0] == 2
    assert run("oc adm 'prune")[2] == "error: the command line cannot be split into words: a quote is not closed\n"
