"""The roots that a client is put to: our archive, and our proxy before an Orthanc that holds the same."""

import pytest

from tests.proxy.sample import Proxied, proxied
from tests.servers import Server

__all__ = ["proxied"]

_ANY = "it knows no media type */* for frames"
_IMAGES = "it knows no media type image/*"
_PIXELS = "its metadata do not name the pixels"
# What Orthanc 1.10 answers otherwise, to us as to anybody: a method of the client and the number of the call,
# or a test and the media types it asks for.
OF_ORTHANC: dict[tuple[str, object], str] = {
    ("retrieve_instance_frames", 0): _ANY,
    ("retrieve_instance_frames", 1): _ANY,
    ("retrieve_instance_frames", 3): _IMAGES,
    ("retrieve_instance_frames", 4): "it has no encoder for JPEG 2000",
    ("iter_instance_frames", 0): _ANY,
    ("retrieve_bulkdata", 0): _PIXELS,
    ("retrieve_bulkdata", 1): _PIXELS,
    ("retrieve_bulkdata", 2): _PIXELS,
    ("iter_bulkdata", 0): _PIXELS,
    ("test_retrieves_metadata_at_each_level", None): _PIXELS,
    ("test_retrieves_bulk_data", None): _PIXELS,
    ("test_retrieves_a_range_of_bulk_data", None): _PIXELS,
    ("test_retrieves_frames", None): _ANY,
    ("test_retrieves_frames", ("image/*",)): _IMAGES,
    ("test_retrieves_rendered", ("image/*",)): _IMAGES,
}


@pytest.fixture(scope="module", params=["archive", "proxy, cold", "proxy, warm"])
def root(request: pytest.FixtureRequest) -> str:
    """The root of a service that holds the sample corpus."""
    if request.param == "archive":
        server: Server = request.getfixturevalue("sample_server")
        return server.dicomweb_url
    behind: Proxied = request.getfixturevalue("proxied")
    if request.param == "proxy, cold":
        behind.forget()
    return behind.url
