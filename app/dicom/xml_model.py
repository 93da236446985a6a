"""The Native DICOM Model (PS3.19 A.1): DICOM JSON in, XML out; xml_reader.py reads it.

PS3.18 F.3.1 maps one to the other. A private element is named by its creator and not by the block that the
creator reserved, so blocks may have other numbers when the XML is read again. What XML 1.0 has no place for,
control characters above all, becomes U+FFFD.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.dicom.encoding import is_private, is_private_creator
from app.dicom.json_model import Attribute
from app.dicom.tags import keyword

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
UUID_URI = "urn:uuid:"

_BEGIN = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">\n'
)
_END = "</NativeDicomModel>\n"

# XML 1.0 2.2: these are no characters of a document, not even as references.
_IMPOSSIBLE = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_UNSAFE = re.compile(f'[&<>"\r\n\t{_IMPOSSIBLE}]')
# A parser makes line feeds of carriage returns, and spaces of all white space in an attribute.
_REFERENCES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\r": "&#13;",
    "\n": "&#10;",
    "\t": "&#9;",
}


def xml_document(attributes: Mapping[str, Attribute]) -> bytes:
    """Return a data set as a complete XML document in UTF-8."""
    return b"".join(xml_pieces(attributes))


def xml_pieces(attributes: Mapping[str, Attribute]) -> Iterator[bytes]:
    """Yield the XML document of a data set, one attribute of it at a time."""
    yield _BEGIN.encode()
    for text in _data_set(attributes):
        yield text.encode()
    yield _END.encode()


def _data_set(attributes: Mapping[str, Attribute]) -> Iterator[str]:
    creators = _creators(attributes)
    used = {_creator_tag(tag) for tag in attributes if is_private(tag)} & creators.keys()
    for tag in sorted(attributes):
        if tag.endswith("0000") or tag in used:  # A.1.1: no group lengths; A.1.5: no blocks
            continue
        yield _attribute(tag, attributes[tag], creators.get(_creator_tag(tag) or ""))


def _creators(attributes: Mapping[str, Attribute]) -> dict[str, str]:
    """Return the private creators of a data set by the tag that holds them."""
    found = {tag: attributes[tag].get("Value", ()) for tag in attributes if is_private_creator(tag)}
    return {
        tag: values[0] for tag, values in found.items() if len(values) == 1 and isinstance(values[0], str)
    }


def _creator_tag(tag: str) -> str | None:
    """Return where the creator of a private element stands; None for every other element."""
    return f"{tag[:4]}00{tag[4:6]}" if is_private(tag) and tag[4:6] >= "10" else None


def _attribute(tag: str, attribute: Attribute, creator: str | None) -> str:
    if creator is None:
        word = keyword(tag)
        named = f' keyword="{_escaped(word)}"' if word != tag else ""
    else:
        tag, named = f"{tag[:4]}00{tag[6:]}", f' privateCreator="{_escaped(creator)}"'
    vr = attribute["vr"]
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{named}>{_content(vr, attribute)}</DicomAttribute>\n'


def _content(vr: str, attribute: Attribute) -> str:
    if "BulkDataURI" in attribute:
        uri: str = attribute["BulkDataURI"]
        if uri.startswith(UUID_URI):
            return f'<BulkData uuid="{_escaped(uri.removeprefix(UUID_URI))}"/>'
        return f'<BulkData uri="{_escaped(uri)}"/>'
    if "InlineBinary" in attribute:
        return f"<InlineBinary>{_escaped(attribute['InlineBinary'])}</InlineBinary>"
    write = _WRITERS.get(vr, _value)
    return "".join(write(number, value) for number, value in enumerate(attribute.get("Value", ()), 1))


def _item(number: int, data_set: Mapping[str, Attribute] | None) -> str:
    return f'<Item number="{number}">\n{"".join(_data_set(data_set or {}))}</Item>'


def _person_name(number: int, name: Mapping[str, str] | None) -> str:
    groups = ((group, (name or {}).get(group)) for group in NAME_GROUPS)
    content = "".join(f"<{group}>{_components(text)}</{group}>" for group, text in groups if text)
    return f'<PersonName number="{number}">{content}</PersonName>'


def _components(text: str) -> str:
    # PS3.5 6.2.1.1: a name has five components; what is beyond them stays with the last.
    parts = zip(NAME_COMPONENTS, text.split("^", len(NAME_COMPONENTS) - 1), strict=False)
    return "".join(f"<{component}>{_escaped(part)}</{component}>" for component, part in parts if part)


def _value(number: int, value: Any) -> str:  # noqa: ANN401 text or number, as the VR has it
    text = "" if value is None else _escaped(value) if isinstance(value, str) else repr(value)
    return f'<Value number="{number}">{text}</Value>'


_WRITERS: dict[str, Callable[[int, Any], str]] = {"SQ": _item, "PN": _person_name}


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda match: _REFERENCES.get(match[0], "\ufffd"), text)
