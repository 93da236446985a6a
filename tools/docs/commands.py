"""Every command and option, from the command line itself."""

from collections.abc import Iterator
from inspect import cleandoc

import click

from app.cli import cli
from tools.docs.tables import code, table


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its full name."""
    yield from _below("dermzoo", cli)


def _below(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for below in group.list_commands(context):
        command = group.get_command(context, below)
        assert command is not None
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield f"{name} {below}", command
            yield from _below(f"{name} {below}", command)
        else:
            yield f"{name} {below}", command


def command_sections() -> str:
    """Return a section for each command."""
    return "\n\n".join(_section(name, command) for name, command in all_commands())


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    rows = [
        (", ".join(code(option) for option in parameter.opts), _values(parameter), parameter.help or "")
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts
    ]
    options = f"\n\n{table(('option', 'values', ''), rows)}" if rows else ""
    return f"## {name}\n\n```\n{usage}\n```\n\n{cleandoc(command.help or '')}{options}"


def _values(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        values = ", ".join(code(str(choice)) for choice in option.type.choices)
    else:
        values = option.metavar or option.type.name
    required = "; required" if option.required else ""
    return f"{values}{required}" + (f"; default {code(str(option.default))}" if option.show_default else "")
