"""A task may crash, hang, eat memory or lie: its caller gets one sentence, and nobody else notices."""

import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice

import pytest

from app.cage import Cage
from app.cage.child import Limits
from app.cage.messages import Answer, Kind, pack_answers, unpack_answers
from app.errors import CagedFailure, NotConvertible, NotFound, Unreadable
from tests.cage import tasks

MIB = 2**20


@pytest.fixture
def cage():
    cage = Cage(processes=2, memory_bytes=256 * MIB, cpu_s=2, wall_s=60)
    yield cage
    cage.close()


def gone(process_id, timeout_s=20):
    """Whether the process ends within the time; waits for the event, does not sleep."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        return True
    try:
        watch = select.poll()
        watch.register(descriptor, select.POLLIN)
        return bool(watch.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


def test_returns_what_the_function_returns(cage):
    assert cage.run(tasks.add, 2, 3) == 5
    assert cage.run(tasks.echo, {"a": [b"\x00" * 3_000_000, None, (1.5, "é")]}) == {
        "a": [b"\x00" * 3_000_000, None, (1.5, "é")]
    }


def test_starts_nothing_before_the_first_task_and_one_process_for_tasks_in_turn():
    cage = Cage(4, 256 * MIB, 2)
    assert [child.process_id for child in cage._children] == [None] * 4
    assert len({cage.run(os.getpid) for _ in range(5)}) == 1
    cage.close()


@pytest.mark.parametrize("kind", [Unreadable, NotConvertible, NotFound])
def test_our_own_errors_cross_as_themselves(cage, kind):
    with pytest.raises(kind, match="no colour"):
        cage.run(tasks.fail, kind, "no colour")
    assert cage.run(tasks.add, 1, 1) == 2


def test_other_exceptions_become_a_sentence_and_the_process_lives_on(cage):
    before = cage.run(os.getpid)
    with pytest.raises(CagedFailure, match="ValueError: odd length"):
        cage.run(tasks.fail, ValueError, "odd\n  length")
    with pytest.raises(CagedFailure, match="nested too deeply"):
        cage.run(tasks.recurse, 1)
    assert cage.run(os.getpid) == before


def test_an_operating_system_error_does_not_name_our_files(cage):
    with pytest.raises(CagedFailure, match="No such file") as caught:
        cage.run(tasks.read, "/srv/secret/file.dcm")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "arguments", "sentence"),
    [
        (tasks.end_by_signal, (signal.SIGSEGV,), r"crashed \(signal 11\)"),
        (tasks.end_by_signal, (signal.SIGABRT,), r"crashed \(signal 6\)"),
        (tasks.end_by_signal, (signal.SIGKILL,), r"killed \(signal 9\)"),
        (tasks.leave, (3,), r"ended by itself \(status 3\)"),
        (tasks.allocate, (1024 * MIB,), "more memory"),
    ],
)
def test_a_process_that_ends_is_replaced(cage, task, arguments, sentence):
    before = cage.run(os.getpid)
    with pytest.raises(CagedFailure, match=sentence):
        cage.run(task, *arguments)
    assert cage.run(os.getpid) != before
    assert gone(before)


def test_processor_time_is_bounded_for_each_task_not_for_the_process():
    cage = Cage(1, 256 * MIB, cpu_s=1, wall_s=30)
    before = cage.run(tasks.spin_s, 0.7)
    assert cage.run(tasks.spin_s, 0.7) == before
    assert cage.run(tasks.spin_s, 0.7) == before
    with pytest.raises(CagedFailure, match="more than 1 s of processor time"):
        cage.run(tasks.spin_s, 20)
    cage.close()


def test_patience_is_bounded():
    cage = Cage(1, 256 * MIB, cpu_s=2, wall_s=0.3)
    with pytest.raises(CagedFailure, match=r"longer than 0\.3 s"):
        cage.run(tasks.wait_for_ever)
    cage.close()


def test_a_process_ended_while_idle_is_replaced_unseen(cage):
    before = cage.run(os.getpid)
    os.kill(before, signal.SIGKILL)
    assert gone(before)
    assert cage.run(os.getpid) != before


def test_signals_of_the_terminal_do_not_reach_it(cage):
    before = cage.run(os.getpid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(before, number)
    assert cage.run(os.getpid) == before
    assert os.getpgid(before) != os.getpgid(0)


def test_a_hundred_callers_at_once_each_get_their_own_answer(cage):
    def call(number):
        if number % 10 == 3:
            with pytest.raises(CagedFailure):
                cage.run(tasks.end_by_signal, signal.SIGSEGV)
            return number
        return cage.run(tasks.echo, number)

    with ThreadPoolExecutor(100) as callers:
        assert list(callers.map(call, range(100))) == list(range(100))
    assert sum(child.process_id is not None for child in cage._children) <= 2


def test_callers_are_served_in_the_order_they_came():
    cage = Cage(1, 256 * MIB, 2)
    child = cage._take()
    order = []
    callers = []
    for number in range(5):
        caller = threading.Thread(target=lambda n=number: order.append(cage.run(tasks.echo, n)))
        caller.start()
        callers.append(caller)
        while len(cage._waiting) <= number:
            os.sched_yield()
    cage._give_back(child)
    for caller in callers:
        caller.join()
    assert order == [0, 1, 2, 3, 4]
    cage.close()


@pytest.mark.parametrize("chunk_size", [1, 3, 32])
def test_map_keeps_the_order_and_one_crash_costs_one_item(cage, chunk_size):
    items = list(range(40))
    found = list(cage.map(tasks.crash_on_multiples_of_thirteen, items, chunk_size))
    assert [item for item, _ in found] == items
    for item, outcome in found:
        if item % 13 == 0:
            assert isinstance(outcome, CagedFailure)
        elif item % 13 == 1:
            assert isinstance(outcome, Unreadable)
        else:
            assert outcome == item * 2


def test_an_answer_that_cannot_travel_costs_one_item_of_those_it_travels_with(cage):
    found = dict(cage.map(tasks.return_what_cannot_travel_on_five, range(20)))
    assert isinstance(found.pop(5), CagedFailure)
    assert found == {number: number for number in range(20) if number != 5}


def test_an_item_that_eats_the_memory_costs_one_item(cage):
    sizes = [1, 2, 1024 * MIB, 3, 4]
    found = [outcome for _, outcome in cage.map(tasks.allocate, sizes)]
    assert isinstance(found.pop(2), CagedFailure)
    assert found == [1, 2, 3, 4]


def test_map_takes_only_so_many_items_ahead(cage):
    taken = []
    endless = (taken.append(number) or number for number in count())
    found = cage.map(tasks.echo, endless, chunk_size=2)
    assert [item for item, _ in islice(found, 10)] == list(range(10))
    assert len(taken) <= 10 + 2 * 65
    found.close()
    assert cage.run(tasks.add, 1, 1) == 2


def test_map_passes_on_an_error_of_its_source(cage):
    def source():
        yield 1
        raise OSError("the folder went away")

    with pytest.raises(OSError, match="went away"):
        list(cage.map(tasks.echo, source(), chunk_size=1))
    assert cage.run(tasks.add, 1, 1) == 2


def test_map_of_nothing(cage):
    assert list(cage.map(tasks.echo, [])) == []


def test_answers_may_not_name_other_code(cage):
    with pytest.raises(CagedFailure, match="answer that is none"):
        cage.run(tasks.answer_with_a_trap)
    assert cage.run(tasks.add, 1, 1) == 2


@pytest.mark.parametrize(
    "name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("app.cage.inside", "serve"),  # ours, but no class
        ("app.cage.child", "subprocess.Popen"),  # reached through ours
        ("app.cage.child", "Path"),  # imported by ours
        ("tests.cage.tasks", "add"),
    ],
)
def test_only_plain_data_and_our_classes_are_read(name):
    module, attribute = (part.encode() for part in name)
    with pytest.raises(pickle.UnpicklingError, match="no place"):
        unpack_answers(
            b"\x80\x04K\x00\x8c"
            + bytes([len(module)])
            + module
            + b"\x8c"
            + bytes([len(attribute)])
            + attribute
            + b"\x93\x86."
        )
    content = {"a": Limits(1, 2, 3), "b": {1, 2}, "c": bytearray(b"d")}
    assert unpack_answers(pack_answers([Answer(Kind.VALUE, content)])) == [(Kind.VALUE, content)]


def test_limits_and_surroundings_of_a_child(cage, monkeypatch):
    monkeypatch.setenv("DERMZOO_DATABASE_URL", "postgresql://user:secret@db/x")
    seen = cage.run(tasks.surroundings)
    assert seen["data"] == 256 * MIB
    assert seen["core"] == 0
    assert seen["files"] <= 64
    assert "DERMZOO_DATABASE_URL" not in seen["environment"]


def test_idle_processes_are_ended_and_started_again():
    cage = Cage(2, 256 * MIB, 2, idle_s=0.05)
    before = cage.run(os.getpid)
    assert gone(before)
    assert cage.run(os.getpid) != before
    cage.close()


def test_close_leaves_no_process_thread_or_descriptor():
    # in an interpreter of its own: what other tests left to the collector is not the cage's
    subprocess.run([sys.executable, "-m", "tests.cage.close_leaves_nothing"], check=True, timeout=120)


def test_close_ends_those_who_run_and_those_who_wait():
    cage = Cage(1, 256 * MIB, 2, wall_s=60)
    outcomes = []

    def call():
        try:
            cage.run(tasks.wait_for_ever)
        except CagedFailure as error:
            outcomes.append(str(error))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    while len(cage._waiting) < 2 or not cage._children[0].process_id:
        os.sched_yield()
    cage.close()
    for caller in callers:
        caller.join()
    assert outcomes == ["the file was not read: the program is ending"] * 3
    with pytest.raises(CagedFailure, match="ending"):
        cage.run(tasks.add, 1, 1)


@pytest.mark.parametrize("is_busy", [True, False])
def test_no_orphan_survives_a_killed_parent(is_busy, tmp_path):
    os.mkfifo(tmp_path / "news")
    program = (
        "import sys; from app.cage import Cage; from tests.cage import tasks; cage = Cage(1, 2**28, 60)\n"
        "cage.run(tasks.tell_and_wait, *sys.argv[1:]); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "news", "busy" if is_busy else "idle"],
        stdin=subprocess.PIPE,
    )
    child = int((tmp_path / "news").read_text())
    parent.kill()
    parent.communicate()
    assert gone(child)
