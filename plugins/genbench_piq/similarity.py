"""A metric of piq's as a similarity."""

from collections.abc import Mapping
from importlib.metadata import version

from torch import Tensor, nn

from genbench.interfaces import Similarity, View
from genbench.records import Scalar
from genbench_piq.catalogue import Metric
from genbench_piq.mending import Mended

BACKWARDS = -1.0
"""End of a range of values that begins at 0: piq divides by it and, as the range runs backwards, does not check it, for
which it would wait for the device."""


class PiqSimilarity(Similarity):
    """What a loss of piq's says of each reconstruction.

    Args:
        loss: takes images and references (N, C, H, W) and returns (N,). It is no part of the model: neither moved nor
            stored with it.
        facts: what of it can move a number.
        end: of the range of images that the loss was told.
    """

    def __init__(self, metric: Metric, loss: nn.Module, facts: Mapping[str, Scalar], end: float = 1.0) -> None:
        super().__init__()
        self.metric = metric
        self.end = end
        self.facts = {"library": f"piq {version('piq')}", **facts}
        # In a tuple, torch does not take it for a part of this module.
        self._loss = (loss.eval().requires_grad_(False),)
        self._constants: dict[object, Tensor] = {}

    def forward(self, real: View, fake: View) -> Tensor:
        first, second = (self._shown(view.images) for view in (fake, real))
        loss = self._loss[0]
        _follow(loss, first)
        with Mended(first, self._constants, reads=self.metric.reads):
            value: Tensor = loss(first, second)
        return value

    def _shown(self, images: Tensor) -> Tensor:
        """Return images as piq takes them."""
        values = (images.contiguous() + 1) / 2
        if self.metric.colour:
            values = values.expand(-1, 3, -1, -1)
        return self.end * (values if self.metric.known else values.clamp(0, 1))


def _follow(loss: nn.Module, images: Tensor) -> None:
    """Put a loss where the images are, and with it what torch does not know for a part of it."""
    loss.to(images)
    for module in loss.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                setattr(module, name, value.to(images))
            elif isinstance(value, list):
                setattr(module, name, [v.to(images) if isinstance(v, Tensor) else v for v in value])
