"""Slots are counted over all processes, and come back however their holder ends."""

import os
import subprocess
import sys

from app.dimse.slots import Slots
from tests.servers import PROJECT


def test_slots_in_all_and_for_each_client(tmp_path):
    slots, others = Slots(tmp_path / "slots", 3, 2), Slots(tmp_path / "slots", 3, 2)
    first, second = slots.take("a"), others.take("a")
    assert None not in {first, second}
    assert slots.take("a") is None
    third = slots.take("b")
    assert third is not None
    assert others.take("c") is None
    os.close(first)
    again = others.take("a")
    assert again is not None
    for slot in (second, third, again):
        os.close(slot)


def test_a_dead_process_holds_none(tmp_path):
    script = (
        "import sys; from pathlib import Path; from app.dimse.slots import Slots\n"
        f"slot = Slots(Path({str(tmp_path / 'slots')!r}), 1, 1).take('a')\n"
        "print(slot is not None, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT, text=True
    ) as holder:
        assert holder.stdout.readline() == "True\n"
        slots = Slots(tmp_path / "slots", 1, 1)
        assert slots.take("b") is None
        holder.kill()
        holder.wait()
        slot = slots.take("b")
        assert slot is not None
        os.close(slot)
