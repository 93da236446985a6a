"""OHIF on an archive of other people, through the proxy."""

from pathlib import Path

import pytest

from tests.factories import uid
from tests.ohif.test_ohif import look
from tests.ohif.viewer import serve_viewer
from tests.proxy.conftest import Between

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("chromium")]


def test_ohif_draws_what_orthanc_holds(between: Between, tmp_path: Path) -> None:
    # Orthanc has no thumbnails of its own: the viewer draws them from the frames.
    with serve_viewer(between.url, {"orthanc": {"thumbnailRendering": "wadors"}}) as viewer:
        seen = look(viewer, tmp_path, {uid("p"): 3})
    assert seen["failed"] == []
    asked = [path for _, path in between.recording.requests]
    assert (
        len([path for path in asked if "/frames/" in path]) <= 3
    )  # thumbnails and pictures are the same frames
    for request in seen["requests"]:
        assert not any(address in request["url"] for address in between.inner_addresses)
