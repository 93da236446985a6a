"""What an association is begun with, how messages are cut, and what the log learns of it."""

import struct
from types import SimpleNamespace

import pytest
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.dimse.association import Association
from app.dimse.commands import Element, Kind, decode_command, encode_command
from app.dimse.negotiation import Agreement
from app.dimse.process import listening_socket
from app.dimse.status import DATA_SET_MISMATCH
from app.errors import SettingsError
from app.settings import Settings
from tests.dimse.conftest import listeners
from tests.dimse.raw_peer import VERIFICATION, RawPeer, association_request
from tests.servers import free_port

REJECTED, ABORT = 3, 7


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with listeners(tmp_path_factory.mktemp("associations")) as start:
        yield start().port


@pytest.mark.parametrize(
    ("before", "after", "source_and_reason"),
    [
        (b"\0\1\0\0DERMZOO", b"\0\2\0\0DERMZOO", (2, 2)),  # of the protocol, version 1 is not among those
        (b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.2", (1, 2)),  # another application context
    ],
)
def test_what_is_none_of_this_protocol_is_rejected(port, before, after, source_and_reason):
    # PS3.8 9.3.2, Table 9-21
    whole = association_request()
    assert whole.count(before) == 1
    with RawPeer(port) as peer:
        peer.send(whole.replace(before, after))
        assert peer.read() == (REJECTED, bytes([0, 1, *source_and_reason]))


MAXIMUM_LENGTH = struct.pack(">BxH", 0x51, 4)  # PS3.8 D.1


def test_who_takes_shreds_alone_is_rejected(port):
    whole = association_request()
    with RawPeer(port) as peer:
        peer.send(
            whole.replace(MAXIMUM_LENGTH + struct.pack(">I", 16384), MAXIMUM_LENGTH + struct.pack(">I", 127))
        )
        assert peer.read() == (REJECTED, bytes([0, 1, 1, 1]))


@pytest.mark.parametrize("number", [1, 2])
def test_presentation_contexts_are_odd_and_each_another(port, number):
    # PS3.8 9.3.2.2: an A-ABORT, invalid PDU parameter value
    whole = association_request(VERIFICATION, VERIFICATION)
    second = b"\x20\0" + whole.split(b"\x20\0")[-1][:2] + bytes([3])
    assert whole.count(second) == 1
    with RawPeer(port) as peer:
        peer.send(whole.replace(second, second[:-1] + bytes([number])))
        assert peer.read() == (ABORT, bytes([0, 0, 2, 6]))


def test_nobody_becomes_one_whom_we_would_echo(port):
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = VERIFICATION, False, True
    asked = {Element.COMMAND_FIELD: Kind.C_ECHO_RQ, Element.MESSAGE_ID: 1}
    with RawPeer(port) as peer:
        peer.associate(VERIFICATION, extra=[role])
        peer.ask(1, asked | {Element.AFFECTED_SOP_CLASS_UID: VERIFICATION})
        [(answer, _)] = peer.answers()
        assert answer[Element.STATUS] == 0x0000


def test_a_port_is_shared_among_the_processes_of_one_server_alone(tmp_path):
    settings = Settings(data_dir=tmp_path, dimse_port=free_port())
    listening_socket(settings, is_shared=False).close()
    with listening_socket(settings) as one, listening_socket(settings) as another:
        one.listen()
        another.listen()
        with pytest.raises(SettingsError, match="Address already in use"):
            listening_socket(settings, is_shared=False)


def association(written, longest_pdu=16384):
    wire = SimpleNamespace(stopping=None, over=None, write=lambda *pieces: written.extend(pieces))
    return Association(wire, Agreement("A", "B", {}, {}, longest_pdu, ""))


@pytest.mark.parametrize("longest", [128, 4096, 4097, 131071])
def test_fragments_are_even_whatever_the_peer_takes(longest):
    written = []
    association(written, longest).send(1, {Element.COMMAND_FIELD: Kind.C_STORE_RQ}, [bytes(200_000)])
    bodies = written[1::2]
    assert sum(map(len, bodies)) > 200_000
    assert not [body for body in bodies if len(body) % 2 or len(body) > longest - 6]


def test_the_log_tells_ten_reasons_and_no_more():
    asked = association([])
    for number in (*range(20), 0):
        asked.note(DATA_SET_MISMATCH, f"reason {number}")
    told = {f"A900 reason {number}": 1 for number in range(1, 10)}
    assert asked.refused == told | {"A900 reason 0": 2, "others": 10}


def test_a_comment_is_one_value():
    # LO (PS3.5 6.2): a backslash would part it
    encoded = encode_command({Element.ERROR_COMMENT: r"C:\dicom"}, has_data_set=False)
    assert decode_command(encoded)[Element.ERROR_COMMENT] == "C:/dicom"
