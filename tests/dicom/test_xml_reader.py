"""Native DICOM Model documents from strangers: what other programs write, and what nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom import xml_reader
from app.dicom.xml_model import NAMESPACE, xml_document
from app.dicom.xml_reader import read_xml
from app.errors import Unreadable


def model(content: str, declaration: str = "") -> bytes:
    return f'{declaration}<NativeDicomModel xml:space="preserve">{content}</NativeDicomModel>'.encode()


def attribute(content: str, tag: str = "00100020", vr: str = "LO") -> bytes:
    return model(f'<DicomAttribute tag="{tag}" vr="{vr}">{content}</DicomAttribute>')


@pytest.mark.parametrize(
    ("document", "attributes"),
    [
        (model(""), {}),
        (f'<n:NativeDicomModel xmlns:n="{NAMESPACE}"/>'.encode(), {}),
        (attribute(""), {"00100020": {"vr": "LO"}}),
        (attribute('<Value number="1"></Value>'), {"00100020": {"vr": "LO"}}),
        (
            attribute('<Value number="2">b</Value> \n <Value number="1"> a </Value>'),
            {"00100020": {"vr": "LO", "Value": [" a ", "b"]}},
        ),
        (attribute('<Value number="1"> 1.50 </Value>', vr="DS"), {"00100020": {"vr": "DS", "Value": [1.5]}}),
        (attribute('<Value number="1">1,5</Value>', vr="DS"), {"00100020": {"vr": "DS", "Value": ["1,5"]}}),
        (
            attribute('<Value number="1">1e999</Value>', vr="DS"),
            {"00100020": {"vr": "DS", "Value": ["1e999"]}},
        ),
        (attribute('<Value number="1">NaN</Value>', vr="FD"), {"00100020": {"vr": "FD", "Value": ["NaN"]}}),
        (
            attribute('<Value number="1">2147483648</Value>', vr="IS"),
            {"00100020": {"vr": "IS", "Value": ["2147483648"]}},
        ),
        (
            attribute('<Value number="1">7fe00010</Value>', vr="AT"),
            {"00100020": {"vr": "AT", "Value": ["7FE00010"]}},
        ),
        (
            attribute("<InlineBinary>\nAQ I=\n</InlineBinary>", vr="OB"),
            {"00100020": {"vr": "OB", "InlineBinary": "AQI="}},
        ),
        (attribute("<InlineBinary></InlineBinary>", vr="OB"), {"00100020": {"vr": "OB"}}),
        (
            attribute('<BulkData uuid="f81d4fae"></BulkData>', vr="UT"),
            {"00100020": {"vr": "UT", "BulkDataURI": "urn:uuid:f81d4fae"}},
        ),
        (attribute("<Item number='1'></Item>", vr="SQ"), {"00100020": {"vr": "SQ", "Value": [{}]}}),
        (
            attribute(
                '<PersonName number="2"><Alphabetic><GivenName>Bob</GivenName></Alphabetic></PersonName>'
                '<PersonName number="1"></PersonName>',
                vr="PN",
            ),
            {"00100020": {"vr": "PN", "Value": [None, {"Alphabetic": "^Bob"}]}},
        ),
        (model('<DicomAttribute tag="0020000d"/>'), {"0020000D": {"vr": "UI"}}),
        (
            model('<DicomAttribute tag="00080000" vr="UL"/><DicomAttribute tag="00080005" vr="CS"/>'),
            {"00080005": {"vr": "CS"}},
        ),
    ],
)
def test_what_is_well_formed_is_read(document: bytes, attributes: dict) -> None:
    assert read_xml(document) == attributes


def test_private_elements_get_blocks() -> None:
    """PS3.5 7.8.1: those that are reserved, else the first free; two of a kind go into two blocks."""
    declared = '<DicomAttribute tag="00090020" vr="LO"><Value number="1">A</Value></DicomAttribute>'
    unreserved = '<DicomAttribute tag="00091001" vr="LO"/>'
    elements = "".join(
        f'<DicomAttribute tag="000900{element}" vr="LO" privateCreator="{creator}"/>'
        for element, creator in (("01", "A"), ("01", "B"), ("01", "A"), ("00", "B"))
    )
    assert list(read_xml(model(declared + unreserved + elements))) == [
        *("00090011", "00090012", "00090020"),
        *("00091001", "00091100", "00091101", "00091201", "00092001"),
    ]


def test_any_encoding_that_says_its_name_is_read() -> None:
    """PS3.18 8.8 (checklist 13): the Content-Type's charset goes before what the document says."""
    text = attribute('<Value number="1">Ä</Value>').decode()
    expected = {"00100020": {"vr": "LO", "Value": ["Ä"]}}
    assert read_xml(('<?xml version="1.0" encoding="ISO-8859-1"?>' + text).encode("latin-1")) == expected
    assert read_xml(text.encode("utf-16")) == expected
    assert read_xml(text.encode("latin-1"), "iso-8859-1") == expected
    with pytest.raises(Unreadable, match="encoding"):
        read_xml(text.encode(), "no-such-charset")


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "no element found"),
        (b"\xff\xfe\x00", "line 1"),
        (model("", BOMB), "DOCTYPE is not taken"),
        (model("", '<!DOCTYPE a SYSTEM "file:///etc/passwd">'), "DOCTYPE is not taken"),
        (attribute('<Value number="1">&b;</Value>'), "undefined entity"),
        (b"<html/>", "<html> has no place there"),
        (b'<NativeDicomModel xmlns="http://other"/>', "has no place"),
        (model("text"), "text has no place in <NativeDicomModel>"),
        (model("<Value/>"), "<Value> has no place in <NativeDicomModel>"),
        (model('<DicomAttribute vr="LO"/>'), "eight hexadecimal digits"),
        (model('<DicomAttribute tag="0010002" vr="LO"/>'), "eight hexadecimal digits"),
        (attribute("", vr="XX"), "no such Value Representation"),
        (model('<DicomAttribute tag="00100020" vr="LO"/>' * 2), "(0010,0020) is there twice"),
        (attribute("<Value>1</Value>"), "numbered from 1"),
        (attribute('<Value number="0">1</Value>'), "numbered from 1"),
        (attribute('<Value number="1">1</Value><Value number="1">1</Value>'), "each once"),
        (attribute('<Value number="999999999">1</Value>'), "leaves out numbers"),
        (attribute('<Item number="1"/>'), "<Item> is no content of an attribute with VR LO"),
        (attribute('<Value number="1">1</Value>', vr="SQ"), "VR SQ"),
        (attribute('<Value number="1">1</Value>', vr="OB"), "VR OB"),
        (attribute('<BulkData uri="a"/>', vr="CS"), "VR CS"),
        (attribute("<BulkData/>", vr="OB"), "neither a uri nor a uuid"),
        (attribute("<InlineBinary>A</InlineBinary>", vr="OB"), "not base64"),
        (attribute('<InlineBinary>AQI=</InlineBinary><BulkData uri="a"/>', vr="OB"), "or bulk data"),
        (attribute('<Value number="1">1</Value><BulkData uri="a"/>', vr="DS"), "or bulk data"),
        (
            attribute('<PersonName number="1"><Other/></PersonName>', vr="PN"),
            "<Other> has no place in <PersonName>",
        ),
        (model('<DicomAttribute tag="00090001" vr="LO" privateCreator="A"/>' * 241), "no block left"),
    ],
)
def test_what_is_not_taken_says_why(document: bytes, says: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_xml(document)
    assert says in str(caught.value)


def test_depth_and_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = {"00081115": {"vr": "SQ"}}
    for _ in range(xml_reader.DEPTH):
        nested = {"00081115": {"vr": "SQ", "Value": [nested]}}
    assert read_xml(xml_document(nested)) == nested
    with pytest.raises(Unreadable, match="deeper"):
        read_xml(xml_document({"00081115": {"vr": "SQ", "Value": [nested]}}))
    for name, says in (("ITEMS", "items"), ("ELEMENTS", "attributes"), ("XML_BYTES", "larger")):
        with monkeypatch.context() as changed:
            changed.setattr(xml_reader, name, 20 if name != "XML_BYTES" else 100)
            with pytest.raises(Unreadable, match=says):
                read_xml(xml_document(nested))


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "<NativeDicomModel>",
                "</NativeDicomModel>",
                '<DicomAttribute tag="00100010" vr="PN">',
                "</DicomAttribute>",
                '<Item number="1">',
                "</Item>",
                '<Value number="1">',
                "</Value>",
                "&#1;",
                "<!DOCTYPE x>",
                "<![CDATA[",
                "]]>",
                '<PersonName number="1">',
                "</PersonName>",
                "<Alphabetic>",
                "<FamilyName/>",
                "</Alphabetic>",
                "<?x?>",
            ]
        ),
        max_size=12,
    ).map(lambda parts: "".join(parts).encode())
)
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    try:
        attributes = read_xml(document)
    except Unreadable:
        return
    assert read_xml(xml_document(attributes)) == attributes
