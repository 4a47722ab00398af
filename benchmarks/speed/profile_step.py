"""Where a training step's time goes on a CPU, by kind of operation and by convolution: `profile_step.py [options]`.

Every operation that torch dispatches is timed, over many steps, and the least time of each is kept: a step's
operations are the same every time, so what other programs did meanwhile drops out. Backward convolutions are taken
apart into their two halves. What remains of the step's least time is Python, autograd and dispatch.

python benchmarks/speed/profile_step.py --data CELEBA_FOLDER --threads 1 --save
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from report import device_name, save, threads
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from train_step import Ours, build_case, parse

from genbench.train.memory import keep_freed_memory

LAYERS = 12
"""Convolutions that are printed, the costliest first."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "convolution, forward": ("convolution",),
    "convolution, to its input": ("backward to input",),
    "convolution, to its weights": ("backward to weights",),
    "matrix product": ("mm", "addmm", "bmm"),
    "batch-norm": ("native_batch_norm", "native_batch_norm_backward", "_native_batch_norm_legit", "batch_norm"),
    "activation": ("relu", "threshold_backward", "tanh", "tanh_backward"),
    "optimiser": ("_fused_adam_", "_fused_adamw_", "_foreach_norm"),
    "copy and conversion": ("copy_", "_to_copy", "clone", "cat", "index", "flip", "where"),
}
"""Operations by kind; all others are `the rest`."""


class Timed(NamedTuple):
    """One operation of a step.

    Attributes:
        name: torch's, or which half of a backward convolution.
        layer: input and weights of a convolution, else empty.
    """

    name: str
    layer: str
    seconds: float
    operations: int


class Timer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Times each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.timed: list[Timed] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name == "convolution_backward":
            return self._halves(func, args, kwargs)
        layer = _layer(args[0], args[1], args[6]) if name == "convolution" else ""
        return self._time(name, layer, func, args, kwargs)

    def _halves(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
        """Compute the gradients in input and weights apart; that of the bias goes with the weights'."""
        *rest, (to_input, to_weights, to_bias) = args
        layer = _layer(args[1], args[2], args[7])
        none = (None, None, None)
        first = last = none
        if to_input:
            first = self._time("backward to input", layer, func, (*rest, [True, False, False]), kwargs)
        if to_weights or to_bias:
            last = self._time("backward to weights", layer, func, (*rest, [False, to_weights, to_bias]), kwargs)
        return first[0], last[1], last[2]

    def _time(self, name: str, layer: str, func: Any, args: Any, kwargs: Any) -> Any:
        start = time.perf_counter()
        result = func(*args, **kwargs)
        seconds = time.perf_counter() - start
        formula = flop_registry.get(func.overloadpacket)
        self.timed.append(
            Timed(name, layer, seconds, int(formula(*args, **kwargs, out_val=result)) if formula is not None else 0)
        )
        return result


def _layer(images: torch.Tensor, weights: torch.Tensor, transposed: bool) -> str:
    side, (a, b, kernel, _) = images.shape[2], weights.shape
    inputs, outputs = (a, b) if transposed else (b, a)
    return f"{inputs}→{outputs}, {kernel}×{kernel}, {side} px{', transposed' if transposed else ''}"


@dataclass(frozen=True)
class Part:
    """What some operations of a step take together."""

    seconds: float
    share: float
    count: int
    operations_per_s: float


def profile(ours: Ours, steps: int) -> tuple[float, list[Timed]]:
    """Return the least seconds of a step, and the least time of each of its operations."""
    whole, runs = float("inf"), []
    for _ in range(steps):
        start = time.perf_counter()
        ours.train()
        whole = min(whole, time.perf_counter() - start)
        with Timer() as timer:
            ours.train()
        runs.append(timer.timed)
    alike = [run for run in runs if [t[:2] for t in run] == [t[:2] for t in runs[-1]]]
    return whole, [min(same, key=lambda t: t.seconds) for same in zip(*alike, strict=True)]


def group(timed: Sequence[Timed], key: Callable[[Timed], str], whole: float) -> dict[str, Part]:
    """Sum operations up by a key, the costliest first."""
    sums: dict[str, list[Timed]] = defaultdict(list)
    for one in timed:
        sums[key(one)].append(one)
    parts = {}
    for name, own in sums.items():
        seconds = sum(t.seconds for t in own)
        parts[name] = Part(seconds, seconds / whole, len(own), sum(t.operations for t in own) / seconds)
    return dict(sorted(parts.items(), key=lambda item: -item[1].seconds))


def kind(timed: Timed) -> str:
    """Return an operation's kind."""
    return next((name for name, operations in KINDS.items() if timed.name in operations), "the rest")


def print_parts(parts: Mapping[str, Part]) -> None:
    """Print one line for each."""
    for name, part in parts.items():
        rate = f"{part.operations_per_s / 1e9:7.0f} GFLOP/s" if part.operations_per_s else ""
        print(f"{name:52}{part.share:7.1%}{part.seconds * 1e3:9.2f} ms{part.count:6}×{rate}")


def main() -> None:
    """Profile genbench's step in each precision that is asked for; pythae's options have no meaning here."""
    args = parse()
    keep_freed_memory()  # as a run does
    if args.threads:
        torch.set_num_threads(args.threads)
    case = replace(build_case(args), engine="eager", steps=1)
    results = {}
    for precision in args.precision:
        ours = case.ours(precision)
        ours.train()
        whole, timed = profile(ours, args.repeats)
        kinds = group(timed, kind, whole)
        layers = group([t for t in timed if t.layer], lambda t: f"{t.name}: {t.layer}", whole)
        left = whole - sum(t.seconds for t in timed)
        where = f"{ours.trainer.precision}, {threads()} threads, {device_name('cpu')}"
        print(f"\n{args.model}, {where}: {whole * 1e3:.1f} ms a step")
        print_parts(kinds)
        print(f"{'Python, autograd, dispatch: what is left':52}{left / whole:7.1%}{left * 1e3:9.2f} ms")
        print_parts(dict(list(layers.items())[:LAYERS]))
        results[precision] = {
            "step_s": whole,
            "kinds": {name: asdict(part) for name, part in kinds.items()},
            "convolutions": {name: asdict(part) for name, part in layers.items()},
        }
    if args.save:
        options = {key: value for key, value in vars(args).items() if key not in ("data", "save")}
        print(save("profile_step", {"options": options, "precisions": results}))


if __name__ == "__main__":
    main()
