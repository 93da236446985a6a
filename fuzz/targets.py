"""What is fuzzed: every reader of bytes that come from somebody else."""

from pathlib import Path
from urllib.parse import parse_qsl

from app.dicom.codestream import read_jpeg_2000_claims, read_jpeg_claims, read_jpeg_xl_claims
from app.dicom.decoding import decode_frame
from app.dicom.image_pixel import ImagePixel
from app.dicom.json_reader import read_json
from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import MultipartReader
from app.dicom.scan import scan
from app.dicom.xml_reader import read_xml
from app.dimse import pdu
from app.dimse.association import _fragments_of
from app.dimse.commands import Command, Element, Kind, decode_command, encode_command
from app.dimse.errors import ProtocolError
from app.dimse.negotiation import agree, read_request
from app.dimse.proxy_header import client_address, following_bytes
from app.errors import ArchiveError
from app.web.media_ranges import read_accept
from app.web.ranges import read_ranges
from app.web.rendered_parameters import read_annotation, read_quality, read_viewport, read_window
from app.web.search_parameters import parse_search, require_utf8
from app.web.uri_parameters import read_uri_request
from fuzz.corpus import CORPUS_TARGETS
from fuzz.target import Target, texts

SPECIMENS = Path(__file__).parents[1] / "tests" / "data" / "dicom"
LARGEST_SEED = 8 * 1024
RLE_LOSSLESS = "1.2.840.10008.1.2.5"


def _text(data: bytes) -> str:
    """Return the bytes as a header field is read: one character each."""
    return data.decode("latin-1")


def _accept(data: bytes) -> None:
    said = read_accept([_text(data)])
    assert all(0 < one.quality <= 1 for one in said.ranges)
    parse_media_type(_text(data))


def _ranges(data: bytes) -> None:
    length = 1000
    for segment in read_ranges(_text(data), length) or []:
        assert segment.offset >= 0
        assert 0 < segment.length <= length - segment.offset


def _multipart(data: bytes) -> None:
    """Find the same parts of a body in one piece and in small ones."""
    assert _kinds(data, max(1, len(data))) == _kinds(data, 7)


def _kinds(data: bytes, step: int) -> list[str]:
    reader, kinds = MultipartReader("b"), list[str]()
    try:
        for start in range(0, len(data), step):
            for event in reader.feed(data[start : start + step]):
                kinds.append(type(event).__name__)  # what came before a refusal counts
        kinds += [type(event).__name__ for event in reader.finish()]
    except ArchiveError:
        kinds.append("refused")
    return [kind for kind in kinds if kind != "PartData"]


def _query(data: bytes) -> None:
    require_utf8(data)
    parse_search(parse_qsl(_text(data), keep_blank_values=True))


def _uri_query(data: bytes) -> None:
    read_uri_request(parse_qsl(_text(data), keep_blank_values=True))


def _rendered(data: bytes) -> None:
    text = _text(data)
    for read in (read_viewport, read_window, read_quality, read_annotation):
        try:
            read(text)
        except ArchiveError:
            continue


def _scan(data: bytes) -> None:
    scan(data)


def _codestreams(data: bytes) -> None:
    for read in (read_jpeg_claims, read_jpeg_2000_claims, read_jpeg_xl_claims):
        try:
            read(data)
        except ArchiveError:
            continue


def _rle(data: bytes) -> None:
    shape = {"rows": 8, "columns": 8, "bits_allocated": 16, "bits_stored": 12, "high_bit": 11}
    image = ImagePixel(
        transfer_syntax_uid=RLE_LOSSLESS,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        is_signed=False,
        is_planar=False,
        is_float=False,
        number_of_frames=1,
        **shape,
    )
    assert decode_frame(data, image).shape[:2] == (8, 8)


def _pdus(data: bytes) -> None:
    """Read a stream of PDUs as a peer sends it, each as what it says it is."""
    position = 0
    while len(data) - position >= 6:
        kind, length = pdu.check_header(data[position : position + 6])
        body = data[position + 6 : position + 6 + length]
        if kind == pdu.P_DATA_TF:
            for fragment in _fragments_of(memoryview(body)):
                decode_command(fragment.data)
        elif kind == 1:
            agree(read_request(body), private_too=True)
        position += 6 + length


def _proxy_header(data: bytes) -> None:
    if len(data) >= 16:
        following_bytes(data[:16])
        client_address(data)


def _files() -> list[bytes]:
    files = sorted(SPECIMENS.rglob("*.dcm"))
    return [path.read_bytes() for path in files if path.stat().st_size <= LARGEST_SEED]


def _commands() -> list[bytes]:
    command: Command = {Element.COMMAND_FIELD: Kind.C_ECHO_RQ, Element.MESSAGE_ID: 1}
    encoded = encode_command(command, has_data_set=False)
    fragment = (len(encoded) + 2).to_bytes(4, "big") + b"\x01\x03" + encoded
    return [encoded, b"\x04\x00" + len(fragment).to_bytes(4, "big") + fragment, b"\x05\x00\0\0\0\x04\0\0\0\0"]


def _streams() -> list[bytes]:
    """JPEG, JPEG 2000 and JPEG XL beginnings, cut out of the specimens by their first bytes."""
    marks = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a")
    files = _files()
    return [file[file.index(mark) :] for mark in marks for file in files if mark in file]


TARGETS: dict[str, Target] = {
    "accept": Target(
        _accept,
        texts(
            'multipart/related; type="application/octet-stream"; transfer-syntax=*',
            "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
            "application/dicom+json; charset=utf-8",
        ),
    ),
    "ranges": Target(_ranges, texts("bytes=0-9", "bytes=-5,10-20", "bytes=999-", "lines=1-2")),
    "multipart": Target(
        _multipart,
        texts(
            "\r\n--b\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--b--",
            "--b\r\nContent-Location: x\r\n\r\n--b-\r\n--b\r\n\r\n\r\n--b--\r\n",
        ),
    ),
    "query": Target(
        _query,
        texts(
            "PatientName=*a%5Eb&limit=1&offset=2&includefield=all&fuzzymatching=true",
            "00400275.00400009=x&StudyDate=20200101-&StudyTime=10-1130&orderby=-StudyDate",
            'ModalitiesInStudy=A,B&multiplevaluematching=true&emptyvaluematching=true&StudyID=""',
        ),
    ),
    "uri": Target(
        _uri_query,
        texts("requestType=WADO&studyUID=1&seriesUID=2&objectUID=3&region=0,0,1,.5&rows=9&windowCenter=1"),
    ),
    "rendered": Target(
        _rendered, texts("128,128,,,-5,9", "40,400.5,linear-exact", "90", "patient,technique")
    ),
    "xml": Target(
        read_xml,
        texts(
            '<NativeDicomModel><DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic>'
            "<FamilyName>a</FamilyName></Alphabetic></PersonName></DicomAttribute></NativeDicomModel>",
            '<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"><Item number="1"/></DicomAttribute>'
            '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="u"/></DicomAttribute></NativeDicomModel>',
        ),
    ),
    "json": Target(
        read_json,
        texts(
            '[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"a^b"}]},"00280010":{"vr":"US","Value":[1]}}]',
            '{"00081199":{"vr":"SQ","Value":[{},null]},"7FE00010":{"vr":"OB","InlineBinary":"AAA="}}',
        ),
    ),
    "scan": Target(_scan, _files),
    "codestreams": Target(_codestreams, _streams),
    "rle": Target(
        _rle,
        lambda: [b"\x02" + b"\0" * 3 + b"\x40\0\0\0\x44\0\0\0" + b"\0" * 52 + b"\x81\x01" * 4],
        (ArchiveError, RuntimeError),
    ),
    **CORPUS_TARGETS,
    "pdus": Target(_pdus, _commands, (ProtocolError,)),
    "commands": Target(decode_command, _commands, (ProtocolError,)),
    "proxy-header": Target(
        _proxy_header,
        lambda: [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x51"],
        (ProtocolError,),
    ),
}
