"""Looking at the pixels of images, once each and in the cage, so that those alike can be found."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from app.archive.archive import Archive
from app.archive.caged import fingerprint
from app.archive.index_batch import DUPLICATE
from app.archive.retrieve import looked_into, retrieve_instance
from app.catalog.fingerprints import Fingerprint, add_fingerprints, stood_back, without_fingerprint
from app.catalog.holdings import Reference
from app.errors import ArchiveError, CagedFailure, NotConvertible

_AT_ONCE = 200

HashOf = Callable[[bytes], bytes]  # the perceptual hash of a small grey picture


def look_at_images(archive: Archive, hash_of: HashOf) -> Iterator[Fingerprint]:
    """Fingerprint every image that has none; each comes after the commit that keeps it.

    What ends in the middle goes on where it was when it is run again.
    """
    workers = archive.settings.caged_processes
    after = 0
    with ThreadPoolExecutor(workers) as threads:
        while page := _page(archive, after):
            after = page[-1][0]
            looked = threads.map(lambda each: _look(archive, each[1], hash_of), page)
            while some := list(islice(looked, 20)):
                found = [one for one in some if one is not None]
                with archive.catalog.write() as connection:
                    add_fingerprints(connection, found)
                yield from found


def same_files(archive: Archive) -> list[tuple[str, str]]:
    """Return the indexed files that are copies of one that is held, with its SOP Instance UID."""
    with archive.catalog.read() as connection:
        return stood_back(connection, DUPLICATE)


def _page(archive: Archive, after: int) -> list[tuple[int, Reference]]:
    with archive.catalog.read() as connection:
        return without_fingerprint(connection, after, _AT_ONCE)


def _look(archive: Archive, reference: Reference, hash_of: HashOf) -> Fingerprint | None:
    """Return the fingerprint of an image; None for what went away or may succeed another day."""
    try:
        held = retrieve_instance(archive, reference)
    except ArchiveError:
        return None
    try:
        pixels_sha256, small = archive.cage.run(fingerprint, looked_into(archive, held))
    except (NotConvertible, CagedFailure) as error:
        return Fingerprint(held.sha256, None, None, str(error))
    except ArchiveError:
        return None
    return Fingerprint(held.sha256, pixels_sha256, hash_of(small))
