"""`python -m tests.security.fuzz`: hostile bytes for every parser, and schemathesis for the API, for as long as told.

    make fuzz                          # 60 s for each parser, then 300 s for the API
    make fuzz ARGS="--seconds 600 --only post_html"

The first finding ends it, made as small as it goes, with exit code 1.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.security.parsers import PARSERS, read
from tests.security.words import BEGINNINGS, COMMON, WORDS


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Bytes for one parser: its own words in any order, text, and plain noise."""
    words = st.sampled_from(WORDS[name] + COMMON)
    written = st.lists(words | st.text(max_size=4), max_size=40).map("".join)
    begun = written.map(lambda rest: BEGINNINGS.get(name, "") + rest)
    return (begun | written).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=300)


def hunt(name: str, seconds: float) -> int:
    """How many inputs were tried without a finding; a finding is raised, made small."""
    tried = 0

    def one(data: bytes) -> None:
        nonlocal tried
        tried += 1
        read(name, data)

    quiet = settings(
        max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seeded(random.getrandbits(64))(quiet(given(inputs(name))(one)))()
    return tried


def _hunt_api(seconds: int) -> bool:
    from tests.security.test_openapi import attack, serving_api

    with tempfile.TemporaryDirectory(prefix="pressrun-fuzz-") as folder, serving_api(Path(folder)) as url:
        done = attack(url, Path(folder), seconds)
    print(done.stdout)
    return done.returncode == 0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=int, default=60, help="for each parser")
    arguments.add_argument("--api-seconds", type=int, default=300, help="for schemathesis; 0 leaves it out")
    arguments.add_argument("--only", choices=sorted(PARSERS), help="one parser, and not the API")
    given_ = arguments.parse_args()
    # a line for each form that is none would drown ours
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    for name in [given_.only] if given_.only else list(PARSERS):
        print(f"{name:18} {hunt(name, given_.seconds):>9,} inputs in {given_.seconds} s, no finding", flush=True)
    if given_.only or not given_.api_seconds:
        return 0
    return 0 if _hunt_api(given_.api_seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
