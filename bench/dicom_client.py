"""C-FIND asked on a plain socket: how long each whole answer takes, and how soon the first of many comes."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse.association import Association
from app.dimse.commands import Element, Kind, number_of
from app.dimse.identifiers import QUERY_RETRIEVE_LEVEL, write
from app.dimse.peers import Peer
from app.dimse.requestor import request_association
from bench.dicom_peers import CLIENT
from bench.load import Sample
from bench.processes import Server

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"

# What is asked for at each level, each tag with its VR.
KEYS = {
    "PATIENT": {"00100010": "PN", "00100020": "LO", "00100040": "CS"},
    "STUDY": {
        "00080020": "DA",
        "00080030": "TM",
        "00080050": "SH",
        "00100010": "PN",
        "00100020": "LO",
        "0020000D": "UI",
    },
    "SERIES": {"00080060": "CS", "0008103E": "LO", "0020000D": "UI", "0020000E": "UI", "00200011": "IS"},
    "IMAGE": {"00080016": "UI", "00080018": "UI", "0020000D": "UI", "0020000E": "UI", "00200013": "IS"},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A load: a query below each of these (study, series), one after the other on one association."""

    level: str
    asked: Sequence[tuple[str, str]]

    def run(self, server: Server) -> Sample:
        """Put the load on a server; a query that finds nothing is an error."""
        times, found = [], []
        with request_association(_peer(server), CLIENT, [_proposal(STUDY_ROOT_FIND)]) as association:
            cpu_s, started = server.cpu_s(), time.perf_counter()
            for study, series in self.asked:
                values = {"0020000D": study} | ({"0020000E": series} if self.level == "IMAGE" else {})
                begun = time.perf_counter()
                found.append(_find(association, STUDY_ROOT_FIND, self.level, values))
                times.append(time.perf_counter() - begun)
            seconds, cpu_s = time.perf_counter() - started, server.cpu_s() - cpu_s
        times.sort()
        return Sample(
            len(times),
            seconds,
            0.0,
            statistics.median(times) * 1e3,
            times[int(len(times) * 0.95)] * 1e3,
            times[int(len(times) * 0.99)] * 1e3,
            cpu_s * 1e3 / len(times),
            found.count(0),
        )


def first_answer_ms(server: Server, level: str) -> float:
    """Ask for all there is at a level, give up after the first answer, and return how long it took."""
    sop_class = PATIENT_ROOT_FIND if level == "PATIENT" else STUDY_ROOT_FIND
    with request_association(_peer(server), CLIENT, [_proposal(sop_class)]) as association:
        started = time.perf_counter()
        _ask(association, sop_class, level, {})
        message = association.receive()
        seconds = time.perf_counter() - started
        if not message.has_data_set:
            raise RuntimeError(f"{server.name} finds nothing at {level}")
        association.wire.close()
    return seconds * 1e3


def first_related_answer_ms(server: Server, modality: str) -> float:
    """Ask for all instances of a modality by a relational query; return how long the first answer took."""
    relational = SOPClassExtendedNegotiation()
    relational.sop_class_uid, relational.service_class_application_information = STUDY_ROOT_FIND, b"\x01"
    asking = AE(CLIENT)
    asking.add_requested_context(STUDY_ROOT_FIND, IMPLICIT_VR_LITTLE_ENDIAN)
    association = asking.associate(
        "127.0.0.1", server.dicom_port, ae_title=server.ae_title, ext_neg=[relational]
    )
    try:
        identifier = Dataset()
        identifier.QueryRetrieveLevel, identifier.Modality = "IMAGE", modality
        identifier.SOPInstanceUID = identifier.InstanceNumber = None
        started = time.perf_counter()
        _, found = next(iter(association.send_c_find(identifier, STUDY_ROOT_FIND)))
        seconds = time.perf_counter() - started
        if found is None:
            raise RuntimeError(f"{server.name} finds no instance by its modality")
    finally:
        association.abort()
    return seconds * 1e3


def _peer(server: Server) -> Peer:
    return Peer(ae_title=server.ae_title, host="127.0.0.1", port=server.dicom_port)


def _proposal(sop_class: str) -> tuple[str, tuple[str, ...]]:
    return sop_class, (IMPLICIT_VR_LITTLE_ENDIAN,)


def _find(association: Association, sop_class: str, level: str, values: dict[str, str]) -> int:
    """Ask, and return how many answers came."""
    _ask(association, sop_class, level, values)
    found = 0
    while True:
        message = association.receive()
        if not message.has_data_set:
            if number_of(message.command, Element.STATUS, 1):
                raise RuntimeError(f"C-FIND ends with {message.command}")
            return found
        association.receive_identifier(message)
        found += 1


def _ask(association: Association, sop_class: str, level: str, values: dict[str, str]) -> None:
    attributes = {
        tag: {"vr": vr, "Value": [values[tag]]} if tag in values else {"vr": vr}
        for tag, vr in KEYS[level].items()
    }
    identifier = write(attributes | {QUERY_RETRIEVE_LEVEL: {"vr": "CS", "Value": [level]}}, (), implicit=True)
    command = {
        Element.COMMAND_FIELD: Kind.C_FIND_RQ,
        Element.MESSAGE_ID: 1,
        Element.PRIORITY: 0,
        Element.AFFECTED_SOP_CLASS_UID: sop_class,
    }
    (context,) = association.agreement.contexts.values()
    association.send(context.context_id, command, (identifier,))
