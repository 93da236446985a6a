"""C-ECHO (PS3.4 Annex A, PS3.7 9.1.5)."""

from app.dimse.association import Message
from app.dimse.session import Session
from app.dimse.status import SUCCESS


def echo(session: Session, message: Message) -> None:
    """Answer that we are here."""
    session.association.respond(message, SUCCESS)
