"""Distances and features against torch-fidelity itself, on the same images with the same extractor."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import CPU, Untrained, config
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Subset
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
from torchvision.models import squeezenet1_0

from genbench.data.packed import PackedDataset
from genbench.evaluate.chunks import Chunks
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.extractors import Inception, tensorflow_resize
from genbench.evaluate.moments import frechet_distance
from genbench.evaluate.subjects import Real, Reconstructed, Sampled
from genbench.images import to_uint8
from genbench.interfaces import Batch, Posterior

LATENT = 48


class Blurring(Untrained):
    """Encodes an image to 16 averages of each colour, and decodes those."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def encode(self, batch: Batch) -> Posterior:
        mean = nn.functional.adaptive_avg_pool2d(batch.images, 4).flatten(1)
        return Posterior(mean, mean)

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return nn.functional.interpolate(latents.unflatten(1, (3, 4, 4)), (self.size, self.size), mode="bilinear")


Build = Callable[..., EvaluationContext]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(images: np.ndarray, batch_size: int = 9) -> EvaluationContext:
        size = images.shape[1]
        data = PackedDataset("some", size, 3, "f", images, np.full(len(images), 2, np.uint8))
        return EvaluationContext(Blurring(size), data, config(0, size, LATENT), CPU, tmp_path, batch_size)

    return build


def theirs(generated: Tensor, real: Tensor, **extractor: str) -> float:
    metrics = calculate_metrics(
        input1=Subset(generated, range(len(generated))),
        input2=Subset(real, range(len(real))),
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=8,
        save_cpu_ram=True,  # no worker processes
        **extractor,
    )
    return float(metrics["frechet_inception_distance"])


class Unloaded(FeatureExtractorInceptionV3):
    """Keeps the weights that it is built with."""

    def load_state_dict(self, *_: object, **__: object) -> None: ...


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of no use, in the form of the published ones, with batch-norms that do something."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    network = Unloaded("random", ["2048"], feature_extractor_weights_path=str(path))
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.1)
            nn.init.normal_(part.running_mean, std=0.1)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def inception(random_weights: Path) -> Inception:
    return Inception.load(random_weights, CPU)


def noise(count: int, size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)


def images(count: int, size: int, channels: int = 3) -> Tensor:
    return torch.from_numpy(noise(count, size, channels)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("old", [4, 32, 64, 75, 299, 400])
def test_images_are_resized_as_torch_fidelity_does_it(old: int) -> None:
    image = torch.rand(1, 1, old, old) * 255
    expected = interpolate_bilinear_2d_like_tensorflow1x(image, size=(299, 299), align_corners=False)
    matrix = tensorflow_resize(old, 299)
    torch.testing.assert_close(matrix @ image @ matrix.T, expected, atol=1e-4, rtol=1e-6)


def test_features_are_torch_fidelitys(inception: Inception, random_weights: Path) -> None:
    network = FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path=str(random_weights))
    pictures = images(3, 40)
    (expected,) = network(pictures)
    found = inception(pictures)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-5)


def test_logits_are_torch_fidelitys_of_the_same_images(inception: Inception, random_weights: Path) -> None:
    network = FeatureExtractorInceptionV3(
        "theirs", ["logits_unbiased"], feature_extractor_weights_path=str(random_weights)
    )
    pictures = images(2, 40)
    (expected,) = network(pictures)
    found = inception.logits(inception(pictures))
    assert found.shape == (2, 1008)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "channels", "expected"),
    [
        (28, 1, ("Inception was made for photographs of 299 px in colour; these are 28 px and grey",)),
        (74, 3, ("Inception was made for photographs of 299 px in colour; these are 74 px",)),
        (75, 3, ()),
        (299, 3, ()),
        (128, 1, ("Inception was made for photographs of 299 px in colour; these are grey",)),
        (512, 3, ("images are shrunk from 512 px to 299 px without antialiasing, which changes features",)),
    ],
)
def test_inception_says_which_images_do_not_suit_it(
    inception: Inception, side: int, channels: int, expected: tuple[str, ...]
) -> None:
    assert inception.warnings(side, channels) == expected


def test_features_do_not_depend_on_how_many_images_are_given_at_once(inception: Inception) -> None:
    pictures = images(9, 16)  # more than one chunk
    one_by_one = torch.cat([inception(picture) for picture in pictures.split(1)])
    torch.testing.assert_close(inception(pictures), one_by_one, atol=1e-5, rtol=1e-4)


def test_grey_images_count_as_colour_images_without_colour(inception: Inception) -> None:
    grey = images(2, 16, channels=1)
    torch.testing.assert_close(inception(grey), inception(grey.repeat(1, 3, 1, 1)))
    assert inception(grey).shape == (2, inception.size)


@pytest.mark.parametrize("count", [1, 4, 5, 13])
@pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
def test_chunks_leave_none_out_and_keep_the_order(count: int, device: torch.device) -> None:
    given: list[int] = []

    def compute(chunk: Tensor) -> Tensor:
        given.append(len(chunk))
        return chunk.flatten(1).float()

    pictures = images(count, 4)
    assert torch.equal(Chunks.on(device, cpu=4, gpu=5).apply(compute, pictures), pictures.flatten(1).float())
    assert max(given) <= (4 if device == CPU else 5)


@pytest.mark.slow
def test_distances_on_inceptions_features_are_torch_fidelitys(
    build: Build, inception: Inception, random_weights: Path
) -> None:
    context = build(noise(12, 8))
    found = frechet_distance(context.moments(inception, Real("test")), context.moments(inception, Sampled(10)))
    samples, real = torch.cat(list(context.samples(10))), torch.cat(list(context.real("test")))
    expected = theirs(samples, real, feature_extractor_weights_path=str(random_weights))
    assert found == pytest.approx(expected, rel=1e-5)
    assert found > 1e-3
    assert len(inception.weights_hash) == 64


class SqueezeNet(FeatureExtractorBase):
    """SqueezeNet's features of 512 channels, averaged over places, as torch-fidelity wants an extractor."""

    weights = Path()

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        network = squeezenet1_0()
        network.load_state_dict(load_file(self.weights))
        self.layers = network.features

    def forward(self, images: Tensor) -> tuple[Tensor]:
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        return (self.layers((images / 255 - mean) / deviation).mean((2, 3)),)

    @staticmethod
    def get_provided_features_list() -> tuple[str]:
        return ("512",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "512"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


class SqueezeNetFeatures:
    """The same as an extractor of ours."""

    name, size, weights_hash = "squeezenet", 512, "0" * 64

    def __init__(self) -> None:
        self.network = SqueezeNet("ours", ["512"]).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.facts: dict[str, str] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images)[0]
        return features

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return ()


@pytest.fixture
def squeezenet(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(SqueezeNet, "weights", shared / "weights" / "squeezenet1_0.safetensors")
    register_feature_extractor("squeezenet", SqueezeNet)
    yield "squeezenet"
    del FEATURE_EXTRACTORS_REGISTRY["squeezenet"]


def faces(shared: Path, count: int) -> np.ndarray:
    with zipfile.ZipFile(shared / "data" / "celeba" / "img_align_celeba.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:count]
        pictures = [Image.open(archive.open(name)).crop((12, 22, 76, 86)) for name in names]
        return np.stack([np.asarray(picture) for picture in pictures])


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_distances_on_real_features_of_real_faces_are_torch_fidelitys(
    build: Build, shared: Path, squeezenet: str, count: int
) -> None:
    context, extractor = build(faces(shared, count), batch_size=32), SqueezeNetFeatures()
    ours = frechet_distance(context.moments(extractor, Real("test")), context.moments(extractor, Reconstructed("test")))
    blurred = torch.cat([to_uint8(fake) for _, fake in context.reconstructions("test")])
    expected = theirs(blurred, torch.cat(list(context.real("test"))), feature_extractor=squeezenet)
    assert ours == pytest.approx(expected, rel=1e-5)
    assert ours > 1
