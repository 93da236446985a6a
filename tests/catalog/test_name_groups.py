"""Component groups of person names (PS3.5 6.2.1.2) matched literally: by both doors, on both databases."""

import pytest

from app.catalog.database import Catalog
from app.catalog.search import PageMemory, search_within
from app.dicom.matching import Level, Query
from app.dimse.find import query_of
from app.dimse.identifiers import Identifier
from app.dimse.negotiation import Extended
from app.web.search_parameters import parse_search
from tests.factories import uid

NAMES = {
    "Y": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "J": "Yamada^Jirou=山田^次郎",
    "I": "=山田^花子",
    "P": "Yamada^Hana==やまだ^はな",
    "A": "Smith^Anna",
}
QUESTIONS = {
    # a key without groups is compared with the first group that there is (checklist 20, 24)
    "Yamada^Tarou": "Y",
    "yamada*": "J P Y",
    "山田^花子": "I",
    "山田*": "I",
    # a key with groups: each that has a value, with that of the name
    "Yamada^Tarou=山田^太郎": "Y",
    "YAMADA^TAROU=山田^太郎=やまだ^たろう": "Y",
    "Yamada^Tarou=山田^次郎": "",
    "Yamada^Tarou=": "Y",
    "=山田^太郎": "Y",
    "=山田^花子": "I",
    "=山田*": "I J Y",
    "=*郎": "J Y",
    "=山田^??": "I J Y",
    "==やまだ*": "P Y",
    "Yamada^*=山田*": "J Y",
    "Yamada^*==やまだ^はな": "P",
    "*=山田^次郎": "J",
    "Smith^Anna=": "A",
    "Smith^Anna=山田": "",
    "Smith*=*": "A",
    "=Yamada^Tarou": "",
    "山田^花子=": "",
    # no group has a value
    "=": "A I J P Y",
    "*=*": "A I J P Y",
}


@pytest.fixture
def holdings(registered, catalog: Catalog) -> Catalog:
    registered(
        *(
            {"name": f"{name}1", "study": name, "series": f"{name}1", "PatientName": full}
            | {"SpecificCharacterSet": "ISO_IR 192", "OperatorsName": full}
            for name, full in NAMES.items()
        )
    )
    return catalog


def found(catalog: Catalog, query: Query) -> str:
    names = {str(uid(name)).encode(): name for name in NAMES}
    with catalog.read() as connection:
        page = search_within(connection, query, PageMemory(), 60)
    return " ".join(sorted(names[uid_of] for one in page.answers for uid_of in names if uid_of in one))


def identifier(keyword: str, tag: str, key: str) -> Identifier:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), key.split("="), strict=False)
    name = {"vr": "PN", "Value": [{group: text for group, text in groups if text}]}
    study = {"vr": "UI"}
    return Identifier("STUDY" if keyword == "PatientName" else "SERIES", {tag: name, "0020000D": study})


def test_each_group_of_the_key_is_compared_with_that_of_the_name(holdings: Catalog) -> None:
    """PS3.4 C.2.2.2.1, C.2.2.2.4 (checklist 20, 24): of what has a column, and of what has none."""
    for level, keyword, tag in (
        (Level.STUDY, "PatientName", "00100010"),
        (Level.SERIES, "OperatorsName", "00081070"),
    ):
        for key, expected in QUESTIONS.items():
            parsed = parse_search([(keyword, key)])
            assert found(holdings, Query(level, parsed.matches)) == expected, (keyword, key)
            if key.rstrip("=") != key:
                continue  # a data set of one group says no more than that group
            assert found(holdings, query_of(identifier(keyword, tag, key), Extended())) == expected, key


def test_groups_and_fuzzy_matching(holdings: Catalog) -> None:
    for key, expected in {
        "yamada tarou=山田": "Y",
        "yamada=山田": "J Y",
        "smith=山田": "",
        "Smyth": "A",
        "=*郎": "J Y",  # with wild cards, literally
        "*da^*=山田^次*": "J",
        "Smith*=山田*": "",
    }.items():
        parsed = parse_search([("PatientName", key), ("fuzzymatching", "true")])
        assert found(holdings, Query(Level.STUDY, parsed.matches)) == expected, key


def test_narrowed_by_the_column_where_the_first_group_has_a_value(
    holdings: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def noting(values: list[int]) -> list[list[int]]:
        looked.extend(values)
        return [values]

    monkeypatch.setattr("app.catalog.scanning.chunks", noting)
    for key, documents in {"Smith^Anna=": 1, "Yamada*=山田*": 3, "=山田*": 5}.items():
        looked.clear()
        found(holdings, Query(Level.STUDY, parse_search([("PatientName", key)]).matches))
        assert len(looked) == documents, key
