"""Leak-free splits: what belongs together stays together, and each part has its share of every class."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.catalog.fingerprints import Pictured


@dataclass(frozen=True, slots=True)
class Group:
    """Images that must not be parted; `name` is that of the first of them, in the order of names."""

    name: str
    images: tuple[Pictured, ...]


def groups_of(
    images: Sequence[Pictured],
    keys: Iterable[Callable[[Pictured], str | None]],
    alike: Iterable[tuple[Pictured, Pictured]] = (),
) -> list[Group]:
    """Return the groups of images that share a key or are alike, directly or through others."""
    parents = {one.instance_id: one.instance_id for one in images}

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for key in keys:
        sharing: dict[str, list[int]] = {}
        for one in images:
            if (value := key(one)) is not None:
                sharing.setdefault(value, []).append(one.instance_id)
        for numbers in sharing.values():
            for first, second in pairwise(numbers):
                parents[root(second)] = root(first)
    for one, other in alike:
        if one.instance_id in parents and other.instance_id in parents:
            parents[root(other.instance_id)] = root(one.instance_id)
    gathered: dict[int, list[Pictured]] = {}
    for one in images:
        gathered.setdefault(root(one.instance_id), []).append(one)
    return [
        Group(min(one.name for one in members), tuple(sorted(members, key=lambda one: one.name)))
        for members in gathered.values()
    ]


def split(
    groups: Sequence[Group],
    fractions: Sequence[float],
    seed: int,
    class_of: Mapping[int, str],
) -> list[list[Group]]:
    """Deal groups out to parts of these fractions; the same input and seed give the same parts.

    `class_of` names the class of an instance, by the number of its row; those without are a class of their
    own. The largest groups go first, each to the part that lacks most of what it has.
    """
    totals = Counter(class_of.get(one.instance_id, "") for group in groups for one in group.images)
    lacking = [Counter({name: fraction * count for name, count in totals.items()}) for fraction in fractions]
    room = [fraction * totals.total() for fraction in fractions]
    parts: list[list[Group]] = [[] for _ in fractions]
    for group in sorted(groups, key=lambda group: (-len(group.images), _shuffled(seed, group.name))):
        has = Counter(class_of.get(one.instance_id, "") for one in group.images)

        def want(part: int, has: Counter[str] = has) -> tuple[float, float]:
            # In shares of the class, so that a rare one weighs as much as a common one.
            wanted = sum(count * lacking[part][name] / totals[name] for name, count in has.items())
            return wanted, room[part]

        chosen = max(range(len(parts)), key=want)
        parts[chosen].append(group)
        lacking[chosen].subtract(has)
        room[chosen] -= len(group.images)
    return parts


def _shuffled(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
