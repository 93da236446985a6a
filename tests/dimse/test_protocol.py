"""Peers that break the protocol: the right A-ABORT or status, and nobody else notices (trust T15)."""

import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dimse.commands import Element, Kind, decode_command, encode_command
from app.dimse.errors import ProtocolError
from app.dimse.gate import WAITING_PER_CLIENT
from tests.dimse.raw_peer import VERIFICATION, RawPeer, association_request

ABORT, PROVIDER, USER = 7, 2, 0
FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def command(kind, context_class, *, message_id=1, has_data_set=False, **more):
    elements = {
        Element.COMMAND_FIELD: kind,
        Element.MESSAGE_ID: message_id,
        Element.AFFECTED_SOP_CLASS_UID: context_class,
    }
    return encode_command(elements | more, has_data_set=has_data_set)


def response(peer):
    """The status of the next response."""
    kind, body = peer.read()
    assert kind == 4, f"a PDU of type {kind}"
    return decode_command(body[6:])[Element.STATUS]


def is_well(listening):
    return "Received Echo Response (Success)" in listening.dcmtk("echoscu")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (struct.pack(">BxI", 1, 0xFFFFFFFF), 6),  # an A-ASSOCIATE-RQ of 4 GiB
        (struct.pack(">BxI", 1, 65 * 1024), 6),
        (struct.pack(">BxI", 99, 4), 1),  # no such PDU
        (b"GET / HTTP/1.1\r\n", 1),
        (struct.pack(">BxI", 4, 100), 2),  # data before the association
        (struct.pack(">BxI", 5, 4) + b"\0\0\0\0", 2),
    ],
)
def test_a_first_pdu_that_is_none_is_aborted_before_it_is_received(listening, said, reason):
    with RawPeer(listening.port) as peer:
        peer.send(said)
        assert peer.read() == (ABORT, bytes([0, 0, PROVIDER, reason]))
        assert peer.read()[0] is None
    assert is_well(listening)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_request_for_an_association_is_worse_than_an_abort(data):
    from app.dimse.negotiation import agree, read_request

    whole = bytearray(association_request(VERIFICATION, FIND)[6:])
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        agree(read_request(bytes(whole)), private_too=True)


def test_idle_sockets_take_nobodys_turn(listening):
    peers = [RawPeer(listening.port) for _ in range(50)]
    try:
        assert is_well(listening)
        # of one address only so many are waited for; those who have been silent longest go
        assert [_is_closed(peer) for peer in peers].count(True) >= 50 - WAITING_PER_CLIENT
    finally:
        for peer in peers:
            peer.socket.close()


def _is_closed(peer):
    peer.socket.settimeout(0)
    try:
        return peer.socket.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_dripping_request_takes_nobodys_turn_either(listening):
    whole = association_request()
    with RawPeer(listening.port) as peer:
        for byte in whole[:40]:
            peer.send(bytes([byte]))
        assert is_well(listening)
        peer.send(whole[40:])
        assert peer.read()[0] == 2


def test_associations_of_one_address_have_a_limit(start_listener):
    listening = start_listener(dimse_associations_per_client=2)
    with RawPeer(listening.port) as one, RawPeer(listening.port) as two, RawPeer(listening.port) as three:
        one.associate()
        two.associate()
        three.send(association_request())
        # rejected as transient, by the presentation layer: local limit exceeded (PS3.8 Table 9-21)
        assert three.read() == (3, bytes([0, 2, 3, 2]))
        one.send(struct.pack(">BxIxxxx", 5, 4))
        assert one.read()[0] == 6
        assert one.read()[0] is None
        with RawPeer(listening.port) as four:
            four.associate()


@pytest.mark.parametrize(
    ("kind", "abstract_syntax", "status"),
    [
        (Kind.C_FIND_RQ, VERIFICATION, 0x0122),
        (Kind.C_ECHO_RQ, FIND, 0x0122),
        (0x0140, VERIFICATION, 0x0211),  # N-CREATE, which we do not know
    ],
)
def test_a_request_outside_its_context(listening, kind, abstract_syntax, status):
    with RawPeer(listening.port) as peer:
        peer.associate(abstract_syntax)
        peer.data(1, command(kind, abstract_syntax))
        assert response(peer) == status
        peer.data(1, command(Kind.C_CANCEL_RQ, abstract_syntax))  # of nothing: no answer


@pytest.mark.parametrize(
    "fragment",
    [
        struct.pack(">IBB", 0xFFFFFFFF, 1, 3),
        struct.pack(">IBB", 1, 1, 3),
        struct.pack(">I", 2),
        struct.pack(">IBB", 2 + 4, 1, 3) + b"\1\0\0\0",  # not group 0000
        struct.pack(">IBB", 2 + 8, 1, 3) + struct.pack("<HHI", 0, 0x100, 99),
        struct.pack(">IBB", 2 + 8, 77, 3) + struct.pack("<HHI", 0, 0x100, 0),  # no such context
        struct.pack(">IBB", 2 + 2, 1, 2) + b"\0\0",  # a data set without a command
    ],
)
def test_data_that_are_no_message_abort_the_association(listening, fragment):
    with RawPeer(listening.port) as peer:
        peer.associate()
        peer.send(struct.pack(">BxI", 4, len(fragment)) + fragment)
        kind, body = peer.read()
        assert (kind, body[2]) == (ABORT, PROVIDER)
    assert is_well(listening)


def test_an_abort_in_the_middle_of_a_data_set_leaves_nothing(listening):
    storage = "1.2.840.10008.5.1.4.1.1.77.1.4"
    with RawPeer(listening.port) as peer:
        peer.associate(storage)
        more = {Element.AFFECTED_SOP_INSTANCE_UID: "1.2.3"}
        elements = {
            Element.COMMAND_FIELD: Kind.C_STORE_RQ,
            Element.MESSAGE_ID: 1,
            Element.AFFECTED_SOP_CLASS_UID: storage,
        }
        peer.data(1, encode_command(elements | more, has_data_set=True))
        peer.data(1, bytes(100), command=False, last=False)
        peer.send(struct.pack(">BxIxxxx", ABORT, 4))
        assert peer.read()[0] is None
    assert is_well(listening)
    archive = listening.listener.archive
    assert list(archive.storage.keys()) == []
    files = [path for path in archive.settings.objects_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.isdigit() and path.stat().st_size]


@pytest.mark.parametrize(
    ("instance", "data_set", "status"),
    [
        ("../../etc", b"", 0x0117),
        ("1.2.3", b"garbage that is no data set", 0xC000),
        ("1.2.3", None, 0x0212),
    ],
)
def test_a_store_that_cannot_be(listening, instance, data_set, status):
    storage = "1.2.840.10008.5.1.4.1.1.77.1.4"
    elements = {
        Element.COMMAND_FIELD: Kind.C_STORE_RQ,
        Element.MESSAGE_ID: 7,
        Element.AFFECTED_SOP_CLASS_UID: storage,
        Element.AFFECTED_SOP_INSTANCE_UID: instance,
    }
    with RawPeer(listening.port) as peer:
        peer.associate(storage)
        peer.data(1, encode_command(elements, has_data_set=data_set is not None))
        if data_set is not None:
            peer.data(1, data_set, command=False)
        assert response(peer) == status
        peer.data(1, encode_command(elements, has_data_set=data_set is not None))
        if data_set is not None:
            peer.data(1, data_set, command=False)
        assert response(peer) == status  # and the association goes on


@given(st.binary(max_size=200))
def test_command_sets_from_anybody(data):
    with suppress(ProtocolError):
        decode_command(data)


@given(
    st.dictionaries(
        st.sampled_from([Element.MESSAGE_ID, Element.STATUS, Element.COMPLETED_SUBOPERATIONS]),
        st.integers(0, 0xFFFF),
    ),
    st.text(st.sampled_from("0123456789."), min_size=1, max_size=64),
)
def test_command_sets_come_back(numbers, uid):
    elements = {**numbers, Element.AFFECTED_SOP_CLASS_UID: uid}
    encoded = encode_command(elements, has_data_set=False)
    assert len(encoded) % 2 == 0
    found = decode_command(encoded)
    assert found.pop(Element.COMMAND_DATA_SET_TYPE) == 0x0101
    assert found == elements


def test_a_peer_that_reads_nothing_is_left(start_listener, monkeypatch):
    listening = start_listener()
    from tests.factories import write_instance

    path = write_instance(listening.folder / "a.dcm", rows=2000, columns=2000)
    assert "Success" in listening.dcmtk("storescu", after=[path])
    storage, get = "1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.840.10008.5.1.4.1.2.2.3"
    from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = storage, False, True
    with monkeypatch.context() as patch, RawPeer(listening.port) as peer:
        patch.setattr("app.dimse.listener.PDU_S", 0.5)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.associate(get, storage, extra=[role])
        peer.data(1, command(Kind.C_GET_RQ, get, has_data_set=True))
        identifier = (
            struct.pack("<HH2sH", 8, 0x52, b"CS", 6) + b"STUDY "
            + struct.pack("<HH2sH", 0x20, 0xD, b"UI", len(_study())) + _study()
        )  # fmt: skip
        peer.data(1, identifier, command=False)
        # nothing is read; the listener's thread ends by itself
        for thread in list(listening.listener._threads):
            thread.join(20)
        assert not listening.listener._threads
    assert is_well(listening)


def _study():
    from tests.factories import uid

    value = str(uid("study")).encode()
    return value + b"\0" * (len(value) % 2)


def test_a_uid_that_is_none_is_not_negotiated(listening):
    whole = association_request(VERIFICATION).replace(VERIFICATION.encode(), b"1.2.840.10008.0x1")
    with RawPeer(listening.port) as peer:
        peer.send(whole)
        assert peer.read() == (ABORT, bytes([0, 0, PROVIDER, 6]))
    assert is_well(listening)


def test_a_response_that_nobody_asked_for_aborts(listening):
    with RawPeer(listening.port) as peer:
        peer.associate()
        peer.data(1, encode_command({Element.COMMAND_FIELD: 0x8030, Element.STATUS: 0}, has_data_set=False))
        assert peer.read() == (ABORT, bytes([0, 0, PROVIDER, 2]))
    assert is_well(listening)
