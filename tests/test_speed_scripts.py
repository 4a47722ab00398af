"""The timing scripts of benchmarks/speed: what they write, count and compare; nothing is timed here."""

import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import genbench_datasets
import genbench_evaluators
import genbench_similarities
import genbench_vaegan
from genbench import convolutions
from genbench.config import RunConfig
from genbench.exchange import read_all
from genbench.networks import Blueprint
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"
NAMES = ("report", "compare", "ceiling", "train_step", "sweep", "startup", "peer_pythae")
BATCH = 4


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a script by name, as `python benchmarks/speed/NAME.py` would."""
    monkeypatch.syspath_prepend(SPEED)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in NAMES:
        sys.modules.pop(name, None)


def configuration(size: int = 32, width: float = 0.25, batch: int = BATCH) -> RunConfig:
    plugins = Plugins.of(genbench_datasets, genbench_evaluators, genbench_similarities, genbench_vaegan)
    return resolve(plugins, RunRequest("vaegan", "toyfaces", size=size, width=width, batch_size=batch))


def test_sides_alternate_after_a_round_that_is_not_timed(script: Any) -> None:
    calls: list[str] = []
    clock = iter([0.0, 1.0, 1.0, 3.0, 3.0, 4.5, 5.0, 9.0])
    sides = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = script("report").alternate(sides, 2, clock=lambda: next(clock))
    assert "".join(calls) == "ababab"
    assert times == {"a": [1.0, 1.5], "b": [2.0, 4.0]}


def test_ratio_is_the_median_of_the_rounds(script: Any) -> None:
    # the medians' own quotient would be 5: the last round was disturbed, on both sides
    assert script("report").ratio([4.0, 10.0, 60.0], [2.0, 2.0, 30.0]) == 2.0


def test_results_name_the_machine(script: Any, tmp_path: Path) -> None:
    path = script("report").save("prepare", {"seconds": 1.5}, peers=["no-such-package"], folder=tmp_path / "speed")
    content = json.loads(path.read_text())
    assert path.name.startswith("prepare-")
    assert path.stem == path.stem.lower()
    assert content["schema"] == "genbench.speed/1"
    assert content["results"] == {"seconds": 1.5}
    assert content["threads"] == torch.get_num_threads()
    assert content["versions"]["torch"] == torch.__version__
    assert content["versions"]["no-such-package"] is None
    assert content["device_name"]
    assert content["cores"] >= 1


def test_results_refuse_nan(script: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script("report").save("prepare", {"seconds": float("nan")}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_compare_passes_over_results(script: Any, tmp_path: Path) -> None:
    script("report").save("prepare", {}, folder=tmp_path / "speed")
    assert read_all([tmp_path]) == ([], [])


def test_records_to_compare_are_as_large_as_real_ones(script: Any, tmp_path: Path) -> None:
    assert 40_000 < script("compare").fill(tmp_path, 25) < 55_000
    digests, problems = read_all([tmp_path])
    assert problems == []
    rows = Counter(digest.row_key for digest in digests)
    assert list(rows.values()) == [5] * 5
    assert len({(score.name, score.protocol_key) for digest in digests for score in digest.scores}) in range(20, 26)


def test_counted_operations_of_layers(script: Any) -> None:
    """An output takes a multiplication and an addition for each weight that reaches it; so does each gradient."""
    count = script("ceiling").performed_operations
    images, vectors = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(5, 7)
    conv, linear = nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.Linear(7, 11)
    forward = 2 * (2 * 4 * 4 * 4) * (3 * 5 * 5)
    assert count(lambda: conv(images)) == forward
    assert count(lambda: conv(images).sum().backward()) == 3 * forward
    assert count(lambda: torch.autograd.grad(conv(images).sum(), images)) == 2 * forward
    assert count(lambda: linear(vectors).sum().backward()) == 2 * (2 * 5 * 7 * 11)


def layers(width: float, size: int) -> dict[str, list[int]]:
    """Return by hand the multiplications and additions of each layer for one image, from the paper's table 1."""
    e, d, c = (
        [round(n * width) for n in counts] for counts in ((64, 128, 256), (256, 256, 128, 32), (32, 128, 256, 256))
    )
    hidden, judge, latent = round(2048 * width), round(512 * width), 128
    sides = [size, size // 2, size // 4, size // 8]
    conv = 2 * 5 * 5
    encoder = [conv * i * o * s**2 for (i, o), s in zip(pairwise([3, *e]), sides[1:], strict=True)]
    encoder += [2 * e[-1] * sides[3] ** 2 * hidden, 2 * hidden * 2 * latent]
    # a transposed convolution has its weights once for each value that comes in
    decoder = [2 * latent * d[0] * sides[3] ** 2]
    decoder += [conv * i * o * s**2 for (i, o), s in zip(pairwise(d), sides[:0:-1], strict=True)]
    decoder += [conv * d[-1] * 3 * size**2]
    discriminator = [conv * 3 * c[0] * size**2]
    discriminator += [conv * i * o * s**2 for (i, o), s in zip(pairwise(c), sides[1:], strict=True)]
    discriminator += [2 * c[-1] * sides[3] ** 2 * judge, 2 * judge]
    return {"encoder": encoder, "decoder": decoder, "discriminator": discriminator}


@pytest.mark.parametrize(("size", "width"), [(32, 0.25), (64, 1.0)])
def test_needed_operations_by_hand(script: Any, size: int, width: float) -> None:
    each = layers(width, size)
    (enc, enc1), (dec, dec1), (dis, dis1) = ((sum(costs), costs[0]) for costs in each.values())
    to_similarity = sum(each["discriminator"][:4])
    weights = enc + 2 * dec + 3 * dis
    by_hand = (
        (enc + 2 * dec + 3 * dis)  # forward: x; z and z_p; x, x̃ and x_p
        + weights
        + (enc - enc1 + 2 * (dec - dec1) + 3 * (dis - dis1))  # on the way to the weights; none to a network's input
        + 2 * dis  # the decoder's adversarial cost to x̃ and x_p
        + to_similarity  # the similarity to x̃
        + dec  # and on to z
    )
    assert script("ceiling").needed_vaegan_operations(configuration(size, width)) == BATCH * by_hand


def test_command_line(script: Any) -> None:
    args = script("train_step").parse(["--size", "64", "--precision", "float32", "--device", "cuda:1", "--save"])
    assert (args.size, args.width, args.batch, args.model) == (64, 0.25, 64, "vaegan")
    assert args.precision == ["float32"]
    assert (args.device, args.save, args.sweep, args.threads) == ("cuda:1", True, False, None)
    assert script("train_step").parse([]).precision == ["float32", "auto"]
    with pytest.raises(SystemExit):
        script("train_step").parse(["--engine", "warp"])
    assert script("startup").parse(["--data", "faces"]).data == Path("faces")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_step_takes_no_more_operations_than_needed(
    script: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "FEW_CHANNELS", 0)  # on blocks, weights are padded with zeros
    config = configuration()
    plugins = Plugins.of(genbench_datasets, genbench_evaluators, genbench_similarities, genbench_vaegan)
    data = script("sweep").noise(2 * BATCH, 32, 3)
    case = script("train_step").Case(plugins, config, data, torch.device("cpu"), steps=1)
    ours = case.ours(precision)
    needed = script("ceiling").needed_vaegan_operations(config)
    assert script("ceiling").performed_operations(ours.train) == needed
    assert ours.images_seen == BATCH
    assert ours.trainer.ledger.read().steps == 1


def test_sweep_varies_one_thing(script: Any) -> None:
    config = configuration()
    for axis, value in (("batch", 16), ("size", 64), ("width", 0.5), ("images", 1000)):
        varied = script("sweep").vary(config, axis, value)
        before, after = config.model_dump(), varied.model_dump()
        changed = {
            f"{part}.{key}"
            for part in ("dataset", "network", "training")
            for key in before[part]
            if before[part][key] != after[part][key]
        }
        expected = {"batch": "training.batch_size", "size": "dataset.size", "width": "network.width"}
        assert changed == ({expected[axis]} if axis in expected else set())
        RunConfig.model_validate(after)
    noise = script("sweep").noise(2500, 16, 3)
    assert noise.images.shape == (2500, 16, 16, 3)
    assert len(noise.indices("train")) == 2500


@pytest.fixture
def peer(script: Any) -> Any:
    pytest.importorskip("pythae", reason="the extra `bench` is not installed")
    return script("peer_pythae")


def images(count: int = BATCH) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_peer_has_the_same_networks(peer: Any) -> None:
    config = configuration()
    model = peer.build_model(config, 3).eval()
    blueprint = Blueprint(3, 32, config.network, config.training.images, config.seed)
    encoder, decoder, discriminator = blueprint.encoder(), blueprint.decoder(), blueprint.discriminator()
    for theirs, ours in zip(
        (model.encoder, model.decoder, model.discriminator), (encoder, decoder, discriminator), strict=True
    ):
        ours.eval()
        state = ours.state_dict()
        assert theirs.network.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in theirs.network.state_dict().items())
    judged = discriminator(images())
    level = model.reconstruction_layer
    torch.testing.assert_close(
        model.discriminator(images(), output_layer_levels=[level])[f"embedding_layer_{level}"], judged.features["down3"]
    )
    torch.testing.assert_close(model.discriminator(images()).embedding.flatten(), judged.logits.sigmoid())


def test_peer_computes_only_the_levels_that_are_asked_for(peer: Any) -> None:
    model = peer.build_model(configuration(), 3).train()
    norm = model.discriminator.network.hidden_norm
    model.discriminator(images(), output_layer_levels=[model.reconstruction_layer])
    assert int(norm.num_batches_tracked) == 0
    model.discriminator(images())
    assert int(norm.num_batches_tracked) == 1


def test_peer_trains_by_its_own_trainer(peer: Any, tmp_path: Path) -> None:
    config = configuration()
    for loader in (True, False):
        side = peer.build_peer(config, images(3 * BATCH), "cpu", tmp_path, gates=False, loader=loader)
        before = {name: value.clone() for name, value in side.trainer.model.named_parameters()}
        side.train()
        assert side.moved == dict.fromkeys(peer.NETWORKS, 3)
        assert side.shares() == dict.fromkeys(peer.NETWORKS, 1.0)
        after = dict(side.trainer.model.named_parameters())
        assert all(not torch.equal(value, after[name]) for name, value in before.items() if "weight" in name)
        for optimiser in (side.trainer.encoder_optimizer, side.trainer.decoder_optimizer):
            group = optimiser.param_groups[0]
            assert (group["lr"], tuple(group["betas"])) == (config.training.learning_rate, (0.0, 0.99))


def test_peer_mixes_gradients(peer: Any, tmp_path: Path) -> None:
    """What the docstring of peer_pythae.py says of its step: two networks move along other losses than their own."""
    side = peer.build_peer(configuration(), images(), "cpu", tmp_path, gates=False, loader=False)
    model, trainer = side.trainer.model, side.trainer
    torch.manual_seed(0)
    output = model(next(iter(trainer.train_loader)))
    found: dict[str, Tensor] = {}
    own: dict[str, dict[str, Tensor]] = {}
    for name in peer.NETWORKS:
        parameters = list(getattr(model, name).parameters())
        own[name] = {
            loss: _flat(
                torch.autograd.grad(output[f"{loss}_loss"], parameters, retain_graph=True, allow_unused=True),
                parameters,
            )
            for loss in peer.NETWORKS
        }
    trainer._optimizers_step(output)
    for name in peer.NETWORKS:
        parameters = list(getattr(model, name).parameters())
        found[name] = _flat([p.grad for p in parameters], parameters)
    torch.testing.assert_close(found["encoder"], own["encoder"]["encoder"] + own["encoder"]["decoder"])
    torch.testing.assert_close(found["decoder"], own["decoder"]["decoder"] + own["decoder"]["discriminator"])
    torch.testing.assert_close(found["discriminator"], own["discriminator"]["discriminator"])
    # so that, with pythae's default scale of one half, the decoder helps the discriminator
    reconstruction = own["decoder"]["encoder"]
    torch.testing.assert_close(found["decoder"], 0.5 * reconstruction + 0.5 * own["decoder"]["discriminator"])


def _flat(gradients: Any, parameters: list[nn.Parameter]) -> Tensor:
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
