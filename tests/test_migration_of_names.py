"""Schema 0003 fills the words of names for the studies that are held already."""

from sqlalchemy import insert, select

from app.catalog.database import Catalog
from app.catalog.documents import dump
from app.catalog.migrate import migrate
from app.catalog.models import name_term, study
from tests.factories import uid


def test_the_words_of_held_names_are_filled_in(database_url: str) -> None:
    catalog = Catalog(database_url)
    migrate(catalog, "0002")
    attributes = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Anna", "Phonetic": "Miula"}]}}
    with catalog.engine.begin() as connection:
        connection.execute(
            insert(study).values(
                id=7, study_instance_uid=str(uid("A")), answer=b"{}", attributes=dump(attributes)
            )
        )
    migrate(catalog)
    with catalog.read() as connection:
        held = connection.execute(select(name_term)).all()
    assert {row.term for row in held} == {"muller", "anna", "miula", "~MLR", "~AN", "~ML"}
    assert {(row.attribute, row.study_id) for row in held} == {(0x00100010, 7)}
    with catalog.write() as connection:
        connection.execute(study.delete())
    with catalog.read() as connection:
        assert connection.execute(select(name_term)).all() == []
    catalog.close()
