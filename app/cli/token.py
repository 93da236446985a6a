"""`dermzoo token create | list | revoke`."""

from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from app.auth.principals import SCOPES, is_scope
from app.auth.tokens import create_token, list_tokens, revoke_token
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive


class ScopeChoice(click.Choice[str]):
    """A scope; of those that name something, the name is whatever it is called."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take a scope, or say which there are."""
        return value if is_scope(value) else super().convert(value, param, ctx)


@click.group()
def token() -> None:
    """Make, list and revoke the bearer tokens that writing needs."""


@token.command()
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=ScopeChoice(sorted(SCOPES)),
    help="What the token allows; may be given more than once.",
)
@click.option("--name", default="", help="A reminder of whose it is.")
@config_option
def create(scopes: tuple[str, ...], name: str, config: Path | None) -> None:
    """Make a token and print it, this once: only its hash is kept."""
    with opened_archive(read_settings(config)) as archive, archive.catalog.write() as connection:
        text = create_token(connection, name, frozenset(scopes), datetime.now(UTC))
    click.echo(text)
    click.echo("Send it as:  Authorization: Bearer <token>. It is not shown again.", err=True)


@token.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@config_option
def list_command(as_json: bool, config: Path | None) -> None:  # noqa: FBT001 click passes it by name
    """List the tokens: id, scopes, when made and revoked, name."""
    with opened_archive(read_settings(config)) as archive, archive.catalog.read() as connection:
        tokens = list_tokens(connection)
    if as_json:
        rows = [
            {
                "id": kept.id,
                "name": kept.name,
                "scopes": sorted(kept.scopes),
                "created_at": kept.created_at,
                "revoked_at": kept.revoked_at,
            }
            for kept in tokens
        ]
        click.echo(orjson.dumps(rows).decode())
        return
    for kept in tokens:
        state = f"revoked {kept.revoked_at}" if kept.revoked_at else "in use"
        click.echo(f"{kept.id}  {','.join(sorted(kept.scopes)):12}  {kept.created_at}  {state}  {kept.name}")
    if not tokens:
        click.echo(
            "There are no tokens, so nobody may store. Make one with: dermzoo token create --scope store"
        )


@token.command()
@click.argument("token_id", metavar="ID")
@config_option
def revoke(token_id: str, config: Path | None) -> None:
    """End a token at once; ID is the part between the first two underscores."""
    with opened_archive(read_settings(config)) as archive, archive.catalog.write() as connection:
        found = revoke_token(connection, token_id, datetime.now(UTC))
    if not found:
        raise click.ClickException(f"There is no token {token_id} in use. See: dermzoo token list")
    click.echo(f"The token {token_id} is revoked.")
