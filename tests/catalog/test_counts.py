"""A study or series that has more instances: its answers are what they would be if they were made anew."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from app.catalog.counts import more_instances, series_values, study_values
from app.dicom.matching import Level

COUNTS = st.integers(1, 2000)
TEXTS = st.text() | st.just('"00201208":{"vr":"IS","Value":[7]}')


@given(COUNTS, COUNTS, TEXTS)
def test_a_study_as_if_made_anew(before, more, text):
    known = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00081030": {"vr": "LO", "Value": [text]}}
    row = SimpleNamespace(**study_values(known, ["XC"], 1, before))
    wanted = study_values(known, ["XC"], 1, before + more)
    assert {"number_of_series": 1, **more_instances(Level.STUDY, row, more)} == wanted


@given(COUNTS, COUNTS, TEXTS)
def test_a_series_as_if_made_anew(before, more, text):
    known = {"0020000E": {"vr": "UI", "Value": ["1.2.3"]}, "0008103E": {"vr": "LO", "Value": [text]}}
    row = SimpleNamespace(**series_values(known, "1.2", before))
    assert more_instances(Level.SERIES, row, more) == series_values(known, "1.2", before + more)


def test_where_an_item_has_the_same_count_it_is_made_anew():
    item = {"00201208": {"vr": "IS", "Value": [7]}}
    known = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00081110": {"vr": "SQ", "Value": [item]}}
    row = SimpleNamespace(**study_values(known, ["XC"], 1, 7))
    assert more_instances(Level.STUDY, row, 1) is None
