"""Attribute arithmetic on a linear model and a linear classifier, where every number has a closed form."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations, product

import numpy as np
import pytest
import torch
from linear_edits import (
    NAMES,
    SHARPNESS,
    Array,
    build,
    noisy,
    quantise,
    run,
    scores,
    sheet,
    told,
)

from genbench.evaluate.editing import mean_differences, one_sided
from genbench_evaluators.arithmetic import between_images, strongest
from genbench_evaluators.edits import edit, look, prepare
from genbench_evaluators.uncertainty import bootstrap

# -- closed forms


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def edits_by_hand(weight: Array, strength: float) -> Iterator[tuple[int, int, Array, Array, Array, Array, Array]]:
    """Yield, for each of the eight images and each attribute, k, sign, target, p and features before and after."""
    size = quantise(np.array(1.0))
    rest = quantise(np.array(0.0))
    for labels in product((0, 1), repeat=3):
        signs = 2.0 * np.array(labels) - 1
        latent = np.append(signs * size, rest)
        for k in range(3):
            target = signs.copy()
            target[k] *= -1
            moved = latent.copy()
            moved[k] += target[k] * strength * 2 * size
            after = quantise(moved)
            yield k, target[k], target, sigmoid(weight @ latent), sigmoid(weight @ after), latent, after


@pytest.mark.parametrize("strength", [0.3, 1.0, 1.7])
def test_every_number_is_that_of_the_definition(strength: float) -> None:
    weight = told()
    weight[0, 1] = 1.5  # what makes `b` also makes `a`, half as much
    weight[2, 3] = -1.0
    found = run(build(weight=weight), strength=strength)
    sums: dict[str, list[float]] = {name: [] for name in ("cosine", "success", "direction", "leakage", "move", "own")}
    matrix = np.zeros((3, 3))
    distances: list[tuple[int, float]] = []
    for k, sign, target, before, after, old, new in edits_by_hand(weight, strength):
        shown, change = 2 * after - 1, after - before
        sums["cosine"].append(shown @ target / np.linalg.norm(shown) / np.linalg.norm(target))
        sums["success"].append(float(shown[k] * target[k] > 0))
        sums["direction"].append(sign * change[k] / np.linalg.norm(change))
        sums["leakage"].append(np.abs(np.delete(change, k)).mean())
        sums["move"].append(sign * change[k])
        matrix[k] += sign * change / 8
        distances.append((k, off_axis(new - old, weight[k])))
    images = np.array(
        [np.append(quantise(2.0 * np.array(x) - 1), quantise(np.array(0.0))) for x in product((0, 1), repeat=3)] * 5
    )
    spacing = [np.mean([off_axis(x - y, weight[k]) for x, y in combinations(images, 2)]) for k in range(3)]
    expected = {
        "attributes": np.mean(sums["cosine"]),
        "attributes-success": np.mean(sums["success"]),
        "attributes-direction": np.mean(sums["direction"]),
        "attributes-leakage": np.mean(sums["leakage"]),
        "attributes-identity": np.mean([distance / spacing[k] for k, distance in distances]),
    }
    values = {s.name: s.value for s in found.scores}
    assert values == pytest.approx(expected, rel=1e-5)
    leakage = next(s for s in found.scores if s.name == "attributes-leakage")
    assert leakage.details["move"] == pytest.approx(np.mean(sums["move"]), rel=1e-5)
    table = sheet(found, "attributes-entanglement")
    for k, name in enumerate(NAMES):
        assert [table[name][other] for other in NAMES] == pytest.approx(matrix[k], abs=1e-6)
    assert leakage.details["strongest.b.a"] == pytest.approx(matrix[1, 0], rel=1e-5)


def off_axis(difference: Array, axis: Array) -> float:
    unit = axis / np.linalg.norm(axis)
    return float(np.linalg.norm(difference - (difference @ unit) * unit))


def test_perfect_edits_reach_the_ceiling() -> None:
    found = scores(build())
    assert found["attributes"].value == pytest.approx(1)
    assert found["attributes"].details["ceiling"] == pytest.approx(1)
    assert found["attributes"].details["reconstruction"] == pytest.approx(1)
    assert found["attributes"].details["unedited"] == pytest.approx(1 / 3)  # one of three components is wrong
    assert found["attributes-success"].value == found["attributes-success"].details["ceiling"] == 1
    assert found["attributes-success"].details["unedited"] == 0
    assert found["attributes-direction"].value == pytest.approx(1)
    assert found["attributes-leakage"].value == pytest.approx(0, abs=1e-6)
    assert found["attributes-identity"].value == pytest.approx(0, abs=1e-6)
    assert {name: s.direction for name, s in found.items()} == {
        "attributes": "higher",
        "attributes-success": "higher",
        "attributes-direction": "higher",
        "attributes-leakage": "lower",
        "attributes-identity": "lower",
    }


def test_the_ceiling_is_the_classifiers_on_real_images() -> None:
    data = noisy()
    found = scores(build(data=data))
    images = data.images[data.indices("test")].astype(float)
    latents = 4 * (images[:, ::2, ::2, 0].reshape(-1, 4) / 127.5 - 1)
    labels = data.attributes[data.indices("test")] == 1  # type: ignore[index]
    assert found["attributes-success"].details["ceiling"] == pytest.approx(((latents[:, :3] > 0) == labels).mean())
    shown, signs = np.tanh(SHARPNESS * latents[:, :3] / 2), np.where(labels, 1.0, -1.0)
    cosine = (shown * signs).sum(1) / np.linalg.norm(shown, axis=1) / np.sqrt(3)
    assert found["attributes"].details["ceiling"] == pytest.approx(cosine.mean(), rel=1e-5)
    assert found["attributes-identity"].details["reconstruction"] == pytest.approx(0, abs=1e-5)


def test_what_a_permuted_label_column_teaches_is_the_floor() -> None:
    honest, permuted = (run(build(data=noisy(permuted=column))) for column in (None, 1))
    table = sheet(permuted, "attributes-each")
    for score in permuted.scores[:2]:
        name = "cosine" if score.name == "attributes" else "success"
        floor = table["b"][f"{name}-floor"]
        assert abs(score.details["b"] - floor) < 2 * (score.uncertainty or 0) + 0.02
        assert score.details["b"] < next(s for s in honest.scores if s.name == score.name).details["b"] - 0.3
        for other in ("a", "c"):
            assert score.details[other] > floor + 0.3
    assert table["b"]["move"] == pytest.approx(0, abs=0.05)


def test_random_edits_score_the_floor() -> None:
    context = build(data=noisy())
    task = prepare(context, context.classifier(), 0, 0)
    before = look(context, context.classifier(), task.latents)
    random = edit(context, context.classifier(), task, before, task.at_random(1.0, lambda name: ord(name)))
    found = scores(context)
    for name, values in (
        ("attributes", random.cosine),
        ("attributes-success", random.success),
        ("attributes-direction", random.direction),
        ("attributes-leakage", random.leakage),
    ):
        per_image = values.mean(1)
        error = (per_image.std() / len(per_image) ** 0.5).item()
        assert abs(found[name].details["floor"] - per_image.mean().item()) < 5 * error
    assert random.direction.mean().abs() < 0.2 < found["attributes-direction"].value


def test_a_random_edit_is_as_long_as_the_attributes_own() -> None:
    context = build(data=noisy())
    task = prepare(context, context.classifier(), 0, 0)
    own, random = task.along_vectors(1.5), task.at_random(1.5, partial(context.seed, "x"))
    for k in range(3):
        torch.testing.assert_close(random(k).norm(dim=1), own(k).norm(dim=1))
        assert random(k).unique(dim=0).shape == random(k).shape
    assert not torch.equal(random(0), random(1))


# -- the parts


def test_vectors_are_differences_of_means() -> None:
    latents = torch.tensor([[1.0, 5.0], [3.0, 7.0], [0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([[1, 0, 1], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    expected = torch.tensor([[2.0, 5.0], [0.0, 0.0], [-2.5, -4.0]], dtype=torch.float64)
    torch.testing.assert_close(mean_differences(latents, labels), expected)
    assert one_sided(labels, ("x", "y", "z")) == {"y": "none of the 3 latents has it"}
    assert one_sided(1 - labels, ("x", "y", "z")) == {"y": "each of the 3 latents has it"}


def test_the_bootstraps_error_is_that_of_the_mean() -> None:
    values = torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=400))
    estimate = bootstrap(values, 0)
    assert estimate is not None
    assert estimate.error == pytest.approx(values.std().item() / 20, rel=0.08)
    assert estimate.low == pytest.approx(values.mean().item() - 1.96 * estimate.error, abs=0.25 * estimate.error)
    assert estimate.high == pytest.approx(values.mean().item() + 1.96 * estimate.error, abs=0.25 * estimate.error)
    assert bootstrap(values, 0) == estimate
    assert bootstrap(values, 1) != estimate
    assert bootstrap(values[:1], 0) is None


def test_the_bootstraps_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    estimates = [bootstrap(torch.from_numpy(generator.normal(size=100)), trial) for trial in range(200)]
    held = [e is not None and e.low < 0 < e.high for e in estimates]
    assert 0.9 <= np.mean(held) <= 0.99


def test_distances_between_images_leave_the_direction_out() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]], dtype=torch.float64)
    directions = torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([(4 + 0 + 4) / 3, (3 + 3 + 0) / 3, (5 + 3 + 4) / 3], dtype=torch.float64)
    torch.testing.assert_close(between_images(features, directions), expected)
    assert between_images(features[:1], directions).tolist() == [0, 0, 0]


def test_the_strongest_pairs_are_never_an_attribute_with_itself() -> None:
    matrix = torch.tensor([[0.9, -0.5, 0.1], [0.2, 0.8, 0.3]], dtype=torch.float64)
    assert strongest(matrix, (0, 1), 3) == [(0, 1), (1, 2), (1, 0)]
    assert len(strongest(matrix, (0, 1), 10)) == 4
