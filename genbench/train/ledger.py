"""What training steps tell, summed up on the device: reading it is the only time that the host waits for a step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.train.gradients import Gradients

Names = tuple[str, ...]

NORM = "gradient."
"""What the name of a gradient's norm begins with; its network's follows."""

Window = list[tuple[list[str], list[str], list[float]]]
"""A ledger as plain data: for each page the names of scalars, of networks, and the sums; the last counts steps."""


@dataclass(frozen=True)
class Reading:
    """What the ledger says of the steps since it was cleared.

    Attributes:
        window: all of it as plain data.
        culprit: what was first not finite; None where all is well. Steps after it moved nothing and are not summed.
    """

    window: Window
    culprit: str | None = None

    @property
    def steps(self) -> int:
        """How many steps went well."""
        return sum(int(sums[-1]) for _, _, sums in self.window)

    def means(self) -> dict[str, float]:
        """Return the mean of each scalar over the steps that had it."""
        totals: dict[str, tuple[float, float]] = {}
        for names, _, (*sums, steps) in self.window:
            for name, total in zip(names, sums, strict=False) if steps else ():
                before = totals.get(name, (0.0, 0.0))
                totals[name] = (before[0] + total, before[1] + steps)
        return {name: total / number for name, (total, number) in totals.items()}


@dataclass
class _Page:
    """The sums of all steps that log the same names; tensors are written in place, so that a step can be captured.

    Attributes:
        sums: (L,), then how many steps.
        last: (L,) values of the last step.
        finite: (L,) whether they were finite.
    """

    names: Names
    networks: Names
    sums: Tensor
    last: Tensor
    finite: Tensor


class Ledger:
    """Sums each step's scalars, and notices the first that is not finite.

    They are those that the model logs, whether each gate was open (`moved.NETWORK`), and the Euclidean norm of each
    network's gradient (`gradient.NETWORK`), whether the network then moved or not.

    Args:
        device: where the steps are computed.
    """

    def __init__(self, device: torch.device) -> None:
        # Apple's MPS has no float64.
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.device = device
        self.well = torch.ones((), dtype=torch.bool, device=device)
        self.pages: dict[tuple[Names, Names], _Page] = {}

    def add(self, gradients: Gradients) -> Tensor:
        """Add one step's scalars; say whether this and all steps before were finite."""
        gates = {f"moved.{name}": gate for name, gate in gradients.gates.items()}
        scalars = {**gradients.log, **gates, **_norms(gradients)}
        page = self._page(tuple(scalars), tuple(gradients.of))
        values = torch.stack(
            [value.detach().to(self.device, self.dtype) for value in scalars.values()] or [self._one()]
        )
        finite = values.isfinite()
        page.last.copy_(torch.where(self.well, values, page.last))
        page.finite.copy_(torch.where(self.well, finite, page.finite))
        self.well.logical_and_(finite.all())
        page.sums.add_(torch.where(self.well, torch.cat([values, self._one()[None]]), 0))
        return self.well

    def read(self) -> Reading:
        """Wait for all steps, and return what they told."""
        window = [(list(page.names), list(page.networks), page.sums.tolist()) for page in self.pages.values()]
        culprits = (_culprit(page) for page in self.pages.values())
        return Reading(window, next((culprit for culprit in culprits if culprit), None))

    def clear(self) -> None:
        """Begin to sum anew."""
        for page in self.pages.values():
            page.sums.zero_()

    def restore(self, window: Window) -> None:
        """Go on from sums that were read before."""
        for names, networks, sums in window:
            page = self._page(tuple(names), tuple(networks))
            page.sums.copy_(torch.tensor(sums, dtype=self.dtype))

    def _page(self, names: Names, networks: Names) -> _Page:
        if (names, networks) not in self.pages:
            width = max(1, len(names))
            self.pages[names, networks] = _Page(
                names,
                networks,
                torch.zeros(width + 1, dtype=self.dtype, device=self.device),
                torch.zeros(width, dtype=self.dtype, device=self.device),
                torch.ones(width, dtype=torch.bool, device=self.device),
            )
        return self.pages[names, networks]

    def _one(self) -> Tensor:
        return torch.ones((), dtype=self.dtype, device=self.device)


def _norms(gradients: Gradients) -> dict[str, Tensor]:
    """Return the Euclidean norm of each network's gradient, taken as one vector, where it has one."""
    found = {name: [g for g in own if g is not None] for name, own in gradients.of.items()}
    return {
        f"{NORM}{name}": torch.stack(torch._foreach_norm(own)).square().sum().sqrt()
        for name, own in found.items()
        if own
    }


def _culprit(page: _Page) -> str | None:
    """Say what was not finite, or return None."""
    for name, value, good in zip(page.names, page.last.tolist(), page.finite.tolist(), strict=False):
        if not good:
            network = name.removeprefix(NORM)
            return f"{name} is {value}" if network == name else f"the gradient of {network} is not finite"
    return None
