"""What is lost between test images and their reconstructions: MSE, PSNR, SSIM, MS-SSIM."""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from math import log10
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genbench.data.packed import Split
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.images import squared_errors
from genbench.interfaces import Evaluator
from genbench.records import Scalar, Score
from genbench_evaluators.uncertainty import OVER_IMAGES, standard_error

SPLIT: Split = "test"

ROUNDING = (1 / 255) ** 2 / 12
"""Mean squared error that rounding to 8 bits leaves in a real image in [0, 1], each value within its step alike."""

WINDOW = 11
"""Side of SSIM's Gaussian window in pixels."""

SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window in pixels."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, the finest first (Wang et al. 2003, section 3.2)."""

Measure = Callable[[Tensor, Tensor], Tensor]
"""From real images and reconstructions, (N, C, H, W) in [-1, 1], to one value for each, (N,) or (N, K)."""


class ReconstructionError(Evaluator):
    """Mean over test images of the squared error of a pixel's channel in [0, 1], decoded from the posterior's mean."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        errors = measured(context, squared_errors)
        yield mean_score(context, "mse", "lower", errors, {"pixel_range": "[0, 1]"})


class SignalToNoise(Evaluator):
    """Mean over test images of the peak signal-to-noise ratio 10·log10(1 / MSE) of one image in [0, 1], in dB."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        errors = measured(context, squared_errors)
        yield mean_score(
            context,
            "psnr",
            "higher",
            signal_to_noise(errors),
            {
                "pixel_range": "[0, 1]",
                "unit": "dB",
                "limit": f"{-10 * log10(ROUNDING):.4f} dB, what rounding to 8 bits alone leaves",
            },
            details={"of-mean-mse": signal_to_noise(errors.clamp(min=ROUNDING).mean()).item()},
            warnings=_limited(errors),
        )


class StructuralSimilarity(Evaluator):
    """Mean over test images of SSIM (Wang et al. 2004, eq. 13 and 17), of the windows that lie inside the image."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        check_ssim_size(context.dataset.size)
        inside, bordered = measured(context, lambda real, fake: torch.stack(ssim(_unit(real), _unit(fake)), 1)).T
        yield mean_score(
            context,
            "ssim",
            "higher",
            inside,
            _ssim_facts(),
            details={"with-reflected-borders": bordered.mean().item()},
        )


class MultiScaleSimilarity(Evaluator):
    """Mean over test images of MS-SSIM (Wang et al. 2003, eq. 7), on as many scales as the images have room for."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        weights = scale_weights(context.dataset.size)
        count, whole = len(weights), len(SCALE_WEIGHTS)
        values = measured(context, lambda real, fake: multiscale_ssim(_unit(real), _unit(fake), weights))
        fewer = f"with {count} of {whole} scales, their weights renormalised: does not compare with published values"
        yield mean_score(
            context,
            "ms-ssim",
            "higher",
            values,
            _ssim_facts()
            | {
                "scales": count,
                "scale_weights": ", ".join(f"{weight:.4f}" for weight in weights),
                "downsampling": "mean of 2 × 2 pixels",
                "negative_factors": "count as 0",
            },
            warnings=(fewer,) if count < whole else (),
        )


def signal_to_noise(errors: Tensor) -> Tensor:
    """Return 10·log10(1 / MSE) in dB of mean squared errors in [0, 1], of any shape.

    An error counts as no less than what rounding to 8 bits leaves in the real image: below it, down to the infinite
    ratio of a perfect copy, the ratio says nothing of the scene.
    """
    return -10 * errors.clamp(min=ROUNDING).log10()


def ssim(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM of each image, (N,), of images (N, C, H, W) in [0, 1] with sides of at least `WINDOW`.

    Each channel is compared by itself (Wang et al. 2004, section III.C: 11 × 11 Gaussian window with σ = 1.5,
    K1 = 0.01, K2 = 0.03).

    Returns:
        The mean over windows that lie inside the image, as the authors' program and most others take it; and the mean
        over one window for each pixel, the image being reflected at its borders, as torchmetrics' classes do.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    bordered, pixels = structural_similarity_index_measure(
        fake, real, sigma=SIGMA, kernel_size=WINDOW, reduction="none", data_range=1.0, return_full_image=True
    )
    border = WINDOW // 2
    return pixels[..., border:-border, border:-border].flatten(1).mean(1), bordered


def multiscale_ssim(real: Tensor, fake: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Return MS-SSIM of each image, (N,), of images (N, C, H, W) in [0, 1], with these exponents, the finest first.

    The product over scales of contrast times structure and, at the coarsest, of SSIM, each over windows that lie inside
    the image; negative factors count as 0, for they have no real power.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    factors = []
    for _ in weights[:-1]:
        _, contrast_structure = structural_similarity_index_measure(
            fake,
            real,
            sigma=SIGMA,
            kernel_size=WINDOW,
            reduction="none",
            data_range=1.0,
            return_contrast_sensitivity=True,
        )
        factors.append(contrast_structure)
        real, fake = F.avg_pool2d(real, 2), F.avg_pool2d(fake, 2)
    factors.append(ssim(real, fake)[0])
    stacked = torch.stack(factors, 1).clamp(min=0)
    return stacked.pow(torch.tensor(weights, device=stacked.device)).prod(1)


def scale_weights(side: int) -> tuple[float, ...]:
    """Return MS-SSIM's exponents for images of so many pixels: of all scales that hold a window, summing to 1.

    Raises:
        NotApplicable: there is room for one scale at most.
    """
    room = [weight for scale, weight in enumerate(SCALE_WEIGHTS) if side // 2**scale >= WINDOW]
    if len(room) < 2:
        raise NotApplicable(
            f"MS-SSIM needs images of at least {2 * WINDOW} px, these are {side} px: two scales of {WINDOW} px windows",
            "`ssim` has one scale",
        )
    # The five published ones sum to 1 already, but for their rounding; they are used as they stand.
    return SCALE_WEIGHTS if len(room) == len(SCALE_WEIGHTS) else tuple(weight / sum(room) for weight in room)


def check_ssim_size(side: int) -> None:
    """Raise NotApplicable where images of so many pixels hold no window."""
    if side < WINDOW:
        raise NotApplicable(f"SSIM needs images of at least {WINDOW} px, its window, these are {side} px")


def measured(context: EvaluationContext, measure: Measure) -> Tensor:
    """Return a measure of all test images and their reconstructions, (N,) or (N, K), float64 on the CPU."""
    return torch.cat([measure(real, fake).cpu().double() for real, fake in context.reconstructions(SPLIT)])


def mean_score(
    context: EvaluationContext,
    name: str,
    direction: Literal["higher", "lower"],
    values: Tensor,
    facts: Mapping[str, Scalar],
    *,
    details: Mapping[str, float] | None = None,
    warnings: tuple[str, ...] = (),
) -> Score:
    """Return the mean of a measure of all test images, (N,), as a score with its standard error over images.

    Args:
        facts: what the protocol says beside which images were compared.
    """
    return Score(
        name=name,
        value=values.mean().item(),
        uncertainty=standard_error(values),
        direction=direction,
        protocol=context.protocol(
            images=len(values),
            split=SPLIT,
            latents="posterior mean",
            quantised=False,
            uncertainty=OVER_IMAGES,
            **facts,
        ),
        details=dict(details or {}),
        warnings=warnings,
    )


def _unit(images: Tensor) -> Tensor:
    """Turn images in [-1, 1] into images in [0, 1]."""
    return (images + 1) / 2


def _limited(errors: Tensor) -> tuple[str, ...]:
    count = int((errors < ROUNDING).sum())
    if not count:
        return ()
    return (f"{count} of {len(errors)} images differ by less than 8 bits can show and count as just that",)


def _ssim_facts() -> dict[str, Scalar]:
    return {
        "pixel_range": "[0, 1]",
        "window": f"Gaussian, {WINDOW} × {WINDOW} px, σ {SIGMA}, inside the image only",
        "constants": "K1 0.01, K2 0.03",
        "channels": "each by itself",
        "library": f"torchmetrics {version('torchmetrics')}",
    }
