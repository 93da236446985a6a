"""The Native DICOM Model (PS3.19 A.1): JSON to XML and back, and what another program makes of a file."""

import base64
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.encoding import is_private, is_private_creator
from app.dicom.json_model import BINARY_VRS, VRS
from app.dicom.scan import ROOT, scan
from app.dicom.xml_model import NAMESPACE, xml_document, xml_pieces
from app.dicom.xml_reader import read_xml

SPECIMENS = sorted((Path(__file__).parents[1] / "data" / "dicom" / "valid").glob("*.dcm"))
IMPOSSIBLE = {*map(chr, range(0x20)), "\ufffe", "\uffff"} - set("\t\n\r")


def scanned(path: Path) -> dict:
    return orjson.loads(scan(path.read_bytes()).document.replace(ROOT, b"http://here"))


def canonical(data_set: dict) -> dict:
    """What the model keeps: private elements by creator, no trailing carets, no impossible characters."""
    found = {}
    for tag, attribute in data_set.items():
        name = tag
        if is_private(tag) and not is_private_creator(tag):
            values = data_set.get(f"{tag[:4]}00{tag[4:6]}", {}).get("Value", [None])
            name = (tag[:4], possible(values[0]), tag[6:]) if isinstance(values[0], str) else tag
        elif is_private_creator(tag) and any(t[:4] == tag[:4] and t[4:6] == tag[6:] for t in data_set):
            continue
        found[name] = {key: content(attribute["vr"], value) for key, value in attribute.items()}
        if found[name].get("Value") == [None]:
            del found[name]["Value"]
    return found


def content(vr: str, value: object) -> object:
    if isinstance(value, str):
        return possible(value)
    if vr == "SQ":
        return [canonical(item) for item in value]
    if vr == "PN":
        names = [{g: possible(n).rstrip("^") for g, n in (name or {}).items()} for name in value]
        return [{g: n for g, n in name.items() if n} or None for name in names]
    return [possible(one) if isinstance(one, str) else one for one in value]


def possible(text: str) -> str:
    return "".join("\ufffd" if letter in IMPOSSIBLE else letter for letter in text)


def as_the_schema_has_it(document: bytes) -> None:
    """PS3.19 A.1.6, walked by hand."""
    root = ET.fromstring(document)
    assert root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
    assert root.attrib == {"{http://www.w3.org/XML/1998/namespace}space": "preserve"}
    of_the_schema(root)


def of_the_schema(data_set: ET.Element) -> None:
    for attribute in data_set:
        assert attribute.tag == f"{{{NAMESPACE}}}DicomAttribute"
        assert set(attribute.attrib) <= {"tag", "vr", "keyword", "privateCreator"}
        assert attribute.attrib["vr"] in VRS
        tag = attribute.attrib["tag"]
        assert len(tag) == 8
        assert tag == tag.upper()
        if "privateCreator" in attribute.attrib:
            assert int(tag[:4], 16) % 2
            assert tag[4:6] == "00"
        names = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in attribute]
        assert len(set(names)) <= 1
        if names and names[0] in {"Value", "Item", "PersonName"}:
            numbers = [child.attrib for child in attribute]
            assert numbers == [{"number": str(number)} for number in range(1, len(names) + 1)]
        else:
            assert names in ([], ["BulkData"], ["InlineBinary"])
        for child, name in zip(attribute, names, strict=True):
            if name == "Item":
                of_the_schema(child)


@pytest.mark.parametrize("path", SPECIMENS, ids=lambda path: path.stem)
def test_json_to_xml_to_json(path: Path) -> None:
    """PS3.18 F.3.1, PS3.19 A.1 (checklist 1)."""
    attributes = scanned(path)
    document = xml_document(attributes)
    as_the_schema_has_it(document)
    assert canonical(read_xml(document)) == canonical(attributes)


@pytest.mark.skipif(not shutil.which("dcm2xml"), reason="no DCMTK")
@pytest.mark.parametrize("name", ["CT_small", "chrRuss", "test-SR", "waveform_ecg", "sm_image", "rtplan"])
def test_another_program_writes_what_we_read(tmp_path: Path, name: str) -> None:
    """DCMTK's Native DICOM Model of a file holds what our scan of it does (checklist 1)."""
    (path,) = [path for path in SPECIMENS if path.stem == name]
    target = tmp_path / "native.xml"
    subprocess.run(["dcm2xml", "-q", "-nat", "+U8", path, target], check=True, timeout=60)
    theirs, ours = read_xml(target.read_bytes()), scanned(path)
    compared = 0
    for tag in set(ours) & set(theirs) - {"00080005"}:
        vr = ours[tag]["vr"]
        if vr == theirs[tag]["vr"] and vr not in BINARY_VRS | {"SQ", "FL"} and "Value" in ours[tag]:
            assert content(vr, theirs[tag].get("Value", [None])) == content(vr, ours[tag]["Value"]), tag
            compared += 1
    assert compared > 20


# Property


def texts(**options: object) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, **options)


VALUES = {
    **dict.fromkeys(("LO", "SH", "CS", "UI", "LT", "UT", "UR", "TM"), texts(max_size=8)),
    **dict.fromkeys(("US", "SS", "UL", "SV", "UV", "IS"), st.integers(-(2**31), 2**31 - 1)),
    **dict.fromkeys(("DS", "FD"), st.floats(allow_nan=False, allow_infinity=False)),
    "AT": st.integers(0, 2**32 - 1).map("{:08X}".format),
    "PN": st.dictionaries(
        st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), texts(max_size=12), min_size=1
    ),
}
MULTIPLE = VALUES.keys() - {"LT", "UT", "UR"}


def valued(vr: str) -> st.SearchStrategy[dict]:
    one = VALUES[vr] | st.none() if vr in MULTIPLE else VALUES[vr]
    lists = st.lists(one, max_size=3 if vr in MULTIPLE else 1)
    return lists.map(
        lambda values: {"vr": vr, "Value": values} if any(v is not None for v in values) else {"vr": vr}
    )


ATTRIBUTES = (
    st.sampled_from(sorted(VALUES)).flatmap(valued)
    | st.binary(min_size=1, max_size=20).map(
        lambda raw: {"vr": "OB", "InlineBinary": base64.b64encode(raw).decode()}
    )
    | st.just({"vr": "OW", "BulkDataURI": "http://here/a?b&c"})
    | st.just({"vr": "OW", "BulkDataURI": "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"})
    | st.sampled_from(sorted(VRS)).map(lambda vr: {"vr": vr})
)
PLAIN_TAGS = (
    st.integers(0x0004, 0x0FFF)
    .map(lambda half: f"{2 * half:04X}")
    .flatmap(lambda group: st.integers(1, 0xFFFF).map(lambda element: f"{group}{element:04X}"))
)


@st.composite
def data_sets(draw: st.DrawFn, deep: int = 2) -> dict:
    found = draw(st.dictionaries(PLAIN_TAGS, ATTRIBUTES, max_size=4))
    for block, creator in enumerate(draw(st.lists(texts(max_size=5), max_size=2, unique_by=possible)), 0x20):
        found[f"000900{block:02X}"] = {"vr": "LO", "Value": [creator]}
        for element, attribute in draw(st.dictionaries(st.integers(0, 255), ATTRIBUTES, max_size=2)).items():
            found[f"0009{block:02X}{element:02X}"] = attribute
    if deep and draw(st.booleans()):
        items = draw(st.lists(data_sets(deep=deep - 1), min_size=1, max_size=2))
        found["00081115"] = {"vr": "SQ", "Value": items}
    return dict(sorted(found.items()))


@given(data_sets())
def test_any_data_set_survives(attributes: dict) -> None:
    document = xml_document(attributes)
    as_the_schema_has_it(document)
    got = read_xml(document)
    assert canonical(got) == canonical(attributes)
    assert list(got) == sorted(got)
    assert xml_document(got) == xml_document(read_xml(xml_document(got)))


# Details


@pytest.mark.parametrize(
    ("tag", "attribute", "xml"),
    [
        ("00100020", {"vr": "LO", "Value": ['a&<>"b']}, '<Value number="1">a&amp;&lt;&gt;&quot;b</Value>'),
        ("00080008", {"vr": "CS", "Value": ["MPG", None, "XR3"]},
         '<Value number="1">MPG</Value><Value number="2"></Value><Value number="3">XR3</Value>'),
        ("00200013", {"vr": "IS", "Value": [1, 2]}, '<Value number="1">1</Value><Value number="2">2</Value>'),
        ("00281050", {"vr": "DS", "Value": [0.5]}, '<Value number="1">0.5</Value>'),
        ("00204000", {"vr": "LT", "Value": ["a\r\nb\x0c\x1b"]},
         '<Value number="1">a&#13;&#10;b\ufffd\ufffd</Value>'),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou^^Dr", "Ideographic": "山田^太郎"}]},
         ('<PersonName number="1"><Alphabetic><FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName>'
         "<NamePrefix>Dr</NamePrefix></Alphabetic><Ideographic><FamilyName>山田</FamilyName>"
         "<GivenName>太郎</GivenName></Ideographic></PersonName>")),
        ("7FE00010", {"vr": "OW", "BulkDataURI": "http://a/?b&c"}, '<BulkData uri="http://a/?b&amp;c"/>'),
        ("00189999", {"vr": "OB", "InlineBinary": "AQI="}, "<InlineBinary>AQI=</InlineBinary>"),
        ("00081115", {"vr": "SQ", "Value": [{}, {"0020000D": {"vr": "UI", "Value": ["1.2"]}}]},
         ('<Item number="1">\n</Item><Item number="2">\n<DicomAttribute tag="0020000D" vr="UI" '
         'keyword="StudyInstanceUID"><Value number="1">1.2</Value></DicomAttribute>\n</Item>')),
        ("00080005", {"vr": "CS"}, ""),
    ],
)  # fmt: skip
def test_each_kind_of_value(tag: str, attribute: dict, xml: str) -> None:
    """PS3.19 A.1.5 (checklist 1)."""
    document = xml_document({tag: attribute}).decode()
    assert f">{xml}</DicomAttribute>" in document
    as_the_schema_has_it(document.encode())


def test_private_elements_are_named_by_their_creator() -> None:
    """PS3.19 A.1.5: the block is not told."""
    attributes = {
        "00090010": {"vr": "LO", "Value": ['ACME "1"']},
        "00091001": {"vr": "SH", "Value": ["a"]},
        "000B1101": {"vr": "UN", "InlineBinary": "AQI="},
    }
    document = xml_document(attributes).decode()
    assert '<DicomAttribute tag="00090001" vr="SH" privateCreator="ACME &quot;1&quot;">' in document
    assert "00090010" not in document
    assert '<DicomAttribute tag="000B1101" vr="UN">' in document  # nobody reserved that block


def test_group_lengths_are_left_out_and_tags_ascend() -> None:
    """PS3.19 A.1.1 (checklist 17)."""
    document = xml_document(
        {"00100020": {"vr": "LO"}, "00080000": {"vr": "UL", "Value": [1]}, "00080005": {"vr": "CS"}}
    )
    assert b"00080000" not in document
    assert document.index(b"00080005") < document.index(b"00100020")


def test_pieces_are_the_document() -> None:
    attributes = scanned(SPECIMENS[0])
    pieces = list(xml_pieces(attributes))
    assert b"".join(pieces) == xml_document(attributes)
    assert len(pieces) > 10
