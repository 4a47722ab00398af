"""Convolutions on blocks against torch's own, in float64: values, gradients, and whole networks."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from genbench import convolutions
from genbench.config import NetworkConfig
from genbench.convolutions import Convolution, Doubling, Halving, from_blocks, normalise_blocks, to_blocks
from genbench.networks import Blueprint

LAYERS: dict[str, tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]] = {
    "convolution": (Convolution(3, 5), lambda layer, x: from_blocks(layer.on_blocks(to_blocks(x)))),
    "halving": (Halving(3, 5), lambda layer, x: layer.from_blocks(to_blocks(x))),
    "doubling": (Doubling(3, 5), lambda layer, x: from_blocks(layer.to_blocks(x))),
}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(output: Tensor, of: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad((output * noise(*output.shape)).sum(), list(of))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("height", "width"), [(2, 2), (6, 10), (16, 16)])
def test_a_layer_on_blocks_is_the_layer(name: str, height: int, width: int) -> None:
    layer, on_blocks = LAYERS[name]
    layer.double()
    images = noise(2, 3, height, width).requires_grad_()
    expected, found = layer(images), on_blocks(layer, images)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    wanted = [images, *layer.parameters()]
    for one, other in zip(gradients(found, wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_blocks_hold_their_four_pixels_by_row_and_column() -> None:
    images = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert to_blocks(images)[0, :, 0, 1].tolist() == [2, 18, 3, 19, 6, 22, 7, 23]
    assert torch.equal(from_blocks(to_blocks(images)), images)


def test_batch_norm_of_blocks_is_that_of_their_pixels() -> None:
    norms = [nn.BatchNorm2d(3).double() for _ in range(2)]
    images = noise(4, 3, 6, 6) * 3 + 1
    expected = norms[0](images)
    torch.testing.assert_close(from_blocks(normalise_blocks(norms[1], to_blocks(images))), expected)
    torch.testing.assert_close(norms[1].running_var, norms[0].running_var)


@pytest.mark.parametrize("size", [16, 18, 17, 32])
@pytest.mark.parametrize("network", ["encoder", "decoder", "discriminator"])
def test_a_network_is_the_same_function_with_and_without_blocks(
    network: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Blueprint(3, size, NetworkConfig(width=0.1, latent_size=5, encoder_hidden=64), 1, 0)
    there = getattr(plan, network)().double()
    given = (noise(4, 5) if network == "decoder" else noise(4, 3, size, size).tanh()).requires_grad_()
    seen = []
    for few in (0, 8):
        monkeypatch.setattr(convolutions, "FEW_CHANNELS", few)
        answer = there(given)
        parts = {"decoder": lambda a: [a], "encoder": list, "discriminator": lambda a: [a.logits, *a.features.values()]}
        seen.append([*parts[network](answer), *gradients(parts[network](answer)[0], [given, *first(there)])])
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def first(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights that every output depends on, also those next to the images."""
    return [p for name, p in network.named_parameters() if "posterior" not in name and "logit" not in name]
