"""How many images have each diagnosis, sex, site and age: by the metadata, and by what the doors say."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from app.corpus.isic.rows import Row
from app.dicom.private_block import CREATOR, GROUP, PRIVATE_ELEMENTS, TAG_BY_KEYWORD

# The keyword of a fact, and the field of the metadata that it comes from.
FACTS = {
    "DiagnosisAsPublished": "diagnosis",
    "BenignMalignant": "benign_malignant",
    "ISICSex": "sex",
    "AnatomicSiteGeneral": "anatom_site_general",
    "ISICAge": "age_approx",
}
NOT_KNOWN = ""
Counts = dict[str, Counter[str]]

_REMAINING = re.compile(r"There are (\d+) additional results")
_RELATIONAL = b"\x01\x00\x00"


def counts_of_rows(rows: Iterable[Row]) -> Counts:
    """Count what the metadata say."""
    counts: Counts = {keyword: Counter() for keyword in FACTS}
    for row in rows:
        for keyword, name in FACTS.items():
            counts[keyword][row.values.get(name, NOT_KNOWN)] += 1
    return counts


def counts_by_qido(get: Callable[[str], tuple[int, str]], wanted: Counts) -> Counts:
    """Count by searches; `get` answers a path with the number of results and the Warning."""
    counts: Counts = {keyword: Counter() for keyword in FACTS}
    for keyword, values in wanted.items():
        for value in values:
            asked = {keyword: value} if value else {keyword: '""', "emptyvaluematching": "true"}
            results, warning = get(f"/instances?{urlencode({**asked, 'limit': '1'})}")
            more = _REMAINING.search(warning)
            counts[keyword][value] = results + (int(more[1]) if more else 0)
    return counts


def counts_by_find(address: tuple[str, int], ae_title: str) -> Counts:
    """Count by one C-FIND for every instance with its facts as return keys (PS3.4 C.4.1)."""
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.SOPInstanceUID = ""
    block = asked.private_block(GROUP, CREATOR, create=True)
    numbers = {keyword: int(TAG_BY_KEYWORD[keyword][6:], 16) for keyword in FACTS}
    for number in numbers.values():
        block.add_new(number, PRIVATE_ELEMENTS[number].vr, None)
    entity = AE()
    # With explicit VRs, as a peer's dictionary does not know ours.
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian)
    relational = SOPClassExtendedNegotiation()
    relational.sop_class_uid = StudyRootQueryRetrieveInformationModelFind
    relational.service_class_application_information = _RELATIONAL
    association = entity.associate(*address, ae_title=ae_title, ext_neg=[relational])
    counts: Counts = {keyword: Counter() for keyword in FACTS}
    try:
        for status, found in association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind):
            if found is None:
                if status.Status != 0:
                    raise RuntimeError(f"C-FIND ended with {status.Status:04X}")
                continue
            own = found.private_block(GROUP, CREATOR)
            for keyword, number in numbers.items():
                value = own[number].value if number in own else None
                counts[keyword][NOT_KNOWN if value in {None, ""} else str(value)] += 1
    finally:
        association.release()
    return counts


def counts_by_export(path: Path) -> Counts:
    """Count in a CSV that was exported; as published it may say `unknown`."""
    with path.open(encoding="utf-8", newline="") as text:
        rows: Sequence[Mapping[str, str]] = list(csv.DictReader(text))
    return {
        keyword: Counter("" if row[name] == "unknown" else row[name] for row in rows)
        for keyword, name in FACTS.items()
    }
