"""Following the archive: its API with cursors, and its Parquet snapshot."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from app.archive.archive import Archive
from app.corpus.isic import refreshing
from app.corpus.isic.fetching import Patience
from app.corpus.isic.joining import Fate
from app.corpus.isic.refreshing import RefreshReport, refresh
from app.errors import NotImportable
from app.settings import Settings
from tests.cli.test_metadata_apply import ROWS, World, table, uids, value
from tests.corpus.archive_api import ArchiveServer, image_object, running_archive
from tests.factories import uid

FIRST, SECOND = "ISIC_0000001", "ISIC_0000002"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


@pytest.fixture
def isic() -> Iterator[ArchiveServer]:
    with running_archive() as server:
        server.images = [image_object(f"ISIC_{number:07}", age_approx=45) for number in range(5)]
        yield server


class Waits(list[float]):
    @property
    def patience(self) -> Patience:
        return Patience(attempts=4, wait=self.append, jitter=lambda: 1.0)


def follow(source: object, *, waits: Waits | None = None, **options: Any) -> RefreshReport:
    archive = Archive.open(Settings())
    try:
        return refresh(
            archive, str(source), patience=(Waits() if waits is None else waits).patience, **options
        )
    finally:
        archive.close()


def snapshot(path: Path, rows: list[dict[str, object]], *, group: int = 2) -> Path:
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def listed(numbers: range, **cells: object) -> list[dict[str, object]]:
    return [
        {"isic_id": f"ISIC_{n:07}", "copyright_license": "CC-0", "attribution": "A", "sex": "male", **cells}
        for n in numbers
    ]


def test_facts_of_what_is_held_are_added_by_the_api(world, isic):
    report = json.loads(world.run("refresh", isic.url, "--json").stdout)
    assert (report["added"], report["updated"], report["matched_nothing"]) == (2, 0, 3)
    assert report["withdrawn"] == []
    assert all(path.startswith("/api/v2/images/?") for path in isic.asked)
    (one,) = world.found(ISICID=FIRST)
    assert value(one, "ISICAge") == [45]
    assert value(one, "Attribution") == ["The cohort"]
    assert json.loads(value(one, "MetadataAsPublished")[0])["pixels_x"] == "24"
    assert set(world.images()) == {FIRST, SECOND}  # of what is not held nothing is kept
    isic.images[1]["metadata"]["clinical"]["age_approx"] = 50
    report = json.loads(world.run("refresh", isic.url, "--json").stdout)
    assert (report["added"], report["updated"], report["already_so"]) == (0, 1, 1)


def test_the_attribution_of_a_cohort_gives_way_to_the_images_own(world, isic):
    text = table(f"{FIRST},Hospital,CC-0", header="isic_id,attribution,copyright_license")
    world.apply(text)
    follow(isic.url)
    (one,) = world.found(ISICID=FIRST)
    assert value(one, "Attribution") == ["Hospital"]
    assert value(one, "LicenseID") == ["CC-BY"]


def test_what_is_withdrawn_is_hidden_and_comes_back(world, isic, tmp_path):
    path = tmp_path / "snapshot.parquet"
    follow(snapshot(path, listed(range(40))))
    assert len(world.found(ISICSex="male")) == 2
    rows = [row for row in listed(range(40)) if row["isic_id"] != FIRST]
    text = world.run("refresh", str(snapshot(path, rows)), "--allow-shrink").stdout
    assert f"withdrawn {FIRST}: it is no longer there; hidden\n" in text
    assert text.endswith("1 already so, 38 not held, 0 not public, 1 withdrawn, 0 invalid\n")
    assert uids(world.found()) == {uid(SECOND)}
    gone = world.images()[FIRST]
    assert gone.is_public == 0
    assert b"male" not in gone.known + gone.published
    back = follow(snapshot(path, listed(range(40))))
    assert back.joined.counts[Fate.MATCHED] == 1
    assert uids(world.found(ISICSex="male")) == {uid(FIRST), uid(SECOND)}


def test_an_image_that_is_private_now_is_hidden_and_its_label_is_not_kept(world, isic):
    follow(isic.url)
    isic.images[1] = image_object(FIRST, public=False, diagnosis_1="Malignant")
    report = follow(isic.url, allow_shrink=True)
    assert report.joined.counts[Fate.NOT_PUBLIC] == 1
    assert uids(world.found()) == {uid(SECOND)}


def test_a_source_that_was_cut_withdraws_nothing(world, tmp_path):
    path = tmp_path / "snapshot.parquet"
    follow(snapshot(path, listed(range(40))))
    with pytest.raises(NotImportable, match=r"2 images where there were 40.*--allow-shrink"):
        follow(snapshot(path, listed(range(1, 3))))
    with pytest.raises(NotImportable, match="--allow-shrink"):  # as many rows, but not those that are held
        follow(snapshot(path, listed(range(10, 50))))
    assert len(world.found(ISICSex="male")) == 2
    assert len(follow(path, allow_shrink=True).withdrawn) == 2
    assert world.found() == []


def test_what_is_no_longer_known_goes(world, isic, tmp_path):
    path = tmp_path / "snapshot.parquet"
    follow(snapshot(path, listed(range(3), fitzpatrick_skin_type="II")))
    rows = listed(range(3), fitzpatrick_skin_type="II")
    rows[1] = {**rows[1], "fitzpatrick_skin_type": None}
    report = follow(snapshot(path, rows))
    assert (report.joined.counts[Fate.MATCHED], report.joined.counts[Fate.ALREADY_SO]) == (1, 1)
    assert uids(world.found(FitzpatrickSkinType="II")) == {uid(SECOND)}
    follow(isic.url)
    assert world.found(FitzpatrickSkinType="II") == []


def test_an_image_stays_the_archives_when_a_csv_is_joined_to_it(world, tmp_path):
    path = snapshot(tmp_path / "snapshot.parquet", listed(range(3)))
    follow(path)
    world.apply(table(*ROWS))
    assert {one.source for one in world.images().values()} == {f"refresh: {path}"}


@contextmanager
def interrupted(at: int) -> Iterator[None]:
    """A run that is ended by hand as it is to join its batch of this number."""
    real = refreshing.Joiner.join
    batches = iter(range(1, at))

    def join(self: Any, rows: Any) -> Any:
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return real(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refreshing.Joiner, "join", join)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_run_that_was_cut_goes_on_after_its_last_page(world, isic):
    isic.page_images = 1
    waits = Waits()
    with interrupted(3):
        follow(isic.url, waits=waits)
    assert len(world.found(ISICAge="45")) == 1
    before = len(isic.asked)
    report = follow(isic.url, waits=waits)
    assert report.went_on
    assert len(isic.asked) - before == 3  # of five pages: no count is asked for, none is read again
    assert report.withdrawn == []
    assert len(world.found(ISICAge="45")) == 2
    assert not follow(isic.url).went_on


def test_a_snapshot_goes_on_at_its_group_unless_it_is_another(world, tmp_path):
    path = snapshot(tmp_path / "snapshot.parquet", listed(range(6)))
    with interrupted(2):
        follow(path)
    report = follow(path)
    assert report.went_on
    assert report.joined.counts.total() == 4
    assert report.withdrawn == []
    assert not follow(path).went_on


def test_it_waits_as_it_is_told_and_longer_each_time(world, isic):
    isic.failures = [503, 429, "cut"]
    waits = Waits()
    assert follow(isic.url, waits=waits).joined.counts[Fate.MATCHED] == 2
    assert waits == [1.0, 3.0, 4.0]


def test_it_gives_up_with_what_to_do(world, isic):
    isic.failures = [500] * 4
    with pytest.raises(NotImportable, match=r"status 500.*run the same command again"):
        follow(isic.url)
    isic.failures = [403]
    with pytest.raises(NotImportable, match="status 403"):
        follow(isic.url)


def test_a_snapshot_is_downloaded_and_goes_on_where_it_was_cut(world, isic, tmp_path):
    isic.file = snapshot(tmp_path / "x.parquet", listed(range(6))).read_bytes()
    isic.failures = ["cut"]
    url = isic.url.replace("/api/v2/", "/snapshots/ISIC_metadata.parquet")
    waits = Waits()
    assert follow(url, waits=waits).joined.counts[Fate.MATCHED] == 2
    assert waits == [1.0]
    assert [path.suffix for path in (tmp_path / "data" / "refresh").iterdir()].count(".parquet") == 0


@pytest.mark.parametrize("source", ["ftp://example.org/x", "nothing.parquet", "metadata.csv"])
def test_a_source_that_is_none_is_refused(world, tmp_path, source):
    (tmp_path / "metadata.csv").write_text("isic_id\n")
    with pytest.raises(NotImportable):
        follow(source)


def test_a_cursor_that_leads_to_another_host_is_not_followed(world, isic):
    isic.page = lambda _query: {"count": 1, "next": "http://example.org/api/v2/images/", "results": []}
    with pytest.raises(NotImportable, match="another host"):
        follow(isic.url)


def test_what_is_no_page_is_refused_with_what_was_expected(world, isic):
    isic.page = lambda _query: {"detail": "no"}
    with pytest.raises(NotImportable, match="base address of API v2"):
        follow(isic.url)
