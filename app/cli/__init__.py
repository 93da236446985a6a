"""The command line: one file for each noun."""

import sys
from importlib import import_module
from typing import Any

import click

from app.errors import ArchiveError, SettingsError

# Commands are imported when they are called, so that `--help` is quick.
COMMANDS = {
    "serve": ("app.cli.serve", "serve", "Serve the archive over HTTP."),
    "index": ("app.cli.index", "index", "Catalogue DICOM files where they lie."),
    "import": ("app.cli.importing", "importing", "Turn a corpus into DICOM and store it."),
    "metadata": ("app.cli.metadata", "metadata", "Join metadata to images that are held; export them."),
    "refresh": ("app.cli.refresh", "refresh", "Follow the ISIC Archive: facts, licences, withdrawals."),
    "mirror": ("app.cli.mirror", "mirror", "Copy studies of another DICOMweb server."),
    "bake": ("app.cli.bake", "bake_command", "Write copies of files with their facts in them."),
    "duplicates": ("app.cli.duplicates", "duplicates", "List images that are the same or nearly so."),
    "split": (
        "app.cli.split",
        "split_command",
        "Part the images into training and test sets without a leak.",
    ),
    "verify": ("app.cli.verify", "verify", "Check that nothing is lost, torn or forgotten."),
    "collection": ("app.cli.collection", "collection", "Choose what is shown together."),
    "withdraw": ("app.cli.withdraw", "withdraw", "Take back an instance, a series or a study."),
    "withdrawn": ("app.cli.withdraw", "withdrawn", "List what was withdrawn."),
    "restore": ("app.cli.withdraw", "restore", "Let what was withdrawn come back."),
    "echo": ("app.cli.echo", "echo", "Ask peers of the DICOM network whether they are there."),
    "profile": ("app.cli.profile", "profile", "Tell what a folder of DICOM files holds."),
    "budget": ("app.cli.budget", "budget", "Explain what clients get and what a month costs."),
    "token": ("app.cli.token", "token", "Make, list and revoke tokens."),
    "migrate": ("app.cli.migrate", "migrate", "Bring the catalogue to the current schema."),
}


class LazyGroup(click.Group):
    """A group whose commands are modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order a newcomer needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dermzoo", prog_name="dermzoo")
def cli() -> None:
    """DICOMweb for the public dermatology corpus: index or import images, serve them, keep the cost known.

    A first run:

    \b
      dermzoo index ~/my-dicom-files     catalogue a folder; nothing in it is moved or changed
      dermzoo serve                      then open http://127.0.0.1:8080/dicom-web/studies

    Settings come from DERMZOO_* variables, then config/dermzoo.toml, then defaults. Not for clinical use.
    """  # noqa: D301 click wants the character


def main(arguments: list[str] | None = None) -> Any:  # noqa: ANN401 click decides
    """Run the command line; what can go wrong is a sentence and exit code 2, not a traceback."""
    try:
        return cli.main(arguments, prog_name="dermzoo")
    except (SettingsError, ArchiveError) as error:
        click.echo(f"dermzoo: {error}", err=True)
        sys.exit(2)
