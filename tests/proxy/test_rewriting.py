"""What of an answer is rewritten, and that the pieces it arrives in make no difference."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.errors import UpstreamFailed
from app.proxy.rewriting import Rewriter, rewriter_of
from app.proxy.upstreams import Upstream
from app.proxy.urls import Translation

THEIRS = "https://pacs.example:8443/a/dicom-web"
OURS = "https://dermzoo.example/proxy/pacs/dicom-web"
JSON_TYPE, XML_TYPE = "application/dicom+json", "application/dicom+xml"
TRANSLATION = Translation(
    Upstream(name="pacs", url=THEIRS, also_at=("http://inner:80/x",)), OURS, f"{THEIRS}/studies/1.2/metadata"
)


def rewriter(content_type: str) -> Rewriter:
    found = rewriter_of(content_type, TRANSLATION)
    assert found is not None
    return found


def rewritten(content_type: str, *pieces: bytes) -> bytes:
    one = rewriter(content_type)
    return b"".join([*(one.feed(piece) for piece in pieces), one.finish()])


def in_pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    return [content[a:b] for a, b in pairwise(places)]


URLS = [
    (f"{THEIRS}/studies/1.2", f"{OURS}/studies/1.2"),
    (f"{THEIRS}/studies/1.2/series/3/instances/4/bulkdata/7FE00010?a=b", None),
    ("http://inner/x/studies/1.2", f"{OURS}/studies/1.2"),
    # another name, port and path of the same server, as behind a proxy that it does not know of
    ("http://PACS.example/other/studies/1.2", f"{OURS}/studies/1.2"),
    ("http://10.0.0.7/v1/studies/1.2/bulkdata/x", f"{OURS}/studies/1.2/bulkdata/x"),
    ("../../bulkdata/5", f"{OURS}/bulkdata/5"),
    ("instances/4", f"{OURS}/studies/1.2/instances/4"),
    # nothing of DICOMweb, or an attempt at something: emptied
    ("https://pacs.example:8443/admin", ""),
    ("https://elsewhere.example/secret", ""),
    ("file:///etc/passwd", ""),
    (f"{THEIRS}/studies/1.2/%2e%2e/%2e%2e/admin", ""),
    ("http://[::1/studies/1.2", ""),
]


@pytest.mark.parametrize(("theirs", "ours"), URLS)
def test_references_become_ours_or_nothing(theirs: str, ours: str | None) -> None:
    if ours is None:
        ours = theirs.replace(THEIRS, OURS)
    body = {"7FE00010": {"vr": "OW", "BulkDataURI": theirs}, "00081190": {"Value": [theirs], "vr": "UR"}}
    [found] = orjson.loads(rewritten(JSON_TYPE, orjson.dumps([body])))
    assert found == {
        "7FE00010": {"vr": "OW", "BulkDataURI": ours},
        "00081190": {"Value": [ours], "vr": "UR"},
    }
    quoted = theirs.replace("&", "&amp;")  # Orthanc spells the attribute URI
    xml = (
        f'<NativeDicomModel><DicomAttribute keyword="RetrieveURL" tag="00081190" vr="UR">\n<Value number="1">'
        f'{quoted}</Value></DicomAttribute><DicomAttribute tag="7FE00010"><BulkData uri="{quoted}"/>'
        f'<BulkData URI="{quoted}"/></DicomAttribute></NativeDicomModel>'
    )
    assert rewritten(XML_TYPE, xml.encode()) == xml.replace(quoted, ours).encode()


def test_other_urls_of_the_upstream_become_ours_and_those_of_others_stay() -> None:
    body = [{"00080120": {"Value": ["http://snomed.info/sct", f"{THEIRS}/studies/1.2"]}, "a": 'say "hi" \\'}]
    [found] = orjson.loads(rewritten(JSON_TYPE, orjson.dumps(body)))
    assert found["00080120"]["Value"] == ["http://snomed.info/sct", f"{OURS}/studies/1.2"]
    assert found["a"] == body[0]["a"]


def test_the_ways_to_write_a_slash_in_json() -> None:
    for slash in (b"\\/", b"\\u002f", b"\\u002F"):
        url = THEIRS.encode().replace(b"/", slash) + slash + b"studies" + slash + b"1.2"
        listed = b'["' + url + b'"]'
        for size in (1, len(listed)):
            pieces = [listed[start : start + size] for start in range(0, len(listed), size)]
            assert orjson.loads(rewritten(JSON_TYPE, *pieces)) == [f"{OURS}/studies/1.2"]
        text = b'[{"7FE00010": {"BulkDataURI" \n: "' + url + b'"}}]'
        assert orjson.loads(rewritten(JSON_TYPE, text))[0]["7FE00010"]["BulkDataURI"] == f"{OURS}/studies/1.2"


LEAF = st.one_of(
    st.text(),
    st.sampled_from([url for url, _ in URLS]),
    st.sampled_from(
        ["BulkDataURI", '"BulkDataURI":"', "00081190", 'a "http://inner/x', "https://inner", "\\", '"']
    ),
)
DATA_SET = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["BulkDataURI", "00081190", "Value"]), st.text()), inner, max_size=4
        ),
    ),
    max_leaves=12,
)
CUTS = st.lists(st.integers(0, 10**6), max_size=40)


@given(DATA_SET, CUTS)
def test_json_in_any_pieces(data_set: object, cuts: list[int]) -> None:
    content = orjson.dumps([data_set])
    whole = rewritten(JSON_TYPE, content)
    assert rewritten(JSON_TYPE, *in_pieces(content, cuts)) == whole
    assert rewritten(JSON_TYPE, *(content[i : i + 1] for i in range(len(content)))) == whole
    orjson.loads(whole)


MARKUP = st.lists(
    st.sampled_from(
        [
            b'<DicomAttribute tag="00081190" vr="UR">',
            b"<DicomAttribute tag='7FE00010' privateCreator='a>b'>",
            b"</DicomAttribute>",
            b'<Value number="1">',
            b"</Value>",
            b"<d:Value>",
            b'<BulkData uri="https://pacs.example:8443/a/dicom-web/studies/1.2?a=1&amp;b=2"/>',
            b"<d:BulkData x='>' uri='../../bulkdata/5'></d:BulkData>",
            b"https://pacs.example:8443/a/dicom-web/studies/1.2",
            b"http://snomed.info/sct",
            b"ht",
            b"\n ",
            b"<!-- x -->",
            b'"',
        ]
    ),
    max_size=14,
).map(b"".join)


@given(MARKUP, CUTS)
def test_xml_in_any_pieces(content: bytes, cuts: list[int]) -> None:
    content += b"<end/>"
    whole = rewritten(XML_TYPE, content)
    assert rewritten(XML_TYPE, *in_pieces(content, cuts)) == whole
    assert rewritten(XML_TYPE, *(content[i : i + 1] for i in range(len(content)))) == whole


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), CUTS)
def test_multiparts_in_any_pieces(contents: list[bytes], cuts: list[int]) -> None:
    def body(root: str, contents: list[bytes]) -> bytes:
        parts = [
            b"--x-y\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Location: %b/studies/1.2/series/3\r\n\r\n%b\r\n" % (root.encode(), content)
            for content in contents
        ]
        return b"".join(parts) + b"--x-y--\r\n"

    contents = [one.replace(b"--x-y", b"") for one in contents]
    sent = body(THEIRS, contents)
    content_type = "multipart/related; boundary=x-y"
    assert rewritten(content_type, *in_pieces(sent, cuts)) == body(OURS, contents)


def test_texts_within_multiparts() -> None:
    part = b'<NativeDicomModel><BulkData uri="%b/studies/1.2"/></NativeDicomModel>'
    body = b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n%b\r\n--b--\r\n"
    content_type = 'multipart/related; type="application/dicom+xml"; boundary="b"'
    assert rewritten(content_type, body % (part % THEIRS.encode())) == body % (part % OURS.encode())


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        (JSON_TYPE, b'[{"a": 1}'),
        (JSON_TYPE, b'[{"a": {}},'),
        (XML_TYPE, b"<a></a"),
        ("multipart/related; boundary=b", b"--b\r\n\r\nabc\r\n"),
        ("multipart/related; boundary=b", b"--b\r\n\r\nabc\r\n--b\r\n"),
        ("multipart/related", b"--b\r\n\r\nabc\r\n--b--"),
        (JSON_TYPE, b'[{"BulkDataURI": "' + b"a" * 70_000 + b'"}]'),
    ],
)
def test_what_is_cut_or_without_end_fails(content_type: str, content: bytes) -> None:
    for size in (len(content), 10_000):
        with pytest.raises(UpstreamFailed):
            rewritten(content_type, *(content[i : i + size] for i in range(0, len(content), size)))


def test_images_are_left_alone() -> None:
    for content_type in ("application/dicom", "image/jpeg", "application/octet-stream", ""):
        assert rewriter_of(content_type, TRANSLATION) is None
