"""Messages arrive whole and apart, however the socket cuts and joins them."""

import os
import socket
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cage.channel import Channel


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Channel(ours.detach()), theirs
    theirs.close()


@given(st.lists(st.binary(max_size=200_000), max_size=5))
def test_messages_arrive_whole_and_apart(messages):
    ours, theirs = (Channel(each.detach()) for each in socket.socketpair())
    sender = Thread(target=lambda: [ours.send(message) for message in messages])
    sender.start()
    try:
        assert [theirs.receive(200_000) for _ in messages] == messages
    finally:
        sender.join()
        ours.close()
        theirs.close()


def test_the_length_may_come_byte_by_byte(ends):
    ours, theirs = ends
    whole = len(b"late").to_bytes(8, "big") + b"late"
    sender = Thread(target=lambda: [theirs.sendall(whole[at : at + 1]) for at in range(len(whole))])
    sender.start()
    assert ours.receive(100) == b"late"
    sender.join()
    ours.close()


def test_one_that_is_too_long_is_not_read(ends):
    ours, theirs = ends
    theirs.sendall((101).to_bytes(8, "big"))
    with pytest.raises(OSError, match="longer"):
        ours.receive(100)
    ours.close()


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", (4).to_bytes(8, "big") + b"ha"])
def test_an_end_in_the_middle_is_one(ends, sent):
    ours, theirs = ends
    os.write(theirs.fileno(), sent) if sent else None
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive(100)
    ours.close()
