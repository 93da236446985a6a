"""Content negotiation over a real socket, by the numbers of our checklist of PS3.18, section A."""

import json
import socket
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from app.dicom.media_types import NEVER_SENT
from app.dicom.xml_reader import read_xml
from tests.dicom.test_specimens import in_order
from tests.dicom.test_xml_model import as_the_schema_has_it, canonical
from tests.factories import uid
from tests.web.conftest import NAMES, Archive
from tests.web.multiparts import parts

JSON = "application/dicom+json"
XML = "application/dicom+xml"
XML_PARTS = f'multipart/related; type="{XML}"'
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
EXPLICIT = "1.2.840.10008.1.2.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
AXIOS = "application/json, text/plain, */*"

STUDY = f"/studies/{uid('p')}"
SERIES = f"{STUDY}/series/{uid('s1')}"
MODELS = [
    "/studies",
    "/series",
    "/instances",
    f"{STUDY}/series",
    f"{STUDY}/instances",
    f"{SERIES}/instances",
    f"{STUDY}/metadata",
    f"{SERIES}/metadata",
    f"{SERIES}/instances/{uid('p1')}/metadata",
]


@pytest.mark.parametrize("path", MODELS)
def test_json_and_xml_say_the_same(archive: Archive, path: str) -> None:
    """PS3.18 8.7.3.2, F.2.1 (checklist 1, 10): JSON is one array, XML one document in each part."""
    answer = archive.get(path, JSON)
    assert answer.headers["content-type"] == JSON
    assert isinstance(answer.json(), list)
    found = parts(xml := archive.get(path, XML_PARTS))
    assert xml.headers["content-type"].startswith(f'multipart/related; type="{XML}"; boundary=')
    documents = [content for _, content in found]
    for document in documents:
        as_the_schema_has_it(document)
    assert [canonical(read_xml(document)) for document in documents] == list(map(canonical, answer.json()))
    for (headers, _), item in zip(found, answer.json(), strict=True):
        assert headers["Content-Type"] == f"{XML}; charset=utf-8"
        retrieve_url = item.get("00081190", {}).get("Value", [""])[0]
        assert headers["Content-Location"] in {retrieve_url, f"{archive.server.dicomweb_url}{path}"} or (
            headers["Content-Location"].endswith(f"/instances/{item['00080018']['Value'][0]}/metadata")
        )


@pytest.mark.parametrize("path", MODELS)
@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "application/*",
        "application/json",
        BROWSER,
        AXIOS,
        f"{XML_PARTS};q=0.5, {JSON}",
        f"*/*, {XML};q=0",
    ],
)
def test_json_is_the_default(archive: Archive, path: str, accept: str | None) -> None:
    """PS3.18 8.7.5, 8.7.7 (checklist 1, 3, 4): also for `*/*`, `type/*` and no Accept at all."""
    answer = archive.client.get(path, headers={"Accept": accept} if accept else {"Accept": ""})
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)


def test_a_request_without_accept_gets_the_default(archive: Archive) -> None:
    """PS3.18 8.7.5 (checklist 4): 406 would be allowed, and help nobody."""
    request = archive.client.build_request("GET", "/studies?limit=1")
    del request.headers["Accept"]
    answer = archive.client.send(request)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)


def test_one_instances_metadata_may_be_one_document(archive: Archive, photo_path: str) -> None:
    """PS3.18 8.7.3.2 (checklist 9)."""
    answer = archive.get(f"{photo_path}/metadata", XML)
    assert answer.headers["content-type"] == f"{XML}; charset=utf-8"
    (expected,) = archive.get(f"{photo_path}/metadata", JSON).json()
    assert canonical(read_xml(answer.content)) == canonical(expected)


@pytest.mark.parametrize("path", [path for path in MODELS if uid("p1") not in path])
def test_several_documents_need_a_multipart(archive: Archive, path: str) -> None:
    """PS3.18 8.6.1 (checklist 9): a single part for a resource of several items is not acceptable."""
    assert archive.get(path, XML).status_code == 406
    assert archive.get(path, f'multipart/related; type="{JSON}"').status_code == 406


def test_nothing_found_is_no_multipart(archive: Archive) -> None:
    """RFC 2046 5.1: a multipart has a part at least."""
    answer = archive.get("/studies?PatientID=nobody", XML_PARTS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert archive.get("/studies?PatientID=nobody", JSON).json() == []


def test_xml_has_an_entity_tag_of_its_own(archive: Archive) -> None:
    tags = {accept: archive.get(SERIES + "/metadata", accept).headers["etag"] for accept in (JSON, XML_PARTS)}
    assert len(set(tags.values())) == 2
    headers = {"Accept": XML_PARTS, "If-None-Match": tags[XML_PARTS]}
    assert archive.client.get(SERIES + "/metadata", headers=headers).status_code == 304
    again = archive.get(SERIES + "/metadata", XML_PARTS)
    assert again.content == archive.get(SERIES + "/metadata", XML_PARTS).content


# accept= (checklist 2)


@pytest.mark.parametrize(
    ("accept", "header", "expected"),
    [
        ("application/dicom%2Bjson", XML_PARTS, JSON),
        ("application/dicom+json", XML_PARTS, JSON),
        ('multipart/related;%20type="application/dicom%2Bxml"', JSON, "multipart/related"),
        ("multipart/related;type=application/dicom+xml", None, "multipart/related"),
        ("application/json;q=0.5,multipart/related;type=application/dicom%2Bxml", "*/*", "multipart/related"),
    ],
)
def test_the_parameter_goes_before_the_header(
    archive: Archive, accept: str, header: str, expected: str
) -> None:
    """PS3.18 8.3.3.1 (checklist 2)."""
    answer = archive.get(f"/studies?limit=1&accept={accept}", header)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(expected)


def test_a_viewers_thumbnail(archive: Archive, photo_path: str) -> None:
    """PS3.18 8.3.3.1 (checklist 2): OHIF's header does not go with its parameter; it wants a JPEG."""
    header = 'multipart/related; type="application/octet-stream"'
    for resource in ("thumbnail", "rendered"):
        answer = archive.get(f"{photo_path}/{resource}?accept=image%2Fjpeg", header)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("accept=application/json&accept=application/json", "more than once"),
        ("accept=jpeg", "'jpeg' is no media type"),
        ("accept=", "no media type"),
        (
            "accept=application/dicom;transfer-syntax=1.2;transfer-syntax=1.3",
            "transfer-syntax more than once",
        ),
    ],
)
def test_a_malformed_parameter_is_named(archive: Archive, query: str, says: str) -> None:
    """PS3.18 8.3, 8.3.3.1 (checklist 2)."""
    answer = archive.get(f"/studies?{query}")
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


# Accept (checklist 3, 5 to 9)


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("{p}", "application/dicom, image/jpeg"),
        ("{p}", 'multipart/related; type="application/dicom"; transfer-syntax=*, image/png;q=0.1'),
        ("{p}/rendered", "image/jpeg, application/dicom"),
        ("{p}/metadata", "application/dicom+json, application/pdf"),
    ],
)
def test_dicom_and_rendered_types_do_not_mix(
    archive: Archive, photo_path: str, path: str, accept: str
) -> None:
    """PS3.18 8.7.5 (checklist 3)."""
    answer = archive.get(path.format(p=photo_path), accept)
    assert answer.status_code == 400
    assert "rendered" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("{p}", "application/dicom, */*;q=0.1"),
        ("{p}", "application/dicom, image/png;q=0"),
        ("{p}/metadata", "application/dicom+json, text/html;q=0.5"),
        ("{p}/rendered", "image/*, */*;q=0.8"),
        ("{p}/frames/1", 'multipart/related; type="application/pdf", multipart/related; type="image/*"'),
        ("{p}/frames/1", "image/png, image/jpeg"),
    ],
)  # fmt: skip
def test_wild_cards_and_refusals_mix_nothing(
    archive: Archive, photo_path: str, path: str, accept: str
) -> None:
    """PS3.18 8.7.5 (checklist 3)."""
    assert archive.get(path.format(p=photo_path), accept).status_code == 200


def test_quality_is_heeded(archive: Archive) -> None:
    """PS3.18 8.7.8.1 (checklist 3): the most specific item says how welcome a type is."""
    for accept, expected in (
        (f"{JSON};q=0.2, {XML_PARTS};q=0.3", "multipart/related"),
        (f"{XML_PARTS};q=0.2, {JSON};q=0.3", JSON),
        (f"application/*, {JSON};q=0, application/json;q=0, {XML_PARTS};q=0.1", "multipart/related"),
        (f"*/*;q=0.1, {XML_PARTS}", "multipart/related"),
    ):
        assert archive.get("/studies?limit=1", accept).headers["content-type"].startswith(expected), accept
    assert archive.get("/studies", f"*/*, {JSON};q=0, application/json;q=0").status_code == 406
    assert archive.get("/studies", "*/*;q=0").status_code == 406


@pytest.mark.parametrize("accept", ["nonsense", f"{JSON}x", "image/jpeg", "text/html", "application/dicom"])
def test_406_lists_what_there_is(archive: Archive, accept: str) -> None:
    """PS3.18 8.7.8.1 (checklist 3)."""
    answer = archive.get("/studies", accept)
    assert answer.status_code == 406
    assert JSON in answer.text
    assert XML in answer.text


def test_items_that_make_no_sense_are_passed_over(archive: Archive) -> None:
    """PS3.18 8.7.7 (checklist 3)."""
    for accept in (f"nonsense, ;;, {JSON}", f"{JSON};q=much", f"{JSON}; x; y=", f",,{JSON},"):
        assert archive.get("/studies?limit=1", accept).status_code == 200, accept


def frames_type(archive: Archive, path: str, accept: str) -> str:
    ((headers, _),) = parts(archive.get(f"{path}/frames/1", accept))
    return headers["Content-Type"]


@pytest.mark.parametrize("syntax", ["*", '"*"', JPEG_BASELINE, f'"{JPEG_BASELINE}"'])
@pytest.mark.parametrize(
    "content", ["application/octet-stream", '"application/octet-stream"', "image/jpeg", '"image/*"', '"*/*"']
)
def test_as_stored_quoted_or_not(archive: Archive, photo_path: str, syntax: str, content: str) -> None:
    """PS3.18 8.7.3.5.2, 8.7.3.5.1 (checklist 5, 8): unquoted `type=` is understood too."""
    accept = f"multipart/related;type={content};transfer-syntax={syntax}"
    assert frames_type(archive, photo_path, accept) == f"image/jpeg; transfer-syntax={JPEG_BASELINE}"


@pytest.mark.parametrize(
    "twice", ["transfer-syntax=*; transfer-syntax=1.2", 'transfer-syntax="1.2,1.3"', "transfer-syntax=JPEG"]
)
def test_a_media_type_has_one_transfer_syntax(archive: Archive, photo_path: str, twice: str) -> None:
    """PS3.18 8.7.3.5.2 (checklist 5): such an item is not valid and passed over."""
    wrong = f'multipart/related; type="application/octet-stream"; {twice}'
    assert archive.get(f"{photo_path}/frames/1", wrong).status_code == 406
    right = f'{wrong}, multipart/related; type="image/jpeg"'
    assert frames_type(archive, photo_path, right).startswith("image/jpeg")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_has_its_syntax_told_and_allowed(archive: Archive, name: str) -> None:
    """PS3.18 8.7.3, 8.7.3.4 (checklist 6, 7): explicit by default; never implicit or big endian."""
    path = archive.held[name].path
    for accept in (
        'multipart/related; type="application/dicom"',
        "*/*",
        "multipart/related; type=application/dicom; transfer-syntax=*",
    ):
        answer = archive.get(path, accept)
        types = (
            [headers["Content-Type"] for headers, _ in parts(answer)]
            if "multipart" in answer.headers["content-type"]
            else [answer.headers["content-type"]]
        )
        for content_type in types:
            syntax = content_type.partition("transfer-syntax=")[2]
            assert syntax
            assert syntax not in NEVER_SENT
            assert syntax == EXPLICIT or accept != 'multipart/related; type="application/dicom"'


def test_multiparts_name_their_type_and_boundary(archive: Archive, photo_path: str) -> None:
    """PS3.18 8.6.1.2, 8.7.1 (checklist 8, 11, 14): and each part its Content-Type and Content-Location."""
    for path, accept in (
        (STUDY, 'multipart/related; type="application/dicom"; transfer-syntax=*'),
        (f"{photo_path}/frames/1", 'multipart/related; type="*/*"'),
        (f"{photo_path}/bulkdata/7FE00010", 'multipart/related; type="*/*"'),
        (f"{STUDY}/metadata", XML_PARTS),
    ):
        answer = archive.get(path, accept)
        for headers, _ in parts(answer):  # checks the framing, and `type` and `boundary` on the way
            assert headers["Content-Location"].startswith(archive.server.dicomweb_url)
            assert f'type="{headers["Content-Type"].partition(";")[0]}"' in answer.headers["content-type"]
        assert answer.headers["content-location"].startswith(archive.server.dicomweb_url)


def test_compressed_frames_have_no_delimiters(archive: Archive) -> None:
    """PS3.18 8.7.3.3.2 (checklist 11): one frame a part, no item tags, the syntax named (checklist 12)."""
    held = archive.held["examples_ybr_color"]
    found = parts(
        archive.get(f"{held.path}/bulkdata/7FE00010", "multipart/related; type=*/*; transfer-syntax=*")
    )
    assert len(found) == 30
    assert Counter(headers["Content-Type"] for headers, _ in found).keys() == {
        f"image/jpeg; transfer-syntax={JPEG_BASELINE}"
    }
    assert not any(content.startswith(b"\xfe\xff\x00\xe0") for _, content in found)


@pytest.mark.parametrize(
    ("name", "legacy"),
    [("examples_ybr_color", "image/x-dicom-rle"), ("sm_image_jpegls_nobot", "image/x-jls")],
)
def test_legacy_names_are_understood(archive: Archive, name: str, legacy: str) -> None:
    """PS3.18 8.7.3.3.2, note 8 (checklist 12)."""
    accept = f'multipart/related; type="{legacy}"'
    assert frames_type(archive, archive.held[name].path, accept).startswith(legacy.replace("x-", ""))


# Character sets (checklist 10, 13)


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("charset=utf-8", {}, 200),
        ("charset=UTF8", {}, 200),
        ("charset=ISO_IR+192", {}, 200),
        ("charset=iso-8859-1,utf-8;q=0.1", {}, 200),
        ("charset=iso-8859-1", {}, 406),
        ("charset=ISO+2022+IR+87", {}, 406),
        ("charset=", {}, 400),
        ("charset=%22utf-8", {}, 400),
        ("charset=no-such-charset", {}, 400),
        ("charset=utf-8&charset=utf-8", {}, 400),
        ("", {"Accept": f"{JSON}; charset=utf-8"}, 200),
        ("", {"Accept": f'{JSON}; charset="UTF-8"'}, 200),
        ("", {"Accept": f"{JSON}; charset=iso-8859-1"}, 406),
        ("", {"Accept": f"{JSON}; charset=iso-8859-1, */*;q=0.1"}, 200),
        ("charset=iso-8859-1", {"Accept": f"{JSON}; charset=utf-8"}, 200),
        ("charset=utf-8", {"Accept-Charset": "iso-8859-1"}, 200),
        ("", {"Accept-Charset": "iso-8859-1"}, 406),
        ("", {"Accept-Charset": "iso-8859-1, *;q=0.5"}, 200),
        ("", {"Accept-Charset": "*, utf-8;q=0"}, 406),
        ("", {"Accept-Charset": "no-such-charset"}, 200),
        ("", {"Accept-Charset": "\"'\\;;"}, 200),
    ],
)
def test_the_character_set(archive: Archive, query: str, headers: dict[str, str], status: int) -> None:
    """PS3.18 8.3.3.2, 8.8 (checklist 13): media type, parameter, Accept-Charset, default, in this order."""
    for accept in (JSON, XML_PARTS):
        chosen = headers.get("Accept", accept).replace(JSON, accept)
        answer = archive.client.get(
            f"/studies?limit=1&{query}",
            headers={"Accept": chosen, **{k: v for k, v in headers.items() if k != "Accept"}},
        )
        assert answer.status_code == status, answer.text
        assert status == 200 or "UTF-8" in answer.json()["detail"]


def test_text_is_utf_8_and_the_data_set_says_what_it_was(archive: Archive) -> None:
    """PS3.18 F.2, 8.8 (checklist 10, 13): (0008,0005) is that of the file."""
    path = f"{archive.held['chrH31'].path}/metadata"
    answer = archive.get(path, JSON)
    (metadata,) = json.loads(answer.content.decode("utf-8"))
    assert metadata["00080005"]["Value"] == [None, "ISO 2022 IR 87"]
    assert metadata["00100010"]["Value"][0]["Ideographic"] == "山田^太郎"
    root = ET.fromstring(archive.get(path, XML).content)
    names = [element.text for element in root.iter() if element.tag.endswith("FamilyName")]
    assert "山田" in names


# Payload and refusals (checklist 14, 15)


def test_every_payload_has_a_content_type(archive: Archive, photo_path: str) -> None:
    """PS3.18 8.6 (checklist 14): and a representation its Content-Location."""
    for path in (
        *MODELS,
        photo_path,
        f"{photo_path}/frames/1",
        f"{photo_path}/rendered",
        f"{photo_path}/thumbnail",
    ):
        answer = archive.get(path, "*/*")
        assert answer.headers["content-type"], path
        assert answer.headers["content-location"], path


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/problem+json"),
        (JSON, "application/problem+json"),
        (AXIOS, "application/problem+json"),
        (XML_PARTS, "application/problem+json"),
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html;q=0.2, application/json", "application/problem+json"),
        ("text/plain", "text/plain; charset=utf-8"),
        (";;nonsense", "application/problem+json"),
    ],
)
def test_refusals_are_told_in_the_clients_words(archive: Archive, accept: str, media_type: str) -> None:
    """PS3.18 8.6.3 (checklist 15)."""
    for path, status in (
        ("/studies/1.2.3/metadata", (404, 406)),
        ("/nothing/<b>", (404,)),
        ("/studies?limit=x", (400, 406)),
    ):
        answer = archive.get(path, accept)
        assert answer.status_code in status
        assert answer.headers["content-type"] == media_type
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert str(answer.status_code) in answer.text
        assert "Traceback" not in answer.text
        if media_type.startswith("text/html"):
            assert "<b>" not in answer.text
            assert answer.headers["content-security-policy"] == "default-src 'none'"


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_uri_that_is_too_long_is_told_from_headers_that_are(archive: Archive, pieces: int) -> None:
    """PS3.18 8.5 (checklist 15)."""
    with socket.create_connection(("127.0.0.1", archive.server.port), timeout=30) as connection:
        connection.sendall(b"GET /dicom-web/studies?PatientID=")
        for _ in range(pieces):
            connection.sendall(b"a" * (36_000 // pieces))
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 414 URI Too Long\r\n")
    with socket.create_connection(("127.0.0.1", archive.server.port), timeout=30) as connection:
        connection.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nX: " + b"a" * 36_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


# The JSON model (checklist 17)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_and_results_are_of_the_json_model(archive: Archive, name: str) -> None:
    """PS3.18 F.2.2 to F.2.7 (checklist 17): order, no group lengths, vr, one of three contents, null."""
    held = archive.held[name]
    for path in (
        f"{held.path}/metadata",
        f"/instances?SOPInstanceUID={held.sop}&includefield=all",
        f"/studies?StudyInstanceUID={held.study}",
        f"{held.path.partition('/instances')[0]}/instances",
    ):
        for item in archive.get(path, JSON).json():
            in_order(item)
            of_the_model(item)


def of_the_model(data_set: dict) -> None:
    for tag, attribute in data_set.items():
        assert not tag.startswith("0002")
        values = attribute.get("Value", [None])
        assert values
        kinds = {type(value) for value in values if value is not None}
        match attribute["vr"]:
            case "SQ":
                assert kinds <= {dict}
                for item in attribute.get("Value", []):
                    of_the_model(item)
            case "PN":
                assert kinds <= {dict}
                assert all(
                    {"Alphabetic", "Ideographic", "Phonetic"} >= name.keys() for name in values if name
                )
            case "IS" | "DS" | "SV" | "UV":
                assert kinds <= {int, float, str}
            case "US" | "SS" | "UL" | "SL":
                assert kinds <= {int}
            case "FL" | "FD":
                assert kinds <= {int, float, str}
            case "OB" | "OW" | "UN" | "OF" | "OD" | "OL" | "OV":
                assert "Value" not in attribute
            case _:
                assert kinds <= {str}
                assert "" not in values
