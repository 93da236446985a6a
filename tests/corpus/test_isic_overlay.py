"""What is shown beside a file is what the importer would have written into one."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.documents import Attributes, parse, unpack
from app.catalog.entry import entry
from app.corpus.isic.fields import FIELD_BY_COLUMN
from app.corpus.isic.joined import Joined, SetTerms, join, merged_columns
from app.corpus.isic.part10 import write_part10
from app.corpus.isic.rows import Row
from app.dicom.scan import scan
from tools.docs.isic import FULL, LEAST, mapped

TERMS = SetTerms("CC-0", "Example", "example")


def filed(cells: dict[str, str]) -> Attributes:
    """The document of the file that the importer makes of a row."""
    content = write_part10(mapped(cells))
    return parse(unpack(entry(scan(content), len(content), 0, hashlib.sha256(content).digest()).document))


def shown(cells: dict[str, str]) -> Attributes:
    values = {name: FIELD_BY_COLUMN[name].read(cell) for name, cell in cells.items()}
    joined = join(Row(2, values, dict(cells), ()), None, TERMS, "test", "1.2")
    assert isinstance(joined, Joined)
    return joined.shown


@pytest.mark.parametrize("cells", [FULL, {**LEAST, "anatom_site_general": "torso", "lesion_id": "IL_1"}])
def test_every_attribute_that_is_shown_is_the_importers(cells):
    attributes, beside = filed(cells), shown(cells)
    assert {tag: attributes.get(tag) for tag in beside} == beside
    assert {tag for tag in attributes if tag.startswith("0099")} == {
        tag for tag in beside if tag.startswith("0099")
    }


def test_what_a_row_does_not_tell_is_left_to_the_file():
    assert {tag for tag in shown(LEAST) if not tag.startswith("0099")} == {"00204000"}  # Image Comments


columns = st.dictionaries(st.sampled_from(sorted(FIELD_BY_COLUMN)), st.text(max_size=3), max_size=8)


@given(columns, columns)
def test_a_field_is_read_from_the_later_of_two_rows(before, now):
    merged = merged_columns(before, now)
    told = {FIELD_BY_COLUMN[column] for column in now}
    assert {c: merged.get(c, "") for c in now} == now
    assert merged.keys() - now.keys() == {c for c in before if FIELD_BY_COLUMN[c] not in told}
    assert list(merged_columns(merged, now).items()) == list(merged.items())
    assert list(merged_columns(before, before).items()) == list(before.items())
