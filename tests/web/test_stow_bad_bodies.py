"""STOW-RS: bodies that cannot be understood, and any bytes at all."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cage import Cage
from app.dicom import json_reader
from app.dicom.xml_model import xml_document
from tests.factories import make_jpeg
from tests.web.models import (
    BULK,
    JSON,
    XML,
    body,
    bulk,
    failures,
    metadata,
    model,
    post,
    without_pixels,
)
from tests.web.storing import BOUNDARY, Client, assert_nothing_is_held, empty_archive


@pytest.fixture(scope="module")
def cage() -> Iterator[Cage]:
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=10, wall_s=120)
    yield cage
    cage.close()


@pytest.fixture
def archive(tmp_path, cage):
    with empty_archive(tmp_path, cage) as archive:
        yield archive


@pytest.fixture
def client(archive) -> Client:
    return Client(archive)


class TestOrder:
    """PS3.18 10.5.1 (checklist 54): where the body cannot be understood, nothing of it is stored."""

    @pytest.mark.parametrize(
        ("parts", "root", "status", "says"),
        [
            ([bulk(b"a"), metadata(model())], JSON, 400, "Part 1 comes before the metadata"),
            ([metadata(model()), metadata(model())], JSON, 400, "one array in one part"),
            ([metadata(model()), bulk(b"a"), metadata(model())], JSON, 400, "Part 3 has metadata"),
            ([metadata(model()), bulk(b"a"), bulk(b"b")], JSON, 400, f"Content-Location of another: {BULK}"),
            ([metadata(model()), ("Content-Type: image/jpeg", b"")], JSON, 400, "no Content-Location"),
            ([metadata(model()), bulk(b"", "image/jpeg; transfer-syntax=jpeg")], JSON, 400, "no UID"),
            (
                [metadata(model()), (f"Content-Location: {BULK}\r\nContent-Encoding: gzip", b"")],
                JSON,
                415,
                "gzip",
            ),
            ([metadata()], JSON, 400, "of no instance"),
            ([(f"Content-Type: {JSON}", b"[{]")], JSON, 400, "not JSON"),
            ([(f"Content-Type: {JSON}", b"[" * 5000)], JSON, 400, "not JSON"),
            ([(f"Content-Type: {JSON}; charset=utf-16", b"[]")], JSON, 415, "UTF-8"),
            ([metadata(model())], XML, 400, f"of type {XML}"),
            (
                [(f"Content-Type: {XML}", b""), bulk(b"a"), (f"Content-Type: {XML}", b"")],
                XML,
                400,
                "before all bulk data",
            ),
        ],
    )
    def test_malformed(self, client, archive, parts, root, status, says):
        response = post(client, *parts, root=root)
        assert response.status_code == status
        assert says in response.json()["detail"]
        assert_nothing_is_held(archive)

    def test_metadata_that_are_too_long(self, client, archive, monkeypatch):
        monkeypatch.setattr("app.web.metadata_spool.JSON_BYTES", 1000)
        response = post(client, metadata(model()))
        assert response.status_code == 413
        assert "1000 bytes" in response.json()["detail"]
        assert_nothing_is_held(archive)

    def test_the_limit_is_that_of_the_reader(self):
        from app.web import metadata_spool

        assert metadata_spool.JSON_BYTES is json_reader.JSON_BYTES

    def test_documents_that_kill_their_reader(self, client, archive):
        """PS3.18 Table I.2-2 (checklist 58): 0110, for each of them."""
        small = Cage(processes=1, memory_bytes=1, cpu_s=10)
        client.archive = replace(archive, cage=small)
        document = (f"Content-Type: {XML}", xml_document(model()))
        try:
            response = post(client, document, document, root=XML)
        finally:
            small.close()
        assert (response.status_code, failures(response)) == (409, [0x0110, 0x0110])
        assert_nothing_is_held(archive)

    def test_a_body_cut_short(self, client, archive):
        content_type = f'multipart/related; type="{JSON}"; boundary={BOUNDARY}'
        cut = body(metadata(without_pixels()), bulk(make_jpeg(), "image/jpeg"))[:-100]
        response = client.post(cut, Content_Type=content_type)
        assert response.status_code == 400
        assert_nothing_is_held(archive)


PIECES = st.lists(
    st.sampled_from(
        [
            *(f"--{BOUNDARY}{end}".encode() for end in ("\r\n", "--\r\n", "")),
            *(
                f"Content-Type: {one}\r\n".encode()
                for one in (JSON, XML, "image/jpeg", "x", "application/dicom")
            ),
            b"Content-Location: bulk/1\r\n",
            b"Content-Location: bulk/2\r\n",
            b"\r\n",
            b"[{}]",
            b"\xff\xd8\xff",
            json.dumps([without_pixels()]).encode(),
            xml_document(without_pixels()),
            make_jpeg(),
        ]
    )
    | st.binary(max_size=8),
    max_size=16,
)


@given(PIECES, st.sampled_from([JSON, XML, "application/dicom"]), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_has_an_answer_that_says_why(client, pieces, root, is_alone):
    """PS3.18 10.5.3.1 (checklist 57): never a fault of ours, and nothing is left behind."""
    content_type = root if is_alone else f'multipart/related; type="{root}"; boundary={BOUNDARY}'
    response = client.post(b"".join(pieces), Content_Type=content_type)
    assert response.status_code in {200, 202, 400, 409, 415}
    if response.status_code in {400, 415}:
        assert response.json()["detail"]
    elif response.status_code != 200:
        assert response.headers["Warning"]
    leftovers = [path for path in (client.archive.storage.root / "tmp").rglob("*") if path.is_file()]
    assert {path.name for path in leftovers} <= {"guard"}
