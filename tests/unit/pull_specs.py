"""A corpus of pull specs: what each one means here, or that it is invalid.

The grammar is `[host[:port]/]path[:tag][@digest]`. Where docker-image-py's grammar, Docker's and that of `oc` are not
one, the entry says which is followed.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Meaning(NamedTuple):
    """What a pull spec says. `stream` is the image stream it refers to, `namespace/name` (R6)."""

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None
    stream: str | None = None


HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA384 = f"sha384:{HEX}{HEX[:32]}"
SHA512 = f"sha512:{HEX}{HEX}"
REGISTRY = "image-registry.openshift-image-registry.svc:5000"


def _shop(host: str, tag: str | None = None, digest: str | None = None) -> Meaning:
    """The image stream shop/web, in the registry at this host."""
    return Meaning(host, "shop/web", tag, digest, "shop/web")


VALID: Final[dict[str, Meaning]] = {
    # The integrated registry under its names.
    f"{REGISTRY}/shop/web": _shop(REGISTRY),
    f"{REGISTRY}/shop/web:v1": _shop(REGISTRY, "v1"),
    f"{REGISTRY}/shop/web@{SHA256}": _shop(REGISTRY, None, SHA256),
    f"{REGISTRY}/shop/web:v1@{SHA256}": _shop(REGISTRY, "v1", SHA256),
    "docker-registry.default.svc.cluster.local:5000/shop/web": _shop("docker-registry.default.svc.cluster.local:5000"),
    "docker-registry.default.svc:5000/shop/web:latest": _shop("docker-registry.default.svc:5000", "latest"),
    "default-route-openshift-image-registry.apps.example.com/shop/web:v1": _shop(
        "default-route-openshift-image-registry.apps.example.com", "v1"
    ),
    "172.30.1.1:5000/shop/web:v1": _shop("172.30.1.1:5000", "v1"),
    "172.30.1.1/shop/web": _shop("172.30.1.1"),
    # Any host counts as the integrated one.
    "quay.io/shop/web:v1": _shop("quay.io", "v1"),
    "docker.io/shop/web:v1": _shop("docker.io", "v1"),
    "index.docker.io/shop/web": _shop("index.docker.io"),
    "localhost/shop/web": _shop("localhost"),
    "localhost:5000/shop/web:v1": _shop("localhost:5000", "v1"),
    "registry:5000/shop/web": _shop("registry:5000"),
    "registry:80/shop/web:8080": _shop("registry:80", "8080"),
    "a.b/shop/web": _shop("a.b"),
    "1.2/shop/web": _shop("1.2"),
    "host.io:99999/shop/web": _shop("host.io:99999"),  # a port's range is not the grammar's
    "host.io:0/shop/web": _shop("host.io:0"),
    "xn--bro-hoa.io/shop/web": _shop("xn--bro-hoa.io"),
    "a-b.c-d.io/shop/web": _shop("a-b.c-d.io"),
    "a--b.io/shop/web": _shop("a--b.io"),
    "1host.io/shop/web": _shop("1host.io"),
    # IPv6 addresses, which Docker's grammar has had for some years and that of `oc` has not.
    "[::1]/shop/web": _shop("[::1]"),
    "[::1]:5000/shop/web:v1": _shop("[::1]:5000", "v1"),
    "[2001:db8::1]/shop/web": _shop("[2001:db8::1]"),
    "[2001:DB8::a]:443/shop/web:v1": _shop("[2001:DB8::a]:443", "v1"),
    f"[fd00::1]:5000/shop/web@{SHA256}": _shop("[fd00::1]:5000", None, SHA256),
    "[::ffff:a00:1]:5000/shop/web": _shop("[::ffff:a00:1]:5000"),
    # Capitals: a host may have them. `oc` also wants a dot or a colon; like Docker, we take capitals alone for a host.
    "Registry.Example.COM/shop/web": _shop("Registry.Example.COM"),
    "REGISTRY:5000/shop/web": _shop("REGISTRY:5000"),
    "REGISTRY/shop/web": _shop("REGISTRY"),
    "Host/shop/web:v1": _shop("Host", "v1"),
    "LOCALHOST/shop/web": _shop("LOCALHOST"),
    "Shop/web": Meaning("Shop", "web"),
    # Tags.
    "host.io/shop/web:1": _shop("host.io", "1"),
    "host.io/shop/web:V1.0-rc.1_x": _shop("host.io", "V1.0-rc.1_x"),
    "host.io/shop/web:_v1": _shop("host.io", "_v1"),
    "host.io/shop/web:v1.": _shop("host.io", "v1."),
    "host.io/shop/web:v1-": _shop("host.io", "v1-"),
    "host.io/shop/web:v__1": _shop("host.io", "v__1"),
    "host.io/shop/web:5000": _shop("host.io", "5000"),
    "host.io/shop/web:latest": _shop("host.io", "latest"),
    "host.io/shop/web:LATEST": _shop("host.io", "LATEST"),
    "host.io/shop/web:None": _shop("host.io", "None"),
    "host.io/shop/web:sha256": _shop("host.io", "sha256"),
    "host.io/shop/web:sha256-0123.sig": _shop("host.io", "sha256-0123.sig"),
    f"host.io/shop/web:{HEX}": _shop("host.io", HEX),
    f"host.io/shop/web:{'t' * 128}": _shop("host.io", "t" * 128),
    f"host.io/sha256:{HEX}": Meaning("host.io", "sha256", HEX),  # a repository called sha256, not a digest
    # Digests: of registered algorithms, of others by OCI's grammar, with and without a tag.
    f"host.io/shop/web@{SHA256}": _shop("host.io", None, SHA256),
    f"host.io/shop/web@{SHA384}": _shop("host.io", None, SHA384),
    f"host.io/shop/web@{SHA512}": _shop("host.io", None, SHA512),
    f"host.io/shop/web@blake3:{HEX}": _shop("host.io", None, f"blake3:{HEX}"),
    "host.io/shop/web@sha1:0123456789": _shop("host.io", None, "sha1:0123456789"),
    "host.io/shop/web@multihash+base58:QmRZxt2b1FVZPNqd8hsiyk": _shop(
        "host.io", None, "multihash+base58:QmRZxt2b1FVZPNqd8hsiyk"
    ),
    "host.io/shop/web@sha256+b64u:LCa0a2j_xo_5m0U8HTBBNB-=": _shop(
        "host.io", None, "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNB-="
    ),
    "host.io/shop/web@a.b_c-d:0": _shop("host.io", None, "a.b_c-d:0"),
    f"host.io/shop/web:v1@{SHA512}": _shop("host.io", "v1", SHA512),
    f"host.io/shop/web:latest@{SHA256}": _shop("host.io", "latest", SHA256),
    f"host:5000/shop/web:v1@{SHA256}": _shop("host:5000", "v1", SHA256),
    # Names with separators.
    "host.io/shop/web-app": Meaning("host.io", "shop/web-app", stream="shop/web-app"),
    "host.io/shop/web--app": Meaning("host.io", "shop/web--app", stream="shop/web--app"),
    "host.io/shop/web_app": Meaning("host.io", "shop/web_app", stream="shop/web_app"),
    "host.io/shop/web__app": Meaning("host.io", "shop/web__app", stream="shop/web__app"),
    "host.io/shop/web.app": Meaning("host.io", "shop/web.app", stream="shop/web.app"),
    "host.io/shop-1/web": Meaning("host.io", "shop-1/web", stream="shop-1/web"),
    "host.io/0/1:2": Meaning("host.io", "0/1", "2", stream="0/1"),
    "host.io/library/web": Meaning("host.io", "library/web", stream="library/web"),
    "host.io/localhost/web": Meaning("host.io", "localhost/web", stream="localhost/web"),
    "host.io/host.io/web": Meaning("host.io", "host.io/web", stream="host.io/web"),
    "localhost/localhost/localhost": Meaning("localhost", "localhost/localhost", stream="localhost/localhost"),
    f"host.io/shop/{'a' * 250}": Meaning("host.io", f"shop/{'a' * 250}", stream=f"shop/{'a' * 250}"),
    f"host.io/{HEX}/{HEX}": Meaning("host.io", f"{HEX}/{HEX}", stream=f"{HEX}/{HEX}"),
    f"{'h' * 300}.io/shop/web": _shop(f"{'h' * 300}.io"),
    # Blanks around, which `oc` takes no offence at where nothing else is left, and which say nothing.
    " host.io/shop/web": _shop("host.io"),
    "host.io/shop/web ": _shop("host.io"),
    "host.io/shop/web\n": _shop("host.io"),
    "host.io/shop/web:v1\n": _shop("host.io", "v1"),
    "\nhost.io/shop/web\t": _shop("host.io"),
    f"host.io/shop/web@{SHA256}\n": _shop("host.io", None, SHA256),
    "host.io/shop/web\u00a0": _shop("host.io"),
    # A host with an underscore.
    "host_x.io/shop/web": _shop("host_x.io"),
    "my_host.internal_net:5000/shop/web:v1": _shop("my_host.internal_net:5000", "v1"),
    f"a_b.io/shop/web_x@{SHA256}": Meaning("a_b.io", "shop/web_x", None, SHA256, "shop/web_x"),
    # Transports.
    "docker://host.io/shop/web": _shop("host.io"),
    "oci://host.io/shop/web:v1": _shop("host.io", "v1"),
    "OCI://host.io/shop/web:v1": _shop("host.io", "v1"),
    f"docker-pullable://host.io/shop/web@{SHA256}": _shop("host.io", None, SHA256),
    "containerd://host:5000/shop/web": _shop("host:5000"),
    " docker://host_x.io/shop/web ": _shop("host_x.io"),
    "docker://web": Meaning("", "web"),
    # A host and no namespace: no image stream.
    "host.io/web": Meaning("host.io", "web"),
    "host.io/web:v1": Meaning("host.io", "web", "v1"),
    "host:5000/web": Meaning("host:5000", "web"),
    "localhost/web": Meaning("localhost", "web"),
    "[::1]:5000/web:v1": Meaning("[::1]:5000", "web", "v1"),
    f"host.io/web@{SHA256}": Meaning("host.io", "web", None, SHA256),
    "a.b/c": Meaning("a.b", "c"),
    f"host.io/{'a' * 255}": Meaning("host.io", "a" * 255),
    # More than namespace and name: no image stream.
    "host.io/a/shop/web": Meaning("host.io", "a/shop/web"),
    "host.io/a/b/c/d/e:v1": Meaning("host.io", "a/b/c/d/e", "v1"),
    "host:5000/group/sub/app:v1": Meaning("host:5000", "group/sub/app", "v1"),
    f"host.io/a/b/c@{SHA256}": Meaning("host.io", "a/b/c", None, SHA256),
    "host.io/shop/web/latest": Meaning("host.io", "shop/web/latest"),
    "[::1]/a/b/c": Meaning("[::1]", "a/b/c"),
    # No host: the first component has neither dot nor colon nor capitals and is not localhost. The library's raw
    # grammar takes any first component for a host; Docker's rule is followed.
    "web": Meaning("", "web"),
    "web:v1": Meaning("", "web", "v1"),
    "web.app": Meaning("", "web.app"),
    f"web@{SHA256}": Meaning("", "web", None, SHA256),
    f"web:v1@{SHA256}": Meaning("", "web", "v1", SHA256),
    "shop/web": Meaning("", "shop/web"),
    "shop/web:v1": Meaning("", "shop/web", "v1"),
    f"shop/web@{SHA256}": Meaning("", "shop/web", None, SHA256),
    "library/web": Meaning("", "library/web"),
    "registry/shop/web": Meaning("", "registry/shop/web"),
    "registry/shop/web:v1": Meaning("", "registry/shop/web", "v1"),
    "a/b/c/d": Meaning("", "a/b/c/d"),
    "1/2/3": Meaning("", "1/2/3"),
    "a--b/c": Meaning("", "a--b/c"),
    "a_b/c": Meaning("", "a_b/c"),
    "localhosts/shop/web": Meaning("", "localhosts/shop/web"),
    "a" * 255: Meaning("", "a" * 255),
    # Traps: what looks like a host and port, or like a digest, and is a name and a tag.
    "localhost": Meaning("", "localhost"),
    "localhost:5000": Meaning("", "localhost", "5000"),
    "host:5000": Meaning("", "host", "5000"),
    "host.io": Meaning("", "host.io"),
    "host.io:5000": Meaning("", "host.io", "5000"),
    "127.0.0.1": Meaning("", "127.0.0.1"),
    "sha256:abc": Meaning("", "sha256", "abc"),
    SHA256: Meaning("", "sha256", HEX),
    HEX: Meaning("", HEX),  # Docker's client refuses it as an image ID; a pull spec it is all the same
    f"{HEX}:v1": Meaning("", HEX, "v1"),
    "latest": Meaning("", "latest"),
    "scratch": Meaning("", "scratch"),
}

INVALID: Final[tuple[str, ...]] = (
    # Blanks.
    "",
    " ",
    "\t",
    "\n",
    "host.io/shop/ web",
    "host.io/shop web",
    "host.io/shop/web: v1",
    f"host.io/shop/web @{SHA256}",
    "host.io/shop/web\x00",
    # Capitals in a path.
    "host.io/shop/Web",
    "host.io/Shop/web",
    "host.io/SHOP/WEB:v1",
    "shop/Web",
    "Web",
    "WEB:v1",
    # Parts that are empty.
    "/",
    "//",
    "/web",
    "/shop/web",
    "host.io/",
    "host.io//web",
    "host.io/shop/",
    "host.io/shop//web",
    "host.io/shop/web/",
    "host.io/shop/web:",
    "host.io/shop/web:@" + SHA256,
    ":v1",
    "host.io/:v1",
    "host.io/shop/web@",
    f"@{SHA256}",
    "host.io:/shop/web",
    # Tags.
    "host.io/shop/web:.v1",
    "host.io/shop/web:-v1",
    "host.io/shop/web:v1+2",
    "shop/web:v1+2",
    "host.io/shop/web:v1:v2",
    "host.io/shop/web:v1/x",
    "host.io/shop/web:vé",
    "host.io/shop/web:$TAG",
    f"host.io/shop/web:{'t' * 129}",
    # Digests.
    "host.io/shop/web@latest",
    "host.io/shop/web@sha256:",
    "host.io/shop/web@sha256:0123",
    f"host.io/shop/web@sha256:{HEX}0",
    f"host.io/shop/web@sha256:{HEX[:-1]}",
    f"host.io/shop/web@sha256:{HEX[:-1]}g",
    f"host.io/shop/web@sha256:{HEX.upper()}",
    f"host.io/shop/web@SHA256:{HEX}",
    f"host.io/shop/web@sha384:{HEX}",
    f"host.io/shop/web@sha512:{HEX}",
    f"host.io/shop/web@blake3:{HEX}0",
    f"host.io/shop/web@{HEX}",
    f"host.io/shop/web@{SHA256}@{SHA256}",
    f"host.io/shop/web@{SHA256}:v1",
    f"host.io/shop/web@sha-:{HEX}",
    f"host.io/shop/web@+sha:{HEX}",
    "host.io/shop/web@sha1:",
    "host.io/shop/web@sha1:a.b",
    # Names.
    "host.io/shop/-web",
    "host.io/shop/web-",
    "host.io/shop/_web",
    "host.io/shop/web_",
    "host.io/shop/.web",
    "host.io/shop/web.",
    "host.io/shop/web..app",
    "host.io/shop/web___app",
    "host.io/shop/web._app",
    "host.io/shop/wéb",
    "host.io/shop/../web",
    "host.io/shop/web*",
    "host.io/shop/web?x=1",
    "host.io/shop/web#x",
    "host.io/shop/web,other",
    "a" * 256,
    f"host.io/{'a' * 256}",
    f"host.io/shop/{'a' * 251}",
    # Hosts.
    "-host.io/shop/web",
    "_host.io/shop/web",
    "host_.io/shop/web",
    "host-.io/shop/web",
    "host..io/shop/web",
    "host.io./shop/web",
    ".host.io/shop/web",
    "büro.io/shop/web",
    "host:port/shop/web",
    "host:-1/shop/web",
    "host:5000:6000/shop/web",
    "user@host.io/shop/web",
    "::1/shop/web",
    "[::1/shop/web",
    "[::1]",
    "[::1]x/shop/web",
    "[::g]/shop/web",
    "[fe80::1%25eth0]/shop/web",
    "[]/shop/web",
    # Texts that are not pull specs.
    "https://host.io/shop/web",
    "s3://host.io/shop/web",
    "docker://",
    "docker:// host.io/shop/web",
    "docker://oci://host.io/shop/web",
    "docker:host.io/shop/web",
    "oci:/var/lib/image",
    "${REGISTRY}/shop/web",
    "$(IMAGE)",
    "{{ image }}",
    "<image>",
    "'host.io/shop/web'",
    '"host.io/shop/web"',
    "host.io\\shop\\web",
    "🐳",
)
