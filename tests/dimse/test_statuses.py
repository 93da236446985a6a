"""Every status of every service is reached (PS3.4 B.2.3, C.4, J.3.2; PS3.7 Annex C): a scenario each."""

import pytest

from app.archive.store import store_staged, taking_in
from app.dimse.status import STATUSES
from tests.dimse import scenarios, scenarios_of_retrieval  # noqa: F401 each scenario notes itself
from tests.dimse.conftest import listeners
from tests.dimse.stage import SCENARIOS, Stage
from tests.factories import instance_bytes

ROWS = [(service, status.code) for service, rows in STATUSES.items() for status, _ in rows]
NUMBER_OF_INSTANCES = 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with listeners(tmp_path_factory.mktemp("statuses")) as start:
        listening = start()
        archive = listening.listener.archive
        with taking_in(archive) as staging:
            staged = []
            for number in range(NUMBER_OF_INSTANCES):
                file = staging.new()
                file.write(instance_bytes(name=f"instance {number}"))
                file.finish()
                staged.append(file)
            assert not any(result.error for result in store_staged(archive, staging, staged))
        yield listening


@pytest.fixture
def stage(shared, monkeypatch):
    return Stage(shared, monkeypatch)


@pytest.mark.parametrize(
    ("service", "code", "scenario"),
    [
        pytest.param(*row, scenario, id=f"{row[0]} {row[1]:04X} {getattr(scenario, '__name__', 'none')}")
        for row in ROWS
        for scenario in SCENARIOS.get(row, [None])
    ],
)
def test_each_row_is_reached(stage, answered, service, code, scenario):
    assert scenario is not None, "the row has no scenario: it cannot happen, or its scenario is missing"
    scenario(stage)
    assert (service, code) in answered


def test_each_scenario_is_of_a_row():
    assert SCENARIOS.keys() <= set(ROWS)
