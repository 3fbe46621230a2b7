"""Kubeconfigs and credentials: what is accepted where, what is read again, and that nothing is shown or left behind."""

import base64
import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from pruner.cluster import credentials
from pruner.cluster.connection import connect
from pruner.errors import SettingsError
from pruner.settings import read
from tests.integration.authorities import Authority

Json = dict[str, Any]
SECRET = "c2VjcmV0IG9m" * 5


def config(user: Json | None = None, **cluster: Any) -> Json:
    return {
        "current-context": "main",
        "clusters": [{"name": "main", "cluster": {"server": "http://127.0.0.1:9", **cluster}}],
        "users": [{"name": "main", "user": user or {"token": SECRET}}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
    }


async def sent(kubeconfig: Any) -> str | None:
    return await connect(read({"kubeconfig": kubeconfig})).authorization()


def refusal(kubeconfig: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        connect(read({"kubeconfig": kubeconfig}))
    return str(raised.value)


# --- files and content -----------------------------------------------------------------------------------------------

TEXT = json.dumps(config())
ENCODED = base64.b64encode(TEXT.encode()).decode()


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        yaml.safe_dump(config()),
        yaml.safe_dump(config(), default_flow_style=True),
        ENCODED,
        "\n".join(ENCODED[start : start + 76] for start in range(0, len(ENCODED), 76)),
        base64.urlsafe_b64encode(TEXT.encode()).decode().rstrip("="),
        json.dumps(TEXT),
        f"data:application/yaml;base64,{ENCODED}",
        json.dumps(ENCODED),
    ],
    ids=["json", "yaml", "flow", "base64", "base64 in lines", "base64 for URLs", "quoted", "data URL", "quoted base64"],
)
async def test_kubeconfig_by_its_content(content: str) -> None:
    assert await sent(content) == f"Bearer {SECRET}"


async def test_file_wins_over_what_may_be_base64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "of").mkdir(parents=True)
    (tmp_path / "config" / "of" / "production").write_text(TEXT, encoding="utf-8")

    assert await sent("config/of/production") == f"Bearer {SECRET}"


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB.encode(), "stands for more than 250000 values; use fewer aliases, or split the file"),
        (b"a: &a [*a]\n", "has an alias that refers to itself"),
        (b"a: " + b"[" * 5000, "is nested more than 50 levels deep"),
        (b"\xff\xfe\xfd", "is not a kubeconfig: it is not UTF-8"),
        (b"a: b\nc: [\n", "is not YAML (line 3)"),
        (b"a: " + b"9" * 5000, "is not YAML"),
        (b"a: \0", "is not YAML"),
        (b"? [a]\n: b\n", "is not YAML (line 1)"),
        (b"", "is empty"),
        (b"[1, 2]", "is not a kubeconfig: it holds no map"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_file_that_is_no_kubeconfig_is_said_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "config").write_bytes(content)

    assert refusal(str(tmp_path / "config")) == f"kubeconfig: the file '{tmp_path}/config' {reason}"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"users": [{"user": {"token": SECRET}}]}, "entry 1 of its users has no name"),
        ({"users": {"token": SECRET}}, "its users are not a list"),
        ({"users": [{"name": "main", "user": SECRET}]}, "its user 'main' is not valid: Expected `object`, got `str`"),
        ({"users": [{"name": "main", "user": {"token": [SECRET]}}]}, "its user 'main' is not valid"),
        ({"users": [{"name": "main", "user": {"exec": {"args": [SECRET]}}}]}, "its user 'main' is not valid"),
        (
            {"users": [{"name": "main", "user": {"tokenFile": SECRET + SECRET}}]},
            "its tokenFile a text of 120 characters",
        ),
        (
            {"users": [{"name": "main", "user": {"client-key-data": "?"}}]},
            "its client-key-data holds nothing in PEM form",
        ),
        ({"contexts": [{"name": "main", "context": {"user": "main"}}]}, "its context 'main' is not valid"),
        ({"contexts": [{"name": "main"}]}, "its context 'main' is not valid"),
        ({"clusters": []}, "its context 'main' names cluster 'main', which it does not have"),
        ({"current-context": None}, "has no current-context: give context"),
        ({"users": [{"name": "main", "user": {"token": SECRET}}] * 2}, "has two users of the name 'main'"),
    ],
)
def test_entry_with_a_missing_or_wrong_key_is_said_without_its_values(
    broken: Json, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(yaml.safe_dump({**config(), **broken}), encoding="utf-8")

    for given in ({**config(), **broken}, str(tmp_path / "config")):
        message = refusal(given)
        assert message.startswith(f"kubeconfig: {reason}")
        assert SECRET not in message
        assert "\n" not in message


async def test_key_that_is_null_is_absent() -> None:
    nothing = dict.fromkeys(("exec", "auth-provider", "tokenFile", "client-key-data", "as", "as-groups"))

    assert await sent(config({**nothing, "token": SECRET})) == f"Bearer {SECRET}"


# --- token files -----------------------------------------------------------------------------------------------------


async def test_token_file_wins_over_the_token_and_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "TOKEN_FILE_READ_AGAIN", -credentials.TOKEN_FILE_READ_AGAIN)
    file = tmp_path / "token"
    file.write_text("first\n", encoding="ascii")
    connection = connect(read({"kubeconfig": config({"token": SECRET, "tokenFile": str(file)})}))

    seen = [await connection.authorization()]
    file.write_text("second\n", encoding="ascii")
    seen.append(await connection.authorization())
    file.unlink()
    seen.append(await connection.authorization())

    assert seen == ["Bearer first", "Bearer second", "Bearer second"]


async def test_token_file_is_read_again_when_its_token_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first", encoding="ascii")
    connection = connect(read({"kubeconfig": config({"tokenFile": str(file)})}))
    file.write_text("second", encoding="ascii")

    before = await connection.authorization()
    await connection.renew_refused()

    assert (before, await connection.authorization()) == ("Bearer first", "Bearer second")
    assert connection.generation == 1


async def test_token_stands_in_for_a_token_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert await sent(config({"token": SECRET, "tokenFile": str(tmp_path / "absent")})) == f"Bearer {SECRET}"
    assert "its tokenFile" in refusal(config({"tokenFile": str(tmp_path / "absent")}))


# --- certificates and keys -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def encodings(content: str) -> list[str]:
    encoded = base64.b64encode(content.encode()).decode()
    return [content, content.replace("\n", "\\n"), encoded, f"data:application/x-pem-file;base64,{encoded}"]


def test_certificates_and_keys_are_accepted_by_their_content(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pair = authority.client("jane")
    texts = (encodings(path.read_text(encoding="ascii")) for path in (authority.ca, pair.certificate, pair.key))
    for ca, certificate, key in zip(*texts, strict=True):
        given = {"host": "https://127.0.0.1:9", "ca_cert": ca, "client_cert": certificate, "client_key": key}
        settings = read({**given, "registry_ca_cert": ca})
        assert connect(settings).tls is not None
        assert "PRIVATE KEY" not in repr(settings)

    assert not list(tmp_path.iterdir())


def test_key_is_in_no_file_that_others_can_read(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a umask that gives everybody everything, and where loading fails."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[int, int]] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rmdir" or (event == "shutil.rmtree" and str(arguments[0]).startswith(str(tmp_path))):
            folder = Path(str(arguments[0]))
            if folder.parent == tmp_path and folder.is_dir():
                modes = [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()]
                seen.extend((stat.S_IMODE(folder.stat().st_mode), mode) for mode in modes)

    before = os.umask(0)
    sys.addaudithook(audit)
    try:
        key = authority.client("jane").key.read_text(encoding="ascii")
        other = authority.client("jack").certificate.read_text(encoding="ascii")
        with pytest.raises(
            SettingsError, match="client_cert: its content cannot be used with its key: key values mismatch"
        ):
            connect(read({"host": "https://127.0.0.1:9", "client_cert": other, "client_key": key}))
    finally:
        os.umask(before)

    assert seen
    assert set(seen) == {(0o700, 0o600)}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", ["-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nü\n-----END CERTIFICATE-----"]
)
def test_content_that_is_cut_off_is_said_without_it(value: str) -> None:
    with pytest.raises(SettingsError, match="PEM form") as raised:
        read({"client_cert": value})

    assert "BEGIN" not in str(raised.value)


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["sha256~abc", "Bearer sha256~abc", "bearer  sha256~abc ", "sha256~abc "])
async def test_api_key_as_a_header_has_it(given: str) -> None:
    connection = connect(read({"host": "http://127.0.0.1:9", "api_key": given}))

    assert await connection.authorization() == "Bearer sha256~abc"


@pytest.mark.parametrize(
    "given", ["Basic YTpi", "Bearer ", "two words", "tok€n", "tok\udcffen", "tok\x7fen", "tok\u2028en"]
)
def test_api_key_that_no_header_can_carry_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read({"api_key": given})

    assert "tok" not in str(raised.value).removeprefix("api_key: takes a bearer token").replace("no token", "")
