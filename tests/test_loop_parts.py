"""What the training loop is made of: the search for what is not finite, and the curve."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genbench.interfaces import Gradients
from genbench.store import RunFolder
from genbench.train.checkpoint import Progress
from genbench.train.loop import Curve, gradient_norm, non_finite


def test_a_mean_that_overflows_is_left_out_of_the_curve(tmp_path: Path) -> None:
    curve = Curve(RunFolder(tmp_path), Progress(images_seen=16))
    for _ in range(2):
        curve.add(Gradients({}, {"kl": torch.tensor(1e308, dtype=torch.float64), "like": torch.tensor(3.0)}))
    assert curve.write_row() == {"images_seen": 16.0, "like": 3.0}
    assert json.loads(RunFolder(tmp_path).curve_path.read_text()) == {"images_seen": 16.0, "like": 3.0}


def scalars(**log: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in log.items()}


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        (Gradients({"a": (torch.ones(2), None)}, scalars(kl=1.0)), None),
        (Gradients({"a": (None,)}), None),
        (Gradients({}), None),
        (Gradients({}, scalars(kl=1.0, like=math.nan)), "like is nan"),
        (Gradients({}, scalars(kl=-math.inf)), "kl is -inf"),
        (
            Gradients({"a": (torch.ones(2),), "b": (None, torch.tensor([1, math.nan]))}),
            "the gradient of b is not finite",
        ),
        (Gradients({"a": (torch.tensor([math.inf]),)}), "the gradient of a is not finite"),
    ],
)
def test_what_is_not_finite_is_named(gradients: Gradients, expected: str | None) -> None:
    assert non_finite(gradients) == expected


def test_gradient_norm_is_that_of_one_long_vector() -> None:
    assert gradient_norm([torch.tensor([[3.0], [0.0]]), torch.tensor([4.0])]) == pytest.approx(5)


def test_a_scalar_is_the_mean_over_the_steps_that_had_it(tmp_path: Path) -> None:
    curve = Curve(RunFolder(tmp_path), Progress(images_seen=24))
    for log in (scalars(first=4.0), scalars(first=2.0), scalars(second=5.0)):  # a model of two parts changes over
        curve.add(Gradients({}, log))
    assert curve.write_row() == {"images_seen": 24.0, "first": 3.0, "second": 5.0}
