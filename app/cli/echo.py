"""`dermzoo echo PEER`: whether a peer of the DICOM network answers."""

import sys
import time
from pathlib import Path

import click

from app.cli.configuration import config_option, read_settings
from app.dimse.errors import AssociationEnded
from app.dimse.peers import Peer
from app.dimse.process import check_peers
from app.dimse.requestor import echo as send_echo


@click.command()
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@config_option
def echo(peers: tuple[str, ...], config: Path | None) -> None:
    """Send a C-ECHO to each PEER, all of the peers file if none is named; exit 1 if one does not answer.

    PEER is an AE title of config/peers.toml, or TITLE@HOST:PORT.
    """
    settings = read_settings(config)
    known = check_peers(settings)
    chosen = [_named(name, known.destination(name)) for name in peers] or list(known.known)
    if not chosen:
        raise click.UsageError(f"{settings.peers_file} names no peer; try  dermzoo echo TITLE@HOST:PORT")
    failures = 0
    for peer in chosen:
        started = time.monotonic()
        try:
            send_echo(peer, settings.dimse_ae_title)
        except AssociationEnded as error:
            failures += 1
            click.echo(f"{peer.ae_title}  FAILED  {error}")
        else:
            elapsed_ms = (time.monotonic() - started) * 1000
            click.echo(f"{peer.ae_title}  answers  {peer.host}:{peer.port}  {elapsed_ms:.1f} ms")
    sys.exit(1 if failures else 0)


def _named(name: str, known: Peer | None) -> Peer:
    if known is not None:
        return known
    title, at, address = name.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and host and port.isdigit()):
        raise click.UsageError(f"{name!r} is neither in the peers file nor TITLE@HOST:PORT")
    return Peer.model_validate({"ae_title": title, "host": host, "port": int(port)})
