"""Searching, for QIDO-RS and C-FIND alike."""

from dataclasses import replace

from app.archive.archive import Archive
from app.catalog.search import Page, search
from app.dicom.matching import Query


def search_archive(archive: Archive, query: Query) -> Page:
    """Return one page of results.

    A query below a named study or series may return all of it; any other is clamped to the server's limit,
    and the page says how many results remain.
    """
    most = archive.settings.search_limit
    if query.study_instance_uid is None and (query.limit is None or query.limit > most):
        query = replace(query, limit=most)
    with archive.catalog.read() as connection:
        return search(connection, query, archive.pages)
