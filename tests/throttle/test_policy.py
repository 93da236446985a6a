"""The file that ships says what the program does anyway; a wrong one is refused by name."""

import tomllib
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.throttle.mmap_store import MmapStore
from app.throttle.opening import open_budget, open_store
from app.throttle.policy import Policy, load_policy
from app.throttle.stores import MemoryStore

SHIPPED = Path(__file__).parents[2] / "config" / "throttle.toml"


def test_the_file_that_ships_is_the_defaults_and_complete():
    assert load_policy(SHIPPED) == Policy()
    # The rate of all together is a comment, so that a sum of money may take its place.
    shown = SHIPPED.read_text().replace("# bytes = ", "bytes = ")
    assert tomllib.loads(shown) == Policy().model_dump(mode="json", exclude_none=True)


def test_a_missing_file_means_the_defaults(tmp_path):
    assert load_policy(tmp_path / "none.toml") == Policy()


def test_what_the_file_leaves_out_keeps_its_default(tmp_path):
    path = tmp_path / "throttle.toml"
    path.write_text("[hold]\nlongest_s = 3\n")
    assert load_policy(path).hold.longest_s == 3
    assert load_policy(path).client == Policy().client


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[client]\nrequests = { per_second = 0, burst = 5 }", r"client\.requests\.per_second"),
        ("[client]\nrequests = { per_second = 1, burst = 0.5 }", r"client\.requests\.burst"),
        ("[client]\nrequests = { per_second = 1 }", r"client\.requests\.burst"),
        ('[client]\nbytes = { per_second = "fast", burst = 5 }', r"client\.bytes\.per_second"),
        ("[shared]\nbytes = { per_second = inf, burst = 5 }", r"shared\.bytes\.per_second"),
        ("[shared]\nbytes = { per_second = nan, burst = 5 }", r"shared\.bytes\.per_second"),
        ("[hold]\nlongest_s = -1", r"hold\.longest_s"),
        ("[hold]\nlongest = 1", r"hold\.longest"),
        ("[routes]\nserach = { per_second = 1, burst = 1 }", r"routes\.serach"),
        ("[global]\n", "global"),
        ("[client]\nconcurrent_requests = 0", r"client\.concurrent_requests"),
        ("[shared]\nbytes_per_day = -1", r"shared\.bytes_per_day"),
        ("[shared]\nfinish_s = 61", r"shared\.finish_s"),
        ('[[classes]]\nname = "a"', r"classes\.0: .*needs networks, tokens, or both"),
        ('[[classes]]\nname = "A b"\ntokens = ["t"]', r"classes\.0\.name"),
        ('[[classes]]\nname = "a"\nnetworks = ["192.0.2.1/24"]', r"classes\.0\.networks"),
        ('[[classes]]\nname = "a"\nnetworks = ["2001:db8::1"]', "no smaller network can be told apart"),
        ('[[classes]]\nname = "a"\nnetworks = [7]', "in quotes"),
        ('[[classes]]\nname = "a"\ntokens = ["t"]\ntreatment = "denied"\nfactor = 2', "factor is for"),
        ('[[classes]]\nname = "a"\ntokens = ["t"]\ntreatment = "blessed"', r"classes\.0\.treatment"),
        ("[client\n", "cannot read the rates"),
    ],
)
def test_a_wrong_file_is_refused_and_the_key_named(tmp_path, text, named):
    path = tmp_path / "throttle.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=named) as caught:
        load_policy(path)
    assert "throttle.toml" in str(caught.value)


def test_the_store_is_named_by_its_url(tmp_path):
    assert isinstance(open_store("memory:"), MemoryStore)
    store = open_store(f"mmap:{tmp_path}/budget")
    assert isinstance(store, MmapStore)
    store.close()
    for url in ("http://localhost", "redis:", "mmap:", "memory:x", ""):
        with pytest.raises(SettingsError, match="DERMZOO_THROTTLE_URL"):
            open_store(url)


def test_the_budget_of_the_settings(settings):
    budget = open_budget(settings)
    assert budget.run(budget.telling_shared()) == Policy().shared.bytes.burst
    assert (settings.data_dir / "budget").is_file()
    budget.close()
