"""`dermzoo budget`: what the policy in force means, and what it would have made of the past."""

import json
from pathlib import Path
from typing import TextIO

import click

from app.cli.configuration import config_option, read_settings
from app.throttle.explanation import explain, in_words
from app.throttle.opening import processes_of
from app.throttle.outcomes import as_chart, as_csv, as_json, as_text
from app.throttle.policy import load_policy
from app.throttle.simulation import simulate
from app.throttle.trace import read_trace

SHOWN_CLIENTS = 20


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures for programs.")
@config_option
@click.pass_context
def budget(context: click.Context, config: Path | None, *, as_json: bool) -> None:
    """Explain the policy in force: what a client gets, and what the worst month costs.

    It is read from config/throttle.toml, or the file that DERMZOO_THROTTLE_FILE names.
    """
    if context.invoked_subcommand is not None:
        return
    settings = read_settings(config)
    processes = processes_of(settings)
    policy = load_policy(settings.throttle_file, processes)
    if as_json:
        click.echo(json.dumps(explain(policy, processes), indent=2))
    else:
        click.echo("\n".join(in_words(policy, processes)))
        if settings.throttle == "off":
            click.echo("\nNone of it is in force: DERMZOO_THROTTLE is off.")


@budget.command("simulate")
@click.option(
    "--trace",
    "log",
    type=click.File(encoding="utf-8", errors="replace"),
    required=True,
    help="Access log: our own JSON lines, or the common log format; - reads standard input.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rates and prices to try (default: those in force).",
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write a chart.")
@click.option(
    "--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a row for each client."
)
@click.option(
    "--top", type=click.IntRange(min=0), default=SHOWN_CLIENTS, help="Clients to print (default: 20)."
)
@click.option("--json", "prints_json", is_flag=True, help="Print everything for programs.")
@config_option
def simulate_trace(
    log: TextIO,
    policy_file: Path | None,
    svg: Path | None,
    csv_file: Path | None,
    config: Path | None,
    *,
    top: int,
    prints_json: bool,
) -> None:
    """Put the requests of a log to a policy, on a simulated clock: who gets what, who waits, what it costs.

    Nothing is sent. The same log and policy give the same result.
    """
    settings = read_settings(config)
    policy = load_policy(policy_file or settings.throttle_file, processes_of(settings))
    trace = read_trace(log)
    if not trace.asked:
        raise click.ClickException("There is no request in this log.")
    outcome = simulate(trace.asked, policy)
    if svg is not None:
        svg.write_text(as_chart(outcome, policy), encoding="utf-8")
    if csv_file is not None:
        csv_file.write_text(as_csv(outcome, policy.cost), encoding="utf-8")
    if prints_json:
        click.echo(json.dumps(as_json(outcome, policy.cost), indent=2))
        return
    for line in as_text(outcome, policy.cost, top):
        click.echo(line)
    refused = sum(request.was_refused for request in trace.asked)
    if refused:
        click.echo(
            f"{refused} requests were refused when logged: they count with the bytes of their refusal."
        )
    if trace.passed_over:
        click.echo(f"{trace.passed_over} lines are no requests.")
