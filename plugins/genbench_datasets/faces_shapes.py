"""Signed distances to simple shapes: negative inside, in the units of the coordinates.

Only operations that IEEE 754 rounds exactly (+ − × ÷ √ and comparisons), so that every machine draws the same pixels.
Coordinates are float32 (N, S, S); sizes are numbers or (N, 1, 1).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Size = float | Floats


def disc(x: Floats, y: Floats, radius: Size) -> Floats:
    """Return the distance to a disc around the origin."""
    return np.sqrt(x * x + y * y) - _f(radius)


def ellipse(x: Floats, y: Floats, half_width: Size, half_height: Size) -> Floats:
    """Return the distance to an ellipse around the origin, to first order in the distance."""
    u, v = x / _f(half_width), y / _f(half_height)
    level = np.sqrt(u * u + v * v)
    u, v = u / _f(half_width), v / _f(half_height)
    slope = np.sqrt(u * u + v * v)
    distance: Floats = level * (level - np.float32(1)) / np.maximum(slope, np.float32(1e-3))
    return distance


def box(x: Floats, y: Floats, half_width: Size, half_height: Size, rounding: float) -> Floats:
    """Return the distance to a rounded rectangle around the origin."""
    u = np.abs(x) - _f(half_width) + np.float32(rounding)
    v = np.abs(y) - _f(half_height) + np.float32(rounding)
    outside_u, outside_v = np.maximum(u, np.float32(0)), np.maximum(v, np.float32(0))
    outside = np.sqrt(outside_u * outside_u + outside_v * outside_v)
    distance: Floats = outside + np.minimum(np.maximum(u, v), np.float32(0)) - np.float32(rounding)
    return distance


def stroke(x: Floats, y: Floats, run: float, rise: float, radius: Size) -> Floats:
    """Return the distance to a thick line with round ends from the origin to (run, rise)."""
    along = (x * np.float32(run) + y * np.float32(rise)) / np.float32(run * run + rise * rise)
    along = np.minimum(np.maximum(along, np.float32(0)), np.float32(1))
    return disc(x - along * np.float32(run), y - along * np.float32(rise), radius)


def intersection(*distances: Floats) -> Floats:
    """Return the distance to what all shapes share."""
    common = distances[0]
    for distance in distances[1:]:
        common = np.maximum(common, distance)
    return common


def union(*distances: Floats) -> Floats:
    """Return the distance to what any shape covers."""
    joint = distances[0]
    for distance in distances[1:]:
        joint = np.minimum(joint, distance)
    return joint


def _f(size: Size) -> np.float32 | Floats:
    return np.float32(size) if isinstance(size, float | int) else size
