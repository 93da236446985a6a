"""Images that are not public leave no trace: every route and every service of the network is asked for them.

The answers are compared, byte for byte, with those of an archive that never held such an image. So no count,
tag, tombstone or refusal can tell of one, and no route can be forgotten: all are taken from the table of the
running application. A route with a path parameter that FILLED does not know fails the test.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import orjson
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import insert
from starlette.routing import BaseRoute, Mount

from app.archive.archive import Archive
from app.archive.hiding import hide
from app.auth.principals import SCOPES
from app.catalog.corpus_models import collection, image, member
from app.catalog.remembered import resolve_members
from app.dimse.commands import Element, Kind
from app.dimse.services import SERVED
from tests.dimse.conftest import Listening, listeners
from tests.dimse.stage import COMMITMENT, Stage, commitment_request, encoded, identifier
from tests.factories import VL_PHOTOGRAPHIC, instance_bytes, make_instance, uid
from tests.web.door import Door, opened_door
from tests.web.storing import CONTENT_TYPE, multipart

SLUG = "everything"
SECRET = "Unspoken"  # in whatever a hidden image says of itself


@dataclass(frozen=True)
class Image:
    """An image and the names of what it belongs to."""

    name: str
    isic_id: str
    group: str  # of its study, series, lesion, patient and case
    is_public: bool
    study: str = field(init=False)
    uid: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "study", str(uid(self.group)))
        object.__setattr__(self, "uid", str(uid(self.name)))

    def data_set(self) -> Dataset:
        says = "Spoken" if self.is_public else SECRET
        data = make_instance(
            self.name,
            study=self.group,
            series=self.group,
            rows=16 if self.is_public else 24,
            jpeg=True,
            PatientID=f"IP_{self.group}",
            PatientName=says,
            StudyDescription=says,
            SeriesDescription=says,
            ICCProfile=says.encode() * 512,
        )
        block = data.private_block(0x0099, "DERMZOO", create=True)
        for element, vr, value in (
            (0x01, "SH", "CC-BY"),
            (0x03, "UT", says),
            (0x04, "LO", self.isic_id),
            (0x16, "LO", f"IP_{self.group}"),
            (0x17, "LO", f"IL_{self.group}"),
            (0x18, "LO", f"IRCM_{self.group}"),
        ):
            block.add_new(element, vr, value)
        return data

    def content(self) -> bytes:
        return instance_bytes(self.data_set())


OPEN = Image("open", "ISIC_0000001", "shared", is_public=True)
BESIDE = Image("beside", "ISIC_0000002", "shared", is_public=False)
ALONE = Image("alone", "ISIC_0000003", "alone", is_public=False)
HIDDEN = (BESIDE, ALONE)

# How each path parameter names an image. Whoever adds a route with another says here how that names one.
FILLED = {
    "study": lambda one: one.study,
    "series": lambda one: one.study,
    "instance": lambda one: one.uid,
    "frames": lambda _: "1",
    "path": lambda _: "7FE00010",
    "transaction": lambda one: one.uid,
    "lesion_id": lambda one: f"IL_{one.group}",
    "patient_id": lambda one: f"IP_{one.group}",
    "rcm_case_id": lambda one: f"IRCM_{one.group}",
    "isic_id": lambda one: one.isic_id,
    "image": lambda one: one.isic_id,
    "collection": lambda _: SLUG,
    "slug": lambda _: SLUG,
}
# What is asked beside the path alone, of routes whose path names none of it.
QUERIES = (
    "",
    "includefield=all",
    "fuzzymatching=true&PatientName=Unspoken",
    "StudyInstanceUID={study}",
    "SOPInstanceUID={instance}",
    "PatientID={patient_id}",
    "ISICID={isic_id}",
    "LicenseID=CC-BY",
    "commercial-safe=true",
    "requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}",
    "requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&contentType=application/dicom",
)
ACCEPTS = ("*/*", 'multipart/related; type="*/*"', "application/zip", "application/dicom+json")
READ = ("GET", "HEAD")
# What differs from one archive to another, and from one moment to the next.
VOLATILE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)")
OF_THE_MOMENT = {"date", "last-modified", "server-timing"}


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    accept: str = "*/*"
    token: str = ""  # a scope, or none
    if_none_match: str | None = None


class World:
    """An application, a token of each scope, and a listener of the DICOM network on the same archive."""

    def __init__(self, door: Door, listening: Listening, patch: pytest.MonkeyPatch) -> None:
        self.door = door
        self.stage = Stage(listening, patch)
        scopes = [scope.replace("{upstream}", "other") for scope in SCOPES]
        self.tokens = {"": {}} | {scope: door.token(scope) for scope in scopes}
        with door.archive.catalog.write() as connection:
            row = {"id": 1, "slug": SLUG, "title": "All", "description": "", "created_at": "2026"}
            flags = dict.fromkeys(("is_public", "is_pinned", "is_locked", "requires_licence"), 0)
            connection.execute(insert(collection).values(row | flags | {"is_public": 1}))
            for one in (OPEN, *HIDDEN):
                connection.execute(insert(member).values(collection_id=1, sop_instance_uid=one.uid, is_own=1))

    @property
    def archive(self) -> Archive:
        return self.door.archive

    def store(self, *images: Image) -> httpx.Response:
        answer = self.door.store(*(one.content() for one in images))
        with self.archive.catalog.write() as connection:
            resolve_members(connection, [one.uid for one in images])
        return answer

    def ask(self, asked: Asked, **options: object) -> httpx.Response:
        [answer] = self.ask_all([asked], **options)
        return answer

    def ask_all(self, every: Sequence[Asked], **options: object) -> list[httpx.Response]:
        """Ask one after the other, of one client."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.door.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://ignored") as client:
                return [
                    await client.request(one.method, one.path, headers=self._headers(one), **options)
                    for one in every
                ]

        return asyncio.run(send())

    def _headers(self, asked: Asked) -> dict[str, str]:
        headers = {"Accept": asked.accept} | self.tokens[asked.token]
        return headers | ({"If-None-Match": asked.if_none_match} if asked.if_none_match else {})

    def hide(self) -> None:
        """Make the images non-public, as metadata that were read again do."""

        def note(connection):
            for one in HIDDEN:
                connection.execute(
                    insert(image).values(
                        isic_id=one.isic_id,
                        sop_instance_uid=one.uid,
                        is_public=0,
                        public_from="2999-01-01",
                        source="test",
                        known=b"",
                        published=b"",
                    )
                )

        hide(self.archive, [one.uid for one in HIDDEN], note)

    def routes(self) -> Iterator[tuple[str, BaseRoute]]:
        inner = self.door.app
        while not hasattr(inner, "state"):
            inner = inner.app
        yield from _walked(inner.routes, "")


def _walked(routes: list[BaseRoute], prefix: str) -> Iterator[tuple[str, BaseRoute]]:
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if isinstance(route, Mount):
            yield from _walked(route.routes, path)
        else:
            yield path, route


def requests_of(world: World, methods: tuple[str, ...] | None = READ) -> Iterator[Asked]:
    """Everything to ask about the hidden images; None for methods that are not for reading."""
    for path, route in world.routes():
        names = re.findall(r"{(\w+)", path)
        unknown = set(names) - FILLED.keys()
        assert not unknown, f"{path}: add to FILLED of this file how {unknown} names a hidden image"
        plain = re.sub(r":\w+}", "}", path)
        own = sorted(
            (getattr(route, "methods", None) or {"GET"}) & {*READ}
            if methods
            else (getattr(route, "methods", None) or set()) - {*READ}
        )
        for method in own:
            for one in HIDDEN:
                filled = {name: fill(one) for name, fill in FILLED.items()}
                is_search = not set(names) - {"collection"}
                queries = QUERIES if method == "GET" and is_search else ("",)
                for query in queries:
                    target = plain.format(**filled) + ("?" if query else "") + query.format(**filled)
                    # With each token for the one; for the other, and for the heads, without any.
                    bears = method == "GET" and one is ALONE and not query
                    for token in world.tokens if bears else ("",):
                        yield Asked(method, target, token=token)
                if method == "GET" and names:
                    yield from (Asked(method, plain.format(**filled), accept) for accept in ACCEPTS[1:])


def told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """What an answer tells, without what differs from one moment to the next."""
    headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_MOMENT}
    body = answer.content
    if answer.request.url.path == "/metrics":
        body = b"\n".join(line for line in body.splitlines() if line.startswith(b"dermzoo_held"))
        headers.pop("content-length", None)
    if answer.request.url.path.endswith("/changes") and answer.status_code == 200 and body:
        # That a copy is to be deleted is all that a follower is told, and only where there can be one.
        page = orjson.loads(body)
        hidden = {one.uid for one in HIDDEN}
        gone = [each for each in page["changes"] if each["SOPInstanceUID"] in hidden]
        assert all(each["action"] == "withdrawn" and each["sha256"] is None for each in gone)
        kept = [each | {"sequence": 0} for each in page["changes"] if each not in gone]
        body = orjson.dumps(kept)
        for name in ("etag", "content-length"):
            headers.pop(name, None)
    if answer.request.url.path.endswith("/changes"):
        headers.pop("etag", None)
        headers.pop("content-length", None)
    return answer.status_code, headers, VOLATILE.sub("TIME", body.decode("latin-1")).encode("latin-1")


def assert_no_trace(asked: Asked, answer: httpx.Response) -> None:
    """Nothing of a hidden image, but what the request itself said, which a refusal repeats."""
    text = answer.content.decode("latin-1") + str(answer.headers)
    assert SECRET not in text or "Unspoken" in asked.path, asked
    if answer.request.url.path.endswith("/changes"):
        return
    for one in HIDDEN:
        for trace in (one.uid, one.isic_id):
            assert trace not in text or trace in asked.path, (asked, trace)


@contextmanager
def worlds(folder: Path) -> Iterator[tuple[World, World]]:
    """The archive that has hidden images, and one that has never heard of them."""
    with ExitStack() as running:
        patch = running.enter_context(pytest.MonkeyPatch.context())
        made = []
        for name in ("with", "without"):
            (folder / name).mkdir()
            door = running.enter_context(opened_door(folder / name))
            start = running.enter_context(listeners(folder / name))
            made.append(World(door, start(archive=door.archive), patch))
        yield made[0], made[1]


@pytest.fixture(scope="module", params=["never public", "public before"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, World, dict[Asked, str]]]:
    """Both archives with the public image in them; and the tags of what was served, if it was."""
    with worlds(tmp_path_factory.mktemp("worlds")) as (world, clean):
        tags: dict[Asked, str] = {}
        if request.param == "public before":
            assert world.store(*HIDDEN, OPEN).status_code == 200  # first, so that they name the study
            every = list(requests_of(world))
            for asked, answer in zip(every, world.ask_all(every), strict=True):
                if answer.status_code in {200, 206} and "etag" in answer.headers:
                    tags[asked] = answer.headers["etag"]
            assert len(tags) > 50, "they were served"
            ask_network(world)
            world.hide()
        else:
            world.hide()
            for one in HIDDEN:
                assert world.store(one).status_code == 409
            world.store(OPEN)
        clean.store(OPEN)
        yield world, clean, tags


def test_no_route_tells_of_a_hidden_image(pair: tuple[World, World, dict[Asked, str]]) -> None:
    """Reading, then writing: every route and method, without a token and with one of each scope."""
    world, clean, tags = pair
    every = list(requests_of(world))
    every += [
        replace(asked, if_none_match=tag)
        for asked, tag in tags.items()
        if not asked.path.partition("?")[0].endswith("/changes")
    ]
    for asked, answer, expected in zip(every, world.ask_all(every), clean.ask_all(every), strict=True):
        assert told(answer) == told(expected), asked
        assert_no_trace(asked, answer)
    body = {
        "00081195": {"vr": "UI", "Value": [ALONE.uid]},
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [VL_PHOTOGRAPHIC]},
                    "00081155": {"vr": "UI", "Value": [one.uid]},
                }
                for one in HIDDEN
            ],
        },
        "reason": "test",
        "instances": [one.uid for one in HIDDEN],
        "isic_ids": [one.isic_id for one in HIDDEN],
    }
    for asked in requests_of(world, None):
        names_public = asked.path.endswith(f"/studies/{OPEN.study}") or asked.path.endswith(
            f"/series/{OPEN.study}"
        )
        if names_public or (asked.method == "POST" and "/studies" in asked.path):
            continue  # it is about the public image too, or a store, below
        answers = [each.ask(asked, json=body) for each in (world, clean)]
        assert told(answers[0]) == told(answers[1]), asked
    told_again = Asked("GET", f"/dicom-web/commitment-requests/{ALONE.uid}", token="store")
    assert told(world.ask(told_again)) == told(clean.ask(told_again))


def test_a_store_of_one_is_refused_and_tells_no_more(pair: tuple[World, World, dict[Asked, str]]) -> None:
    """0124, not authorized, in the words for each of them; nothing is kept."""
    world, _, _ = pair
    for one in HIDDEN:
        for root in ("/dicom-web/studies", f"/dicom-web/studies/{one.study}"):
            headers = {"Content-Type": CONTENT_TYPE} | world.tokens["store"]
            answer = world.door.request("POST", root, content=multipart(one.content()), headers=headers)
            assert answer.status_code == 409
            [failed] = answer.json()["00081198"]["Value"]
            assert failed["00081197"]["Value"] == [0x0124]
            assert SECRET not in answer.text + str(answer.headers)
            assert one.isic_id not in answer.text + str(answer.headers)
    assert world.door.get("/readyz").json()["held"]["instances"] == 1


def ask_network(world: World) -> list[object]:
    """Ask every service of the DICOM network about the hidden images; return all that it answers."""
    found: list[object] = []
    asked: set[int] = set()

    def note(kind: int, answers: object) -> None:
        asked.add(kind)
        found.append(answers)

    stage = world.stage
    note(Kind.C_ECHO_RQ, stage.ask(Kind.C_ECHO_RQ, "1.2.840.10008.1.1"))
    wanted = dict.fromkeys(
        ("PatientID", "PatientName", "StudyDescription", "NumberOfStudyRelatedInstances"), ""
    )
    for one in HIDDEN:
        study, series = {"StudyInstanceUID": one.study}, {"SeriesInstanceUID": one.study}
        levels = {
            "STUDY": study,
            "SERIES": study | series,
            "IMAGE": study | series | {"SOPInstanceUID": one.uid},
        }
        note(Kind.C_FIND_RQ, stage.find(identifier(**wanted)))
        note(Kind.C_FIND_RQ, stage.find(identifier(**(wanted | {"PatientID": f"IP_{one.group}"}))))
        for level, keys in levels.items():
            note(Kind.C_FIND_RQ, stage.find(identifier(level, **keys)))
            note(Kind.C_GET_RQ, stage.get(identifier(level, **keys)))
            with stage.destination():
                note(Kind.C_MOVE_RQ, stage.move(identifier(level, **keys)))
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = VL_PHOTOGRAPHIC, one.uid
        transaction = uid(f"transaction of {one.name}")
        request = commitment_request(TransactionUID=transaction, ReferencedSOPSequence=[item])
        action = {"requested_sop_instance_uid": "1.2.840.10008.1.20.1.1", "action_type_id": 1}
        stage.ask(Kind.N_ACTION_RQ, COMMITMENT, request, **action)
        result = Asked("GET", f"/dicom-web/commitment-requests/{transaction}", token="store")
        answer = world.ask(result)
        while answer.status_code == 202:
            answer = world.ask(result)
        note(Kind.N_ACTION_RQ, told(answer))
    asked.add(Kind.C_STORE_RQ)  # in a test of its own
    assert asked == SERVED, "ask the services that are new here"
    return found


def test_no_service_of_the_network_tells_of_one(pair: tuple[World, World, dict[Asked, str]]) -> None:
    world, clean, _ = pair
    answers = ask_network(world)
    assert answers == ask_network(clean)
    assert SECRET not in str(answers)
    for one in HIDDEN:
        data = one.data_set()
        data_set = encoded(data)
        answers = world.stage.ask(
            Kind.C_STORE_RQ,
            VL_PHOTOGRAPHIC,
            data_set,
            affected_sop_class_uid=VL_PHOTOGRAPHIC,
            affected_sop_instance_uid=one.uid,
        )
        assert answers[-1][0][Element.STATUS] == 0x0124
        assert SECRET not in str(answers)
        assert one.isic_id not in str(answers)
