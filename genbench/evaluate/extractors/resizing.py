"""Bilinear resizing as TensorFlow 1 does it, which is how torch-fidelity gives images to its networks."""

import torch
from torch import Tensor


class TensorflowResize:
    """Resizes images to one side by two products of matrices, which are kept for each side that was met.

    Args:
        side: of the results, in pixels.
        scale: factor of the results.
    """

    def __init__(self, side: int, scale: float = 1.0) -> None:
        self.side = side
        self.scale = scale
        self._matrices: dict[tuple[int, torch.device], Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Return float images (N, C, side, side), times the scale, of float images (N, C, H, W)."""
        rows, columns = (self._matrix(side, images.device) for side in images.shape[2:])
        return rows @ images @ (columns.T * self.scale)

    def warnings(self, side: int) -> tuple[str, ...]:
        """Warn where images are shrunk: what lies between the points that it looks at is lost (Parmar et al. 2022)."""
        if side <= self.side:
            return ()
        return (f"images are shrunk from {side} px to {self.side} px without antialiasing, which changes features",)

    def _matrix(self, old: int, device: torch.device) -> Tensor:
        key = (old, device)
        if key not in self._matrices:
            self._matrices[key] = tensorflow_resize(old, self.side).to(device)
        return self._matrices[key]


def tensorflow_resize(old: int, new: int) -> Tensor:
    """Return the matrix (new, old) that resizes a row of pixels bilinearly as TensorFlow 1 does.

    The k-th new pixel lies at k·old/new, not at pixels' centres, and what would lie beyond the last repeats it
    (`tensorflow/core/kernels/resize_bilinear_op.cc`, `align_corners` and `half_pixel_centers` false).
    """
    place = torch.arange(new, dtype=torch.float32) * torch.tensor(old / new, dtype=torch.float32)
    left = place.long().clamp(max=old - 1)
    right = (left + 1).clamp(max=old - 1)
    share = (place - left)[:, None]
    pixels = torch.eye(old)
    return pixels[left] * (1 - share) + pixels[right] * share
