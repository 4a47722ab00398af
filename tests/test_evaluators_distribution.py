"""The evaluators that hold generated images against real ones: their scores, names, protocols, errors and warnings."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from contexts import CPU, SIZE, Diverged, Generator, Plain, config, dataset
from torch import Tensor, nn
from torch.utils.data import Subset
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

import genbench
import genbench_evaluators
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.evaluate.extractors import ExtractorRequest, Inception
from genbench.evaluate.moments import frechet_distance, frechet_influence, measure
from genbench.interfaces import Model
from genbench.plugins import Plugins
from genbench.records import Score
from genbench.resolution import resolve_evaluation
from genbench_evaluators.inception_score import split_scores

WARNING = "made for other images"
FEATURES = 8


class Projection:
    """Random combinations of the pixels, bent so that they are not linear in them."""

    name, size, weights_hash = "projection", FEATURES, "0" * 64

    def __init__(self, request: ExtractorRequest) -> None:
        self.facts: Mapping[str, str] = {"extractor_library": "none"}

    def __call__(self, images: Tensor) -> Tensor:
        return projected(images)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return (f"{WARNING}: {side} px, {channels} channels",)


def projected(images: Tensor) -> Tensor:
    """Return features of grey images, or of grey ones repeated to three channels."""
    matrix = torch.randn(SIZE * SIZE, FEATURES, generator=torch.Generator().manual_seed(0))
    return ((images[:, 0].flatten(1).float() / 127.5 - 1) @ matrix).sin() * 2


class Theirs(FeatureExtractorBase):
    """The same as torch-fidelity wants an extractor."""

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.nothing = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (projected(images),)

    @staticmethod
    def get_provided_features_list() -> tuple[str]:
        return ("all",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "all"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


class Extras:
    @genbench.hookimpl
    def genbench_extractors(self) -> Iterator[genbench.ExtractorSpec]:
        yield genbench.ExtractorSpec("projection", "", f"{__name__}:Projection")


class Dim(Plain):
    """Decodes to half the contrast."""

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents) / 2


Build = Callable[..., EvaluationContext]


@pytest.fixture
def plugins() -> Plugins:
    return Plugins.of(Extras(), genbench_evaluators)


@pytest.fixture
def build(tmp_path: Path, plugins: Plugins) -> Build:
    def build(model: Model | None = None, images: int = 800, batch_size: int = 33) -> EvaluationContext:
        return EvaluationContext(model or Dim(), dataset(images), config(), CPU, tmp_path, batch_size, plugins=plugins)

    return build


def run(context: EvaluationContext, plugins: Plugins, name: str, *settings: str, samples: int = 300) -> Evaluation:
    asked = [f"evaluation.{name.partition(':')[0]}.{each}" for each in settings]
    components = resolve_evaluation(plugins, (name,), [f"evaluation.samples={samples}", *asked]).evaluators
    found = evaluate(context, plugins, tuple(c for c in components if c.name != "health"), lambda line: None)
    assert found is not None
    return found


def scores(found: Evaluation) -> dict[str, Score]:
    assert found.failures == ()
    return {score.name: score for score in found.scores}


def sides(context: EvaluationContext, samples: int = 300) -> tuple[Tensor, Tensor]:
    return torch.cat(list(context.samples(samples))), torch.cat(list(context.real("test")))


ALL = ("fd:projection", "kid:projection", "precision-recall:projection", "density-coverage:projection")
SMALL = {"kid:projection": ("subset_size=100", "subsets=20")}
NAMES = {
    "fd:projection": ["fd-projection"],
    "kid:projection": ["kd-projection"],
    "precision-recall:projection": ["precision-projection", "recall-projection"],
    "density-coverage:projection": ["density-projection", "coverage-projection"],
}


@pytest.fixture
def registered() -> Iterator[str]:
    register_feature_extractor("projection", Theirs)
    yield "projection"
    del FEATURE_EXTRACTORS_REGISTRY["projection"]


def test_scores_are_torch_fidelitys_from_images_to_numbers(build: Build, plugins: Plugins, registered: str) -> None:
    context = build()
    generated, real = (images.repeat(1, 3, 1, 1) for images in sides(context))
    theirs = calculate_metrics(
        input1=Subset(generated, range(len(generated))),
        input2=Subset(real, range(len(real))),
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=100,
        kid_subsets=20,
        feature_extractor=registered,
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=50,
        save_cpu_ram=True,
    )
    ours: dict[str, Score] = {}
    for each in ALL[:3]:
        ours |= scores(run(context, plugins, each, *SMALL.get(each, ())))
    assert ours["fd-projection"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert ours["kd-projection"].value == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    assert ours["kd-projection"].details["subset-deviation"] == pytest.approx(
        theirs["kernel_inception_distance_std"], abs=1e-6
    )
    assert ours["precision-projection"].value == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall-projection"].value == pytest.approx(theirs["recall"], abs=1e-6)
    assert 0 < ours["recall-projection"].value < 1


@pytest.mark.parametrize("name", ALL)
def test_samples_are_scored_and_reconstructions_beside_them(build: Build, plugins: Plugins, name: str) -> None:
    found = scores(run(build(), plugins, name, *SMALL.get(name, ())))
    assert list(found) == NAMES[name] + [f"r{each}" for each in NAMES[name]]
    for each, score in found.items():
        reconstructed = each.startswith("rf") or each[1:] in NAMES[name]
        assert score.protocol["generated"] == ("reconstructions" if reconstructed else "samples")
        assert score.protocol["generated_images"] == (200 if reconstructed else 300)
        assert score.protocol["real_images"] == 200
        assert score.protocol["split"] == "test"
        assert score.protocol["extractor"] == "projection"
        assert score.protocol["extractor_library"] == "none"
        assert "standard error" in str(score.protocol["uncertainty"])
        assert f"{WARNING}: {SIZE} px, 1 channels" in score.warnings
        assert score.direction == ("lower" if name[0] in "fk" else "higher")
        assert 0 < (score.uncertainty or 0) < 1


@pytest.mark.parametrize("name", ALL)
def test_a_generator_has_no_scores_of_reconstructions(build: Build, plugins: Plugins, name: str) -> None:
    found = run(build(Generator()), plugins, name, *SMALL.get(name, ()))
    assert list(scores(found)) == NAMES[name]
    assert found.skipped == ()


@pytest.mark.parametrize("name", ALL)
def test_the_batch_size_moves_nothing_but_rounding(build: Build, plugins: Plugins, name: str) -> None:
    first, second = (scores(run(build(batch_size=size), plugins, name, *SMALL.get(name, ()))) for size in (200, 7))
    for each, score in first.items():
        assert score.value == pytest.approx(second[each].value, rel=1e-4)
        assert score.uncertainty == pytest.approx(second[each].uncertainty, rel=1e-4)
        assert score.protocol == second[each].protocol


@pytest.mark.parametrize("name", ALL)
def test_a_model_that_gives_the_images_back_reconstructs_them_perfectly(
    build: Build, plugins: Plugins, name: str
) -> None:
    class Same(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.Identity()  # type: ignore[assignment]

    found = scores(run(build(Same()), plugins, name, *SMALL.get(name, ())))
    expected = {
        "rfd-projection": 0,
        "rkd-projection": 0,
        "rprecision-projection": 1,
        "rrecall-projection": 1,
        "rdensity-projection": 6 / 5,
        "rcoverage-projection": 1,
    }
    for each in NAMES[name]:
        # The subsets of the two sides are not the same images.
        allowed = 0.5 if each.startswith("kd") else 0.01
        assert found[f"r{each}"].value == pytest.approx(expected[f"r{each}"], abs=allowed)


def test_the_reference_may_be_the_training_split(build: Build, plugins: Plugins) -> None:
    found = scores(run(build(), plugins, "fd:projection", "reference=train"))
    for score in found.values():
        assert score.protocol["split"] == "train"
        assert score.protocol["real_images"] == 400
    assert found["rfd-projection"].protocol["generated_images"] == 400


@pytest.mark.parametrize("name", ALL[1:])
def test_no_more_images_are_compared_than_asked_for(build: Build, plugins: Plugins, name: str) -> None:
    context = build()
    for score in scores(run(context, plugins, name, "images=120", *SMALL.get(name, ()))).values():
        assert score.protocol["generated_images"] == score.protocol["real_images"] == 120


# -- Fréchet distances


def test_the_standard_error_is_the_influences(build: Build, plugins: Plugins) -> None:
    context = build()
    found = scores(run(context, plugins, "fd:projection"))["fd-projection"]
    generated, real = (projected(images) for images in sides(context))
    moments = measure([real]), measure([generated])
    assert found.value == pytest.approx(frechet_distance(*moments), rel=1e-6)
    spread = frechet_influence(*moments, generated).std().item()
    assert found.uncertainty == pytest.approx(spread / 300**0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("images", "samples", "side", "way"), [(800, 8, "8 generated", "samples"), (32, 300, "8 real", "reference=train")]
)
def test_no_more_images_than_features_are_too_few_for_a_distance(
    build: Build, plugins: Plugins, images: int, samples: int, side: str, way: str
) -> None:
    told: list[str] = []
    context = build(images=images)
    components = resolve_evaluation(plugins, ("fd:projection",), [f"evaluation.samples={samples}"]).evaluators
    found = evaluate(context, plugins, components[:1], told.append)
    assert found is not None
    (skipped,) = found.skipped
    assert "needs at least 9 images on each side" in skipped.reason
    assert f"there are {side}" in skipped.reason
    assert "singular" in skipped.reason
    assert way in told[-1]
    # Too few samples are no reason to leave out reconstructions, of which there are enough.
    assert [score.name for score in found.scores] == (["rfd-projection"] if images == 800 else [])


def test_few_images_for_a_distance_are_warned_of(build: Build, plugins: Plugins) -> None:
    few = scores(run(build(), plugins, "fd:projection", samples=79))["fd-projection"]
    assert any("79 images for 8 features" in warning and "biased upwards" in warning for warning in few.warnings)
    enough = scores(run(build(), plugins, "fd:projection", samples=80))["fd-projection"]
    assert len(enough.warnings) == 1


def test_images_that_are_not_finite_are_a_failure(build: Build, plugins: Plugins) -> None:
    for name in ALL:
        found = run(build(Diverged()), plugins, name, *SMALL.get(name, ()))
        assert found.scores == ()
        (failure,) = found.failures
        assert "not finite" in failure.reason


# -- the others


def test_fewer_images_than_a_subset_are_too_few_for_a_kernel_distance(build: Build, plugins: Plugins) -> None:
    (skipped,) = run(build(), plugins, "kid:projection").skipped
    assert "subsets of 1000 needs as many images" in skipped.reason


def test_few_images_are_few_neighbours(build: Build, plugins: Plugins) -> None:
    for score in scores(run(build(), plugins, "precision-recall:projection")).values():
        assert any("of 200 images only" in warning for warning in score.warnings)


def test_settings_reach_the_protocol(build: Build, plugins: Plugins) -> None:
    kernel = scores(run(build(), plugins, "kid:projection", "subset_size=50", "subsets=7"))["kd-projection"]
    assert (kernel.protocol["subset_size"], kernel.protocol["subsets"]) == (50, 7)
    near, far = (
        scores(run(build(), plugins, "density-coverage:projection", f"neighbours={k}"))["coverage-projection"]
        for k in (1, 20)
    )
    assert (near.protocol["neighbours"], far.protocol["neighbours"]) == (1, 20)
    assert near.value < far.value


# -- the Inception score


@pytest.mark.parametrize(("count", "splits"), [(100, 10), (97, 10), (50, 3)])
def test_inception_score_is_torch_fidelitys(count: int, splits: int) -> None:
    logits = torch.randn(count, 30, generator=torch.Generator().manual_seed(0)) * 3
    theirs = isc_features_to_metric(logits, splits=splits)
    found = split_scores(logits, splits)
    assert found.mean().item() == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert found.std(correction=0).item() == pytest.approx(theirs["inception_score_std"], rel=1e-9)
    assert 1 < found.mean() < 30


def test_inception_score_of_sure_and_various_samples_is_the_number_of_classes() -> None:
    logits = torch.eye(10).repeat(100, 1) * 1000
    assert split_scores(logits, 1).item() == pytest.approx(10)
    assert split_scores(logits[:1].repeat(50, 1), 5).tolist() == pytest.approx([1.0] * 5)


class Classes(Inception):
    """Stands in for Inception: its features are projections, and so are its logits."""

    size, weights_hash, facts = FEATURES, "1" * 64, {"extractor_library": "none"}  # type: ignore[assignment]

    def __init__(self) -> None: ...

    def __call__(self, images: Tensor) -> Tensor:
        return projected(images)

    def logits(self, features: Tensor) -> Tensor:
        return 3 * features

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return (WARNING,)


@pytest.fixture
def classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluationContext, "extractor", lambda self, name, weights="": Classes())


@pytest.mark.usefixtures("classes")
def test_inception_score_of_samples(build: Build, plugins: Plugins) -> None:
    context = build()
    found = scores(run(context, plugins, "inception-score", "splits=4"))
    assert list(found) == ["inception-score"]
    score = found["inception-score"]
    theirs = isc_features_to_metric(3 * projected(sides(context)[0]), splits=4)
    assert score.value == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert score.details["split-deviation"] == pytest.approx(theirs["inception_score_std"], rel=1e-5)
    assert score.uncertainty == pytest.approx(theirs["inception_score_std"] / 3**0.5, rel=1e-5)
    assert score.direction == "higher"
    assert score.protocol["splits"] == 4
    assert score.protocol["generated_images"] == 300
    assert any("sees no real images" in warning for warning in score.warnings)
    assert WARNING in score.warnings
    assert any("50000" in warning for warning in score.warnings)


@pytest.mark.usefixtures("classes")
def test_too_few_samples_have_no_inception_score(build: Build, plugins: Plugins) -> None:
    (skipped,) = run(build(), plugins, "inception-score", samples=19).skipped
    assert "10 splits needs at least 20 samples, there are 19" in skipped.reason


@pytest.mark.usefixtures("classes")
def test_only_inceptions_distances_bear_its_name(build: Build, plugins: Plugins) -> None:
    context = build()
    assert list(scores(run(context, plugins, "fid"))) == ["fid", "rfid"]
    assert list(scores(run(context, plugins, "kid", *SMALL["kid:projection"]))) == ["kid", "rkid"]
    assert list(scores(run(context, plugins, "fd:inception"))) == ["fd-inception", "rfd-inception"]
    names = ["precision-inception", "recall-inception", "rprecision-inception", "rrecall-inception"]
    assert list(scores(run(context, plugins, "precision-recall:inception"))) == names


def test_vgg16s_neighbourhoods_bear_no_name(build: Build, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Projection, "name", "vgg16")
    monkeypatch.setattr(
        EvaluationContext, "extractor", lambda self, name, weights="": Projection(ExtractorRequest("", "", CPU))
    )
    assert list(scores(run(build(Generator()), plugins, "precision-recall"))) == ["precision", "recall"]
    assert list(scores(run(build(Generator()), plugins, "density-coverage"))) == ["density", "coverage"]
