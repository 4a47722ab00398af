"""Similarities of a trained network's features: torchvision's and torchmetrics' networks called directly."""

import io
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from textures import textures
from torch import Tensor, nn
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.extractors import weights as published_weights
from genbench.interfaces import Similarity, View
from genbench_similarities.perceptual import LAYERS, Lpips, Perceptual
from genbench_similarities.settings import LpipsSettings, PerceptualSettings

MEAN, DEVIATION = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that torch's hub keeps files in; there is no network."""

    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise URLError("no network")

    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(published_weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(published_weights, "urlopen", refuse)
    return folder


def random_network(name: str) -> nn.Module:
    """Return a classifier of torchvision, its running statistics random, too."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network: nn.Module = torchvision.models.get_model(name, weights=None).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn(module.num_features)
                module.running_var = torch.rand(module.num_features) + 0.5
    return network


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(random_network("squeezenet1_1").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(random_network("resnet18").state_dict(), path)
    return path


def perceptual(network: str, weights: Path, layers: str = "") -> Perceptual:
    return Perceptual(PerceptualSettings(network=network, weights=str(weights), layers=layers))


def seen(network: nn.Module, layers: list[str], images: Tensor) -> list[Tensor]:
    """Return what modules of a network gave when they had just run, of unit length at each place."""
    found: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if name in layers:
            module.register_forward_hook(lambda _, __, output, name=name: found.update({name: output.clone()}))
    with torch.no_grad():
        network(((images + 1) / 2 - MEAN) / DEVIATION)
    return [nn.functional.normalize(found[layer], dim=1) for layer in layers]


def distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
    return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in zip(first, second, strict=True)]).sum(0)


# -- perceptual


def test_real_features_are_torchvisions(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(shared / "weights"))
    network = torchvision.models.squeezenet1_0().eval()
    network.load_state_dict(load_file(shared / "weights" / "squeezenet1_0.safetensors"))
    real, fake = textures().float(), textures(seed=1).float()
    layers = [f"features.{place}" for place in LAYERS["squeezenet1_0"]]
    expected = distance(*(seen(network, layers, images) for images in (real, fake)))
    similarity = Perceptual(PerceptualSettings())
    torch.testing.assert_close(similarity(View(real), View(fake)), expected, rtol=1e-5, atol=0)
    assert similarity.facts["network"] == "squeezenet1_0"
    assert similarity.facts["layers"] == "features.1, features.5, features.10, features.12"


def test_it_is_what_it_was_to_the_bit(squeezenet: Path) -> None:
    """As of the time when a network's `features` were run one by one."""
    network = random_network("squeezenet1_1").get_submodule("features")
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False

    @torch.no_grad()
    def features(images: Tensor) -> list[Tensor]:
        value, found = ((images + 1) / 2 - MEAN) / DEVIATION, []
        for place, layer in enumerate(network.children()):
            value = layer(value)
            if place in LAYERS["squeezenet1_1"]:
                found.append(value / (value.square().sum(1, keepdim=True) + 1e-10).sqrt())
        return found[: len(LAYERS["squeezenet1_1"])]

    real, fake = textures().float(), textures(seed=1).float()
    pairs = zip(features(real), features(fake), strict=True)
    expected = torch.stack([(a - b).square().sum(1).flatten(1).mean(1) for a, b in pairs]).sum(0)
    assert torch.equal(perceptual("squeezenet1_1", squeezenet)(View(real), View(fake)), expected)


def test_a_network_that_nobody_chose_layers_of_is_compared_where_each_resolution_ends(resnet: Path) -> None:
    similarity = perceptual("resnet18", resnet)
    stages = ["relu", "layer1", "layer2", "layer3", "layer4"]
    assert similarity.facts["layers"] == ", ".join(stages)
    real, fake = textures(2, side=64).float(), textures(2, side=64, seed=1).float()
    expected = distance(*(seen(random_network("resnet18"), stages, images) for images in (real, fake)))
    torch.testing.assert_close(similarity(View(real), View(fake)), expected, rtol=1e-4, atol=0)


def test_chosen_layers_are_seen_before_anything_is_added_to_them(resnet: Path) -> None:
    """A residual network adds to the last layer of a block in place."""
    layers = ["layer2.0.bn2", "layer1.0"]
    similarity = perceptual("resnet18", resnet, " layer2.0.bn2,layer1.0 ,")
    real, fake = textures(2).float(), textures(2, seed=1).float()
    expected = distance(*(seen(random_network("resnet18"), layers, images) for images in (real, fake)))
    torch.testing.assert_close(similarity(View(real), View(fake)), expected, rtol=1e-4, atol=0)


def test_unknown_networks_and_layers_are_named_with_those_near(squeezenet: Path) -> None:
    with pytest.raises(GenbenchError, match="unknown classifier of torchvision `squeezenet1_2`") as caught:
        perceptual("squeezenet1_2", squeezenet)
    assert "`squeezenet1_1`" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match=r"squeezenet1_1 has no layer `featured\.4`") as caught:
        perceptual("squeezenet1_1", squeezenet, "features.1,featured.4")
    assert "`features.4`" in str(caught.value.hint)


def test_images_that_are_too_small_are_told_when_they_come(squeezenet: Path) -> None:
    similarity = perceptual("squeezenet1_1", squeezenet)
    images = View(textures(side=12).float())
    with pytest.raises(GenbenchError, match=r"squeezenet1_1 can't look at images of 12 × 12 px: .*too small"):
        similarity(images, images)
    earlier = perceptual("squeezenet1_1", squeezenet, "features.1,features.4")
    assert earlier(images, images).tolist() == [0, 0, 0]


# -- lpips


def lpips(weights: Path | str = "") -> Lpips:
    return Lpips(LpipsSettings(net="squeeze", weights=str(weights)))


def test_lpips_and_its_gradient_are_torchmetrics_own(squeezenet: Path, hub: Path) -> None:
    torch.save(load_file(squeezenet), hub / "squeezenet1_1-b8a52dc0.pth")  # where torchvision finds it, unchecked
    theirs = LearnedPerceptualImagePatchSimilarity("squeeze", reduction="sum")
    real, fake = textures().float(), textures(seed=1).float()
    leaf, other = (fake.clone().requires_grad_() for _ in range(2))
    value = lpips(squeezenet)(View(real), View(leaf))
    expected = theirs(other, real)
    torch.testing.assert_close(value.sum(), expected, rtol=1e-5, atol=0)
    found = torch.autograd.grad(value.sum(), leaf)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected, other)[0], rtol=1e-3, atol=1e-7)


def test_lpips_without_weights_or_room_is_not_applicable(squeezenet: Path) -> None:
    with pytest.raises(NotApplicable, match="squeezenet1_1 weights of torchvision are not here"):
        lpips()
    images = View(textures(side=16).float())
    with pytest.raises(NotApplicable, match="needs images of at least 17 px"):
        lpips(squeezenet)(images, images)


# -- both


@pytest.fixture(params=["perceptual", "lpips"])
def similarity(request: pytest.FixtureRequest, squeezenet: Path) -> Similarity:
    return lpips(squeezenet) if request.param == "lpips" else perceptual("squeezenet1_1", squeezenet)


def test_the_network_is_no_part_of_the_model(similarity: Similarity) -> None:
    assert not list(similarity.parameters())
    assert not similarity.state_dict()
    assert len(str(similarity.facts.get("network_weights", similarity.facts.get("net_weights")))) == 64


def test_an_images_value_depends_on_no_other_and_is_0_to_itself(similarity: Similarity) -> None:
    real, fakes = textures().float(), textures(seed=1).float()
    together = similarity(View(real), View(fakes))
    alone = torch.cat([similarity(View(r[None]), View(f[None])) for r, f in zip(real, fakes, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=0)
    assert bool((together > 0).all())
    same = real.clone().requires_grad_()
    value = similarity(View(real), View(same))
    assert value.tolist() == [0, 0, 0]
    assert bool(torch.autograd.grad(value.sum(), same)[0].isfinite().all())


def test_grey_images_are_three_equal_channels(similarity: Similarity) -> None:
    real, fake = textures(channels=1).float(), textures(channels=1, seed=1).float()
    colour = similarity(*(View(images.expand(-1, 3, -1, -1)) for images in (real, fake)))
    assert torch.equal(similarity(View(real), View(fake)), colour)


def test_its_gradient_in_float64_is_that_of_finite_differences(similarity: Similarity) -> None:
    real = textures(1)
    fake = (0.6 * real + 0.4 * textures(1, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: similarity(View(real), View(x)), (fake,), eps=1e-7, atol=1e-5, rtol=1e-2, fast_mode=True
    )
    assert similarity(View(real.float()), View(fake.detach().float())).dtype == torch.float32


def test_building_it_draws_no_random_numbers(squeezenet: Path) -> None:
    before = torch.get_rng_state()
    perceptual("squeezenet1_1", squeezenet)
    lpips(squeezenet)
    assert torch.equal(torch.get_rng_state(), before)
