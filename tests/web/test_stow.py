"""STOW-RS without a network: what is answered, what is kept, what is left behind."""

import asyncio
import os
import stat
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from app.archive.archive import Archive
from app.archive.withdraw import withdraw
from app.auth.principals import ANONYMOUS, Principal
from app.cage import Cage
from app.catalog.database import Catalog
from app.catalog.holdings import Reference
from app.dicom.part10 import file_meta
from app.dicom.xml_reader import read_xml
from app.errors import ArchiveError, CatalogUnavailable
from app.storage.local import LocalStorage
from app.web.store_answer import FAILURE_REASON, OtherStudy
from app.web.store_spool import BUFFER_BYTES
from tests.factories import instance_bytes, make_instance, uid
from tests.web.storing import (
    BOUNDARY,
    CONTENT_TYPE,
    Client,
    answer,
    assert_nothing_is_held,
    empty_archive,
    instances,
    multipart,
)

ROOT = "https://dermzoo.example/dicom-web"


@pytest.fixture(scope="session")
def cage() -> Iterator[Cage]:
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=10, wall_s=120)
    yield cage
    cage.close()


@pytest.fixture
def archive(tmp_path, cage) -> Iterator[Archive]:
    with empty_archive(tmp_path, cage) as archive:
        yield archive


@pytest.fixture
def client(archive) -> Client:
    return Client(archive)


class TestAnswer:
    """PS3.18 10.5.3 and Annex I.2 (checklist 56, 57)."""

    def test_all_stored(self, client, archive):
        response = client.store(instance_bytes(name="a"), instance_bytes(name="b"))
        said = answer(response)
        assert response.status_code == 200
        assert "Warning" not in response.headers
        assert said.RetrieveURL == f"{ROOT}/studies/{uid('study')}"
        assert "FailedSOPSequence" not in said
        assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == [uid("a"), uid("b")]
        first = said.ReferencedSOPSequence[0]
        assert first.ReferencedSOPClassUID == make_instance().SOPClassUID
        assert (
            first.RetrieveURL == f"{ROOT}/studies/{uid('study')}/series/{uid('series')}/instances/{uid('a')}"
        )
        assert instances(archive) == 2

    def test_some_stored(self, client, archive):
        unaddressable = instance_bytes(name="c").replace(uid("c").encode(), b"../" + uid("c").encode()[3:])
        response = client.store(instance_bytes(name="a"), b"garbage" * 40, unaddressable)
        said = answer(response)
        assert response.status_code == 202
        assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == [uid("a")]
        assert [item.FailureReason for item in said.OtherFailuresSequence] == [0xC000, 0x0117]
        assert "ReferencedSOPInstanceUID" not in said.OtherFailuresSequence[0]
        assert "SOP Instance UID" in response.headers["Warning"]
        assert instances(archive) == 1

    def test_none_stored(self, client, archive):
        response = client.store(b"garbage" * 40, b"")
        assert response.status_code == 409
        assert len(answer(response).OtherFailuresSequence) == 2
        assert_nothing_is_held(archive)

    def test_the_same_again_and_other_bytes_under_its_uid(self, client, archive):
        """PS3.18 10.5 (checklist 59): idempotent; the first is kept."""
        first, other = instance_bytes(PatientID="A"), instance_bytes(PatientID="B")
        assert [client.store(first).status_code for _ in range(3)] == [200, 200, 200]
        response = client.store(other)
        (failed,) = answer(response).FailedSOPSequence
        assert response.status_code == 409
        assert (failed.FailureReason, failed.ReferencedSOPInstanceUID) == (0x0111, uid("instance"))
        assert len(list(archive.storage.keys())) == instances(archive) == 1

    def test_the_same_data_set_of_another_sender(self, client, archive):
        """PS3.18 10.5 (checklist 59): File Meta Information is the sender's, the data set is the same."""
        first = instance_bytes()
        assert client.store(first).status_code == 200
        meta = 132 + 12 + int.from_bytes(first[140:144], "little")
        other = first[:132] + file_meta(make_instance().SOPClassUID, uid("instance"), "1.2.840.10008.1.2.1")
        assert client.store(other + first[meta:]).status_code == 200
        assert client.store(other + first[meta:-1] + b"x").status_code == 409
        assert instances(archive) == 1

    def test_ten_at_once(self, client, archive):
        """PS3.18 10.5 (checklist 59): the same bytes in parallel are one instance, and a success for each."""
        with ThreadPoolExecutor(10) as threads:
            answered = list(threads.map(lambda _: client.store(instance_bytes()).status_code, range(10)))
        assert (answered, instances(archive), len(list(archive.storage.keys()))) == ([200] * 10, 1, 1)

    def test_the_file_says_another_sop_class(self, client, archive):
        """PS3.18 Annex I.2 (checklist 58): B007, and it is kept as it came."""
        content = instance_bytes()
        at = content.index(make_instance().SOPClassUID.encode())
        response = client.store(content[: at + 29] + b"1" + content[at + 30 :])
        (stored,) = answer(response).ReferencedSOPSequence
        assert (response.status_code, stored.WarningReason) == (202, 0xB007)
        assert "(0002,0002)" in response.headers["Warning"]

    @pytest.mark.parametrize("sop_class", ["1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"])
    def test_a_sop_class_that_has_no_instances(self, client, archive, sop_class):
        """PS3.18 Table I.2-2 (checklist 58): 0122."""
        response = client.store(instance_bytes(SOPClassUID=sop_class))
        (failed,) = answer(response).FailedSOPSequence
        assert (response.status_code, failed.FailureReason) == (409, 0x0122)
        assert_nothing_is_held(archive)

    @pytest.mark.parametrize(
        "sop_class", ["1.2.840.10008.5.1.4.1.1.999", "1.2.3.4", "1.2.840.10008.5.1.1.30"]
    )
    def test_sop_classes_that_are_new_private_or_retired(self, client, sop_class):
        assert client.store(instance_bytes(SOPClassUID=sop_class)).status_code == 200

    def test_what_was_withdrawn(self, client, archive):
        """PS3.18 Table I.2-2 (checklist 58): 0124; what is withdrawn does not come back by itself."""
        client.store(instance_bytes())
        withdraw(archive, Reference(uid("study")), "a mistake", "somebody")
        response = client.store(instance_bytes())
        (failed,) = answer(response).FailedSOPSequence
        assert (response.status_code, failed.FailureReason) == (409, 0x0124)
        assert instances(archive) == 0

    def test_as_xml(self, client):
        """PS3.18 10.5.3 (checklist 56): clients compare the media type as a text."""
        response = client.post(multipart(instance_bytes()), Accept="application/dicom+xml")
        assert (response.status_code, response.headers["content-type"]) == (200, "application/dicom+xml")
        said = Dataset.from_json(read_xml(response.content))
        assert said.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid("instance")

    def test_to_a_study(self, client, archive):
        """PS3.18 10.5.1 (checklist 53)."""
        content = instance_bytes(study="other"), instance_bytes(name="a")
        response = client.store(*content, study=f"/{uid('study')}")
        said = answer(response)
        assert response.status_code == 202
        (failed,) = said.FailedSOPSequence
        assert (failed.FailureReason, failed.ReferencedSOPInstanceUID) == (0xA900, uid("instance"))
        assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == [uid("a")]
        assert instances(archive) == 1

    def test_several_studies_have_no_url_in_common(self, client):
        said = answer(client.store(instance_bytes(name="a", study="1"), instance_bytes(name="b", study="2")))
        assert "RetrieveURL" not in said
        assert len(said.ReferencedSOPSequence) == 2

    def test_attributes_ascend(self, client):
        for item in client.store(instance_bytes()).json()["00081199"]["Value"]:
            assert list(item) == sorted(item)

    def test_a_data_set_without_preamble(self, client, archive):
        instance, bare = make_instance(), BytesIO()
        del instance.file_meta
        dcmwrite(bare, instance, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert client.store(bare.getvalue()).status_code == 200
        with archive.storage.open(next(archive.storage.keys())) as opened:
            assert opened.read(128, 4) == b"DICM"


class TestRequest:
    @pytest.mark.parametrize(
        ("content_type", "status", "says"),
        [
            ("image/jpeg", 415, "multipart/related"),
            ('multipart/related; type="image/jpeg"; boundary=x', 415, "application/dicom+json"),
            ("multipart/form-data; boundary=x", 415, "multipart/related"),
            ("", 415, "No Content-Type"),
            ("multipart/related; type=application/dicom", 400, "boundary"),
            (f"multipart/related; type=application/dicom; boundary={'x' * 71}", 400, "boundary"),
            ("multipart/related; type=application/dicom; boundary=other", 400, "--other"),
        ],
    )
    def test_what_is_not_taken(self, client, archive, content_type, status, says):
        response = client.post(multipart(instance_bytes()), Content_Type=content_type)
        assert response.status_code == status
        assert says in response.json()["detail"]
        assert_nothing_is_held(archive)

    @pytest.mark.parametrize(
        "content_type",
        [
            f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
            f'Multipart/Related;boundary="{BOUNDARY}";type="application/dicom"',
            f'multipart/related; boundary={BOUNDARY}; start="<a;b>"',
        ],
    )
    def test_spellings_of_the_content_type(self, client, content_type):
        assert client.post(multipart(instance_bytes()), Content_Type=content_type).status_code == 200

    def test_a_body_cut_short(self, client, archive):
        response = client.post(multipart(instance_bytes())[:-10])
        assert response.status_code == 400
        assert "final boundary" in response.json()["detail"]
        assert_nothing_is_held(archive)

    def test_no_parts(self, client):
        assert client.post(f"--{BOUNDARY}--".encode()).status_code == 400

    def test_a_single_part(self, client, archive):
        """PS3.18 10.5.1 (checklist 54): one file needs no multipart."""
        assert client.post(instance_bytes(), Content_Type="application/dicom").status_code == 200
        assert instances(archive) == 1

    @pytest.mark.parametrize("media_type", ["application/dicom", "application/dicom+json"])
    def test_a_single_part_of_nothing(self, client, media_type):
        response = client.post(b"", Content_Type=media_type)
        assert (response.status_code, response.headers["Connection"]) == (400, "close")

    def test_a_part_that_is_encoded(self, client, archive):
        header = b"Content-Type: application/dicom\r\nContent-Transfer-Encoding: base64"
        response = client.post(multipart(b64encode(instance_bytes()), header=header))
        assert response.status_code == 409
        assert "base64" in response.headers["Warning"]
        assert_nothing_is_held(archive)

    def test_a_transfer_coding_that_is_not_offered(self, client):
        """PS3.18 10.5.3.1 (checklist 57): 501."""
        response = client.post(b"", Transfer_Encoding="gzip, chunked")
        assert response.status_code == 501

    def test_a_compressed_body(self, client):
        assert client.post(b"", Content_Encoding="gzip").status_code == 415

    def test_an_answer_in_no_form_that_there_is(self, client, archive):
        response = client.post(multipart(instance_bytes()), Accept="text/csv")
        assert response.status_code == 406
        assert "application/dicom+xml" in response.json()["detail"]
        assert_nothing_is_held(archive)

    def test_a_part_of_another_type(self, client, archive):
        response = client.post(
            multipart(b'[{"00080018":{}}]', header=b"Content-Type: application/dicom+json")
        )
        assert response.status_code == 409
        assert "application/dicom+json" in response.headers["Warning"]
        assert_nothing_is_held(archive)

    def test_a_part_without_header(self, client):
        body = f"--{BOUNDARY}\r\n\r\n".encode() + instance_bytes() + f"\r\n--{BOUNDARY}--".encode()
        assert client.post(body).status_code == 200

    def test_a_study_that_is_no_uid(self, client):
        assert client.store(instance_bytes(), study="/..%2fetc").status_code in {400, 404}

    def test_no_header_can_be_made_by_what_is_stored(self, client):
        own = uid("instance").encode()
        hostile = instance_bytes().replace(own, b"1.2\r\nSet-Cookie: a=b;".ljust(len(own), b"x"))
        response = client.store(hostile)
        assert response.status_code == 409
        assert "set-cookie" not in response.headers


class TestPermission:
    """Nobody's body is read before it is known that they may store (T17)."""

    @pytest.mark.parametrize(
        ("principal", "status"),
        [
            (ANONYMOUS, 401),
            (Principal(is_refused=True), 401),
            (Principal(token_id="t", scopes=frozenset({"read"})), 403),
        ],
    )
    def test_refused_before_the_body(self, client, archive, principal, status):
        read = []

        async def body() -> AsyncIterator[bytes]:
            read.append(1)
            yield multipart(instance_bytes())

        client.principal = principal
        # ASGITransport asks for the body only when the application does.
        response = client.post(body())
        assert (response.status_code, read) == (status, [])
        assert response.headers["Connection"] == "close"
        assert_nothing_is_held(archive)


class TestSize:
    def test_announced(self, client, archive):
        response = client.post(b"", Content_Length="20000001")
        assert response.status_code == 413
        assert "20000000" in response.json()["detail"]

    def test_growing(self, client, archive):
        async def body() -> AsyncIterator[bytes]:
            yield multipart(b"").removesuffix(f"\r\n--{BOUNDARY}--".encode())
            while True:
                yield bytes(1_000_000)

        assert client.post(body()).status_code == 413
        assert_nothing_is_held(archive)

    def test_a_part_is_written_as_it_comes(self, client, archive, monkeypatch):
        """Never more of it in memory than one buffer and what the network brought last."""
        written = []
        staged = type(archive.storage.staging().__enter__().new())
        write = staged.write
        monkeypatch.setattr(
            staged, "write", lambda self, data: (written.append(len(data)), write(self, data))
        )
        content = instance_bytes(make_instance(rows=2000, columns=3000))
        body = multipart(content)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 65536):
                yield body[start : start + 65536]

        assert client.post(chunks()).status_code == 200
        assert sum(written) == len(content)
        assert max(written) <= BUFFER_BYTES + 65536

    def test_many_small_parts(self, client, archive):
        contents = [instance_bytes(name=str(number)) for number in range(100)]
        response = client.store(*contents)
        assert response.status_code == 200
        uids = [item.ReferencedSOPInstanceUID for item in answer(response).ReferencedSOPSequence]
        assert uids == [uid(str(number)) for number in range(100)]


class TestTrouble:
    @pytest.fixture
    def small_disk(self, client, archive):
        """A storage whose disk is full from the first file on."""
        client.archive = replace(archive, storage=LocalStorage(archive.storage.root, minimum_free=1.0))

    @pytest.mark.usefixtures("small_disk")
    def test_full_before_the_body(self, client, archive):
        response = client.store(instance_bytes())
        assert response.status_code == 507
        assert "free" in response.json()["detail"]
        assert_nothing_is_held(archive)

    @pytest.mark.parametrize(("number", "status", "reason"), [(28, 507, 0xA700), (5, 503, 0x0110)])
    def test_full_or_failing_when_it_is_made_durable(self, client, archive, number, status, reason):
        def fails(descriptor):
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_size > len(b"garbage"):
                raise OSError(number, "as the disk says")

        client.archive = replace(
            archive, storage=LocalStorage(archive.storage.root, minimum_free=0, fsync=fails)
        )
        response = client.store(b"garbage", instance_bytes())
        said = answer(response)
        assert response.status_code == status
        assert [item.FailureReason for item in said.FailedSOPSequence] == [reason]
        assert [item.FailureReason for item in said.OtherFailuresSequence] == [0xC000]
        assert_nothing_is_held(archive)

    def test_the_catalogue_is_away(self, client, archive, monkeypatch):
        @contextmanager
        def away(_self):
            raise CatalogUnavailable("away")
            yield

        with monkeypatch.context() as patched:
            patched.setattr(Catalog, "write", away)
            response = client.store(instance_bytes())
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert_nothing_is_held(archive)

    def test_the_client_goes_away_in_the_middle(self, client, archive):
        body = multipart(instance_bytes(), instance_bytes(name="b"))
        messages = [
            {"type": "http.request", "body": body[:-500], "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", CONTENT_TYPE.encode())]
        scope = {"type": "http", "method": "POST", "path": "/dicom-web/studies", "headers": headers}
        asyncio.run(client.serve(scope | {"query_string": b"", "http_version": "1.1"}, receive, send))
        assert_nothing_is_held(archive)

    def test_a_file_that_kills_its_reader(self, client, archive, monkeypatch):
        small = Cage(processes=1, memory_bytes=1, cpu_s=10)
        client.archive = replace(archive, cage=small)
        try:
            response = client.store(instance_bytes())
        finally:
            small.close()
        assert response.status_code == 409
        assert [item.FailureReason for item in answer(response).OtherFailuresSequence] == [0x0110]
        assert_nothing_is_held(archive)


def test_every_error_of_storing_has_a_reason():
    from app import errors

    kinds = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ArchiveError)
    }
    elsewhere = {
        errors.ArchiveError,
        errors.InvalidQuery,
        errors.SearchTooBroad,
        errors.NotFound,
        errors.DuplicateTransaction,
        errors.NotConvertible,
        errors.InstanceUnavailable,
        errors.CatalogUnavailable,
        errors.NotImportable,
        errors.NotLicensed,
        errors.CollectionRefused,
    }
    assert kinds - elsewhere | {OtherStudy} == set(FAILURE_REASON)
