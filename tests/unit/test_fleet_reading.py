"""fleet.yaml: what comes of it, and what is said of mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pruner.errors import SettingsError
from pruner.fleet import schema
from pruner.fleet.lookup import resolved
from pruner.fleet.model import Cluster, Fleet, selected
from pruner.fleet.reading import read_fleet

ROOT = Path(__file__).parent.parent.parent
NAME = "name: takes at most 100 letters, digits, `_`, `.` and `-`, the first one a letter, a digit or `_`"
EXAMPLE = ROOT / "examples" / "fleet" / "fleet.yaml"


def fleet(folder: Path, text: str) -> Fleet:
    path = folder / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    return read_fleet(path)


def problems(folder: Path, text: str) -> list[str]:
    """What is wrong, without the folder: `3:5: message`."""
    with pytest.raises(SettingsError) as raised:
        fleet(folder, text)
    return [str(problem).removeprefix(f"{folder}/fleet.yaml:") for problem in raised.value.problems]


def values(cluster: Cluster) -> dict[str, Any]:
    return {name: setting.value for name, setting in cluster.settings.items()}


# --- put together ----------------------------------------------------------------------------------------------------


def test_a_cluster_inherits_from_defaults_and_groups_and_has_the_last_word(tmp_path: Path) -> None:
    found = fleet(
        tmp_path,
        """
defaults:
  labels: {region: eu}
  settings: {keep_younger_than: 60, keep_tag_revisions: 3, workers: 10}
groups:
  - labels: {stage: prod}
    settings: {keep_tag_revisions: 5, workers: 20}
  - labels: {region: eu}
    settings: {workers: 5}
clusters:
  - name: kiel
    labels: {stage: prod}
    settings: {keep_younger_than: 120, context: kiel}
  - name: bremen
    labels: {region: us}
    settings: {context: bremen}
""",
    )
    bremen, kiel = found.clusters
    assert values(kiel) == {"context": "kiel", "keep_younger_than": 120, "keep_tag_revisions": 5, "workers": 5}
    assert values(bremen) == {"context": "bremen", "keep_younger_than": 60, "keep_tag_revisions": 3, "workers": 10}
    assert kiel.labels == {"region": "eu", "stage": "prod"}


def test_aliases_are_the_parameters_they_name(tmp_path: Path) -> None:
    found = fleet(
        tmp_path,
        "defaults: {settings: {verify_ssl: true}}\nclusters: [{name: a, settings: {validate_certs: false}}]\n",
    )
    assert values(found.clusters[0]) == {"validate_certs": False}


def test_yaml_anchors_and_merges_are_understood(tmp_path: Path) -> None:
    found = fleet(
        tmp_path,
        "clusters:\n"
        "  - {name: a, settings: &same {context: a, keep_tag_revisions: 2}}\n"
        "  - {name: b, settings: {<<: *same, context: b, workers: 3}}\n"
        "  - {name: c, settings: {<<: [{context: c}, *same], protect: [x/y]}}\n",
    )
    assert values(found.clusters[1]) == {"context": "b", "keep_tag_revisions": 2, "workers": 3}
    assert values(found.clusters[2]) == {"context": "c", "keep_tag_revisions": 2, "protect": ["x/y"]}


def test_a_cluster_belongs_to_the_first_wave_that_fits_and_to_the_rest_otherwise(tmp_path: Path) -> None:
    found = fleet(
        tmp_path,
        "waves: [{name: first, labels: {canary: '*'}}, {name: second, labels: {region: eu}}]\n"
        "clusters:\n"
        "  - {name: a, labels: {canary: yes, region: eu}, settings: {context: a}}\n"
        "  - {name: b, labels: {region: eu}, settings: {context: b}}\n"
        "  - {name: c, settings: {context: c}}\n",
    )
    assert [cluster.wave for cluster in found.clusters] == ["first", "second", "rest"]
    assert [wave.name for wave in found.waves] == ["first", "second", "rest"]


def test_a_wave_that_says_nothing_else_takes_no_failure(tmp_path: Path) -> None:
    found = fleet(tmp_path, "waves: [{name: first}]\nclusters: [{name: a}]\n")
    assert [(wave.max_failures, wave.max_deletions) for wave in found.waves] == [(0, None), (None, None)]


def test_paths_are_meant_from_the_files_folder(tmp_path: Path) -> None:
    found = fleet(tmp_path, "clusters: [{name: a, settings: {ca_cert: ca.pem, kubeconfig: /etc/kubeconfig}}]\n")
    assert values(found.clusters[0]) == {"ca_cert": str(tmp_path / "ca.pem"), "kubeconfig": "/etc/kubeconfig"}


def kubeconfig(folder: Path, *contexts: str) -> None:
    content = {"contexts": [{"name": name, "context": {}} for name in contexts]}
    (folder / "kubeconfig").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_contexts_that_fit_a_pattern_are_clusters(tmp_path: Path) -> None:
    kubeconfig(tmp_path, "prod-kiel", "prod/api-bremen:6443/admin", "test-ulm")
    found = fleet(
        tmp_path,
        "contexts: [{kubeconfig: kubeconfig, pattern: 'prod*', labels: {stage: prod}, settings: {workers: 4}}]\n",
    )
    assert [cluster.name for cluster in found.clusters] == ["prod-api-bremen-6443-admin", "prod-kiel"]
    assert values(found.clusters[0]) == {
        "kubeconfig": str(tmp_path / "kubeconfig"),
        "context": "prod/api-bremen:6443/admin",
        "workers": 4,
    }


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_all_mistakes_are_said_at_once_with_line_and_column(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        """concurency: 3
timeout: soon
clusters:
  - name: kiel
    label: {a: b}
    settings:
      keep_tag_revision: 3
      report: here.jsonl
  - settings: {}
  - name: not/a/stack
""",
    ) == [
        "1:1: there is no 'concurency', did you mean 'concurrency'?",
        "2:10: timeout: takes a whole number",
        "5:5: there is no 'label', did you mean 'labels'?",
        "7:7: there is no parameter 'keep_tag_revision', did you mean 'keep_tag_revisions'?",
        "8:7: report: the fleet sets it for each cluster; `fleet report` shows them",
        "9:5: name is missing",
        f"10:11: {NAME}",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: is empty; it takes clusters, or contexts"),
        ("clusters: []", "1:1: there is no cluster in it: give clusters, or contexts"),
        ("clusters: {a: b}", "1:11: clusters: takes a list"),
        ("clusters: [a]", "1:12: takes a map of name, labels, settings"),
        ("clusters:\n- {name: a}\n- {name: A}", "3:3: cluster A is there twice, the other one at FILE:2:3"),
        ("clusters: [{name: a, name: b}]", "1:22: name is there twice"),
        ("clusters: [{name: a, settings: {api_key: sesame}}]",
            "1:42: api_key: a secret does not stand in this file; write {env: VARIABLE} or {file: PATH}"),
        ("clusters: [{name: a, settings: {proxy_headers: {basic_auth: 'a:b'}}}]",
            "1:61: proxy_headers.basic_auth: a secret does not stand in this file; write {env: VARIABLE} or "
            "{file: PATH}"),
        ("clusters: [{name: a, settings: {usage_history: {url: 'https://a', token: sesame}}}]",
            "1:48: usage_history.token: a secret does not stand in this file; write {env: VARIABLE} or {file: PATH}"),
        ("clusters: [{name: a, settings: {uses_from: [{name: b, settings: {host: 'https://b', api_key: sesame}}]}}]",
            "1:94: uses_from: api_key: a secret does not stand in this file; write {env: VARIABLE} or {file: PATH}"),
        ("clusters: [{name: a, settings: {uses_from: fleet}}]",
            "1:44: uses_from: fleet: there is no other cluster in this file"),
        ("clusters: [{name: a, settings: {kubeconfig: {clusters: []}}}]",
            "1:45: kubeconfig: a secret does not stand in this file; write {env: VARIABLE} or {file: PATH}"),
        ("clusters: [{name: a, settings: {api_key: {env: A, file: B}}}]",
         "1:42: api_key: takes one of env and file, and nothing else"),
        ("clusters: [{name: a, settings: {ca_cert: a, ssl_ca_cert: b}}]",
            "1:45: ssl_ca_cert is another name of ca_cert, and both are given"),
        ("clusters: [{name: a}]\nwaves: [{name: x}, {name: x}]", "2:20: there is another wave 'x'"),
        ("clusters: [{name: a}]\nwaves: [{name: x, max_failures: -1}]", "2:33: max_failures: takes at least 0"),
        ("contexts: [{pattern: 'x*', kubeconfig: kubeconfig}]", "1:12: no context fits 'x*'; there are prod-kiel"),
        ("contexts: [{pattern: '*', kubeconfig: absent}]",
            "1:12: kubeconfig FOLDER/absent: cannot be read: No such file or directory"),
        ("[a, b]", "1:1: is not a map; it takes clusters, or contexts"),
        ("clusters: [{name: a, settings: &x {<<: *x}}]",
            "1:40: has an alias that refers to itself"),
        ("clusters: [{name: a, settings: {<<: soon}}]", "1:37: << takes a map, or a list of maps"),
        ("clusters: [{name: a, settings: {workers: 1, workers: 2}}]", "1:45: workers is there twice"),
        ("clusters: [{name: ..}]", f"1:19: {NAME}"),
        ("clusters: [{name: a}, {name: b, settings: {context: b}}]",
            "1:12: cluster a does not say where it is: give host, kubeconfig or context"),
        ("clusters: [{name: a, settings: {host: 'https://u:sesame@x/'}}, "
         "{name: b, settings: {host: 'https://u:sesame@x'}}]",
            "1:64: clusters a and b are the same one, x: leave one out, or give them different namespaces"),
        ("contexts: [{pattern: 'x*', kubeconfig: twice}]",
            "1:12: clusters x-a and x-b are the same one, https://same:6443: leave one out, "
            "or give them different namespaces"),
        ("contexts: [{pattern: '/*', kubeconfig: twice}]", "1:12: context '//' has no name that a stack can have"),
        ("contexts: [{pattern: '*', kubeconfig: fleet.yaml}]",
         "1:12: kubeconfig FOLDER/fleet.yaml: is not a kubeconfig"),
        ("clusters: [{name: a}]\npolicy_packs: [{pack: absent, config: gone}]",
         "2:16: there is no policy pack FOLDER/absent"),
        ("clusters: [{name: a}]\npolicy_packs: [{pack: kubeconfig}]",
            "2:16: policy pack FOLDER/kubeconfig is no folder and cannot be executed"),
        ("clusters: [{name: a}]\npolicy_packs: [{pack: ., config: gone}]",
            "2:16: there is no configuration FOLDER/gone of a policy pack"),
        ("clusters: [{name: a}]\n---\nclusters: []", "2:1: is not YAML: but found another document"),
        ("clusters: [{name: a, ? [b] : c}]", "1:24: a name is a text"),
        ("clusters: [", "2:1: is not YAML: did not find expected node content"),
        ("clusters: [{name: a, settings: {workers: none}}]",
            "1:42: workers: takes int, or {env: VARIABLE} or {file: PATH}"),
        ("clusters: [{name: a, settings: {api_key: {env: A, b: C}}}]",
            "1:42: api_key: takes one of env and file, and nothing else"),
        ("clusters: [{name: a, settings: {client_key: '-----BEGIN PRIVATE KEY-----'}}]",
            "1:45: client_key: a secret does not stand in this file; write {env: VARIABLE} or {file: PATH}"),
        ("clusters: !!python/object/apply:os.system [x]",
            "1:11: is not YAML: the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed; "
            "write plain values, lists and maps"),
        ("clusters: [{name: a, settings: {host: !x b}}]",
            "1:39: is not YAML: the tag !x is not allowed; write plain values, lists and maps"),
        ("clusters: !!set {a, b}",
            "1:11: is not YAML: the tag tag:yaml.org,2002:set is not allowed; write plain values, lists and maps"),
        (f"timeout: {'9' * 5000}", "1:10: is not a number that can be used"),
        ("clusters: &a [*a]", "1:15: has an alias that refers to itself"),
        ("clusters: " + "[" * 60 + "]" * 60, "1:60: is nested more than 50 levels deep"),
        ("clusters: [{name: a, settings: {extra_referrers: [{group: a, group: b}]}}]", "1:62: group is there twice"),
        (json.dumps({"clusters": [{"name": "a\n"}]}),
            f"1:24: {NAME}"),
        ("clusters: [{name: a, labels: {b: [c]}}]", "1:34: b: takes a text that is not empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_where_it_stands(tmp_path: Path, text: str, said: str) -> None:
    kubeconfig(tmp_path, "prod-kiel")
    (tmp_path / "twice").write_text(
        "clusters: [{name: c, cluster: {server: 'https://same:6443'}}]\n"
        "contexts: [{name: x/a, context: {cluster: c}}, {name: x/b, context: {cluster: c}}, {name: //, context: {}}]\n",
        encoding="utf-8",
    )
    expected = said.replace("FILE", f"{tmp_path}/fleet.yaml").replace("FOLDER", str(tmp_path))
    found = problems(tmp_path, text + ("\n" if text else ""))
    assert expected in found, found


def test_clusters_of_one_host_with_different_namespaces_are_two(tmp_path: Path) -> None:
    clusters = [f"{{name: {each}, settings: {{host: 'https://x:6443', namespace: {each}}}}}" for each in "ab"]
    assert len(fleet(tmp_path, f"clusters: [{', '.join(clusters)}]").clusters) == 2


def test_a_file_that_is_not_utf_8_is_said(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_bytes("clusters: [{name: köln}]".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"fleet\.yaml: cannot be read: it is not UTF-8"):
        read_fleet(tmp_path / "fleet.yaml")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read: No such file"):
        read_fleet(tmp_path / "none.yaml")


# --- looked up -------------------------------------------------------------------------------------------------------


def test_secrets_are_looked_up_in_the_environment_and_in_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open\n", encoding="utf-8")
    found = fleet(
        tmp_path,
        "clusters:\n"
        "  - {name: a, settings: {host: 'https://a:6443', api_key: {env: A_TOKEN}}}\n"
        "  - {name: b, settings: {host: 'https://b:6443', username: u, password: {file: password}}}\n",
    )
    first, second = found.clusters
    assert resolved(first, tmp_path, {"A_TOKEN": "sesame"})["api_key"] == "sesame"
    assert resolved(second, tmp_path, {})["password"] == "open"
    assert "sesame" not in repr(found)


def test_a_kubeconfig_may_be_what_a_variable_holds(tmp_path: Path) -> None:
    (tmp_path / "path").write_text("", encoding="utf-8")
    found = fleet(tmp_path, "clusters: [{name: a, settings: {kubeconfig: {env: CONFIG}}}]\n").clusters[0]
    text = "apiVersion: v1\nclusters: []\n"
    assert resolved(found, tmp_path, {"CONFIG": text})["kubeconfig"] == {"apiVersion": "v1", "clusters": []}
    assert resolved(found, tmp_path, {"CONFIG": str(tmp_path / "path")})["kubeconfig"] == str(tmp_path / "path")


def test_R38_uses_from_fleet_names_all_other_clusters_with_their_secrets_as_references(tmp_path: Path) -> None:
    found = fleet(
        tmp_path,
        "defaults: {settings: {validate_certs: false, workers: 3}}\n"
        "clusters:\n"
        "  - {name: hub, settings: {host: 'https://hub:6443', api_key: {env: HUB}, uses_from: fleet}}\n"
        "  - {name: hub-too, settings: {host: 'https://hub:6443', namespace: shop, api_key: {env: HUB}}}\n"
        "  - {name: kiel, settings: {host: 'https://kiel:6443', api_key: {env: KIEL}, ca_cert: ca.pem}}\n"
        "  - {name: ulm, settings: {host: 'https://ulm:6443', username: u, password: {file: password}}}\n",
    )
    assert "sesame" not in repr(found)
    (tmp_path / "password").write_text("open\n", encoding="utf-8")
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----", encoding="utf-8")
    hub = selected(found, {}).clusters[0]
    values = resolved(hub, tmp_path, {"HUB": "own", "KIEL": "sesame"})
    assert values["uses_from"] == [
        {
            "name": "kiel",
            "settings": {
                "validate_certs": False,
                "host": "https://kiel:6443",
                "api_key": "sesame",
                "ca_cert": str(tmp_path / "ca.pem"),
            },
        },
        {
            "name": "ulm",
            "settings": {"validate_certs": False, "host": "https://ulm:6443", "username": "u", "password": "open"},
        },
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{api_key: {env: A_TOKEN}}", "1:42: the environment has no A_TOKEN"),
        ("{api_key: {file: absent}}", "1:42: file absent cannot be read: No such file or directory"),
        ("{workers: 0}", "1:42: cluster a: workers: must be at least 1, not 0"),
        ("{client_key: {env: KEY}}", "1:45: the environment has no KEY"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_contacted(tmp_path: Path, settings: str, said: str) -> None:
    found = fleet(tmp_path, f"clusters: [{{name: a, settings: {settings}}}]\n")
    with pytest.raises(SettingsError) as raised:
        resolved(found.clusters[0], tmp_path, {})
    assert str(raised.value) == f"{tmp_path}/fleet.yaml:{said}"


# --- the schema ------------------------------------------------------------------------------------------------------


def test_schema_file_is_what_the_model_says() -> None:
    assert schema.FILE.read_text(encoding="utf-8") == schema.text(), "run python -m pruner.fleet.schema"


def test_example_fits_the_schema_and_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    described = json.loads(schema.text())
    jsonschema.Draft202012Validator.check_schema(described)
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), described)
    assert len(read_fleet(EXAMPLE).clusters) >= 3


@pytest.mark.parametrize(
    "text",
    [
        "concurency: 3",
        "clusters: [{name: a, settings: {api_key: plain}}]",
        "clusters: [{name: a, settings: {report: x}}]",
        "clusters: [{name: a, settings: {api_key: {env: A, file: B}}}]",
        "clusters: [{labels: {a: b}}]",
    ],
)
def test_schema_refuses_what_the_reader_refuses(tmp_path: Path, text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), schema.schema())
    assert problems(tmp_path, text)


# --- bounds ----------------------------------------------------------------------------------------------------------


def bomb(kind: str, levels: int = 9) -> str:
    """Ten to the power of so many values in a few hundred bytes."""
    lines = [f"x0: &x0 {kind}"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        bomb("a"),
        bomb("{a: b}"),
        "clusters: [{name: a, settings: {protect: [&y0 [a], "
        + ", ".join(f"&y{n} [{','.join([f'*y{n-1}'] * 10)}]" for n in range(1, 9)) + "]}}]",
        "defaults: {settings: &m0 {workers: 5}}\ngroups:\n"
        + "".join(
            f"- {{labels: {{a: b}}, settings: &m{n} {{<<: [{','.join([f'*m{n-1}'] * 10)}]}}}}\n" for n in range(1, 9)
        ),
    ],
)  # fmt: skip
def test_aliases_that_stand_for_too_much_are_counted_and_not_followed(tmp_path: Path, text: str) -> None:
    [problem] = problems(tmp_path, text)
    assert "stands for more than 250000 values; use fewer aliases, or split the file" in problem


def test_levels_are_counted_through_aliases(tmp_path: Path) -> None:
    text = "x0: &x0 [a]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 60))
    [problem] = problems(tmp_path, text)
    assert problem == "50:12: is nested more than 50 levels deep"


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "fleet.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SettingsError, match=r"fleet\.yaml: is larger than 4194304 bytes; split it"):
        read_fleet(tmp_path / "fleet.yaml")


def test_a_kubeconfig_is_read_within_the_same_bounds(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(bomb("a") + "contexts: *x9\n", encoding="utf-8")
    found = problems(tmp_path, "contexts: [{pattern: '*', kubeconfig: kubeconfig}]")
    assert len(found) == 1
    assert found[0].startswith(f"1:12: kubeconfig {tmp_path}/kubeconfig:")
    assert "stands for more than 250000 values" in found[0]


def test_a_fleet_of_many_clusters_is_within_bounds(tmp_path: Path) -> None:
    settings = "{host: 'https://c%d:6443', api_key: {env: TOKEN}, keep_younger_than: 60, protect: [a/b, c/d, e/f]}"
    clusters = "".join(f"- {{name: c{n}, labels: {{a: b}}, settings: {settings % n}}}\n" for n in range(2000))
    assert len(fleet(tmp_path, f"clusters:\n{clusters}").clusters) == 2000
