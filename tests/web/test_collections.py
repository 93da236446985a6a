"""Collections over HTTP: their making, and the DICOMweb root that each of them is."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient

from app.web.dicomweb import RESOURCES
from tests.dicom.states import make_state
from tests.factories import make_instance, uid, with_facts, write_instance
from tests.servers import Server

# Two series of two instances in study a, one instance in each of b and c.
NAMES = ("a1x", "a1y", "a2x", "a2y", "b1x", "c1x")
MEMBERS = ("a1x", "b1x")


def isic_id(name: str) -> str:
    return f"ISIC_{NAMES.index(name):07}"


def path_of(name: str) -> str:
    return f"/studies/{uid(name[0])}/series/{uid(name[:2])}/instances/{uid(name)}"


@dataclass
class Curated:
    """The server, a curator's client, and a reader's."""

    server: Server
    curator: httpx.Client
    reader: httpx.Client

    def make(self, slug: str, names: tuple[str, ...] = (), **fields: object) -> dict[str, Any]:
        fields = {"slug": slug, "title": slug.title(), "public": True} | fields
        made = self.curator.post("/collections", json=fields)
        assert made.status_code == 201, made.text
        if names:
            self.members(slug, names)
        return dict(made.json())

    def members(self, slug: str, names: tuple[str, ...], method: str = "POST") -> httpx.Response:
        named = {"isic_ids": [isic_id(name) for name in names]}
        return self.curator.request(method, f"/collections/{slug}/members", json=named)

    def get(self, slug: str, path: str, **options: Any) -> httpx.Response:
        return self.reader.get(f"/collections/{slug}/dicom-web{path}", **options)


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curated]:
    folder = tmp_path_factory.mktemp("curated")
    (folder / "files").mkdir()
    for name in NAMES:
        facts = {
            "ISICID": isic_id(name),
            "LicenseID": "CC-0" if name < "b" else "CC-BY",
            "Attribution": "Ann",
        }
        made = with_facts(
            make_instance(
                name, study=name[0], series=name[:2], jpeg=True, Modality="XC" if name[1] == "1" else "DMS"
            ),
            **facts,
        )
        write_instance(folder / "files" / f"{name}.dcm", made)
    shown = make_instance(
        "d1x", study="d", series="d1", SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2"
    )
    shown.PixelData = bytes(shown.Rows * shown.Columns)
    del shown.PlanarConfiguration
    for name, made in (("d1x", shown), ("state", make_state(shown))):
        write_instance(folder / "files" / f"{name}.dcm", made)
    server = Server(folder / "server", {"throttle": "off"})
    server.migrate()
    server.run("index", folder / "files")
    token = server.token("curate")
    try:
        server.start()
        with (
            httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as curator,
            httpx.Client(base_url=server.url, timeout=60) as reader,
        ):
            found = Curated(server, curator, reader)
            found.make("some", MEMBERS, description="**Some** of them")
            yield found
    finally:
        server.stop()


def test_a_collection_is_described(curated: Curated) -> None:
    (found,) = (
        one for one in curated.reader.get("/collections").json()["collections"] if one["slug"] == "some"
    )
    assert found == curated.reader.get("/collections/some").json()
    root = f"{curated.server.url}/collections/some"
    expected = {
        "title": "Some", "description": "**Some** of them", "url": root, "dicomweb": f"{root}/dicom-web",
        "studies": 2, "series": 2, "instances": 2, "licence": "CC-BY", "attributions": ["Ann"],
        "licences": [{"id": "CC-0", "instances": 1}, {"id": "CC-BY", "instances": 1}], "parent": None,
    }  # fmt: skip
    assert expected.items() <= found.items()


def test_answers_carry_a_tag_and_are_paged(curated: Curated) -> None:
    curated.make("first", pinned=True)
    answer = curated.reader.get("/collections", params={"limit": 1})
    assert [one["slug"] for one in answer.json()["collections"]] == ["first"]
    assert answer.links["next"]["url"] == f"{curated.server.url}/collections?limit=1&offset=1"
    known = curated.reader.get(
        "/collections", params={"limit": 1}, headers={"If-None-Match": answer.headers["etag"]}
    )
    assert known.status_code == 304
    assert curated.reader.get("/collections?limit=1&colour=red").status_code == 400


def test_searches_tell_of_members_alone(curated: Curated) -> None:
    """PS3.18 10.6 (checklist 30, 43): counts, modalities and URLs are those of the collection."""
    studies = {one["0020000D"]["Value"][0]: one for one in curated.get("some", "/studies").json()}
    assert studies.keys() == {uid("a"), uid("b")}
    study = studies[uid("a")]
    counts = [study[tag]["Value"] for tag in ("00201206", "00201208", "00080061")]
    assert counts == [[1], [1], ["XC"]]
    root = f"{curated.server.url}/collections/some/dicom-web"
    assert study["00081190"]["Value"] == [f"{root}/studies/{uid('a')}"]
    whole = curated.reader.get("/dicom-web/studies", params={"StudyInstanceUID": uid("a")}).json()[0]
    assert [whole[tag]["Value"] for tag in ("00201206", "00201208")] == [[2], [4]]
    assert whole["00081190"]["Value"] == [f"{curated.server.dicomweb_url}/studies/{uid('a')}"]
    assert curated.get("some", "/series?Modality=DMS").json() == []
    answer = curated.get("some", "/instances?limit=1")
    assert answer.headers["warning"] == f"299 {root}: There are 1 additional results that can be requested"
    for one in curated.get("some", "/instances?includefield=all").json():
        assert curated.reader.get(one["00081190"]["Value"][0]).status_code == 200


RETRIEVED = [
    "", "/metadata", "/rendered", "/thumbnail", "/frames/1", "/frames", "/bulkdata", "/pixeldata",
    "/bulkdata/7FE00010", "/frames/1/rendered", "/frames/1/thumbnail",
]  # fmt: skip


@pytest.mark.parametrize("below", RETRIEVED)
def test_only_members_are_retrieved(curated: Curated, below: str) -> None:
    """PS3.18 10.4: what is no member is answered as what is not held at all."""
    assert curated.get("some", path_of("a1x") + below).status_code == 200
    refused = curated.get("some", path_of("a1y") + below)
    unknown = curated.get("some", path_of("a1z") + below)
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert refused.json()["detail"] == unknown.json()["detail"].replace(uid("a1z"), uid("a1y"))
    assert curated.reader.get("/dicom-web" + path_of("a1y") + below).status_code == 200
    parents = {"", "/metadata", "/rendered", "/thumbnail", "/bulkdata", "/pixeldata"}
    if below in parents:
        for name in ("a2x", "c1x"):
            series, study = path_of(name).partition("/instances")[0], f"/studies/{uid(name[0])}"
            assert curated.get("some", series + below).status_code == 404
            assert curated.get("some", study + below).status_code == (200 if name == "a2x" else 404)


def test_a_study_is_sent_with_its_members(curated: Curated) -> None:
    study = f"/studies/{uid('a')}"
    (metadata,) = curated.get("some", study + "/metadata").json()
    root = f"{curated.server.url}/collections/some/dicom-web"
    assert metadata["7FE00010"]["BulkDataURI"].startswith(root)
    assert curated.reader.get(metadata["7FE00010"]["BulkDataURI"]).status_code == 200
    zipped = curated.get("some", study, headers={"Accept": "application/zip"})
    names = zipfile.ZipFile(io.BytesIO(zipped.content)).namelist()
    assert [name for name in names if name.endswith(".dcm")] == [f"{uid('a')}/{uid('a1')}/{uid('a1x')}.dcm"]


def test_a_presentation_state_shows_members_alone(curated: Curated) -> None:
    """PS3.18 10.4.1.1.3: the image that it is about is looked for in the same collection."""
    curated.make("shown")
    state = f"/studies/{uid('d')}/series/{uid('state series')}/instances/{uid('state')}/rendered"
    assert curated.reader.get(f"/dicom-web{state}").status_code == 200
    for name, status in (("state", 404), ("d1x", 200)):
        named = {"sop_instance_uids": [uid(name)]}
        assert curated.curator.post("/collections/shown/members", json=named).json()["added"] == 1
        assert curated.get("shown", state).status_code == status


def test_the_uri_service_sends_members(curated: Curated) -> None:
    """PS3.18 9.4."""
    for name, status in (("a1x", 200), ("a1y", 404)):
        uids = {"studyUID": uid(name[0]), "seriesUID": uid(name[:2]), "objectUID": uid(name)}
        for content_type in ("application/dicom", "image/jpeg", "application/dicom+json"):
            asked = {"requestType": "WADO", "contentType": content_type, **uids}
            assert curated.reader.get("/collections/some/wado", params=asked).status_code == status


def test_a_client_library_works_with_a_collection(curated: Curated) -> None:
    client = DICOMwebClient(f"{curated.server.url}/collections/some/dicom-web")
    assert len(client.search_for_studies()) == 2
    assert len(client.search_for_series(uid("a"))) == 1
    assert len(client.search_for_instances()) == 2
    assert client.retrieve_instance(uid("a"), uid("a1"), uid("a1x")).SOPInstanceUID == uid("a1x")
    assert [one.SOPInstanceUID for one in client.retrieve_study(uid("a"))] == [uid("a1x")]
    assert [one.SOPInstanceUID for one in client.retrieve_series(uid("a"), uid("a1"))] == [uid("a1x")]
    assert len(client.retrieve_study_metadata(uid("a"))) == 1
    assert len(client.retrieve_instance_frames(uid("a"), uid("a1"), uid("a1x"), [1])) == 1
    assert client.retrieve_instance_rendered(uid("a"), uid("a1"), uid("a1x"))
    with pytest.raises(Exception, match="404"):
        client.retrieve_instance(uid("a"), uid("a1"), uid("a1y"))


@pytest.mark.parametrize("slug", ["nothing", "hidden", "Some", "%00", "so%0ame"])
def test_what_is_not_public_is_not_there(curated: Curated, slug: str) -> None:
    if slug == "hidden":
        curated.make("hidden", ("c1x",), public=False)
    unknown = curated.get("unknown", "/studies")
    for path in ("/studies", path_of("c1x"), "/studies/1.2/metadata"):
        answer = curated.get(slug, path)
        assert answer.status_code == 404
        assert curated.curator.get(f"/collections/{slug}/dicom-web{path}").status_code == 404
    assert unknown.status_code == 404
    assert curated.reader.get(f"/collections/{slug}").status_code == 404
    assert slug not in {
        one["slug"] for one in curated.reader.get("/collections?limit=99").json()["collections"]
    }
    assert (curated.curator.get(f"/collections/{slug}").status_code == 200) is (slug == "hidden")


def test_nothing_is_stored_below_a_collection(curated: Curated) -> None:
    writing = [one for one in RESOURCES if not {"GET"} & set(one.methods)]
    assert writing
    for resource in writing:
        for method in resource.methods:
            path = resource.path.format(study="1.2", series="1.3", instance="1.4", transaction="1.5")
            answer = curated.curator.request(method, f"/collections/some/dicom-web{path}")
            assert answer.status_code == 405
            assert curated.server.dicomweb_url in answer.json()["detail"]
            assert "OPTIONS" in answer.headers["allow"]
            hidden = curated.curator.request(method, f"/collections/unknown/dicom-web{path}")
            assert hidden.status_code == 404
    assert curated.get("some", "/changes").status_code == 404


def test_capabilities_are_those_of_a_root(curated: Curated) -> None:
    """PS3.18 8.9."""
    json = {"Accept": "application/json"}
    offered = curated.reader.request("OPTIONS", "/collections/some/dicom-web", headers=json).json()
    methods = {method["name"] for one in offered["resources"] for method in one["methods"]}
    assert methods == {"GET", "HEAD"}
    readable = {one.path for one in RESOURCES if "GET" in one.methods}
    beyond = {"/changes", "/commitment-requests/{transaction}"}
    prefix = "/collections/{collection}/dicom-web"
    assert {
        one["path"].removeprefix(prefix).replace("{path}", "{path:path}") for one in offered["resources"]
    } == (readable - beyond)
    answer = curated.reader.request("OPTIONS", "/collections/some/dicom-web/studies")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_members_come_and_go_while_the_server_runs(curated: Curated) -> None:
    curated.make("moving")
    assert curated.get("moving", "/instances").json() == []
    added = curated.members("moving", ("a1x", "c1x", "a1x")).json()
    assert added == {"added": 2, "already_there": 0, "not_found": [], "refused": []}
    assert curated.members("moving", ("a1x",)).json()["already_there"] == 1
    assert len(curated.get("moving", "/instances").json()) == 2
    named = {"sop_instance_uids": [uid("c1x"), "1.2.3"]}
    removed = curated.curator.request("DELETE", "/collections/moving/members", json=named).json()
    assert removed == {"removed": 1, "not_there": 0, "not_found": ["1.2.3"], "refused": []}
    assert curated.get("moving", path_of("c1x")).status_code == 404
    for named in ({"study_instance_uids": [uid("b")]}, {"series_instance_uids": [uid("a2")]}):
        assert curated.curator.post("/collections/moving/members", json=named).status_code == 200
    asked = {"query": {"LicenseID": "CC-BY"}, "dry_run": True}
    assert curated.curator.post("/collections/moving/members", json=asked).json()["added"] == 1
    assert len(curated.get("moving", "/instances").json()) == 4
    assert curated.reader.get("/collections/moving").json()["instances"] == 4


def test_what_is_locked_stays_as_it_is(curated: Curated) -> None:
    curated.make("whole")
    curated.make("frozen", ("a1x",), parent="whole")
    curated.server.run("collection", "lock", "whole")
    before = curated.get("frozen", "/instances").json()
    for answer in (
        curated.members("frozen", ("c1x",)),
        curated.members("frozen", ("a1x",), "DELETE"),
        curated.curator.patch("/collections/frozen", json={"title": "Other"}),
        curated.curator.delete("/collections/frozen"),
        curated.curator.post("/collections", json={"slug": "new", "title": "New", "parent": "frozen"}),
    ):
        assert answer.status_code == 409
        assert "dermzoo collection unlock" in answer.json()["detail"]
    assert curated.get("frozen", "/instances").json() == before
    curated.server.run("collection", "unlock", "whole", "--reason", "An error was found")
    assert "An error was found" in curated.reader.get("/collections/whole").json()["description"]
    assert curated.members("frozen", ("c1x",)).status_code == 409
    curated.server.run("collection", "unlock", "frozen", "--reason", "The same")
    assert curated.members("frozen", ("c1x",)).status_code == 200


def test_a_whole_shows_its_parts(curated: Curated) -> None:
    curated.make("upper", ("b1x",))
    curated.make("lower", ("c1x",), parent="upper")
    told = curated.reader.get("/collections/upper").json()
    assert (told["parts"], told["instances"]) == (["lower"], 2)
    assert curated.reader.get("/collections/lower").json()["parent"] == "upper"
    assert curated.get("upper", path_of("c1x")).status_code == 200
    refused = curated.members("upper", ("c1x",), "DELETE").json()["refused"]
    assert [one["name"] for one in refused] == [isic_id("c1x")]
    assert curated.curator.patch("/collections/upper", json={"parent": "lower"}).status_code == 409
    assert curated.curator.patch("/collections/lower", json={"public": False}).status_code == 409
    assert curated.curator.delete("/collections/upper").status_code == 409
    assert curated.curator.patch("/collections/lower", json={"parent": None}).status_code == 200
    assert curated.get("upper", path_of("c1x")).status_code == 404
    assert curated.curator.delete("/collections/upper").status_code == 204
    assert curated.get("upper", "/studies").status_code == 404


BAD = [
    {},
    {"slug": "Not a slug", "title": "x"},
    {"slug": "-x", "title": "x"},
    {"slug": "x" * 64, "title": "x"},
    {"slug": "ok"},
    {"slug": "ok", "title": "x" * 201},
    {"slug": "ok", "title": "x\x00y"},
    {"slug": "ok", "title": "x", "description": "bell \x07"},
    {"slug": "ok", "title": "x", "description": "x" * 70_000},
    {"slug": "ok", "title": "x", "public": "yes"},
    {"slug": "ok", "title": "x", "colour": "red"},
    {"slug": "ok", "title": ["x"]},
]


@pytest.mark.parametrize("fields", BAD, ids=lambda one: str(one)[:40])
def test_what_a_collection_cannot_be(curated: Curated, fields: dict[str, object]) -> None:
    answer = curated.curator.post("/collections", json=fields)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert curated.reader.get("/collections/ok").status_code == 404


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"isic_ids": []}', 400),
        (b'{"isic_ids": "ISIC_0000000"}', 400),
        (b'{"isic_ids": ["x"], "sop_instance_uids": ["1"]}', 400),
        (b'{"query": {}}', 400),
        (b'{"query": {"limit": "3"}}', 400),
        (b'{"query": {"NoSuchAttribute": "3"}}', 400),
        (b'{"isic_ids": ["ISIC_0000000"], "dry_run": 1}', 400),
        (b'{"isic_ids": [' + b'"1",' * 500 + b'"1"]}', 400),
        (b" " * 300_000, 413),
    ],
    ids=lambda one: str(one)[:30],
)
def test_what_members_cannot_be(curated: Curated, content: bytes, status: int) -> None:
    assert curated.curator.post("/collections/some/members", content=content).status_code == status


def test_a_description_comes_back_as_it_was_sent(curated: Curated) -> None:
    text = "# A <script>alert(1)</script>\n\n\t*b* 💡"
    curated.make("text", description=text)
    answer = curated.reader.get("/collections/text", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["description"] == text


def test_curating_needs_its_scope(curated: Curated) -> None:
    store = {"Authorization": f"Bearer {curated.server.token('store')}"}
    for method, path in (
        ("POST", "/collections"),
        ("PATCH", "/collections/some"),
        ("DELETE", "/collections/some"),
        ("POST", "/collections/some/members"),
        ("DELETE", "/collections/some/members"),
    ):
        assert curated.reader.request(method, path, json={}).status_code == 401
        assert curated.reader.request(method, path, json={}, headers=store).status_code == 403
