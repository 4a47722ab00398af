"""What is kept for whoever asks next, within a limit."""

from collections.abc import Callable, Hashable

from torch import Tensor


class Kept:
    """Tensors that need not be computed again while they fit in `limit` bytes; the rest is computed each time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._tensors: dict[Hashable, Tensor] = {}

    def get(self, key: Hashable, compute: Callable[[], Tensor], *, keep: bool = True) -> Tensor:
        """Return what has the key, else compute it; whoever gets it may write to it.

        Args:
            keep: whether what is computed is kept, where it fits.
        """
        if key in self._tensors:
            return self._tensors[key].clone()
        found = compute()
        if keep and self._bytes + found.nbytes <= self._limit:
            self._tensors[key] = found.clone()
            self._bytes += found.nbytes
        return found
