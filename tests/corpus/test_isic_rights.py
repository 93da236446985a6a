from io import BytesIO

import pytest
from PIL import Image, IptcImagePlugin

from app.corpus.isic.jpeg import clean, read_jpeg
from app.corpus.isic.rights import keep_iptc_rights, keep_xmp_rights
from tests.corpus.pictures import asymmetric, insert, jpeg_bytes, markers, segment

RIGHTS = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"
 xmpRights:WebStatement="https://creativecommons.org/licenses/by/4.0/">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">ISIC_0000000</rdf:li></rdf:Alt></dc:title>
<xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang="x-default">CC-BY</rdf:li></rdf:Alt></xmpRights:UsageTerms>
%s</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
PLACE = (
    '<exif:GPSLatitude xmlns:exif="http://ns.adobe.com/exif/1.0/">48,12.5N</exif:GPSLatitude>'
    '<x:Device xmlns:x="urn:x">MakerOfCameras</x:Device>'
)
XMP = b"http://ns.adobe.com/xap/1.0/\0"


def iim(record: int, number: int, value: bytes) -> bytes:
    return bytes((0x1C, record, number)) + len(value).to_bytes(2, "big") + value


def resource(identifier: int, data: bytes) -> bytes:
    return (
        b"8BIM" + identifier.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(4, "big") + data
    ) + b"\0" * (len(data) % 2)


CREDIT = iim(2, 110, b"Hospital Clinic de Barcelona") + iim(2, 115, b"ISIC Archive")


def test_a_packet_of_rights_alone_stays_as_it_is():
    packet = (RIGHTS % "").encode()
    assert keep_xmp_rights(packet) == packet


@pytest.mark.parametrize("extra", [PLACE, "<!-- MakerOfCameras, 48,12.5N -->"])
def test_of_a_packet_with_more_the_rights_are_kept(extra):
    kept = keep_xmp_rights((RIGHTS % extra).encode())
    assert kept is not None
    assert b"MakerOfCameras" not in kept
    assert b"48,12.5N" not in kept
    for right in (b"ISIC_0000000", b"CC-BY", b"https://creativecommons.org/licenses/by/4.0/"):
        assert right in kept
    assert keep_xmp_rights(kept) == kept


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>' + (RIGHTS % "").encode(),
        (RIGHTS % "").replace("dc:title", "dc:place").replace("xap/1.0/rights", "other").encode(),
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
    ],
)
def test_without_readable_rights_nothing_is_kept(packet):
    assert keep_xmp_rights(packet) is None


def test_credit_and_source_stay_and_the_rest_of_photoshop_goes():
    only_rights = resource(0x0404, CREDIT)
    assert keep_iptc_rights(only_rights) == only_rights
    city = iim(2, 90, b"secret")
    mixed = resource(0x040C, b"secret thumbnail") + resource(0x0404, CREDIT + city) + resource(0x03ED, b"x")
    assert keep_iptc_rights(mixed) == only_rights
    assert keep_iptc_rights(resource(0x0404, city)) is None
    assert keep_iptc_rights(resource(0x040C, b"secret")) is None
    assert keep_iptc_rights(only_rights[:-4]) is None
    assert keep_iptc_rights(b"") is None


def test_rights_survive_in_the_file_and_exif_does_not():
    exif = Image.Exif()
    exif[0x010F] = "MakerOfCameras"
    data = insert(
        jpeg_bytes(asymmetric(16, 16), exif=exif),
        segment(0xE1, XMP + (RIGHTS % "").encode()),
        segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, CREDIT)),
    )
    cleaned = clean(read_jpeg(data))
    assert b"MakerOfCameras" not in cleaned
    bodies = dict(markers(cleaned))
    assert bodies[0xE1] == XMP + (RIGHTS % "").encode()
    assert bodies[0xED] == b"Photoshop 3.0\0" + resource(0x0404, CREDIT)
    with Image.open(BytesIO(cleaned)) as image:
        assert IptcImagePlugin.getiptcinfo(image)[2, 115] == b"ISIC Archive"
