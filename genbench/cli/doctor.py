"""`genbench doctor`: is this installation sound?"""

from time import perf_counter

import click

from genbench.cli.findings import STATES, as_plain, count, line, print_hints
from genbench.cli.output import print_json
from genbench.doctor.findings import Ground, carry_out
from genbench.plugins import Plugins


@click.command("doctor")
@click.option(
    "--full",
    is_flag=True,
    help="Also compute the FID of CIFAR-10's splits: minutes on a GPU, an hour on a CPU; needs its files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, full: bool, as_json: bool) -> int:
    """Check the installation against known truths, a line each.

    Exits with 1 where one fails. What needs weights or data that are not here is skipped, which is no failure.
    """
    from genbench.data.sources import cache_folder

    ground = Ground(Plugins.load(), cache_folder(), full)
    start = perf_counter()
    findings = []
    for finding in carry_out(ground):
        findings.append(finding)
        if not as_json:
            click.echo(line(finding))
    if as_json:
        print_json({"ok": not count(findings, "failed"), "checks": as_plain(findings)})
    else:
        print_hints(findings)
        told = ", ".join(f"{count(findings, state)} {state}" for state in STATES)
        click.echo(f"{told} in {perf_counter() - start:.0f} s")
    return 1 if count(findings, "failed") else 0
