"""Latent arithmetic with visual attributes, judged by a classifier.

An attribute's vector is the mean latent of the images with it minus the mean of those without (Larsen et al. 2016,
section 4.2). Each image's latent is moved along one vector, towards having the attribute where it lacks it and away
where it has it, and decoded. The classifier then says which attributes the edited image shows; the target is the
image's own attributes with that one flipped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genbench.errors import NotApplicable
from genbench.evaluate.classifier import AttributeClassifier
from genbench.evaluate.context import EvaluationContext
from genbench.images import to_uint8
from genbench.interfaces import Evaluator
from genbench.records import Scalar, Score
from genbench_evaluators.reconstruction import standard_error
from genbench_evaluators.settings import AttributeSettings


@dataclass(frozen=True)
class Task:
    """What is edited.

    Attributes:
        latents: (N, latent_size), of the images to edit.
        signs: (N, A) in {-1, 1}: whether each has each of the classifier's attributes.
        vectors: (A, latent_size).
        source: where the vectors and signs come from, for the protocol.
        vector_images: how many images the vectors are means of.
    """

    latents: Tensor
    signs: Tensor
    vectors: Tensor
    source: str
    vector_images: int


class AttributeArithmetic(Evaluator):
    """Whether edits along attribute vectors do what they should, in two scores, both means over images and attributes.

    `attributes` is the cosine, in [-1, 1], between the attributes shown after an edit and those aimed at: all of them,
    so that it falls where an edit, or the reconstruction under it, loses the rest of the face. `attributes-success` is
    the fraction of edits after which the classifier sees the attribute as aimed at, whatever became of the rest.
    """

    def __init__(self, settings: AttributeSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        classifier = context.classifier()
        try:
            task = self._real_images(context, classifier)
        except NotApplicable:
            task = self._samples(context, classifier)
        untouched = _shown(context, classifier, task.latents)
        cosines, successes, idle = [], [], []
        for k in range(task.signs.shape[1]):
            target = _flipped(task.signs, k)
            edited = task.latents + self.settings.strength * target[:, k, None] * task.vectors[k]
            shown = _shown(context, classifier, edited)
            cosines.append(F.cosine_similarity(shown, target, dim=1))
            successes.append((shown[:, k] * target[:, k] > 0).double())
            idle.append(F.cosine_similarity(untouched, target, dim=1))
        protocol = context.protocol(
            latents=task.source,
            images=len(task.latents),
            vector_images=task.vector_images,
            strength=self.settings.strength,
            pixel_range="[0, 255], rounded",
            classifier_weights=classifier.weights_hash,
            **classifier.facts,
        )
        names = classifier.report.names
        # What not editing at all would score shows how much of the cosine the edits have earned.
        unedited = {"unedited": torch.stack(idle, 1).mean().item()}
        yield _score("attributes", torch.stack(cosines, 1), names, protocol, unedited)
        yield _score("attributes-success", torch.stack(successes, 1), names, protocol, {})

    def _real_images(self, context: EvaluationContext, classifier: AttributeClassifier) -> Task:
        """Edit test images, along vectors of the training images' posterior means and labels."""
        columns = list(classifier.report.columns)
        latents = context.latents("train").double()
        labels = context.attributes("train")[:, columns].double()
        limit = self.settings.images or None
        signs = context.attributes("test")[:limit, columns].double() * 2 - 1
        chosen = context.latents("test")[:limit].double()
        return Task(chosen, signs, attribute_vectors(latents, labels), "posterior-mean", len(latents))

    def _samples(self, context: EvaluationContext, classifier: AttributeClassifier) -> Task:
        """Edit samples, along vectors of other samples; which attributes they have, the classifier says."""
        count = context.config.evaluation.samples
        latents = context.prior(count).double()
        labels = torch.cat([classifier.logits(x).cpu() > 0 for x in context.samples(count)]).double()
        wanted = self.settings.images or context.count("test")
        chosen = context.prior(wanted, "edits").double()
        signs = torch.where(_shown(context, classifier, chosen) > 0, 1.0, -1.0).double()
        return Task(chosen, signs, attribute_vectors(latents, labels), "classified-samples", count)


def _score(
    name: str, values: Tensor, names: Sequence[str], protocol: dict[str, Scalar], details: dict[str, float]
) -> Score:
    """Return the mean of values (N, A), with the standard error over images and each attribute's own mean."""
    return Score(
        name=name,
        value=values.mean().item(),
        uncertainty=standard_error(values.mean(1)),
        direction="higher",
        protocol=protocol,
        details=details | dict(zip(names, values.mean(0).tolist(), strict=True)),
    )


def attribute_vectors(latents: Tensor, labels: Tensor) -> Tensor:
    """Return the mean latent with each attribute minus the mean without it, (A, latent_size) (Larsen et al. 2016, 4.2).

    A vector is zero where all latents have the attribute or none has: an edit along it changes nothing, and scores so.

    Args:
        latents: (N, latent_size) float64.
        labels: (N, A) in {0, 1}, float64.
    """
    having = labels.sum(0)
    lacking = len(labels) - having
    total = latents.sum(0)
    with_it = labels.T @ latents
    vectors = with_it / having.clamp(min=1)[:, None] - (total - with_it) / lacking.clamp(min=1)[:, None]
    return torch.where((having > 0)[:, None] & (lacking > 0)[:, None], vectors, 0.0)


def _flipped(signs: Tensor, k: int) -> Tensor:
    """Return signs with column k negated."""
    target = signs.clone()
    target[:, k] = -target[:, k]
    return target


def _shown(context: EvaluationContext, classifier: AttributeClassifier, latents: Tensor) -> Tensor:
    """Return what attributes images decoded from latents show: tanh(logit/2) = 2σ(logit) − 1, (N, A) float64."""
    images = to_uint8(context.decode(latents.float()))
    batches = torch.split(images, context.batch_size)
    return torch.cat([(classifier.logits(batch).cpu().double() / 2).tanh() for batch in batches])
