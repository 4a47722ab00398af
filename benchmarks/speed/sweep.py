"""How the cost of a training step grows with batch, size, width and number of images: `train_step.py --sweep`.

One thing varies at a time; every point is timed in turns with the case that it varies, on images of noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from report import alternate, ratio

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset

if TYPE_CHECKING:
    from train_step import Case

AXES: Mapping[str, Sequence[float]] = {
    "batch": (16, 32, 64, 128, 256, 512),
    "size": (16, 32, 64, 128),
    "width": (0.125, 0.25, 0.5, 1.0),
    "images": (1_000, 10_000, 100_000, 200_000),
}
REPEATS = 5
STEPS = 2
"""In a block, the unit that is timed."""
DISTINCT = 1_000
"""Different images; more are copies, since only their place in memory matters."""


def noise(count: int, size: int, channels: int) -> PackedDataset:
    """Return so many training images of noise, in memory."""
    few = np.random.default_rng(0).integers(0, 256, (min(count, DISTINCT), size, size, channels), np.uint8)
    images = np.resize(few, (count, size, size, channels))
    return PackedDataset("noise", size, channels, "", images, np.zeros(count, np.uint8))


def vary(config: RunConfig, axis: str, value: float) -> RunConfig:
    """Return a configuration with one thing changed; the number of images is no part of it."""
    if axis == "batch":
        return config.model_copy(update={"training": config.training.model_copy(update={"batch_size": int(value)})})
    if axis == "size":
        return config.model_copy(update={"dataset": config.dataset.model_copy(update={"size": int(value)})})
    if axis == "width":
        return config.model_copy(update={"network": config.network.model_copy(update={"width": float(value)})})
    return config


def sweep(
    case: "Case", precisions: Sequence[str], axes: Mapping[str, Sequence[float]] = AXES
) -> list[dict[str, object]]:
    """Return a row for each precision, axis and value: seconds a step, images a second, time over the base case's."""
    return [
        {"axis": axis, "value": value, "precision": precision} | _point(case, axis, value, precision)
        for precision in precisions
        for axis, values in axes.items()
        for value in values
    ]


def _point(case: "Case", axis: str, value: float, precision: str) -> dict[str, float]:
    config = vary(case.config, axis, value)
    count = int(value) if axis == "images" else 10 * max(DISTINCT // 10, config.training.batch_size)
    data = noise(count, config.dataset.size, case.data.channels)
    point = replace(case, config=config, data=data, steps=STEPS).ours(precision)
    base = replace(case, steps=STEPS).ours(precision)
    times = alternate({"base": base.train, "point": point.train}, REPEATS)
    step_s = median(times["point"]) / STEPS
    return {
        "step_s": step_s,
        "images_per_s": config.training.batch_size / step_s,
        "time_over_base": ratio(times["point"], times["base"]),
    }


def print_sweep(rows: Sequence[Mapping[str, object]]) -> None:
    """Print one line for each point, and nothing where there is none."""
    if not rows:
        return
    print(f"\n{'precision':12}{'':10}{'':>9}{'ms/step':>10}{'images/s':>10}{'× base':>8}")
    for row in rows:
        step_s, images_per_s, over = (float(str(row[k])) for k in ("step_s", "images_per_s", "time_over_base"))
        print(
            f"{row['precision']:12}{row['axis']:10}{row['value']:>9}{step_s * 1e3:10.1f}{images_per_s:10.0f}{over:8.2f}"
        )
