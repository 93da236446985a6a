"""Splits: nothing that belongs together is parted, and every part has its share."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.fingerprints import Pictured
from app.corpus.splits import groups_of, split

BY_PATIENT = (lambda one: one.patient_id, lambda one: one.lesion_id)


def image(number: int, patient: str | None = None, lesion: str | None = None) -> Pictured:
    return Pictured(number, f"1.2.{number}", f"ISIC_{number:07}", patient, lesion, None, None, False)


IMAGES = st.lists(
    st.tuples(
        st.none() | st.integers(0, 8).map("IP_{}".format), st.none() | st.integers(0, 12).map("IL_{}".format)
    ),
    max_size=60,
).map(lambda given: [image(number, *each) for number, each in enumerate(given)])
FRACTIONS = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(
    lambda weights: [weight / sum(weights) for weight in weights]
)


@settings(max_examples=150)
@given(IMAGES, FRACTIONS, st.integers(), st.data())
def test_what_belongs_together_stays_together(images, fractions, seed, data) -> None:
    alike = []
    if len(images) > 1:
        alike = data.draw(st.lists(st.tuples(st.sampled_from(images), st.sampled_from(images)), max_size=5))
    parts = split(groups_of(images, BY_PATIENT, alike), fractions, seed, {})
    where = {
        one.instance_id: number
        for number, groups in enumerate(parts)
        for group in groups
        for one in group.images
    }
    assert len(parts) == len(fractions)
    assert sorted(where) == [one.instance_id for one in images]  # each in one part, and in one only
    for key in BY_PATIENT:
        for value in {key(one) for one in images} - {None}:
            assert len({where[one.instance_id] for one in images if key(one) == value}) == 1
    assert all(where[one.instance_id] == where[other.instance_id] for one, other in alike)


@settings(max_examples=50)
@given(IMAGES, st.integers())
def test_the_order_of_the_images_does_not_matter(images, seed) -> None:
    names = [
        [
            sorted(group.name for group in part)
            for part in split(groups_of(given, BY_PATIENT), (0.5, 0.5), seed, {})
        ]
        for given in (images, images[::-1])
    ]
    assert names[0] == names[1]


def test_strangers_are_no_group() -> None:
    assert len(groups_of([image(n) for n in range(5)], BY_PATIENT)) == 5


def test_kin_by_others_are_kin() -> None:
    chain = [image(0, "IP_1"), image(1, "IP_1", "IL_1"), image(2, None, "IL_1"), image(3)]
    (group, alone) = sorted(groups_of(chain, BY_PATIENT), key=lambda group: group.name)
    assert [one.instance_id for one in group.images] == [0, 1, 2]
    assert alone.images == (chain[3],)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_each_part_has_its_share_of_every_class(seed: int) -> None:
    images = [image(number, f"IP_{number // 4}") for number in range(2000)]
    classes = {number: "rare" if number % 50 == 0 else "common" for number in range(2000)}
    fractions = (0.8, 0.1, 0.1)
    for fraction, part in zip(
        fractions, split(groups_of(images, BY_PATIENT), fractions, seed, classes), strict=True
    ):
        counts = Counter(classes[one.instance_id] for group in part for one in group.images)
        assert abs(counts.total() - fraction * 2000) <= 4
        assert abs(counts["rare"] - fraction * 40) <= 1


def test_another_seed_is_another_split() -> None:
    groups = groups_of([image(number) for number in range(40)], BY_PATIENT)
    first, second = (split(groups, (0.5, 0.5), seed, {})[0] for seed in (1, 2))
    assert {group.name for group in first} != {group.name for group in second}
