"""One row and what was known of its image before: what is known of it from then on, and what is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.catalog.documents import Attributes
from app.catalog.images import KnownImage
from app.corpus.isic.block import block_contents, citation
from app.corpus.isic.dictionary import Dictionary
from app.corpus.isic.fields import FIELD_BY_COLUMN
from app.corpus.isic.overlay import overlay_of
from app.corpus.isic.rows import BadRow, Row, row_of
from app.corpus.isic.vocabulary import find_diagnosis, find_site
from app.corpus.licences import Licence, effective_licence
from app.dicom import private_block as private

# What the set gives, beside the image's own: kept, so that neither is forgotten when the other comes again.
_SET_LICENCE, _SET_ATTRIBUTION, _COLLECTION = "set_license", "set_attribution", "set_collection"


@dataclass(frozen=True, slots=True)
class SetTerms:
    """What a whole set has in common."""

    licence_id: str | None = None  # the stricter of this and the row's own holds
    attribution: str | None = None  # for rows that name none
    collection: str | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """What a row comes to."""

    image: KnownImage
    shown: Attributes
    has_terms: bool  # whether its pixels may be served


def join(
    row: Row, before: KnownImage | None, terms: SetTerms, source: str, sop_instance_uid: str | None
) -> Joined | BadRow:
    """Put a row to what was known of its image: its columns are added, and replace those there were."""
    known: Mapping[str, Any] = before.known if before else {}
    if before and before.published:
        merged = merged_columns(before.published, row.published)
        judged = replace(row, published=merged) if merged == row.published else _judged(row.line, merged)
        if isinstance(judged, BadRow):
            return judged
        row = judged
    values = row.values
    of_set = _of_set(terms, known)
    licence = _licence(values.get("copyright_license"), of_set.get(_SET_LICENCE))
    attribution = values.get("attribution") or of_set.get(_SET_ATTRIBUTION)
    site = find_site(values)
    contents = block_contents(
        values,
        row.published,
        site,
        find_diagnosis(values),
        licence=licence,
        attribution=attribution,
        collection=of_set.get(_COLLECTION),
    )
    cited = citation(row.isic_id, licence, attribution) if licence else None
    image = KnownImage(row.isic_id, source, sop_instance_uid, known=values | of_set, published=row.published)
    has_terms = licence is not None and bool(attribution or not licence.needs_attribution)
    return Joined(image, overlay_of(row, site, contents, cited), has_terms)


def as_imported(row: Row, terms: SetTerms, source: str, sop_instance_uid: str) -> KnownImage:
    """Return what is known of an image whose file says all of it: the importer has just made it."""
    return KnownImage(
        row.isic_id, source, sop_instance_uid, known=row.values | _of_set(terms, {}), published=row.published
    )


def _of_set(terms: SetTerms, known: Mapping[str, Any]) -> dict[str, str]:
    kept = {
        _SET_LICENCE: terms.licence_id or known.get(_SET_LICENCE),
        _SET_ATTRIBUTION: terms.attribution or known.get(_SET_ATTRIBUTION),
        _COLLECTION: terms.collection or known.get(_COLLECTION),
    }
    return {name: value for name, value in kept.items() if value}


def as_stated(isic_id: str, document: Attributes) -> KnownImage | None:
    """Return what a file's own private block says of its image, None if it has none."""
    text = _first(document, private.METADATA_AS_PUBLISHED)
    try:
        published = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        published = {}
    if not isinstance(published, dict):
        published = {}
    stated = {
        _SET_LICENCE: _first(document, private.LICENCE_ID),
        _SET_ATTRIBUTION: _first(document, private.ATTRIBUTION),
        _COLLECTION: _first(document, private.COLLECTION),
    }
    known = {name: value for name, value in stated.items() if value}
    if not published and not known:
        return None
    cells = {str(column): str(cell) for column, cell in published.items()}
    return KnownImage(isic_id, "", known=known, published=cells)


def hidden_image(
    isic_id: str,
    source: str,
    before: KnownImage | None,
    sop_instance_uids: Sequence[str],
    public_from: str | None = None,
) -> KnownImage:
    """Return what is kept of an image that nobody is to be shown: nothing that tells of it."""
    uid = sop_instance_uids[0] if sop_instance_uids else before.sop_instance_uid if before else None
    day = public_from or (before.public_from if before else None)
    return KnownImage(isic_id, source, uid, is_public=False, public_from=day)


def merged_columns(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of both; a field that a later row has is no longer read from an older column.

    What is blank and was not there before is left out.
    """
    fields = {FIELD_BY_COLUMN[column] for column in now if column in FIELD_BY_COLUMN}
    kept = {
        column: now.get(column, cell)
        for column, cell in before.items()
        if column in now or FIELD_BY_COLUMN.get(column) not in fields
    }
    return kept | {column: cell for column, cell in now.items() if cell and column not in kept}


def _judged(line: int, published: Mapping[str, str]) -> Row | BadRow:
    row = row_of(line, published)
    return row if isinstance(row, BadRow) else Dictionary().judge(row)


def _licence(of_image: str | None, of_set: str | None) -> Licence | None:
    return effective_licence(of_image, of_set) if of_image or of_set else None


def _first(document: Attributes, number: int) -> str | None:
    found: Sequence[Any] = private.values_of(document, number)
    return str(found[0]) if found else None
