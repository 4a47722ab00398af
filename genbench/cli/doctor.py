"""`genbench doctor`: is this installation sound?"""

import textwrap
from time import perf_counter

import click

from genbench.cli.output import print_json
from genbench.doctor.findings import Ground, carry_out
from genbench.findings import Finding
from genbench.plugins import Plugins

WIDTH = 80
_NAME, _STATE = 21, 8


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
        print_json(as_plain(findings))
    else:
        _print_end(findings, perf_counter() - start)
    return 1 if any(finding.state == "failed" for finding in findings) else 0


def line(finding: Finding) -> str:
    """Return a finding on one line of WIDTH columns, or more where what was found can't be cut.

    What failed is told whole; of the rest, what is too long loses its end.
    """
    head = f"{finding.name:<{_NAME}} {finding.state:<{_STATE - 1}} "
    found = " ".join(finding.found.split())
    if finding.state != "failed":
        found = _shortened(found, WIDTH - len(head))
    return head + found


def as_plain(findings: list[Finding]) -> dict[str, object]:
    """Return all findings as JSON has them."""
    checks = [
        {"name": finding.name, "state": finding.state, "found": finding.found, "hint": finding.hint}
        for finding in findings
    ]
    return {"ok": all(finding.state != "failed" for finding in findings), "checks": checks}


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else textwrap.shorten(text, width, placeholder=" …")


def _print_end(findings: list[Finding], seconds: float) -> None:
    """Print the hints, once each, on stderr, and the count."""
    for state, label in (("failed", "hint"), ("skipped", "note")):
        hints = dict.fromkeys(f.hint for f in findings if f.state == state and f.hint)
        for hint in hints:
            names = ", ".join(dict.fromkeys(f.name for f in findings if f.state == state and f.hint == hint))
            click.echo(f"{label}: {names}: {hint}", err=True)
    counts = {state: sum(f.state == state for f in findings) for state in ("ok", "failed", "skipped")}
    click.echo(f"{', '.join(f'{count} {state}' for state, count in counts.items())} in {seconds:.0f} s")
