"""`genbench check`: does a part keep what its kind promises?"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from time import perf_counter

import click

from genbench.cli.findings import WIDTH, as_plain, count, line, print_hints
from genbench.cli.options import device_option, settings_option
from genbench.cli.output import print_json, warn_of_broken
from genbench.comparability import plural
from genbench.errors import GenbenchError, did_you_mean
from genbench.findings import Finding
from genbench.plugins import SINGULAR, Plugins
from genbench.plugins import Kind as Declared
from genbench.resolution import by_section
from genbench.specs import EvaluatorSpec, ExtractorSpec
from genbench.testing.checks import SECTIONS
from genbench.testing.interface import KINDS, Kind, carry_out

FEW = 2
"""So many checks in a row that fail or are skipped for one reason get a line each; of more, there is one for all."""

PLURAL: dict[str, Declared] = {word: kind for kind, word in SINGULAR.items()}


@dataclass
class Part:
    """One part, and what its checks found so far.

    Attributes:
        left: what the checks that are yet to be carried out will find.
    """

    kind: Kind
    name: str
    left: Iterator[Finding]
    found: list[Finding] = field(default_factory=list)

    def carry_out(self) -> Iterator[Finding]:
        """Carry the checks out one by one."""
        for finding in self.left:
            self.found.append(finding)
            yield finding


@click.command("check")
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Check all that is installed, or all of one kind.")
@click.option("--kind", type=click.Choice(KINDS), help="Check only what is of this kind.")
@settings_option("Setting, named as for `genbench run`: such as similarity.reduction=mean. May be repeated.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    names: tuple[str, ...],
    kind: Kind | None,
    settings: tuple[str, ...],
    device: str,
    *,
    everything: bool,
    as_json: bool,
) -> int:
    """Check the parts called NAMES against what similarities, models, evaluators, extractors or data sets promise.

    Prints a line for each check, and last how many ran, passed and were skipped, and why. Where a name stands for parts
    of several kinds, all are checked. A `genbenchfile.py` in the working folder counts as installed.

    Exits with 1 where a check fails. What needs weights, data or a GPU that are not here is skipped, no failure.
    """
    if everything == bool(names):
        raise GenbenchError(
            "--all checks everything, so that no names stand beside it" if names else "there is nothing to check",
            "give names, such as `genbench check mse`, or --all",
        )
    if everything and settings:
        raise GenbenchError("-s sets something of a part, and --all names none", "give the names of the parts to set")
    plugins = Plugins.load()
    if everything:
        warn_of_broken(plugins)
    kinds = (kind,) if kind else KINDS
    wanted = _all(plugins, kinds) if everything else _named(plugins, kinds, names)
    parts = list(_parts(plugins, wanted, settings, device, lenient=everything))
    start = perf_counter()
    for part in parts:
        if as_json:
            list(part.carry_out())
        else:
            _print_part(part)
    findings = [finding for part in parts for finding in part.found]
    if as_json:
        print_json(_as_plain(parts, findings))
    else:
        _print_end(findings, len(parts), perf_counter() - start)
    return 1 if count(findings, "failed") else 0


def _all(plugins: Plugins, kinds: Sequence[Kind]) -> Iterator[tuple[Kind, str]]:
    """Yield kind and name of all that is declared; of two with one name, the name once."""
    for kind in kinds:
        yield from dict.fromkeys((kind, declaration.spec.name) for declaration in plugins.declarations(PLURAL[kind]))


def _named(plugins: Plugins, kinds: Sequence[Kind], names: Sequence[str]) -> Iterator[tuple[Kind, str]]:
    """Yield each name with each kind that it may stand for.

    Raises:
        GenbenchError: it stands for nothing.
    """
    for name in dict.fromkeys(names):
        found = [kind for kind in kinds if _stands_for(plugins, kind, name)]
        if not found and len(kinds) > 1:
            known = sorted({declared.spec.name for kind in kinds for declared in plugins.declarations(PLURAL[kind])})
            guess, see = did_you_mean(name, known), "see `genbench list`"
            warn_of_broken(plugins)
            raise GenbenchError(f"nothing is called `{name}`", f"{guess} {see}" if guess else see)
        # Of one kind alone, looking it up says what is wrong with it.
        yield from ((kind, name) for kind in found or kinds)


def _stands_for(plugins: Plugins, kind: Kind, name: str) -> bool:
    """Say whether a part of a kind has that name, or takes a variant after its own."""
    if "+" in name:
        return kind == "similarity"
    base, colon, _ = name.partition(":")
    for declared in plugins.declarations(PLURAL[kind]):
        spec = declared.spec
        varies = isinstance(spec, EvaluatorSpec | ExtractorSpec)
        if spec.name == name or (colon and varies and spec.name == base):
            return True
    return False


def _parts(
    plugins: Plugins, wanted: Iterable[tuple[Kind, str]], settings: Sequence[str], device: str, *, lenient: bool
) -> Iterator[Part]:
    """Yield the parts to be checked, none of them begun.

    Args:
        lenient: whether one that can't be looked up, such as a name that two plugins declare, is but one that fails.

    Raises:
        GenbenchError: a setting is nobody's, or what a part is checked with makes no sense.
    """
    wanted = list(wanted)
    sections = {text: next(name for name, values in by_section([text]).items() if values) for text in settings}
    own = {kind: tuple(text for text in settings if sections[text] == SECTIONS[kind]) for kind, _ in wanted}
    foreign = [text for text in settings if not any(text in texts for texts in own.values())]
    if foreign:
        raise GenbenchError(
            f"setting `{foreign[0]}` belongs to nothing that is checked here",
            "those of a similarity begin with `similarity.`, of a data set with `dataset.`, of an evaluator with "
            "`evaluation.`; a model's have no dot",
        )
    for kind, name in wanted:
        try:
            left = carry_out(plugins, kind, name, own[kind], device)
        except GenbenchError as error:
            if not lenient:
                raise
            left = iter([Finding("name", "failed", error.message, error.hint)])
        yield Part(kind, name, left)


def _print_part(part: Part) -> None:
    """Print a heading, each finding once it is there, and what to do about them."""
    click.echo(f"{part.kind} {part.name}")
    for fault, group in groupby(part.carry_out(), lambda f: None if f.state == "ok" else (f.state, f.found)):
        if fault is None:
            for finding in group:
                click.echo(line(finding))
            continue
        alike = list(group)
        if len(alike) > FEW:
            alike = [Finding(f"{len(alike)} checks", *fault)]
        for finding in alike:
            click.echo(line(finding))
    print_hints(part.found)
    click.echo()


def _print_end(findings: Sequence[Finding], parts: int, seconds: float) -> None:
    """Print why checks were skipped, and last how many there were of each state."""
    reasons = Counter(finding.found for finding in findings if finding.state == "skipped")
    for reason, times in reasons.items():
        click.echo(textwrap.fill(f"{times} skipped: {reason}", WIDTH, subsequent_indent="    "))
    passed, failed, skipped = (count(findings, state) for state in ("ok", "failed", "skipped"))
    of = f" of {parts} parts" if parts > 1 else ""
    checks = plural("check", passed + failed)
    click.echo(
        f"{passed + failed} {checks}{of} ran in {seconds:.0f} s: {passed} passed, {failed} failed; {skipped} skipped"
    )


def _as_plain(parts: Sequence[Part], findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "ok": not count(findings, "failed"),
        "passed": count(findings, "ok"),
        "failed": count(findings, "failed"),
        "skipped": count(findings, "skipped"),
        "parts": [{"kind": part.kind, "name": part.name, "checks": as_plain(part.found)} for part in parts],
    }
