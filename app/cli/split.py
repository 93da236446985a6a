"""`dermzoo split`."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.archive.archive import Archive
from app.catalog.fingerprints import Pictured, pictured
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.terms import Licences, terms_options, under
from app.corpus.classes import CLASSES, classes_of
from app.corpus.duplicates import near_pairs, same_pixels
from app.corpus.splits import Group, groups_of, split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

COLUMNS = ("isic_id", "sop_instance_uid", "patient_id", "lesion_id", "group", "class", "split")
USUAL_NAMES = {1: ("all",), 2: ("train", "test"), 3: ("train", "validation", "test")}


def _fractions(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    # In the range: no part is empty by intention, and "nan" is none of it.
    if not fractions or not all(0 < part <= 1 for part in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise click.BadParameter("give numbers that add up to 1, such as 0.8,0.1,0.1")
    return fractions


@click.command(name="split")
@click.option(
    "--by",
    type=click.Choice(["patient", "lesion"]),
    default="patient",
    show_default=True,
    help="What must not be parted. A patient's lesions stay together too.",
)
@click.option(
    "--fractions",
    default="0.8,0.1,0.1",
    show_default=True,
    callback=_fractions,
    help="The share of each part, separated by commas.",
)
@click.option("--names", help="Names of the parts, separated by commas.  [default: train,validation,test]")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another split.")
@click.option(
    "--stratify",
    metavar="FIELD",
    default="diagnosis_1",
    show_default=True,
    help=f"Each part has its share of every value of it: {', '.join(CLASSES)}, or `none`.",
)
@click.option("--without-duplicates", is_flag=True, help="Do not heed which images are alike.")
@terms_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write here, not out.")
@config_option
def split_command(  # noqa: PLR0913 one argument an option
    by: str,
    fractions: Sequence[float],
    names: str | None,
    seed: int,
    stratify: str,
    config: Path | None,
    output: Path | None,
    *,
    without_duplicates: bool,
    licences: Licences,
) -> None:
    """Part the images without a leak, as CSV: one row for each image, with the part it is in.

    Images of one patient (or one lesion) are in one part, and so are images that `dermzoo duplicates` finds
    alike. An image without a patient is its own. The same images and seed give the same split everywhere.
    """
    parts = _names(names, len(fractions))
    if stratify != "none" and stratify not in CLASSES:
        raise click.BadParameter(f"one of {', '.join(CLASSES)}, or none", param_hint="--stratify")
    with opened_archive(read_settings(config)) as archive:
        images, classes = _images(archive, stratify, licences)
    alike = [] if without_duplicates else _alike(images)
    keys = (
        [lambda one: one.lesion_id]
        if by == "lesion"
        else [
            lambda one: one.patient_id,
            lambda one: one.lesion_id,
        ]
    )
    dealt = split(groups_of(images, keys, alike), fractions, seed, classes)
    with _opened(output) as text:
        _write(text, dealt, parts, classes)
    for name, groups in zip(parts, dealt, strict=True):
        counts = Counter(classes.get(one.instance_id, "unknown") for group in groups for one in group.images)
        told = ", ".join(f"{value} {count}" for value, count in sorted(counts.items()))
        click.echo(f"{name}: {counts.total()} images in {len(groups)} groups: {told}", err=True)


def _names(names: str | None, count: int) -> tuple[str, ...]:
    given = tuple(names.split(",")) if names else USUAL_NAMES.get(count, ())
    if len(given) != count or len(set(given)) != count:
        raise click.BadParameter(f"name {count} parts, separated by commas", param_hint="--names")
    return given


def _images(archive: Archive, stratify: str, licences: Licences) -> tuple[list[Pictured], dict[int, str]]:
    with archive.catalog.read() as connection:
        images = pictured(connection)
        classes = {} if stratify == "none" else classes_of(connection, stratify)
    if not images:
        raise click.ClickException("There are no images here. Next: dermzoo import isic --help")
    if not (chosen := under(archive, images, licences)):
        raise click.ClickException(f"None of {len(images)} images is under a licence that was asked for.")
    return chosen, classes


def _alike(images: Sequence[Pictured]) -> list[tuple[Pictured, Pictured]]:
    unseen = sum(not one.is_looked_at for one in images)
    if unseen:
        raise click.ClickException(
            f"{unseen} images have not been compared with the others. Run: dermzoo duplicates, "
            "or say --without-duplicates"
        )
    same = [(group[0], other) for group in same_pixels(images) for other in group[1:]]
    return same + [(pair.first, pair.second) for pair in near_pairs(images)]


@contextmanager
def _opened(output: Path | None) -> "Iterator[TextIO]":
    if output is None:
        yield sys.stdout
    else:
        with output.open("w", encoding="utf-8", newline="") as text:
            yield text


def _write(
    text: "TextIO", dealt: Sequence[Sequence[Group]], parts: Sequence[str], classes: dict[int, str]
) -> None:
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    rows = (
        (
            one.name,
            (
                one.isic_id,
                one.sop_instance_uid,
                one.patient_id,
                one.lesion_id,
                group.name,
                classes.get(one.instance_id),
                part,
            ),
        )
        for part, groups in zip(parts, dealt, strict=True)
        for group in groups
        for one in group.images
    )
    writer.writerows(row for _, row in sorted(rows, key=lambda row: row[0]))
