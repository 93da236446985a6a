"""What is known not to be convertible, for a while."""

from app.archive.unconvertible import LASTING_S, Unconvertible


def test_failures_are_remembered_by_file_and_form_for_a_while() -> None:
    now = [0.0]
    failures = Unconvertible(most=2, clock=lambda: now[0])
    failures.note(b"a", "1.2")
    assert failures.knows(b"a", "1.2")
    assert not failures.knows(b"a", "stored")
    assert not failures.knows(b"b", "1.2")
    now[0] = LASTING_S
    assert not failures.knows(b"a", "1.2"), "it is tried again"


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    failures = Unconvertible(most=2)
    for name in (b"a", b"b", b"a", b"c"):
        failures.note(name, "1.2")
    assert [failures.knows(name, "1.2") for name in (b"a", b"b", b"c")] == [True, False, True]
