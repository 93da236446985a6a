"""What the budget promises, at the sockets of many clients of the real server: R1, R8.

SOAK_EGRESS_S says for how long they take what they can get, 4 seconds unless told; SOAK_EGRESS_CLIENTS how
many they are; `make soak` takes ten minutes and two hundred, who pause when they are refused, and says on
standard output (`-s`) what was measured.
"""

import os
import sys
from collections import defaultdict

import httpx
import pytest

from tests.conftest import SAMPLE
from tests.dimse.served import Served
from tests.redis_server import running_redis
from tests.throttle.egress import Egress, address

SECONDS = float(os.environ.get("SOAK_EGRESS_S", "4"))
CLIENTS = int(os.environ.get("SOAK_EGRESS_CLIENTS", "24"))
IS_SOAK = "SOAK_EGRESS_S" in os.environ
WORKERS, LISTENERS = 4, 2
CAP, RATE = 3e6, 1e6
LEASE = 256 * 1024
# What a refusal or a health check may still be sent from when all is used up.
RESERVE = 2 * CAP / 10
POLICY = f"""
[client]
requests = {{ per_second = 1000, burst = 100000 }}
bytes = {{ per_second = 0.5e6, burst = 1e6 }}
[routes]
search = {{ per_second = 1000, burst = 100000 }}
[shared]
bytes = {{ per_second = {RATE}, burst = {CAP} }}
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder with the sample corpus, for one server after the other."""
    folder = tmp_path_factory.mktemp("promises")
    (folder / "throttle.toml").write_text(POLICY)
    served = Served(folder, "")
    served.server.migrate()
    served.server.run("import", "isic", "--images", SAMPLE / "images", "--metadata", SAMPLE / "metadata.csv")
    return folder


@pytest.fixture(scope="module")
def redis_here():
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module", params=["mmap", "redis"])
def served(request, archive):
    chosen = {
        "throttle_file": str(archive / "throttle.toml"),
        "dimse_processes": str(LISTENERS),
        "dimse_associations": str(max(32, CLIENTS // 4)),
    }
    if request.param == "redis":
        chosen["throttle_url"] = request.getfixturevalue("redis_here").url
    served = Served(archive, "", **chosen)
    served.server.start(WORKERS)
    served.uids = studies(served)
    yield served
    served.server.stop()


def studies(served):
    with httpx.Client(base_url=served.server.dicomweb_url) as client:
        return [
            study["0020000D"]["Value"][0] for study in client.get("/studies", params={"limit": 20}).json()
        ]


def greedy(served, seconds):
    egress = Egress(seconds, pause_s=1.0 if IS_SOAK else 0.0)
    for number in range(CLIENTS):
        uid = served.uids[number % len(served.uids)]
        if number % 4:
            egress.add_http(number, served.server.port, f"/dicom-web/studies/{uid}")
        else:
            egress.add_dimse(number, served.port, uid)
    return egress.run()


def test_r1_egress_over_both_networks_never_exceeds_the_plan(served):
    """R1: bytes at the clients' sockets <= cap + rate * T + leases, whatever they ask for, on each store."""
    egress = greedy(served, SECONDS)
    plan = CAP + RATE * egress.elapsed_s
    by_door = defaultdict(int)
    for number in range(CLIENTS):
        by_door["http" if number % 4 else "dimse"] += egress.bytes[address(number)]
    if IS_SOAK:
        told = f"T {egress.elapsed_s:.1f} s, bytes {egress.total} {dict(by_door)}, {dict(egress.statuses)}"
        sys.stdout.write(
            f"\nR1: cap {CAP:.0f}, rate {RATE:.0f}, {told}, {egress.total / plan:.4f} of the plan\n"
        )
        assert egress.total <= 1.01 * plan
    assert egress.total <= plan + (WORKERS + LISTENERS) * LEASE + RESERVE
    assert egress.total >= 0.5 * CAP  # it was tried at all
    assert all(by_door.values())
    assert not {status for status in egress.statuses if status.startswith(b"5")} - {b"503"}


@pytest.mark.parametrize("served", ["redis"], indirect=True)
def test_r8_the_plan_is_kept_and_nothing_fails_while_redis_hangs(served, redis_here):
    """R8."""
    redis_here.hang()
    try:
        egress = greedy(served, SECONDS / 2)
    finally:
        redis_here.go_on()
    bound = RATE * egress.elapsed_s + 2 * (WORKERS + LISTENERS) * LEASE + RESERVE
    assert 0 < egress.total <= bound
    assert not {status for status in egress.statuses if status.startswith(b"5")} - {b"503"}
