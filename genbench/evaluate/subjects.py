"""What can be measured: sets of images, by where they come from."""

from dataclasses import dataclass

from genbench.config import SamplingConfig
from genbench.data.packed import Split


@dataclass(frozen=True)
class Real:
    """The real images of a split."""

    split: Split


@dataclass(frozen=True)
class Reconstructed:
    """A split's images as the model reconstructs them from the means of their posteriors."""

    split: Split


@dataclass(frozen=True)
class Sampled:
    """So many images decoded from latents of a sampler; the settings are those of `SamplingConfig`."""

    count: int
    sampler: str = "prior"
    gmm_components: int = 10

    @classmethod
    def of(cls, sampling: SamplingConfig, count: int | None = None) -> "Sampled":
        """Return samples as a configuration has them; `count` stands in for its number."""
        return cls(sampling.samples if count is None else count, sampling.sampler, sampling.gmm_components)


Subject = Real | Reconstructed | Sampled
