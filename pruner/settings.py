"""What is asked for: every parameter once, and the `Settings` that they are read into.

`PARAMETERS` is the only place that knows a parameter's name, aliases, type, default, environment variable, help and
check; the table of the README, the schema in Pulumi.yaml and the resource's docstring are made from it. `read` takes what is
given (by the program, or the stack configuration) and what the environment says, the first one that says something winning
(PARAMETERS.md), and gives a frozen `Settings` or a `SettingsError` that lists everything that is wrong. It contacts nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

import msgspec
import yaml

from pruner.errors import Problem, SettingsError
from pruner.suggestions import did_you_mean

References = Literal["extended", "oc"]


class Percent(msgspec.Struct, frozen=True):
    """A share of what there is, 0 to 100."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}%"


class PodSource(msgspec.Struct, frozen=True):
    """Where a further kind says which images it uses (DECISIONS R13).

    `template` is the dotted path of a pod template or pod spec inside the object, `images` are dotted paths of fields
    that are pull specs themselves; `*` steps over the members of a list or the values of a map.
    """

    group: str
    version: str
    resource: str
    template: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.resource}.{self.group}"


PRESETS: Final[Mapping[str, tuple[PodSource, ...]]] = {
    "argo-rollouts": (PodSource("argoproj.io", "v1alpha1", "rollouts", template=("spec.template",)),),
    "knative": (
        PodSource("serving.knative.dev", "v1", "services", template=("spec.template",)),
        PodSource(
            "serving.knative.dev",
            "v1",
            "revisions",
            template=("spec",),
            images=("status.containerStatuses.*.imageDigest",),
        ),
    ),
    "tekton": (
        PodSource(
            "tekton.dev",
            "v1",
            "tasks",
            images=("spec.steps.*.image", "spec.sidecars.*.image", "spec.stepTemplate.image"),
        ),
    ),
}
"""Presets of `extra_referrers`: Argo Rollouts, Knative Services and Revisions, Tekton Tasks."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every parameter with its value. Ages are minutes, as the parameters are."""

    all_images: bool = True
    ignore_invalid_refs: bool = False
    keep_younger_than: int | None = None
    namespace: str | None = None
    prune_over_size_limit: bool = False
    prune_registry: bool = True
    registry_url: str | None = None
    registry_ca_cert: str | None = None
    registry_validate_certs: bool | None = None
    host: str | None = None
    api_key: str | None = None
    username: str | None = None
    password: str | None = None
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    validate_certs: bool | None = None
    kubeconfig: str | dict[str, Any] | None = None
    context: str | None = None
    persist_config: bool = False
    impersonate_user: str | None = None
    impersonate_groups: tuple[str, ...] = ()
    proxy: str | None = None
    no_proxy: str | None = None
    proxy_headers: dict[str, str] = {}
    keep_tag_revisions: int | None = None
    references: References = "extended"
    extra_referrers: tuple[PodSource, ...] = ()
    protect: tuple[str, ...] = ()
    strict: bool = False
    approved_plan: str | None = None
    as_of: datetime | None = None
    max_deletions: int | Percent | None = None
    allow_empty_cluster: bool = False
    workers: int = 20
    report: str | None = None

    def __repr__(self) -> str:
        shown = (
            f"{name}={'***' if name in SECRETS else getattr(self, name)!r}"
            for name in self.__struct_fields__
            if getattr(self, name) != getattr(_DEFAULTS, name)
        )
        return f"Settings({', '.join(shown)})"

    @property
    def certs_validated(self) -> bool:
        """`validate_certs`, true where it is not given; given, it wins over what a kubeconfig says."""
        return self.validate_certs is not False

    @property
    def registry_certs_validated(self) -> bool:
        """`registry_validate_certs`, which is what `validate_certs` is where it is not given."""
        return self.certs_validated if self.registry_validate_certs is None else self.registry_validate_certs


DEFAULT_KEEP_YOUNGER_THAN: Final = 60
DEFAULT_KEEP_TAG_REVISIONS: Final = 3


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the settings that decides what is pruned; all that the analysis is given of them.

    `keep_younger_than` and `keep_tag_revisions` are None where they do not apply: with `prune_over_size_limit` they do only
    where they were given (PARAMETERS.md).
    """

    all_images: bool = True
    ignore_invalid_refs: bool = False
    keep_younger_than: timedelta | None = timedelta(minutes=DEFAULT_KEEP_YOUNGER_THAN)
    keep_tag_revisions: int | None = DEFAULT_KEEP_TAG_REVISIONS
    namespace: str | None = None
    prune_over_size_limit: bool = False
    prune_registry: bool = True
    references: References = "extended"
    protect: tuple[str, ...] = ()
    strict: bool = False


def rules(settings: Settings) -> Rules:
    """What of the settings the analysis needs, defaults filled in."""
    age, revisions = settings.keep_younger_than, settings.keep_tag_revisions
    if not settings.prune_over_size_limit:
        age = DEFAULT_KEEP_YOUNGER_THAN if age is None else age
        revisions = DEFAULT_KEEP_TAG_REVISIONS if revisions is None else revisions
    return Rules(
        all_images=settings.all_images,
        ignore_invalid_refs=settings.ignore_invalid_refs,
        keep_younger_than=None if age is None else timedelta(minutes=age),
        keep_tag_revisions=revisions,
        namespace=settings.namespace,
        prune_over_size_limit=settings.prune_over_size_limit,
        prune_registry=settings.prune_registry,
        references=settings.references,
        protect=settings.protect,
        strict=settings.strict,
    )


# --- from what is given to a value -----------------------------------------------------------------------------------


class UnfitError(Exception):
    """A value that is not what the parameter takes; the message says what it takes."""


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    # The words that Ansible takes for booleans, since its playbooks' values are brought along.
    text = str(value).strip().lower()
    if text in {"true", "yes", "on", "1", "1.0", "y", "t"}:
        return True
    if text in {"false", "no", "off", "0", "0.0", "n", "f"}:
        return False
    raise UnfitError(f"takes true or false, not {value!r}")


def _integer(value: object, least: int = 0, most: int | None = None) -> int:
    if isinstance(value, bool):
        raise UnfitError(f"takes a whole number, not {value!r}")
    try:
        number = float(str(value).strip()) if not isinstance(value, int | float) else value
        whole = int(number)
    except (ValueError, OverflowError):
        raise UnfitError(f"takes a whole number, not {value!r}") from None
    if whole != number:
        raise UnfitError(f"takes a whole number, not {value!r}")
    if whole < least:
        raise UnfitError(f"must be at least {least}, not {whole}")
    if most is not None and whole > most:
        raise UnfitError(f"must be at most {most}, not {whole}")
    return whole


LONGEST_AGE: Final = 1_000_000_000
"""Minutes, 1900 years: no date is so long ago that an age could be longer."""


def _minutes(value: object) -> int:
    try:
        return _integer(value, most=LONGEST_AGE)
    except UnfitError as unfit:
        raise UnfitError(f"{unfit}; it is an age in minutes") from None


def _workers(value: object) -> int:
    return _integer(value, least=1)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnfitError(f"takes a text, not {type(value).__name__}")
    if not value.strip():
        raise UnfitError("is empty")
    return value


def _header(value: object) -> str:
    """What is sent in a header."""
    if not isinstance(value, str) or not value:
        raise UnfitError("takes a text that is not empty")
    if any(ord(character) < 32 for character in value):
        raise UnfitError("contains a line break or another control character, which a header cannot carry")
    return value


def _namespace(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise UnfitError(f"{text!r} is not a namespace's name: lower case letters, digits and dashes, at most 63")
    return text


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UnfitError(f"{text!r} names a user whose home is not known") from None


def _is_file(path: Path) -> bool:
    """Whether there is such a file. A name that is none, and a folder that may not be entered, hold no file either."""
    try:
        return path.is_file()
    except OSError:
        return False


def _file(value: object) -> str:
    path = _path(_text(value))
    if not _is_file(path):
        raise UnfitError(f"there is no file {str(path)!r}")
    if not os.access(path, os.R_OK):
        raise UnfitError(f"the file {str(path)!r} may not be read")
    return str(path)


def _certificates(value: object) -> str:
    path = _file(value)
    if "-----BEGIN" not in Path(path).read_text(encoding="latin-1"):
        raise UnfitError(f"the file {path!r} holds nothing in PEM form")
    return path


def _output(value: object) -> str:
    path = _path(_text(value))
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise UnfitError(f"{str(path)!r} cannot be a file: {error.strerror}") from None
    if is_folder:
        raise UnfitError(f"{str(path)!r} is a folder; give a file")
    return str(path)


def _url(value: object, schemes: tuple[str, ...] = ("http", "https")) -> str:
    text = _text(value).strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UnfitError(f"is not a URL: {error}") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0 or re.search(r"\s", text):
        raise UnfitError(f"takes a URL like {schemes[-1]}://host:port, not {_without_credentials(text)!r}")
    if parts.query or parts.fragment:
        raise UnfitError("takes a URL without query and fragment")
    # A scheme may be written in capitals; whether there is TLS is seen by it everywhere else.
    return (parts.scheme + text[len(parts.scheme) :]).rstrip("/")


def _without_credentials(text: str) -> str:
    """A URL as it may be shown: without the user and password in it."""
    return re.sub(r"(^|//)[^/]*@", r"\1***@", text)


def _api_url(value: object) -> str:
    text = _url(value)
    if urlsplit(text).username is not None:
        raise UnfitError("takes a URL without credentials in it: give username and password, or api_key")
    return text


def _proxy_url(value: object) -> str:
    text = _url(value)
    if urlsplit(text).username is not None:
        # It would be shown wherever the address is, in the state too.
        raise UnfitError("takes a URL without credentials in it: give proxy_headers with proxy_basic_auth")
    return text


def _registry_url(value: object) -> str:
    text = _text(value).strip()
    with_scheme = text if "://" in text else f"https://{text}"
    try:
        checked = _url(with_scheme)
    except UnfitError:
        raise UnfitError(f"takes [scheme://]host[:port], not {_without_credentials(text)!r}") from None
    parts = urlsplit(checked)
    if parts.path:
        raise UnfitError(f"takes [scheme://]host[:port] without a path, not {_without_credentials(text)!r}")
    if parts.username is not None:
        raise UnfitError("takes [scheme://]host[:port] without credentials")
    return checked if "://" in text else text.rstrip("/")


def _kubeconfig(value: object) -> str | dict[str, Any]:
    if isinstance(value, Mapping):
        if not value:
            raise UnfitError("is empty")
        return dict(value)
    text = _text(value)
    if text.lstrip().startswith("{") or "\n" in text.strip() or re.match(r"\s*\w+: ", text):
        return _kubeconfig_of_text(text)
    paths = [str(_path(path)) for path in text.strip().split(os.pathsep) if path]
    # kubectl passes over the files of a joined list that are not there; one of them has to be.
    if not any(_is_file(Path(path)) for path in paths):
        raise UnfitError(f"there is no file {' nor '.join(repr(path) for path in paths)}")
    return os.pathsep.join(paths)


def _kubeconfig_of_text(text: str) -> dict[str, Any]:
    """A kubeconfig that is given by its content, JSON or YAML, as other programs hand it on. No message shows any of it."""
    try:
        decoded = msgspec.json.decode(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (msgspec.DecodeError, yaml.YAMLError):
        decoded = None
    if not isinstance(decoded, dict):
        raise UnfitError("is neither a path nor the content of a kubeconfig, in YAML or JSON")
    return dict(decoded)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                return _texts(msgspec.json.decode(text))
            except msgspec.DecodeError as error:
                raise UnfitError(f"looks like a JSON list and is none: {error}") from None
        value = [part.strip() for part in text.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) and part for part in value):
        raise UnfitError("takes a list of texts")
    return tuple(cast("list[str]", value))


def _groups(value: object) -> tuple[str, ...]:
    return tuple(_header(group) for group in _texts(value))


def _patterns(value: object) -> tuple[str, ...]:
    patterns = _texts(value)
    for pattern in patterns:
        if not re.fullmatch(r"[^/\s@]+/[^/\s@]+|[A-Za-z0-9+._*?-]+:[0-9A-Za-z*?=_\[\]-]+", pattern):
            raise UnfitError(
                f"{pattern!r} is none of namespace/stream, namespace/stream:tag and a digest (* and ? are wildcards)"
            )
    return patterns


def _proxy_headers(value: object) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise UnfitError("takes a map of basic_auth, proxy_basic_auth and user_agent") from None
    if not isinstance(value, Mapping):
        raise UnfitError("takes a map of basic_auth, proxy_basic_auth and user_agent")
    for name, text in value.items():
        if name not in PROXY_HEADERS:
            raise UnfitError(f"does not know {name!r}{did_you_mean(name, PROXY_HEADERS)}")
        try:
            _header(text)
        except UnfitError as unfit:
            raise UnfitError(f"{name} {unfit}") from None
        if name != "user_agent" and ":" not in text:
            raise UnfitError(f"{name} takes user:password")
    return {name: value[name] for name in PROXY_HEADERS if name in value}


def _references(value: object) -> References:
    if value not in ("extended", "oc"):
        raise UnfitError(f"takes 'extended' or 'oc', not {value!r}")
    return value


def _extra_referrers(value: object) -> tuple[PodSource, ...]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value) if value.lstrip().startswith("[") else list(_texts(value))
        except msgspec.DecodeError as error:
            raise UnfitError(f"looks like a JSON list and is none: {error}") from None
    if not isinstance(value, list | tuple):
        raise UnfitError("takes a list")
    found: list[PodSource] = []
    for entry in value:
        if isinstance(entry, str) and entry.lstrip().startswith("{"):
            found.extend(_extra_referrers(f"[{entry}]"))
            continue
        if isinstance(entry, str):
            if entry not in PRESETS:
                raise UnfitError(
                    f"knows no preset {entry!r}{did_you_mean(entry, PRESETS)}; there are {', '.join(PRESETS)}"
                )
            found.extend(PRESETS[entry])
            continue
        found.append(_pod_source(entry))
    return tuple(found)


def _pod_source(entry: object) -> PodSource:
    if not isinstance(entry, Mapping):
        raise UnfitError("takes presets by name, or maps of group, version, resource, template and images")
    for name in entry:
        if name not in PodSource.__struct_fields__:
            raise UnfitError(f"does not know {name!r}{did_you_mean(str(name), PodSource.__struct_fields__)}")
    paths = {
        name: (entry[name],) if isinstance(entry.get(name), str) else entry.get(name, ())
        for name in ("template", "images")
    }
    try:
        source = msgspec.convert({**entry, **paths}, PodSource)
    except msgspec.ValidationError as error:
        raise UnfitError(f"takes group, version, resource, and template or images: {error}") from None
    if not source.template and not source.images:
        raise UnfitError(f"{source.name}: give the path of its pod template, or the paths of its image fields")
    return source


def _moment(value: object) -> datetime:
    text = _text(value)
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise UnfitError(f"takes an RFC 3339 time like 2026-01-31T12:00:00Z, not {text!r}") from None
    if moment.tzinfo is None:
        raise UnfitError(f"{text!r} does not say in which time zone it is; append Z for UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise UnfitError(f"{text!r} is outside of what a calendar has") from None


def _deletions(value: object) -> int | Percent:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            share = float(value.strip()[:-1])
        except ValueError:
            share = -1.0
        if not 0 <= share <= 100:
            raise UnfitError(f"takes a number, or 0% to 100%, not {value!r}")
        return Percent(share)
    return _integer(value)


# --- the table --------------------------------------------------------------------------------------------------------

PROXY_HEADERS: Final[Mapping[str, str]] = {
    "basic_auth": "K8S_AUTH_PROXY_HEADERS_BASIC_AUTH",
    "proxy_basic_auth": "K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH",
    "user_agent": "K8S_AUTH_PROXY_HEADERS_USER_AGENT",
}

Kind = Literal["boolean", "integer", "string", "array", "object", "any"]
"""A type of Pulumi.yaml; `any` is none, for what is a text or a map, which it has no type for."""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: what it is called, what it takes, and how what is given becomes a value."""

    name: str
    kind: Kind
    takes: str
    parse: Callable[[object], Any]
    help: str
    default: str = "none"
    aliases: tuple[str, ...] = ()
    environment: str | None = None
    secret: bool = False

    @property
    def schema_default(self) -> str:
        """The default in Pulumi.yaml, which wants one for all that is declared; it stands for nothing given.

        One that must not count as given is an empty text: the environment comes after the configuration, and with
        prune_over_size_limit two parameters apply only where they are given.
        """
        if self.kind in ("array", "object"):
            return "[]" if self.kind == "array" else "{}"
        constant = self.environment is None and self.name not in ("keep_younger_than", "keep_tag_revisions")
        return self.default if self.kind in ("boolean", "integer") and constant else ""

    def objection(self, value: object) -> str | None:
        """What is wrong with a value by itself; None where nothing is."""
        try:
            self.parse(value)
        except UnfitError as unfit:
            return str(unfit)
        return None


PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter("all_images", "boolean", "bool", _boolean,
        "also prune images that were imported from other registries; false: only those pushed to the integrated one", "true"),
    Parameter("ignore_invalid_refs", "boolean", "bool", _boolean,
        "go on with a warning where a pull spec does not parse, instead of ending with an error", "false"),
    Parameter("keep_younger_than", "integer", "minutes, >= 0", _minutes,
        "keep what is younger than this many minutes", "60"),
    Parameter("namespace", "string", "str", _namespace,
        "change the image streams of this namespace only; uses are read from all of them", "every namespace"),
    Parameter("prune_over_size_limit", "boolean", "bool", _boolean,
        "prune revisions larger than the namespace's limit for images; keep_younger_than and keep_tag_revisions then apply "
        "only where they are given", "false"),
    Parameter("prune_registry", "boolean", "bool", _boolean,
        "also delete layer links, manifests and blobs in the registry", "true"),
    Parameter("registry_url", "string", "[scheme://]host[:port]", _registry_url,
        "where the registry is reached, instead of where the cluster says it is", "discovered"),
    Parameter("registry_ca_cert", "string", "path", _certificates,
        "file of the CA certificates that the registry's is verified with"),
    Parameter("registry_validate_certs", "boolean", "bool", _boolean,
        "verify the registry's certificate", "as validate_certs", (), "K8S_AUTH_VERIFY_SSL"),
    Parameter("host", "string", "URL", _api_url,
        "the API server", "from kubeconfig", (), "K8S_AUTH_HOST"),
    Parameter("api_key", "string", "str", _header,
        "the bearer token, for the API and the registry", "none", (), "K8S_AUTH_API_KEY", secret=True),
    Parameter("username", "string", "str", _header,
        "name for basic authentication, or for a token by OpenShift's challenge", "none", (), "K8S_AUTH_USERNAME"),
    Parameter("password", "string", "str", _header,
        "the password that belongs to username", "none", (), "K8S_AUTH_PASSWORD", secret=True),
    Parameter("ca_cert", "string", "path", _certificates,
        "file of the CA certificates that the API server's is verified with", "from kubeconfig", ("ssl_ca_cert",),
        "K8S_AUTH_SSL_CA_CERT"),
    Parameter("client_cert", "string", "path", _certificates,
        "file of the client certificate", "none", ("cert_file",), "K8S_AUTH_CERT_FILE"),
    Parameter("client_key", "string", "path", _certificates,
        "file of the client certificate's key", "none", ("key_file",), "K8S_AUTH_KEY_FILE"),
    Parameter("validate_certs", "boolean", "bool", _boolean,
        "verify the API server's certificate", "true", ("verify_ssl",), "K8S_AUTH_VERIFY_SSL"),
    Parameter("kubeconfig", "any", "path, several joined by the system's path separator, or a dict", _kubeconfig,
        "the configuration of the client", "the client's own, then in-cluster", (), "K8S_AUTH_KUBECONFIG", secret=False),
    Parameter("context", "string", "str", _text,
        "context of the kubeconfig", "current context", (), "K8S_AUTH_CONTEXT"),
    Parameter("persist_config", "boolean", "bool", _boolean,
        "write refreshed credentials back to the kubeconfig", "false", (), "K8S_AUTH_PERSIST_CONFIG"),
    Parameter("impersonate_user", "string", "str", _header,
        "ask as this user", "none", (), "K8S_AUTH_IMPERSONATE_USER"),
    Parameter("impersonate_groups", "array", "list of str", _groups,
        "ask as a member of these groups; comma separated in the environment", "none", (), "K8S_AUTH_IMPERSONATE_GROUPS"),
    Parameter("proxy", "string", "URL", _proxy_url,
        "the HTTP proxy; those in the environment's usual variables are not used", "none", (), "K8S_AUTH_PROXY"),
    Parameter("no_proxy", "string", "comma separated hosts, domains, IPs, CIDRs", _text,
        "what is reached without the proxy", "none", (), "K8S_AUTH_NO_PROXY"),
    Parameter("proxy_headers", "object", "dict", _proxy_headers,
        "headers: basic_auth and proxy_basic_auth (`user:password`), user_agent", "none", (),
        "K8S_AUTH_PROXY_HEADERS_*", secret=True),
    Parameter("keep_tag_revisions", "integer", "int >= 0", _integer,
        "newest revisions of every tag that are always kept", "3"),
    Parameter("references", "string", "`extended` or `oc`", _references,
        "which uses protect an image: those that `oc adm prune images` knows, or more", "extended"),
    Parameter("extra_referrers", "any", "list", _extra_referrers,
        f"further kinds whose images are in use: presets ({', '.join(PRESETS)}), or maps of group, version, resource, and "
        "template or images (dotted paths)", "[]"),
    Parameter("protect", "array", "list of patterns", _patterns,
        "never prune these: namespace/stream, namespace/stream:tag or digests, with * and ?", "[]"),
    Parameter("strict", "boolean", "bool", _boolean,
        "a pattern of protect that matches nothing is an error", "false"),
    Parameter("approved_plan", "string", "path", _file,
        "a reviewed plan: delete only what it names and what may still go"),
    Parameter("as_of", "string", "RFC 3339 time", _moment,
        "the time that ages are measured against, so that a plan can be made again", "now, by the API server's clock"),
    Parameter("max_deletions", "string", "int or percent", _deletions,
        "a plan that would delete more images and revisions is an error, before anything is touched"),
    Parameter("allow_empty_cluster", "boolean", "bool", _boolean,
        "prune although the cluster shows no workload, or images and no image stream", "false"),
    Parameter("workers", "integer", "int >= 1", _workers,
        "concurrent requests", "20"),
    Parameter("report", "string", "path", _output,
        "file that the plan, and the result, are written to, as JSON Lines"),
)  # fmt: skip

BY_NAME: Final[Mapping[str, Parameter]] = {parameter.name: parameter for parameter in PARAMETERS}
ALIASES: Final[Mapping[str, str]] = {alias: parameter.name for parameter in PARAMETERS for alias in parameter.aliases}
SECRETS: Final = frozenset(parameter.name for parameter in PARAMETERS if parameter.secret) | {"kubeconfig"}
"""Never shown. A kubeconfig given as a dictionary holds credentials, so it is one of them."""
_DEFAULTS: Final = Settings()


def _canonical(given: Mapping[str, object], problems: list[Problem]) -> dict[str, object]:
    """What is given, by the parameters' own names; what is None was not given."""
    named: dict[str, object] = {}
    for name, value in given.items():
        parameter = ALIASES.get(name, name)
        if parameter not in BY_NAME:
            problems.append(Problem(name, f"there is no such parameter{did_you_mean(name, {**BY_NAME, **ALIASES})}"))
        elif value is not None:
            if parameter in named and named[parameter] != value:
                problems.append(
                    Problem(name, f"is another name of {parameter}, and both are given with different values")
                )
            named.setdefault(parameter, value)
    return named


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for parameter in PARAMETERS:
        if parameter.environment and environ.get(parameter.environment):
            found[parameter.name] = environ[parameter.environment]
    headers = {name: environ[variable] for name, variable in PROXY_HEADERS.items() if environ.get(variable)}
    if headers:
        found["proxy_headers"] = headers
    return found


def read(given: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings: `given`, where the stack configuration is in already, wins over the environment (PARAMETERS.md).

    Raises SettingsError with every problem of every parameter at once.
    """
    problems: list[Problem] = []
    merged = _canonical(given, problems)
    variables = _from_environment(environ or {})
    if "validate_certs" in merged:
        # The registry's follows it; the variable of both means no other thing for one of them.
        variables.pop("registry_validate_certs", None)
    settled = merged.keys() | settled_by(merged)
    merged |= {name: value for name, value in variables.items() if name not in settled}
    values: dict[str, Any] = {}
    for name, value in merged.items():
        try:
            values[name] = BY_NAME[name].parse(value)
            if name == "proxy_headers" and name in variables:
                # Each of the headers is a parameter of its own.
                values[name] = _proxy_headers(variables[name]) | values[name]
        except UnfitError as unfit:
            problems.append(Problem(name, f"{unfit}{_origin(name, given, environ)}"))
    settings = Settings(**values)
    problems.extend(_contradictions(settings, frozenset(merged)))
    if problems:
        raise SettingsError(problems)
    return settings


_PROOFS: Final = (frozenset({"api_key"}), frozenset({"username", "password"}), frozenset({"client_cert", "client_key"}))
"""Ways to prove who asks."""


def settled_by(given: Iterable[str]) -> frozenset[str]:
    """Parameters that a way of giving them with less precedence cannot add to those that are `given`.

    Of proofs of who asks those of one way count alone: a variable of the machine must not contradict an argument.
    """
    names = {ALIASES.get(name, name) for name in given}
    proofs = [proof for proof in _PROOFS if proof & names]
    return frozenset().union(*_PROOFS) - frozenset().union(*proofs) if proofs else frozenset()


def _origin(name: str, given: Mapping[str, object], environ: Mapping[str, str] | None) -> str:
    """Where a bad value came from, when it is not where one would look first."""
    if {name, *BY_NAME[name].aliases} & given.keys() or not environ:
        return ""
    return f" (from the environment, {BY_NAME[name].environment})"


def _contradictions(settings: Settings, given: frozenset[str]) -> list[Problem]:
    """Combinations of values, each fit by itself, that cannot be meant."""
    found = []
    for first, wrong, message in (
        ("api_key", settings.api_key and settings.username, "and username are both given: a token or a name, not both"),
        ("username", settings.username and "password" not in given, "is given without password"),
        ("password", settings.password and "username" not in given, "is given without username"),
        ("client_key", settings.client_key and "client_cert" not in given, "is given without client_cert"),
        ("impersonate_groups", settings.impersonate_groups and "impersonate_user" not in given,
            "needs impersonate_user: the API server takes groups only together with a user"),
        ("persist_config", settings.persist_config and isinstance(settings.kubeconfig, dict),
            "has no use with kubeconfig being a dictionary, which there is no file to write back to"),
        ("client_cert", settings.client_cert and (settings.host or "").startswith("http://"),
            "has no use with host being http://, where no certificate is shown"),
        ("ca_cert", settings.ca_cert and (settings.host or "").startswith("http://"),
            "has no use with host being http://, where there is no certificate to verify"),
        ("registry_ca_cert", settings.registry_ca_cert and (settings.registry_url or "").startswith("http://"),
            "has no use with registry_url being http://, where there is no certificate to verify"),
        ("registry_ca_cert", settings.registry_ca_cert and settings.registry_validate_certs is False
            and "registry_validate_certs" in given, "has no use with registry_validate_certs being false"),
        ("proxy_headers", "proxy_basic_auth" in settings.proxy_headers and "proxy" not in given,
            "proxy_basic_auth is given without proxy"),
    ):  # fmt: skip
        if wrong:
            found.append(Problem(first, message))
    return found
