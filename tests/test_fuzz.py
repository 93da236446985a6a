"""A little of `make fuzz`: each target reads its corpus, and what becomes of it by chance."""

import random

import pytest

from fuzz.child import changed
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.run(seed)
    chance = random.Random(name)
    for _ in range(target.few):
        target.run(changed(chance, seeds))
