"""Watson's perceptual model: differences of frequencies in blocks of pixels, in units of the least that is seen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genbench.errors import NotApplicable
from genbench.evaluate.extractors.weights import FOLDER_VARIABLE, Published, Weights, find, fitting, read
from genbench.interfaces import Similarity, View
from genbench.records import Scalar
from genbench_similarities.settings import WatsonSettings

BLOCK = 8
"""Side of a block in pixels."""

SENSITIVITY = (
    (1.40, 1.01, 1.16, 1.66, 2.40, 3.43, 4.79, 6.56),
    (1.01, 1.45, 1.32, 1.52, 2.00, 2.71, 3.67, 4.93),
    (1.16, 1.32, 2.24, 2.59, 2.98, 3.64, 4.60, 5.88),
    (1.66, 1.52, 2.59, 3.77, 4.55, 5.30, 6.28, 7.60),
    (2.40, 2.00, 2.98, 4.55, 6.15, 7.46, 8.71, 10.17),
    (3.43, 2.71, 3.64, 5.30, 7.46, 9.62, 11.58, 13.51),
    (4.79, 3.67, 4.60, 6.28, 8.71, 11.58, 14.50, 17.29),
    (6.56, 4.93, 5.88, 7.60, 10.17, 13.51, 17.29, 21.15),
)
"""Least visible amplitude of each coefficient of a block's cosine transform, in grey levels of 255 (Watson 1993)."""

LUMINANCE, CONTRAST, POOLING = 0.649, 0.7, 4.0
"""Exponents of masking by brightness and by contrast, and of the sum over coefficients (Watson 1993)."""

YCBCR = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))
"""Brightness and two differences of colour, of red, green and blue, as in JPEG files."""

FILES = {1: "gray_watson_fft_trial0.pth", 3: "rgb_watson_fft_trial0.pth"}
"""Files with the fitted constants by the number of an image's channels, as the authors publish them."""

URL = "https://github.com/SteffenCzolbe/PerceptualSimilarity/raw/master/src/loss/weights"

_TINY = 1e-10
"""Keeps powers and their slopes finite (Czolbe et al. 2020, their ε)."""

FAINT = 0.5 / 255
"""Amplitude of a wave of one grey level of 255, whose phase nobody sees."""

_SILENT = 1e-6
"""Amplitude of what is but rounding, and has no phase."""


class Watson(Similarity):
    """Watson's distance of the blocks of brightness and of two colour differences, weighed (Czolbe et al. 2020).

    `dct`: Watson 1993 with his constants, each channel by a third. `fft`: the same of amplitudes, and of phases, with
    constants fitted to people's judgements (their section 3).

    Other than theirs: brightness is compared with the mean of the image, as Watson has it, not of the batch; blocks lie
    fixed, not shifted at random, so that their borders may show; an image whose side is no multiple of 8 is continued
    by its reflection; of `fft`, the slope of faint waves' phases is held down, and what is but rounding has no phase.

    Raises:
        NotApplicable: the constants of `fft` are not here, or are for images with more or fewer channels.
    """

    def __init__(self, settings: WatsonSettings) -> None:
        super().__init__()
        self.facts: Mapping[str, Scalar] = {"constants": "Watson 1993"}
        if settings.transform == "dct":
            model = CosineModel()
            self.models = nn.ModuleDict({"1": Channels([model], [1.0]), "3": Channels([model] * 3, [1 / 3] * 3)})
        else:
            found = _fitted(settings.weights)
            self.models = nn.ModuleDict({str(channels): model for channels, (model, _) in found.items()})
            self.facts = {f"constants_{channels}": weights.sha256 for channels, (_, weights) in found.items()}
            self.surrogate = "the steep slope of the phase of faint waves is held down"

    def forward(self, real: View, fake: View) -> Tensor:
        channels = real.images.shape[1]
        if str(channels) not in self.models:
            raise NotApplicable(f"watson: its constants are not for images with {channels} channels", _road())
        distance: Tensor = self.models[str(channels)](*((view.images + 1) / 2 for view in (real, fake)))
        return distance


class Channels(nn.Module):
    """The weighted sum of distances of an image's channels, of which three are turned to YCbCr before."""

    matrix: Tensor

    def __init__(self, models: Iterable[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.weights = weights
        self.register_buffer("matrix", torch.tensor(YCBCR), persistent=False)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the distance of each pair, (N,), of images (N, C, H, W) in [0, 1]."""
        views = [_blocks(images if images.shape[1] == 1 else self._turned(images)) for images in (real, fake)]
        parts = [
            weight * model(*(view[:, channel] for view in views))
            for channel, (model, weight) in enumerate(zip(self.models, self.weights, strict=True))
        ]
        return torch.stack(parts).sum(0)

    def _turned(self, images: Tensor) -> Tensor:
        turned = torch.einsum("dc,nchw->ndhw", self.matrix.to(images), images)
        # Differences of colours lie around one half, that they, too, are in [0, 1].
        return torch.cat([turned[:, :1], turned[:, 1:] + 0.5], 1)


class CosineModel(nn.Module):
    """Watson's model of one channel (Watson 1993; Czolbe et al. 2020, section 2)."""

    transform: Tensor
    sensitivity: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("transform", _cosines(), persistent=False)
        self.register_buffer("sensitivity", torch.tensor(SENSITIVITY).flatten(), persistent=False)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the distance of each pair, (N,), of blocks (N, K, 8, 8) in [0, 1]."""
        truth, found = (255 * blocks.flatten(2) @ self.transform.to(blocks).T for blocks in (real, fake))
        return _pooled((truth - found) / self._least(truth), POOLING)

    @torch.no_grad()
    def _least(self, truth: Tensor) -> Tensor:
        """Return the least visible differences of coefficients (N, K, 64)."""
        # A block's first coefficient is its mean times its side. One that is black would make anything visible.
        brightness = truth[..., :1].clamp(min=BLOCK)
        masked = self.sensitivity.to(truth) * (brightness / brightness.mean(1, keepdim=True)).pow(LUMINANCE)
        visible = torch.maximum(masked, truth.abs().pow(CONTRAST) * masked.pow(1 - CONTRAST))
        # Brightness has masked already: Watson's exponent for a block's mean is 0.
        return torch.cat([masked[..., :1], visible[..., 1:]], -1)


class FourierModel(nn.Module):
    """The model of one channel in the Fourier domain, with fitted constants (Czolbe et al. 2020, section 3).

    Args:
        tensors: as in the authors' files: `t_tild` and `w_phase_tild` (8, 5); the scalars `alpha`, `w_tild`, `beta`.

    Raises:
        LookupError: some are missing.
        ValueError: some have another shape.
    """

    sensitivity: Tensor
    phase: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        shape = (BLOCK, BLOCK // 2 + 1)
        sensitivity, phase = (tensors[name].float().exp() for name in ("t_tild", "w_phase_tild"))
        if not sensitivity.shape == phase.shape == shape:
            raise ValueError(f"it has {tuple(sensitivity.shape)} and {tuple(phase.shape)} constants, expected {shape}")
        phase[:: BLOCK // 2, :: BLOCK // 2] = 0  # real numbers, which have no phase
        self.luminance, self.pooling = float(tensors["alpha"]), float(tensors["beta"])
        self.contrast = float(tensors["w_tild"].sigmoid())
        self.register_buffer("sensitivity", sensitivity, persistent=False)
        self.register_buffer("phase", phase, persistent=False)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the distance of each pair, (N,), of blocks (N, K, 8, 8) in [0, 1]."""
        truth, found = (torch.fft.rfft2(blocks) / BLOCK**2 for blocks in (real, fake))
        amplitude = truth.abs()
        seen = _pooled((amplitude - found.abs()) / self._least(amplitude), self.pooling)
        direction = truth / amplitude.clamp(min=_SILENT)
        turn = (direction.conj() * _held(found)).angle().abs() * (amplitude > _SILENT)
        distance: Tensor = seen + (self.phase.to(turn) * turn).flatten(1).sum(1)
        return distance

    @torch.no_grad()
    def _least(self, amplitude: Tensor) -> Tensor:
        """Return the least visible differences of amplitudes (N, K, 8, 5), by a smooth maximum, as they were fitted."""
        brightness = amplitude[..., :1, :1] + _TINY
        masked = self.sensitivity.to(amplitude) * (brightness / brightness.mean(1, keepdim=True)).pow(self.luminance)
        both = torch.stack([masked, (amplitude + _TINY).pow(self.contrast) * masked.pow(1 - self.contrast)])
        smooth: Tensor = (both * both.softmax(0)).sum(0)
        return smooth


def _held(waves: Tensor) -> Tensor:
    """Return waves as they are, with the gradient of faint ones less than it is.

    The slope of a phase is the inverse of its amplitude, without end: flat images would outshout all others.
    """
    share = (waves.detach().abs() / FAINT).clamp(max=1)
    return waves * share + waves.detach() * (1 - share)


def _pooled(errors: Tensor, exponent: float) -> Tensor:
    """Return the norm of each image's errors, (N,), of (N, ...): as smooth at 0 as it need be for a finite slope."""
    return ((errors.abs() + _TINY).pow(exponent).flatten(1).sum(1) + _TINY).pow(1 / exponent)


def _blocks(images: Tensor) -> Tensor:
    """Cut images (N, C, H, W) into blocks (N, C, K, 8, 8)."""
    down, right = (-side % BLOCK for side in images.shape[2:])
    if down or right:
        images = F.pad(images, (0, right, 0, down), mode="reflect")
    count, channels, height, width = images.shape
    cut = images.reshape(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return cut.transpose(3, 4).flatten(2, 3)


def _cosines() -> Tensor:
    """Return the matrix (64, 64) of the orthonormal cosine transform of a block whose rows lie one after the other."""
    frequency, place = torch.arange(BLOCK).double()[:, None], torch.arange(BLOCK).double() + 0.5
    axis = (math.pi / BLOCK * frequency * place).cos() * math.sqrt(2 / BLOCK)
    axis[0] /= math.sqrt(2)
    return torch.kron(axis, axis).float()


def _fitted(setting: str) -> dict[int, tuple[Channels, Weights]]:
    """Return the models whose constants are here, by the number of channels.

    Raises:
        NotApplicable: none are.
        GenbenchError: the file that the user named is not there, or a file is something else.
    """
    published = [Published("constants of watson", f"{URL}/{file}", (file,), "") for file in FILES.values()]
    if setting:
        published = published[-1:]
    here = [(path, which) for which in published if (path := find(which, setting)) is not None]
    if not here:
        raise NotApplicable("watson: the constants of `fft` are not here", _road())
    return dict(_model(path, which) for path, which in here)


def _model(path: Path, published: Published) -> tuple[int, tuple[Channels, Weights]]:
    """Read a file with constants for images of one channel, or of three."""
    weights = read(path, published)
    tensors = weights.tensors
    with fitting(path, published):
        if "t_tild" in tensors:
            return 1, (Channels([FourierModel(tensors)], [1.0]), weights)
        parts = [
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            for prefix in ("ly.", "lcb.", "lcr.")
        ]
        shares = tensors["w_tild"].float().softmax(0).tolist()
        return 3, (Channels(map(FourierModel, parts), shares), weights)


def _road() -> str:
    return (
        f"put {FILES[3]} ({FILES[1]} for grey images) from {URL} into the folder that {FOLDER_VARIABLE} names, "
        "or name it in the setting `weights`; `transform=dct` needs none"
    )
