"""What two processes do together for test_distributed.py; run as a script, once for each, it leaves what came of it.

All training is in float64, so that what differs but by the order of sums agrees to many digits.
"""

import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any, Literal

import torch
from bench import STEPS as BENCH_STEPS
from bench import Bench, Watch, stop_after
from torch import Tensor, nn

from genbench.config import Component, DataConfig, EvaluationConfig, NetworkConfig, RunConfig, TrainingConfig
from genbench.data.batches import Resident
from genbench.data.fetching import Staged
from genbench.data.order import Order
from genbench.following import follow
from genbench.interfaces import Batch, Gradients, Model
from genbench.networks import Blueprint, seeded
from genbench.store import RunFolder, lock
from genbench.train import engines, loop
from genbench.train.distributed import average, joined
from genbench.train.loop import Outcome, train
from genbench.train.place import Place
from genbench.train.sharing import Abandoned, Share
from genbench.train.synchronised import synchronised
from genbench.train.weighting import WeightedSimilarity
from genbench_gan.model import Gan
from genbench_gan.settings import GanSettings
from genbench_similarities.elementwise import DisL, Mse
from genbench_similarities.settings import DisLSettings, ElementwiseSettings
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeDisLSettings, VaeGanSettings
from genbench_vaegan.vae_dis_l import VaeDisL

BATCH, STEPS = 8, 8
KINDS = ("vae", "gan", "vaegan", "vae-dis-l", "calibrated", "one-batch")


@dataclass(frozen=True)
class Doubled(Resident):
    """Batches in float64."""

    def assemble(self, staged: Staged, images_seen: int) -> Batch:
        batch = super().assemble(staged, images_seen)
        return replace(batch, images=batch.images.double())


def configure(**training: Any) -> RunConfig:
    asked = {"images": STEPS * BATCH, "batch_size": BATCH, "flip": True, "precision": "float32"} | training
    return RunConfig(
        model=Component(name="m"),
        similarity=Component(name="s"),
        dataset=DataConfig(name="d", size=16),
        network=NetworkConfig(width=0.05, latent_size=4, encoder_hidden=64),
        training=TrainingConfig(**asked),
        evaluation=EvaluationConfig(),
    )


def build(kind: str, config: RunConfig) -> Model:
    measure = Mse(ElementwiseSettings()) if kind == "vae" else DisL(DisLSettings())
    with seeded(config.seed, "init"):
        weight: Literal["auto", "calibrated"] = "calibrated" if kind == "calibrated" else "auto"
        similarity = None if kind == "gan" else WeightedSimilarity(measure, weight)
        plan = Blueprint(3, 16, config.network, config.training.images, config.seed, similarity=similarity)
        # The gate closes in some steps, for what the whole batch costs.
        builders: dict[str, Callable[[], Model]] = {
            "vae": lambda: Vae(plan, VaeSettings()),
            "gan": lambda: Gan(plan, GanSettings(margin=0.33)),
            "vaegan": lambda: VaeGan(plan, VaeGanSettings(margin=0.33)),
            "calibrated": lambda: VaeGan(plan, VaeGanSettings(margin=0.33)),
            "one-batch": lambda: VaeGan(plan, VaeGanSettings(margin=0.33, one_batch=True, saturating=True)),
            "vae-dis-l": lambda: VaeDisL(plan, VaeDisLSettings(discriminator_share=0.45, margin=0.33)),
        }
        return builders[kind]().to(memory_format=torch.channels_last)


def go(
    folder: Path,
    share: Share,
    kind: str,
    config: RunConfig | None = None,
    stop: Callable[[], bool] = lambda: False,
    model: Model | None = None,
) -> tuple[Outcome, dict[str, Tensor]]:
    """Train, in noise that no result may depend on; return the end and the state of this process's model."""
    config = config or configure()
    images = torch.randint(0, 256, (30, 16, 16, 3), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    batches = Doubled(Order(30, config.seed, config.training.flip), BATCH, share, images, None)
    torch.seed()
    model = model or build(kind, config)
    outcome = train(model, batches, config, RunFolder(folder), Watch(), stop)
    # Who evaluates later is alone.
    assert not isinstance(model.similarity, WeightedSimilarity) or model.similarity.share == Share()
    return outcome, {name: value.clone() for name, value in model.state_dict().items()}


def in_float64() -> None:
    torch.set_default_dtype(torch.float64)
    engines.LOG_STEPS, loop.WEIGHT_BATCHES = 3, 2


# Batch-norm: what is asked of it, for one process with the whole batch and for several with parts.

NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "2d": (lambda: nn.BatchNorm2d(3), (8, 3, 4, 5)),
    "1d": (lambda: nn.BatchNorm1d(3), (8, 3)),
    "1d, sequences": (lambda: nn.BatchNorm1d(3), (8, 3, 7)),
    "far from zero": (lambda: nn.BatchNorm2d(3), (8, 3, 4, 5)),
    "without parameters": (lambda: nn.BatchNorm2d(3, affine=False), (8, 3, 4, 5)),
    "without statistics": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (8, 3, 4, 5)),
    "averaging": (lambda: nn.BatchNorm2d(3, momentum=None), (8, 3, 4, 5)),
    "float32": (lambda: nn.BatchNorm2d(3).float(), (8, 3, 4, 5)),
    "bfloat16": (lambda: nn.BatchNorm2d(3).float(), (8, 3, 4, 5)),
}


def normalise(name: str, rows: slice, share: Share) -> dict[str, Tensor]:
    """Pass some rows of a batch twice through a norm, differentiate in several ways, and return all that came of it."""
    builder, shape = NORMS[name]
    generator = torch.Generator().manual_seed(6)
    whole = 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + (1e4 if "far" in name else 1)
    weigh = torch.randn(shape, generator=generator, dtype=torch.float64)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(name, torch.float64)
    x = whole[rows].to(dtype).requires_grad_()
    norm = builder()
    for index, parameter in enumerate(norm.parameters()):
        parameter.data = torch.linspace(0.5, 2, 3, dtype=parameter.dtype).roll(index)
    wanted = [x, *norm.parameters()]
    with synchronised(norm, share, "synchronised"):
        first = norm(x)
        second = norm(x.square())
        one, two = (weigh[rows] * first).sum(), (first * second).square().mean((1,)).sum()
        of_one = torch.autograd.grad(one, wanted, retain_graph=True)
        of_two = torch.autograd.grad(two, wanted, retain_graph=True)
        (slope,) = torch.autograd.grad(one, x, create_graph=True)
        of_slope = torch.autograd.grad(slope.square().sum(), wanted, allow_unused=True, materialize_grads=True)
        norm.eval()
        evaluated = norm(x)
    found = {"first": first, "second": second, "evaluated": evaluated, "x one": of_one[0], "x two": of_two[0]}
    found |= {"x slope": of_slope[0]}
    for way, gradients in (("one", of_one), ("two", of_two), ("slope", of_slope)):
        found |= {f"parameter {way} {index}": gradient for index, gradient in enumerate(gradients[1:])}
    found |= {f"buffer {key}": value for key, value in norm.named_buffers()}
    return {key: value.detach() for key, value in found.items()}


def rows_of(name: str, rank: int) -> slice:
    """Return the rows of one of two processes; not the same number."""
    return slice(0, 3) if rank == 0 else slice(3, 8)


# What two processes do.


def drawn(share: Share) -> dict[str, Tensor]:
    """Draw noise of both kinds."""
    share.seed(7, "test")
    return {"shared": share.noise(4, 2, torch.device("cpu")), "plain": torch.randn(4, 2)}


def averaged(share: Share) -> dict[str, Any]:
    """Average gradients that not all processes have."""
    networks = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("both", "one", "none")})
    mine, other = torch.full((2, 2), 1.0 + share.rank), torch.full((2,), 10.0 + share.rank)
    of: dict[str, Any] = {"both": (mine, other if share.rank else None)}
    gates = {"both": torch.tensor(share.rank == 0)}
    if share.rank:
        of["one"], gates["one"] = (None, other), torch.tensor(True)
    found = average(Gradients(of, {"cost": torch.tensor(1.0 + share.rank)}, gates), networks, share)
    assert found.of["one"][0] is None
    with suppress(RuntimeError):
        average(Gradients({}, {f"cost{share.rank}": torch.zeros(())}), networks, share)
        raise AssertionError("processes that log different scalars must be told so")
    tensors = {f"{name}.{i}": g for name, own in found.of.items() for i, g in enumerate(own) if g is not None}
    return {**tensors, "cost": found.log["cost"], **{f"gate {name}": gate for name, gate in found.gates.items()}}


def trained(share: Share, folder: Path) -> dict[str, Any]:
    """Train everything that has a counterpart in one process, each process in a folder of its own."""
    own = folder / f"rank{share.rank}"
    found: dict[str, Any] = {}
    for kind in KINDS:
        found[kind] = go(own / kind, share, kind)[1]
    for batch_norm in ("local", "synchronised"):
        found[f"vae, {batch_norm}"] = go(own / batch_norm, share, "vae", configure(batch_norm=batch_norm))[1]
    # Only the last process is told to stop, and only rank 0 has a disk and the right weights to begin with.
    stop = stop_after(5) if share.rank else (lambda: False)
    stopped, _ = go(own / "parts", share, "vaegan", stop=stop)
    if share.leads:
        copytree(own / "parts", own / "half")
    found["stopped"] = {"images_seen": torch.tensor(stopped.progress.images_seen), "status": stopped.status}
    wrong = build("vaegan", configure())
    with torch.no_grad():
        for parameter in wrong.parameters():
            parameter.fill_(math.nan)
    found["resumed"] = go(own / "parts", share, "vaegan", model=wrong)[1]
    other = build("vae", configure())
    for parameter in other.parameters() if share.rank else ():
        parameter.data.zero_()
    found["begun"] = go(own / "begun", share, "vae", model=other)[1]
    found["files"] = sorted(str(path.relative_to(own)) for path in own.rglob("*") if path.is_file())
    return found


def carried_out(folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Carry out whole runs: a new one, the same again, with other scores, and one whose folder is in use."""
    torch.set_default_dtype(torch.float32)
    found: dict[str, Any] = {}
    for name, evaluators in {"new": ("mse",), "again": ("mse",), "more": ("mse", "one"), "in use": ("mse",)}.items():
        os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
        bench = Bench(folder / "store")
        config = bench.config("vaegan", evaluators=evaluators, seed=int(name == "in use"))
        try:
            with joined(Place.given(), device) as (share, own):
                bench.around = replace(bench.around, device=own, share=share)
                if not share.leads:
                    follow(bench.plugins, config, bench.around, lambda: False)
                    found[name] = "left"
                elif name == "in use":
                    with lock(bench.folder(config).path):
                        bench.finish(config)
                else:
                    watch = Watch()
                    record = bench.finish(config, watch)
                    scores = [score.name for score in record.scores]
                    found[name] = [record.execution.processes, len(watch.steps), *scores]
                    assert len(watch.steps) in (0, BENCH_STEPS)
        except (Exception, SystemExit) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def abandoned(share: Share) -> str:
    """Be left by the last process in the midst of it."""
    if share.rank:
        os._exit(0)
    try:
        share.sum(torch.ones(1))
    except Abandoned as error:
        return str(error)
    return "nothing was noticed"


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    in_float64()
    place = Place.given()
    with joined(place, "cpu") as (share, device):
        found: dict[str, Any] = {"device": device}
        found |= {name: normalise(name, rows_of(name, share.rank), share) for name in NORMS}
        found["drawn"] = drawn(share)
        found["averaged"] = averaged(share)
        found["trained"] = trained(share, folder)
    found["carried out"] = carried_out(folder)
    os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    torch.save(found, folder / f"rank{place.rank}.pt")
    with suppress(Exception), joined(place, "cpu") as (share, _):
        told = abandoned(share)
        (folder / "abandoned").write_text(told)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
