"""The GAN's costs against closed forms, and the gate's truth table."""

import math
from dataclasses import fields, replace

import pytest
import torch

from genbench.adversarial.costs import Costs, costs, cross_entropy, gates
from genbench.adversarial.settings import AdversarialSettings
from genbench.train.sharing import Share
from genbench_gan.settings import GanSettings
from genbench_vaegan.settings import VaeDisLSettings, VaeGanSettings

HARD = AdversarialSettings(real_label=1.0, fake_label=0.0)
LOG_2 = math.log(2)


def logits(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_a_discriminator_that_knows_nothing_pays_log_2_on_each_side() -> None:
    played = costs(logits(0, 0, 0), {"prior": logits(0, 0, 0)}, HARD)
    assert [float(c) for c in played] == pytest.approx([2 * LOG_2, LOG_2, LOG_2, LOG_2])


def test_costs_are_those_of_the_minimax_game() -> None:
    """Goodfellow et al. 2014, equation 1, by hand: -log D(x) - log(1 - D(G(z))), the mean over images."""
    played = costs(logits(2, -1), {"prior": logits(0.5, -3)}, HARD)
    real = -(log_sigmoid(2) + log_sigmoid(-1)) / 2
    fake = -(log_sigmoid(-0.5) + log_sigmoid(3)) / 2
    fooled = -(log_sigmoid(0.5) + log_sigmoid(-3)) / 2
    assert float(played.real) == pytest.approx(real)
    assert float(played.fake) == pytest.approx(fake)
    assert float(played.discriminator) == pytest.approx(real + fake)
    assert float(played.generator) == pytest.approx(fooled)
    saturating = costs(logits(2, -1), {"prior": logits(0.5, -3)}, replace(HARD, saturating=True))
    assert float(saturating.generator) == pytest.approx(-fake)
    assert float(saturating.discriminator) == pytest.approx(real + fake)


def test_kinds_of_fakes_count_alike_whatever_their_number() -> None:
    one = costs(logits(0), {"prior": logits(1, 2, 3, 4)}, HARD)
    other = costs(logits(0), {"prior": logits(-2)}, HARD)
    both = costs(logits(0), {"prior": logits(1, 2, 3, 4), "reconstruction": logits(-2)}, HARD)
    assert float(both.fake) == pytest.approx(float(one.fake + other.fake) / 2)
    assert float(both.generator) == pytest.approx(float(one.generator + other.generator) / 2)
    assert float(both.real) == float(one.real)


@pytest.mark.parametrize("saturating", [False, True])
def test_kinds_of_fakes_add_up_where_they_should(saturating: bool) -> None:
    """Algorithm 1 of Larsen et al. 2016: both sides pay for each kind; the gate sees what it sees otherwise."""
    settings = replace(HARD, saturating=saturating)
    real, fakes = logits(2, -1), {"prior": logits(1, 2), "reconstruction": logits(-2, 0)}
    played, mean = costs(real, fakes, settings, added_up=True), costs(real, fakes, settings)
    apart = [costs(real, {name: fake}, settings) for name, fake in fakes.items()]
    assert float(played.discriminator) == pytest.approx(float(played.real + sum(each.fake for each in apart)))
    assert float(played.generator) == pytest.approx(float(sum(each.generator for each in apart)))
    assert (float(played.real), float(played.fake)) == (float(mean.real), float(mean.fake))
    gated = replace(settings, equilibrium=float(mean.fake), margin=0.9)
    assert [bool(m) for m in gates(played, gated, Share())] == [bool(m) for m in gates(mean, gated, Share())]


def test_one_kind_of_fakes_is_not_added_up_in_vain() -> None:
    with pytest.raises(ValueError, match=r"`fake_cost` is sum, but .*shown prior samples alone"):
        VaeGanSettings(fake_cost="sum", show_reconstructions=False)
    assert not {"fake_cost"} & {field.name for cls in (GanSettings, VaeDisLSettings) for field in fields(cls)}


@pytest.mark.parametrize("label", [0.0, 0.1, 0.9, 1.0])
def test_cross_entropy_with_a_smooth_label_is_least_where_the_sigmoid_is_the_label(label: float) -> None:
    x = 1.3
    expected = -(label * log_sigmoid(x) + (1 - label) * log_sigmoid(-x))
    assert float(cross_entropy(logits(x, x), label)) == pytest.approx(expected)
    if 0 < label < 1:
        best = logits(math.log(label / (1 - label))).requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(best, label), best)
        assert slope.tolist() == pytest.approx([0], abs=1e-12)


def test_labels_are_smoothed_for_the_discriminator_only() -> None:
    smooth = AdversarialSettings(real_label=0.9, fake_label=0.2)
    real, fakes = logits(3), {"prior": logits(-3)}
    played, hard = costs(real, fakes, smooth), costs(real, fakes, HARD)
    assert float(played.real) == pytest.approx(-(0.9 * log_sigmoid(3) + 0.1 * log_sigmoid(-3)))
    assert float(played.fake) == pytest.approx(-(0.8 * log_sigmoid(3) + 0.2 * log_sigmoid(-3)))
    assert float(played.generator) == float(hard.generator) == pytest.approx(-log_sigmoid(-3))


def test_costs_stay_finite_for_a_discriminator_that_is_certain() -> None:
    played = costs(logits(-500), {"prior": logits(500)}, AdversarialSettings())
    assert [float(c) for c in played] == pytest.approx([950, 0, 450, 500])


GATED = AdversarialSettings(equilibrium=0.7, margin=0.3)
LOW, LEVEL, HIGH = 0.3, 0.7, 1.1
TABLE = [
    # cost on real images, on fakes: whether the generator and whether the discriminator may move
    (LEVEL, LEVEL, True, True),
    (LOW, LEVEL, True, False),
    (LEVEL, LOW, True, False),
    (LOW, LOW, True, False),
    (HIGH, LEVEL, False, True),
    (LEVEL, HIGH, False, True),
    (HIGH, HIGH, False, True),
    (LOW, HIGH, True, True),  # both would wait, so both move
    (HIGH, LOW, True, True),
]


def of(real: float, fake: float) -> Costs:
    return Costs(torch.tensor(real + fake), torch.tensor(0.0), torch.tensor(real), torch.tensor(fake))


@pytest.mark.parametrize(("real", "fake", "generator", "discriminator"), TABLE)
def test_the_gate_holds_whoever_is_far_ahead(real: float, fake: float, generator: bool, discriminator: bool) -> None:
    moves = gates(of(real, fake), GATED, Share())
    assert [bool(m) for m in moves] == [generator, discriminator]
    assert all(m.dtype == torch.bool and m.shape == () for m in moves)


@pytest.mark.parametrize(("real", "fake", "generator", "discriminator"), TABLE)
def test_without_a_margin_the_gate_is_open(real: float, fake: float, generator: bool, discriminator: bool) -> None:
    assert [bool(m) for m in gates(of(real, fake), replace(GATED, margin=0.0), Share())] == [True, True]


def test_the_gate_is_open_on_its_very_edges() -> None:
    settings = AdversarialSettings(equilibrium=0.75, margin=0.25)  # exact in binary
    assert [bool(m) for m in gates(of(0.5, 1.0), settings, Share())] == [True, True]
    assert [bool(m) for m in gates(of(0.5 - 1e-6, 0.75), settings, Share())] == [True, False]
    assert [bool(m) for m in gates(of(0.75, 1.0 + 1e-6), settings, Share())] == [False, True]
