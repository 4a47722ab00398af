"""Numbers in tables."""

from math import isfinite

from torch import Tensor


def cells(values: Tensor) -> tuple[float | None, ...]:
    """Return numbers (N,) for a table, None for one that there is not."""
    return tuple(value if isfinite(value) else None for value in values.tolist())
