"""Orthanc's DICOMweb under an AE title of ours: listeners, and ways to ask them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.dimse.commands import Element, Kind
from app.proxy import client as proxy_client
from tests.dimse.conftest import Listening, Start, answered, listeners
from tests.dimse.raw_peer import RawPeer
from tests.dimse.stage import identifier
from tests.factories import VL_PHOTOGRAPHIC, uid
from tests.proxy.conftest import CREDENTIALS, Between, upstreams_file

__all__ = ["answered"]  # what is answered stands in the table of statuses

PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
# Orthanc of this age takes the parameters of a query as they stand in the URL.
TITLED = ('ae_title = "ORTHANC"', "decodes_queries = false")
P = {"StudyInstanceUID": uid("p")}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_client, "_FIRST_PAUSE_S", 0.0)


@pytest.fixture
def recording(between: Between) -> Iterator:
    """What is asked of Orthanc, and may go wrong."""
    between.recording.taken()
    between.recording.let_go.clear()
    yield between.recording
    between.recording.misbehave = lambda _: ""
    between.recording.let_go.set()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with listeners(tmp_path) as starting:
        yield starting


@pytest.fixture
def listed(recording, tmp_path: Path) -> Path:
    """The file of upstreams."""
    return upstreams_file(tmp_path / "upstreams.toml", recording.url, *TITLED, CREDENTIALS)


@pytest.fixture
def listening(start: Start, listed: Path) -> Listening:
    return titled(start(upstreams_file=listed))


@pytest.fixture(scope="module")
def shared(between: Between, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A listener for tests that leave nothing behind that others would notice."""
    folder = tmp_path_factory.mktemp("shared")
    listed = upstreams_file(folder / "upstreams.toml", between.recording.url, *TITLED, CREDENTIALS)
    with listeners(folder) as start:
        yield titled(start(upstreams_file=listed))


def titled(listening: Listening) -> Listening:
    listening.ae_title = "ORTHANC"
    return listening


def query(level: str, **keys: object) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(made, name, value)
    return made


def get(
    listening: Listening, keys: dict[str, str], *accepted: str, sop_class: str = VL_PHOTOGRAPHIC
) -> tuple[list[Dataset], int]:
    """C-GET by another toolkit: what arrives, and the last status."""
    arrived: list[Dataset] = []

    def keep(event: evt.Event) -> int:
        instance = event.dataset
        instance.file_meta = event.file_meta
        arrived.append(instance)
        return 0x0000

    ae = AE("TEST")
    ae.add_requested_context(GET)
    ae.add_requested_context(sop_class, list(accepted))
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = sop_class, False, True
    association = ae.associate(
        "127.0.0.1",
        listening.port,
        ae_title="ORTHANC",
        ext_neg=[role],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    level = "IMAGE" if "SOPInstanceUID" in keys else "STUDY"
    responses = [response for response, _ in association.send_c_get(query(level, **keys), GET)]
    association.release()
    return arrived, responses[-1].Status


def ask(
    listening: Listening,
    kind: int,
    abstract_syntax: str,
    data_set: bytes | None = None,
    store: Callable[..., int] = lambda _: 0,
    **more: object,
) -> list:
    """All the responses to one request of a raw peer."""
    with associated(listening, abstract_syntax) as peer:
        peer.ask(1, command(kind, abstract_syntax, **more), data_set)
        answers = peer.answers(store)
        listening.stored = peer.stored  # type: ignore[attr-defined]
        return answers


def associated(listening: Listening, abstract_syntax: str) -> RawPeer:
    peer = RawPeer(listening.port)
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = VL_PHOTOGRAPHIC, False, True
    photographs = (VL_PHOTOGRAPHIC, [JPEGBaseline8Bit])
    if abstract_syntax == GET:
        peer.associate(GET, photographs, called="ORTHANC", extra=[role])
    else:
        peer.associate(abstract_syntax, called="ORTHANC")
    return peer


def command(kind: int, abstract_syntax: str, **more: object) -> dict:
    elements = {
        Element.COMMAND_FIELD: kind,
        Element.MESSAGE_ID: 7,
        Element.PRIORITY: 0,
        Element.AFFECTED_SOP_CLASS_UID: abstract_syntax,
    }
    return elements | {Element[name.upper()]: value for name, value in more.items()}


def ask_find(listening: Listening) -> list:
    return ask(listening, Kind.C_FIND_RQ, FIND, identifier(**P))


def ask_get(listening: Listening, **more: object) -> list:
    return ask(listening, Kind.C_GET_RQ, GET, identifier(**P), **more)
