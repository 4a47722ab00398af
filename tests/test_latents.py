"""What an encoder makes of each latent unit: closed forms, draws of known posteriors, and pictures of them."""

import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import Bench
from torch.distributions import Normal, kl_divergence

from genbench import GenbenchError
from genbench.cli import main
from genbench.interfaces import Posterior
from genbench.plugins import Plugins
from genbench.report import latents
from genbench.report.latents import FEWEST_DRAWS, LatentFacts, draw_latents, latent_facts, latents_csv
from genbench_evaluators import health_latents


def posterior(images: int = 50, units: int = 6) -> Posterior:
    """Return posteriors whose units differ in how much they tell."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(images, units, generator=generator) * torch.linspace(0, 2, units)
    return Posterior(means, -torch.rand(images, units, generator=generator) * torch.linspace(0, 3, units))


def facts(shown: int = 6) -> LatentFacts:
    return latent_facts("vae · mse, seed 0", posterior(), 0, shown)


def test_the_kl_of_a_unit_is_that_of_its_gaussians_and_all_add_up_to_the_rate() -> None:
    q = posterior()
    found = facts()
    expected = kl_divergence(Normal(q.mean.double(), (0.5 * q.log_variance.double()).exp()), Normal(0.0, 1.0)).mean(0)
    assert {unit.number: pytest.approx(unit.kl, rel=1e-12) for unit in found.units} == dict(
        enumerate(expected.tolist())
    )
    assert found.kl == pytest.approx(q.kl().double().mean().item(), rel=1e-6)
    assert [unit.kl for unit in found.units] == pytest.approx(sorted(expected.tolist(), reverse=True), rel=1e-12)
    assert found.images == 50


def test_units_are_active_as_the_health_checks_say() -> None:
    q = posterior()
    spread = health_latents.variance_of_means(Posterior(q.mean.double(), q.log_variance.double()))
    by_number = sorted(facts().units, key=lambda unit: unit.number)
    assert [unit.variance_of_means for unit in by_number] == pytest.approx(spread.tolist(), rel=1e-12)
    assert latents.ACTIVE == health_latents.ACTIVE
    assert facts().active == int((spread > health_latents.ACTIVE).sum()) == 5  # the first unit's means are all 0
    assert not by_number[0].active


def test_mean_and_deviation_are_those_of_the_aggregate_posterior() -> None:
    means = torch.tensor([[-2.0], [2.0]]).repeat(500, 1)
    (unit,) = latent_facts("", Posterior(means, torch.full_like(means, math.log(0.25))), 3, 1).units
    assert (unit.mean, unit.std) == pytest.approx((0, math.sqrt(4 + 0.25)))
    assert len(unit.draws) == FEWEST_DRAWS
    assert unit.draws.mean() == pytest.approx(0, abs=4 * unit.std / math.sqrt(FEWEST_DRAWS))
    assert unit.draws.std() == pytest.approx(unit.std, rel=0.02)
    # Two modes of their own: nothing lies between, and as much left as right. A histogram of means would be two lines.
    assert (np.abs(unit.draws) < 0.1).mean() < 0.001
    assert (unit.draws < 0).mean() == pytest.approx(0.5, abs=0.001)
    right = unit.draws[unit.draws > 0]
    assert (right.mean(), right.std()) == pytest.approx((2, 0.5), rel=0.02)


def test_a_posterior_that_is_the_prior_has_draws_of_the_prior() -> None:
    zero = torch.zeros(7, 2)
    for unit in latent_facts("", Posterior(zero, zero), 1, 2).units:
        assert (unit.kl, unit.active) == (0, False)
        assert len(unit.draws) == 7 * math.ceil(FEWEST_DRAWS / 7)
        shares = [(np.abs(unit.draws) < k).mean() for k in (1, 2, 3)]
        assert shares == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.015)


def test_more_images_than_draws_are_asked_for_are_drawn_from_once_each() -> None:
    zero = torch.zeros(FEWEST_DRAWS + 1, 1)
    assert len(latent_facts("", Posterior(zero, zero), 0, 1).units[0].draws) == FEWEST_DRAWS + 1


def test_draws_are_of_the_units_that_are_shown_and_the_same_however_many() -> None:
    few, all_ = facts(2), facts(6)
    assert [len(unit.draws) > 0 for unit in few.units] == [True] * 2 + [False] * 4
    for one, other in zip(few.units[:2], all_.units, strict=False):
        assert np.array_equal(one.draws, other.draws)
    assert not np.array_equal(few.units[0].draws, few.units[1].draws)


@pytest.mark.parametrize(("mean", "log_variance"), [(math.nan, 0.0), (1e200, 0.0), (0.0, 800.0), (0.0, -math.inf)])
def test_what_is_not_finite_is_told(mean: float, log_variance: float) -> None:
    q = Posterior(*(torch.full((3, 2), value, dtype=torch.float64) for value in (mean, log_variance)))
    with pytest.raises(GenbenchError, match="posteriors that are not finite"):
        latent_facts("", q, 0, 2)


def test_a_histogram_is_a_density_and_shares_its_limits() -> None:
    shown = list(facts().units[2:])
    limit, top = latents._limits(shown)
    assert limit == math.ceil(max(np.quantile(np.abs(unit.draws), 0.999) for unit in shown)) < latents.FURTHEST
    for unit in shown:
        density = latents._density(unit, limit)
        assert density.sum() * 2 * limit / latents.BINS == pytest.approx(1, abs=1e-3)
        assert density.max() < top
    far = replace(shown[0], draws=np.full(1000, 50.0))
    assert latents._limits([far])[0] == latents.FURTHEST
    assert latents._density(far, latents.FURTHEST).sum() == 0
    narrow = replace(shown[0], draws=np.zeros(1000))
    assert latents._limits([narrow]) == (latents.NEAREST, pytest.approx(1.1 * latents.TALLEST))


@pytest.mark.parametrize(
    ("form", "begins", "compact"), [("svg", b"<?xml", True), ("pdf", b"%PDF", False), ("png", b"\x89PNG", False)]
)
def test_a_picture_is_the_same_for_the_same_posterior(form: str, begins: bytes, compact: bool) -> None:
    picture = draw_latents(facts(2), form, compact=compact)
    assert picture.startswith(begins)
    assert picture == draw_latents(facts(2), form, compact=compact)


@pytest.mark.parametrize(("units", "shown"), [(1, 1), (3, 32), (300, 5)])
def test_any_number_of_units_is_drawn(units: int, shown: int) -> None:
    found = latent_facts(r"_$\frac{ \x1b", posterior(units=units), 0, shown)
    svg = draw_latents(found, "svg").decode()
    assert len(set(re.findall(r'id="axes_\d+"', svg))) == 1 + min(units, shown)


def test_draws_far_from_the_prior_are_drawn_as_such() -> None:
    far = Posterior(torch.full((9, 1), 1e6), torch.zeros(9, 1))
    assert draw_latents(latent_facts("", far, 0, 1), "png").startswith(b"\x89PNG")


def test_a_picture_for_a_page_has_nothing_behind_it() -> None:
    from PIL import Image

    corners = []
    for compact in (False, True):
        with Image.open(io.BytesIO(draw_latents(facts(1), "png", compact=compact))) as picture:
            corners.append(picture.convert("RGBA").getpixel((0, 0)))
    assert corners[0] == (255, 255, 255, 255)
    assert corners[1][3] == 0  # type: ignore[index]


def test_the_table_has_every_unit() -> None:
    rows = list(csv.DictReader(io.StringIO(latents_csv(facts(1)))))
    assert list(rows[0]) == ["unit", "mean", "std", "kl", "variance_of_means", "active"]
    for row, unit in zip(rows, facts(1).units, strict=True):
        assert (int(row["unit"]), float(row["kl"]), float(row["std"])) == (unit.number, unit.kl, unit.std)
        assert row["active"] == ("true" if unit.active else "false")


@pytest.fixture
def at_hand(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench whose plugins and data the command line finds."""
    monkeypatch.setattr(Plugins, "load", classmethod(lambda _: bench.plugins))
    monkeypatch.setenv("GENBENCH_CACHE", str(bench.around.cache))
    monkeypatch.setenv("GENBENCH_RUNS", str(bench.around.runs))
    monkeypatch.delenv("GENBENCH_DATA", raising=False)
    return bench


def test_the_command_draws_a_run_and_its_kl_is_the_score(
    at_hand: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = at_hand.finish(at_hand.config("vaegan", evaluators=("rate", "health")))
    output, table = tmp_path / "latents.png", tmp_path / "latents.csv"
    command = ["latents", "vaegan", "-o", str(output), "--device", "cpu", "--units", "3"]
    assert main(command) == 0
    rate = next(score.value for score in record.scores if score.name == "kl")
    active = next(check.value for check in record.checks if check.name == "active-units")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{rate:.4g} nats an image; {active:.0f} of 4 units active", str(output), str(table)]
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert sum(float(row["kl"]) for row in rows) == pytest.approx(rate, rel=1e-6)
    assert output.read_bytes().startswith(b"\x89PNG")

    before = output.read_bytes(), table.read_bytes()
    output.unlink()
    assert main(command) == 2  # for the table is there
    assert "latents.csv is there already" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert (output.read_bytes(), table.read_bytes()) == before


def test_a_run_without_an_encoder_is_refused(
    at_hand: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = at_hand.config("gan", evaluators=())
    at_hand.finish(config)
    assert main(["latents", "-o", str(tmp_path / "latents.png"), "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert f"error: {at_hand.folder(config).path}: Gan has no encoder" in told
    assert "hint: choose a run whose model encodes" in told
    assert not (tmp_path / "latents.png").exists()
    assert main(["latents", "-o", str(tmp_path / "latents.jpg")]) == 2
    assert "did you mean `png`" in capsys.readouterr().err
