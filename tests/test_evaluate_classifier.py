"""The attribute classifier: what it learns, what it leaves out, how it is shared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.evaluate import classifier, classifier_training
from genbench.evaluate.classifier import AttributeClassifier, AttributeNetwork, obtain
from genbench.evaluate.classifier_training import SHIFT, shifted, train

CPU = torch.device("cpu")
NAMES = ("left", "right", "never", "untested", "coin")


def striped(fingerprint: str = "f", count: int = 1200) -> PackedDataset:
    """Build images whose left half is bright in every second, and whose right half is bright in every tenth.

    Whether they have `coin` can't be seen.
    """
    generator = np.random.default_rng(0)
    splits = np.repeat([0, 1, 2], [count - 200, 100, 100]).astype(np.uint8)
    attributes = np.zeros((count, 5), np.uint8)
    attributes[:, 0] = generator.random(count) < 0.5
    attributes[:, 1] = generator.random(count) < 0.1
    attributes[:, 3] = (generator.random(count) < 0.5) & (splits < 2)
    attributes[:, 4] = generator.random(count) < 0.4
    images = generator.integers(0, 100, (count, 8, 8, 1))
    images[:, :, :4] += 100 * attributes[:, 0, None, None, None]
    images[:, :, 4:] += 100 * attributes[:, 1, None, None, None]
    return PackedDataset("stripes", 8, 1, fingerprint, images.astype(np.uint8), splits, attributes, NAMES, (), ())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache: Path) -> AttributeClassifier:
    return obtain(striped(), CPU, cache)


def test_it_learns_what_can_be_seen(trained: AttributeClassifier) -> None:
    assert trained.report.names == ("left", "right")
    assert trained.report.columns == (0, 1)
    assert min(trained.report.test_balanced_accuracy) > 0.95
    assert trained.balanced_accuracy == np.mean(trained.report.test_balanced_accuracy)


def test_its_accuracies_are_those_of_its_logits_on_the_test_split(trained: AttributeClassifier) -> None:
    data = striped()
    test = data.indices("test")
    images = torch.from_numpy(data.images[test]).permute(0, 3, 1, 2)
    said = (trained.logits(images) > 0).numpy()
    truth = data.attributes[test][:, :2] == 1  # type: ignore[index]
    for k in range(2):
        assert trained.report.test_accuracy[k] == pytest.approx((said == truth)[:, k].mean())
        sides = [(said == truth)[truth[:, k] == side, k].mean() for side in (True, False)]
        assert trained.report.test_balanced_accuracy[k] == pytest.approx(np.mean(sides))


def test_logits_are_at_even_odds_though_the_attribute_is_rare(trained: AttributeClassifier) -> None:
    assert trained.report.prevalence[1] < 0.2
    with_it, without = (striped_images(1, has) for has in (True, False))
    assert trained.logits(with_it)[:, 1].min() > 0 > trained.logits(without)[:, 1].max()


def striped_images(column: int, has: bool) -> torch.Tensor:
    data = striped()
    chosen = np.flatnonzero((np.array(data.attributes)[:, column] == has) & (data.splits == 2))
    return torch.from_numpy(data.images[chosen]).permute(0, 3, 1, 2)


def test_its_last_layer_is_calibrated_and_at_even_odds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw: dict[str, object] = {}

    def keep(network: AttributeNetwork, *args: object) -> int:
        found = train(network, *args)  # type: ignore[arg-type]
        raw.update(weight=network.logits.weight.clone(), bias=network.logits.bias.clone())
        return found

    monkeypatch.setattr(classifier, "train", keep)
    made = obtain(striped(), CPU, tmp_path)
    slopes = torch.tensor(made.report.slopes)
    prior = torch.tensor(made.report.prevalence).logit()
    weight, bias = raw["weight"], raw["bias"]
    assert isinstance(weight, torch.Tensor)
    assert isinstance(bias, torch.Tensor)
    features = torch.rand(5, classifier.FEATURES)
    expected = slopes * (features @ weight[:2].T + bias[:2] - prior)
    torch.testing.assert_close(made.logits_of(features), expected)
    torch.testing.assert_close(made.directions, slopes[:, None] * weight[:2])


def test_attributes_that_cannot_be_learned_or_tested_are_left_out_with_the_reason(trained: AttributeClassifier) -> None:
    assert set(trained.report.excluded) == {"never", "untested", "coin"}
    assert "train split" in trained.report.excluded["never"]
    assert "test split" in trained.report.excluded["untested"]


def test_what_it_cannot_tell_better_than_chance_is_left_out_with_the_reason(trained: AttributeClassifier) -> None:
    assert "not told better than chance: balanced accuracy on the validation split" in trained.report.excluded["coin"]
    assert trained.report.judged_on == "validation"
    assert min(trained.report.bounds) > 0.5
    lengths = {name: len(value) for name, value in vars(trained.report).items() if isinstance(value, tuple)}
    assert set(lengths.values()) == {2}
    assert trained.facts["classifier_attributes"] == 2
    assert trained.logits(striped_images(0, True)).shape[1] == 2


def test_without_a_validation_split_the_test_split_judges_and_nothing_is_calibrated(tmp_path: Path) -> None:
    data = striped()
    report = obtain(
        replace(data, splits=np.where(data.splits == 1, 0, data.splits), fingerprint="v"), CPU, tmp_path
    ).report
    assert report.judged_on == "test"
    assert report.calibrated_on == 0
    assert set(report.slopes) == {1.0}
    assert report.test_calibration_error == report.test_calibration_error_before
    assert "on the test split" in report.excluded["coin"]


def test_it_says_how_far_its_probabilities_can_be_believed(trained: AttributeClassifier) -> None:
    assert trained.report.calibrated_on == 100
    assert trained.calibration_error == np.mean(trained.report.test_calibration_error) < 0.05
    assert trained.facts["classifier_calibration_error"] == trained.calibration_error
    assert trained.facts["classifier_version"] == 2
    assert len(set(trained.report.slopes)) == 2


def test_features_are_what_the_logits_are_made_of(trained: AttributeClassifier) -> None:
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    features = trained.features(images)
    assert features.shape == (5, classifier.FEATURES)
    assert features.dtype == torch.float32
    torch.testing.assert_close(trained.logits(images), trained.logits_of(features))
    torch.testing.assert_close(trained.logits(images), features @ trained.directions.T + trained._network.logits.bias)


def test_training_again_gives_the_same_weights(trained: AttributeClassifier, tmp_path: Path) -> None:
    torch.manual_seed(123)
    assert obtain(striped(), CPU, tmp_path).weights_hash == trained.weights_hash


def test_the_test_split_moves_no_weight(trained: AttributeClassifier, tmp_path: Path) -> None:
    data = striped()
    images, attributes = data.images.copy(), np.array(data.attributes)
    images[data.indices("test")] = 7
    attributes[data.indices("test"), 0] = np.arange(100) % 2
    other = replace(data, images=images, attributes=attributes, fingerprint="other")
    assert obtain(other, CPU, tmp_path).weights_hash == trained.weights_hash


def test_a_second_run_loads_it(trained: AttributeClassifier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "train", lambda *args: pytest.fail("trained again"))
    again = obtain(striped(), CPU, cache)
    assert again.report == trained.report
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(again.logits(images), trained.logits(images), rtol=0, atol=0)


def test_it_says_that_it_is_trained_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(classifier_training, "ROUNDS", 2)
    said: list[str] = []
    for _ in range(2):
        obtain(striped(), CPU, tmp_path, said.append)
    assert said == ["training a classifier of the attributes of `stripes`, once for this data set"]


def test_other_content_gets_another(trained: AttributeClassifier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_training, "ROUNDS", 2)
    assert obtain(striped("g"), CPU, cache).weights_hash != trained.weights_hash


@pytest.mark.parametrize("name", ["weights.safetensors", "report.json"])
@pytest.mark.parametrize("content", [None, b"", b"not what it was", b"{}"])
def test_a_spoiled_cache_is_made_anew(
    trained: AttributeClassifier, name: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_training, "ROUNDS", 2)
    first = obtain(striped(), CPU, tmp_path)
    (file,) = tmp_path.rglob(name)
    file.unlink() if content is None else file.write_bytes(content)
    assert obtain(striped(), CPU, tmp_path).report == first.report


def test_without_attributes_it_does_not_apply(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="`stripes` has no attributes"):
        obtain(replace(striped(), attributes=None, attribute_names=()), CPU, tmp_path)


def test_without_an_attribute_to_learn_it_does_not_apply(tmp_path: Path) -> None:
    data = striped()
    with pytest.raises(
        NotApplicable, match=r"no attribute that can be learned: [^{'\"]+: the train split does not have"
    ):
        obtain(replace(data, attributes=np.ones_like(np.array(data.attributes))), CPU, tmp_path)


def test_where_it_tells_none_it_does_not_apply_and_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_training, "ROUNDS", 2)
    data = striped()
    blank = replace(data, images=np.full_like(data.images, 7))
    for _ in range(2):
        with pytest.raises(NotApplicable, match=r"no attribute that the classifier can tell: .*coin: not told better"):
            obtain(blank, CPU, tmp_path)
        monkeypatch.setattr(classifier, "train", lambda *args: pytest.fail("trained again"))


@pytest.mark.parametrize("size", [4, 5, 28, 100])
def test_any_size_of_image_will_do(size: int) -> None:
    network = classifier.AttributeNetwork(3, size, 7).eval()
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_shifts_move_images_by_whole_pixels() -> None:
    images = torch.zeros(64, 1, 9, 9)
    images[:, :, 4, 4] = 1
    places = {tuple(p.tolist()) for p in shifted(images, 0).nonzero()[:, 2:]}
    assert len(places) > 10
    assert all(abs(row - 4) <= SHIFT and abs(column - 4) <= SHIFT for row, column in places)
    assert shifted(images, 0).sum() == 64
