"""Latent arithmetic with visual attributes, judged by a classifier: five scores of one set of edits.

An attribute's vector is the mean latent of the images with it minus the mean of those without (Larsen et al. 2016,
"Visual attribute vectors"). Each image's latent is moved along one vector, towards having the attribute where it lacks
it and away where it has it, and decoded. The target is the image's own attributes with that one flipped.
"""

from collections.abc import Iterable
from functools import partial

from genbench.errors import NotApplicable
from genbench.evaluate.classifier import AttributeClassifier
from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Evaluator
from genbench.records import Check, Score, Sheet
from genbench_evaluators.arithmetic import PAIRED_IMAGES, Effects, between_images
from genbench_evaluators.attribute_scores import (
    Outcome,
    Scores,
    attribute_sheet,
    classifier_sheet,
    entanglement_sheet,
    strength_sheet,
)
from genbench_evaluators.attribute_settings import AttributeSettings, parse_strengths
from genbench_evaluators.edits import Task, edit, labels_of, look, look_at, prepare
from genbench_evaluators.health_rules import Rule
from genbench_evaluators.uncertainty import BOOTSTRAPPED

FLOOR_IMAGES = 128
"""Moves in random directions are tried on the first so many images."""

CURVE_IMAGES = 64
"""Edits of each strength of the curve likewise."""

EDIT_EFFECT = Rule(
    low=0.02,
    under="Edits along attributes' vectors show no more of the attribute than edits along random vectors do.",
)
"""How much further the classifier's probability of an attribute moves in the wanted direction along its vector than
along a random one of the same length; 0.08 to 0.30 for all models measured on the CelebA subset."""


class AttributeArithmetic(Evaluator):
    """Whether edits along attribute vectors do what they should; scores are means over images and edited attributes.

    - `attributes`: the cosine, in [-1, 1], between the attributes shown after an edit and those aimed at: all of them,
      so that it falls where an edit, or the reconstruction under it, loses the rest of the face.
    - `attributes-success`: the fraction of edits after which the attribute is seen as aimed at.
    - `attributes-direction`: the cosine, in [-1, 1], between the change of what is shown and the one wanted.
    - `attributes-leakage`: how far the other attributes' probabilities move, in [0, 1].
    - `attributes-identity`: how far the features move outside the edited attribute's own direction, 1 being as far
      as from one image to another.
    """

    def __init__(self, settings: AttributeSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score | Check | Sheet]:
        classifier = context.classifier()
        task = prepare(context, classifier, self.settings.images, context.sampling.samples)
        outcome = self._edit(context, classifier, task)
        protocol = context.protocol(
            **task.facts,
            strength=self.settings.strength,
            pixel_range="[0, 255], rounded",
            uncertainty=BOOTSTRAPPED,
            identity_pairs=f"all of the first {min(PAIRED_IMAGES, len(task.latents))} images",
            classifier_weights=classifier.weights_hash,
            **classifier.facts,
        )
        scores = Scores(outcome, protocol, context.seed("attributes", "bootstrap"), _warnings(classifier, task))
        yield from scores.all()
        effect = (outcome.edits.move.mean() - outcome.floor.move.mean()).item()
        yield EDIT_EFFECT.check("edit-effect", effect)
        yield classifier_sheet(classifier.report)
        yield attribute_sheet(outcome)
        yield entanglement_sheet(outcome)
        if strengths := parse_strengths(self.settings.strengths):
            yield strength_sheet(_curve(context, classifier, task, outcome, strengths), outcome.spacing)
        if reasons := scores.unmeasurable():
            raise NotApplicable("; ".join(reasons))

    def _edit(self, context: EvaluationContext, classifier: AttributeClassifier, task: Task) -> Outcome:
        strength = self.settings.strength
        before = look(context, classifier, task.latents)
        first = task.head(FLOOR_IMAGES)
        random = first.at_random(strength, partial(context.seed, "attributes", "floor"))
        directions = classifier.directions.cpu().double()[list(task.edited)]
        real = look_at(classifier, context.real("test", len(task.latents)))
        return Outcome(
            names=task.names,
            edited=task.edited,
            signs=task.signs,
            before=before,
            edits=edit(context, classifier, task, before, task.along_vectors(strength)),
            floor=edit(context, classifier, first, before.head(FLOOR_IMAGES), random),
            real=real,
            real_signs=labels_of(context, classifier, "test")[: len(task.latents)] * 2 - 1,
            reconstructs=task.reconstructs,
            directions=directions,
            spacing=between_images(before.features, directions),
        )


def _curve(
    context: EvaluationContext,
    classifier: AttributeClassifier,
    task: Task,
    outcome: Outcome,
    strengths: tuple[float, ...],
) -> dict[float, Effects]:
    """Return what edits of each strength do to the first images."""
    first, before = task.head(CURVE_IMAGES), outcome.before.head(CURVE_IMAGES)
    return {s: edit(context, classifier, first, before, first.along_vectors(s)) for s in strengths}


def _warnings(classifier: AttributeClassifier, task: Task) -> tuple[str, ...]:
    """Say what a reader of the headline must know."""
    report = classifier.report
    said = []
    if report.excluded:
        total = len(report.excluded) + len(report.names)
        said.append(
            f"{len(report.excluded)} of the data set's {total} attributes take no part, since the classifier can't "
            f"learn, test or tell them: {', '.join(report.excluded)}"
        )
    if task.left_out:
        reasons = {why: [n for n, other in task.left_out.items() if other == why] for why in task.left_out.values()}
        each = "; ".join(f"{why}: {', '.join(names)}" for why, names in reasons.items())
        said.append(f"{len(task.left_out)} attributes have no vector and are not edited: {each}")
    if not report.calibrated_on:
        said.append("the classifier's probabilities are not calibrated, since the validation split is empty")
    return tuple(said)
