"""A change of the policy file is heeded without a restart; a mistake in it changes nothing."""

import pytest

from app.throttle.budget import Budget
from app.throttle.clients import Client
from app.throttle.opening import Watch
from app.throttle.policy import Policy
from app.throttle.stores import MemoryStore

SOMEBODY = Client("ip:192.0.2.1")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "throttle.toml"
    path.write_text("[hold]\nlongest_s = 3\n")
    return path


@pytest.fixture
def budget():
    return Budget(Policy(), MemoryStore(64), lambda: 1000.0)


def write(path, text):
    """As editors do: another file under the same name."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def test_a_change_is_heeded(path, budget):
    watch = Watch(budget, path)
    write(path, "[client]\nconcurrent_requests = 7\n")
    watch.step()
    assert budget.policy.client.concurrent_requests == 7
    seats = [
        line for line in budget.run(budget.telling(budget.account(SOMEBODY))) if "concurrent" in line.policy
    ]
    assert seats[0].capacity == 7


def test_what_was_not_changed_is_not_read_again(path, budget):
    watch = Watch(budget, path)
    watch.step()
    assert budget.policy == Policy()  # not what the file says: that was read by whoever made the budget


@pytest.mark.parametrize("text", ["[client\n", "[client]\nrequests = 5\n", "[hold]\nlongest = 1\n"])
def test_a_file_with_a_mistake_changes_nothing_and_the_log_says_why(path, budget, text, caplog):
    watch = Watch(budget, path)
    write(path, text)
    watch.step()
    watch.step()
    assert budget.policy == Policy()
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert str(path) in record.facts["reason"]
    write(path, "[hold]\nlongest_s = 4\n")
    watch.step()
    assert budget.policy.hold.longest_s == 4


def test_a_file_that_is_gone_changes_nothing(path, budget, caplog):
    watch = Watch(budget, path)
    path.unlink()
    watch.step()
    assert budget.policy == Policy()
    assert "is gone" in caplog.text


def test_the_thread_ends_with_the_server(path, budget):
    watch = Watch(budget, path).start()
    watch.close()
    assert not watch._thread.is_alive()
