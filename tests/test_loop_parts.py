"""What the training loop is made of: the ledger, the curve, the precision."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genbench import GenbenchError
from genbench.interfaces import Gradients
from genbench.store import RunFolder
from genbench.train.checkpoint import Progress
from genbench.train.curve import Curve, read_curve
from genbench.train.ledger import Ledger
from genbench.train.precision import autocast, choose_precision, training_in

CPU = torch.device("cpu")


def scalars(**log: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in log.items()}


def test_a_mean_that_overflows_is_left_out_of_the_curve(tmp_path: Path) -> None:
    ledger = Ledger(CPU)
    for _ in range(2):
        ledger.add(Gradients({}, scalars(kl=1e308, like=3.0)))
    row = Curve(RunFolder(tmp_path), Progress()).write_row(16, ledger.read())
    assert row == {"images_seen": 16.0, "like": 3.0}
    assert json.loads(RunFolder(tmp_path).curve_path.read_text()) == row


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
def test_what_is_not_finite_is_named_and_stops_all_that_follows(gradients: Gradients, expected: str | None) -> None:
    ledger = Ledger(CPU)
    good = Gradients({"a": (torch.ones(2),)}, scalars(kl=5.0))
    answers = [bool(ledger.add(g)) for g in (good, gradients, good)]
    reading = ledger.read()
    assert answers == ([True, True, True] if expected is None else [True, False, False])
    assert reading.culprit == expected
    assert reading.steps == (3 if expected is None else 1)


def test_a_scalar_is_the_mean_over_the_steps_that_had_it() -> None:
    ledger = Ledger(CPU)
    for log in (scalars(first=4.0), scalars(first=2.0), scalars(second=5.0)):  # a model of two parts changes over
        ledger.add(Gradients({}, log, {"a": torch.tensor("first" in log)}))
    assert ledger.read().means() == {"first": 3.0, "second": 5.0, "moved.a": pytest.approx(2 / 3)}
    ledger.clear()
    assert ledger.read().means() == {}


def test_a_ledger_goes_on_from_what_was_read() -> None:
    values = torch.randn(9, generator=torch.Generator().manual_seed(0)).tolist()
    whole, before, after = Ledger(CPU), Ledger(CPU), Ledger(CPU)
    for value in values:
        whole.add(Gradients({}, scalars(kl=value)))
    for value in values[:4]:
        before.add(Gradients({}, scalars(kl=value)))
    after.restore(json.loads(json.dumps(before.read().window)))
    for value in values[4:]:
        after.add(Gradients({}, scalars(kl=value)))
    assert after.read().window == whole.read().window


def test_auto_takes_bfloat16_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def has(avx512: bool, amx: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)

    for avx512, amx in ((False, False), (True, False), (False, True)):
        has(avx512, amx)
        assert choose_precision("auto", CPU) == ("bfloat16" if avx512 or amx else "float32")
        assert choose_precision("float32", CPU) == "float32"
        assert choose_precision("bfloat16", CPU) == "bfloat16"
    with pytest.raises(GenbenchError, match="--precision tf32 can't be used on cpu"):
        choose_precision("tf32", CPU)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_precision_is_put_back_as_it_was(precision: str) -> None:
    def now() -> tuple[bool, ...]:
        return (
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
        )

    before = now()
    with training_in(precision):  # type: ignore[arg-type]
        assert now() == (precision == "tf32", precision == "tf32", True)
    assert now() == before


def test_bfloat16_is_for_products_alone() -> None:
    x = torch.ones(2, 3)
    with autocast("bfloat16", CPU):
        assert torch.nn.functional.linear(x, torch.ones(4, 3)).dtype == torch.bfloat16
    with autocast("float32", CPU):
        assert torch.nn.functional.linear(x, torch.ones(4, 3)).dtype == torch.float32


def test_a_curve_is_read_without_what_a_kill_cut_off(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_curve(folder) == ()
    folder.curve_path.write_text('{"images_seen": 64.0, "kl": 2}\n{"images_seen": 128.0, "kl": 1.5}\n{"images_se')
    assert read_curve(folder) == ({"images_seen": 64.0, "kl": 2.0}, {"images_seen": 128.0, "kl": 1.5})
