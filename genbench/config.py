"""`RunConfig`: the fully resolved configuration of a run, closed and validated. Imports no torch."""

import json
from hashlib import sha256
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
    model_validator,
)

from genbench.errors import GenbenchError
from genbench.specs import ADDED_LATER

Settings = dict[str, Any]

NetworkKind = Literal["conv", "mlp", "conv-leaky", "mlp-leaky", "conv4"]
CONVOLUTIONAL: tuple[NetworkKind, ...] = ("conv", "conv-leaky", "conv4")

SMALLEST, LARGEST = 16, 256
"""Sides in pixels of the images that the convolutional networks take."""


class Frozen(BaseModel):
    """Immutable and closed: an unknown key or a non-finite number is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Component(Frozen):
    """A plugin's part by name, with all of its settings, defaults included."""

    name: str
    settings: Settings = {}


class DataConfig(Frozen):
    """Which images.

    Attributes:
        size: side in pixels.
        skip_bad_images: leave out unreadable images and count them, instead of stopping.
    """

    name: str
    settings: Settings = {}
    size: Annotated[int, Field(ge=4, le=1024)]
    skip_bad_images: bool = False


class NetworkConfig(Frozen):
    """The networks that every model of a comparison shares.

    Attributes:
        kind: `conv` (Larsen et al. 2016, table 1), the same with biases and LeakyReLU (`conv-leaky`), four 4×4
            convolutions (`conv4`), an MLP with batch-norm (`mlp`) or one with dropout (`mlp-leaky`).
        width: factor on every number of channels or units.
        latent_size: dimensions of z.
        encoder_hidden: units of the encoder's fully connected layer at width 1: 2048 in the paper, 1024 in its code.
            Of `conv` and `conv-leaky`; the others refuse it, but for `mlp`, which makes nothing of it: there are runs
            of it that have it set.
    """

    kind: NetworkKind = "conv"
    width: Annotated[float, Field(gt=0, le=8)] = 1.0
    latent_size: Annotated[int, Field(ge=1, le=65536)] = 128
    encoder_hidden: Annotated[int, Field(ge=1, le=65536)] = 2048

    @model_validator(mode="after")
    def _has_a_hidden_layer(self) -> "NetworkConfig":
        usual = type(self).model_fields["encoder_hidden"].default
        if self.kind in ("conv4", "mlp-leaky") and self.encoder_hidden != usual:
            raise ValueError(
                f"`encoder_hidden` is {self.encoder_hidden}, but the encoder of `{self.kind}` has no such layer"
            )
        return self

    def check_size(self, size: int) -> None:
        """Raise a GenbenchError where these networks take no images of that side in pixels."""
        if self.kind in CONVOLUTIONAL and not SMALLEST <= size <= LARGEST:
            raise GenbenchError(
                f"convolutional networks take images of {SMALLEST} to {LARGEST} px, not {size}",
                "choose another --size, or -s network.kind=mlp",
            )


Rate = Annotated[float, Field(gt=0, le=1)]
_TEXT_FOR_NONE = BeforeValidator(lambda value: None if value == "none" else value)


class TrainingConfig(Frozen):
    """How long and how to train.

    Attributes:
        images: budget in training images seen, repeats counted.
        batch_size: images a step.
        optimiser: for every network alike: `rmsprop` with decay 0.99 and bias correction, or `adam` with β 0.5, 0.999.
        learning_rate: for every network alike.
        learning_rate_end: what it falls to by the end of the budget, as start - t^power·(start - end) where t is the
            part of the budget seen before a step; None (or the text `none`) for a rate that stays.
        learning_rate_power: of t; under 1 the rate falls most at first.
        discriminator_learning_rate: of the network `discriminator`, instead of `learning_rate`; it falls in proportion.
        weight_decay: times each weight, added to its gradient (L2); biases, and batch-norm's parameters, don't decay.
        flip: whether each image is mirrored with probability one half.
        flip_whole_batches: with `flip`: all images of a batch are mirrored, or none.
        augmentation: `larsen2016` changes each image a little, every time anew: place, size, angle, gamma, contrast and
            hue, as the code of Larsen et al. 2016 does (`genbench.data.augmentation`).
        similarity_weight: factor on the similarity; or `auto`: such that its gradient at the reconstruction has
            the norm that the Gaussian pixel likelihood's has, measured on the first batches; or `calibrated`: at each
            step the inverse of the variance that makes the batch likeliest, the similarity read as a Gaussian's.
        precision: of convolutions and matrix products in training: `float32`, `tf32`, `bfloat16`, or `auto`, bfloat16
            where the device computes in it. Statistics, losses and likelihoods are float32 always.
        batch_norm: whether several processes that train one run take their statistics of the whole batch
            (`synchronised`) or each of its own part (`local`).
    """

    images: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    learning_rate: Rate = 3e-4
    learning_rate_end: Annotated[Annotated[float, Field(ge=0, le=1)] | None, _TEXT_FOR_NONE, ADDED_LATER] = None
    learning_rate_power: Annotated[float, Field(gt=0, le=10), ADDED_LATER] = 1.0
    discriminator_learning_rate: Annotated[Rate | None, _TEXT_FOR_NONE, ADDED_LATER] = None
    weight_decay: Annotated[float, Field(ge=0, le=1), ADDED_LATER] = 0.0
    flip: bool = False
    flip_whole_batches: Annotated[bool, ADDED_LATER] = False
    augmentation: Annotated[Literal["none", "larsen2016"], ADDED_LATER] = "none"
    similarity_weight: Annotated[float, Field(gt=0)] | Literal["auto", "calibrated"] = "auto"
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    batch_norm: Literal["synchronised", "local"] = "synchronised"

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfig":
        if self.learning_rate_end is None and self.learning_rate_power != 1:
            raise ValueError(
                f"`learning_rate_power` is {self.learning_rate_power:g}, but without `learning_rate_end` the rate "
                "stays: give an end, or leave out the power"
            )
        if self.learning_rate_end is not None and self.learning_rate_end > self.learning_rate:
            raise ValueError(
                f"`learning_rate_end` is {self.learning_rate_end:g}, expected no more than `learning_rate`, "
                f"{self.learning_rate:g}"
            )
        if self.flip_whole_batches and not self.flip:
            raise ValueError("`flip_whole_batches` is on, but `flip` is off, so nothing is mirrored: set both, or none")
        return self

    @model_serializer(mode="wrap")
    def _without_later(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields, written = type(self).model_fields, dump(self)
        later = {name: field.default for name, field in fields.items() if ADDED_LATER in field.metadata}
        return {name: value for name, value in written.items() if name not in later or value != later[name]}


class SamplingConfig(Frozen):
    """How images are generated for scores on samples.

    Attributes:
        samples: how many.
        sampler: where their latents come from: the prior N(0, I) that the model was trained for, or a Gaussian mixture
            fitted to the latents of the training images (`gmm`), for models with an encoder.
        gmm_components: Gaussians of that mixture.
    """

    samples: Annotated[int, Field(ge=2, le=10_000_000)] = 10_000
    sampler: Literal["prior", "gmm"] = "prior"
    gmm_components: Annotated[int, Field(ge=1, le=1000)] = 10


class EvaluatorConfig(Component):
    """An evaluator with its settings, and the samples that it is given.

    Attributes:
        settings: one called `weights` is the path of a file, of which a record keeps the name alone: scores' protocols
            hold the file's hash, and the folders are nobody's business.
        variant: the setting that its spec names as such, where it is not the default; part of its label.
    """

    variant: str = ""
    sampling: SamplingConfig = SamplingConfig()

    @field_serializer("settings", when_used="json")
    def _without_folders(self, settings: Settings) -> Settings:
        weights = settings.get("weights")
        return settings | {"weights": PurePath(weights).name} if isinstance(weights, str) else settings

    @property
    def label(self) -> str:
        """Return its name, with its variant where it has one, such as `fd:torchvision:resnet18`."""
        return f"{self.name}:{self.variant}" if self.variant else self.name

    @property
    def key(self) -> str:
        """Return a hash of all of it, by which a score tells what it came of."""
        return sha256(_canonical(self.model_dump(mode="json"))).hexdigest()[:16]


class EvaluationConfig(Frozen):
    """What to score at the end; one evaluator may be there in several variants."""

    evaluators: tuple[EvaluatorConfig, ...] = ()

    @property
    def extractors(self) -> tuple[str, ...]:
        """Return the feature extractors that evaluators are set to."""
        names = (component.settings.get("extractor") for component in self.evaluators)
        return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


class RunConfig(Frozen):
    """One run: model × similarity × data set × seed, with every default filled in."""

    model: Component
    similarity: Component | None
    dataset: DataConfig
    network: NetworkConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def hash(self) -> str:
        """Return the SHA-256 of all that can move the weights.

        That is everything but `evaluation`, whose choices stand in each score's protocol.
        """
        return sha256(_canonical(self.model_dump(mode="json", exclude={"evaluation"}))).hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
