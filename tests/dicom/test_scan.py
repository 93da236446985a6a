"""What a scan says of a file: its document, its bulk values, its prefix, its warnings."""

import mmap
import random
import struct
import zlib

import pytest

from app.dicom.frames import bulk_segment
from app.dicom.scan import ROOT, scan
from app.errors import Unaddressable, Unreadable
from tests.dicom.part10_bytes import (
    BIG_ENDIAN,
    DEFLATED,
    IDENTIFIERS,
    JPEG,
    data_set,
    element,
    fragments,
    image,
    instance,
    item,
    part10,
    sequence,
)
from tests.dicom.scanned import added, document

PATH = b"/studies/1.2.4/series/1.2.5/instances/1.2.3/bulkdata/"


def test_buffers_of_every_kind_scan_alike(tmp_path):
    content = instance(element(0x00080060, "CS", "XC"))
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert scan(mapped) == scan(content) == scan(memoryview(content))


def test_group_lengths_are_left_out():
    assert added(element(0x00080000, "UL", b"\4\0\0\0"), element(0x00280000, "UL", b"\4\0\0\0")) == {}


class TestBulk:
    def test_long_binary_values_are_referred_to(self):
        scanned = scan(content := instance(element(0x00282000, "OB", bytes(range(256)) + b"ab")))
        assert b'"BulkDataURI":"' + ROOT + PATH + b'00282000"' in scanned.document
        place = bulk_segment(scanned.bulk, "00282000")
        assert content[place.offset : place.offset + place.length] == bytes(range(256)) + b"ab"

    def test_short_binary_values_stand_in_the_document(self):
        assert "InlineBinary" in added(element(0x00282000, "OB", bytes(256)))["00282000"]

    @pytest.mark.parametrize(
        ("vr", "tag"),
        [("UT", 0x0040A160), ("LT", 0x00104000), ("DS", 0x30060050), ("FD", 0x00189087), ("UC", 0x00080119)],
    )
    def test_long_values_of_the_vrs_that_may_be_bulk(self, vr, tag):
        assert "Value" in added(element(tag, vr, b"1" * 16_384))[f"{tag:08X}"]
        assert "BulkDataURI" in added(element(tag, vr, b"1" * 16_392))[f"{tag:08X}"]

    @pytest.mark.parametrize("vr", ["LO", "PN", "CS", "SH", "UI", "AT", "UR"])
    def test_other_vrs_always_stand_in_the_document(self, vr):
        assert "Value" in added(element(0x00091001, vr, b"1" * 20_000))["00091001"]

    def test_nested_values_have_paths(self):
        inner = element(0x00181079, "OB", b"bulk" * 75)
        scanned = scan(
            content := instance(sequence(0x00540016, item(b""), item(sequence(0x00540300, item(inner)))))
        )
        path = "00540016/1/00540300/0/00181079"
        assert ROOT + PATH + path.encode() in scanned.document
        assert bulk_segment(scanned.bulk, path).offset == content.index(b"bulk")

    def test_pixel_data_are_referred_to_however_short(self):
        attribute = added(*image(1, 2), element(0x7FE00010, "OB", b"ab"))["7FE00010"]
        assert attribute == {"vr": "OB", "BulkDataURI": PATH.decode() + "7FE00010"}

    def test_empty_pixel_data_are_empty(self):
        assert added(element(0x7FE00010, "OB"))["7FE00010"] == {"vr": "OB"}

    def test_encapsulated_pixel_data_have_a_uri_but_no_range(self):
        scanned = scan(instance(fragments(b"\xff\xd8\xff\0"), transfer_syntax_uid=JPEG))
        assert ROOT + PATH + b"7FE00010" in scanned.document
        assert scanned.bulk == b""

    def test_an_encapsulated_icon_is_its_only_fragment(self):
        icon = sequence(0x00880200, item(fragments(b"\xff\xd8\xff\0" + bytes(10))))
        scanned = scan(content := instance(icon, transfer_syntax_uid=JPEG))
        place = bulk_segment(scanned.bulk, "00880200/0/7FE00010")
        assert content[place.offset : place.offset + place.length] == b"\xff\xd8\xff\0" + bytes(10)

    def test_an_icon_of_several_fragments_is_left_out_with_a_warning(self):
        scanned = scan(
            instance(sequence(0x00880200, item(fragments(b"ab", b"cd"))), transfer_syntax_uid=JPEG)
        )
        assert document(scanned)["00880200"]["Value"] == [{"7FE00010": {"vr": "OB"}}]
        assert "left out" in scanned.warnings[0]

    def test_text_cannot_pretend_to_be_a_reference(self):
        text = '"BulkDataURI":"\x01/evil'
        scanned = scan(instance(element(0x00104000, "LT", text)))
        assert ROOT not in scanned.document
        assert document(scanned)["00104000"]["Value"] == [text]


class TestBulkWithoutAnAddress:
    def test_a_deflated_file_holds_values_up_to_a_megabyte(self):
        noise = random.Random(1).randbytes(1_200_000)
        body = data_set(element(0x00282000, "OB", noise[:10_000]), element(0x00420011, "OB", noise))
        deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
        scanned = scan(part10(deflater.compress(body) + deflater.flush(), DEFLATED))
        assert len(document(scanned)["00282000"]["InlineBinary"]) > 13_000
        assert document(scanned)["00420011"] == {"vr": "OB"}
        assert "(0042,0011), 1200000 bytes, is left out" in scanned.warnings[0]
        assert scanned.bulk == b""

    def test_big_endian_bytes_are_referred_to_and_words_are_not(self):
        body = data_set(
            element(0x00091001, "OB", bytes(300), ">"),
            element(0x00091002, "OW", b"\1\2" * 150, ">"),
            order=">",
        )
        scanned = scan(part10(body, BIG_ENDIAN))
        assert bulk_segment(scanned.bulk, "00091001").length == 300
        assert document(scanned)["00091002"]["InlineBinary"].startswith("AgEC")

    def test_big_endian_pixel_words_are_for_the_decoder(self):
        words = [
            element(tag, "US", struct.pack(">H", value), ">")
            for tag, value in ((0x00280010, 1), (0x00280011, 1), (0x00280100, 16))
        ]
        scanned = scan(
            part10(data_set(*words, element(0x7FE00010, "OW", b"\1\2", ">"), order=">"), BIG_ENDIAN)
        )
        assert ROOT + PATH + b"7FE00010" in scanned.document
        assert scanned.bulk == b""
        assert scanned.frames[:1] == b"D"


class TestDisorder:
    def test_attributes_come_out_in_order(self):
        content = element(0x00100020, "LO", "P") + element(0x00080060, "CS", "XC")
        nested = sequence(0x00400555, item(content))
        scanned = scan(part10(data_set(nested) + content))
        assert list(document(scanned)) == sorted(document(scanned))
        assert list(document(scanned)["00400555"]["Value"][0]) == ["00080060", "00100020"]
        assert "(0008,0060) is out of order" in scanned.warnings

    def test_the_last_of_duplicates_counts(self):
        scanned = scan(instance(element(0x00080060, "CS", "XC"), element(0x00080060, "CS", "CT")))
        assert document(scanned)["00080060"]["Value"] == ["CT"]
        assert scanned.warnings == ("(0008,0060) is there more than once; the last one counts",)

    @pytest.mark.parametrize("count", [2, 8, 2000])
    def test_zeros_at_the_end_are_harmless(self, count):
        assert scan(instance() + bytes(count)).warnings == (f"{count} zero bytes follow the data set",)

    def test_other_bytes_at_the_end_are_not(self):
        with pytest.raises(Unreadable, match="within the header of an element"):
            scan(instance() + b"abc")
        with pytest.raises(Unreadable, match=r"\(0000,0000\)"):
            scan(instance() + bytes(100) + b"a")

    def test_a_value_that_is_cut_off_is_refused(self):
        with pytest.raises(Unreadable, match="ends 1 bytes after"):
            scan(instance(element(0x00400555, "LO", "abcd"))[:-1])

    def test_warnings_are_few(self):
        assert (
            len(
                scan(
                    part10(
                        data_set() + b"".join(element(0x00190000 - tag, "LO", "a") for tag in range(1, 99))
                    )
                ).warnings
            )
            <= 22
        )


class TestIdentifiers:
    @pytest.mark.parametrize("tag", IDENTIFIERS)
    def test_each_is_needed(self, tag):
        others = [element(other, "UI", value + "\0") for other, value in IDENTIFIERS.items() if other != tag]
        with pytest.raises(Unaddressable, match=f"{tag >> 16:04X},{tag & 0xFFFF:04X}.* is missing"):
            scan(part10(b"".join(others)))

    @pytest.mark.parametrize(
        "value",
        [
            "../../etc/passwd",
            "1..2",
            ".1",
            "1.",
            "a",
            "1" * 65,
            "1.2\\1.3",
            "1/2",
            "1.2\n",
            " 1.2",
            "1.٣",
            "1 2",
        ],
    )
    def test_text_that_is_no_uid_names_nothing(self, value):
        others = [element(tag, "UI", known + "\0") for tag, known in IDENTIFIERS.items() if tag != 0x0020000E]
        with pytest.raises(Unaddressable, match=r"Series Instance UID \(0020,000E\) is not"):
            scan(part10(b"".join(others) + element(0x0020000E, "UI", value)))

    @pytest.mark.parametrize(
        "value", ["1", "0.0", "1.02.3", "1" * 64, "2.25.329800735698586629295641978511506172918"]
    )
    def test_uids_that_do(self, value):
        others = [element(tag, "UI", known + "\0") for tag, known in IDENTIFIERS.items() if tag != 0x0020000E]
        assert document(scan(part10(b"".join(others) + element(0x0020000E, "UI", value))))["0020000E"][
            "Value"
        ] == [value]
