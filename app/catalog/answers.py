"""What is answered of a study, a series and an instance; made when something below is registered."""

from collections.abc import Collection, Mapping
from operator import add
from typing import Any

from app.catalog.attributes import ATTRIBUTES, RETURNED
from app.catalog.documents import ROOT_TEXT, Attributes
from app.dicom.matching import Level

MODALITIES_IN_STUDY = "00080061"
RETRIEVE_URL = "00081190"
STUDY_INSTANCE_UID = "0020000D"
SERIES_INSTANCE_UID = "0020000E"
INSTANCES_BELOW = {Level.STUDY: "00201208", Level.SERIES: "00201209"}  # the tags of their counts

_ALWAYS = {
    level: {a.tag: {"vr": a.vr} for a in ATTRIBUTES if a.level == level and a.returned == "always"}
    for level in Level
}
_INSTANCE = tuple(
    (a.column, a.tag, a.vr)
    for a in ATTRIBUTES
    if a.level == Level.INSTANCE and a.returned and a.source == "column"
)


def retrieve_url(*uids: str) -> dict[str, Any]:
    """Return Retrieve URL (0008,1190) of a study, series or instance, below the service root."""
    path = "".join(map(add, ("/studies/", "/series/", "/instances/"), uids))
    return {"vr": "UR", "Value": [ROOT_TEXT + path]}


def study_attributes(
    known: Attributes, modalities: Collection[str], series: int, instances: int
) -> Attributes:
    """Return all that is known of a study; `known` is what its instances say."""
    return (
        _ALWAYS[Level.STUDY]
        | known
        | {
            MODALITIES_IN_STUDY: {"vr": "CS", "Value": sorted(modalities)} if modalities else {"vr": "CS"},
            RETRIEVE_URL: retrieve_url(known[STUDY_INSTANCE_UID]["Value"][0]),
            "00201206": {"vr": "IS", "Value": [series]},
            INSTANCES_BELOW[Level.STUDY]: {"vr": "IS", "Value": [instances]},
        }
    )


def series_attributes(known: Attributes, study_instance_uid: str, instances: int) -> Attributes:
    """Return all that is known of a series; the UID of its study is always there, viewers need it."""
    return (
        _ALWAYS[Level.SERIES]
        | known
        | {
            RETRIEVE_URL: retrieve_url(study_instance_uid, known[SERIES_INSTANCE_UID]["Value"][0]),
            STUDY_INSTANCE_UID: {"vr": "UI", "Value": [study_instance_uid]},
            INSTANCES_BELOW[Level.SERIES]: {"vr": "IS", "Value": [instances]},
        }
    )


def instance_attributes(
    row: Mapping[str, Any], study_instance_uid: str, series_instance_uid: str
) -> Attributes:
    """Return the required attributes of an instance from the columns of its row."""
    answer: Attributes = {
        tag: {"vr": vr, "Value": [row[column]]} for column, tag, vr in _INSTANCE if row[column] is not None
    }
    answer.setdefault("00200013", {"vr": "IS"})
    answer[RETRIEVE_URL] = retrieve_url(study_instance_uid, series_instance_uid, row["sop_instance_uid"])
    answer[STUDY_INSTANCE_UID] = {"vr": "UI", "Value": [study_instance_uid]}
    answer[SERIES_INSTANCE_UID] = {"vr": "UI", "Value": [series_instance_uid]}
    return answer


def required(level: Level, attributes: Attributes) -> Attributes:
    """Return what every answer at a level holds."""
    wanted = RETURNED[level] | {RETRIEVE_URL, STUDY_INSTANCE_UID}
    return {tag: attribute for tag, attribute in attributes.items() if tag in wanted}
