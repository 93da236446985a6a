"""Validators and preconditions over a real socket (RFC 9110 8.8 and 13; PS3.18 checklist 42)."""

from email.utils import formatdate, parsedate_to_datetime

import httpx
import pytest

from tests.factories import uid
from tests.web.conftest import Archive

STORED = "application/dicom; transfer-syntax=*"
FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
OF_AN_INSTANCE = [
    ("", STORED),
    ("", "application/dicom"),
    ("", 'multipart/related; type="application/dicom"'),
    ("", "application/zip"),
    ("/frames/1", FRAMES),
    ("/frames/1", "image/jpeg"),
    ("/frames/1", 'multipart/related; type="application/octet-stream"'),
    ("/frames", None),
    ("/bulkdata/7FE00010", None),
    ("/bulkdata", None),
    ("/pixeldata", None),
    ("/rendered", "image/jpeg"),
    ("/rendered?viewport=8,8", "image/png"),
    ("/thumbnail", "image/jpeg"),
    ("/frames/1/thumbnail", "image/png"),
]
OF_SEVERAL = [
    ("/studies/{p}", None),
    ("/studies/{p}", "application/zip"),
    ("/studies/{p}/bulkdata", None),
    ("/studies/{p}/metadata", None),
    ("/studies/{p}/series/{s}/metadata", None),
    ("/studies/{p}/rendered", None),
    ("/studies", None),
    ("/studies/{p}/instances?includefield=all", None),
    ("/series?Modality=XC", None),
]


def ask(
    archive: Archive, path: str, accept: str | None, method: str = "GET", **fields: str
) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return archive.client.request(method, path, headers={"Accept": accept or "*/*", **headers})


@pytest.mark.parametrize(("leaf", "accept"), OF_AN_INSTANCE)
def test_what_is_of_an_instance_is_sent_once(
    archive: Archive, photo_path: str, leaf: str, accept: str | None
) -> None:
    """PS3.18 8.4.3, RFC 9110 13.1 (checklist 42, 14): a tag, a date, and nothing sent that is known."""
    path = photo_path + leaf
    whole = ask(archive, path, accept)
    assert whole.status_code == 200
    tag, modified = whole.headers["etag"], whole.headers["last-modified"]
    assert tag.startswith('"')
    assert whole.headers["content-location"].startswith(f"{archive.server.dicomweb_url}{photo_path}")
    assert "Accept" in whole.headers["vary"]
    assert whole.headers["cache-control"] == "public, max-age=3600"
    assert ask(archive, path, accept).content == whole.content, "a strong tag means the same bytes"
    later = formatdate(parsedate_to_datetime(modified).timestamp() + 60, usegmt=True)
    earlier = formatdate(parsedate_to_datetime(modified).timestamp() - 60, usegmt=True)
    for method in ("GET", "HEAD"):
        for fields in (
            {"If_None_Match": tag},
            {"If_None_Match": f'"other", W/{tag}'},
            {"If_None_Match": "*"},
            {"If_Modified_Since": modified},
            {"If_Modified_Since": later},
            {"If_None_Match": tag, "If_Modified_Since": earlier},
            {"If_Match": tag, "If_None_Match": tag},
        ):
            known = ask(archive, path, accept, method, **fields)
            assert (known.status_code, known.content) == (304, b""), fields
            same = ("etag", "last-modified", "vary", "cache-control", "content-location")
            assert [known.headers[name] for name in same] == [whole.headers[name] for name in same]
            assert "content-type" not in known.headers
        for fields in (
            {"If_None_Match": '"other"'},
            {"If_None_Match": '"other"', "If_Modified_Since": later},
            {"If_Modified_Since": earlier},
            {"If_Modified_Since": "yesterday"},
            {"If_Match": tag},
            {"If_Match": "*"},
            {"If_Match": f'"other", {tag}', "If_Unmodified_Since": earlier},
            {"If_Unmodified_Since": modified},
            {"If_Unmodified_Since": "tomorrow"},
        ):
            assert ask(archive, path, accept, method, **fields).status_code == 200, fields
        for fields in (
            {"If_Match": '"other"'},
            {"If_Match": f"W/{tag}"},
            {"If_Unmodified_Since": earlier},
            {"If_Match": '"other"', "If_None_Match": tag},
        ):
            assert ask(archive, path, accept, method, **fields).status_code == 412, fields


@pytest.mark.parametrize(("path", "accept"), OF_SEVERAL)
def test_what_may_change_is_asked_for_again_by_its_tag(
    archive: Archive, path: str, accept: str | None
) -> None:
    """PS3.18 8.4.3 (checklist 42): a study, metadata and searches are kept, and checked before use."""
    path = path.format(p=uid("p"), s=uid("s1"))
    whole = ask(archive, path, accept)
    assert whole.status_code == 200
    assert whole.headers["cache-control"] == "public, no-cache"
    assert "Accept" in whole.headers["vary"]
    assert "last-modified" not in whole.headers, "there is none that a withdrawal would change"
    assert whole.headers["content-location"] == f"{archive.server.dicomweb_url}{path}"
    assert ask(archive, path, accept).content == whole.content
    tag = whole.headers["etag"]
    for method in ("GET", "HEAD"):
        known = ask(archive, path, accept, method, If_None_Match=tag)
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
        assert ask(archive, path, accept, method, If_None_Match='"other"').status_code == 200
        assert ask(archive, path, accept, method, If_Match='"other"').status_code == 412


def test_every_representation_has_a_tag_of_its_own(archive: Archive, photo_path: str) -> None:
    """RFC 9110 8.8.3.3 (checklist 42)."""
    tags = [ask(archive, photo_path + leaf, accept).headers["etag"] for leaf, accept in OF_AN_INSTANCE]
    other = photo_path.replace(uid("p1"), uid("p2"))
    tags += [ask(archive, other + leaf, accept).headers["etag"] for leaf, accept in OF_AN_INSTANCE]
    # /bulkdata and /pixeldata of a photograph are its one bulk value.
    assert len(set(tags)) == len(tags) - 4


@pytest.mark.parametrize(
    ("leaf", "accept", "status"),
    [("", "application/pdf", 406), ("/frames/2", None, 404), ("/frames/x", None, 400), ("9", None, 404)],
)
def test_conditions_do_not_hide_an_error(
    archive: Archive, photo_path: str, leaf: str, accept: str | None, status: int
) -> None:
    """RFC 9110 13.2.1 (checklist 42): without the condition it would not have been answered either."""
    for fields in ({"If_None_Match": "*"}, {"If_Match": '"other"'}):
        assert ask(archive, photo_path + leaf, accept, **fields).status_code == status


@pytest.mark.parametrize(("leaf", "accept"), OF_AN_INSTANCE)
def test_head_says_what_get_says(archive: Archive, photo_path: str, leaf: str, accept: str | None) -> None:
    """PS3.18 8.2, RFC 9110 9.3.2 (checklist 35); a length that only a conversion would tell is left out."""
    head, get = (ask(archive, photo_path + leaf, accept, method) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (200, b"")
    said, says = dict(head.headers), dict(get.headers)
    assert says.pop("transfer-encoding", None) is None or "content-length" not in said
    if "content-length" not in said:  # made for the answer, or packed for it
        assert accept in {"application/dicom", "application/zip"} or "type=" in str(accept) or "rend" in leaf
        for name in ("content-length", "content-type"):
            said.pop(name, None)
            says.pop(name, None)
    assert {**said, "date": ""} == {**says, "date": ""}
