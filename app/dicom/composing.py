"""Part 10 files composed of metadata and bulk data that arrive apart (PS3.18 10.5.1, Annex F; PS3.19 A.1).

Runs in the cage. Headers are written to a file of their own, bulk data stay where they are: what comes back
are the ranges that, one after the other, make each file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from app.dicom.encoding import PIXEL_DATA, SPECIFIC_CHARACTER_SET
from app.dicom.image_parts import encapsulated_pieces, native_pieces, take_picture
from app.dicom.json_model import Attribute
from app.dicom.json_reader import read_data_set, read_json
from app.dicom.media_types import (
    ALIASES,
    BY_TRANSFER_SYNTAX,
    EXPLICIT_VR_LITTLE_ENDIAN,
    OCTET_STREAM,
    TRANSFER_SYNTAXES,
)
from app.dicom.part10 import PREAMBLE, file_meta
from app.dicom.parts import (
    WRITTEN,
    BulkPart,
    Composed,
    Elsewhere,
    MetadataPart,
    Picture,
    Piece,
    SopReference,
)
from app.dicom.rendering_options import PNG
from app.dicom.uids import DEFLATED, UNCOMPRESSED, VIDEO, is_valid_uid
from app.dicom.writing import ASCII, UTF_8, character_sets_for, data_set_pieces
from app.dicom.xml_reader import read_xml
from app.errors import ArchiveError, NotConvertible, Unaddressable, Unreadable, UnsupportedTransferSyntax

ENCAPSULATED_DOCUMENT, MIME_TYPE, DOCUMENT_LENGTH = "00420011", "00420012", "00420015"
_PDF, _PDF_START = "application/pdf", b"%PDF-"
# What is written anew for every file; all else of group 0002 is left out (PS3.10 7.1).
_MADE_ANEW = frozenset(f"0002{element}" for element in ("0001", "0002", "0003", "0010", "0012", "0013"))
_FILE_META = "0002"
_TEXT_VRS = frozenset({"LT", "ST", "UC", "UT"})
_LOSSLESS_JPEG = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
_FRAME = re.compile(r"(.+)/frames/([1-9][0-9]{0,8})")


def compose(
    path: str, documents: Sequence[MetadataPart], parts: Sequence[BulkPart], target: str
) -> list[Composed]:
    """Compose the data sets of documents: ranges of a file, as the bulk data are.

    Headers are written to the end of `target`. Raises Unreadable for JSON that is none: then it is not known
    how many data sets there would be.
    """
    bulk = _Bulk(parts)
    return [
        _composed(one, path, bulk, target) for document in documents for one in _data_sets(path, document)
    ]


def _data_sets(path: str, document: MetadataPart) -> Sequence[dict[str, Attribute] | Unreadable]:
    content = _read(path, document.place)
    if document.is_json:
        return read_json(content)
    try:
        return [read_data_set(read_xml(content, document.charset))]
    except Unreadable as error:
        return [error.with_traceback(None)]


def _read(path: str, place: Elsewhere) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(place.offset)
        return file.read(place.length)


class _Bulk:
    """The parts with bulk data by what names them, frames by the URI of all of them and their number."""

    def __init__(self, parts: Sequence[BulkPart]) -> None:
        self.parts = {part.location: part for part in parts}
        self.frames: dict[str, dict[int, BulkPart]] = {}
        for part in parts:
            if match := _FRAME.fullmatch(part.location):
                self.frames.setdefault(match[1], {})[int(match[2])] = part

    def named_by(self, attributes: Mapping[str, Attribute]) -> Iterator[str]:
        """Yield the locations of the parts that a data set names."""
        for attribute in attributes.values():
            if uri := attribute.get("BulkDataURI"):
                found = [self.parts[uri]] if uri in self.parts else self.frames.get(uri, {}).values()
                yield from (part.location for part in found)
            elif attribute["vr"] == "SQ":
                for item in attribute.get("Value", ()):
                    yield from self.named_by(item)


def _composed(attributes: dict[str, Attribute] | Unreadable, path: str, bulk: _Bulk, target: str) -> Composed:
    if isinstance(attributes, Unreadable):
        return Composed(error=attributes)
    used = tuple(bulk.named_by(attributes))
    reference = None
    try:
        reference = _reference(attributes)
        return replace(_Composition(attributes, reference, path, bulk).written(target), used=used)
    except NotConvertible as error:
        return Composed(reference, used=used, error=Unreadable(str(error)))
    except ArchiveError as error:
        return Composed(reference, used=used, error=error.with_traceback(None))


def _reference(attributes: Mapping[str, Attribute]) -> SopReference:
    uids = [attributes.get(tag, {}).get("Value", [None]) for tag in ("00080016", "00080018")]
    for name, values in zip(("SOP Class UID", "SOP Instance UID"), uids, strict=True):
        if len(values) != 1 or not isinstance(values[0], str) or not is_valid_uid(values[0]):
            raise Unaddressable(f"The data set has no valid {name}.")
    return SopReference(uids[0][0], uids[1][0])


class _Composition:
    """One data set and the parts that it names."""

    def __init__(
        self, attributes: dict[str, Attribute], reference: SopReference, path: str, bulk: _Bulk
    ) -> None:
        meta = {tag: attributes.pop(tag) for tag in list(attributes) if tag.startswith(_FILE_META)}
        self._named_syntax = str(next(iter(meta.get("00020010", {}).get("Value", ())), ""))
        self._discarded = tuple(tag for tag in meta if tag not in _MADE_ANEW)
        self._attributes = attributes
        self._reference = reference
        self._path = path
        self._bulk = bulk
        self._replaced: dict[str, Attribute] = {}

    def written(self, target: str) -> Composed:
        """Write what is not bulk data to the end of the target, and return the whole."""
        self._describe_document()
        syntax, pixels = self._pixels()
        character_sets = self._character_sets()
        before, after = (
            data_set_pieces(
                {tag: one for tag, one in self._attributes.items() if (tag > PIXEL_DATA) == is_after},
                explicit=True,
                character_sets=character_sets,
                locate=self._locate,
            )
            for is_after in (False, True)
        )
        meta = PREAMBLE + file_meta(*self._reference, syntax)
        with Path(target).open("ab") as out:
            pieces = _ranges([meta, *before, *pixels, *after], out)
        return Composed(self._reference, pieces, self._replaced, self._discarded)

    def _part(self, uri: str) -> BulkPart:
        part = self._bulk.parts.get(uri)
        if part is None:
            raise Unreadable(f"the bulk data {uri[:200]} are named, but no part has this Content-Location")
        return part

    def _locate(self, uri: str) -> Elsewhere:
        part = self._part(uri)
        if part.is_picture:
            raise Unreadable(f"{uri[:200]} is {part.media_type}, which can stand in Pixel Data alone")
        return part.place

    def _describe_document(self) -> None:
        """Complete the Encapsulated Document Module (PS3.3 C.24.2) by what its part says."""
        uri = self._attributes.get(ENCAPSULATED_DOCUMENT, {}).get("BulkDataURI")
        if uri is None:
            return
        part = self._part(uri)
        if part.media_type != OCTET_STREAM:
            self._complete(MIME_TYPE, {"vr": "LO", "Value": [part.media_type]})
        self._complete(DOCUMENT_LENGTH, {"vr": "UL", "Value": [part.place.length]})
        if self._attributes.get(MIME_TYPE, {}).get("Value") == [_PDF] and not _read(
            self._path, part.place._replace(length=min(part.place.length, len(_PDF_START)))
        ).startswith(_PDF_START):
            raise Unreadable(f"{uri[:200]} is called {_PDF} and does not begin like one")

    def _complete(self, tag: str, attribute: Attribute) -> None:
        if not self._attributes.get(tag, {}).get("Value"):
            self._attributes[tag] = attribute

    def _pixels(self) -> tuple[str, list[Piece]]:
        """Return the transfer syntax, and the element of the pixels where it is made of parts."""
        attribute = self._attributes.get(PIXEL_DATA, {})
        uri = attribute.get("BulkDataURI")
        if uri is None:
            if attribute.get("InlineBinary") and not self._is_native(OCTET_STREAM, self._named_syntax):
                raise Unreadable(f"inline Pixel Data are not compressed, as {self._named_syntax} would be")
            return EXPLICIT_VR_LITTLE_ENDIAN, []
        del self._attributes[PIXEL_DATA]
        frames = self._frames(uri)
        syntaxes = {self._syntax_of(frame) for frame in frames}
        if len(syntaxes) > 1:
            raise UnsupportedTransferSyntax(
                f"The frames are in different transfer syntaxes: {', '.join(sorted(syntaxes))}."
            )
        self._replaced |= take_picture(self._attributes, frames)
        (syntax,) = syntaxes
        if syntax in BY_TRANSFER_SYNTAX:
            return syntax, encapsulated_pieces([frame.place for frame in frames])
        bits = self._attributes.get("00280100", {}).get("Value") or [16]
        vr = "OB" if bits[0] == 8 and attribute["vr"] != "OW" else "OW"
        decoded = [frame.picture.decoded if isinstance(frame.picture, Picture) else None for frame in frames]
        return syntax, native_pieces(
            vr, [one or frame.place for one, frame in zip(decoded, frames, strict=True)]
        )

    def _frames(self, uri: str) -> list[BulkPart]:
        """Return the part of the pixels, or those of their frames: its URI with /frames/ and a number."""
        numbered = self._bulk.frames.get(uri)
        if uri in self._bulk.parts or numbered is None:
            return [self._part(uri)]
        if len(numbered) != max(numbered):
            raise Unreadable(f"of {max(numbered)} frames of {uri[:200]}, {len(numbered)} have come")
        return [part for _, part in sorted(numbered.items())]

    def _syntax_of(self, part: BulkPart) -> str:
        """Return what the metadata name, else what the part's header does, else the default."""
        media_type = ALIASES.get(part.media_type, part.media_type)
        named = self._named_syntax or part.transfer_syntax_uid
        if isinstance(part.picture, ArchiveError) and named not in VIDEO:
            raise type(part.picture)(f"{part.location[:200]}: {part.picture}")
        if media_type == PNG or self._is_native(media_type, named):
            return EXPLICIT_VR_LITTLE_ENDIAN
        if isinstance(part.picture, Picture) and not named:
            return part.picture.transfer_syntax_uid
        choice = list(BY_TRANSFER_SYNTAX) if media_type == OCTET_STREAM else TRANSFER_SYNTAXES.get(media_type)
        if not choice:
            raise UnsupportedTransferSyntax(f"No transfer syntax holds Pixel Data of type {media_type}.")
        if not named and choice[0] not in VIDEO:
            return choice[0]
        if named not in choice or not _agrees(part.picture, named):
            raise UnsupportedTransferSyntax(
                f"{part.location[:200]} is not what its transfer syntax {named} and {media_type} say."
                if named
                else f"Which transfer syntax {media_type} is in has to be named: by transfer-syntax=, or by "
                "Transfer Syntax UID (0002,0010) in the metadata."
            )
        return named

    def _is_native(self, media_type: str, named: str) -> bool:
        return media_type == OCTET_STREAM and (not named or named in UNCOMPRESSED or named in DEFLATED)

    def _character_sets(self) -> Sequence[str]:
        """Choose what text is written in: as declared if that holds it, else UTF-8, as it came."""
        own = self._attributes.get(SPECIFIC_CHARACTER_SET, {})
        declared = tuple(term or "" for term in own.get("Value", ()))
        has_bulk_text = _prepare_items(self._attributes)
        used = UTF_8 if has_bulk_text else character_sets_for(self._attributes, declared)
        if used in {ASCII, declared}:
            return declared
        if declared:
            self._replaced[SPECIFIC_CHARACTER_SET] = own
        self._attributes[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": list(used)}
        return used


def _agrees(picture: Picture | ArchiveError | None, named: str) -> bool:
    """Whether a stream is of the process that a transfer syntax names; any predictor will do for `.57`."""
    if not isinstance(picture, Picture) or named in VIDEO:  # of films, who names it knows more
        return True
    return named == picture.transfer_syntax_uid or {named, picture.transfer_syntax_uid} == _LOSSLESS_JPEG


def _prepare_items(attributes: dict[str, Attribute]) -> bool:
    """Take the character sets out of items, which inherit now; return whether text is among the bulk data."""
    has_bulk_text = False
    for attribute in attributes.values():
        if attribute["vr"] == "SQ":
            for item in attribute.get("Value", ()):
                item.pop(SPECIFIC_CHARACTER_SET, None)
                has_bulk_text |= _prepare_items(item)
        has_bulk_text |= attribute["vr"] in _TEXT_VRS and "BulkDataURI" in attribute
    return has_bulk_text


def _ranges(pieces: Sequence[Piece], out: BinaryIO) -> tuple[Elsewhere, ...]:
    """Write the bytes among the pieces to a file, and return where each of all pieces is."""
    ranges: list[Elsewhere] = []
    for is_here, group in groupby(pieces, key=lambda piece: isinstance(piece, bytes)):
        if is_here:
            content = b"".join(piece for piece in group if isinstance(piece, bytes))
            ranges.append(Elsewhere(WRITTEN, out.tell(), len(content)))
            out.write(content)
        else:
            ranges += [piece for piece in group if isinstance(piece, Elsewhere)]
    return tuple(ranges)
