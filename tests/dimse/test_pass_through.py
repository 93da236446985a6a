"""Any storage SOP class in any transfer syntax is stored and given back byte for byte (PS3.4 B.2, C.4.3)."""

from collections import Counter
from contextlib import ExitStack

import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.dimse.commands import Element, Kind
from app.dimse.negotiation import agree, read_request
from app.dimse.sop_classes import STORAGE, TRANSFER_SYNTAXES
from tests.dimse.conftest import listeners
from tests.dimse.raw_peer import VERIFICATION, RawPeer, association_request
from tests.dimse.stage import GET, identifier
from tests.servers import PROJECT

META = 132
GROUP_LENGTH_BYTES = 12
NAMES = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
CONTEXTS = 128  # of one association
SPECIMENS = sorted((PROJECT / "tests" / "data" / "dicom" / "valid").glob("*.dcm"))


def split(path):
    """What a Part 10 file says of itself, and the bytes of its data set; None if it is not quite one."""
    whole = path.read_bytes()
    if whole[128:META] != b"DICM" or whole[META : META + 4] != b"\x02\x00\x00\x00":
        return None
    start = META + GROUP_LENGTH_BYTES + int.from_bytes(whole[META + 8 : META + GROUP_LENGTH_BYTES], "little")
    return pydicom.dcmread(path, specific_tags=NAMES), whole[start:]


FILES = {path.stem: found for path in SPECIMENS if (found := split(path))}


@pytest.fixture(scope="module")
def archive_for(tmp_path_factory):
    """archive_for(name) is a listener on an archive without another specimen of the same SOP Instance UID."""
    running, taken = [], Counter()
    with ExitStack() as stack:

        def listening(name):
            instance = FILES[name][0].SOPInstanceUID
            number, taken[instance] = taken[instance], taken[instance] + 1
            if number == len(running):
                start = stack.enter_context(listeners(tmp_path_factory.mktemp("through")))
                running.append(start(dimse_private_sop_classes=True))
            return running[number]

        yield listening


@pytest.mark.parametrize("name", FILES)
def test_a_data_set_comes_back_as_it_went(archive_for, name):
    found, data_set = FILES[name]
    sop_class, syntax = str(found.SOPClassUID), str(found.file_meta.TransferSyntaxUID)
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = sop_class, True, True
    with RawPeer(archive_for(name).port) as peer:
        peer.associate((sop_class, [syntax]), GET, extra=[role])
        stored = {
            Element.COMMAND_FIELD: Kind.C_STORE_RQ,
            Element.MESSAGE_ID: 1,
            Element.AFFECTED_SOP_CLASS_UID: sop_class,
            Element.AFFECTED_SOP_INSTANCE_UID: str(found.SOPInstanceUID),
        }
        peer.ask(1, stored, data_set)
        [(command, _)] = peer.answers()
        assert command[Element.STATUS] == 0x0000, command
        wanted = {name: found[name].value for name in NAMES if name != "SOPClassUID"}
        got = {
            Element.COMMAND_FIELD: Kind.C_GET_RQ,
            Element.MESSAGE_ID: 2,
            Element.AFFECTED_SOP_CLASS_UID: GET,
        }
        peer.ask(3, got, identifier("IMAGE", **wanted))
        assert peer.answers()[-1][0][Element.STATUS] == 0x0000
        assert peer.stored == [data_set]


def test_the_specimens_are_of_many_kinds():
    assert len({str(found.file_meta.TransferSyntaxUID) for found, _ in FILES.values()}) >= 12
    assert len({str(found.SOPClassUID) for found, _ in FILES.values()}) >= 12


def results(acceptance):
    """Result and transfer syntax of each presentation context of an A-ASSOCIATE-AC."""
    read = A_ASSOCIATE_AC()
    read.decode(acceptance)
    contexts = read.to_primitive().presentation_context_definition_results_list
    return [(each.result, str(each.transfer_syntax[0])) for each in contexts]


def negotiated(*proposed):
    return results(agree(read_request(association_request(*proposed)[6:]), private_too=False)[1])


def test_every_storage_sop_class_is_accepted_in_every_transfer_syntax():
    uids, syntaxes = sorted(STORAGE), sorted(TRANSFER_SYNTAXES)
    retired = {"1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.1.29"}  # ultrasound of old, hardcopies
    assert retired < STORAGE
    for start in range(0, len(uids), CONTEXTS):
        proposed = [(uid, syntaxes) for uid in uids[start : start + CONTEXTS]]
        assert {result for result, _ in negotiated(*proposed)} == {0}
    proposed = [(uids[0], [syntax]) for syntax in syntaxes]
    assert negotiated(*proposed) == [(0, syntax) for syntax in syntaxes]


def test_big_endian_is_taken_last_and_what_is_unknown_not_at_all():
    storage = min(STORAGE)
    assert negotiated((storage, [ExplicitVRBigEndian, "1.2.840.10008.1.2"])) == [(0, "1.2.840.10008.1.2")]
    assert negotiated((storage, [ExplicitVRBigEndian])) == [(0, ExplicitVRBigEndian)]
    # PS3.8 Table 9-18: abstract syntax not supported, transfer syntaxes not supported
    assert negotiated("1.2.3.4", (VERIFICATION, ["1.2.840.10008.1.2.4.50"]), (storage, ["1.2.3"])) == [
        (3, "1.2.840.10008.1.2.1"),
        (4, "1.2.840.10008.1.2.4.50"),
        (4, "1.2.3"),
    ]
