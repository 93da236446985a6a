"""AE titles of ours, and what an upstream's answers become on the DICOM network."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from app.archive.archive import Archive
from app.dicom.matching import Level, Query, parse_match
from app.dimse.errors import Cancelled
from app.dimse.titles import make_titles, require_distinct
from app.dimse.upstreams import UpstreamSource, upstream_titles
from app.errors import NotFound, SettingsError
from app.proxy.errors import UpstreamUnavailable
from app.proxy.event_loop import EventLoop
from app.settings import Settings
from app.throttle.limits import RouteRefused
from app.throttle.verdicts import Refusal

ROW = {"0020000D": {"vr": "UI", "Value": ["1.2"]}}


def with_step(*steps: str) -> dict[str, object]:
    """A result with Request Attributes Sequence, an item for each step."""
    items = [{"00400009": {"vr": "SH", "Value": [step]}} for step in steps]
    return {**ROW, "00400275": {"vr": "SQ", "Value": items}}


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    with closing(EventLoop("test")) as running:
        yield running


def source(loop: EventLoop, *rows: dict[str, object], error: Exception | None = None) -> UpstreamSource:
    """An upstream that answers every search with these rows, or with an error."""

    async def get(asked: object, **_: object) -> object:
        if error is not None:
            raise error

        async def pieces() -> object:
            yield orjson.dumps(rows)

        return SimpleNamespace(head=SimpleNamespace(headers={}), pieces=pieces, close=lambda: None)

    service = SimpleNamespace(upstream=SimpleNamespace(name="other"), get=get)
    return UpstreamSource(None, service, loop)  # type: ignore[arg-type]


def found(upstream: UpstreamSource, query: Query) -> list[dict[str, object]]:
    return list(upstream.search(query, lambda: False))


STEP = Query(Level.SERIES, (("00400275.00400009", parse_match("00400275.00400009", "B")),))


def test_keys_within_a_sequence_are_matched_where_it_is_returned(loop: EventLoop) -> None:
    """PS3.4 C.2.2.2.6: the server may have passed over them."""
    both, other = with_step("A", "B"), with_step("A", "C")
    assert found(source(loop, both, other, ROW), STEP) == [both, ROW]


def test_a_result_says_what_it_was_looked_for_in(loop: EventLoop) -> None:
    """PS3.18 10.6.3.3 leaves it out; C-FIND answers have it (PS3.4 C.4.1.1.3.2)."""
    series = {"0020000E": {"vr": "UI", "Value": ["1.3"]}}
    query = Query(Level.INSTANCE, study_instance_uid="1.2", series_instance_uid="9")
    assert found(source(loop, series), query) == [{**ROW, **series}]


def test_what_is_not_there_is_not_found(loop: EventLoop) -> None:
    assert found(source(loop, error=NotFound("nothing there")), STEP) == []


def test_the_budget_of_the_upstream_is_told_apart(loop: EventLoop) -> None:
    refused = RouteRefused(Refusal((), 7.2, is_shared=True))
    with pytest.raises(UpstreamUnavailable, match="budget of the server 'other'") as raised:
        found(source(loop, error=refused), STEP)
    assert raised.value.after_s == 8


def test_waiting_ends_when_the_caller_cancels(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await loop_forever.wait()

    loop_forever = asyncio.Event()
    upstream = source(loop)
    monkeypatch.setattr(upstream._service, "get", never)
    monkeypatch.setattr("app.proxy.event_loop.LOOK_AROUND_S", 0.01)
    with pytest.raises(Cancelled):
        list(upstream.search(STEP, lambda: True))


def upstreams(folder: Path, *titles: str) -> Settings:
    path = folder / "upstreams.toml"
    path.write_text(
        "\n".join(
            f'[[upstream]]\nname = "u{number}"\nurl = "http://x/rs"\nae_title = "{title}"'
            for number, title in enumerate(titles)
        )
    )
    return Settings(data_dir=folder, upstreams_file=path)


def test_titles_are_read(tmp_path: Path) -> None:
    settings = upstreams(tmp_path, "ONE", "A B-C.D_E 678901")
    assert upstream_titles(settings) == {"u0": "ONE", "u1": "A B-C.D_E 678901"}
    require_distinct(settings, upstream_titles(settings).values())


@pytest.mark.parametrize("title", ["", " X", "X ", "A\\\\B", "12345678901234567", "Ä"])
def test_titles_that_are_none(tmp_path: Path, title: str) -> None:
    """PS3.5 6.2: AE."""
    with pytest.raises(SettingsError, match="ae_title"):
        upstream_titles(upstreams(tmp_path, title))


def test_a_title_stands_for_one_thing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="more than one is called SAME"):
        upstream_titles(upstreams(tmp_path, "SAME", "SAME"))
    settings = upstreams(tmp_path, "DERMZOO")
    with pytest.raises(SettingsError, match="AE title DERMZOO"):
        require_distinct(settings, upstream_titles(settings).values())


def test_any_other_title_is_the_archives_where_any_is_answered(tmp_path: Path) -> None:
    archive: Archive = SimpleNamespace()  # type: ignore[assignment]
    strict = make_titles(Settings(data_dir=tmp_path), archive)
    lenient = make_titles(Settings(data_dir=tmp_path, dimse_check_called_ae_title=False), archive)
    assert strict.called("DERMZOO") is not None
    assert strict.called("ELSE") is None
    assert lenient.called("ELSE") is lenient.called("DERMZOO")
