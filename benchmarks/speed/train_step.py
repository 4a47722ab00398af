"""Time genbench's training step against pythae's, and against the machine's arithmetic: `train_step.py [options]`.

Both sides train the same networks from the same weights on the same images, with the same batch size and kind of
optimiser, in turns (A B A B …), pythae in processes of its own. genbench's step is all that its training loop does for
each batch: seed, draw, flip, three losses and gradients, the check that they are finite, optimisers, log. pythae's is
what `peer_pythae.py` says, three times over: as it is used, then without its data loader, then also without the gates
that let it skip backward passes.

python benchmarks/speed/train_step.py --data CELEBA_FOLDER --threads 2 --save
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from apart import Apart
from ceiling import Rate, best_rate, needed_vaegan_operations, performed_operations, wait
from report import alternate, device_name, ratio, save, spread, threads
from sweep import print_sweep, sweep

from genbench.config import RunConfig
from genbench.data.batches import load_batches
from genbench.data.packed import PackedDataset
from genbench.data.preparation import prepare
from genbench.data.sources import cache_folder
from genbench.execution import choose_device
from genbench.pipeline import build_model
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, build_part, resolve
from genbench.train.engine import Engine, Trainer
from genbench.train.engines import build_engine
from genbench.train.ledger import Ledger
from genbench.train.loop import weigh_similarity
from genbench.train.memory import keep_freed_memory
from genbench.train.optimisers import build_optimisers
from genbench.train.precision import choose_precision, training_in
from genbench.train.sharing import Share

if TYPE_CHECKING:
    from peer_pythae import Peer

PEERS: Mapping[str, Mapping[str, bool]] = {
    "pythae": {},
    "pythae, no loader": {"loader": False},
    "pythae, no loader, no gates": {"loader": False, "gates": False},
}


@dataclass
class Ours:
    """A run's training, set up as `genbench.train.loop.train` does it.

    Attributes:
        steps: in one block, which is what gets timed.
    """

    engine: Engine
    trainer: Trainer
    device: torch.device
    steps: int
    images_seen: int = 0

    def train(self) -> None:
        """Train for one block of steps."""
        with training_in(self.trainer.precision):
            for _ in range(self.steps):
                self.engine.step(self.images_seen)
                self.images_seen += self.trainer.batches.batch_size
        wait(self.device)


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        data: of any content; only the time counts.
        steps: in one block.
    """

    plugins: Plugins
    config: RunConfig
    data: PackedDataset
    device: torch.device
    engine: str = "auto"
    steps: int = 5

    def ours(self, precision: str) -> Ours:
        """Build genbench's side."""
        training = self.config.training.model_copy(update={"precision": precision})
        config = self.config.model_copy(update={"training": training})
        model = build_model(self.plugins, config, self.data).to(self.device)
        model.to(memory_format=torch.channels_last)
        batches = load_batches(self.data, config, self.device, Share())
        optimisers = build_optimisers(model, training)
        chosen = choose_precision(precision, self.device)
        trainer = Trainer(model, batches, optimisers, Ledger(self.device), chosen, config.seed)
        model.train()
        weigh_similarity(model, batches, config, model.similarity_from)
        return Ours(build_engine(self.engine, trainer, self.device), trainer, self.device, self.steps)

    def peer(self, folder: Path, options: Mapping[str, bool]) -> "Peer":
        """Build pythae's side, on the images of genbench's first batches."""
        from peer_pythae import build_peer

        batches = load_batches(self.data, self.config, torch.device("cpu"), Share())
        size = self.config.training.batch_size
        images = torch.cat([batches.draw(i * size).images for i in range(self.steps)])
        return build_peer(self.config, images, self.device.type, folder, **options)


@dataclass(frozen=True)
class Side:
    """One row of the table.

    Attributes:
        precision: that it computes in, as resolved.
        train: trains for one block.
        operations: that a step does.
        moved: the share of steps in which each network moved.
    """

    precision: str
    train: Callable[[], None]
    operations: int
    moved: Callable[[], dict[str, float]] = field(default=dict)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="vaegan", help="only vaegan has a peer")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--width", type=float, default=0.25, help="of the networks")
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--precision", nargs="+", default=["float32", "auto"], help="one row of genbench's for each")
    parser.add_argument("--engine", default="auto", choices=["auto", "eager", "graph", "compile"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the CPU; torch's own choice where not given")
    parser.add_argument("--data", type=Path, help="folder with CelebA; without it, toy faces are drawn")
    parser.add_argument("--steps", type=int, default=5, help="in a block, the unit that is timed")
    parser.add_argument("--repeats", type=int, default=9, help="blocks of each side")
    parser.add_argument("--no-peer", action="store_true", help="time genbench alone")
    parser.add_argument("--sweep", action="store_true", help="then vary batch, size, width and number of images")
    parser.add_argument("--save", action="store_true", help="write the results to benchmarks/results/speed")
    return parser.parse_args(arguments)


def build_case(args: argparse.Namespace) -> Case:
    """Prepare the data, or open what was prepared before, and resolve the configuration."""
    plugins = Plugins.load()
    name = "celeba" if args.data else "toyfaces"
    request = RunRequest(args.model, name, size=args.size, width=args.width, batch_size=args.batch)
    config, spec = resolve(plugins, request), plugins.dataset(name)
    dataset = build_part(plugins, spec, config.dataset.settings)
    data = prepare(spec, dataset, config.dataset, args.data, cache_folder(), lambda _done, _total: None)
    return Case(plugins, config, data, choose_device(args.device), args.engine, args.steps)


def build_sides(case: Case, args: argparse.Namespace, peers: Mapping[str, Mapping[str, bool]]) -> dict[str, Side]:
    """Build all rows, and count each one's operations in a block that isn't timed."""
    sides = {}
    for precision in args.precision:
        ours = case.ours(precision)
        chosen = ours.trainer.precision
        name = f"genbench {precision}" + (f" ({chosen})" if precision != chosen else "")
        alone = replace(case, engine="eager", steps=1).ours(precision)
        sides[name] = Side(chosen, ours.train, performed_operations(alone.train), _moved(ours))
    for name, options in peers.items():
        peer = Apart(args, options)
        sides[name] = Side("float32", peer.train, peer.operations, peer.shares)
    return sides


def _moved(ours: Ours) -> Callable[[], dict[str, float]]:
    def moved() -> dict[str, float]:
        means = ours.trainer.ledger.read().means()
        return {name.removeprefix("moved."): mean for name, mean in means.items() if name.startswith("moved.")}

    return moved


@dataclass(frozen=True)
class Row:
    """What was measured of one side; `step_s` is the spread of the blocks' seconds for each step."""

    precision: str
    images_per_s: float
    step_s: Mapping[str, float]
    operations_per_step: int
    of_ceiling: float
    moved: Mapping[str, float]


@dataclass(frozen=True)
class Results:
    """One sitting.

    Attributes:
        needed_operations_per_step: the fewest that a step takes.
        ceilings: the rate of the device's arithmetic in each precision.
        sides: by name.
        ratios: for each of genbench's sides, how many times as fast as each of pythae's it is.
    """

    needed_operations_per_step: int
    ceilings: Mapping[str, Rate]
    sides: Mapping[str, Row]
    ratios: Mapping[str, Mapping[str, float]]


def measure(case: Case, sides: Mapping[str, Side], repeats: int) -> Results:
    """Measure the device's arithmetic, then time all sides in turns."""
    ceilings = {precision: _rate(case.device, precision) for precision in sorted({s.precision for s in sides.values()})}
    times = alternate({name: side.train for name, side in sides.items()}, repeats)
    needed = needed_operations(case, sides)
    rows = {}
    for name, side in sides.items():
        step_s = spread([t / case.steps for t in times[name]])
        rows[name] = Row(
            precision=side.precision,
            images_per_s=case.config.training.batch_size / step_s["median"],
            step_s=step_s,
            operations_per_step=side.operations,
            of_ceiling=needed / step_s["median"] / ceilings[side.precision].per_s,
            moved=side.moved(),
        )
    own = [name for name in sides if name not in PEERS]
    ratios = {name: {peer: ratio(times[peer], times[name]) for peer in sides if peer in PEERS} for name in own}
    return Results(needed, ceilings, rows, ratios)


def needed_operations(case: Case, sides: Mapping[str, Side]) -> int:
    """Return the fewest operations of a step: known for the VAE/GAN, elsewhere those of genbench's own."""
    if case.config.model.name == "vaegan" and case.config.network.kind == "conv":
        return needed_vaegan_operations(case.config, case.data.channels)
    return min(side.operations for side in sides.values())


def _rate(device: torch.device, precision: str) -> Rate:
    with training_in("tf32" if precision == "tf32" else "float32"):
        return best_rate(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def print_table(results: Results, title: str) -> None:
    """Print the rows, the ceilings, and at the end the ratios."""
    print(title)
    print(f"{'':32}{'images/s':>9}{'ms/step':>9}{'GFLOP':>8}{'of ceiling':>12}   moved")
    for name, row in results.sides.items():
        moved = ", ".join(f"{network} {share:.0%}" for network, share in row.moved.items())
        print(
            f"{name:32}{row.images_per_s:9.0f}{row.step_s['median'] * 1e3:9.1f}"
            f"{row.operations_per_step / 1e9:8.1f}{row.of_ceiling:12.0%}   {moved}"
        )
    print(f"needed for a step: {results.needed_operations_per_step / 1e9:.1f} GFLOP")
    for precision, ceiling in results.ceilings.items():
        print(f"ceiling in {precision}: {ceiling.per_s / 1e9:.0f} GFLOP/s, {ceiling.shape}")
    for own, by_peer in results.ratios.items():
        for peer, value in by_peer.items():
            print(f"{own} is {value:.2f} times as fast as {peer}")


def main() -> None:
    """Measure, print, and write what was asked for."""
    args = parse()
    keep_freed_memory()  # as a run does; pythae has a process of its own
    if args.threads:
        torch.set_num_threads(args.threads)
    case = build_case(args)
    peers = {} if args.no_peer or args.model != "vaegan" else PEERS
    if peers and find_spec("pythae") is None:
        print("pythae is not installed: pip install 'genbench[bench]'")
        peers = {}
    results = measure(case, build_sides(case, args, peers), args.repeats)
    title = (
        f"{args.model}, {args.size} px, width {args.width:g}, batch {args.batch}, {case.data.name}, "
        f"{device_name(str(case.device))}, {threads()} threads"
    )
    print_table(results, title)
    rows = sweep(case, args.precision) if args.sweep else []
    print_sweep(rows)
    if args.save:
        options = {key: value for key, value in vars(args).items() if key not in ("data", "save")}
        content = {"options": options | {"data": case.data.name}, **asdict(results), "sweep": rows}
        print(save("train_step", content, device=str(case.device), peers=["pythae"]))


if __name__ == "__main__":
    main()
