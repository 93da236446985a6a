"""A log put to a policy by the budget's own arithmetic: the same each time, never above the bound (O1)."""

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from app.cli.budget import budget as command
from app.throttle.chart import Series, accumulated, draw
from app.throttle.clients import Client
from app.throttle.cost import Cost
from app.throttle.exchange import SLICE_BYTES
from app.throttle.outcomes import as_chart, as_csv, as_json, rows, total_cost
from app.throttle.policy import Policy
from app.throttle.simulation import simulate
from app.throttle.trace import HEAD_BYTES, Asked, read_trace, route_kind
from tests.throttle.virtual import policy

START = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()
OURS = {
    "time": "2026-11-30T23:00:02.000+00:00", "message": "request", "client": "ip:192.0.2.1", "method": "GET",
    "path": "/dicom-web/studies", "status": 200, "bytes": 100, "ms": 2000.0,
    "budget": {"charged": 350, "waited_s": 0.5, "refused": []},
}  # fmt: skip
COMMON = '192.0.2.1 - - [30/Nov/2026:23:00:00 +0000] "GET /dicom-web/studies HTTP/1.1" 200 100 "-" "curl"'


def asked(at_s, size, client="ip:192.0.2.1", kind=None, lasted_s=0.0, *, is_cheap=False):
    return Asked(START + at_s, Client(client), kind, is_cheap, size, lasted_s, was_refused=False)


def test_a_line_of_ours_and_a_common_one_tell_the_same():
    [ours], passed_over = read_trace([json.dumps(OURS)])
    assert (ours.at_s, ours.client, ours.kind) == (START, Client("ip:192.0.2.1"), "search")
    assert (ours.sent_bytes, ours.lasted_s, passed_over) == (350, 1.5, 0)
    [common], _ = read_trace([COMMON])
    assert common == ours._replace(sent_bytes=100 + HEAD_BYTES, lasted_s=0.0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2001:db8::7", Client("ip:2001:db8::/64")),
        ("::ffff:192.0.2.1", Client("ip:192.0.2.1")),
        ("token:abc", Client("token:abc", has_token=True)),
        ("local", Client("local")),
        ("crawler.example", Client("host:crawler.example")),
    ],
)
def test_whose_request_it_was(written, expected):
    [request], _ = read_trace([json.dumps(OURS | {"client": written})])
    assert request.client == expected


def test_what_is_no_request_is_passed_over_and_the_order_is_that_of_time():
    late = json.dumps(OURS | {"time": "2026-11-30T23:10:00+00:00", "status": 503})
    found, passed_over = read_trace([late, json.dumps(OURS), "", "{", "noise", '{"message": "started"}'])
    assert [request.was_refused for request in found] == [False, True]
    assert passed_over == 3


@given(st.one_of(st.text(), st.text().map(lambda text: "{" + text), st.builds(json.dumps, st.dictionaries(
    st.sampled_from(sorted(OURS)), st.one_of(st.none(), st.integers(), st.text(max_size=9), st.booleans()),
))))  # fmt: skip
def test_any_line_is_a_request_or_none(line):
    found, passed_over = read_trace([line])
    assert len(found) + passed_over <= 1


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/dicom-web/studies?limit=1", "search"),
        ("GET", "/dicom-web/studies/1.2/series/", "search"),
        ("GET", "/dicom-web/studies/1.2/rendered", "render"),
        ("GET", "/dicom-web/studies/1.2/series/3/instances/4/frames/1/thumbnail", "render"),
        ("POST", "/dicom-web/studies", "store"),
        ("POST", "/dicom-web/studies/1.2", "store"),
        ("GET", "/dicom-web/studies/1.2", None),
        ("GET", "/dicom-web/studies/1.2/metadata", None),
    ],
)
def test_kinds_of_routes(method, path, kind):
    assert route_kind(method, path) == kind


visits = st.lists(
    st.tuples(st.floats(0, 5000), st.integers(0, 300_000), st.integers(1, 6), st.booleans()), max_size=60
)


@given(visits)
def test_no_trace_gets_more_than_the_bucket_gives(found):
    """O1, and that it is the same each time; every request has one fate."""
    rate, burst = 200.0, 400_000.0
    tried = policy(shared={"bytes": {"per_second": rate, "burst": burst}}, hold={"longest_s": 5})
    requests = sorted(
        (
            asked(at_s, size, f"ip:192.0.2.{number}", "search" if kind else None)
            for at_s, size, number, kind in found
        ),
        key=lambda request: request.at_s,
    )
    outcome = simulate(requests, tried)
    assert as_json(outcome, tried.cost) == as_json(simulate(requests, tried), tried.cost)
    lasted_s = outcome.ended_s - outcome.began_s
    assert outcome.total.delivered_bytes <= burst + rate * lasted_s + 1
    assert outcome.total.requests == len(requests)
    assert outcome.total.delivered_bytes <= outcome.total.asked_bytes
    if not outcome.total.refused and not outcome.total.cut:
        assert outcome.total.delivered_bytes == outcome.total.asked_bytes
    assert sum(fate.delivered_bytes for fate in outcome.clients.values()) == outcome.total.delivered_bytes


def test_a_paced_body_waits_and_a_greedy_client_is_refused():
    tried = policy(client={"bytes": {"per_second": 1000.0, "burst": SLICE_BYTES}}, hold={"longest_s": 10})
    outcome = simulate([asked(0, 3 * SLICE_BYTES), *(asked(1, 1000) for _ in range(50))], tried)
    fate = outcome.total
    assert fate.refused == {429: 50}
    assert fate.delivered_bytes == 3 * SLICE_BYTES
    assert fate.longest_wait_s == pytest.approx(2 * SLICE_BYTES / 1000, rel=0.9)
    assert outcome.ended_s - START >= 2 * SLICE_BYTES / 1000


def test_when_all_is_used_up_everybody_gets_503_but_health_checks():
    tried = policy(shared={"bytes": {"per_second": 1.0, "burst": 1e6}})
    outcome = simulate([asked(0, 999_999), asked(1, 40), asked(2, 40), asked(3, 10, is_cheap=True)], tried)
    assert outcome.total.refused == {503: 1}
    assert outcome.total.delivered_bytes == 999_999 + 40 + 10


def test_a_request_waits_for_a_seat():
    tried = policy(client={"concurrent_requests": 1}, hold={"longest_s": 10})
    requests = [
        asked(0, 10, lasted_s=4),
        asked(1, 10, lasted_s=4),
        asked(2, 10),
        asked(3, 10, "ip:192.0.2.2"),
    ]
    outcome = simulate(requests, tried)
    assert not outcome.total.refused
    assert outcome.clients["ip:192.0.2.1"].longest_wait_s == 6
    assert outcome.clients["ip:192.0.2.1"].waited_s == 3 + 6
    assert outcome.clients["ip:192.0.2.2"].waited_s == 0
    denied = simulate(requests, policy(client={"concurrent_requests": 1}, hold={"longest_s": 1}))
    assert denied.total.refused == {429: 2}


def test_each_month_is_priced_by_itself_and_shared_out():
    cost = Cost(per_gb=1.0, overhead=1.0, free_gb=1.0)
    requests = [asked(0, 3 * 10**9), asked(7200, 3 * 10**9, "ip:192.0.2.2")]
    outcome = simulate(
        requests,
        policy(
            client={"bytes": {"per_second": 1e9, "burst": 1e10}},
            shared={"bytes": {"per_second": 1e9, "burst": 1e10}},
        ),
    )
    assert outcome.months == {"2026-11": 3 * 10**9, "2026-12": 3 * 10**9}
    assert total_cost(outcome, cost) == pytest.approx(4)
    assert [row["cost"] for row in rows(outcome, cost)] == [2, 2]
    assert as_csv(outcome, cost).count("\n") == 3


def test_the_chart_is_svg_and_the_same_each_time():
    outcome = simulate([asked(number * 3600, 10**7) for number in range(100)], Policy())
    drawn = as_chart(outcome, Policy())
    assert drawn == as_chart(outcome, Policy())
    root = ET.fromstring(drawn)
    assert len(root.findall("{*}polyline")) == 2  # the bound is far above
    assert "01 Dec" in drawn
    assert "<&" not in draw("<&", [Series("&<", "#000", [(0, 0), (1, 1)])])


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000)), max_size=30))
def test_sums_end_at_the_total(events):
    points = accumulated(events, 0.0, 100.0)
    assert points[0] == (0.0, 0)
    assert points[-1][1] == sum(amount for _, amount in events)
    assert points == sorted(points)


def test_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path))
    run = lambda *arguments: CliRunner().invoke(command, [*map(str, arguments)])  # noqa: E731
    log, rates = tmp_path / "log", tmp_path / "rates.toml"
    log.write_text(f"{json.dumps(OURS)}\n{COMMON}\nnoise\n")
    rates.write_text(
        "[cost]\nper_month = 50\nper_gb = 0.12\n[shared]\nbytes = { per_second = 1e6, burst = 1e9 }"
    )
    monkeypatch.setenv("DERMZOO_THROTTLE_FILE", str(rates))
    assert "That is more than the 50 USD a month" in run().output
    told = json.loads(run("--json").output)
    assert told["worst_month"]["cost"] > 50
    assert told["shared"]["follows_from_cost"] is False
    rates.write_text("[cost]\nper_month = 50\nper_gb = 0.12")
    assert json.loads(run("--json").output)["shared"]["follows_from_cost"] is True
    printed = run("simulate", "--trace", log, "--svg", tmp_path / "x.svg", "--csv", tmp_path / "x.csv").output
    assert "1 lines are no requests" in printed
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    assert (tmp_path / "x.csv").read_text().splitlines()[1].startswith("ip:192.0.2.1,2,650,650,0")
    assert json.loads(run("simulate", "--trace", log, "--json").output)["total"]["requests"] == 2
    log.write_text("noise")
    assert run("simulate", "--trace", log).exit_code == 1
