"""Extractors' features against torch-fidelity and torchvision called directly, on the same weights."""

import warnings as python_warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision.models
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_clip import CLIPVisual, FeatureExtractorCLIP
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision.models import SqueezeNet1_0_Weights, densenet121, get_model, squeezenet1_0

import genbench_evaluators
from genbench.errors import GenbenchError
from genbench.evaluate.extractors import Extractor, obtain_extractor
from genbench.evaluate.extractors import torchvision as tv
from genbench.evaluate.extractors.dinov2 import vision_transformer
from genbench.evaluate.extractors.torchvision import TorchvisionFeatures
from genbench.plugins import Plugins

CPU = torch.device("cpu")
PLUGINS = Plugins.of(genbench_evaluators)
MEAN, DEVIATION = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def obtain(name: str, weights: Path) -> Extractor:
    return obtain_extractor(PLUGINS, name, str(weights), CPU)


def pictures(count: int, size: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Compare within 1e-5 of the features' size."""
    assert expected.std() > 0
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-4)


def assert_sound(extractor: Extractor, size: int = 24) -> None:
    """Check what holds for every extractor: sizes, grey images, and that images do not see each other."""
    images = pictures(9, size)  # more than one chunk
    features = extractor(images)
    assert features.shape == (9, extractor.size)
    one_by_one = torch.cat([extractor(image) for image in images[7:].split(1)])
    torch.testing.assert_close(features[7:], one_by_one, atol=1e-5 * features.abs().max().item(), rtol=1e-4)
    grey = images[:1, :1]
    torch.testing.assert_close(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))
    assert extractor.warnings(28, 1)
    assert extractor.warnings(64, 3) == ()
    assert len(extractor.weights_hash) == 64


# torchvision


@pytest.fixture
def squeezenet(shared: Path) -> Path:
    return shared / "weights" / "squeezenet1_0.safetensors"


def test_real_features_are_torchvisions(squeezenet: Path) -> None:
    network = squeezenet1_0().eval()
    network.load_state_dict(load_file(squeezenet))
    images = pictures(3, 64)
    with torch.no_grad():
        expected = network.features(SqueezeNet1_0_Weights.IMAGENET1K_V1.transforms()(images)).mean((2, 3))
    extractor = obtain("torchvision:squeezenet1_0", squeezenet)
    assert_same(extractor(images), expected)
    assert extractor.name == "torchvision:squeezenet1_0"
    assert extractor.size == 512
    assert extractor.facts["resize"] == "256 px, bilinear, antialiased, then the central 224 px, inside the extractor"
    assert extractor.facts["normalisation"] == "mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"
    assert extractor.warnings(28, 1) == (
        "`torchvision:squeezenet1_0` was made for photographs of 224 px in colour; these are 28 px and grey",
    )
    assert_sound(extractor)


def test_a_folder_of_weights_is_enough(squeezenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(squeezenet.parent))
    by_folder = obtain_extractor(PLUGINS, "torchvision:squeezenet1_0", "", CPU)
    assert by_folder.weights_hash == obtain("torchvision:squeezenet1_0", squeezenet).weights_hash


def test_weights_of_another_network_are_refused(squeezenet: Path) -> None:
    with pytest.raises(GenbenchError, match="not resnet18 weights of torchvision"):
        obtain("torchvision:resnet18", squeezenet)
    with pytest.raises(GenbenchError, match="not vgg16 weights"):
        obtain("vgg16", squeezenet)
    with pytest.raises(GenbenchError, match="not clip-vit-b-32 weights"):
        obtain("clip", squeezenet)
    with pytest.raises(GenbenchError, match="not dinov2_vitb14 weights"):
        obtain("dinov2", squeezenet)


FAMILIES = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf")
SLOW = ("alexnet", "convnext_tiny", "densenet121", "googlenet", "maxvit_t", "swin_t", "vgg11", "vit_b_32")


def last_linear(network: nn.Module) -> nn.Linear:
    return [part for part in network.modules() if isinstance(part, nn.Linear)][-1]


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(slow, marks=pytest.mark.slow) for slow in SLOW)])
def test_the_last_layer_makes_the_networks_logits_of_the_features(name: str) -> None:
    """Whichever layer is taken for the penultimate: the rest of the network must need nothing else."""
    options = {"init_weights": False} if name == "googlenet" else {}
    network = get_model(name, weights=None, **options).eval()
    nn.init.normal_(last_linear(network).weight)
    preset = next(iter(torchvision.models.get_model_weights(name))).transforms()
    images = pictures(2, 32)
    with torch.no_grad():
        logits = network(preset(images))
    features = TorchvisionFeatures("torchvision:it", network, "0" * 64, preset, CPU)(images)
    assert_same(last_linear(network)(features).detach(), logits)


def test_published_weights_are_known_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two published weights of one network ask for images of different sizes; a file's name does not matter."""
    path = tmp_path / "mine.pth"
    torch.save(get_model("mobilenet_v2", weights=None).state_dict(), path)
    unknown = obtain("torchvision:mobilenet_v2", path)
    digest = unknown.weights_hash
    monkeypatch.setattr(tv, "hash_in", lambda url: digest[:8] if url.endswith("mobilenet_v2-7ebf99e0.pth") else "?")
    second = obtain("torchvision:mobilenet_v2", path)
    assert str(unknown.facts["resize"]).startswith("256 px")
    assert str(second.facts["resize"]).startswith("232 px")
    assert second.weights_hash == digest


@pytest.mark.slow
def test_old_names_of_densenets_weights_are_known(tmp_path: Path) -> None:
    network = densenet121().eval()
    old = {}
    for name, tensor in network.state_dict().items():
        for part in ("norm", "conv"):
            name = name.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2.")
        old[name] = tensor
    assert old.keys() != network.state_dict().keys()
    torch.save(old, tmp_path / "old.pth")
    torch.save(network.state_dict(), tmp_path / "new.pth")
    of_old, of_new = (obtain("torchvision:densenet121", tmp_path / name) for name in ("old.pth", "new.pth"))
    images = pictures(1, 32)
    assert torch.equal(of_old(images), of_new(images))


@pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v3_small"])
def test_both_formats_of_weights_give_the_same_features(name: str, tmp_path: Path) -> None:
    state = get_model(name, weights=None).state_dict()
    torch.save(state, tmp_path / "w.pth")
    save_file(dict(state), tmp_path / "w.safetensors")
    images = pictures(1, 32)
    one, other = (obtain(f"torchvision:{name}", tmp_path / f"w.{kind}") for kind in ("pth", "safetensors"))
    assert torch.equal(one(images), other(images))
    assert one.weights_hash != other.weights_hash


# torch-fidelity


@pytest.mark.slow
def test_vgg16_is_torch_fidelitys(tmp_path: Path) -> None:
    path = tmp_path / "vgg16.pth"
    with torch.device("meta"):
        shapes = torchvision.models.vgg16().state_dict()
    torch.save({name: windows(tensor.shape) for name, tensor in shapes.items()}, path)
    images = pictures(2, 40)
    expected = FeatureExtractorVGG16("theirs", ["fc2_relu"], feature_extractor_weights_path=str(path))(images)[0]
    extractor = obtain("vgg16", path)
    assert_same(extractor(images), expected)
    assert extractor.name == "vgg16"
    assert extractor.size == 4096
    assert extractor(images[:1, :1]).shape == (1, 4096)


def windows(shape: torch.Size) -> Tensor:
    """Return random weights whose rows are overlapping windows of one long row."""
    inputs = shape[1:].numel()
    if len(shape) == 1:
        return torch.randn(shape) * 0.1
    long = torch.randn(7 * shape[0] + inputs) * (2 / inputs) ** 0.5
    return long.as_strided((shape[0], inputs), (7, 1)).unflatten(1, shape[1:])


class Clip(nn.Module):
    """What OpenAI's archives hold, made small: the image encoder and a part of the text encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = CLIPVisual(16, 64, 2, 768, 32).visual
        self.text_projection = nn.Parameter(torch.randn(8, 16))
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, images: Tensor) -> Tensor:
        return self.visual(images) @ self.text_projection.T  # type: ignore[no-any-return]


@pytest.fixture
def clip_archive(tmp_path: Path) -> Path:
    path = tmp_path / "ViT-B-32.pt"
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # TorchScript is deprecated, yet CLIP is published so
        torch.jit.trace(Clip().eval(), torch.zeros(1, 3, 64, 64)).save(str(path))
    return path


def test_clip_is_torch_fidelitys(clip_archive: Path) -> None:
    images = pictures(3, 40)
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(clip_archive))
    (expected,) = theirs(images)
    extractor = obtain("clip", clip_archive)
    assert_same(extractor(images), expected)
    assert extractor.name == "clip"
    assert extractor.size == 16
    assert extractor.facts["resize"] == "64 px, bilinear as in TensorFlow 1, inside the extractor"
    assert_sound(extractor)


def test_another_variant_of_clip_is_refused(clip_archive: Path) -> None:
    with pytest.raises(GenbenchError, match=r"width and patch are \(768, 32\), expected \(768, 16\)"):
        obtain("clip:vit-b-16", clip_archive)


# DINOv2: the paper's network written down once more, plainly, with the hub's names of weights


WIDTH, DEPTH, HEADS = 384, 2, 6


@pytest.fixture
def dinov2_state() -> dict[str, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape) * 0.05

    def layer(name: str, outputs: int, *inputs: int) -> dict[str, Tensor]:
        return {f"{name}.weight": normal(outputs, *inputs), f"{name}.bias": normal(outputs)}

    state = {"cls_token": normal(1, 1, WIDTH), "mask_token": normal(1, WIDTH)}
    state |= {"pos_embed": 10 * normal(1, 1 + 37**2, WIDTH)} | layer("patch_embed.proj", WIDTH, 3, 14, 14)
    for block in (f"blocks.{k}" for k in range(DEPTH)):
        state |= layer(f"{block}.norm1", WIDTH) | layer(f"{block}.norm2", WIDTH)
        state |= layer(f"{block}.attn.qkv", 3 * WIDTH, WIDTH) | layer(f"{block}.attn.proj", WIDTH, WIDTH)
        state |= layer(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH) | layer(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
        state |= {f"{block}.ls{i}.gamma": 1 + normal(WIDTH) for i in (1, 2)}
        state[f"{block}.norm1.weight"] += 1
        state[f"{block}.norm2.weight"] += 1
    return state | layer("norm", WIDTH)


def plain_dinov2(state: dict[str, Tensor], images: Tensor) -> Tensor:
    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    learned = state["pos_embed"][:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    positions = F.interpolate(learned, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")
    x = (x + positions).flatten(2).mT
    first = (state["cls_token"] + state["pos_embed"][:, :1]).expand(len(x), -1, -1)
    x = torch.cat([first, x], 1)
    for block in (f"blocks.{k}" for k in range(DEPTH)):
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").chunk(3, -1)
        )
        seen = (query @ key.mT / (WIDTH // HEADS) ** 0.5).softmax(-1) @ value
        x = x + state[f"{block}.ls1.gamma"] * linear(seen.transpose(1, 2).flatten(2), f"{block}.attn.proj")
        inner = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + state[f"{block}.ls2.gamma"] * linear(inner, f"{block}.mlp.fc2")
    return norm(x, "norm")[:, 0]


def test_dinov2_is_the_papers_network(dinov2_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(dinov2_state, tmp_path / "dinov2.pth")
    images = pictures(2, 40)
    resized = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(224, 224), align_corners=False)
    expected = plain_dinov2(dinov2_state, (resized / 255 - MEAN) / DEVIATION)
    extractor = obtain("dinov2:vits14", tmp_path / "dinov2.pth")
    assert_same(extractor(images), expected)
    assert extractor.name == "dinov2:vits14"
    assert extractor.size == WIDTH
    assert_sound(extractor)


def test_another_variant_of_dinov2_is_refused(dinov2_state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(dinov2_state, tmp_path / "dinov2.safetensors")
    with pytest.raises(GenbenchError, match="the network's width is 384, expected 768"):
        obtain("dinov2", tmp_path / "dinov2.safetensors")


def test_positions_learned_for_224_px_stay_as_they_are(dinov2_state: dict[str, Tensor]) -> None:
    small = dinov2_state | {"pos_embed": dinov2_state["pos_embed"][:, : 1 + 16**2]}
    network = vision_transformer(small, WIDTH)
    assert torch.equal(network.get_parameter("encoder.pos_embedding"), small["pos_embed"])
