"""Licence and attribution as rules: which pixels leave, what goes with them, and searches by terms."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

from tests.factories import instance_bytes, make_instance, uid
from tests.web.door import Door, opened_door

BY = "https://creativecommons.org/licenses/by/4.0/"
ZERO = "https://creativecommons.org/publicdomain/zero/1.0/"
NAMED = "Hospital Clínic, 50% Köln"
ROOT = "/dicom-web"


class Terms(NamedTuple):
    """What an instance says of itself."""

    licence: str | None = None
    attribution: str | None = None
    isic_id: str | None = None
    commercial: str | None = None


# By the name of the instance; in the study `s` all but the last.
TERMS = {
    "zero": Terms("CC-0", None, "ISIC_0000001", "YES"),
    "by": Terms("CC-BY", NAMED, "ISIC_0000002", "YES"),
    "nc": Terms("CC-BY-NC", "MSK", "ISIC_0000003", "NO"),
    "unnamed": Terms("CC-BY", None, "ISIC_0000004", "YES"),
    "unknown": Terms(None, "MSK", "ISIC_0000005"),
    "odd": Terms("CC-BY-ND", "MSK", "ISIC_0000006"),
    "folder": Terms(),  # not of the corpus
    "lone": Terms(None, None, "ISIC_0000008"),
}
SERVED = ("zero", "by", "nc", "folder")
WITHHELD = ("unnamed", "unknown", "odd")


def made(name: str) -> bytes:
    terms = TERMS[name]
    study = "l" if name == "lone" else "s"
    data = make_instance(name, study=study, series=study, jpeg=True, ICCProfile=b"\0" * 4096)
    block = data.private_block(0x0099, "DERMZOO", create=True)
    for element, vr, value in (
        (0x01, "SH", terms.licence),
        (0x03, "UT", terms.attribution),
        (0x04, "LO", terms.isic_id),
        (0x24, "CS", terms.commercial),
        (0x16, "LO", "IP_1"),
        (0x17, "LO", "IL_1"),
        (0x18, "LO", "IRCM_1"),
    ):
        if value is not None:
            block.add_new(element, vr, value)
    data.SpecificCharacterSet = "ISO_IR 192"
    return instance_bytes(data)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("terms")) as opened:
        assert opened.store(*(made(name) for name in TERMS)).status_code == 200
        yield opened


def path(name: str) -> str:
    study = uid("l" if name == "lone" else "s")
    return f"{ROOT}/studies/{study}/series/{study}/instances/{uid(name)}"


def uri(name: str, content_type: str) -> str:
    study = uid("l" if name == "lone" else "s")
    named = f"studyUID={study}&seriesUID={study}&objectUID={uid(name)}"
    return f"/wado?requestType=WADO&{named}&contentType={content_type}"


STUDY = f"{ROOT}/studies/{uid('s')}"
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
NATIVE = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'
ANY = 'multipart/related; type="*/*"'


def pixel_requests(name: str) -> list[tuple[str, str]]:
    """Every resource of one instance that holds its pixels, and how it is asked for."""
    return [
        (path(name), DICOM),
        (path(name), NATIVE),
        (path(name), "application/dicom; transfer-syntax=*"),
        (path(name), "application/zip"),
        (f"{path(name)}/frames/1", "*/*"),
        (f"{path(name)}/frames", "*/*"),
        (f"{path(name)}/frames/1", 'multipart/related; type="application/octet-stream"'),
        (f"{path(name)}/bulkdata/7FE00010", "*/*"),
        (f"{path(name)}/pixeldata", "*/*"),
        (f"{path(name)}/rendered", "*/*"),
        (f"{path(name)}/rendered", "image/png"),
        (f"{path(name)}/frames/1/rendered", "*/*"),
        (f"{path(name)}/thumbnail", "*/*"),
        (f"{path(name)}/frames/1/thumbnail", "*/*"),
        (uri(name, "image/jpeg"), "*/*"),
        (uri(name, "application/dicom"), "*/*"),
    ]


@pytest.mark.parametrize("name", WITHHELD)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_pixels_without_complete_terms(door: Door, name: str, method: str) -> None:
    """By no door and in no form; a condition that would make it 304 does not help."""
    for where, accept in pixel_requests(name):
        answer = door.request(method, where, headers={"Accept": accept, "If-None-Match": "*"})
        assert answer.status_code == 403, where
        assert "etag" not in answer.headers


def test_the_refusal_says_what_is_missing_and_what_to_do(door: Door) -> None:
    for name, words in (
        ("unnamed", "whom to name is not known"),
        ("unknown", "licence is not known"),
        ("odd", "not one of CC-0, CC-BY, CC-BY-NC"),
    ):
        told = door.get(f"{path(name)}/frames/1").json()
        assert told["type"] == "urn:dermzoo:problem:not-licensed"
        assert words in told["detail"]
        assert "dermzoo index --license" in told["detail"]


@pytest.mark.parametrize("name", SERVED)
def test_complete_terms_and_what_is_not_of_the_corpus_are_served(door: Door, name: str) -> None:
    for where, accept in pixel_requests(name):
        assert door.get(where, accept=accept).status_code == 200, where


@pytest.mark.parametrize("name", WITHHELD)
def test_metadata_and_searches_stay(door: Door, name: str) -> None:
    [found] = door.get(f"{path(name)}/metadata").json()
    assert found["00080018"]["Value"] == [uid(name)]
    assert door.get(uri(name, "application/dicom%2Bjson")).status_code == 200
    assert len(door.get(f"{ROOT}/instances?SOPInstanceUID={uid(name)}").json()) == 1
    assert door.get(f"{path(name)}/bulkdata/00282000").status_code == 200, "a profile is no pixels"
    assert door.get(f"{path(name)}/bulkdata", accept=ANY).status_code == 206


def test_of_a_study_what_may_be_served_is(door: Door) -> None:
    """PS3.18 8.5 (checklist 14): 206 with a Warning that counts what is left out."""
    for where, accept in (
        (STUDY, DICOM),
        (STUDY, "application/zip"),
        (f"{STUDY}/rendered", 'multipart/related; type="image/jpeg"'),
        (f"{STUDY}/pixeldata", ANY),
    ):
        answer = door.get(where, accept=accept)
        assert answer.status_code == 206, where
        assert "3 of 7" in answer.headers["warning"]
        assert "unknown licence or attribution" in answer.headers["warning"]
        for name in WITHHELD:
            assert str(uid(name)).encode() not in answer.content
    assert door.get(f"{STUDY}/thumbnail").status_code == 200
    lone = f"{ROOT}/studies/{uid('l')}"
    for where in (lone, f"{lone}/rendered", f"{lone}/thumbnail", f"{lone}/pixeldata"):
        assert door.get(where, accept="*/*").status_code == 403, where


def test_everything_needs_terms_where_the_operator_says_so(tmp_path: Path) -> None:
    with opened_door(tmp_path, require_license=True) as door:
        door.store(made("folder"), made("by"))
        assert door.get(f"{path('folder')}/frames/1").status_code == 403
        assert door.get(f"{path('by')}/frames/1").status_code == 200


def test_the_same_bytes_may_be_stored_again(door: Door) -> None:
    """What is withheld is compared with all the same."""
    assert door.store(made("unknown")).status_code == 200


@pytest.mark.parametrize(("where", "accept"), pixel_requests("by"))
def test_the_terms_go_with_the_pixels(door: Door, where: str, accept: str) -> None:
    """In header fields that a page may read, with the whole, its head, and what is not sent again."""
    answer = door.get(where, accept=accept)
    for other in (
        answer,
        door.request("HEAD", where, headers={"Accept": accept}),
        door.get(where, accept=accept, if_none_match=answer.headers["etag"]),
    ):
        assert other.headers["link"] == f'<{BY}>; rel="license"'
        assert [unquote(text) for text in other.headers["attribution"].split(", ")] == [NAMED]
        assert "Attribution" in other.headers["access-control-expose-headers"]
    assert other.status_code == 304


def test_several_terms_in_one_answer(door: Door) -> None:
    headers = door.get(STUDY, accept=DICOM).headers
    assert [link.split(";")[0].strip("<>") for link in headers["link"].split(", ")] == [
        ZERO,
        BY,
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ]
    assert {unquote(text) for text in headers["attribution"].split(", ")} == {NAMED, "MSK"}


def test_without_terms_there_are_no_such_headers(door: Door) -> None:
    headers = door.get(f"{path('folder')}/frames/1").headers
    assert "link" not in headers
    assert "attribution" not in headers


def test_a_zip_file_holds_attributions_and_licences(door: Door) -> None:
    opened = zipfile.ZipFile(io.BytesIO(door.get(STUDY, accept="application/zip").content))
    assert opened.read("attribution.txt").decode().split("\n\n") == [NAMED, "MSK", ""]
    licences = {name for name in opened.namelist() if name.startswith("licenses/")}
    assert licences == {"licenses/CC-0.txt", "licenses/CC-BY.txt", "licenses/CC-BY-NC.txt"}
    assert BY in opened.read("licenses/CC-BY.txt").decode()
    assert "commercial purposes" in opened.read("licenses/CC-BY-NC.txt").decode()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("license=CC-0", {"zero"}),
        ("license=CC-0,CC-BY", {"zero", "by", "unnamed"}),
        ("LicenseID=CC-0,CC-BY", {"zero", "by", "unnamed"}),
        ("commercial-safe=true", {"zero", "by", "unnamed"}),
        ("commercial-safe=true&license=CC-BY,CC-BY-NC", {"by", "unnamed"}),
        ("commercial-safe=true&license=CC-BY-NC", set()),
        ("commercial-safe=false", set(TERMS)),
    ],
)
def test_searches_by_terms(door: Door, query: str, names: set[str]) -> None:
    found = door.get(f"{ROOT}/instances?{query}").json()
    assert {each["00080018"]["Value"][0] for each in found} == {uid(name) for name in names}
    for level in ("studies", "series"):
        answer = door.get(f"{ROOT}/{level}?{query}")
        studies = {each["0020000D"]["Value"][0] for each in answer.json()}
        assert studies == {uid("l" if name == "lone" else "s") for name in names}
        assert "warning" not in answer.headers


def test_a_licence_that_is_none_is_refused(door: Door) -> None:
    for query in ("license=GPL", "license=", "license=CC-0&license=CC-BY", "commercial-safe=yes"):
        assert door.get(f"{ROOT}/instances?{query}").status_code == 400, query
        assert door.get(f"{STUDY}?{query}", accept=DICOM).status_code == 400, query
    assert door.get(f"{ROOT}/instances?license=CC-0&LicenseID=CC-BY").status_code == 400


@pytest.mark.parametrize("accept", [DICOM, "application/zip"])
def test_a_retrieval_of_certain_terms_alone(door: Door, accept: str) -> None:
    """What was not asked for is not missing: 200, and not 206."""
    answer = door.get(f"{STUDY}?license=CC-0,CC-BY", accept=accept)
    assert answer.status_code == 200
    for name in ("zero", "by"):
        assert str(uid(name)).encode() in answer.content
    for name in ("nc", "folder", *WITHHELD):
        assert str(uid(name)).encode() not in answer.content
    assert answer.headers["etag"] != door.get(STUDY, accept=accept).headers["etag"]
    safe = door.get(f"{STUDY}?commercial-safe=true", accept=accept)
    assert str(uid("nc")).encode() not in safe.content
    assert door.get(f"{path('folder')}?license=CC-0", accept=accept).status_code == 404


def asked(where: str, query: str) -> str:
    return f"{where}{'&' if '?' in where else '?'}{query}"


def test_certain_terms_alone_by_every_door(door: Door) -> None:
    """What is asked of a study or instance is asked of its frames, pictures and bulk data too."""
    for where, accept in pixel_requests("nc"):
        assert door.get(where, accept=accept).status_code == 200, where
        assert door.get(asked(where, "commercial-safe=true"), accept=accept).status_code == 404, where
        assert door.get(asked(where, "license=CC-0,CC-BY"), accept=accept).status_code == 404, where
        assert door.get(asked(where, "license=GPL"), accept=accept).status_code == 400, where
    for where, accept in pixel_requests("by"):
        assert door.get(asked(where, "commercial-safe=true"), accept=accept).status_code == 200, where


@pytest.mark.parametrize("resource", ["rendered", "bulkdata", "pixeldata", "thumbnail"])
def test_pictures_and_values_of_certain_terms_alone(door: Door, resource: str) -> None:
    """What was not asked for is not missing: 200, and no Warning."""
    for query, url in (("license=CC-BY", BY), ("license=CC-0", ZERO)):
        answer = door.get(f"{STUDY}/{resource}?{query}")
        assert answer.status_code == 200
        assert answer.headers["link"] == f'<{url}>; rel="license"'
        assert "warning" not in answer.headers


@pytest.mark.parametrize(
    "accept", ["application/dicom+json", 'multipart/related; type="application/dicom+xml"']
)
def test_metadata_of_certain_terms_alone(door: Door, accept: str) -> None:
    for where in (STUDY, f"{STUDY}/series/{uid('s')}"):
        answer = door.get(f"{where}/metadata?commercial-safe=true", accept=accept)
        assert answer.status_code == 200
        told = {name for name in TERMS if uid(name).encode() in answer.content}
        assert told == {"zero", "by", "unnamed"}
        assert answer.headers["etag"] != door.get(f"{where}/metadata", accept=accept).headers["etag"]
    for query, status in (("license=CC-BY", 200), ("license=CC-0", 404), ("license=GPL", 400)):
        answer = door.get(f"{path('by')}/metadata?{query}", accept=accept)
        assert answer.status_code == status
    assert "under one of the licences" in door.get(f"{path('nc')}/metadata?commercial-safe=true").text
    absent = f"{ROOT}/studies/1.2/metadata?license=CC-0"
    assert "There is no study 1.2" in door.get(absent).text


@pytest.mark.parametrize("where", ["/lesions/IL_1", "/patients/IP_1", "/rcm-cases/IRCM_1"])
def test_relations_of_certain_terms_alone(door: Door, where: str) -> None:
    assert door.get(where).json()["images_count"] == len(TERMS)
    for query, names in (("commercial-safe=true", {"zero", "by", "unnamed"}), ("license=CC-BY-NC", {"nc"})):
        told = door.get(f"{where}?{query}").json()
        assert {one["SOPInstanceUID"] for one in told["images"]} == {uid(name) for name in names}
        assert told["images_count"] == len(names)
    assert door.get(f"{where}?license=CC-BY-NC&commercial-safe=true").status_code == 404
    assert door.get(f"{where}?license=GPL").status_code == 400


def test_what_cannot_heed_terms_refuses_them(door: Door) -> None:
    """Whoever asks for what he may use is not given more because nobody understood him."""
    for where in (f"{ROOT}/changes", "/collections", "/collections/any"):
        for query in ("license=CC-0", "commercial-safe=true"):
            assert door.get(f"{where}?{query}").status_code == 400, where
