"""The first-party evaluators on models and images whose scores are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from contexts import CPU, config
from quarters import LATENT, SIZE, Constant, Generator, Quarters, quarters
from torch import Tensor, nn

import genbench_evaluators
from genbench.config import EvaluatorConfig, SamplingConfig
from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.evaluate import extractors
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.evaluate.extractors import weights
from genbench.interfaces import Model
from genbench.plugins import Plugins
from genbench.records import Score

SAMPLES = 200


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


Build = Callable[..., EvaluationContext]


@pytest.fixture(scope="module")
def build(cache: Path) -> Build:
    def build(
        model: Model, data: PackedDataset | None = None, batch_size: int = 64, seed: int = 0
    ) -> EvaluationContext:
        plugins = Plugins.of(genbench_evaluators)
        asked = config(seed, SIZE, LATENT)
        return EvaluationContext(model, data or quarters(test=100), asked, CPU, cache, batch_size, plugins=plugins)

    return build


def run(context: EvaluationContext, name: str, **settings: object) -> Evaluation:
    found = evaluate(context, Plugins.of(genbench_evaluators), (asked(name, **settings),), lambda line: None)
    assert found is not None
    return found


def asked(name: str, **settings: object) -> EvaluatorConfig:
    return EvaluatorConfig(name=name, settings=settings, sampling=SamplingConfig(samples=SAMPLES))


def score(context: EvaluationContext, name: str, of: str | None = None, **settings: object) -> Score:
    found = run(context, name, **settings)
    assert not found.failures
    return next(s for s in found.scores if s.name == (of or name))


# -- mse


def test_a_model_that_inverts_itself_has_no_error(build: Build) -> None:
    found = score(build(Quarters()), "mse")
    assert found.value < 1e-12
    assert found.direction == "lower"


def test_mse_is_numpys(build: Build) -> None:
    data = quarters(test=100)
    found = score(build(Constant(), data), "mse")
    errors = ((data.images[data.indices("test")] / 255.0 - 0.625) ** 2).reshape(100, -1).mean(1)
    assert found.value == pytest.approx(errors.mean(), rel=1e-6)
    assert found.uncertainty == pytest.approx(errors.std(ddof=1) / 10, rel=1e-5)
    assert found.protocol["pixel_range"] == "[0, 1]"
    assert found.protocol["latents"] == "posterior mean"
    assert found.protocol["images"] == 100


def test_mse_without_an_encoder_is_skipped(build: Build) -> None:
    found = run(build(Generator()), "mse")
    assert found.scores == ()
    assert [u.reason for u in found.skipped] == ["no encoder"]


@pytest.mark.parametrize("name", ["mse", "fd"])
def test_scores_do_not_depend_on_the_batch_size(build: Build, name: str) -> None:
    class Blurred(Quarters):
        def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
            return nn.functional.avg_pool2d(super().decode(latents), 3, 1, 1)

    first, second = (run(build(Blurred(), quarters(test=150), batch_size=size), name).scores for size in (100, 7))
    assert [s.protocol for s in first] == [s.protocol for s in second]
    for a, b in zip(first, second, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-4)


# -- Fréchet distances


def test_without_attributes_it_is_skipped(build: Build) -> None:
    data = replace(quarters(), attributes=None, attribute_names=())
    found = run(build(Quarters(), data), "fd")
    assert found.scores == ()
    assert [u.reason for u in found.skipped] == ["data set `quarters` has no attributes"]


def test_distances_on_attribute_features_tell_good_from_bad(build: Build) -> None:
    data = quarters(test=150)
    good, bad = (run(build(model, data), "fd").scores for model in (Quarters(), Constant()))
    assert [s.name for s in good] == ["fd-attributes", "rfd-attributes"]
    assert good[1].value < 1e-3 * bad[1].value
    assert good[0].value < 0.5 * bad[0].value
    assert good[0].protocol["generated_images"] == SAMPLES
    assert good[1].protocol["generated_images"] == good[0].protocol["real_images"] == 150
    assert any("150 images for 128 features" in warning for warning in good[0].warnings)


def test_no_more_test_images_than_features_are_too_few(build: Build) -> None:
    found = run(build(Quarters()), "fd")
    assert found.scores == ()
    assert ["129 images on each side, there are 100 real" in u.reason for u in found.skipped] == [True]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave no weights to be found, and no network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.delenv(extractors.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "urlopen", refuse)
    return tmp_path


def test_without_weights_fid_is_skipped_and_says_what_to_put_where(build: Build, nowhere: Path) -> None:
    told: list[str] = []
    found = evaluate(build(Quarters()), Plugins.of(genbench_evaluators), (asked("fid"),), told.append)
    assert found.scores == found.failures == ()
    (skipped,) = found.skipped
    assert "no network" in skipped.reason
    assert str(nowhere) not in skipped.reason, "a record is for others, too"
    assert str(nowhere / "hub" / "checkpoints" / extractors.INCEPTION_FILE) in told[-1]
    assert extractors.INCEPTION_URL in told[-1]
    assert extractors.WEIGHTS_VARIABLE in told[-1]


def test_a_download_that_is_not_the_weights_is_not_kept(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = nowhere / "page.html"
    page.write_text("sign in to this network")
    monkeypatch.setattr(weights, "urlopen", lambda url, timeout: page.open("rb"))
    with pytest.raises(NotApplicable, match="SHA-256"):
        extractors.inception_weights()
    assert not (nowhere / "hub" / "checkpoints" / extractors.INCEPTION_FILE).exists()


def test_named_weights_that_are_missing_are_a_failure(build: Build, nowhere: Path) -> None:
    (failure,) = run(build(Quarters()), "fid", weights=str(nowhere / "gone.pth")).failures
    assert "gone.pth" in failure.reason


def test_weights_are_looked_for_in_this_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = nowhere / "hub" / "checkpoints" / extractors.INCEPTION_FILE
    named, by_variable = nowhere / "named.pth", nowhere / "variable.pth"
    for path in (cached, named, by_variable):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert extractors.inception_weights() == cached
    monkeypatch.setenv(extractors.WEIGHTS_VARIABLE, str(by_variable))
    assert extractors.inception_weights() == by_variable
    assert extractors.inception_weights(str(named)) == named


class Trap:
    """What unpickles to a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("what", ["trap", "text", "other network"])
def test_weights_that_are_something_else_are_refused_and_run_nothing(build: Build, nowhere: Path, what: str) -> None:
    path, sprung = nowhere / "weights.pth", nowhere / "sprung"
    contents: dict[str, object] = {"trap": Trap(sprung), "other network": {"weight": torch.zeros(3)}}
    if what == "text":
        path.write_text("not weights")
    else:
        torch.save(contents[what], path)
    (failure,) = run(build(Quarters()), "fid", weights=str(path)).failures
    assert "not Inception weights" in failure.reason
    assert not sprung.exists()
