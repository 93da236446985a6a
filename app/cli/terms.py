"""The options that choose images by their terms: the same for every command that chooses images."""

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

import click

from app.archive.archive import Archive
from app.catalog.fingerprints import Pictured
from app.catalog.kin import values_by_instance
from app.corpus.licences import LICENCE_IDS
from app.dicom.private_block import LICENCE_ID
from app.errors import InvalidQuery
from app.web.terms import COMMERCIAL_SAFE, LICENCE, wanted_licences

Command = TypeVar("Command", bound=Callable[..., None])
Licences = frozenset[str] | None  # those that are asked for


def terms_options(command: Command) -> Command:
    """Give a command the options; it is called with `licences`, None where none is asked for."""

    @click.option(
        "--license", "licence_text", metavar="LICENCES",
        help=f"Only images under one of these, separated by commas: {', '.join(LICENCE_IDS)}.",
    )  # fmt: skip
    @click.option("--commercial-safe", is_flag=True, help="Only images whose licence allows commercial use.")
    @functools.wraps(command)
    def chosen(
        *arguments: object, licence_text: str | None, commercial_safe: bool, **options: object
    ) -> None:
        asked = [(LICENCE, licence_text)] if licence_text is not None else []
        try:
            licences = wanted_licences([*asked, *([(COMMERCIAL_SAFE, "true")] if commercial_safe else [])])
        except InvalidQuery as error:
            raise click.UsageError(str(error)) from error
        command(*arguments, licences=licences, **options)

    return chosen  # type: ignore[return-value] # it takes the place of two arguments


def under(archive: Archive, images: Iterable[Pictured], licences: Licences) -> list[Pictured]:
    """Return those of the images that are under one of the licences."""
    if licences is None:
        return list(images)
    with archive.catalog.read() as connection:
        licence_of = values_by_instance(connection, LICENCE_ID)
    return [one for one in images if licence_of.get(one.instance_id) in licences]
