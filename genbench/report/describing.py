"""What a record says of a run, as text for a report: settings, cost, and the protocol of each score. Imports no torch.

A record may be a stranger's: text is on one line, without control characters, and without folders.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from genbench.cells import COSTS, Cell
from genbench.comparability import flat, plural, short_path, shown
from genbench.errors import recordable
from genbench.report.content import Kind, Picture, RunContent
from genbench.schema import flag_text
from genbench.tables import amount, clean, duration, entry

if TYPE_CHECKING:
    from genbench.digest import CheckDigest, Digest, ScoreDigest

Pairs = tuple[tuple[str, str], ...]


def described(
    label: str, digest: "Digest", pictures: Mapping[Kind, Picture], missing: Mapping[Kind, str]
) -> RunContent:
    """Return a run with its pictures and with all that its record tells."""
    return RunContent(
        label=label,
        seed=digest.run.seed,
        status=digest.status,
        flags=tuple(_flag(check) for check in digest.checks if check.flagged),
        config=_config(digest),
        cost=tuple((name, plain(value)) for name, value in _costs(digest)),
        protocols=tuple((clean(score.name), _value(score), _protocol(score)) for score in digest.scores),
        pictures=pictures,
        missing=missing,
    )


def plain(text: str) -> str:
    """Return a stranger's text as a report has it."""
    return clean(recordable(text))


def _flag(check: "CheckDigest") -> str:
    return clean(flag_text(check.name, check.value, check.rule, check.meaning))


def _config(digest: "Digest") -> Pairs:
    """Return all settings but the choice of evaluators, of which the protocols tell."""
    settings = flat({key: value for key, value in digest.config.items() if key != "evaluation"})
    return tuple((clean(short_path(key)), plain(shown(value))) for key, value in settings.items())


def _costs(digest: "Digest") -> Iterator[tuple[str, str]]:
    cost, execution = digest.cost, digest.execution
    yield "training images seen", f"{digest.images_seen:,} of {digest.images_asked:,}"
    for name, title in (
        ("train_s", "training"),
        ("images_per_s", "images per second"),
        ("peak_memory_bytes", "peak memory"),
        ("energy_j", "energy"),
    ):
        if (value := COSTS[name][1](cost)) is not None:
            yield title, amount(name, value)
    yield "preparing the data", duration(cost.prepare_s)
    yield "scoring", duration(cost.evaluate_s)
    yield "device", f"{execution.device}, {execution.device_name}"
    together = f", {execution.processes} processes" if execution.processes > 1 else ""
    threads = f"{execution.threads} {plural('thread', execution.threads)}"
    yield "executed", f"{execution.engine}, {execution.precision}, {threads}{together}"
    if execution.fallback:
        yield "not as sought, since", execution.fallback
    yield "platform", execution.platform
    yield "versions", ", ".join(f"{name} {version}" for name, version in sorted(execution.versions.items()))
    if execution.git_commit:
        yield "commit", execution.git_commit
    for plugin in digest.plugins:
        if plugin.kind != "evaluator":
            yield f"{plugin.kind} `{plugin.name}`", f"{plugin.distribution} {plugin.version}"
    if digest.similarity_weight is not None:
        yield "weight of the similarity", f"{digest.similarity_weight:.6g}"
    if digest.weights_sha256:
        yield "weights, SHA-256", digest.weights_sha256
    yield "configuration, SHA-256", digest.config_hash
    yield "ended", digest.finished_utc


def _value(score: "ScoreDigest") -> str:
    """Return a value with its standard error over images, where it has one."""
    shown = entry(Cell(score.value, None, 1, score.uncertainty))
    return f"{shown.text} {shown.spread}".rstrip()


def _protocol(score: "ScoreDigest") -> Pairs:
    facts = tuple((clean(key), plain(shown(value))) for key, value in sorted(score.protocol.items()))
    return (*facts, *(("warning", plain(text)) for text in score.warnings))
