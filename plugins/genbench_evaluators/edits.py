"""What is edited, and what the classifier sees in the outcome."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genbench.data.packed import Split
from genbench.errors import NotApplicable
from genbench.evaluate.classifier import AttributeClassifier
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.editing import mean_differences, one_sided
from genbench.images import to_uint8
from genbench.records import Scalar
from genbench_evaluators.arithmetic import (
    Effects,
    Shown,
    flipped,
    gather,
    measure_edit,
    random_vectors,
)

DECODED_AT_ONCE = 1024
"""Images; bounds the memory that edits take."""

Move = Callable[[int], Tensor]
"""Returns what is added to the latents (N, latent_size) to edit the k-th edited attribute."""


@dataclass(frozen=True)
class Task:
    """What is edited.

    Attributes:
        latents: (N, latent_size) float64, of the images to edit.
        signs: (N, A) in {-1, 1}: whether each has each of the attributes that the classifier tells.
        names: the A attributes.
        edited: the columns of the K attributes that have a vector.
        vectors: (K, latent_size) float64.
        left_out: why the others have none.
        facts: where vectors and signs come from, for protocols.
        reconstructs: whether the latents are those of the first test images, in order.
    """

    latents: Tensor
    signs: Tensor
    names: tuple[str, ...]
    edited: tuple[int, ...]
    vectors: Tensor
    left_out: dict[str, str]
    facts: dict[str, Scalar]
    reconstructs: bool

    @property
    def edited_names(self) -> tuple[str, ...]:
        """Return the names of the K attributes."""
        return tuple(self.names[k] for k in self.edited)

    def along_vectors(self, strength: float) -> Move:
        """Return the moves along the attributes' vectors, each image's towards what is aimed at."""
        return lambda k: -strength * self.signs[:, self.edited[k], None] * self.vectors[k]

    def at_random(self, strength: float, seeds: Callable[[str], int]) -> Move:
        """Return moves just as long, each image's in a direction of its own; `seeds` gives each attribute's seed."""
        names = self.edited_names
        return lambda k: random_vectors(len(self.latents), strength * self.vectors[k], seeds(names[k]))

    def head(self, count: int) -> "Task":
        """Return the same task on the first images."""
        return replace(self, latents=self.latents[:count], signs=self.signs[:count])


def prepare(context: EvaluationContext, classifier: AttributeClassifier, images: int, samples: int) -> Task:
    """Choose what to edit: test images where the model has an encoder, else samples.

    Args:
        context: of the run.
        classifier: names the attributes.
        images: how many to edit; 0: as many as the test split has.
        samples: how many the vectors of a model without an encoder come from.

    Raises:
        NotApplicable: no attribute has a vector.
    """
    try:
        latents, labels = context.latents("train").double(), labels_of(context, classifier, "train")
    except NotApplicable:
        return _of_samples(context, classifier, images or context.count("test"), samples)
    chosen = slice(images or None)
    facts: dict[str, Scalar] = {
        "latents": "posterior-mean",
        "vectors_from": "train",
        "vector_images": len(latents),
        "split": "test",
    }
    signs = labels_of(context, classifier, "test")[chosen] * 2 - 1
    return _task(latents, labels, context.latents("test")[chosen].double(), signs, classifier, facts)


def look(context: EvaluationContext, classifier: AttributeClassifier, latents: Tensor) -> Shown:
    """Return what the classifier sees in the images decoded from latents."""
    parts = torch.split(latents.float(), DECODED_AT_ONCE)
    return look_at(classifier, (to_uint8(context.decode(part)) for part in parts))


def look_at(classifier: AttributeClassifier, batches: Iterable[Tensor]) -> Shown:
    """Return what the classifier sees in images, uint8 (N, C, H, W) batch by batch."""
    features = [classifier.features(images) for images in batches]
    logits = [classifier.logits_of(batch) for batch in features]
    return Shown(torch.cat(logits).cpu().double().sigmoid(), torch.cat(features).cpu().double())


def edit(context: EvaluationContext, classifier: AttributeClassifier, task: Task, before: Shown, move: Move) -> Effects:
    """Edit each image in each attribute and return what that did; each outcome is decoded once."""
    directions = classifier.directions.cpu().double()
    effects = []
    for k, column in enumerate(task.edited):
        after = look(context, classifier, task.latents + move(k))
        effects.append(measure_edit(before, after, flipped(task.signs, column), column, directions[column]))
    return gather(effects)


def _of_samples(context: EvaluationContext, classifier: AttributeClassifier, images: int, samples: int) -> Task:
    """Edit samples, along vectors of other samples; which attributes they have, the classifier says."""
    latents = context.sample_latents(samples).double()
    labels = torch.cat([classifier.logits(batch).cpu() > 0 for batch in context.samples(samples)]).double()
    chosen = context.sample_latents(images, "edits").double()
    signs = torch.where(look(context, classifier, chosen).probabilities > 0.5, 1.0, -1.0).double()
    facts: dict[str, Scalar] = {
        "latents": "classified-samples",
        "vectors_from": "classified samples",
        "vector_images": samples,
        **context.facts(context.sampled(samples)),
    }
    return _task(latents, labels, chosen, signs, classifier, facts)


def _task(
    latents: Tensor,
    labels: Tensor,
    chosen: Tensor,
    signs: Tensor,
    classifier: AttributeClassifier,
    facts: dict[str, Scalar],
) -> Task:
    names = classifier.report.names
    left_out = one_sided(labels, names)
    edited = tuple(k for k, name in enumerate(names) if name not in left_out)
    if not edited:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise NotApplicable(f"no attribute has a vector: {reasons}")
    vectors = mean_differences(latents, labels)[list(edited)]
    known: dict[str, Scalar] = {
        "images": len(chosen),
        "edited_attributes": len(edited),
        "left_out": ", ".join(left_out) or "none",
    }
    return Task(chosen, signs, names, edited, vectors, left_out, facts | known, facts["latents"] == "posterior-mean")


def labels_of(context: EvaluationContext, classifier: AttributeClassifier, split: Split) -> Tensor:
    """Return the labels of the attributes that the classifier tells, (N, A) in {0, 1}, float64."""
    return context.attributes(split)[:, list(classifier.report.columns)].double()
