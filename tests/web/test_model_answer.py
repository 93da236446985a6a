"""Search results and metadata as XML: made in slices, outside the event loop."""

import threading

import pytest

from app.web import model_answer
from tests.factories import instance_bytes, make_instance
from tests.web.door import opened_door
from tests.web.multiparts import parts

XML_PARTS = 'multipart/related; type="application/dicom+xml"'


def test_slices_are_the_whole(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the slices, the same bytes: a strong entity tag promises it."""
    threads = set()
    convert = model_answer.xml_document

    def noting(attributes: dict) -> bytes:
        threads.add(threading.current_thread())
        return convert(attributes)

    monkeypatch.setattr(model_answer, "xml_document", noting)
    with opened_door(tmp_path) as door:
        files = [instance_bytes(make_instance(f"i{number}", series=f"s{number % 2}")) for number in range(5)]
        assert door.store(*files).status_code == 200
        for path in ("/dicom-web/instances", "/dicom-web/studies"):
            whole = door.get(path, accept=XML_PARTS)
            assert int(whole.headers["content-length"]) == len(whole.content)
            with monkeypatch.context() as changed:
                changed.setattr(model_answer, "SLICE_BYTES", 1)
                sliced = door.get(path, accept=XML_PARTS)
            assert "content-length" not in sliced.headers
            assert sliced.content == whole.content
            assert sliced.headers["etag"] == whole.headers["etag"]
        assert len(parts(door.get("/dicom-web/instances", accept=XML_PARTS))) == 5
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("sizes", [[], [1], [3, 3, 3], [9, 1, 1], [1, 1, 9], [2, 2, 2, 2, 2]])
def test_slices_leave_nothing_out(monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    monkeypatch.setattr(model_answer, "SLICE_BYTES", 4)
    documents = [b"x" * size for size in sizes]
    slices = list(model_answer._slices(documents))
    assert [document for some in slices for document in some] == documents
    assert all(len(some) == 1 or sum(map(len, some)) <= 4 for some in slices if some)
