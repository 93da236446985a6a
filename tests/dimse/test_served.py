"""`dermzoo serve --dimse` as it is: programs of others, floods, a killed process, and its end."""

import os
import re
import signal
import socket
import struct
import threading
from contextlib import ExitStack, contextmanager

import httpx
import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from app.dimse.commands import Element, Kind, encode_command
from app.dimse.pdu import ABORT
from tests.dimse.committing import Reports, asked, let_time_pass, receiving, wait_until_told
from tests.dimse.raw_peer import RawPeer, association_request
from tests.dimse.served import Served
from tests.dimse.stage import encoded
from tests.factories import make_instance, write_instance
from tests.servers import free_port

ATTACKER, CALLER, LAST = "127.0.0.3", "127.0.0.2", "127.0.0.4"
BURST, AT_ONCE = 1000, 250
ALLOWED_GROWTH_BYTES = 16 * 1024 * 1024
ALL = '["echo", "find", "get", "move", "store"]'


@pytest.fixture(scope="module")
def destination_port():
    return free_port()


@pytest.fixture(scope="module")
def owed_port():
    return free_port()


@pytest.fixture(scope="module")
def serving(tmp_path_factory, destination_port, owed_port):
    peers = f"""
        [[peer]]
        ae_title = "OWED"
        host = "127.0.0.1"
        port = {owed_port}
        may = ["commit"]
        [[peer]]
        ae_title = "MOVESCU"
        host = "127.0.0.1"
        may = {ALL}
        [[peer]]
        ae_title = "DEST"
        host = "127.0.0.1"
        port = {destination_port}
        may = {ALL}
    """
    served = Served(
        tmp_path_factory.mktemp("served"),
        peers,
        throttle="off",
        allow_anonymous_store="true",
        dimse_associations_per_client="16",
    )
    try:
        yield served.start()
    finally:
        served.server.stop()


@pytest.fixture
def served(serving):
    """The server, started again where a test has stopped it."""
    if serving.server.process is None:
        serving.server.start()
    return serving


@pytest.fixture
def study(served):
    """The UID of one study of the sample."""
    asked = {"PatientID": "ISIC_0000000"}
    [found] = httpx.get(f"{served.server.dicomweb_url}/studies", params=asked).json()
    return found["0020000D"]["Value"][0]


def keys(*pairs):
    return [part for pair in pairs for part in ("-k", pair)]


# PS3.4 A, B, C with the applications of pynetdicom


def test_pynetdicom_echoes(served):
    said = served.pynetdicom("echoscu")
    assert "Received Echo Response (Status: 0x0000 - Success)" in said
    assert said.endswith("exit 0")


def test_pynetdicom_finds(served):
    said = served.pynetdicom(
        "findscu", "-S", *keys("QueryRetrieveLevel=STUDY", "PatientID=ISIC_*", "StudyInstanceUID")
    )
    asked = {"PatientID": "ISIC_*"}
    count = len(httpx.get(f"{served.server.dicomweb_url}/studies", params=asked).json())
    assert len(re.findall(r"Find SCP Response: \d+ - 0xFF00 \(Pending\)", said)) == count > 10, said
    assert said.endswith("exit 0")


def test_pynetdicom_gets_what_it_takes(served, study):
    # it proposes uncompressed transfer syntaxes alone: the photograph is decoded
    out = served.folder / "pynetdicom got"
    out.mkdir()
    said = served.pynetdicom(
        "getscu", "-S", "-od", out, *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
    )
    assert "Get SCP Result: 0x0000 (Success)" in said, said
    [path] = out.iterdir()
    got = pydicom.dcmread(path)
    assert not got.file_meta.TransferSyntaxUID.is_compressed
    assert (got.StudyInstanceUID, got.PhotometricInterpretation) == (study, "RGB")


def test_pynetdicom_stores(served):
    path = write_instance(served.folder / "pynetdicom.dcm", name="pynetdicom", study="pynetdicom")
    said = served.pynetdicom("storescu", "-cx", after=[path])
    assert "Received Store Response (Status: 0x0000 - Success)" in said, said


def test_pynetdicom_moves(served, study, destination_port):
    out = served.folder / "pynetdicom moved"
    out.mkdir()
    receive = ("--store", "--store-port", destination_port, "--store-aet", "DEST", "-od", out)
    wanted = keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
    said = served.pynetdicom("movescu", "-S", "-aem", "DEST", *receive, *wanted)
    assert "Move SCP Result: 0x0000 (Success)" in said, said
    [path] = out.iterdir()
    assert pydicom.dcmread(path).StudyInstanceUID == study


# The same with DCMTK


def test_dcmtk_does_the_same(served, study):
    assert "Received Echo Response (Success)" in served.dcmtk("echoscu")
    wanted = keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
    assert "(Pending)" in served.dcmtk("findscu", "-S", *wanted)
    out = served.folder / "dcmtk got"
    out.mkdir()
    assert "Completed Suboperations : 1" in served.dcmtk("getscu", "-S", "+xy", "-od", out, *wanted)
    [path] = out.iterdir()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    sent = write_instance(served.folder / "dcmtk.dcm", name="dcmtk", study="dcmtk", jpeg=True)
    assert "Received Store Response (Success)" in served.dcmtk("storescu", "-xy", after=[sent])
    served.dcmtk("termscu")
    assert "Received Echo Response (Success)" in served.dcmtk("echoscu")


def test_dcmtk_moves(served, study, destination_port):
    out = served.folder / "dcmtk moved"
    out.mkdir()
    said = served.dcmtk(
        "movescu", "-S", "-d", "-aem", "DEST", "--port", destination_port, "-od", out,
        *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}"),
    )  # fmt: skip
    assert "0x0000: Success" in said, said
    [path] = out.iterdir()
    assert pydicom.dcmread(path).StudyInstanceUID == study


def test_echo_of_the_command_line(served):
    said = served.server.run("echo", f"DERMZOO@127.0.0.1:{served.port}")
    assert said.startswith("DERMZOO  answers  127.0.0.1:")


# What an operator sees


def test_one_line_in_the_log_for_each_association(served):
    served.dcmtk(
        "findscu", "-aet", "SOMEBODY", "-S", *keys("QueryRetrieveLevel=STUDY", "PatientID=ISIC_0000000")
    )
    line = served.line(calling_ae_title="SOMEBODY")
    assert line["client"] == "127.0.0.1"
    assert (line["called_ae_title"], line["result"]) == ("DERMZOO", "released")
    assert (line["counts"], line["refused"]) == ({"C_FIND": 1, "found": 1}, {})
    assert min(line["bytes_in"], line["bytes_out"]) > 100
    assert line["implementation"].startswith("OFFIS_DCMTK")


def test_the_log_says_what_was_refused_and_why(served):
    served.dcmtk("findscu", "-aet", "REFUSED", "-S", *keys("QueryRetrieveLevel=WARD"))
    connected(served, association_request(called="NOBODY")).close()
    connected(served, association_request().replace(b"1.2.840.10008.1.1", b"1.2.840.10008.0x1")).close()
    line = served.line(calling_ae_title="REFUSED")
    assert line["refused"] == {"A900 Query/Retrieve Level is 'WARD': use PATIENT, STUDY, SERIES, IMAGE": 1}
    assert served.line(called_ae_title="NOBODY")["calling_ae_title"] == "RAW"
    served.wait(lambda: "UID is non-conformant" in served.server.log)
    assert '"logger":"pynetdicom' not in served.server.log


def test_associations_are_counted_in_the_metrics(served):
    def released():
        text = httpx.get(f"{served.server.url}/metrics").text
        found = re.search(r'^dermzoo_associations_total\{result="released"\} (\S+)', text, re.MULTILINE)
        if not re.search(r'^dermzoo_dimse_operations_total\{kind="C_ECHO"\} ', text, re.MULTILINE):
            return 0.0
        return float(found[1]) if found else 0.0

    assert served.echoes(CALLER)
    served.wait(released)
    before = released()
    assert served.echoes(CALLER)
    served.wait(lambda: released() > before)


# Floods, a crash and the end


def connected(served, said=b""):
    connection = socket.create_connection(("127.0.0.1", served.port), 20, source_address=(ATTACKER, 0))
    connection.sendall(said)
    return connection


@pytest.fixture
def attackers():
    """A list of sockets that are closed after the test."""
    sockets = []
    yield sockets
    for each in sockets:
        each.close()


def test_floods_and_drips_take_neither_turns_nor_memory(served, attackers):
    # trust T15: whoever asks in good order is served meanwhile
    assert served.echoes(CALLER)
    before = served.resident_bytes()
    whole = association_request()
    attackers += [connected(served) for _ in range(50)]
    attackers += [connected(served, struct.pack(">BxI", kind, 0xFFFFFFFF)) for kind in (1, 4)]
    dripping = connected(served)
    attackers.append(dripping)
    for byte in whole[:40]:
        dripping.sendall(bytes([byte]))
    assert served.echoes(CALLER)
    for _ in range(BURST // AT_ONCE):
        burst = [connected(served, whole) for _ in range(AT_ONCE)]
        attackers += burst
        assert served.echoes(CALLER)
        while attackers:
            attackers.pop().close()
    assert served.echoes(CALLER)
    assert served.resident_bytes() - before < ALLOWED_GROWTH_BYTES


@contextmanager
def owing_a_report(served):
    """A listener process that has sent a report of storage commitment, and waits for the answer."""
    arrived, over = threading.Event(), threading.Event()

    def keep_silent(_):
        arrived.set()
        over.wait()
        return 0x0000, None

    ae = AE("OWED")
    ae.add_requested_context(StorageCommitmentPushModel)
    handlers = [(evt.EVT_N_EVENT_REPORT, keep_silent)]
    association = ae.associate("127.0.0.1", served.port, ae_title="DERMZOO", evt_handlers=handlers)
    try:
        status, _ = association.send_n_action(
            asked("1.2.3"), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        assert status.Status == 0x0000
        assert arrived.wait(20)
        yield served.listener_of(association)
    finally:
        over.set()


def test_one_crashed_process_is_its_own_associations_and_no_other(served, owed_port):
    """What it had still to report is reported by another (PS3.4 J.3.3)."""
    served.wait(lambda: len(served.listeners()) == 2)
    owned, reports = {}, Reports()
    with ExitStack() as running:
        catalog = running.enter_context(served.server.catalog())
        running.enter_context(receiving(owed_port, reports))
        victim = running.enter_context(owing_a_report(served))
        while not set(owned.values()) > {victim}:
            association = served.associate(CALLER)
            assert association.is_established
            running.callback(association.release)
            owned[association] = served.listener_of(association)
        other = next(pid for pid in owned.values() if pid != victim)
        os.kill(victim, signal.SIGKILL)
        let_time_pass(catalog)
        for association, pid in owned.items():
            if pid == other:
                assert association.send_c_echo().Status == 0x0000
        served.wait(lambda: victim not in (found := served.listeners()) and len(found) == 2)
        assert other in served.listeners()
        assert served.echoes(CALLER)
        assert "a listener died" in served.server.log
        assert reports.arrived.wait(60)
        wait_until_told(catalog)


def test_it_stops_in_good_order(served):
    said = len(served.server.log)
    association = served.associate(LAST)
    assert association.is_established
    listeners, process = served.listeners(), served.server.process
    instance = make_instance("arriving")
    whole = encoded(instance)
    command = {
        Element.COMMAND_FIELD: Kind.C_STORE_RQ,
        Element.MESSAGE_ID: 1,
        Element.AFFECTED_SOP_CLASS_UID: instance.SOPClassUID,
        Element.AFFECTED_SOP_INSTANCE_UID: instance.SOPInstanceUID,
    }
    with RawPeer(served.port) as peer:
        peer.associate(instance.SOPClassUID)
        peer.data(1, encode_command(command, has_data_set=True))
        peer.data(1, whole[:100], command=False, last=False)
        process.send_signal(signal.SIGTERM)
        served.wait(lambda: '"stopping"' in served.server.log[said:])
        peer.data(1, whole[100:], command=False)
        answer, _ = peer.message()
        assert answer[Element.STATUS] == 0x0000
        assert peer.read()[0] == ABORT
    served.server.stop()
    assert process.returncode == 0
    association.join(20)
    assert association.is_aborted
    assert served.lines(client=LAST)[-1]["reason"] == "the listener stops"
    assert not [pid for pid in listeners if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110
