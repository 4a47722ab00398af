"""Health of a decoder as training sees it: the gradients that pull at it, and its batch-norm in both modes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.images import to_float
from genbench.interfaces import Batch, Model
from genbench.networks import seeded
from genbench.records import Check
from genbench.train.gradients import trainable
from genbench_evaluators.health_rules import Rule

BATCHES = 4
"""Batches that a mean is taken over."""

BATCH = 128
"""Images of a batch; for gradients fewer, where training has fewer. In smaller ones the statistics of batch-norm are so
noisy that even a sound model's samples depend on which others are decoded with them."""

GRADIENT_BALANCE = Rule(
    low=0.01,
    high=100.0,
    under="The GAN's term hardly moves the decoder: the model is trained by its similarity alone.",
    over="The similarity's term hardly moves the decoder: the model is trained as a GAN, and need not reconstruct.",
)
"""Norm of the GAN term's gradient in the decoder's parameters over that of the similarity's. Esser et al. 2021
(equation 7) hold the two equal. γ (Larsen et al. 2016, "Weighting VAE vs. GAN") may lean either way, but a term with a
hundredth of the other's gradient is lost in the noise that batches have."""

BATCH_NORM = Rule(
    high=0.25,
    over="Samples look other in evaluation mode than in training: batch-norm's running statistics do not fit them.",
)
"""Mean squared difference between a sample decoded with running statistics and with its batch's own, over the data's
variance: the two should stand for the same (Ioffe & Szegedy 2015, section 3.1). A batch's statistics are noisy, so it
is never 0: all models measured on the CelebA subset have 0.02 to 0.08. A quarter is a difference of half the data's
standard deviation."""


def gradient_checks(context: EvaluationContext) -> Iterator[Check]:
    """Yield the balance of the decoder's terms; nothing, for a model that doesn't tell them."""
    model = context.model
    squares = torch.zeros(2, dtype=torch.float64)
    for number, batch in enumerate(_training_batches(context)):
        with undisturbed(model), seeded(context.seed("health", "gradients", number)):
            model.train()
            found = squared_norms(model, batch)
        if found is None:
            return
        squares += found
    if squares.any():
        yield GRADIENT_BALANCE.check("gradient-balance", (squares[0] / squares[1]).sqrt().item())


def squared_norms(model: Model, batch: Batch) -> Tensor | None:
    """Return the squared norms of the gradients of `gan` and of `similarity` in the decoder's parameters, (2,) float64.

    None where the model does not tell these terms.
    """
    with torch.enable_grad():
        terms = model.terms(batch)
        if not {"gan", "similarity"} <= set(terms) or "decoder" not in model.networks:
            return None
        parameters = trainable(model.networks["decoder"])
        own = [
            torch.autograd.grad(terms[name], parameters, retain_graph=True, allow_unused=True)
            for name in ("gan", "similarity")
        ]
    return torch.stack([_squared_norm(gradient for gradient in each if gradient is not None) for each in own])


def batch_norm_checks(context: EvaluationContext, variance: float) -> Iterator[Check]:
    """Yield how far samples depend on the mode; nothing, for a model without batch-norm.

    Args:
        variance: of the data, as `pixel_variance` has it.
    """
    norms = [module for module in context.model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    latents = torch.split(context.sample_latents(BATCHES * BATCH), BATCH)
    with undisturbed(context.model):
        for norm in norms:
            norm.train()
        own = [_decode(context, part, number) for number, part in enumerate(latents)]
    running = [_decode(context, part, number) for number, part in enumerate(latents)]
    difference = torch.cat(
        [(a - b).square().flatten(1).mean(1).cpu().double() for a, b in zip(own, running, strict=True)]
    )
    yield BATCH_NORM.check("batch-norm", difference.mean().item() / variance)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put back every module's mode and every buffer, bit for bit, whatever passes through the model meanwhile."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                buffer.copy_(value)
                setattr(module, name, buffer)  # a module may have put another tensor in its place
        for module, mode in modes:
            module.training = mode


def _training_batches(context: EvaluationContext) -> Iterator[Batch]:
    """Yield the first training images in whole batches."""
    size = min(context.config.training.batch_size, BATCH)
    images = torch.cat(list(context.real("train", BATCHES * size)))
    labels = _labels(context)
    for start in range(0, max(1, len(images) - size + 1), size):
        chosen = images[start : start + size]
        attributes = None if labels is None else labels[start : start + size].float().to(chosen.device)
        yield Batch(to_float(chosen), attributes, context.config.training.images)


def _labels(context: EvaluationContext) -> Tensor | None:
    try:
        return context.attributes("train")
    except NotApplicable:
        return None


def _decode(context: EvaluationContext, latents: Tensor, number: int) -> Tensor:
    # Not the context's own `decode`: its batches are of another size, and training's size is what matters here.
    with torch.no_grad(), seeded(context.seed("health", "decode", number)):
        return context.model.decode(latents.to(context.device)).clamp(-1, 1)


def _squared_norm(gradients: Iterable[Tensor]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for gradient in gradients:
        total += gradient.cpu().double().square().sum()
    return total
