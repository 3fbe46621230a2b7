"""A plan is a function of its inputs, in whatever order a process walks its sets (P8)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import hashlib
from pruner.plan import encode
from tests.builders.objects import *
images = [
    image(digest(f"i{n}"), layers=[digest(f"l{n % 7}")], config=digest(f"c{n % 5}"), age=n * 40) for n in range(60)
]
lists = [index(digest(f"x{n}"), [digest(f"i{n}"), digest(f"i{n + 1}")]) for n in range(0, 20, 3)]
streams = [
    image_stream(f"n{n % 3}/s{n}", {f"t{m}": [digest(f"i{n + m}"), digest(f"x{m}")] for m in range(4)})
    for n in range(12)
]
users = [pod(f"a/p{n}", f"host.io/n{n % 3}/s{n}@{digest(f'i{n}')}", running=[digest(f"c{n}")]) for n in range(3)]
for references in ("oc", "extended"):
    found = analysed(*images, *lists, *streams, *users, references=references)
    print(hashlib.sha256(b"".join(encode(found.plan))).hexdigest(), found.plan.deletions)
"""


def test_plans_are_equal_bytes_under_any_hash_seed_P8() -> None:
    root = Path(__file__).resolve().parents[2]
    printed = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(printed) == 1
    assert "" not in printed
