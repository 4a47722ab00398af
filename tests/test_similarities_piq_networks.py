"""piq's metrics that have a network: against piq's own with the same weights, and how weights are found and read."""

import ast
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import piq
import pytest
import torch
from piq_pairs import as_piq_says, pair, slope
from torch import Tensor, nn
from torchvision.models import vgg

import genbench_piq
from genbench.errors import GenbenchError, NotApplicable, explained
from genbench.evaluate.extractors import weights as places
from genbench.interfaces import Similarity, View
from genbench.plugins import Plugins
from genbench.testing.pictures import reconstruction
from genbench_piq import catalogue, networks
from genbench_piq.catalogue import LEFT_OUT, METRICS
from genbench_piq.settings import BackboneSettings, HeadsSettings, PieappSettings


def refuse(*_: object, **__: object) -> None:
    raise OSError("no network")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with random weights as they are published."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = vgg.make_layers(vgg.cfgs["D"])
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, folder / "vgg16.pt")
        torch.save([torch.rand(1, size, 1, 1) for size in networks.CHANNELS[1:]], folder / "lpips_weights.pt")
        parts = torch.rand(2, 1, sum(networks.CHANNELS), 1, 1)
        torch.save(dict(zip(("alpha", "beta"), parts / parts.sum(), strict=True)), folder / "dists_weights.pt")
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in piq.pieapp.PieAPPModel().state_dict().items()}
        judge = {name: torch.randn(shape[:1]) / shape[1:].numel() ** 0.6 for name, shape in shapes.items()}
        # One number for each output, spread over its inputs: the file stays small.
        judge = {name: value.reshape(-1, *[1] * (len(shapes[name]) - 1)) for name, value in judge.items()}
        judge = {name: value.expand(shapes[name]) for name, value in judge.items()}
        judge["ref_score_subtract.weight"] = torch.ones(1)
        torch.save(judge, folder / "PieAPPv0.1.pth")
    return folder


def published(folder: Path, url: str) -> Any:
    return torch.load(folder / url.rpartition("/")[2], weights_only=True)


def backbone(folder: Path) -> nn.Sequential:
    layers = vgg.make_layers(vgg.cfgs["D"])
    state = torch.load(folder / "vgg16.pt", weights_only=True)
    layers.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    return layers


def given(folder: Path, name: str) -> Similarity:
    """Return a metric with the weights that lie in a folder."""
    vgg16 = str(folder / "vgg16.pt")
    settings = {
        "LPIPS": HeadsSettings(vgg16, str(folder / "lpips_weights.pt")),
        "DISTS": HeadsSettings(vgg16, str(folder / "dists_weights.pt")),
        "PieAPP": PieappSettings(str(folder / "PieAPPv0.1.pth")),
    }
    return getattr(networks, name)(settings.get(name, BackboneSettings(vgg16)))


@pytest.mark.slow
def test_networks_compute_what_piqs_own_do(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **_: published(weights, url))
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: SimpleNamespace(features=backbone(weights)))
    real, fake = (images.float() for images in pair(64))
    for name in (metric.exported for metric in METRICS.values() if metric.settings):
        similarity = given(weights, name)
        found, gradient = slope(similarity, real, fake)
        torch.testing.assert_close(found, as_piq_says(METRICS[name], real, fake), rtol=1e-4, atol=1e-6)
        assert gradient.isfinite().all()
        assert (gradient.flatten(1).norm(dim=1) > 0).all()
        assert not list(similarity.parameters())
        assert not similarity.state_dict()
        assert len(str(similarity.facts["network_weights"])) == 64
        if name == "PieAPP":  # half a gigabyte in float64
            continue
        # Used in evaluation first, and at another precision, it is trained with all the same.
        with torch.no_grad():
            exact = similarity(View(real.double()), View(fake.double()))
        assert exact.dtype == torch.float64
        torch.testing.assert_close(exact.float(), found, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(slope(similarity, real, fake)[0], found)


@pytest.mark.parametrize("name", ["ContentLoss", "StyleLoss", "LPIPS", "DISTS"])
def test_features_are_least_apart_for_equal_images(weights: Path, name: str) -> None:
    side = max(METRICS[name].side, 4)
    real, fake = (images.float() for images in pair(side, channels=1))
    similarity = given(weights, name)
    own, gradient = slope(similarity, real, real)
    torch.testing.assert_close(own, torch.zeros(2), rtol=0, atol=1e-5)
    assert gradient.isfinite().all()
    assert (similarity(View(real), View(fake)) > own).all()


def test_missing_weights_are_asked_for_by_name(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv(places.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(places, "urlopen", refuse)
    vgg16 = str(weights / "vgg16.pt")
    with pytest.raises(NotApplicable, match="vgg16 weights of torchvision are not here"):
        networks.ContentLoss(BackboneSettings())
    for kind, settings, setting, file in (
        (networks.LPIPS, HeadsSettings(vgg16), "heads", "lpips_weights.pt"),
        (networks.DISTS, HeadsSettings(vgg16), "heads", "dists_weights.pt"),
        (networks.PieAPP, PieappSettings(), "weights", "PieAPPv0.1.pth"),
    ):
        with pytest.raises(NotApplicable, match="of piq are not here") as caught:
            kind(settings)
        assert f"at {tmp_path / 'checkpoints' / file}" in str(caught.value.hint)
        assert f"in the setting `{setting}`" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match="setting `heads`: no file at"):
        networks.LPIPS(HeadsSettings(vgg16, str(tmp_path / "nowhere.pt")))


def test_weights_are_found_in_the_folder_that_the_variable_names(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(places, "urlopen", refuse)
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(weights))
    networks.LPIPS(HeadsSettings(str(weights / "vgg16.pt")))
    networks.PieAPP(PieappSettings())


class Trap:
    """Unpickled with full powers, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_other_files_are_refused_and_nothing_in_them_is_carried_out(weights: Path, tmp_path: Path) -> None:
    vgg16, trace = str(weights / "vgg16.pt"), tmp_path / "trace"
    torch.save([Trap(trace)], tmp_path / "trap.pt")
    torch.save([torch.rand(1, 3, 1, 1)], tmp_path / "other.pt")
    torch.save({"alpha": torch.rand(1, 5, 1, 1)}, tmp_path / "other.pth")
    torch.save([torch.rand(3), "text"], tmp_path / "mixed.pt")
    for kind, settings in (
        *((networks.LPIPS, HeadsSettings(vgg16, str(tmp_path / file))) for file in ("trap.pt", "other.pt", "mixed.pt")),
        (networks.DISTS, HeadsSettings(vgg16, str(tmp_path / "other.pth"))),
        (networks.DISTS, HeadsSettings(vgg16, str(tmp_path / "trap.pt"))),
        (networks.PieAPP, PieappSettings(str(tmp_path / "trap.pt"))),
        (networks.PieAPP, PieappSettings(str(weights / "dists_weights.pt"))),
        (networks.ContentLoss, BackboneSettings(str(weights / "dists_weights.pt"))),
    ):
        with pytest.raises(GenbenchError, match=r": not \w+ weights of ") as caught:
            kind(settings)
        assert "expected is the file from https://" in explained(caught.value)
    assert not trace.exists()


def test_no_class_of_ours_calls_a_constructor_that_unpickles() -> None:
    tree = ast.parse(inspect.getsource(networks))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert called.isdisjoint({"piq.LPIPS", "piq.DISTS", "piq.PieAPP", "torch.load"})


def noisy(side: int) -> tuple[Tensor, Tensor]:
    """Return images as piq takes them, nowhere flat: there its own gradients break."""
    _, real = pair(side)
    return (real.float() + 1) / 2, (reconstruction(real, 1).float() + 1) / 2


def tried(kind: type, images: tuple[Tensor, Tensor]) -> bool:
    """Say whether a class of piq's compares pairs of images, and tells for each by how much and in which direction."""
    options = {"reduction": "none", "enable_grad": True}
    real, fake = images
    try:
        loss = kind(**{name: value for name, value in options.items() if name in inspect.signature(kind).parameters})
        needed = [p for p in inspect.signature(loss.forward).parameters.values() if p.default is p.empty]
        if len(needed) != 2:
            return False
        fake = fake.clone().requires_grad_()
        value = loss(fake, real)
        (gradient,) = torch.autograd.grad(value.sum(), fake)
    except Exception:  # whatever piq says of images that it does not take
        return False
    norms = gradient.flatten(1).norm(dim=1)
    return value.shape == (len(real),) and bool(norms.isfinite().all() and (norms > 0).all())


@pytest.mark.slow
def test_all_that_compares_images_is_registered_and_nothing_else(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **_: published(weights, url))
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: SimpleNamespace(features=backbone(weights)))
    monkeypatch.setattr(piq.clip_iqa.clip, "load", refuse)
    classes = dict(inspect.getmembers(piq, inspect.isclass))
    sizes = [noisy(side) for side in (64, 161)]
    found = {name for name, kind in classes.items() if any(tried(kind, images) for images in sizes)}

    declared = {metric.exported for metric in catalogue.declared(Path(piq.__file__).parent)}
    assert found == declared - {"psnr"} | {"InformationWeightedSSIMLoss"}
    assert set(classes) == found | set(LEFT_OUT)
    assert [d.spec.name for d in Plugins.of(genbench_piq).declarations("similarities")] == sorted(
        METRICS[name].name for name in declared
    )
