from io import StringIO

import pytest

from app.cli.progress import progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_terminal_has_one_moving_line():
    stream, clock = Terminal(), Clock()
    with progress(200, "importing", stream, clock) as shown:
        for _ in range(200):
            clock.now_s += 0.01
            shown.advance()
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert 15 < written.count("\r") < 25
    assert "importing: 200 of 200 (100 %), 100/s" in written


def test_elsewhere_there_are_plain_lines_now_and_then():
    stream, clock = StringIO(), Clock()
    with progress(100, "indexing", stream, clock) as shown:
        for _ in range(100):
            clock.now_s += 0.25
            shown.advance()
    assert stream.getvalue().splitlines() == [
        "indexing: 40 of 100 (40 %), 4/s",
        "indexing: 80 of 100 (80 %), 4/s",
        "indexing: 100 of 100 (100 %), 4/s",
    ]


def test_an_unknown_total_and_a_failure_still_end_with_a_line():
    stream = StringIO()

    def fail():
        with progress(None, "reading", stream, Clock()) as shown:
            shown.advance(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert stream.getvalue() == "reading: 3\n"
