"""`dermzoo duplicates`."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from app.archive.archive import Archive
from app.archive.fingerprints import look_at_images, same_files
from app.catalog.fingerprints import Pictured, count_without, pictured
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress
from app.cli.terms import Licences, terms_options, under
from app.corpus.duplicates import HASH_BITS, NEAR_BITS, Pair, near_pairs, perceptual_hash, same_pixels

COLUMNS = ("kind", "bits", "first", "second", "first_sop_instance_uid", "second_sop_instance_uid")


@dataclass(frozen=True, slots=True)
class Found:
    """What is alike."""

    files: Sequence[tuple[str, str]]
    pixels: Sequence[Sequence[Pictured]]
    near: Sequence[Pair]
    unseen: int  # images whose pixels cannot be decoded

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "same_file": [{"file": path, "sop_instance_uid": uid} for path, uid in self.files],
            "same_pixels": [[_named(one) for one in group] for group in self.pixels],
            "near": [
                {"bits": pair.bits, "images": [_named(pair.first), _named(pair.second)]} for pair in self.near
            ],
            "not_decoded": self.unseen,
        }


@click.command()
@click.option(
    "--near",
    "most_bits",
    type=click.IntRange(0, HASH_BITS // 2),
    default=NEAR_BITS,
    show_default=True,
    help=f"How many of the {HASH_BITS} bits of the perceptual hash of two images may differ.",
)
@terms_options
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write pairs as CSV.")
@config_option
def duplicates(
    most_bits: int, config: Path | None, output: Path | None, *, as_json: bool, licences: Licences
) -> None:
    """List images that are the same or nearly so; nothing is merged or deleted.

    Each image is decoded once, in a process of its own, and what it looks like is kept: a run that is ended
    goes on where it was. The same pixels are found however they are compressed without loss; copies that were
    scaled or compressed again by a perceptual hash. `dermzoo split` keeps what is listed here together.
    """
    with opened_archive(read_settings(config)) as archive:
        _look(archive)
        with archive.catalog.read() as connection:
            every = pictured(connection)
        images = under(archive, every, licences)
        unseen = sum(one.is_looked_at and one.pixels_sha256 is None for one in images)
        names = {one.sop_instance_uid for one in images}
        files = [one for one in same_files(archive) if licences is None or one[1] in names]
        found = Found(files, same_pixels(images), list(near_pairs(images, most_bits)), unseen)
    if output is not None:
        _write(output, found)
    if as_json:
        click.echo(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2).decode())
        return
    for path, uid in found.files:
        click.echo(f"same file    {path} is held as {uid}")
    for group in found.pixels:
        click.echo(f"same pixels  {'  '.join(one.name for one in group)}")
    for pair in found.near:
        click.echo(f"near, {pair.bits:3} bits  {pair.first.name}  {pair.second.name}")
    click.echo(
        f"{len(images)} images: {len(found.files)} more files of the same, {len(found.pixels)} groups of the "
        f"same pixels, {len(found.near)} pairs nearly so, {found.unseen} that cannot be decoded."
    )


def _look(archive: Archive) -> None:
    with archive.catalog.read() as connection:
        total = count_without(connection)
    if total:
        with progress(total, "looking at images", sys.stderr) as shown:
            for _ in look_at_images(archive, perceptual_hash):
                shown.advance()


def _write(output: Path, found: Found) -> None:
    with output.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for group in found.pixels:
            first = group[0]
            writer.writerows(_row("same pixels", 0, first, other) for other in group[1:])
        writer.writerows(_row("near", pair.bits or 0, pair.first, pair.second) for pair in found.near)


def _row(kind: str, bits: int, first: Pictured, second: Pictured) -> tuple[object, ...]:
    return kind, bits, first.isic_id, second.isic_id, first.sop_instance_uid, second.sop_instance_uid


def _named(one: Pictured) -> dict[str, str | None]:
    return {"isic_id": one.isic_id, "sop_instance_uid": one.sop_instance_uid}
