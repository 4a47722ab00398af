"""Toy faces: the truth about what an attribute changes is the truth."""

from dataclasses import fields

import numpy as np
import pytest

from genbench.errors import GenbenchError, NotApplicable
from genbench.interfaces import DataRequest
from genbench_datasets.digits import Digits
from genbench_datasets.settings import ToyFacesSettings
from genbench_datasets.toyfaces import ATTRIBUTES, ToyFaces, render, sample_factors


def test_a_face_alone_is_the_face_in_a_batch() -> None:
    factors = sample_factors(150, seed=3)
    batch = render(factors, 32)
    for row in (0, 63, 64, 101, 149):
        np.testing.assert_array_equal(render(factors.select(np.array([row])), 32)[0], batch[row])
    np.testing.assert_array_equal(render(factors.select(slice(5, 100)), 32), batch[5:100])


def test_faces_are_the_same_whatever_the_count_and_differ_with_the_seed() -> None:
    few, many, other = sample_factors(5, 0), sample_factors(50, 0), sample_factors(5, 1)
    for field in fields(few):
        np.testing.assert_array_equal(getattr(few, field.name), getattr(many, field.name)[:5])
    assert (render(few, 16) != render(other, 16)).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [32, 64])
def test_every_attribute_shows_in_every_face(size: int) -> None:
    factors = sample_factors(64, seed=1)
    for name in ATTRIBUTES:
        without, having = (render(factors.with_attribute(name, value), size).astype(int) for value in (False, True))
        assert (np.abs(having - without).max(axis=(1, 2, 3)) >= 20).all(), name


def head_coordinates(factors, size: int) -> np.ndarray:
    """Return each pixel's x and y on the face, (2, N, S, S), in half sides, computed apart from the drawing."""
    angle = 2 * np.arctan(factors.tilt.astype(float))[:, None, None]
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x = (line[None, None, :] - factors.position[:, 0, None, None]) / factors.scale[:, None, None]
    y = (line[None, :, None] - factors.position[:, 1, None, None]) / factors.scale[:, None, None] - 0.5
    head_x = np.cos(angle) * x + np.sin(angle) * y - 0.13 * factors.yaw[:, None, None]
    head_y = np.cos(angle) * y - np.sin(angle) * x + 0.5
    return np.stack(np.broadcast_arrays(head_x, head_y))


@pytest.mark.parametrize(
    ("name", "left", "right", "top", "bottom"),
    [
        ("Eyeglasses", -0.65, 0.65, -0.25, 0.2),
        ("Bushy_Eyebrows", -0.45, 0.45, -0.35, -0.05),
        ("Smiling", -0.36, 0.36, 0.15, 0.6),
        ("Mouth_Slightly_Open", -0.36, 0.36, 0.15, 0.6),
        ("Wearing_Lipstick", -0.36, 0.36, 0.15, 0.6),
        ("Wearing_Hat", -0.97, 0.97, -1.2, -0.25),
        ("Bangs", -0.7, 0.7, -0.8, -0.05),
        ("Wearing_Earrings", -0.9, 0.9, 0.02, 0.38),
        ("Beard", -0.7, 0.7, 0.0, 0.75),
        ("Rosy_Cheeks", -0.55, 0.55, -0.05, 0.4),
    ],
)
def test_an_attribute_changes_nothing_outside_of_its_place(name, left, right, top, bottom) -> None:
    factors = sample_factors(64, seed=2)
    x, y = head_coordinates(factors, 32)
    outside = (x < left) | (x > right) | (y < top) | (y > bottom)
    without, having = (render(factors.with_attribute(name, value), 32) for value in (False, True))
    changed = (without != having).any(axis=-1)
    assert changed.any(axis=(1, 2)).all()
    assert not (changed & outside).any()


def test_attributes_are_independent_and_none_is_rare() -> None:
    values = sample_factors(20_000, seed=0).attributes
    shares = values.mean(0)
    assert (shares > 0.15).all()
    assert (shares < 0.6).all()
    correlations = np.corrcoef(values.T) - np.eye(len(ATTRIBUTES))
    assert np.abs(correlations).max() < 0.035  # five standard errors of no correlation at all


def test_with_attribute_changes_that_attribute_alone() -> None:
    factors = sample_factors(20, seed=0)
    changed = factors.with_attribute("Smiling", True)
    assert changed.has("Smiling").all()
    assert not factors.has("Smiling").all()
    others = [name for name in ATTRIBUTES if name != "Smiling"]
    assert all((changed.has(name) == factors.has(name)).all() for name in others)
    with pytest.raises(GenbenchError, match="smiling") as caught:
        factors.with_attribute("smiling", True)
    assert "Smiling" in str(caught.value.hint)


def test_prepared_faces_carry_their_attributes_and_splits(tmp_path) -> None:
    calls: list[tuple[int, int]] = []
    request = DataRequest(None, tmp_path, 16, progress=lambda done, total: calls.append((done, total)))
    faces = ToyFaces(ToyFacesSettings(count=105, seed=4)).prepare(request)
    assert faces.images.shape == (105, 16, 16, 3)
    assert faces.images.dtype == np.uint8
    assert faces.splits.tolist() == [0] * 85 + [1] * 10 + [2] * 10
    assert faces.attribute_names == ATTRIBUTES
    np.testing.assert_array_equal(faces.images, render(sample_factors(105, 4), 16))
    np.testing.assert_array_equal(faces.attributes, sample_factors(105, 4).attributes)
    assert calls[-1] == (105, 105)


@pytest.mark.parametrize("size", [16, 32])
def test_counterfactuals_are_the_prepared_faces_with_one_attribute_flipped(tmp_path, size: int) -> None:
    faces = ToyFaces(ToyFacesSettings(count=150, seed=6))
    prepared = faces.prepare(DataRequest(None, tmp_path, size))
    indices = np.array([149, 3, 77, 78, 79, 80, 3])
    factors = sample_factors(150, 6).select(indices)
    np.testing.assert_array_equal(render(factors, size), prepared.images[indices])  # flipping nothing
    for name in ATTRIBUTES:
        changed = faces.counterfactuals(indices, name, size)
        assert changed.shape == (7, size, size, 3)
        assert changed.dtype == np.uint8
        assert (changed != prepared.images[indices]).any(axis=(1, 2, 3)).all()
        lacking = ~factors.has(name)
        np.testing.assert_array_equal(changed[lacking], render(factors.with_attribute(name, True), size)[lacking])
        np.testing.assert_array_equal(changed[~lacking], render(factors.with_attribute(name, False), size)[~lacking])
        np.testing.assert_array_equal(render(factors.flipped(name).flipped(name), size), prepared.images[indices])


def test_a_counterfactual_changes_no_pixel_that_the_attribute_can_not_reach(tmp_path) -> None:
    faces = ToyFaces(ToyFacesSettings(count=64, seed=2))
    prepared, everyone = faces.prepare(DataRequest(None, tmp_path, 32)).images, np.arange(64)
    _, y = head_coordinates(sample_factors(64, 2), 32)
    above, below = y < -0.35, y > 0.2
    for name, kept in {"Eyeglasses": above | below, "Beard": above, "Smiling": above, "Wearing_Hat": below}.items():
        changed = (faces.counterfactuals(everyone, name, 32) != prepared).any(axis=-1)
        assert changed.any(axis=(1, 2)).all(), name
        assert not (changed & kept).any(), name


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 32])
def test_no_flip_is_invisible_from_16_px_on(size: int) -> None:
    factors = sample_factors(500, seed=0)
    faces = render(factors, size)
    for name in ATTRIBUTES:
        changed = (render(factors.flipped(name), size) != faces).any(axis=(1, 2, 3))
        assert changed.all(), name


def test_only_a_data_set_that_can_tell_has_counterfactuals(tmp_path) -> None:
    with pytest.raises(NotApplicable, match="no counterfactuals"):
        Digits().counterfactuals(np.arange(3), "Smiling", 32)
    with pytest.raises(GenbenchError, match="smiling"):
        ToyFaces(ToyFacesSettings(count=20)).counterfactuals(np.arange(3), "smiling", 16)
    assert ToyFaces(ToyFacesSettings(count=20)).counterfactuals(np.arange(0), "Smiling", 16).shape == (0, 16, 16, 3)
