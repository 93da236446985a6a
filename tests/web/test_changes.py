"""The change feed over HTTP: resumable, in two forms, cheap to ask again."""

import json
from collections.abc import Iterator

import pytest

from tests.factories import instance_bytes, uid
from tests.web.door import Door, opened_door

CHANGES = "/dicom-web/changes"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("changes")) as door:
        assert door.store(*(instance_bytes(name=f"i{n}") for n in range(5))).status_code == 200
        yield door


def test_json_by_default(door: Door) -> None:
    answer = door.get(CHANGES)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["last"], body["latest"]) == (5, 5)
    assert [change["sequence"] for change in body["changes"]] == [1, 2, 3, 4, 5]
    assert {change["action"] for change in body["changes"]} == {"created"}
    assert body["changes"][0]["SOPInstanceUID"] == uid("i0")
    assert len(body["changes"][0]["sha256"]) == 64
    assert "link" not in answer.headers


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/jsonl"])
def test_a_line_for_each_change(door: Door, media_type: str) -> None:
    answer = door.get(f"{CHANGES}?since=3", Accept=media_type)
    assert answer.headers["content-type"] == media_type
    assert [json.loads(line)["sequence"] for line in answer.text.splitlines()] == [4, 5]
    assert door.get(f"{CHANGES}?since=5", Accept=media_type).text == ""


def test_pages_follow_their_links_to_the_end(door: Door) -> None:
    seen, path = [], f"{CHANGES}?limit=2"
    while path:
        answer = door.get(path, Accept="application/x-ndjson")
        seen += [json.loads(line)["sequence"] for line in answer.text.splitlines()]
        link = answer.headers.get("link", "")
        path = link.partition("<https://dermzoo.example")[2].partition(">")[0]
        assert not link or link.endswith('; rel="next"')
    assert seen == [1, 2, 3, 4, 5]


def test_the_entity_tag_lasts_until_the_next_change(door: Door) -> None:
    """RFC 9110 13.1.2; checklist 42 for a resource of our own."""
    tag = door.get(CHANGES).headers["etag"]
    unchanged = door.get(CHANGES, If_None_Match=f'"other", W/{tag}')
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert door.get(f"{CHANGES}?since=1", If_None_Match=tag).status_code == 200
    assert door.get(CHANGES, If_None_Match=tag, Accept="application/jsonl").status_code == 200
    door.store(instance_bytes(name="i0"))  # known already: nothing changes
    assert door.get(CHANGES, If_None_Match=tag).status_code == 304


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=-1", "since=-1"),
        ("since=now", "since=now"),
        ("since=1.0", "since=1.0"),
        ("since=1&since=2", "more than once"),
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("limit=²", "limit"),
        ("since=" + "9" * 40, "since"),
        ("offset=3", "offset"),
    ],
)
def test_bad_parameters_are_named(door: Door, query: str, says: str) -> None:
    answer = door.get(f"{CHANGES}?{query}")
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_other_forms_are_not_acceptable(door: Door) -> None:
    assert door.get(CHANGES, Accept="text/csv").status_code == 406
    assert door.get(f"{CHANGES}?accept=application/x-ndjson").headers["content-type"].endswith("ndjson")
    assert door.request("HEAD", CHANGES).status_code == 200
