"""`genbench run`: one model on one data set, from nothing or from where it stopped."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from genbench.cli.options import (
    data_option,
    device_option,
    engine_option,
    evaluator_names,
    runs_option,
    settings_option,
    threads_option,
)
from genbench.cli.output import data_console, make_table, print_json, print_warning, warn_of_broken
from genbench.cli.stopping import Stop, stoppable
from genbench.comparability import grouped
from genbench.config import Frozen, NetworkConfig, RunConfig, SamplingConfig, TrainingConfig
from genbench.plugins import Plugins
from genbench.recipes import applied, find_recipe, read_recipe
from genbench.resolution import PRESETS, RunRequest, resolve
from genbench.train.place import Place

if TYPE_CHECKING:
    from genbench.pipeline import Surroundings
    from genbench.records import Record


PRECISIONS = get_args(TrainingConfig.model_fields["precision"].annotation)


def _sections() -> str:
    """Return what can be set in every run, for the help."""
    sections: dict[str, type[Frozen]] = {
        "network": NetworkConfig,
        "training": TrainingConfig,
        "evaluation": SamplingConfig,
    }
    keys = {name: list(model.model_fields) for name, model in sections.items()}
    lines = [f"  {name}: {', '.join(names)}" for name, names in keys.items()]
    return "\n".join(["\b", "Settings of every run, as -s SECTION.KEY=VALUE:", *lines])


@click.command(epilog=_sections())
@click.argument("model", required=False)
@click.argument("dataset", required=False)
@click.option(
    "--recipe",
    metavar="NAME",
    help="A known implementation (see `genbench list recipes`), or a TOML file: what the command line leaves out is as "
    "it says, MODEL and DATASET included.",
)
@click.option(
    "--similarity",
    metavar="NAME",
    help="Measure reconstructions by this similarity instead of the model's own; or a mixture: mse:0.5+dis-l:0.5.",
)
@click.option(
    "--similarity-weight", metavar="auto|calibrated|NUMBER", help="Factor on the similarity.  [default: auto]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, data order and noise.")
@click.option("--preset", metavar="|".join(PRESETS), help="quick: 32 px, quarter width, a budget of minutes on a CPU.")
@click.option("--size", type=click.IntRange(4, 1024), metavar="PIXELS", help="Side of the images.")
@click.option("--width", type=float, metavar="FACTOR", help="Factor on every channel count of the networks.")
@click.option("--images", type=click.IntRange(1), metavar="N", help="Budget in training images, repeats counted.")
@click.option("--batch-size", type=click.IntRange(2), metavar="N", help="Images a step.  [default: 64]")
@settings_option(
    "A setting of the model (see `genbench show MODEL`), or similarity.KEY, dataset.KEY, network.KEY, "
    "training.KEY, evaluation.KEY."
)
@click.option(
    "--evaluators",
    metavar="A,B,...",
    help="Compute these scores (NAME or NAME:VARIANT), instead of all that run by default; of a finished run, also "
    "those that were skipped. `none` for none.",
)
@data_option
@click.option("--skip-bad-images", is_flag=True, help="Leave out unreadable images, and count them in the record.")
@runs_option("Where runs are kept.")
@device_option
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Of training; auto is bfloat16 where the device computes in it.  [default: auto]",
)
@engine_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def run(
    model: str | None,
    dataset: str | None,
    recipe: str | None,
    similarity: str | None,
    similarity_weight: str | None,
    seed: int,
    preset: str | None,
    size: int | None,
    width: float | None,
    images: int | None,
    batch_size: int | None,
    settings: tuple[str, ...],
    evaluators: str | None,
    source: Path | None,
    skip_bad_images: bool,
    runs: Path,
    device: str,
    precision: str | None,
    engine: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Train MODEL on DATASET and score it.

    The same command resumes a run that was stopped or killed, and ends with the same weights. `torchrun
    --nproc-per-node N -m genbench run ...` trains on N devices together.
    """
    place = Place.given()
    plugins = Plugins.load()
    if place.local_rank == 0:
        warn_of_broken(plugins)
    request = RunRequest(
        model=model or "",
        dataset=dataset or "",
        similarity=similarity,
        similarity_weight=similarity_weight,
        seed=seed,
        preset=preset,
        size=size,
        width=width,
        images=images,
        batch_size=batch_size,
        precision=precision,
        evaluators=evaluator_names(evaluators),
        skip_bad_images=skip_bad_images,
        settings=settings,
    )
    with place.one_voice():
        config = resolve(plugins, completed(request, recipe, tell=place.local_rank == 0))
        place.check_batch(config.training.batch_size)

    # Only here, once the command is known to be right, is torch worth waiting for.
    import torch

    from genbench.data.sources import cache_folder, source_folder
    from genbench.evaluate.extractors import check_variants
    from genbench.following import follow
    from genbench.pipeline import Surroundings
    from genbench.train.distributed import joined

    if threads is not None:
        torch.set_num_threads(threads)
    with place.one_voice():
        check_variants(plugins, config.evaluation.extractors)
        around = Surroundings(
            runs, cache_folder(), source_folder(source), device, engine, retry_unscored=evaluators is not None
        )
    with stoppable(silent=place.rank > 0) as stop, joined(place, device) as (share, own_device):
        around = replace(around, device=own_device, share=share)
        if share.leads:
            return _lead(plugins, config, around, stop, as_json)
        follow(plugins, config, around, stop)
        return 0  # how the run ended is rank 0's to tell, in its exit status as well


def completed(request: RunRequest, recipe: str | None, *, tell: bool = False) -> RunRequest:
    """Return a run that is asked for with what a recipe says beside, or as it is.

    Args:
        request: model and data set are empty where nothing was said.
        recipe: its name or its file.
        tell: whether to tell which of the recipe's settings are left out.

    Raises:
        click.UsageError: there is neither a recipe nor a model and a data set.
        GenbenchError: there is no such recipe, or it is not sound.
    """
    if recipe is not None:
        request, left_out = applied(read_recipe(find_recipe(recipe)), request)
        if left_out and tell:
            print_warning(f"{recipe}: of parts that you replaced, left out: {', '.join(left_out)}")
    for name in ("model", "dataset"):
        if not getattr(request, name):
            raise click.UsageError(f"Missing argument '{name.upper()}'.", click.get_current_context(silent=True))
    return request


def _lead(plugins: Plugins, config: RunConfig, around: "Surroundings", stop: Stop, as_json: bool) -> int:
    from genbench.cli.progress import observing
    from genbench.execution import choose_device
    from genbench.pipeline import run as carry_out

    on_cpu = choose_device(around.device).type == "cpu"
    with observing(warn_if_slow=on_cpu) as observer:
        record = carry_out(plugins, config, around, observer, stop)
        if record is None:
            observer.said("stopped and saved; the same command goes on from here")
    if record is None:
        return 128 + (stop.signal or signal.SIGINT)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        print_record(record)
    return 0 if record.status == "ok" else 1


def print_record(record: "Record") -> None:
    """Print a run's scores on stdout, and what was not scored, with the reason."""
    console = data_console()
    run = record.run
    title = f"{run.model}{f' · {run.similarity}' if run.similarity else ''} · {run.dataset} · seed {run.seed}"
    console.print(f"{title}: {record.status}{f' ({record.reason})' if record.reason else ''}", soft_wrap=True)
    rows = [
        (
            score.name,
            f"{score.value:.4g}" + (f" ± {score.uncertainty:.2g}" if score.uncertainty is not None else ""),
            "" if score.direction == "none" else f"{score.direction} is better",
        )
        for score in record.scores
    ]
    if rows:
        console.print(make_table(("score", "value", ""), rows))
    for check in record.checks:
        if check.flagged:
            console.print(f"health: {check.flag}", soft_wrap=True)
    notes = [(text, score.name) for score in record.scores for text in score.warnings]
    for kind, unscored in (("skipped", record.skipped), ("failed", record.failures)):
        notes += [(f"{kind}: {entry.reason}", entry.evaluator) for entry in unscored]
    for text, pairs in grouped(notes, lambda pair: pair[0]).items():
        console.print(f"{', '.join(name for _, name in pairs)}: {text}", soft_wrap=True)
    console.print(
        f"{record.images_seen:,} images at {record.cost.images_per_s:.0f}/s on {record.execution.device}; "
        "`genbench compare` ranks all runs"
    )
