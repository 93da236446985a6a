"""Everything that PS3.18 asks of an origin server has a test that cites it by its number."""

from tools.docs.checklist import ITEMS, citations, cited


def test_each_number_is_cited_by_a_test() -> None:
    assert [number for number, _, _ in ITEMS] == list(range(1, 62))
    tests = citations()
    assert [f"{number}: {text}" for number, _, text in ITEMS if not tests[number]] == []


def test_no_other_number_is_cited() -> None:
    assert citations().keys() == {number for number, _, _ in ITEMS}


def test_what_a_citation_is() -> None:
    assert cited("PS3.18 8.7.3 (check" + "list 3, 5 and 61). Not 7.") == {3, 5, 61}
    assert cited("a list 3") == set()
