"""Ways through the latent space against closed forms, and attribute vectors on a linear model."""

from math import pi

import numpy as np
import pytest
import torch
from contexts import CPU, Generator, config, dataset
from quarters import LATENT, Quarters, quarters

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.editing import attribute_vectors, completed_name, edited
from genbench.evaluate.paths import closed_walk, great_circle, straight
from genbench.evaluate.restoring import restore_images
from genbench.images import to_float

PLACES = torch.linspace(0, 1, 7, dtype=torch.float64)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("way", [straight, great_circle])
def test_a_way_begins_and_ends_with_the_latents_themselves(way) -> None:  # type: ignore[no-untyped-def]
    start, end = drawn(5, 8), drawn(5, 8).flip(0)
    points = way(start, end, PLACES)
    assert points.shape == (5, 7, 8)
    assert torch.equal(points[:, 0].float(), start)
    assert torch.equal(points[:, -1].float(), end)


def test_a_great_circle_is_a_rotation_at_constant_speed() -> None:
    angle = 0.3 * pi
    start, end = torch.tensor([[3.0, 0, 0]]), torch.tensor([[3 * np.cos(angle), 3 * np.sin(angle), 0]])
    expected = torch.stack([3 * (PLACES * angle).cos(), 3 * (PLACES * angle).sin(), torch.zeros(7)], 1)
    torch.testing.assert_close(great_circle(start, end, PLACES)[0], expected.double(), atol=1e-6, rtol=0)


def test_half_way_between_latents_of_unlike_norms() -> None:
    """At right angles sin(Ω/2) / sin Ω is √½, whatever the norms."""
    middle = great_circle(torch.tensor([[2.0, 0]]), torch.tensor([[0, 6.0]]), torch.tensor([0.5]))
    torch.testing.assert_close(middle[0, 0], torch.tensor([2 * 0.5**0.5, 6 * 0.5**0.5], dtype=torch.float64))


def test_a_straight_line_leaves_the_shell_and_a_great_circle_does_not() -> None:
    start, end = drawn(2, 500, 1000).double() / 1000**0.5
    start, end = start / start.norm(dim=1, keepdim=True), end / end.norm(dim=1, keepdim=True)
    half = torch.tensor([0.5])
    assert abs(straight(start, end, half).norm(dim=2).mean() - 0.5**0.5) < 0.01
    torch.testing.assert_close(great_circle(start, end, PLACES).norm(dim=2), torch.ones(500, 7).double())


@pytest.mark.parametrize("end", [[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0], [1.0, 2.0]])
def test_latents_on_one_line_are_joined_by_finite_points(end: list[float]) -> None:
    start, last = torch.tensor([[1.0, 2.0]]), torch.tensor([end])
    points = great_circle(start, last, PLACES)
    assert points.isfinite().all()
    if any(end):
        torch.testing.assert_close(points, straight(start, last, PLACES))


def test_a_walk_stays_on_the_shell_and_comes_back() -> None:
    walk = closed_walk(drawn(3, 6, 50), 120)
    assert walk.shape == (3, 120, 50)
    torch.testing.assert_close(walk.norm(dim=2), torch.full((3, 120), 50**0.5, dtype=torch.float64))
    steps = (walk.roll(-1, 1) - walk).norm(dim=2)
    assert steps.max() < 1.6 * steps.mean(), "the step from the last frame to the first is like the others"
    turns = (walk.roll(-1, 1) - 2 * walk + walk.roll(1, 1)).norm(dim=2)
    assert turns.max() < 0.5 * steps.mean(), "there is no corner"


def test_a_walk_with_one_harmonic_has_the_closed_form() -> None:
    a, b = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    walk = closed_walk(torch.stack([a, b])[None], 8)[0]
    t = 2 * pi * torch.arange(8, dtype=torch.float64) / 8
    expected = 3**0.5 * torch.stack([t.cos(), t.sin(), torch.zeros(8)], 1)
    torch.testing.assert_close(walk, expected)


def test_a_walks_frames_are_distributed_alike() -> None:
    """Each coordinate of each frame is as spread as the prior's, over many walks."""
    walks = closed_walk(drawn(2000, 4, 20), 10)
    assert (walks.square().mean(0) - 1).abs().max() < 0.15
    assert walks.mean(0).abs().max() < 0.1


# -- attributes


def context(model: Quarters | None = None) -> EvaluationContext:
    data = quarters()
    return EvaluationContext(model or Quarters(), data, config(size=data.size, latent_size=LATENT), CPU, None, 64)  # type: ignore[arg-type]


def test_vectors_are_what_the_data_was_made_with() -> None:
    """Quarter k is 2 brighter, in latents, with attribute k; noise of 0.4 on 300 images each leaves little else."""
    found = attribute_vectors(context(), ("top-right", "top-left"))
    assert list(found) == ["top-right", "top-left"]
    for name, k in (("top-left", 0), ("top-right", 1)):
        expected = 2 * torch.eye(LATENT, dtype=torch.float64)[k]
        torch.testing.assert_close(found[name], expected, atol=0.25, rtol=0)


def test_vectors_do_not_depend_on_what_else_is_asked_for() -> None:
    found = attribute_vectors(context(), ("top-right", "top-left"))
    assert torch.equal(attribute_vectors(context(), ("top-left",))["top-left"], found["top-left"])


def test_an_edit_of_no_strength_is_the_reconstruction_and_of_one_adds_the_vector() -> None:
    it = context()
    images = next(it.real("test"))[:4]
    restored = restore_images(it, images, list("abcd"))
    vector = attribute_vectors(it, ("top-left",))["top-left"]
    assert torch.equal(edited(it, restored.latents, vector, 0), it.decode(restored.latents))
    moved = edited(it, torch.zeros(1, LATENT), vector, 0.5)
    assert moved[0, 0, 0, 0] == pytest.approx(vector[0].item() * 0.5 / 4)


def test_restored_images_have_the_errors_that_the_score_has() -> None:
    it = context(Quarters(contrast=0.5))
    images = next(it.real("test"))[:4]
    restored = restore_images(it, images, list("abcd"))
    real = to_float(images)
    assert torch.allclose(restored.errors, ((real - 0.5 * real) / 2).square().mean((1, 2, 3)).double(), atol=1e-6)
    mean, variance = restored.latents.double(), np.exp(-3.0)
    expected = 0.5 * (mean.square() + variance - 1 + 3).sum(1)
    torch.testing.assert_close(restored.kl, expected, rtol=1e-5, atol=1e-5)
    lines = restored.csv().splitlines()
    assert lines[0] == "image,mse,kl"
    assert [line.split(",")[0] for line in lines[1:]] == list("abcd")
    assert float(lines[2].split(",")[1]) == restored.errors[1].item()


def test_what_has_no_vector_says_why() -> None:
    with pytest.raises(GenbenchError, match="unknown attribute `top-lft`") as raised:
        attribute_vectors(context(), ("top-lft",))
    assert "did you mean `top-left`" in str(raised.value.hint)
    one_sided = dataset()
    one_sided.attributes[:, 0] = 1  # type: ignore[index]
    for model, message in ((None, "a has no vector: each of the"), (Generator(), "no encoder")):
        name = "a" if model is None else "b"
        it = EvaluationContext(model or Quarters(), one_sided, config(), CPU, None, 7)  # type: ignore[arg-type]
        with pytest.raises(NotApplicable, match=message):
            attribute_vectors(it, (name,))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Male", "Male"),
        ("male", "Male"),
        ("smi", "Smiling"),
        ("Wearing_H", "Wearing_Hat"),
        ("hat", "Wearing_Hat"),
        ("Wearing_Hat", "Wearing_Hat"),
    ],
)
def test_a_name_is_completed(text: str, name: str) -> None:
    assert completed_name(text, ("Male", "Male_Pattern", "Smiling", "Wearing_Hat", "Wearing_Necktie")) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("earing", "unknown attribute `earing`"),
        ("Wearing", "attribute `Wearing` may be Wearing_Hat, Wearing_Necktie"),
        ("Smilling", "unknown attribute `Smilling`"),
        ("", "unknown attribute ``"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused(text: str, message: str) -> None:
    with pytest.raises(GenbenchError, match=message) as raised:
        completed_name(text, ("Smiling", "Wearing_Hat", "Wearing_Necktie"))
    assert text != "Smilling" or "did you mean `Smiling`" in str(raised.value.hint)
