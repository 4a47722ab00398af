"""Similarities by themselves: which are asked for, on which images, and what came of each.

Imports torch only where it computes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genbench.config import DataConfig
from genbench.errors import GenbenchError, NotApplicable, did_you_mean, explained
from genbench.pairing import single, unfit
from genbench.plugins import Plugins
from genbench.resolution import build_part, resolve_settings
from genbench.store import RunFolder

if TYPE_CHECKING:
    import torch

    from genbench.bapps import Agreement, Triplets
    from genbench.data.packed import PackedDataset
    from genbench.evaluate.judging import Features, Judge
    from genbench.finished import FinishedRun
    from genbench.sensitivity import Sensitivity

YARDSTICK = "mse"
"""The similarity that all others are shown beside."""

DATASET = "toyfaces"
"""What is taken where no data set is named."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """What is asked for, known to be right as far as that can be told without images.

    Attributes:
        asked: the similarities named, in their order.
        settings: all of each similarity's.
        unfit: similarities that can't take such images, each with the reason.
        run: whose discriminator is shown to those that need one; None for the data set's reference discriminator.
    """

    asked: tuple[str, ...]
    settings: Mapping[str, Values]
    data: DataConfig
    unfit: Mapping[str, NotApplicable]
    run: "FinishedRun | None" = None


@dataclass(frozen=True)
class Place:
    """Where it is computed, and what of.

    Attributes:
        source: the folder or archive with the data, or None.
        say: tells something in words.
        preparing: called with (images done, images in all).
        fell: told of an error of a plugin's own code.
    """

    device: "torch.device"
    cache: Path
    source: Path | None
    say: Callable[[str], None]
    preparing: Callable[[int, int], None]
    fell: Callable[[BaseException], object]


@dataclass
class Assessment:
    """What came of similarities, on so many images of a split.

    Attributes:
        left_out: why these images can't suffer a distortion, by its name.
        skipped: similarities that can't be had here, each with the reason.
        failed: those that went wrong.
        agreements: of people with a similarity, where there are any judgements, and `people` with one another.
        unasked: similarities that can't take the patches that people judged, each with the reason.
    """

    data: "PackedDataset"
    split: Literal["train", "validation", "test"]
    images: int
    left_out: Mapping[str, str]
    found: "list[Sensitivity]" = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    agreements: "dict[str, Agreement]" = field(default_factory=dict)
    people: "Agreement | None" = None
    unasked: dict[str, str] = field(default_factory=dict)


def resolve_wish(
    plugins: Plugins,
    names: Sequence[str],
    dataset: str | None,
    size: int | None,
    settings: Sequence[str],
    run: Path | None,
) -> Wish:
    """Return what is asked for, settings and defaults filled in.

    Args:
        dataset: its name; None for the run's own where there is a run, else for DATASET.
        settings: `NAME.key=value`, `dataset.key=value`, and `key=value` where one similarity is named.

    Raises:
        GenbenchError: a name or setting that nothing answers to, a mixture, or no similarity that can take the images.
    """
    asked = tuple(dict.fromkeys(names))
    specs = {name: single(plugins, name) for name in (*asked, YARDSTICK)}
    given = _by_owner(settings, asked, ("dataset", *specs))
    if run is not None and not any(specs[name].needs.discriminator for name in asked):
        raise GenbenchError(f"--run {run}: {', '.join(asked)} needs no discriminator", "leave it out")
    finished = _finished(run)
    data = _data(plugins, dataset, size, given["dataset"], finished)
    channels = plugins.dataset(data.name).channels
    barred = {name: error for name in asked if (error := unfit(specs[name], channels, data.size))}
    if len(barred) == len(asked):
        raise barred[asked[0]]
    resolved = {name: resolve_settings(plugins, spec, given[name]) for name, spec in specs.items()}
    return Wish(asked, resolved, data, barred, finished)


def assess(
    plugins: Plugins,
    wish: Wish,
    place: Place,
    images: int,
    split: Literal["train", "validation", "test"],
    judgements: "Sequence[Triplets]" = (),
) -> Assessment:
    """Measure the similarities asked for, and the yardstick; one that goes wrong stops no other.

    Args:
        judgements: of people, which the similarities are held against.

    Raises:
        GenbenchError: none of those asked for can be measured.
    """
    from genbench.sensitivity import applicable, choose, describe, measure

    data = _prepared(plugins, wish.data, place)
    chosen = choose(data, split, images)
    distortions, left_out = applicable(chosen)
    features = _features(plugins, wish.run, data, place)
    done = Assessment(data, split, len(chosen), left_out)
    judges: dict[str, Judge] = {}
    for name in dict.fromkeys([*wish.asked, YARDSTICK]):
        with _isolated(name, wish, done, place):
            judge = _judge(plugins, name, wish, data, features, place)
            place.say(f"measuring {name}")
            done.found.append(describe(name, judge.facts, measure(judge, chosen, distortions, place.device)))
            judges[name] = judge
    if not any(sensitivity.name in wish.asked for sensitivity in done.found):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in {**done.skipped, **done.failed}.items())
        raise GenbenchError(f"none of them can be measured: {reasons}", exit_code=1)
    if judgements:
        with _isolated("people", wish, done, place):  # what was measured is not lost for a patch that can't be read
            _ask_people(plugins, done, judges, judgements, place)
    return done


@contextmanager
def _isolated(name: str, wish: Wish, done: Assessment, place: Place) -> Iterator[None]:
    """Note why a similarity, or people, can't be asked; where it is all that is asked for, that is the end."""
    try:
        yield
    except GenbenchError as error:
        if wish.asked == (name,):
            raise GenbenchError(error.message, error.hint, exit_code=1) from error
        (done.skipped if isinstance(error, NotApplicable) else done.failed)[name] = explained(error)
    except (Exception, SystemExit) as error:
        if wish.asked == (name,):
            raise
        place.fell(error)
        done.failed[name] = explained(error)


def _judge(
    plugins: Plugins, name: str, wish: Wish, data: "PackedDataset", features: "Features | None", place: Place
) -> "Judge":
    from genbench.evaluate.judging import obtain_judge

    if name in wish.unfit:
        raise wish.unfit[name]
    return obtain_judge(
        plugins,
        name,
        data,
        place.device,
        place.cache,
        wish.settings[name],
        features,
        lambda told: place.say(f"{told}; --run FOLDER takes a finished run's own"),
    )


def _ask_people(
    plugins: Plugins, done: Assessment, judges: "Mapping[str, Judge]", judgements: "Sequence[Triplets]", place: Place
) -> None:
    from genbench.bapps import PATCH, agreement, people

    for name in judges:
        spec = plugins.similarity(name)
        error = unfit(spec, 3, PATCH)
        if error is None and spec.needs.discriminator and (done.data.size, done.data.channels) != (PATCH, 3):
            error = NotApplicable(f"its discriminator takes other images than patches of {PATCH} px: --size {PATCH}")
        if error is not None:
            done.unasked[name] = error.message
    place.say(f"asking people: {sum(len(triplets.stems) for triplets in judgements):,} choices")
    able = {name: judge for name, judge in judges.items() if name not in done.unasked}
    done.agreements = agreement(able, judgements, place.device)
    done.people = people(judgements)


def _prepared(plugins: Plugins, config: DataConfig, place: Place) -> "PackedDataset":
    from genbench.data.preparation import prepare

    spec = plugins.dataset(config.name)
    dataset = build_part(plugins, spec, config.settings)
    data = prepare(spec, dataset, config, place.source, place.cache, place.preparing)
    for note in data.notes:
        place.say(f"note: {note}")
    return data


def _features(plugins: Plugins, run: "FinishedRun | None", data: "PackedDataset", place: Place) -> "Features | None":
    if run is None:
        return None
    from genbench.borrowing import features_of

    return features_of(plugins, run, data, place.device)


def _finished(folder: Path | None) -> "FinishedRun | None":
    if folder is None:
        return None
    from genbench.finished import read_run

    try:
        return read_run(RunFolder(folder))
    except GenbenchError as error:
        raise GenbenchError(f"--run {error.message}", error.hint) from error


def _data(plugins: Plugins, name: str | None, size: int | None, given: Values, run: "FinishedRun | None") -> DataConfig:
    """Return which images: those of a run where it is the only one to say so."""
    own = run.config.dataset if run is not None and name is None else None
    spec = plugins.dataset(own.name if own else name or DATASET)
    settings = resolve_settings(plugins, spec, {**(own.settings if own else {}), **given})
    return DataConfig(name=spec.name, settings=settings, size=size or (own.size if own else spec.size))


def _by_owner(settings: Sequence[str], asked: Sequence[str], owners: Sequence[str]) -> dict[str, Values]:
    """Sort `NAME.key=value` texts by the name that they belong to."""
    found: dict[str, Values] = {owner: {} for owner in owners}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise GenbenchError(f"setting {text!r} is not of the form NAME.KEY=VALUE", f"such as -s {asked[0]}.KEY=1")
        owner, _, name = key.strip().rpartition(".")
        if not owner and len(asked) == 1:
            owner = asked[0]
        if owner not in found:
            guess = did_you_mean(owner, owners) if owner else None
            raise GenbenchError(
                f"setting `{key}` belongs to nothing here", guess or f"it begins with one of: {', '.join(owners)}"
            )
        if name in found[owner]:
            raise GenbenchError(f"setting `{key}` is given twice")
        found[owner][name] = value.strip()
    return found
