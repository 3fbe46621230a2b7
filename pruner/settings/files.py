"""Settings that name a file, or hold the content of one: certificates, keys and kubeconfigs.

Secret stores, clouds and other programs hand out contents, in PEM, as base64 or as a data URL, so content is accepted
wherever a path is. No message shows any of it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from pruner.documents.values import DocumentError, check_bounds, from_json, from_yaml
from pruner.settings.shown import may_hold_credentials, shown
from pruner.settings.values import UnfitError, text_of

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\s-]{16,}={0,2}\s*")
_PEM_BEGIN: Final = "-----BEGIN"
_NO_KUBECONFIG: Final = "is neither a path nor the content of a kubeconfig, in YAML or JSON"
LARGEST_PEM: Final = 16 * 1024 * 1024
"""Bytes of a file with certificates. The bundles of systems have some 200 kB."""
LARGEST_FILE: Final = 16 * 1024 * 1024
"""Bytes of a YAML file that is a setting's value. One with clusters may hold kubeconfigs by their content."""


def is_pem(value: str) -> bool:
    """Whether a setting's value is content in PEM form, and not the path of a file."""
    return _PEM_BEGIN in value


def named(value: str) -> str:
    """A certificate's or key's setting as a message names it."""
    return "its content" if is_pem(value) else shown(value)


def path_of(text: str) -> Path:
    if not text.isprintable():
        raise UnfitError(f"{shown(text)} is not a path: it contains a control character")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UnfitError(f"{shown(text)} names a user whose home is not known") from None


def _shown_path(text: str, path: Path) -> str:
    """The path, or what it is where the text may hold credentials:
    a path is shortened (`//`), and does not look like it any more.
    """
    return shown(text if may_hold_credentials(text) else str(path))


def _is_file(path: Path) -> bool:
    """Whether there is such a file. A name that no file can have, and a folder that cannot be entered, hold none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def file(value: object) -> str:
    """The path of a file that can be read."""
    text = text_of(value)
    path = path_of(text)
    if not _is_file(path):
        raise UnfitError(f"there is no file {_shown_path(text, path)}")
    if not os.access(path, os.R_OK):
        raise UnfitError(f"the file {_shown_path(text, path)} cannot be read: permission denied")
    return str(path)


def output(value: object) -> str:
    """The path of a file to write."""
    text = text_of(value)
    path = path_of(text)
    try:
        is_folder = path.is_dir()
        # A name that is too long is no folder, and no error either, for some versions of Python.
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UnfitError(f"{_shown_path(text, path)} cannot be a file: {error.strerror}") from None
    if is_folder:
        raise UnfitError(f"{_shown_path(text, path)} is a folder; give a file")
    return str(path)


def certificates(value: object) -> str:
    """The path of a file in PEM form, or such content."""
    text = text_of(value)
    content = _pem_content(text)
    if content is not None:
        return content
    path = file(text)
    try:
        with Path(path).open(encoding="latin-1") as opened:
            holds_pem = _PEM_BEGIN in opened.read(LARGEST_PEM)
    except OSError as error:
        raise UnfitError(f"the file {shown(path)} cannot be read: {error.strerror}") from None
    if not holds_pem:
        raise UnfitError(f"the file {shown(path)} holds nothing in PEM form")
    return path


def _pem_content(text: str) -> str | None:
    """The content in PEM form, where the text is that; None for a path."""
    for candidate in (text, *_decoded(text)):
        if is_pem(candidate):
            # A line break in a variable of the environment is often written as \n.
            whole = candidate if "\n" in candidate.strip() else candidate.replace("\\n", "\n")
            if "-----END" not in whole:
                raise UnfitError("begins in PEM form and does not end in it: the content is incomplete")
            if not whole.isascii() or "\0" in whole:
                raise UnfitError("is not in PEM form: it contains characters other than ASCII")
            return whole.strip() + "\n"
    return None


def _decoded(text: str) -> list[str]:
    """What a data URL or base64 stands for, where the text is one."""
    text = text.strip()
    if text[:5].lower() == "data:":
        kind, comma, content = text.partition(",")
        if not comma:
            return []
        if kind.lower().endswith(";base64"):
            return _from_base64(unquote_to_bytes(content).decode("latin-1"))
        return _as_text(unquote_to_bytes(content))
    return _from_base64(text)


def _from_base64(text: str) -> list[str]:
    if not _BASE64.fullmatch(text):
        return []
    compact = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return _as_text(base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True))
    except (binascii.Error, ValueError):
        return []


def _as_text(content: bytes) -> list[str]:
    try:
        return [content.decode("utf-8")]
    except UnicodeDecodeError:
        return []


def kubeconfig(value: object) -> str | dict[str, Any]:
    """Paths of kubeconfigs, joined as `KUBECONFIG` has them, or the content of one."""
    if isinstance(value, Mapping):
        if not value:
            raise UnfitError("is empty")
        content = dict(value)
        try:
            check_bounds(content)
        except DocumentError as error:
            raise UnfitError(f"{error}, which no kubeconfig is") from None
        return content
    return _kubeconfig_of_text(text_of(value), layers=4)


def _kubeconfig_of_text(text: str, layers: int) -> str | dict[str, Any]:
    """`layers` is how often the content may have been wrapped: in quotes, in base64, as a data URL."""
    stripped = text.strip()
    if layers == 0:
        raise UnfitError(_NO_KUBECONFIG)
    if stripped.startswith(('"', "'")):
        try:
            inner = from_json(stripped) if stripped.startswith('"') else from_yaml(stripped)
        except DocumentError:
            inner = None
        if not isinstance(inner, str) or not inner.strip():
            raise UnfitError(_NO_KUBECONFIG)
        return _kubeconfig_of_text(inner, layers - 1)
    if stripped[:5].lower() == "data:" or (_BASE64.fullmatch(stripped) and not _is_file(Path(stripped))):
        decoded = _decoded(stripped)
        if decoded and _is_content(decoded[0]):
            return _kubeconfig_of_text(decoded[0], layers - 1)
        if stripped[:5].lower() == "data:":
            raise UnfitError(_NO_KUBECONFIG)
    if _is_content(text):
        return _content(text)
    return _paths(stripped)


def _is_content(text: str) -> bool:
    stripped = text.strip()
    return stripped.startswith(("{", "[", '"')) or "\n" in stripped or bool(re.match(r"[\w-]+:( |$)", stripped))


def _content(text: str) -> dict[str, Any]:
    """A kubeconfig that is given by its content, JSON or YAML, as other programs hand it on.

    No message shows any of it.
    """
    try:
        decoded = from_json(text) if text.lstrip().startswith("{") else from_yaml(text)
    except DocumentError:
        decoded = None
        if text.lstrip().startswith("{"):
            # YAML's maps may be written in braces too.
            decoded = _yaml_or_none(text)
    if not isinstance(decoded, dict) or not decoded:
        raise UnfitError(_NO_KUBECONFIG)
    return dict(decoded)


def _yaml_or_none(text: str) -> Any:
    try:
        return from_yaml(text)
    except DocumentError:
        return None


def _paths(text: str) -> str:
    try:
        paths = [str(path_of(path)) for path in text.split(os.pathsep) if path]
    except UnfitError:
        # Of content that is cut at its colons each part looks harmless.
        if may_hold_credentials(text):
            raise UnfitError(f"{shown(text)} is not a path") from None
        raise
    # kubectl passes over the files of a joined list that are absent; one of them has to be there.
    if not any(_is_file(Path(path)) for path in paths):
        names = shown(text) if may_hold_credentials(text) else " nor ".join(map(shown, paths))
        raise UnfitError(f"there is no file {names}" if paths else _NO_KUBECONFIG)
    return os.pathsep.join(paths)


def json_value(text: str) -> Any:
    """The value of a setting that is given as JSON. Raises UnfitError."""
    try:
        return from_json(text)
    except DocumentError as error:
        raise UnfitError(str(error)) from None


def yaml_in_file(text: str) -> Any:
    """The value in the YAML file whose path is given. Raises UnfitError, which names the file."""
    path = Path(file(text))
    try:
        with path.open("rb") as opened:
            return from_yaml(opened.read(LARGEST_FILE + 1).decode("utf-8"))
    except OSError as error:
        raise UnfitError(f"the file {shown(str(path))} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnfitError(f"the file {shown(str(path))} is not UTF-8") from None
    except DocumentError as error:
        raise UnfitError(f"the file {shown(str(path))} {error}") from None
