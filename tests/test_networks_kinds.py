"""The other architectures: the public codes' parameter counts; what batch-norm, slopes and masks do; what fits them."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from bench import BATCH, Bench, stop_after
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from genbench import GenbenchError
from genbench.config import EvaluationConfig, NetworkConfig, NetworkKind, RunConfig
from genbench.interfaces import View
from genbench.networks import KINDS, Blueprint, Discrimination, Features, parted
from genbench.resolution import RunRequest, resolve
from genbench_similarities.elementwise import DisL
from genbench_similarities.settings import DisLSettings

ALL = get_args(NetworkKind)
NEW = ("conv-leaky", "mlp-leaky", "conv4")
PARTS = ("encoder", "decoder", "discriminator")


def plan(kind: str, size: int = 16, channels: int = 3, width: float = 0.1, latent_size: int = 4) -> Blueprint:
    network = NetworkConfig.model_validate({"kind": kind, "width": width, "latent_size": latent_size})
    return Blueprint(channels, size, network, 1000, seed=0)


def images(count: int = 5, size: int = 16, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def counts(blueprint: Blueprint) -> list[int]:
    with torch.device("meta"):
        return [count(getattr(blueprint, part)()) for part in PARTS]


def test_every_kind_has_its_networks() -> None:
    assert set(KINDS) == set(ALL)
    for kind in ALL:
        built = [getattr(plan(kind), part)() for part in PARTS]
        assert [type(network) for network in built] == list(KINDS[kind])


def test_conv_leaky_has_the_public_codes_parameters() -> None:
    """By hand at 64x64x1: a weight for each of 25 (or 36) places, a bias, and two of batch-norm, for each channel."""
    encoder, decoder, discriminator = counts(plan("conv-leaky", 64, 1, 1.0, 128))
    convolutions = 25 * (64 + 64 * 128 + 128 * 256) + 3 * (64 + 128 + 256)
    assert encoder == convolutions + 16384 * 2048 + 3 * 2048 + 2 * (2048 * 128 + 128) == 35_112_064
    strided = 25 * (32 * 128 + 128 * 256 + 256 * 256) + 3 * (128 + 256 + 256)
    assert discriminator == 25 * 32 + 32 + strided + 16384 * 512 + 3 * 512 + 512 + 1 == 10_953_409
    transposed = 36 * (256 * 256 + 256 * 128 + 128 * 32) + 3 * (256 + 128 + 32)
    assert decoder == 128 * 16384 + 3 * 16384 + transposed + 25 * 32 + 1 == 5_834_753


def test_mlp_leaky_has_the_public_codes_parameters() -> None:
    encoder, decoder, discriminator = counts(plan("mlp-leaky", 28, 1, 1.0, 20))
    square = 1024 * 1024 + 1024
    assert encoder == 784 * 1024 + 1024 + 2 * square + 2 * (1024 * 20 + 20)
    assert decoder == 20 * 1024 + 1024 + 2 * square + 1024 * 784 + 784
    assert discriminator == 784 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256 + 256 + 1


def test_conv4_has_four_convolutions_and_no_batch_norm_in_its_decoder() -> None:
    blueprint = plan("conv4", 128, 3, 1.0, 200)
    encoder, decoder, _ = counts(blueprint)
    convolutions = 16 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256)
    inner = 256 * 8 * 8
    assert encoder == convolutions + 2 * (32 + 64 + 128 + 256) + inner * 400 + 400
    assert decoder == 200 * inner + inner + convolutions + 128 + 64 + 32 + 3
    with torch.device("meta"):
        assert not [m for m in blueprint.decoder().modules() if "BatchNorm" in type(m).__name__]


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 17, 23, 28, 50, 100])
def test_shapes_fit_at_any_size(kind: str, size: int, channels: int) -> None:
    blueprint = plan(kind, size, channels, width=0.05)
    given = images(3, size, channels)
    posterior = blueprint.encoder()(given)
    assert posterior.mean.shape == posterior.log_variance.shape == (3, 4)
    decoded = blueprint.decoder()(posterior.mean)
    assert decoded.shape == given.shape
    assert float(decoded.detach().abs().max()) <= 1
    judged = blueprint.discriminator()(decoded)
    assert judged.logits.shape == (3,)
    assert all(len(values) == 3 for values in judged.features.values())
    assert torch.equal(judged.features["logit"].squeeze(1), judged.logits)


@pytest.mark.parametrize("kind", ["conv-leaky", "conv4"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("size", [8, 15, 257])
def test_a_size_that_convolutions_do_not_take_is_refused(kind: str, part: str, size: int) -> None:
    with pytest.raises(GenbenchError, match=f"16 to 256 px, not {size}"):
        getattr(plan(kind, size), part)()


def test_mlps_with_dropout_take_any_size() -> None:
    blueprint = plan("mlp-leaky", 6)
    assert blueprint.decoder()(blueprint.encoder()(images(3, 6)).mean).shape == (3, 3, 6, 6)


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("part", PARTS)
def test_only_the_seed_decides_the_weights(kind: str, part: str) -> None:
    first = getattr(plan(kind), part)().state_dict()
    torch.rand(7)
    again = getattr(plan(kind), part)().state_dict()
    assert all(torch.equal(again[name], value) for name, value in first.items())


@pytest.mark.parametrize("part", PARTS)
def test_conv_leaky_begins_as_the_public_code_does(part: str) -> None:
    network = getattr(plan("conv-leaky", 32, width=0.5), part)()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.bias is not None
            fan_in = module.weight[0].numel()
            drawn = part != "discriminator"
            # torch's own are uniform within 1/√fan_in.
            spread = 0.02 if drawn else (3 * fan_in) ** -0.5
            assert float(module.weight.detach().std()) == pytest.approx(spread, rel=0.1)
            assert (float(module.weight.detach().abs().max()) > 2 * spread) == drawn
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.weight.numel() > 50:
            spread = float(module.weight.detach().std())
            assert spread == (pytest.approx(0.02, rel=0.3) if part != "discriminator" else 0)
            assert not module.bias.any()


def names(*layers: str) -> list[str]:
    return [name for layer in layers for name in (layer, f"{layer}-act")] + ["logit"]


def test_layers_have_the_names_that_a_similarity_asks_for() -> None:
    found = {kind: list(plan(kind).discriminator()(images()).features) for kind in ALL}
    assert found["conv-leaky"] == found["conv"] == names("conv", "down1", "down2", "down3", "hidden")
    assert found["mlp-leaky"] == names("hidden1", "hidden2", "hidden3")
    assert found["conv4"] == names("down1", "down2", "down3", "down4")


def test_a_layer_with_and_without_batch_norm_and_activation() -> None:
    """`down3` is what the convolution gives, `down3-act` what the next one takes: F's own of the former."""
    features = plan("conv-leaky").discriminator()(images()).features
    torch.testing.assert_close(features["conv-act"], F.leaky_relu(features["conv"], 0.2))
    for layer in ("down1", "down2", "down3", "hidden"):
        normalised = F.batch_norm(features[layer], None, None, training=True)
        torch.testing.assert_close(features[f"{layer}-act"], F.leaky_relu(normalised, 0.2))
    four = plan("conv4").discriminator()(images(size=32)[..., :16, :16]).features
    torch.testing.assert_close(four["down1-act"], four["down1"].relu())
    for layer in ("down2", "down3", "down4"):
        torch.testing.assert_close(four[f"{layer}-act"], F.batch_norm(four[layer], None, None, training=True).relu())


def test_conv4_ends_in_a_sigmoid_mapped_to_the_range_of_images() -> None:
    decoder = plan("conv4").decoder()
    last: list[Tensor] = []
    decoder.get_submodule("convolutions").register_forward_hook(lambda *args: last.append(args[2]))
    with torch.no_grad():
        made = decoder(torch.randn(3, 4, generator=torch.Generator().manual_seed(2)))
    torch.testing.assert_close(made, (last[0] / 2).tanh())  # 2σ(x) - 1 = tanh(x/2)


def test_a_tenth_of_a_layers_inputs_is_dropped() -> None:
    """By closed form: Σ w·x·m/(1 - p) has the mean Σ w·x and the variance p/(1 - p)·Σ(w·x)²."""
    discriminator = plan("mlp-leaky").discriminator()
    one = images(1)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = discriminator(one.expand(4000, -1, -1, -1)).features["hidden1"]
        still = discriminator.eval()(one).features["hidden1"][0]
    weights = discriminator.get_parameter("hidden.0.1.weight").detach()
    variance = 0.1 / 0.9 * (weights * one.flatten()).square().sum(1)
    assert ((drawn.mean(0) - still).abs() < 5 * (variance / 4000).sqrt()).all()
    torch.testing.assert_close(drawn.var(0), variance, rtol=0.15, atol=0)


@pytest.mark.parametrize(("part", "layers"), [("encoder", 5), ("decoder", 4), ("discriminator", 4)])
def test_every_layer_of_an_mlp_with_dropout_has_it_in_training_alone(part: str, layers: int) -> None:
    network = getattr(plan("mlp-leaky"), part)()
    dropouts = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.1] * layers
    assert len([module for module in network.modules() if isinstance(module, nn.Linear)]) == layers
    given = torch.ones(8, 4) if part == "decoder" else images(8)
    once, again = (values(network(given)) for _ in range(2))
    assert not torch.equal(once, again)
    once, again = (values(network.eval()(given)) for _ in range(2))
    assert torch.equal(once, again)


def values(answer: object) -> Tensor:
    return answer if isinstance(answer, Tensor) else answer[0]  # type: ignore[index,no-any-return]


@pytest.mark.parametrize(
    ("kind", "layer", "found"),
    [
        ("conv-leaky", "default", "down3"),
        ("conv-leaky", "first", "down1"),
        ("conv-leaky", "down3-act", "down3-act"),
        ("mlp-leaky", "default", "hidden2"),
        ("mlp-leaky", "first", "hidden1"),
        ("mlp-leaky", "logit", "logit"),
        ("conv4", "default", "down3"),
        ("conv4", "first", "down1"),
    ],
)
def test_dis_l_finds_its_layer(kind: str, layer: str, found: str) -> None:
    discriminator = plan(kind).discriminator().eval()
    with torch.no_grad():
        real, fake = (View(x, discriminator(x).features) for x in (images(), -images()))
        distance = DisL(DisLSettings(layer=layer))(real, fake)
    expected = 0.5 * (real.features[found] - fake.features[found]).square().flatten(1).sum(1)
    torch.testing.assert_close(distance, expected)


@pytest.mark.parametrize("kind", ["conv4", "mlp-leaky"])
def test_a_hidden_layer_that_an_encoder_does_not_have_is_not_set_in_vain(bench: Bench, kind: str) -> None:
    request = RunRequest("vae", "blobs", settings=(f"network.kind={kind}", "network.encoder_hidden=64"))
    with pytest.raises(GenbenchError) as caught:
        resolve(bench.plugins, request)
    assert caught.value.message == (f"network: `encoder_hidden` is 64, but the encoder of `{kind}` has no such layer")
    assert resolve(bench.plugins, RunRequest("vae", "blobs", settings=(f"network.kind={kind}",)))


def test_the_hidden_layer_of_conv_leaky_can_be_set() -> None:
    network = NetworkConfig(kind="conv-leaky", width=0.5, encoder_hidden=64)
    hidden = Blueprint(3, 16, network, 1000, 0).encoder().get_submodule("hidden.0")
    assert isinstance(hidden, nn.Linear)
    assert hidden.out_features == 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", NEW)
def test_what_networks_return_is_float32(kind: str, dtype: torch.dtype) -> None:
    blueprint = plan(kind)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        posterior = blueprint.encoder()(images())
        decoded = blueprint.decoder()(posterior.mean)
        judged = blueprint.discriminator()(decoded)
    for found in (*posterior, decoded, judged.logits, judged.features["logit"]):
        assert found.dtype == torch.float32
        assert found.isfinite().all()


def test_parts_of_a_batch_are_cut_when_they_are_asked_for() -> None:
    asked: list[str] = []

    def compute() -> Tensor:
        asked.append("a")
        return torch.arange(10.0).reshape(5, 2)

    features = Features()
    features.later("a", compute)
    features["b"] = torch.arange(5.0)
    first, second = parted(Discrimination(torch.arange(5.0), features), (2, 3))
    assert (list(first.features), len(second.features)) == (["a", "b"], 2)
    assert asked == []
    assert first.logits.tolist() == [0, 1]
    assert second.logits.tolist() == [2, 3, 4]
    assert second.features["b"].tolist() == [2, 3, 4]
    assert second.features["a"].tolist() == [[4, 5], [6, 7], [8, 9]]
    assert asked == ["a"]


def config_of(bench: Bench, kind: str, *settings: str, model: str = "vaegan") -> RunConfig:
    small = ("network.width=0.05", "network.latent_size=4", f"network.kind={kind}")
    asked = RunRequest(
        model, "blobs", images=6 * BATCH, batch_size=BATCH, evaluators=("mse",), settings=(*small, *settings)
    )
    config = resolve(bench.plugins, asked)
    chosen = tuple(e for e in config.evaluation.evaluators if e.name == "mse")
    return config.model_copy(update={"evaluation": EvaluationConfig(evaluators=chosen)})


@pytest.mark.parametrize(
    ("model", "kind", "settings"),
    [
        ("vaegan", "conv-leaky", ("similarity.layer=down3-act", "fake_cost=sum", "saturating=true")),
        ("vaegan", "mlp-leaky", ("similarity.layer=logit",)),
        ("vaegan", "conv4", ("one_batch=true",)),
        ("vae", "conv4", ()),
        ("gan", "mlp-leaky", ()),
        ("vae-dis-l", "conv-leaky", ()),
    ],
)
def test_every_kind_goes_through_a_whole_run(bench: Bench, model: str, kind: str, settings: tuple[str, ...]) -> None:
    record = bench.finish(config_of(bench, kind, *settings, model=model))
    assert (record.status, record.reason) == ("ok", None)
    assert record.config["network"]["kind"] == kind
    assert len(record.scores) + len(record.skipped) == 1


def test_masks_are_drawn_alike_by_a_run_that_was_stopped(bench: Bench, tmp_path: Path) -> None:
    config = config_of(bench, "mlp-leaky")
    bench.finish(config)
    whole = load_file(bench.folder(config).checkpoint_path)
    other = Bench(tmp_path / "other")
    assert other.run(config, stop=stop_after(3)) is None
    assert other.finish(config).status == "ok"
    parts = load_file(other.folder(config).checkpoint_path)
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


NAMES = {
    ("conv", "encoder"): [*(f"convolutions.{n}" for n in (0, 1, 3, 4, 6, 7)), "hidden.0", "hidden.1", "posterior"],
    ("conv", "decoder"): ["hidden.0", "hidden.1", *(f"convolutions.{n}" for n in (0, 1, 3, 4, 6, 7, 9))],
    ("conv", "discriminator"): [
        *("first", "strided.0", "strided.1", "strided.2", "norms.0", "norms.1", "norms.2"),
        *("hidden", "hidden_norm", "logit"),
    ],
    ("mlp", "encoder"): [*(f"layers.{n}" for n in (1, 2, 4, 5)), "posterior"],
    ("mlp", "decoder"): [f"layers.{n}" for n in (0, 1, 3, 4, 6)],
    ("mlp", "discriminator"): ["hidden1", "hidden2", "norm2", "logit"],
}


@pytest.mark.parametrize(("kind", "part"), NAMES)
def test_the_first_networks_keep_the_names_that_checkpoints_hold(kind: str, part: str) -> None:
    found = (name.rpartition(".")[0] for name in getattr(plan(kind), part)().state_dict())
    assert list(dict.fromkeys(found)) == NAMES[kind, part]
