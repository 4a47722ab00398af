"""Visual attribute vectors (Larsen et al. 2016): what is added to a latent to give its image an attribute.

A vector is the mean latent of the training images with the attribute minus that of those without. Latents are the means
of posteriors; a vector is added at strength 1 to give the attribute and at -1 to take it away.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable, unknown_name
from genbench.evaluate.context import EvaluationContext


def attribute_vectors(context: EvaluationContext, names: Sequence[str]) -> Mapping[str, Tensor]:
    """Return the vectors of attributes by name, each (latent_size,) float64, from all training images.

    Raises:
        NotApplicable: the data set has no attributes, the model has no encoder, or all training images or none have an
            attribute that is named.
        GenbenchError: the data set has no attribute of that name.
    """
    labels = context.attributes("train").double()
    unknown = [name for name in names if name not in context.attribute_names]
    if unknown:
        raise unknown_name("attribute", unknown[0], context.attribute_names)
    chosen = labels[:, [context.attribute_names.index(name) for name in names]]
    lacking = one_sided(chosen, names)
    if lacking:
        raise NotApplicable("; ".join(f"{name} has no vector: {why}" for name, why in lacking.items()))
    return dict(zip(names, mean_differences(context.latents("train").double(), chosen), strict=True))


def edited(context: EvaluationContext, latents: Tensor, vector: Tensor, strength: float) -> Tensor:
    """Return what is decoded from latents (N, latent_size) moved along a vector; (N, C, H, W) in [-1, 1].

    At strength 0 it is what is decoded from the latents as they are, bit for bit.
    """
    return context.decode((latents.double() + strength * vector).float())


def mean_differences(latents: Tensor, labels: Tensor) -> Tensor:
    """Return the mean latent with each attribute minus the mean without it, (A, latent_size) (Larsen et al. 2016).

    A vector is zero where all latents have the attribute or none has: `one_sided` says where.

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


def one_sided(labels: Tensor, names: Sequence[str]) -> dict[str, str]:
    """Return the attributes that have no vector, each with the reason; `labels` is (N, A) in {0, 1}."""
    count = len(labels)
    having = labels.sum(0).tolist()
    return {
        name: f"{'none' if had == 0 else 'each'} of the {count} latents has it"
        for name, had in zip(names, having, strict=True)
        if had in (0, count)
    }


def completed_name(text: str, known: Sequence[str]) -> str:
    """Return the attribute that is meant: by its name, or by a beginning that no other has; case does not matter.

    Where no name begins so, words within names count, divided by underscores: `hat` is `Wearing_Hat`.

    Raises:
        GenbenchError: none begins so, or several do.
    """
    if text in known:
        return text
    typed = text.casefold()
    begun = [name for name in known if name.casefold().startswith(typed)]
    begun = begun or [name for name in known if f"_{typed}" in name.casefold()]
    whole = [name for name in begun if len(name) == len(text)]
    fitting = whole or begun
    if len(fitting) == 1:
        return fitting[0]
    if fitting and text:
        raise GenbenchError(f"attribute `{text}` may be {', '.join(fitting)}", "type more of the name that you mean")
    raise unknown_name("attribute", text, known)
