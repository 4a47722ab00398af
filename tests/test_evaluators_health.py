"""Checks of health on models, curves and posteriors whose state is known."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from contexts import CPU, config
from quarters import LATENT, SIZE, Constant, Generator, Quarters, quarters
from torch import Tensor, nn

import genbench_evaluators
from genbench.config import EvaluatorConfig
from genbench.data.packed import PackedDataset
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.interfaces import Batch, Model, Posterior
from genbench.plugins import Plugins
from genbench.records import Check
from genbench_evaluators.health import pixel_variance
from genbench_evaluators.health_latents import aggregate_divergence
from genbench_evaluators.health_modes import undisturbed
from genbench_evaluators.health_rules import Rule
from genbench_evaluators.health_training import Curve, discriminator_checks, late_mean


class Dead(Quarters):
    """Its posterior is the prior."""

    def encode(self, batch: Batch) -> Posterior:
        return Posterior(torch.zeros(len(batch.images), LATENT), torch.zeros(len(batch.images), LATENT))


class Elsewhere(Quarters):
    """Its posterior is the same for all images, and far from the prior."""

    def encode(self, batch: Batch) -> Posterior:
        return Posterior(torch.full((len(batch.images), LATENT), 5.0), torch.zeros(len(batch.images), LATENT))


class Normed(Quarters):
    """Batch-norm stands before its decoder, whose latents have mean 0 and variance 1: with these it changes nothing."""

    def __init__(self, mean: float = 0.0, variance: float = 1.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(LATENT)
        self.dropout = nn.Dropout(0.9)
        self.norm.running_mean = torch.full((LATENT,), mean)
        self.norm.running_var = torch.full((LATENT,), variance)

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(self.dropout(self.norm(latents)))


class Pulled(Normed):
    """Two terms pull at one parameter of the decoder, by so much each; another network's parameter is pulled, too."""

    def __init__(self, gan: float, similarity: float) -> None:
        super().__init__()
        self.pulls = {"gan": gan, "similarity": similarity}
        self.networks = nn.ModuleDict({"decoder": nn.Linear(1, 1, bias=False), "other": nn.Linear(1, 1)})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        assert self.training
        assert self.norm.training
        self.decode(batch.noise(LATENT))
        weights = self.networks["decoder"].weight, self.networks["other"].weight
        return {name: pull * weights[0].sum() + 7 * weights[1].sum() for name, pull in self.pulls.items()}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more only wait for each other on models this small
    yield
    torch.set_num_threads(threads)


Build = Callable[..., EvaluationContext]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    cache = tmp_path_factory.mktemp("cache")

    def build(
        model: Model, data: PackedDataset | None = None, batch_size: int = 64, curve: Curve = (), **settings: float
    ) -> EvaluationContext:
        asked = config(0, SIZE, LATENT, **settings)
        return EvaluationContext(model, data or quarters(), asked, CPU, cache, batch_size, curve=curve)

    return build


def run(context: EvaluationContext, *names: str) -> Evaluation:
    components = tuple(EvaluatorConfig(name=name) for name in (*names, "health"))
    found = evaluate(context, Plugins.of(genbench_evaluators), components, lambda line: None)
    assert found is not None
    assert not found.failures
    return found


def checks(context: EvaluationContext, *names: str) -> dict[str, Check]:
    return {check.name: check for check in run(context, *names).checks}


def flagged(found: Mapping[str, Check]) -> set[str]:
    return {name for name, check in found.items() if check.flagged}


# -- which checks there are


def test_health_is_computed_whatever_is_asked_for() -> None:
    assert Plugins.of(genbench_evaluators).evaluator("health").always


def test_a_sound_model_has_no_flag(build: Build) -> None:
    found = checks(build(Quarters()))
    assert set(found) == {
        "active-units",
        "kl",
        "aggregate-posterior",
        "reconstruction-variance",
        "sample-variance",
    }
    assert flagged(found) == set()
    assert all(check.rule for check in found.values())


def test_what_does_not_apply_is_left_out(build: Build) -> None:
    assert set(checks(build(Generator()))) == {"sample-variance"}
    unlabelled = replace(quarters(), attributes=None, attribute_names=())
    assert set(checks(build(Generator(), unlabelled))) == {"sample-variance"}
    untested = replace(unlabelled, splits=np.zeros(1000, np.uint8))
    assert set(checks(build(Quarters(), untested))) == set()


def test_a_data_set_of_one_image_has_no_variance_to_compare_with(build: Build) -> None:
    data = replace(quarters(), attributes=None, attribute_names=())
    data.images[:] = 7
    assert set(checks(build(Quarters(), data))) == {"active-units", "kl", "aggregate-posterior"}


def test_neither_batches_nor_other_evaluators_move_a_check(build: Build) -> None:
    first = checks(build(Normed(0.1), batch_size=300))
    for other in (checks(build(Normed(0.1), batch_size=7)), checks(build(Normed(0.1)), "mse")):
        assert list(other) == list(first)
        for name, check in other.items():
            assert check.value == pytest.approx(first[name].value, rel=1e-4, abs=1e-6), name


def test_what_is_not_finite_is_flagged() -> None:
    for value in (float("nan"), float("inf")):
        check = Rule(high=1.0, over="Too much.").check("some", value)
        assert check.flagged
        assert check.value is None


def test_a_rule_says_what_it_asks_for_and_what_breaking_it_means() -> None:
    rule = Rule(0.5, 2.0, under="Too little.", over="Too much.")
    within, under, over = (rule.check("some", value) for value in (1.0, 0.4, 2.1))
    assert (within.flagged, under.flagged, over.flagged) == (False, True, True)
    assert (under.meaning, over.meaning) == ("Too little.", "Too much.")
    assert within.rule == "0.5 to 2"
    assert [Rule(low=0.5).words, Rule(high=2.0).words] == ["at least 0.5", "at most 2"]
    assert not Rule(0.5, 2.0).check("edge", 0.5).flagged


# -- images


def test_variances_are_those_of_the_first_images_and_need_no_others() -> None:
    images = torch.rand(1100, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = images[:1024].double().var(0).mean().item()

    def guarded(size: int) -> Iterator[Tensor]:
        yield from torch.split(images[:1050], size)
        raise AssertionError("asked for more")

    for size in (1050, 10, 1):
        assert pixel_variance(guarded(size)) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(pixel_variance([images[:1]]))


@pytest.mark.parametrize(("contrast", "expected"), [(1.0, 1.0), (0.5, 0.25), (1.5, 2.25)])
def test_reconstruction_variance_is_the_contrasts_square(build: Build, contrast: float, expected: float) -> None:
    check = checks(build(Quarters(contrast)))["reconstruction-variance"]
    assert check.value == pytest.approx(expected, rel=1e-4)
    assert check.flagged == (contrast != 1.0)
    assert ("contrast" in check.meaning) == (contrast >= 1)


def test_sample_variance_is_that_of_the_prior(build: Build) -> None:
    data = quarters()
    images = data.images[data.indices("test")] / 127.5 - 1
    check = checks(build(Generator()))["sample-variance"]
    assert check.value == pytest.approx(1 / 16 / images.var(0, ddof=1).mean(), rel=0.05)


def test_a_model_that_ignores_its_input_is_flagged_collapsed(build: Build) -> None:
    found = checks(build(Constant()))
    assert flagged(found) == {"reconstruction-variance", "sample-variance"}
    assert found["reconstruction-variance"].value == found["sample-variance"].value == 0
    assert "collapsed" in found["sample-variance"].meaning
    assert flagged(checks(build(Constant(), batch_size=7))) == flagged(found)


# -- latents


def test_a_posterior_that_is_the_prior_is_dead(build: Build) -> None:
    found = run(build(Dead()))
    by_name = {check.name: check for check in found.checks}
    assert by_name["active-units"].value == by_name["kl"].value == 0
    assert {"active-units", "kl"} <= flagged(by_name)
    (sheet,) = found.sheets
    assert (sheet.name, sheet.columns) == ("health-latents", ("unit", "kl", "variance_of_means"))
    assert sheet.rows == tuple((unit, 0.0, 0.0) for unit in range(LATENT))


def test_a_posterior_that_says_nothing_but_lies_elsewhere_is_found_out(build: Build) -> None:
    found = checks(build(Elsewhere()))
    assert found["kl"].value == pytest.approx(LATENT * 12.5)
    assert not found["kl"].flagged
    assert found["aggregate-posterior"].value == pytest.approx(1)
    assert {"active-units", "aggregate-posterior"} <= flagged(found)


def test_units_and_nats_are_those_of_the_known_posterior(build: Build) -> None:
    context = build(Quarters())
    found = run(context)
    means = context.latents("test").double().numpy()
    kl = 0.5 * (means**2 + exp(-3) - 1 + 3).mean(0)
    by_name = {check.name: check for check in found.checks}
    assert by_name["active-units"].value == LATENT
    assert by_name["kl"].value == pytest.approx(kl.sum())
    np.testing.assert_allclose([row[1] for row in found.sheets[0].rows], kl)
    np.testing.assert_allclose([row[2] for row in found.sheets[0].rows], means.var(0))


def test_the_aggregate_posterior_is_held_against_the_prior_as_a_gaussian() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = (
        torch.randn(1000, 3, generator=generator, dtype=torch.float64)
        @ torch.diag(torch.tensor([2.0, 1, 0.5])).double()
    )
    mean[:, 1] += mean[:, 0]
    log_variance = torch.randn(1000, 3, generator=generator, dtype=torch.float64)
    covariance = np.cov(mean.numpy(), rowvar=False, bias=True) + np.diag(np.exp(log_variance.numpy()).mean(0))
    q = torch.distributions.MultivariateNormal(mean.mean(0), torch.from_numpy(covariance))
    p = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    expected = torch.distributions.kl_divergence(q, p).item()
    assert aggregate_divergence(Posterior(mean, log_variance)) == pytest.approx(expected)


# -- the curve


def test_a_mean_over_the_last_tenth_weighs_rows_by_their_images() -> None:
    curve = [
        {"images_seen": seen, "x": value} for seen, value in ((500.0, 9.0), (950.0, 3.0), (980.0, 1.0), (1000.0, 6.0))
    ]
    assert late_mean(curve, "x") == pytest.approx((50 * 3 + 30 * 1 + 20 * 6) / 100)
    assert late_mean(curve, "y") is None
    assert late_mean((), "x") is None


def test_a_part_of_training_ends_where_its_column_does() -> None:
    first = [{"images_seen": 100.0 * k, "gan.real": float(k)} for k in range(1, 11)]
    second = [{"images_seen": 100.0 * k, "like": 1.0} for k in range(11, 21)]
    assert late_mean(first + second, "gan.real") == pytest.approx(10)
    third = [{"images_seen": 100.0 * k, "gan.real": float(k)} for k in range(21, 31)]
    assert late_mean(second + third, "gan.real") == pytest.approx(30)


def costs(real: float, fake: float, real_label: float = 1.0) -> dict[str, Check]:
    curve = [{"images_seen": 10.0, "gan.real": real, "gan.fake": fake}]
    return {check.name: check for check in discriminator_checks(curve, real_label, 0.0)}


def test_a_discriminator_that_has_won_is_flagged() -> None:
    assert flagged(costs(0.0, 0.0)) == {"discriminator-real", "discriminator-fake"}
    assert flagged(costs(0.5, 0.05)) == {"discriminator-fake"}
    assert flagged(costs(0.5, 0.5)) == set()
    # With labels smoothed to 0.9 no cost on real images is under 0.325 nats.
    least = -0.9 * log(0.9) - 0.1 * log(0.1)
    assert flagged(costs(least + 0.05, 0.5, 0.9)) == {"discriminator-real"}
    assert flagged(costs(least + 0.15, 0.5, 0.9)) == set()


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_a_discriminator_that_answers_all_alike_has_learned_nothing(label: float) -> None:
    answer = label / 2
    real, fake = -label * log(answer) - (1 - label) * log(1 - answer), -log(1 - answer)
    found = costs(real, fake, label)
    assert found["discriminator-advantage"].value == pytest.approx(0, abs=1e-12)
    assert flagged(found) == {"discriminator-advantage"}
    assert flagged(costs(real - 0.05, fake, label)) == set()


def test_the_labels_are_the_models_own(build: Build) -> None:
    curve = [{"images_seen": 10.0, "gan.real": 0.4, "gan.fake": 0.5}]
    assert "discriminator-real" not in flagged(checks(build(Generator(), curve=curve)))
    assert "discriminator-real" in flagged(checks(build(Generator(), curve=curve, real_label=0.9)))


def test_a_network_that_hardly_moves_is_flagged(build: Build) -> None:
    curve = [{"images_seen": 10.0, "moved.decoder": 1.0, "moved.discriminator": 0.05}]
    found = checks(build(Generator(), curve=curve))
    assert found["gate-skips-decoder"].value == 0
    assert found["gate-skips-discriminator"].value == pytest.approx(0.95)
    assert flagged(found) == {"gate-skips-discriminator"}


# -- modes and gradients


def state(model: nn.Module) -> tuple[dict[str, Tensor], list[bool]]:
    return {k: v.clone() for k, v in model.state_dict().items()}, [module.training for module in model.modules()]


def assert_untouched(model: nn.Module, before: tuple[dict[str, Tensor], list[bool]]) -> None:
    values, modes = state(model)
    assert modes == before[1]
    assert values.keys() == before[0].keys()
    for name, value in values.items():
        assert torch.equal(value, before[0][name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_decoder_whose_samples_differ_between_modes_is_flagged(build: Build) -> None:
    data = quarters()
    variance = (data.images[data.indices("test")] / 127.5 - 1).var(0, ddof=1).mean()
    for mean in (0.0, 1.0):
        model = Normed(mean)
        context = build(model, data)
        before = state(model)
        check = checks(context)["batch-norm"]
        batches = context.prior(512).double().reshape(4, 128, LATENT)
        own = (batches - batches.mean(1, keepdim=True)) / batches.std(1, correction=0, keepdim=True)
        expected = (own - (batches - mean)).square().mean().item() / 16 / variance
        assert check.value == pytest.approx(expected, rel=0.01)
        assert check.flagged == (mean > 0)
        assert_untouched(model, before)


@pytest.mark.parametrize(
    ("gan", "similarity", "flag"), [(3, 4, False), (-2, 1, False), (0.1, 20, True), (500, 1, True)]
)
def test_gradient_balance_is_the_ratio_of_the_pulls(build: Build, gan: float, similarity: float, flag: bool) -> None:
    model = Pulled(gan, similarity)
    context = build(model)
    model.networks["other"].train()  # a mode that is not the model's own
    before = state(model)
    check = checks(context)["gradient-balance"]
    assert check.value == pytest.approx(abs(gan / similarity))
    assert check.flagged == flag
    assert_untouched(model, before)


def test_a_similarity_without_gradient_is_flagged(build: Build) -> None:
    check = checks(build(Pulled(1.0, 0.0)))["gradient-balance"]
    assert check.flagged
    assert check.value is None


def test_the_context_gives_the_same_before_and_after(build: Build) -> None:
    context = build(Pulled(1.0, 1.0))
    latents = context.prior(10)
    before = context.decode(latents), torch.cat(list(context.samples(50)))
    checks(context)
    assert torch.equal(context.decode(latents), before[0])
    assert torch.equal(torch.cat(list(context.samples(50))), before[1])


def test_what_goes_wrong_leaves_no_trace() -> None:
    model = Normed(0.5).eval()
    before = state(model)
    with pytest.raises(RuntimeError), undisturbed(model):  # noqa: PT012
        model.train()
        model.decode(torch.full((3, LATENT), float("nan")))
        model.norm.running_var = torch.zeros(LATENT)
        raise RuntimeError
    assert_untouched(model, before)
