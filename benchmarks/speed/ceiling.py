"""The arithmetic ceiling of a training step: its floating-point operations over the machine's measured rate.

Counted are convolutions and matrix products, a multiplication and an addition each as one operation, what meets padding
included: torch's own formulas. Batch-norm, activations, losses and optimisers are not counted, so that no step can
reach its ceiling.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genbench.config import RunConfig
from genbench.networks import Blueprint

LAYER = "down3"
"""Where `dis-l` compares by default."""
LEAST_S = 0.2
"""Seconds for which each shape is timed, at least."""


@dataclass(frozen=True)
class Rate:
    """The fastest arithmetic found on a device.

    Attributes:
        per_s: operations a second.
        shape: of the matrix product or convolution that reached it.
    """

    per_s: float
    shape: str


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums operations by torch's own formulas.

    `FlopCounterMode` has the same formulas, but also keeps track of modules by hooks that can't be differentiated to a
    module's input.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(getattr(func, "overloadpacket", None))
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def performed_operations(work: Callable[[], None]) -> int:
    """Return the operations of whatever `work` does, wanted or not."""
    with Counter() as counter:
        work()
    return int(counter.total)


def needed_vaegan_operations(config: RunConfig, channels: int = 3) -> int:
    """Return the fewest operations that the gradients of the VAE/GAN's three losses take (Larsen et al. 2016, Alg. 1).

    The graph is cut at the generated images. Needed are one pass forward through encoder (x), decoder (z, z_p) and
    discriminator (x, x̃, x_p), and backward: the discriminator's loss to its parameters; the decoder's adversarial cost
    through the discriminator to x̃ and x_p, since it is no multiple of the discriminator's loss unless saturating; the
    similarity from its layer to x̃; all of it through the decoder to its parameters; the similarity alone through the
    decoder to z; and from there through the encoder. Nothing is computed but shapes.
    """
    with torch.device("meta"):
        blueprint = Blueprint(channels, config.dataset.size, config.network, config.training.images, config.seed)
        networks = blueprint.encoder(), blueprint.decoder(), blueprint.discriminator()
        images = torch.empty(config.training.batch_size, channels, config.dataset.size, config.dataset.size)
        return performed_operations(lambda: _cut_graph(*networks, images))


def _cut_graph(encoder: nn.Module, decoder: nn.Module, discriminator: nn.Module, images: Tensor) -> None:
    """Make the passes of `needed_vaegan_operations`, with losses that only have the right shape."""
    posterior = encoder(images)
    latents = posterior.mean.detach().requires_grad_()
    made, made_of_prior = decoder(latents), decoder(torch.randn_like(latents))
    fake, prior = made.detach().requires_grad_(), made_of_prior.detach().requires_grad_()
    on_real, on_fake, on_prior = map(discriminator, (images, fake, prior))

    played = on_real.logits.mean() - on_fake.logits.mean() - on_prior.logits.mean()
    grad(played, list(discriminator.parameters()), retain_graph=True, allow_unused=True)
    cost = F.softplus(-on_fake.logits).mean() + F.softplus(-on_prior.logits).mean()
    to_fake, to_prior = grad(cost, [fake, prior], retain_graph=True)
    (like_to_fake,) = grad((on_fake.features[LAYER] - on_real.features[LAYER].detach()).square().sum(), fake)

    parameters = list(decoder.parameters())
    grad([made, made_of_prior], parameters, [to_fake + like_to_fake, to_prior], retain_graph=True)
    (to_latents,) = grad(made, latents, like_to_fake)
    grad(list(posterior), list(encoder.parameters()), [to_latents, torch.ones_like(posterior.log_variance)])


def best_rate(device: torch.device, dtype: torch.dtype) -> Rate:
    """Return the highest rate of matrix products and convolutions of several shapes, of several tries each."""
    return max(
        (_measure(name, operations, work, device) for name, operations, work in _shapes(device, dtype)), key=_per_s
    )


def _per_s(rate: Rate) -> float:
    return rate.per_s


def _shapes(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Yield name, operations and the work itself; tensors of one shape at a time."""
    large = device.type == "cuda"
    for m, k, n in (
        [(4096,) * 3, (8192,) * 3, (65536, 1600, 256)] if large else [(1024,) * 3, (2048,) * 3, (8192, 800, 64)]
    ):
        left, right = (torch.randn(*shape, device=device, dtype=dtype) for shape in ((m, k), (k, n)))
        yield f"matrix product {m}×{k}×{n}", 2 * m * k * n, lambda a=left, b=right: a @ b  # type: ignore[misc]
    batch = 512 if large else 64
    for inputs, outputs, side, kernel in ((32, 64, 16, 5), (64, 64, 32, 3), (128, 128, 16, 3), (256, 256, 16, 5)):
        if not large and inputs > 128:
            continue
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, device=device, dtype=dtype)
        conv = conv.to(memory_format=torch.channels_last)
        images = torch.randn(batch, inputs, side, side, device=device, dtype=dtype)
        images = images.to(memory_format=torch.channels_last)
        operations = 2 * batch * side**2 * inputs * outputs * kernel**2
        name = f"convolution {inputs}→{outputs}, {kernel}×{kernel}, {side} px, batch {batch}"
        yield name, operations, lambda c=conv, x=images: c(x)  # type: ignore[misc]


def _measure(name: str, operations: int, work: Callable[[], object], device: torch.device) -> Rate:
    calls = 20 if device.type == "cuda" else 1
    with torch.no_grad():
        work()
        wait(device)
        best, began = float("inf"), time.perf_counter()
        while time.perf_counter() - began < LEAST_S:
            start = time.perf_counter()
            for _ in range(calls):
                work()
            wait(device)
            best = min(best, (time.perf_counter() - start) / calls)
    return Rate(operations / best, name)


def wait(device: torch.device) -> None:
    """Wait until the device has done all it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
