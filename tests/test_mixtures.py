"""Mixtures of similarities: names, shares, settings, and gradients in proportion to the shares."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genbench import GenbenchError
from genbench.config import Component, TrainingConfig
from genbench.doctor.running import TINY, Unwatched
from genbench.interfaces import View
from genbench.pairing import label, parts_of, single
from genbench.pipeline import Surroundings, build_similarity, folder_of, run
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve
from genbench.train.weighting import Mixture, WeightedSimilarity, weighted

MIXTURE = "mse:0.25+l1:0.75"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    return Plugins.load(tmp_path_factory.mktemp("empty"))


def request(similarity: str, *settings: str, model: str = "vae", weight: str | None = None) -> RunRequest:
    return RunRequest(
        model, "toyfaces", similarity, weight, size=16, images=64, batch_size=16, evaluators=("mse",),
        settings=(*TINY, *settings),
    )  # fmt: skip


def images(seed: int) -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_value_is_the_sum_of_the_parts_by_their_shares(plugins: Plugins) -> None:
    component = Component(name=MIXTURE, settings={"mse.reduction": "sum", "l1.reduction": "mean"})
    training = TrainingConfig(images=1, similarity_weight=2.0)
    mixed = build_similarity(plugins, component, training)
    real, fake = images(0), images(1)
    gap = (real - fake).flatten(1)
    expected = 2 * (0.25 * 0.5 * gap.square().sum(1) + 0.75 * gap.abs().mean(1))
    torch.testing.assert_close(mixed(View(real), View(fake)), expected)


def test_settings_belong_to_parts_and_defaults_are_filled_in(plugins: Plugins) -> None:
    config = resolve(plugins, request("dis-l:0.5+mse:0.5", "similarity.dis-l.layer=down2", model="vaegan"))
    assert config.similarity == Component(
        name="dis-l:0.5+mse:0.5",
        settings={"dis-l.reduction": "sum", "dis-l.layer": "down2", "mse.reduction": "sum"},
    )


def test_a_models_own_settings_hold_for_its_own_similarity_in_a_mixture(plugins: Plugins) -> None:
    own = dict(plugins.model("vae-dis-l").similarity_settings)
    assert own
    config = resolve(plugins, request("dis-l:0.5+mse:0.5", model="vae-dis-l"))
    assert config.similarity is not None
    assert {key: config.similarity.settings[f"dis-l.{key}"] for key in own} == own


def test_names_are_recorded_alike_however_shares_are_written(plugins: Plugins) -> None:
    assert label(parts_of(plugins, "mse:0.250 + l1:.75")) == MIXTURE
    assert label(parts_of(plugins, "mse")) == "mse"
    thirds = "+".join(f"{name}:0.333333" for name in ("mse", "l1", "bce"))
    assert label(parts_of(plugins, thirds)) == thirds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mse:0.5+l1", "`l1`: it has no share"),
        ("mse:0.5+l1:x", "`l1`: its share is 'x'"),
        ("mse:0.5+l1:nan", "its share is 'nan'"),
        ("mse:-0.5+l1:1.5", "its share is '-0.5'"),
        ("mse:0.5+l1:0.4", "its shares add up to 0.9, expected 1"),
        ("mse:0.5+mse:0.5", "names one twice"),
        ("mse:1", "a mixture has two parts or more"),
        ("mse:0.5+", "a part of the mixture has no name"),
        ("mse:0.5+l2:0.5", "unknown similarity `l2`"),
    ],
)
def test_a_mixture_that_is_none_is_refused(plugins: Plugins, text: str, message: str) -> None:
    with pytest.raises(GenbenchError) as caught:
        resolve(plugins, request(text))
    assert message in caught.value.message
    assert caught.value.hint


def test_each_part_must_fit_the_model(plugins: Plugins) -> None:
    with pytest.raises(GenbenchError, match="similarity `dis-l` with model `vae`"):
        resolve(plugins, request("mse:0.5+dis-l:0.5"))


def test_a_setting_of_no_part_is_refused(plugins: Plugins) -> None:
    with pytest.raises(GenbenchError, match=r"`similarity.ms.reduction` belongs to no part") as caught:
        resolve(plugins, request(MIXTURE, "similarity.ms.reduction=mean"))
    assert caught.value.hint == "did you mean `mse`?"


def test_a_mixture_is_no_judge(plugins: Plugins) -> None:
    with pytest.raises(GenbenchError, match="is a mixture, which only training can use"):
        single(plugins, MIXTURE)
    with pytest.raises(GenbenchError, match="is a mixture"):
        resolve(plugins, RunRequest("vae", "toyfaces", evaluators=(f"similarity:{MIXTURE}",)))


def test_auto_gives_each_part_its_share_of_the_gradient_and_the_record_tells_the_weights(
    plugins: Plugins, tmp_path: Path
) -> None:
    """The weight of each part is the one that it gets alone, whatever the other's scale."""
    around = Surroundings(tmp_path / "runs", tmp_path / "cache", device="cpu")
    alone = {}
    for name in ("mse", "l1"):
        record = run(plugins, resolve(plugins, request(name)), around, Unwatched(), lambda: False)
        assert record is not None
        alone[name] = record.similarity_weight
    config = resolve(plugins, request(MIXTURE))
    record = run(plugins, config, around, Unwatched(), lambda: False)
    assert record is not None
    assert (record.status, record.similarity_weight) == ("ok", None)
    assert {f"similarity: {name} weight {weight}" for name, weight in alone.items()} <= set(record.notes)
    assert {p.name for p in record.plugins if p.kind == "similarity"} == {"mse", "l1"}
    folder = folder_of(config, around)
    assert folder.path.parent.name == f"vae-{MIXTURE}"
    assert json.loads(folder.record_path.read_text())["run"]["similarity"] == MIXTURE


def test_a_run_with_a_mixture_resumes_bit_for_bit(plugins: Plugins, tmp_path: Path) -> None:
    from genbench.doctor.running import weights

    config = resolve(plugins, request("mse:0.5+dis-l:0.5", model="vaegan"))
    whole, parted = (Surroundings(tmp_path / n, tmp_path / "cache", device="cpu") for n in ("whole", "parted"))
    run(plugins, config, whole, Unwatched(), lambda: False)
    stops = iter([False, False])
    assert run(plugins, config, parted, Unwatched(), lambda: next(stops, True)) is None
    run(plugins, config, parted, Unwatched(), lambda: False)
    assert weights(config, whole) == weights(config, parted)


def test_calibrated_finds_a_weight_for_each_part(plugins: Plugins) -> None:
    component = Component(name=MIXTURE, settings={"mse.reduction": "sum", "l1.reduction": "sum"})
    mixed = build_similarity(plugins, component, TrainingConfig(images=1, similarity_weight="calibrated"))
    assert isinstance(mixed, Mixture)
    assert not any(part.measured for part in weighted(mixed))
    mixed(View(images(0)), View(images(1)))
    first, second = weighted(mixed)
    assert isinstance(first, WeightedSimilarity)
    assert first.measured
    assert float(first.weight) != float(second.weight)
