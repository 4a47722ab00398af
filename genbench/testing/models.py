"""Checks of a model: what the training loop and the evaluators rely on.

A model is built tiny and trained for some steps on drawn pictures; nothing needs data, weights or a GPU.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from genbench.errors import GenbenchError, NotApplicable, in_one_line
from genbench.interfaces import Batch, Posterior
from genbench.records import Record
from genbench.testing.generators import other_states
from genbench.testing.interface import CheckFailed
from genbench.testing.models_measures import (
    apart,
    check_features,
    check_ownership,
    check_scalar,
    decoded,
    equal,
    furthest,
    made,
    misrouted,
    one_step,
    parameters,
    strayed,
    trials,
    views_seen,
)
from genbench.testing.models_trial import BATCH, LATENT, STEPS, ModelSubject, undisturbed
from genbench.train.checkpoint import Progress, load_checkpoint, save_checkpoint, weights_sha256
from genbench.train.optimisers import build_optimisers
from genbench.train.weighting import WeightedSimilarity

__all__ = ["ModelSubject"]

FAR = 10.0
"""Latents so many times as far out as the prior's are decoded too: what edits and extrapolations ask for."""

BEYOND = 1e-6
"""How far beyond [-1, 1] rounding may carry a pixel."""

EVALUATED = 1e-4
"""Largest difference between an image decoded by itself and among others, of the range from -1 to 1."""

CAPTURED = 0.1
"""Largest mean difference between weights after captured and after eager steps, in shares of how far they moved: their
kernels may be others, and a weight whose gradient is all rounding then moves another way."""


def moves(subject: ModelSubject) -> str:
    """Check that every network is moved: each of its parameters gets a gradient that is not always zero."""
    with undisturbed():
        started = subject.start()
        check_ownership(started.model)
        unpulled = {(name, at) for name, at, _ in parameters(started.model)}
        waiting = set(started.model.networks)
        for gradients in started.train(gated=False):
            waiting -= {name for name in gradients.of if bool(gradients.gates.get(name, True))}
            for name, own in gradients.of.items():
                unpulled -= {(name, at) for at, each in enumerate(own) if each is not None and bool(each.any())}
    never = [full for name, at, full in parameters(started.model) if (name, at) in unpulled]
    steps = len(started.positions)
    if never:
        raise CheckFailed(
            f"no gradient, or none but zero, in {steps} steps: {few(never)}",
            "each network needs a loss of its own name that all its parameters have a part in; what is not to be "
            "trained has `requires_grad_(False)`",
        )
    held = f"; held by its gate in each: {', '.join(sorted(waiting))}" if waiting else ""
    return (
        f"{', '.join(started.model.networks)}: all {len(parameters(started.model))} parameters in {steps} steps{held}"
    )


def routing(subject: ModelSubject) -> str:
    """Check that each network's gradient is that of its own loss and of nothing else, however `gradients` gets it."""
    with undisturbed():
        found = misrouted(subject)
    if not found.off <= found.allowed:
        raise CheckFailed(
            f"`{found.network}` gets another gradient than its own loss's: off by {found.off:.1e} of it",
            "its `gradients` must equal `genbench.train.gradients.route` of its `losses`",
        )
    return f"off by {found.off:.0e} at most"


def losses(subject: ModelSubject) -> str:
    """Check that losses, and what is logged, are finite scalars in every part of training, named after networks."""
    seen: set[str] = set()
    with undisturbed():
        started = subject.start()
        networks = list(started.model.networks)
        for images_seen in started.positions:
            found = started.model.losses(started.draw(images_seen))
            unknown = sorted({*found.of, *found.gates} - set(networks))
            if unknown:
                raise CheckFailed(
                    f"a loss or a gate of `{unknown[0]}`, but the networks are {', '.join(networks)}",
                    "name each loss after the network that alone minimises it",
                )
            for name, value in {**found.log, **found.of}.items():
                check_scalar(name, value, images_seen)
            seen |= found.of.keys()
    missing = [name for name in networks if name not in seen]
    if missing:
        raise CheckFailed(
            f"`{missing[0]}` has no loss in any of {len(started.positions)} steps",
            "leave what is not trained out of `networks`",
        )
    return f"finite, of {', '.join(networks)}"


def samples(subject: ModelSubject) -> str:
    """Check that decoded are finite images of the right shape in [-1, 1], of latents far from the origin too."""
    trial, least, most = subject.trial, 0.0, 0.0
    expected = (BATCH, trial.channels, trial.size, trial.size)
    with undisturbed():
        started = subject.start(trial).trained()
        for scale in (1.0, FAR):
            images = decoded(started.model.eval(), scale * started.latents(BATCH))
            if tuple(images.shape) != expected or images.dtype != torch.float32:
                raise CheckFailed(
                    f"decodes to {images.dtype} of the shape {tuple(images.shape)}, expected float32 of {expected}"
                )
            if not images.isfinite().all():
                raise CheckFailed("decodes to values that are not finite")
            least, most = min(least, images.min().item()), max(most, images.max().item())
    if max(-least, most) > 1 + BEYOND:
        raise CheckFailed(
            f"decodes to values from {least:.3g} to {most:.3g}, expected -1 to 1", "end the decoder with a tanh"
        )
    return f"{expected[1:]} in [{least:.2f}, {most:.2f}]"


def same_seed(subject: ModelSubject) -> str:
    """Check that the same seed gives the same first weights, losses and samples."""
    with undisturbed():
        one, other = subject.start(), subject.start()
        if weights_sha256(one.model) != weights_sha256(other.model):
            raise CheckFailed(
                "built twice from one seed, it has other weights", "draw them with torch's default generator alone"
            )
        pairs = zip(("losses", "samples"), made(one), made(other), strict=True)
    for what, first, second in pairs:
        if not equal(first, second):
            raise CheckFailed(
                f"the same seed gives other {what}",
                "draw noise with `batch.noise`, or with torch's default generator",
            )
    return "weights, losses and samples"


def noise(subject: ModelSubject) -> str:
    """Check that no random numbers but torch's are drawn from a global generator: genbench seeds no others."""
    before = other_states()
    with undisturbed():
        made(subject.start())
    drawn = [name for name, state in other_states().items() if state != before[name]]
    if drawn:
        raise CheckFailed(
            f"it draws from {drawn[0]}'s global generator, which genbench does not seed",
            "draw noise with `batch.noise`, or with torch's default generator",
        )
    return "none but torch's"


def in_place(subject: ModelSubject) -> str:
    """Check that images, attributes and latents are left as they were."""
    with undisturbed():
        started = subject.start()
        batch, latents = started.draw(0), started.latents(BATCH)
        given = {"images": batch.images, "latents": latents}
        if batch.attributes is not None:
            given["attributes"] = batch.attributes
        before = {name: values.clone() for name, values in given.items()}
        started.model.gradients(batch)
        started.model.losses(batch)
        with suppress(NotApplicable):
            started.model.encode(batch)
        decoded(started.model.eval(), latents)
    changed = [name for name, old in before.items() if not torch.equal(old, given[name])]
    if changed:
        raise CheckFailed(f"it changes the {changed[0]} that it is given", "use no operation in place on them")
    return f"{', '.join(before)} stay as they are"


def encoder(subject: ModelSubject) -> str:
    """Check that posteriors have the right shapes, with and without attributes."""
    with undisturbed():
        started = subject.start().trained()
    with undisturbed(), torch.no_grad():
        batch = started.draw(0)
        for known in (batch, Batch(batch.images)):  # an evaluator's images have no attributes
            posterior = started.model.eval().encode(known)
            for name, part in zip(Posterior._fields, posterior, strict=True):
                if tuple(part.shape) != (BATCH, LATENT):
                    raise CheckFailed(f"{name} has the shape {tuple(part.shape)}, expected {(BATCH, LATENT)}")
                if not part.isfinite().all():
                    raise CheckFailed(f"{name} is not finite")
    return f"mean and log-variance of {LATENT}"


def state(subject: ModelSubject) -> str:
    """Check that what it has learned comes back from a checkpoint, wholly."""
    with undisturbed(), TemporaryDirectory(prefix="genbench-check-") as folder:
        path = Path(folder) / "last.safetensors"
        trained, fresh = subject.start().trained(), subject.start()
        optimisers = [build_optimisers(each.model, each.config.training) for each in (trained, fresh)]
        save_checkpoint(path, trained.model, optimisers[0], Progress(), "of this check")
        load_checkpoint(path, fresh.model, optimisers[1], "of this check")
        size = path.stat().st_size
        pairs = zip(("losses", "samples"), made(trained), made(fresh), strict=True)
    for what, first, second in pairs:
        if not equal(first, second):
            raise CheckFailed(
                f"put back from its checkpoint, it has other {what}",
                "keep all that it learns in parameters and buffers (`register_buffer`), none of it in plain attributes",
            )
    return f"put back from {size / 1024:.0f} KiB"


def resuming(subject: ModelSubject) -> str:
    """Check that two steps, a stop, and two more end with the weights of four, bit for bit."""
    steps = STEPS // 2
    trial = replace(subject.trial, weight="auto", steps=steps)
    with undisturbed(), TemporaryDirectory(prefix="genbench-check-") as folder:
        whole, parted = Path(folder) / "whole", Path(folder) / "parted"
        ended(subject.run(trial, whole), "")
        subject.run(trial, parted, stop_after(steps // 2))
        ended(subject.run(trial, parted), "resumed, ")
        off = furthest(*(subject.checkpoint(trial, each) for each in (whole, parted)))
    if off != 0:
        raise CheckFailed(
            f"a run that was stopped and resumed ends with other weights, off by {off:.1e}",
            "a step may depend on nothing but the state, the batch and noise drawn with torch's default generator",
        )
    return f"{steps // 2} + {steps // 2} steps are {steps}, bit for bit"


def sizes(subject: ModelSubject) -> str:
    """Check that it can be trained on images of several sizes, grey and in colour, with either kind of networks."""
    tried, refused = [], []
    with undisturbed():
        for trial in trials(subject.trial):
            try:
                started = subject.start(trial)
            except CheckFailed:
                raise
            except GenbenchError as error:  # it says itself that this is not for it
                refused.append(f"{trial.words} ({error.message})")
                continue
            try:
                one_step(started, trial)
            except GenbenchError:
                raise
            except Exception as error:
                raise CheckFailed(
                    f"{trial.words}: {in_one_line(error)}", "take size, channels and attributes from the blueprint"
                ) from error
            tried.append(trial)
    if not tried:
        raise CheckFailed(f"it refuses all, such as {refused[0]}")
    return f"{len(tried)} combinations" + (f"; refused: {few(refused)}" if refused else "")


def phases(subject: ModelSubject) -> str:
    """Check that `phase` gives a name or None, and the same one whenever it is asked."""
    with undisturbed():
        started = subject.start()
        names, again = ([started.model.phase(at) for at in started.positions] for _ in range(2))
    wrong = [name for name in names if not isinstance(name, str | None)]
    if wrong:
        raise CheckFailed(f"`phase` returned {wrong[0]!r}, expected a name or None")
    if names != again:
        raise CheckFailed(
            "`phase` gives other names when it is asked again", "it may depend on images seen and on settings alone"
        )
    return ", ".join(dict.fromkeys(name or "none" for name in names))


def evaluation_mode(subject: ModelSubject) -> str:
    """Check that in evaluation mode no image depends on those that it is decoded, or encoded, with."""
    with undisturbed():
        started = subject.start().trained()
        off = apart(started.model.eval(), started.latents(BATCH), started.draw(0))
    if not off <= EVALUATED:
        raise CheckFailed(
            f"in evaluation mode an image or a latent changes by {off:.1e} with those that it is in a batch with",
            "take statistics of the batch in training mode alone",
        )
    return f"changes by {off:.0e} at most"


def similarity(subject: ModelSubject) -> str:
    """Check that a declared similarity is used, and that without a declaration there is none."""
    declared = subject.spec.similarity
    with undisturbed():
        started = subject.start()
        if declared is None:
            return "declares none, and is given none"
        if not isinstance(started.model.similarity, WeightedSimilarity):
            raise CheckFailed(
                f"it declares `{declared}`, but its `similarity` is {type(started.model.similarity).__name__}",
                "call `super().__init__(blueprint)`, which keeps the blueprint's",
            )
        views = views_seen(started)
    if not views:
        raise CheckFailed(
            f"it declares `{declared}`, but its losses never use it",
            "use `self.similarity`, or declare `similarity=None`",
        )
    return f"`{declared}`, used {len(views)} times in {len(started.positions)} steps"


def discriminator(subject: ModelSubject) -> str:
    """Check that a similarity is shown a discriminator's features just where the model declares one."""
    spec = subject.spec
    if spec.similarity is None:
        raise NotApplicable("it has no similarity that could be shown features")
    with undisturbed():
        started = subject.start()
        # In its losses, and where the similarity's weight is measured.
        pairs = [*views_seen(started), started.model.views(started.draw(started.positions[-1]))]
        shown = [view for pair in pairs for view in pair]
        layers = check_features(shown)
    told = {bool(view.features) for view in shown}
    if spec.discriminator and False in told:
        raise CheckFailed(
            "it declares a discriminator, but its similarity is shown views without features",
            "override `features`, and give both views what it returns; or declare `discriminator=False`",
        )
    if not spec.discriminator and True in told:
        raise CheckFailed("its similarity is shown features, but no discriminator is declared", "declare it")
    return f"features {few(layers)}" if layers else "none declared, none shown"


def half_precision(subject: ModelSubject) -> str:
    """Check that training in bfloat16 gives nothing that is not finite."""
    with undisturbed(), TemporaryDirectory(prefix="genbench-check-") as folder:
        record = subject.run(replace(subject.trial, precision="bfloat16"), Path(folder))
    ended(record, "in bfloat16, ", "compute losses and likelihoods in float32: `genbench.train.precision.precise`")
    return f"finite after {STEPS} steps"


def device(subject: ModelSubject) -> str:
    """Check that it trains on the device, and that on CUDA a phase that it names can be captured and replayed."""
    if subject.device == "cpu":
        raise NotApplicable("there is no other device than the CPU here")
    with undisturbed(), TemporaryDirectory(prefix="genbench-check-") as folder:
        eager, auto = (Path(folder) / name for name in ("eager", "auto"))
        subject.run(subject.trial, eager, device=subject.device, engine="eager")
        record = ended(subject.run(subject.trial, auto, device=subject.device), f"on {subject.device}, ")
        off = strayed(subject, *(subject.checkpoint(subject.trial, each) for each in (eager, auto)))
        named = subject.start().model.phase(0) is not None
    if named and record.execution.fallback:
        raise CheckFailed(
            f"on {subject.device}, its steps can't be captured: {record.execution.fallback}",
            "name no `phase` whose steps read a tensor's value or take different paths",
        )
    if not off <= CAPTURED:
        raise CheckFailed(
            f"on {subject.device}, captured steps end with other weights than eager ones, off by {off:.1%} of the way",
            "name one `phase` only where all steps take the same path through Python",
        )
    return f"{subject.device}, {record.execution.engine}: off by {off:.1%} of the way from eager steps"


def ended(record: Record | None, words: str, hint: str | None = None) -> Record:
    """Return a run's record; raise CheckFailed where it did not end well."""
    if record is None or record.status != "ok":
        raise CheckFailed(f"{words}training ended: {record.reason if record else 'it was stopped'}", hint)
    return record


def stop_after(steps: int) -> Callable[[], bool]:
    """Return what says stop after so many steps."""
    asked = iter([False] * steps)
    return lambda: next(asked, True)


def few(names: tuple[str, ...] | list[str], most: int = 4) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
