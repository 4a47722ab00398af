"""Any similarity as a judge of reconstructions, and the rate."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import Bench
from contexts import Build, Generator, Plain, building, dataset

import genbench_evaluators
import genbench_similarities
from genbench.config import EvaluatorConfig
from genbench.data.packed import PackedDataset
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import referee
from genbench.evaluate.evaluation import evaluate
from genbench.evaluate.judging import obtain_judge
from genbench.plugins import Plugins
from genbench.resolution import resolve_evaluation

CPU = torch.device("cpu")
PLUGINS = Plugins.of(genbench_evaluators, genbench_similarities)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return building(tmp_path)


def test_the_rate_is_the_mean_divergence_in_nats_and_is_not_ranked(build: Build) -> None:
    context = build(Plain())
    (score,) = evaluate(context, PLUGINS, (EvaluatorConfig(name="rate"),), lambda _: None).scores
    mean = torch.cat([images.float() / 127.5 - 1 for images in context.real("test")]).flatten(1).double()
    variance = math.exp(5)
    expected = 0.5 * (mean.square() + variance - 1 - math.log(variance)).sum(1)
    assert score.value == pytest.approx(float(expected.mean()), rel=1e-5)
    assert score.uncertainty == pytest.approx(float(expected.std()) / len(expected) ** 0.5, rel=1e-4)
    assert (score.name, score.direction) == ("kl", "none")


def test_a_model_without_an_encoder_has_neither(build: Build) -> None:
    asked = (EvaluatorConfig(name="rate"), EvaluatorConfig(name="similarity", settings={"similarity": "mse"}))
    found = evaluate(build(Generator()), PLUGINS, asked, lambda _: None)
    assert found.scores == ()
    assert [u.evaluator for u in found.skipped] == ["rate", "similarity"]


def test_a_similarity_judges_what_it_was_not_trained_with(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    record = bench.finish(bench.config(similarity="l1", evaluators=("mse", "similarity:mse", "similarity:bce")))
    scores = {score.name: score for score in record.scores}
    values = 3 * 16 * 16
    # Half the squared differences of images in [-1, 1], summed; `mse` is their mean in [0, 1].
    assert scores["similarity-mse"].value == pytest.approx(0.5 * values * 4 * scores["mse"].value, rel=1e-5)
    assert scores["similarity-bce"].direction == "lower"
    protocol = scores["similarity-bce"].protocol
    assert (protocol["similarity"], protocol["similarity_reduction"]) == ("bce", "sum")
    assert not record.failures


def test_a_judge_needs_images_that_fit() -> None:
    with pytest.raises(NotApplicable, match="`ssim` needs images of 11 px, these have 4"):
        obtain_judge(PLUGINS, "ssim", dataset(), CPU, Path("nowhere"))
    with pytest.raises(GenbenchError, match="unknown similarity `mes`"):
        resolve_evaluation(PLUGINS, ("similarity:mes",), ())


def pictures(seed: int = 0) -> PackedDataset:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (96, 16, 16, 1), dtype=np.uint8)
    splits = (np.arange(96) % 3).astype(np.uint8)
    return PackedDataset("noise", 16, 1, "f" * 64, images, splits)


def test_one_discriminator_judges_all_and_is_trained_once_also_when_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referee, "IMAGES", 256)
    first, first_hash = referee.obtain(pictures(), CPU, tmp_path / "one")
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())
    trained: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(referee, "train", lambda *_: trained.append("again"))
        again, again_hash = referee.obtain(pictures(), CPU, tmp_path / "one")
    assert (trained, again_hash) == ([], first_hash)
    images = torch.rand(5, 1, 16, 16)
    torch.testing.assert_close(again(images).features["down3"], first(images).features["down3"])

    # Stopped half way, as by a kill after a checkpoint, it ends with the same weights.
    steps = iter([False] * 2)
    whole = referee.train
    with monkeypatch.context() as patch:
        patch.setattr(referee, "train", lambda *a: whole(*a[:5], lambda: next(steps, True), a[6]))
        with pytest.raises(GenbenchError):
            referee.obtain(pictures(), CPU, tmp_path / "two")
    _, resumed_hash = referee.obtain(pictures(), CPU, tmp_path / "two")
    assert resumed_hash == first_hash
    judge = obtain_judge(PLUGINS, "dis-l", pictures(), CPU, tmp_path / "two")
    assert judge.facts["discriminator_weights"] == first_hash
    real, fake = torch.rand(3, 1, 16, 16), torch.rand(3, 1, 16, 16)
    expected = (first(real).features["down3"] - first(fake).features["down3"]).square().flatten(1).sum(1) / 2
    with torch.no_grad():
        torch.testing.assert_close(judge(real, fake), expected)
