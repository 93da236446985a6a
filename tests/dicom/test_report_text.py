"""Structured reports as pages and plain text: whole, in order, and harmless (PS3.18 8.7.4)."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from app.dicom.report_text import report_text
from app.dicom.report_tree import MOST_DEPTH, MOST_ITEMS, lines
from app.errors import NotConvertible
from tests.dicom.pixel_tasks import stored
from tests.dicom.states import item
from tests.factories import make_instance, write_instance

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom" / "valid"
REPORTS = ["test-SR", "sample-sr", "reportsi", "sr_document"]
XHTML = "{http://www.w3.org/1999/xhtml}"


def concept(meaning):
    return [item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=meaning)]


def content(kind, name, **values):
    return item(RelationshipType="CONTAINS", ValueType=kind, ConceptNameCodeSequence=concept(name), **values)


def write_report(path, *items, title="Finding"):
    report = make_instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", Modality="SR")
    for keyword in (
        "PixelData",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "SamplesPerPixel",
    ):
        delattr(report, keyword)
    report.ConceptNameCodeSequence = concept(title)
    report.ValueType = "CONTAINER"
    report.ContentSequence = list(items)
    return write_instance(path, report)


def plain(path):
    return report_text(stored(path), "text/plain").decode()


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("media_type", ["text/html", "text/xml"])
def test_a_page_is_well_formed_and_holds_every_value(name, media_type):
    """PS3.18 8.7.4 (checklist 44): html is the default of texts, plain and xml there must be."""
    path = SPECIMENS / f"{name}.dcm"
    page = ET.fromstring(report_text(stored(path), media_type))  # it may not be read as XML unless it is
    text = " ".join("".join(page.itertext()).split())
    expected = [str(value) for value in values_of(dcmread(path))]
    assert expected
    for value in expected:
        assert " ".join(value.split()) in text


def values_of(report):
    for one in report.get("ContentSequence") or []:
        if one.get("ValueType") == "TEXT":
            yield one.TextValue
        if one.get("ValueType") == "CODE":
            yield one.ConceptCodeSequence[0].CodeMeaning
        yield from values_of(one)


def test_plain_text_shows_the_tree(tmp_path):
    unit = [item(CodeValue="mm", CodingSchemeDesignator="UCUM", CodeMeaning="millimetre")]
    measured = [item(NumericValue="4.5", MeasurementUnitsCodeSequence=unit)]
    referenced = [item(ReferencedSOPInstanceUID="1.2.3", ReferencedFrameNumber=2)]
    children = [
        content("NUM", "Diameter", MeasuredValueSequence=measured),
        content("CODE", "Diagnosis", ConceptCodeSequence=concept("Nevus")),
        content("DATE", "Seen on", Date="20200102"),
        content("PNAME", "By", PersonName="Doe^Jane"),
        content("IMAGE", "Picture", ReferencedSOPSequence=referenced),
        content("SCOORD", "Outline", GraphicType="POINT", GraphicData=[1.0, 2.5]),
    ]
    inner = content("CONTAINER", "Lesion", ContentSequence=children)
    text = plain(
        write_report(tmp_path / "in.dcm", inner, content("TEXT", "Note", TextValue="flat\r\nand round"))
    )
    assert text.splitlines()[0] == "Finding"
    assert text[text.index("Lesion") :].splitlines() == [
        "Lesion",
        "  Diameter: 4.5 mm",
        "  Diagnosis: Nevus",
        "  Seen on: 20200102",
        "  By: Doe^Jane",
        "  Picture: image 1.2.3, frame 2",
        "  Outline: POINT 1, 2.5",
        "Note: flat",
        "  and round",
    ]


ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]><x/>",
    "&lt;&#x3C;",
    "</ul></li></body>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_a_report_becomes_markup(attack, tmp_path):
    """PS3.18 8.7.4 (checklist 44): a report comes from a stranger."""
    path = write_report(tmp_path / "in.dcm", content("TEXT", attack, TextValue=attack), title=attack[:60])
    page = ET.fromstring(report_text(stored(path), "text/html"))
    tags = {element.tag.removeprefix(XHTML) for element in page.iter()}
    assert tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "dl",
        "dt",
        "dd",
        "ul",
        "li",
        "b",
        "span",
    }
    assert attack in "".join(page.itertext())


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=40)
def test_any_text_makes_a_page(tmp_path_factory, text):
    path = write_report(tmp_path_factory.getbasetemp() / "any.dcm", content("TEXT", "x", TextValue=text))
    page = ET.fromstring(report_text(stored(path), "text/xml"))
    shown = "".join(page.itertext())
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", shown)


def test_a_report_without_end_is_refused():
    deep = content("TEXT", "last", TextValue="x")
    for _ in range(MOST_DEPTH + 1):
        deep = content("CONTAINER", "in", ContentSequence=[deep])
    with pytest.raises(NotConvertible, match="deep"):
        list(lines(item(ContentSequence=[deep])))
    many = [content("TEXT", "one", TextValue="x")] * (MOST_ITEMS + 1)
    with pytest.raises(NotConvertible, match="more than"):
        list(lines(item(ContentSequence=many)))


def test_a_report_without_content_is_a_page_too(tmp_path):
    page = ET.fromstring(report_text(stored(write_report(tmp_path / "in.dcm")), "text/html"))
    assert page.find(f".//{XHTML}h1").text == "Finding"
