"""OHIF on an archive of other people, through the proxy."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.ohif.test_ohif import PICTURES, look_at_the_pictures
from tests.proxy.sample import Proxied, proxied

__all__ = ["proxied"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Orthanc has no thumbnails of its own: the viewer draws them from the frames.
SOURCES = {"orthanc": {"thumbnailRendering": "wadors"}}


def test_ohif_draws_what_orthanc_holds_cold_and_warm(proxied: Proxied, tmp_path: Path) -> None:
    """As it draws our archive; and what is warm costs Orthanc nothing, whichever browser asks."""
    proxied.forget()
    proxied.recording.taken()
    for temperature in ("cold", "warm"):
        folder = tmp_path / temperature
        folder.mkdir()
        seen = look_at_the_pictures(proxied.url, folder, SOURCES)
        asked = [path for _, path in proxied.recording.taken()]
        frames = [path for path in asked if "/frames/" in path]
        # thumbnails and pictures are the same frames
        assert len(frames) == (len(PICTURES) if temperature == "cold" else 0)
        assert temperature == "cold" or asked == []
        for url in (proxied.upstream, proxied.recording.url):
            assert not any(urlsplit(url).netloc in request["url"] for request in seen["requests"])
