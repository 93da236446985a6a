"""Rights that travel inside a JPEG: XMP and IPTC properties that say whose it is stay, everything else goes.

The archive embeds Credit and Source (IPTC-IIM) and dc:title, xmpRights:UsageTerms and WebStatement (XMP).
A packet from elsewhere may hold a place, a device or a name as well; then only the rights are kept of it.
"""

import re
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_Text = tuple[str | None, str]  # language, text
_KEPT_XMP = {
    f"{{{_DC}}}title": "dc:title",
    f"{{{_DC}}}rights": "dc:rights",
    f"{{{_DC}}}creator": "dc:creator",
    f"{{{_XMP_RIGHTS}}}UsageTerms": "xmpRights:UsageTerms",
    f"{{{_XMP_RIGHTS}}}WebStatement": "xmpRights:WebStatement",
    f"{{{_XMP_RIGHTS}}}Owner": "xmpRights:Owner",
    f"{{{_XMP_RIGHTS}}}Marked": "xmpRights:Marked",
    f"{{{_PHOTOSHOP}}}Credit": "photoshop:Credit",
    f"{{{_PHOTOSHOP}}}Source": "photoshop:Source",
}
_STRUCTURE = {
    "{adobe:ns:meta/}xmpmeta",
    *(f"{{{_RDF}}}{name}" for name in ("RDF", "Description", "Alt", "Bag", "Seq", "li")),
    *_KEPT_XMP,
}
# IPTC-IIM 4.2, record:dataset. Envelope: character set. Application: version, title, by-line, credit, source,
# copyright notice.
_KEPT_IIM = {(1, 0), (1, 90), (2, 0), (2, 5), (2, 80), (2, 110), (2, 115), (2, 116)}
_IPTC_RESOURCE = 0x0404
_DOCTYPE = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def keep_xmp_rights(packet: bytes) -> bytes | None:
    """Return the packet itself when it holds rights alone, else one of its rights, None without any."""
    if _DOCTYPE.search(packet):
        return None
    try:
        # No document type, so no entity can be defined.
        root = ET.fromstring(packet.strip(b"\0 \r\n\t"))  # noqa: S314
    except (ET.ParseError, ValueError, LookupError):
        return None
    found: dict[str, list[_Text]] = {}
    alone = b"<!--" not in packet and all(element.tag in _STRUCTURE for element in root.iter())
    for description in root.iter(f"{{{_RDF}}}Description"):
        properties: list[tuple[str, list[_Text]]] = []
        properties += [(name, [(None, text)]) for name, text in description.attrib.items()]
        properties += [(child.tag, _texts(child)) for child in description]
        for name, texts in properties:
            if name in _KEPT_XMP:
                found.setdefault(_KEPT_XMP[name], []).extend(texts)
            elif name != f"{{{_RDF}}}about":
                alone = False
    if not found:
        return None
    return packet if alone else _xmp_packet(found)


def _texts(element: ET.Element) -> list[_Text]:
    """Return the values of a property, plain or in a bag, sequence or language alternative."""
    items = list(element.iter(f"{{{_RDF}}}li")) or [element]
    return [(item.get(_XML_LANG), (item.text or "").strip()) for item in items if (item.text or "").strip()]


_CONTAINER = {"dc:title": "Alt", "dc:rights": "Alt", "xmpRights:UsageTerms": "Alt", "dc:creator": "Seq"}


def _xmp_packet(found: dict[str, list[_Text]]) -> bytes:
    lines = []
    for name, texts in sorted(found.items()):
        container = _CONTAINER.get(name) or ("Bag" if len(texts) > 1 else None)
        if container is None:
            body = escape(texts[0][1]) if texts else ""
        else:
            items = "".join(
                f"<rdf:li{f' xml:lang={quoteattr(lang)}' if lang else ''}>{escape(text)}</rdf:li>"
                for lang, text in texts
            )
            body = f"<rdf:{container}>{items}</rdf:{container}>"
        lines.append(f"<{name}>{body}</{name}>")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about="" xmlns:dc="{_DC}" xmlns:xmpRights="{_XMP_RIGHTS}"'
        f' xmlns:photoshop="{_PHOTOSHOP}">{"".join(lines)}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def keep_iptc_rights(resources: bytes) -> bytes | None:
    """Return Photoshop's image resources with the IPTC record's rights alone; None without any.

    The blocks themselves when nothing else is in them.
    """
    kept: list[bytes] = []
    alone = True
    position = 0
    while resources[position : position + 4] == b"8BIM" and position + 12 <= len(resources):
        identifier = int.from_bytes(resources[position + 4 : position + 6], "big")
        name_length = resources[position + 6] + 1
        size_at = position + 6 + name_length + name_length % 2
        size = int.from_bytes(resources[size_at : size_at + 4], "big")
        end = size_at + 4 + size
        if end > len(resources):
            break
        if identifier == _IPTC_RESOURCE:
            records, changed = _kept_records(resources[size_at + 4 : end])
            alone = alone and not changed
            kept.append(records)
        else:
            alone = False
        position = end + size % 2
    records = b"".join(kept)
    if not records:
        return None
    if alone and position >= len(resources):
        return resources
    head = b"8BIM" + _IPTC_RESOURCE.to_bytes(2, "big") + b"\0\0" + len(records).to_bytes(4, "big")
    return head + records + b"\0" * (len(records) % 2)


def _kept_records(data: bytes) -> tuple[bytes, bool]:
    """Return the data sets that stay, and whether any was left out."""
    kept: list[bytes] = []
    position = 0
    while data[position : position + 1] == b"\x1c" and position + 5 <= len(data):
        size = int.from_bytes(data[position + 3 : position + 5], "big")
        end = position + 5 + size
        if size & 0x8000 or end > len(data):  # an extended data set: no rights statement is that long
            break
        if (data[position + 1], data[position + 2]) in _KEPT_IIM:
            kept.append(data[position:end])
        position = end
    records = b"".join(kept)
    named = any((record[1], record[2]) not in {(1, 0), (1, 90), (2, 0)} for record in kept)
    return (records, records != data) if named else (b"", True)
