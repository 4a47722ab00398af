"""LPIPS: against torchmetrics' own class and the paper's formula, and where its weights come from."""

import io
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from reconstructed import Reconstructions
from safetensors.torch import save_file
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as library
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.extractors import weights as published_weights
from genbench.evaluate.extractors.lpips import BACKBONES, check_size
from genbench.records import Score
from genbench_evaluators.perceptual import PerceptualDistance
from genbench_evaluators.reconstruction_settings import LpipsSettings, Net

NETS: tuple[Net, ...] = ("alex", "vgg", "squeeze")

CUTS: Mapping[Net, tuple[int, ...]] = {
    "alex": (2, 5, 8, 10, 12),
    "vgg": (4, 9, 16, 23, 30),
    "squeeze": (2, 5, 8, 10, 11, 12, 13),
}
"""How many layers of a backbone come before each of the features that the paper's authors compare."""


class NoEncoder(Reconstructions):
    def reconstructions(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        raise NotApplicable("no encoder")


def pairs(count: int = 8, side: int = 64, channels: int = 3) -> Reconstructions:
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(count, channels, side, side, generator=generator) * 2 - 1
    noise = torch.randn(real.shape, generator=generator)
    return Reconstructions(real, (real + 0.3 * noise).clamp(-1, 1))


def lpips(context: Reconstructions, weights: Path | str = "", net: Net = "squeeze") -> Score:
    evaluator = PerceptualDistance(LpipsSettings(net=net, weights=str(weights)))
    (score,) = evaluator.evaluate(context)  # type: ignore[arg-type]
    return score


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that torch's hub keeps files in; there is no network."""

    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(published_weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(published_weights, "urlopen", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights of SqueezeNet in torchvision's format."""
    return saved(tmp_path_factory.mktemp("weights") / "squeezenet.pth", random_network("squeeze"))


def random_network(net: Net) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network: nn.Module = torchvision.models.get_model(BACKBONES[net].name, weights=None)
    return network


def saved(path: Path, network: nn.Module) -> Path:
    torch.save(network.state_dict(), path)
    return path


# -- its value


def test_it_is_torchmetrics_own(squeezenet: Path, hub: Path) -> None:
    (hub / "squeezenet1_1-b8a52dc0.pth").write_bytes(squeezenet.read_bytes())  # where torchvision finds it, unchecked
    theirs = LearnedPerceptualImagePatchSimilarity("squeeze")
    context = pairs()
    found = lpips(context, squeezenet)
    assert found.value == pytest.approx(theirs(context.real, context.fake).item(), rel=1e-5)
    assert found.direction == "lower"


@pytest.mark.parametrize("net", ["alex", "squeeze", pytest.param("vgg", marks=pytest.mark.slow)])
def test_it_is_the_papers(net: Net, tmp_path: Path) -> None:
    layers = random_network(net).get_submodule("features")
    path = tmp_path / "features.pth"  # what lies behind the features is not looked at
    torch.save({f"features.{name}": tensor for name, tensor in layers.state_dict().items()}, path)
    context = pairs(3)
    expected = formula(net, layers.double(), context.real.double(), context.fake.double())
    found = lpips(context, path, net)
    assert found.value == pytest.approx(expected.mean().item(), rel=1e-5)
    assert found.uncertainty == pytest.approx(expected.std().item() / 3**0.5, rel=1e-4)


@torch.no_grad()
def formula(net: Net, layers: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return LPIPS, (N,), as Zhang et al. 2018 write it in eq. 1, with the published heads."""
    heads = torch.load(
        Path(library.__file__).parent / "lpips_models" / f"{net}.pth", weights_only=True, map_location="cpu"
    )
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).view(1, 3, 1, 1)
    x, y = ((images - shift) / scale for images in (real, fake))
    total = torch.zeros(len(real), dtype=torch.float64)
    for level, (start, end) in enumerate(pairwise((0, *CUTS[net]))):
        for layer in list(layers.children())[start:end]:
            x, y = layer(x), layer(y)
        a, b = (features / features.square().sum(1, keepdim=True).add(1e-8).sqrt() for features in (x, y))
        weights = heads[f"lin{level}.model.1.weight"].double()
        total += ((a - b).square() * weights).sum(1).mean((1, 2))
    return total


def test_an_image_is_at_no_distance_from_itself(squeezenet: Path) -> None:
    real = pairs().real
    found = lpips(Reconstructions(real, real), squeezenet)
    assert (found.value, found.uncertainty) == (0, 0)


def test_more_noise_is_further_away(squeezenet: Path) -> None:
    context = pairs()
    halfway = Reconstructions(context.real, (context.real + context.fake) / 2)
    assert 0 < lpips(halfway, squeezenet).value < lpips(context, squeezenet).value


def test_neither_batch_size_nor_order_moves_it(squeezenet: Path) -> None:
    context = pairs(18)
    first = lpips(context, squeezenet)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(1))
    for batch_size, shuffled in ((18, slice(None)), (1, slice(None)), (7, order)):
        other = lpips(Reconstructions(context.real[shuffled], context.fake[shuffled], batch_size), squeezenet)
        assert other.protocol == first.protocol
        assert other.value == pytest.approx(first.value, rel=1e-5)
        assert other.uncertainty == pytest.approx(first.uncertainty, rel=1e-4)


def test_grey_images_are_repeated_to_three_channels(squeezenet: Path) -> None:
    grey = pairs(channels=1)
    colour = Reconstructions(grey.real.expand(-1, 3, -1, -1), grey.fake.expand(-1, 3, -1, -1))
    assert lpips(grey, squeezenet).value == lpips(colour, squeezenet).value
    assert lpips(grey, squeezenet).protocol["grey_images"] == "repeated to three channels"


# -- where it applies


@pytest.mark.parametrize("net", NETS)
def test_the_least_size_is_what_the_network_takes(net: Net) -> None:
    with torch.device("meta"):
        layers = nn.Sequential(*random_network(net).get_submodule("features").children())[: CUTS[net][-1]]
        least = BACKBONES[net].least
        layers(torch.zeros(1, 3, least, least))
        with pytest.raises(RuntimeError, match="too small"):
            layers(torch.zeros(1, 3, least - 1, least - 1))
    check_size(least, net)
    with pytest.raises(NotApplicable, match=f"at least {least} px, these are {least - 1} px"):
        check_size(least - 1, net)


def test_too_small_images_are_sent_to_the_networks_that_take_them() -> None:
    with pytest.raises(NotApplicable) as refused:
        lpips(pairs(side=28), net="alex")
    assert refused.value.hint == "set `net` to `vgg` or `squeeze`"


@pytest.mark.parametrize(
    ("side", "channels", "expected"),
    [(64, 3, None), (63, 3, "these are 63 px"), (64, 1, "these are grey"), (28, 1, "these are 28 px and grey")],
)
def test_unsuited_images_are_warned_of(squeezenet: Path, side: int, channels: int, expected: str | None) -> None:
    warnings = lpips(pairs(2, side, channels), squeezenet).warnings
    assert [expected in warning for warning in warnings if expected] == ([True] if expected else [])
    assert len(warnings) == bool(expected)


def test_a_model_without_an_encoder_costs_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    context = pairs()
    with pytest.raises(NotApplicable, match="no encoder"):
        lpips(NoEncoder(context.real, context.fake))


# -- its weights


def test_without_weights_it_is_skipped_and_says_what_to_put_where(hub: Path) -> None:
    with pytest.raises(NotApplicable, match="no network") as refused:
        lpips(pairs(), net="alex")
    assert str(hub) not in refused.value.message, "a record is for others, too"
    assert str(hub / "alexnet-owt-7be5be79.pth") in str(refused.value.hint)


def test_weights_are_found_in_the_hubs_cache_in_either_format(squeezenet: Path, hub: Path) -> None:
    save_file(torch.load(squeezenet, weights_only=True), hub / "squeezenet1_1.safetensors")
    found, named = lpips(pairs()), lpips(pairs(), squeezenet)
    assert found.value == named.value
    for score, path in ((found, hub / "squeezenet1_1.safetensors"), (named, squeezenet)):
        assert score.protocol["net_weights"] == sha256(path.read_bytes()).hexdigest()
    assert found.protocol["heads_weights"] == named.protocol["heads_weights"]
    assert found.protocol["net"] == "squeezenet1_1"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match=r"no file at .*gone\.pth"):
        lpips(pairs(), tmp_path / "gone.pth")


class Trap:
    """What unpickles to a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("what", ["trap", "text", "other network", "other shapes"])
def test_weights_that_are_something_else_are_refused_and_run_nothing(
    squeezenet: Path, tmp_path: Path, what: str
) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    shrunk = {name: tensor[:1] for name, tensor in torch.load(squeezenet, weights_only=True).items()}
    contents: dict[str, object] = {
        "trap": Trap(sprung),
        "other network": {"weight": torch.zeros(3)},
        "other shapes": shrunk,
    }
    if what == "text":
        path.write_text("not weights")
    else:
        torch.save(contents[what], path)
    with pytest.raises(GenbenchError, match="not squeezenet1_1 weights of torchvision"):
        lpips(pairs(), path)
    assert not sprung.exists()
