"""TLS as PS3.15 Annex B has it: the server's certificate, and the callers' where they are asked for."""

import hashlib
import ssl
import subprocess
from contextlib import suppress

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from app.dimse.errors import AssociationEnded
from app.dimse.peers import Peer, load_peers
from app.dimse.requestor import echo
from app.errors import SettingsError
from tests.dimse.raw_peer import RawPeer, association_request
from tests.factories import VL_PHOTOGRAPHIC, make_instance


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and certificates by it for the server and for a caller."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    )
    for name in ("server", "caller"):
        openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-out",
            f"{name}.pem",
        )
    return folder


def context(certificates, caller=None):
    made = ssl.create_default_context(cafile=certificates / "ca.pem")
    made.check_hostname = False
    if caller:
        made.load_cert_chain(certificates / f"{caller}.pem", certificates / f"{caller}.key")
    return made


def associate(listening, tls, ae_title="PEER"):
    ae = AE(ae_title)
    ae.add_requested_context(Verification)
    ae.add_requested_context(VL_PHOTOGRAPHIC)
    return ae.associate("127.0.0.1", listening.port, ae_title="DERMZOO", tls_args=(tls, None))


@pytest.fixture
def server_side(certificates):
    return {
        "dimse_tls_certificate": certificates / "server.pem",
        "dimse_tls_key": certificates / "server.key",
    }


def test_tls_carries_an_association(start_listener, certificates, server_side):
    listening = start_listener(**server_side)
    association = associate(listening, context(certificates))
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    assert association.send_c_store(make_instance(rows=400, columns=400)).Status == 0x0000
    association.release()


def test_who_does_not_speak_tls_is_let_go(start_listener, certificates, server_side):
    listening = start_listener(**server_side)
    with RawPeer(listening.port) as peer:
        peer.send(association_request())
        assert peer.read()[0] != 2
    association = associate(listening, context(certificates))
    assert association.is_established
    association.release()


def test_a_caller_without_certificate_where_one_is_asked_for(start_listener, certificates, server_side):
    listening = start_listener(**server_side, dimse_tls_ca=certificates / "ca.pem")
    with RawPeer(listening.port) as peer:
        peer.socket = context(certificates).wrap_socket(peer.socket)
        with suppress(OSError):  # its refusal may arrive while we still speak
            peer.send(association_request())
            assert peer.read()[0] is None
    association = associate(listening, context(certificates, "caller"))
    assert association.is_established
    association.release()


def test_a_peer_is_known_by_its_certificate_alone(start_listener, certificates, server_side):
    shown = ssl.PEM_cert_to_DER_cert((certificates / "caller.pem").read_text())
    peer = Peer(
        ae_title="PEER",
        host="192.0.2.1",
        may=frozenset({"echo", "store"}),
        certificate_sha256=hashlib.sha256(shown).hexdigest(),
    )
    listening = start_listener(
        peers=(peer,), may=frozenset({"echo"}), **server_side, dimse_tls_ca=certificates / "ca.pem"
    )
    for caller, title, status in (
        ("caller", "PEER", 0x0000),
        ("server", "PEER", 0x0124),
        ("caller", "OTHER", 0x0124),
    ):
        association = associate(listening, context(certificates, caller), title)
        assert association.send_c_store(make_instance()).Status == status
        association.release()


def test_tls_to_a_peer_with_an_authority_of_its_own(start_listener, certificates, server_side):
    listening = start_listener(**server_side, dimse_tls_ca=certificates / "ca.pem")
    known = {"tls_ca": certificates / "ca.pem"}
    shown = {"tls_certificate": certificates / "caller.pem", "tls_key": certificates / "caller.key"}
    peer = Peer(ae_title="DERMZOO", host="localhost", port=listening.port, tls=True)
    echo(peer.model_copy(update=known | shown), "PEER")
    for trusted in (known, shown):
        with pytest.raises(AssociationEnded):
            echo(peer.model_copy(update=trusted), "PEER")


def test_files_for_tls_that_are_none_are_told_at_start(tmp_path):
    path = tmp_path / "peers.toml"
    path.write_text('[[peer]]\nae_title = "DEST"\nhost = "localhost"\ntls = true\ntls_ca = "nowhere.pem"\n')
    with pytest.raises(SettingsError, match="TLS to DEST cannot be spoken"):
        load_peers(path, is_required=True, anyone_may_store=False)
