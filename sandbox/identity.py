"""
Who may do what. The sandbox has four users of its own, one for each question that a test asks (does it work at all,
does it work with only the permissions it needs, what if it may only look, what if it may nothing), and takes more from
a file. API and registry ask here.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import yaml
from starlette.datastructures import Headers

ANY = "*"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is allowed, as in an RBAC role; `namespaces` limits it to these, None is everywhere."""

    verbs: list[str]
    resources: list[str]
    groups: list[str] = msgspec.field(default_factory=lambda: [ANY])
    namespaces: list[str] | None = None

    def allows(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        return (
            _covers(self.verbs, verb)
            and _covers(self.groups, group)
            and _covers(self.resources, resource)
            and (self.namespaces is None or namespace in self.namespaces)
        )


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    token: str = ""
    password: str = ""
    groups: list[str] = []
    rules: list[Rule] = []

    def may(self, verb: str, group: str, resource: str, namespace: str = "") -> bool:
        """Whether the user may do it; `resource` is a plural, with `/subresource` where there is one."""
        if "system:masters" in self.groups:
            return True
        return any(rule.allows(verb, group, resource, namespace) for rule in self.rules)


def _covers(allowed: list[str], wanted: str) -> bool:
    return ANY in allowed or wanted in allowed


_READ = ["get", "list", "watch"]
_PRUNER_RULES = [
    Rule(_READ, ["pods", "replicationcontrollers", "limitranges"], [""]),
    Rule(_READ, ["daemonsets", "deployments", "replicasets", "statefulsets", "controllerrevisions"], ["apps"]),
    Rule(_READ, ["jobs", "cronjobs"], ["batch"]),
    Rule(_READ, ["deploymentconfigs"], ["apps.openshift.io"]),
    Rule(_READ, ["buildconfigs", "builds"], ["build.openshift.io"]),
    Rule(_READ, ["images", "imagestreams"], ["image.openshift.io"]),
    Rule(["delete"], ["images"], ["image.openshift.io"]),
    Rule(["update"], ["imagestreams/status"], ["image.openshift.io"]),
    Rule(["get"], ["clusterversions"], ["config.openshift.io"]),
    Rule(["get", "create", "update", "patch", "delete"], ["leases"], ["coordination.k8s.io"]),
]

BUILT_IN: tuple[User, ...] = (
    User("admin", "sandbox-admin-token", "admin", ["system:cluster-admins"], [Rule([ANY], [ANY])]),
    User("pruner", "sandbox-pruner-token", "pruner", [], _PRUNER_RULES),
    User("viewer", "sandbox-viewer-token", "viewer", [], [Rule(_READ, [ANY])]),
    User("nobody", "sandbox-nobody-token", "nobody"),
)


def read_users(path: Path) -> list[User]:
    """The users of a YAML or JSON file: `users`, a list of User. msgspec.ValidationError says what is wrong in it."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return msgspec.convert(content, dict[str, list[User]])["users"]


class Users:
    """All users, by what they present."""

    def __init__(self, users: Iterable[User] = BUILT_IN, *, trust_front_proxy: bool = False) -> None:
        self.trust_front_proxy = trust_front_proxy
        self._by_name = {user.name: user for user in users}

    def __iter__(self) -> Iterator[User]:
        return iter(self._by_name.values())

    def put(self, user: User) -> None:
        """Adds a user, or changes the one of that name."""
        self._by_name[user.name] = user

    def by_token(self, token: str) -> User | None:
        return next((user for user in self._by_name.values() if token and user.token == token), None)

    def by_password(self, name: str, password: str) -> User | None:
        user = self._by_name.get(name)
        return user if user and password and user.password == password else None

    def authenticate(self, headers: Headers) -> User | None:
        """The user that the headers prove, None when they prove nobody."""
        if self.trust_front_proxy and (name := headers.get("x-remote-user")):
            # whoever stands in front has authorized the request already
            return User(name, groups=[*headers.getlist("x-remote-group"), "system:masters"])
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.by_token(credentials.strip())
        if scheme.lower() == "basic" and (pair := basic_credentials(credentials)):
            return self.by_password(*pair)
        return None

    def impersonated(self, name: str, groups: list[str]) -> User:
        known = self._by_name.get(name)
        return User(name, groups=groups, rules=known.rules if known else [])

    def tokens(self) -> Mapping[str, str]:
        return {user.name: user.token for user in self._by_name.values() if user.token}


def basic_credentials(credentials: str) -> tuple[str, str] | None:
    """Name and password of the Basic scheme (RFC 7617)."""
    try:
        name, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None
