"""The metrics that need no network, each made of piq's class when it is asked for."""

from functools import cache
from inspect import signature

import piq
import torch
from torch import Tensor, nn

from genbench_piq.catalogue import METRICS, Metric, unknown
from genbench_piq.similarity import BACKWARDS, PiqSimilarity


class Psnr(nn.Module):
    """Minus piq's PSNR, for which it has no loss."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        index: Tensor = piq.psnr(x, y, data_range=BACKWARDS, reduction="none")
        return -index


class HaarPsi(nn.Module):
    """piq's loss, which for two wholly black images is not finite: two grey ones stand in, which are as alike."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = piq.HaarPSILoss(reduction="none", data_range=BACKWARDS)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        black = ~(x.flatten(1).any(1) | y.flatten(1).any(1))
        value: Tensor = self.loss(*(torch.where(black[:, None, None, None], BACKWARDS / 2, side) for side in (x, y)))
        return value


_OWN = {"psnr": Psnr, "HaarPSILoss": HaarPsi}


def __getattr__(name: str) -> type[PiqSimilarity]:
    """Return the similarity that a class of piq's becomes."""
    if name.startswith("_") or not hasattr(piq, name):
        raise AttributeError(f"piq has no `{name}`")
    return _class(name)


@cache
def _class(name: str) -> type[PiqSimilarity]:
    metric = METRICS.get(name) or unknown(name)

    class Formula(PiqSimilarity):
        def __init__(self) -> None:
            super().__init__(metric, _loss(metric), {}, _end(metric))

    Formula.__name__ = Formula.__qualname__ = name
    Formula.__doc__ = _told(metric)
    return Formula


def _loss(metric: Metric) -> nn.Module:
    if metric.exported in _OWN:
        loss: nn.Module = _OWN[metric.exported]()
        return loss
    build = getattr(piq, metric.exported)
    told = {"data_range": _end(metric)} if "data_range" in signature(build).parameters else {}
    made: nn.Module = build(reduction="none", **told)
    return made


def _end(metric: Metric) -> float:
    return BACKWARDS if metric.known else 1.0


def _told(metric: Metric) -> str:
    """Return what `genbench show` says of a metric."""
    if not metric.known:
        return f"piq's {metric.exported}, found in piq's sources and never tried: see `genbench check {metric.name}`."
    blind = f"\n\nIt does not see {metric.blind}." if metric.blind else ""
    return f"{metric.summary[0].upper()}{metric.summary[1:]}, as piq's `{metric.exported}` computes it.{blind}"
