"""Training one run in several processes: joining, agreeing on where to begin, and averaging what each has computed.

Rank 0 leads: it alone holds the run's folder, writes, talks and evaluates. The others follow it into training, and
leave at its end.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, distributed, nn

from genbench.errors import GenbenchError, first_line
from genbench.interfaces import Model
from genbench.randomness import derive
from genbench.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from genbench.train.gradients import Gradients, Own, trainable
from genbench.train.optimisers import Optimisers
from genbench.train.place import Place
from genbench.train.sharing import Share, together

PATIENCE = timedelta(days=1)
"""How long the others wait for rank 0, which may have to download and prepare the data first."""


@contextmanager
def joined(place: Place, device: str) -> Iterator[tuple[Share, str]]:
    """Join the other processes, and yield this one's share and device; alone, touch nothing.

    Devices talk through NCCL, or gloo where they are CPUs; hosts always through gloo.

    Raises:
        GenbenchError: the devices can't be shared out, or the others can't be reached.
    """
    if place.of == 1:
        yield Share(), device
        return
    with place.one_voice():
        own = choose_own_device(place, device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    try:
        distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", rank=place.rank, world_size=place.of)
        messages = distributed.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as error:
        raise GenbenchError(
            f"process {place.rank} of {place.of} can't reach the others: {first_line(error)}",
            "MASTER_ADDR and MASTER_PORT must lead to rank 0's machine from all others",
            exit_code=1,
        ) from error
    assert isinstance(messages, distributed.ProcessGroup)  # noqa: S101 (this process is in it)
    share = Share(place.rank, place.of, torch.Generator(own), messages)
    try:
        yield share, str(own)
    except BaseException:
        _break_off(share)
        raise
    leave(share)


def choose_own_device(place: Place, device: str) -> torch.device:
    """Return this process's device; `auto` takes CUDA, then the CPU.

    Raises:
        GenbenchError: there is not one for each process.
    """
    kind, _, index = device.partition(":")
    if kind == "mps" or index:
        raise GenbenchError(
            f"--device {device} can't be shared by {place.of} processes",
            "--device auto or cuda gives each process a GPU of its own, cpu lets all compute on the CPU",
        )
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if kind != "auto" and kind != "cuda":
        raise GenbenchError(f"--device {device} can't be used by several processes", "--device auto, cuda or cpu")
    if place.local_of > torch.cuda.device_count():
        raise GenbenchError(
            f"{place.local_of} processes on this machine, but {torch.cuda.device_count()} CUDA devices",
            "start as many processes as there are devices (`--nproc-per-node`), or give --device cpu",
        )
    return torch.device("cuda", place.local_rank)


def leave(share: Share) -> None:
    """Part from the others once all is done; what follows is done alone."""
    if share.of > 1 and distributed.is_initialized():
        distributed.destroy_process_group()


def _break_off(share: Share) -> None:
    """Part from the others in the midst of it, so that they notice at once."""
    if not distributed.is_initialized():
        return
    distributed.destroy_process_group(share.messages)
    everyone = distributed.group.WORLD
    if distributed.get_backend() == "gloo":
        distributed.destroy_process_group()
    elif everyone is not None and hasattr(everyone, "abort"):
        # NCCL's orderly end would wait for what the others will never send. The process ends next.
        everyone.abort()


def hand_out(content: bytes, share: Share) -> bytes:
    """Return rank 0's bytes, in all processes."""
    if share.of == 1:
        return content
    length = torch.tensor([len(content)])
    with together():
        distributed.broadcast(length, 0, group=share.messages)
        buffer = torch.zeros(int(length), dtype=torch.uint8)
        if share.leads and content:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        distributed.broadcast(buffer, 0, group=share.messages)
    return buffer.numpy().tobytes()


def call(share: Share, facts: Mapping[str, str]) -> None:
    """As rank 0, call the others to train, with what must be the same for all of them."""
    hand_out(json.dumps(dict(facts)).encode(), share)


def dismiss(share: Share) -> None:
    """As rank 0, tell the others that there is nothing to train, and part from them."""
    hand_out(b"", share)
    leave(share)


def called(share: Share) -> dict[str, str] | None:
    """As any other process, wait until rank 0 calls; return the facts, or None where it says that all is done."""
    told = hand_out(b"", share)
    return dict(json.loads(told)) if told else None


@contextmanager
def leader_first(share: Share) -> Iterator[None]:
    """Let rank 0 do something before the others: what fails in all of them then fails in it alone, and is told once."""
    if not share.leads:
        share.any(False)
    yield
    if share.leads:
        share.any(False)


def take_up(
    path: Path, model: Model, optimisers: Optimisers, config_hash: str, share: Share, precision: str
) -> Progress:
    """Begin, in all processes, where rank 0's checkpoint stands, or with rank 0's weights; the others need no disk.

    Args:
        precision: that rank 0 has chosen for a run that begins.
    """
    progress = load_checkpoint(path, model, optimisers, config_hash) if share.leads else None
    begun = progress or Progress(precision=precision)
    if share.of == 1:
        return begun
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if share.leads:
            if progress is None:
                save_checkpoint(copy, model, optimisers, begun, config_hash)
            hand_out((path if progress else copy).read_bytes(), share)
            return begun
        copy.write_bytes(hand_out(b"", share))
        return load_checkpoint(copy, model, optimisers, config_hash) or begun


def average(gradients: Gradients, networks: nn.ModuleDict, share: Share) -> Gradients:
    """Return the means over all processes, the same bits in all of them; alone, what was given.

    Each network's gradient is reduced as one vector, the scalars as another. A parameter has a gradient where it has
    one in any process; a gate is open where it is in more than half of them.
    """
    if share.of == 1:
        return gradients
    present, gated = _present_anywhere(gradients, networks, share)
    of = {name: _average_own(gradients.of.get(name), networks[name], flags, share) for name, flags in present.items()}
    device = next(networks.parameters()).device
    gates = [gradients.gates.get(name, torch.ones(())) for name in gated]
    scalars = [value.detach().to(device, torch.float64) for value in chain(gradients.log.values(), gates)]
    means = share.mean(torch.stack(scalars)).unbind() if scalars else ()
    log = dict(zip(gradients.log, means, strict=False))
    return Gradients(of, log, {name: mean > 0.5 for name, mean in zip(gated, means[len(log) :], strict=True)})


def _present_anywhere(
    gradients: Gradients, networks: nn.ModuleDict, share: Share
) -> tuple[dict[str, list[bool]], list[str]]:
    """Return, for each network that any process moves, which parameters have a gradient; and which have a gate.

    Without this, processes whose steps took different ways would wait for each other for ever.
    """
    flags: list[bool] = []
    for name, network in networks.items():
        own = gradients.of.get(name)
        flags += [own is not None, name in gradients.gates]
        flags += [g is not None for g in own] if own is not None else [False] * len(trainable(network))
    names = derive(0, *gradients.log)
    bits = [bool(names >> i & 1) for i in range(63)]
    union = share.any(*flags, *bits, *(not bit for bit in bits))
    if any(one and zero for one, zero in zip(union[-126:-63], union[-63:], strict=True)):
        raise RuntimeError(f"processes log different scalars in one step; these are {', '.join(gradients.log)}")
    present, gated, rest = {}, [], iter(union)
    for name, network in networks.items():
        moved, has_gate = next(rest), next(rest)
        of_parameters = [next(rest) for _ in trainable(network)]
        if moved:
            present[name] = of_parameters
        if has_gate:
            gated.append(name)
    return present, gated


def _average_own(own: Own | None, network: nn.Module, present: list[bool], share: Share) -> Own:
    """Average one network's gradient; a part that this process lacks is zero here."""
    parameters = trainable(network)
    held = own or (None,) * len(parameters)
    parts = [
        torch.zeros_like(p) if g is None else g for p, g, there in zip(parameters, held, present, strict=True) if there
    ]
    if not parts:
        return (None,) * len(parameters)
    flat = share.mean(torch.cat([part.flatten() for part in parts]))
    means: Iterator[Tensor] = iter(torch.split(flat, [part.numel() for part in parts]))
    return tuple(next(means).view(p.shape) if there else None for p, there in zip(parameters, present, strict=True))
