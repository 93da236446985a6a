"""The requestor of a storage commitment, made with pynetdicom, and what the catalogue still owes it."""

import threading
from contextlib import contextmanager
from time import monotonic

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel
from sqlalchemy import func, select, update

from app.catalog.models import report
from tests.factories import VL_PHOTOGRAPHIC

_LONG_AGO = "2000-01-01T00:00:00.000+00:00"


def asked(*instances):
    data_set = Dataset()
    data_set.TransactionUID = generate_uid()
    data_set.ReferencedSOPSequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = VL_PHOTOGRAPHIC, instance
        data_set.ReferencedSOPSequence.append(item)
    return data_set


class Reports:
    """What was reported, and when."""

    def __init__(self):
        self.arrived = threading.Event()
        self.found = None

    def handle(self, event):
        self.found = event.event_type, event.event_information
        self.arrived.set()
        return 0x0000, None


@contextmanager
def receiving(port, reports):
    """The requestor, as it waits for reports on associations of ours."""
    ae = AE("PEER")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, reports.handle)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield
    finally:
        server.shutdown()


def owed(catalog):
    """How many reports are still to be delivered."""
    with catalog.read() as connection:
        return connection.scalar(select(func.count()).select_from(report))


def let_time_pass(catalog):
    """Let every report be due, as if nobody had claimed it."""
    with catalog.write() as connection:
        connection.execute(update(report).values(due=_LONG_AGO))


def wait_until_told(catalog):
    """Until the answer of the peer was noted."""
    deadline_s = monotonic() + 20
    while owed(catalog):
        assert monotonic() < deadline_s
        threading.Event().wait(0.005)
