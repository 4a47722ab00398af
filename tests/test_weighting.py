"""The automatic weight: by its definition 1 for the Gaussian pixel likelihood, whatever the similarity's scale."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genbench import GenbenchError
from genbench.config import NetworkConfig
from genbench.interfaces import Batch, Model, Similarity, View
from genbench.networks import Blueprint
from genbench.train.gradients import Losses, route, trainable
from genbench.train.precision import training_in
from genbench.train.weighting import Mixture, WeightedSimilarity, measure_weight
from genbench_similarities.elementwise import L1, Bce, DisL, Mse
from genbench_similarities.settings import DisLSettings, ElementwiseSettings
from genbench_similarities.structural import LaplacianPyramid, Ssim
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeDisLSettings, VaeGanSettings
from genbench_vaegan.vae_dis_l import VaeDisL

MSE = Mse(ElementwiseSettings())


class Scaled(Similarity):
    """A similarity times a factor."""

    def __init__(self, factor: float, similarity: Similarity = MSE) -> None:
        super().__init__()
        self.factor = factor
        self.similarity = similarity

    def forward(self, real: View, fake: View) -> Tensor:
        value: Tensor = self.factor * self.similarity(real, fake)
        return value


class Constant(Similarity):
    """Looks at nothing, or at the real image only, or at the fake one but with a gradient of zero."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.parameter = nn.Parameter(torch.ones(()))

    def forward(self, real: View, fake: View) -> Tensor:
        n = len(real.images)
        values = {
            "detached": torch.zeros(n),
            "apart": self.parameter * real.images.flatten(1).sum(1),
            "flat": 0 * fake.images.flatten(1).sum(1),
            "quantised": fake.images.round().flatten(1).sum(1),
        }
        return values[self.kind]


class NotFinite(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return (fake.images - fake.images.detach()).sqrt().flatten(1).sum(1)


def model(kind: str = "vae", similarity: Similarity = MSE) -> Model:
    network = NetworkConfig(width=0.05, latent_size=4, encoder_hidden=64)
    blueprint = Blueprint(3, 16, network, 100, 0, similarity=WeightedSimilarity(similarity, "auto"))
    if kind == "vae":
        return Vae(blueprint, VaeSettings()).train()
    if kind == "vaegan":
        return VaeGan(blueprint, VaeGanSettings()).train()
    return VaeDisL(blueprint, VaeDisLSettings()).train()


def batches(count: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    return [Batch(torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1) for _ in range(count)]


def weigh(similarity: Similarity, kind: str = "vae") -> float:
    torch.manual_seed(0)
    return measure_weight(model(kind), similarity, batches())


@pytest.mark.parametrize("kind", ["vae", "vaegan", "vae-dis-l"])
def test_the_gaussian_pixel_likelihood_weighs_1(kind: str) -> None:
    assert weigh(MSE, kind) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("factor", [1e-3, 10, 1e6])
def test_a_similaritys_scale_is_taken_back(factor: float) -> None:
    assert weigh(Scaled(factor)) == pytest.approx(1 / factor, rel=1e-6)
    assert weigh(Scaled(factor, L1(ElementwiseSettings()))) == pytest.approx(
        weigh(L1(ElementwiseSettings())) / factor, rel=1e-6
    )


def test_a_mean_weighs_as_many_times_more_as_it_has_elements() -> None:
    mean = ElementwiseSettings(reduction="mean")
    assert weigh(Mse(mean)) == pytest.approx(3 * 16 * 16, rel=1e-6)
    assert weigh(L1(mean)) == pytest.approx(3 * 16 * 16 * weigh(L1(ElementwiseSettings())), rel=1e-5)


def test_l1_in_closed_form() -> None:
    """The gradient of |x - x̃| is ±1 everywhere: the weight is the root mean square of the pixels' errors."""
    torch.manual_seed(0)
    vae, squares = model(), []
    for batch in batches():
        real, fake = vae.views(batch)
        squares.append((real.images - fake.images).detach().double().square().mean())
    expected = float(torch.stack(squares).mean().sqrt())
    assert weigh(L1(ElementwiseSettings())) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("similarity", [L1(ElementwiseSettings()), Bce(ElementwiseSettings()), DisL(DisLSettings())])
def test_weighted_gradients_have_the_norm_of_the_gaussians(similarity: Similarity) -> None:
    torch.manual_seed(0)
    vaegan = model("vaegan")
    weight = measure_weight(vaegan, similarity, batches())
    torch.manual_seed(0)
    own = gaussian = 0.0
    for batch in batches():
        real, fake = vaegan.views(batch)
        (gradient,) = torch.autograd.grad((weight * similarity(real, fake)).sum(), fake.images)
        own += float(gradient.double().square().sum())
        gaussian += float((fake.images - real.images).detach().double().square().sum())
    assert own == pytest.approx(gaussian, rel=1e-4)


def test_measuring_leaves_the_model_as_it_was() -> None:
    vaegan = model("vaegan")
    before = {name: value.clone() for name, value in vaegan.state_dict().items()}
    assert any("running_mean" in name for name in before)
    measure_weight(vaegan, DisL(DisLSettings()), batches())
    for name, value in vaegan.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True, msg=name)
    assert all(p.grad is None for p in vaegan.parameters())
    assert vaegan.training


@pytest.mark.parametrize("kind", ["detached", "apart", "flat", "quantised"])
def test_a_similarity_without_a_gradient_is_an_error(kind: str) -> None:
    with pytest.raises(GenbenchError, match="Constant: no weight can be measured") as caught:
        weigh(Constant(kind))
    assert caught.value.hint is not None
    assert "must be differentiable in the reconstruction" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(GenbenchError, match="NotFinite: no weight can be measured"):
        weigh(NotFinite())


class OfTheBatch(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return (real.images - fake.images).square().mean()


@pytest.mark.parametrize("weight", ["auto", "calibrated", 2.0])
def test_a_similarity_that_gives_one_number_for_a_batch_is_an_error(weight: float | str) -> None:
    images = torch.rand(5, 3, 4, 4)
    weighted = WeightedSimilarity(OfTheBatch(), weight)  # type: ignore[arg-type]
    with pytest.raises(GenbenchError, match=r"OfTheBatch: its value has the shape \(\) for 5 images, expected \(5,\)"):
        weighted(View(images), View(images + 0.1))


class OutOfTorch(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return (real.images - fake.images.detach()).square().flatten(1).sum(1).numpy()  # type: ignore[return-value]


def test_a_similarity_that_gives_no_tensor_is_an_error() -> None:
    view = View(torch.rand(5, 3, 4, 4))
    with pytest.raises(GenbenchError, match="OutOfTorch: it gives a ndarray, expected a tensor"):
        WeightedSimilarity(OutOfTorch(), 2.0)(view, view)
    with pytest.raises(GenbenchError, match="OutOfTorch: it gives a ndarray, expected a tensor"):
        weigh(OutOfTorch())


def test_a_weighted_similarity_multiplies() -> None:
    view, other = View(torch.zeros(2, 1, 2, 2)), View(torch.ones(2, 1, 2, 2))
    weighted = WeightedSimilarity(MSE, 2.5)
    assert weighted.measured
    assert weighted(view, other).tolist() == [5.0, 5.0]
    assert not WeightedSimilarity(MSE, "auto").measured


def test_the_weight_belongs_to_the_models_state() -> None:
    vae = model()
    assert isinstance(vae.similarity, WeightedSimilarity)
    vae.similarity.weight.fill_(3.5)
    fresh = model()
    fresh.load_state_dict(vae.state_dict())
    assert isinstance(fresh.similarity, WeightedSimilarity)
    assert fresh.similarity.measured
    assert float(fresh.similarity.weight) == 3.5


def pair(count: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = (torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1 for _ in range(2))
    return real, fake


def test_calibrated_is_the_gaussian_with_the_variance_that_makes_the_batch_likeliest() -> None:
    real, fake = pair()
    fake.requires_grad_()
    similarity = WeightedSimilarity(MSE, "calibrated")
    cost = similarity(View(real), View(fake)).mean()
    (gradient,) = torch.autograd.grad(cost, fake)
    # Rybkin et al. 2021, equation 6: the negative log-likelihood, without its constant, at σ² = the mean square.
    values = real[0].numel()
    error = (real - fake).square().mean()
    expected = values / 2 * (1 + error.log())
    torch.testing.assert_close(cost, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, fake)[0], rtol=1e-4, atol=1e-7)
    assert float(similarity.weight) == pytest.approx(1 / float(error.detach()), rel=1e-5)
    # Any other variance makes the batch less likely.
    half_square = 0.5 * (real - fake.detach()).square().flatten(1).sum(1).mean()
    for factor in (0.8, 1.25):
        variance = factor * error.detach()
        assert half_square / variance + values / 2 * variance.log() > expected.detach()


@pytest.mark.parametrize("measure", [MSE, L1(ElementwiseSettings()), Bce(ElementwiseSettings())])
def test_calibrated_forgets_the_scale_and_a_constant(measure: Similarity) -> None:
    real, fake = pair()

    def gradient(similarity: Similarity) -> Tensor:
        leaf = fake.clone().requires_grad_()
        cost = WeightedSimilarity(similarity, "calibrated")(View(real), View(leaf)).mean()
        return torch.autograd.grad(cost, leaf)[0]

    torch.testing.assert_close(gradient(Scaled(1000.0, measure)), gradient(measure), rtol=1e-4, atol=1e-8)


def test_bce_is_calibrated_by_how_much_it_exceeds_the_images_own_entropy() -> None:
    real, fake = pair()
    similarity = WeightedSimilarity(Bce(ElementwiseSettings()), "calibrated")
    similarity(View(real), View(fake))
    p, q = (0.5 * (1 + real), 0.5 * (1 + fake))
    divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).flatten(1).sum(1).mean()
    assert float(similarity.weight) == pytest.approx(float(real[0].numel() / (2 * divergence)), rel=1e-3)


def test_no_similarity_is_computed_in_tf32() -> None:
    class Told(Similarity):
        def forward(self, real: View, fake: View) -> Tensor:
            allowed.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            return MSE(real, fake)  # type: ignore[no-any-return]

    real, fake = pair()
    for weight in (2.5, "calibrated"):
        allowed: list[tuple[bool, bool]] = []
        with training_in("tf32"):
            WeightedSimilarity(Told(), weight)(View(real), View(fake))  # type: ignore[arg-type]
            assert torch.backends.cuda.matmul.allow_tf32
        assert set(allowed) == {(False, False)}


def test_a_tf32_step_differentiates_the_similarity_in_float32_and_nothing_else() -> None:
    """SSIM's gradient, a difference of matrix products, is wrong by percents in TF32."""

    class Told(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: Tensor, where: str) -> Tensor:
            ctx.where = where
            return values.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
            allowed[ctx.where] = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
            return gradient, None

    class Measure(Similarity):
        def forward(self, real: View, fake: View) -> Tensor:
            features = Told.apply(fake.features["hidden"], "similarity of features")
            images = Told.apply(fake.images, "similarity of images")
            value: Tensor = MSE(real, View(images)) + MSE(View(real.features["hidden"]), View(features))
            return value

    real, fake = pair()
    weight = nn.Parameter(torch.ones(()))
    for measure in (WeightedSimilarity(Measure(), 1.0), WeightedSimilarity(Measure(), "calibrated")):
        mixed = Mixture({"a": measure, "b": WeightedSimilarity(Measure(), 1.0)}, [0.5, 0.5])
        allowed: dict[str, tuple[bool, bool]] = {}
        with training_in("tf32"):
            made = Told.apply(weight * fake, "decoder")
            hidden = Told.apply(2 * made, "discriminator")
            value = mixed(View(real, {"hidden": real, "other": real}), View(made, {"hidden": hidden, "other": hidden}))
            route({"decoder": nn.ParameterList([weight])}, Losses({"decoder": value.mean() + made.square().mean()}))
            assert torch.backends.cuda.matmul.allow_tf32
        assert allowed == {
            "similarity of features": (False, False), "similarity of images": (False, False),
            "discriminator": (True, True), "decoder": (True, True),
        }  # fmt: skip


@pytest.mark.parametrize("kind", ["vae", "vaegan"])
def test_a_bfloat16_step_differentiates_the_similarity_in_float32(kind: str) -> None:
    """Where the way back runs under autocast, SSIM's matrix products make its gradient wrong by percents."""
    torch.manual_seed(0)
    built, batch = model(kind, Ssim()), batches(1)[0]
    assert isinstance(built.similarity, WeightedSimilarity)
    built.similarity.weight.fill_(100.0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        own = built.gradients(batch).of["decoder"]
        torch.manual_seed(1)
        loss = built.losses(batch).of["decoder"]
    true = torch.autograd.grad(loss, trainable(built.networks["decoder"]))
    for found, expected in zip(own, true, strict=True):
        assert found is not None
        assert float((found - expected).norm() / expected.norm()) < 3e-3


@pytest.mark.parametrize("measure", [Bce(ElementwiseSettings()), Ssim(), LaplacianPyramid()])
def test_reconstructions_that_are_perfect_or_nearly_have_finite_gradients(measure: Similarity) -> None:
    real = torch.full((2, 3, 16, 16), 0.6)
    for off in (0.0, 1e-6):
        fake = (real + off * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
        cost = WeightedSimilarity(measure, "calibrated")(View(real), View(fake)).mean()
        assert torch.autograd.grad(cost, fake)[0].square().sum().isfinite()


def test_a_perfect_reconstruction_and_evaluation_leave_a_calibrated_weight_finite_and_alone() -> None:
    real, fake = pair()
    similarity = WeightedSimilarity(MSE, "calibrated")
    assert not similarity.measured
    same = real.clone().requires_grad_()
    cost = similarity(View(real), View(same)).sum()
    assert cost.isfinite()
    assert torch.autograd.grad(cost, same)[0].eq(0).all()
    similarity(View(real), View(fake))
    known = float(similarity.weight)
    similarity.eval()(View(real), View(0.5 * fake))
    assert float(similarity.weight) == known
