"""A new version while a campaign runs."""

from __future__ import annotations

import random

from tests.faults.suite.bed import Bed
from tests.faults.suite.faults.table import fault
from tests.faults.suite.house import PARTS


@fault("deploy")
def deploy(bed: Bed, rng: random.Random) -> str:
    """Its migration first, while the old version works on; then each part by itself."""
    house = bed.house
    parts = list(PARTS)
    rng.shuffle(parts)
    if (house.folder / "next").exists():
        return "the next version is there already"
    tree = house.next_version()
    house.upgrade(tree)
    house.tree = tree
    # what is typed from now on is the next version's, too
    house.environ["PYTHONPATH"] = str(tree)
    for part in parts:
        with house.down(part):
            house.terminate(part)
    return f"the next version, in the order {', '.join(parts)}"
