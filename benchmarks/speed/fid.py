"""Time genbench's Fréchet distance against torch-fidelity's: `fid.py [options]`.

Both sides get the same extractor, the same real images and the same samples, in turns (A B A B …) in one process, and
both load the extractor each time. The samples, of an untrained model, were decoded before. torch-fidelity is called as
its users call it, without its cache. genbench is timed twice: with an empty cache, where it computes the real images'
moments, and with these cached, as every run after the first finds them. Memory is measured in processes of their own,
in which genbench decodes the samples as it goes, and torch-fidelity has the images of both sides in memory.

The extractor has random weights unless `--weights` names a file: its time and memory are the same with any.

python benchmarks/speed/fid.py --data CELEBA_FOLDER --threads 2 --save
python benchmarks/speed/fid.py --data CELEBA_FOLDER --extractor squeezenet --threads 2 --save
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from fid_extractors import EXTRACTORS, Pair, in_memory
from fid_memory import peak_of
from report import alternate, ratio, save, spread
from torch import Tensor

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset
from genbench.data.preparation import prepare
from genbench.data.sources import cache_folder
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.generation import NOISE_BLOCK
from genbench.evaluate.moments import frechet_distance
from genbench.evaluate.subjects import Real, Sampled
from genbench.images import to_float
from genbench.interfaces import Batch, Losses, Model
from genbench.pipeline import build_model
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, build_part, resolve

CPU = torch.device("cpu")
WIDTH = 0.25
IMAGES = {"inception": 64, "squeezenet": 2000}
"""On each side, where the user names no number: what takes a few minutes on two cores."""

SIDES = ("torch-fidelity", "genbench, first", "genbench, cached")


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        model: untrained; gives the samples.
        data: so many real images, all in the test split.
        extractor: for both sides.
        batch: images that torch-fidelity is told to compute at a time.
    """

    config: RunConfig
    model: Model
    data: PackedDataset
    extractor: Pair
    count: int
    batch: int

    def context(self, cache: Path, decoded: Tensor | None = None) -> EvaluationContext:
        """Return a new context, as a run makes one when it is trained; with images decoded before, where given."""
        model = self.model if decoded is None else Decoded(self.model, decoded)
        return EvaluationContext(model, self.data, self.config, CPU, cache)

    def decode(self, cache: Path) -> Tensor:
        """Return as many samples as genbench computes: whole batches."""
        whole = -(-self.count // NOISE_BLOCK) * NOISE_BLOCK
        return torch.cat(list(self.context(cache).samples(whole))).contiguous()

    def ours(self, cache: Path, decoded: Tensor | None = None) -> float:
        """Return genbench's distance, by the way that its evaluator `fid` goes."""
        context, extractor = self.context(cache, decoded), self.extractor.ours(CPU)
        real = context.moments(extractor, Real("test"))
        return frechet_distance(real, context.moments(extractor, Sampled(self.count)))

    def real(self, cache: Path) -> Tensor:
        """Return the real images."""
        return torch.cat(list(self.context(cache).real("test")))

    def theirs(self, decoded: Tensor, real: Tensor) -> float:
        """Return torch-fidelity's distance."""
        import torch_fidelity

        metrics = torch_fidelity.calculate_metrics(
            input1=in_memory(decoded[: self.count]),
            input2=in_memory(real),
            fid=True,
            cuda=False,
            cache=False,
            verbose=False,
            batch_size=self.batch,
            save_cpu_ram=True,  # without worker processes, which only cost time where the images are in memory
            **self.extractor.theirs(),
        )
        return float(metrics["frechet_inception_distance"])


class Decoded(Model):
    """Gives images that another model decoded before, in the order in which an evaluation asks for them."""

    def __init__(self, model: Model, images: Tensor) -> None:
        super().__init__(model.blueprint)
        self.images, self.given = images, 0

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        start, self.given = self.given, self.given + len(latents)
        return to_float(self.images[start : self.given])


@dataclass(frozen=True)
class Side:
    """One side's whole work, for a process of its own."""

    name: str
    options: argparse.Namespace
    count: int

    def __call__(self) -> None:
        torch.set_num_threads(self.options.threads)
        with tempfile.TemporaryDirectory() as name:
            case = build_case(self.options, Path(name), self.count)
            if self.name == SIDES[0]:
                case.theirs(case.decode(Path(name)), case.real(Path(name)))
            else:
                case.ours(Path(name))


@dataclass(frozen=True)
class Results:
    """One sitting.

    Attributes:
        distances: that each side found.
        relative_difference: of genbench's to torch-fidelity's.
        distance_seconds: from moments to the distance, which takes the same time for any number of images.
        ratios: how many times as fast as torch-fidelity each of genbench's sides is.
        extraction_ratios: the same without these seconds, which is what it comes to with many images.
        peak_memory_bytes: with N and with 2N images.
    """

    options: Mapping[str, object]
    dataset: str
    distances: Mapping[str, float]
    relative_difference: Mapping[str, float]
    seconds: Mapping[str, Mapping[str, float]]
    distance_seconds: Mapping[str, float]
    ratios: Mapping[str, float]
    extraction_ratios: Mapping[str, float]
    peak_memory_bytes: Mapping[str, Sequence[int]] = field(default_factory=dict)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extractor", choices=sorted(EXTRACTORS), default="inception")
    parser.add_argument("--weights", type=Path, help="of the extractor; random where not given")
    parser.add_argument("--images", type=int, help=f"on each side; {IMAGES} where not given")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--data", type=Path, help="folder with CelebA; without it, toy faces are drawn")
    parser.add_argument("--batch", type=int, default=64, help="of torch-fidelity; 64 is its own choice")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory at N and at 2N images")
    parser.add_argument("--save", action="store_true", help="write the results to benchmarks/results/speed")
    options = parser.parse_args(arguments)
    options.images = options.images or IMAGES[options.extractor]
    return options


def build_case(options: argparse.Namespace, folder: Path, count: int) -> Case:
    """Prepare the data, or open what was prepared before, and build the model and the extractor."""
    plugins = Plugins.load()
    name = "celeba" if options.data else "toyfaces"
    drawn = [] if options.data else [f"dataset.count={max(10, 2 * options.images)}"]
    request = RunRequest("vae", name, size=options.size, width=WIDTH, settings=tuple(drawn))
    config, spec = resolve(plugins, request), plugins.dataset(name)
    dataset = build_part(plugins, spec, config.dataset.settings)
    data = prepare(spec, dataset, config.dataset, options.data, cache_folder(), lambda _done, _total: None)
    if len(data.images) < count:
        raise SystemExit(f"{name} has {len(data.images)} images, {count} are asked for")
    part = replace(
        data, images=data.images[:count], splits=np.full(count, 2, np.uint8), attributes=None, attribute_names=()
    )
    model = build_model(plugins, config, data).to(memory_format=torch.channels_last)
    return Case(config, model, part, EXTRACTORS[options.extractor](options.weights, folder), count, options.batch)


def measure_times(case: Case, repeats: int, folder: Path) -> tuple[dict[str, float], Mapping[str, list[float]]]:
    """Return each side's distance, and its seconds."""
    distances: dict[str, float] = {}
    decoded, real = case.decode(folder), case.real(folder)

    def first() -> float:
        with tempfile.TemporaryDirectory() as empty:
            return case.ours(Path(empty), decoded)

    work = (lambda: case.theirs(decoded, real), first, lambda: case.ours(folder, decoded))
    computed = dict(zip(SIDES, work, strict=True))

    def timed(name: str, compute: Callable[[], float]) -> Callable[[], None]:
        return lambda: distances.update({name: compute()})

    times = alternate({name: timed(name, compute) for name, compute in computed.items()}, repeats)
    return distances, times


def measure_distance(case: Case, folder: Path) -> dict[str, float]:
    """Return the seconds of what comes after the features: the distance between two sets of moments, on each side."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    context, extractor = case.context(folder), case.extractor.ours(CPU)
    real, fake = context.moments(extractor, Real("test")), context.moments(extractor, Sampled(case.count))
    theirs = [{"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (real, fake)]
    start = perf_counter()
    fid_statistics_to_metric(*theirs, False)
    middle = perf_counter()
    frechet_distance(real, fake)
    return {"torch-fidelity": middle - start, "genbench": perf_counter() - middle}


def measure_memory(options: argparse.Namespace) -> dict[str, list[int]]:
    """Return each side's peak memory in bytes, with N and with 2N images on each side."""
    sizes = (options.images, 2 * options.images)
    return {side: [peak_of(Side(side, options, size)) for size in sizes] for side in SIDES[:2]}


def build_results(
    options: argparse.Namespace,
    case: Case,
    distances: Mapping[str, float],
    times: Mapping[str, list[float]],
    distance_s: Mapping[str, float],
) -> Results:
    """Put together what was measured."""
    peer, *ours = SIDES
    own = {name: distance_s["torch-fidelity" if name == peer else "genbench"] for name in SIDES}
    extraction = {name: [taken - own[name] for taken in times[name]] for name in SIDES}
    kept = ("extractor", "images", "size", "batch", "threads", "repeats")
    return Results(
        options={key: getattr(options, key) for key in kept} | {"random_weights": options.weights is None},
        dataset=case.data.name,
        distances=distances,
        relative_difference={name: abs(distances[name] / distances[peer] - 1) for name in ours},
        seconds={name: spread(taken) for name, taken in times.items()},
        distance_seconds=distance_s,
        ratios={name: ratio(times[peer], times[name]) for name in ours},
        extraction_ratios={name: ratio(extraction[peer], extraction[name]) for name in ours},
    )


def report_times(results: Results) -> None:
    """Print a line for each side, and its ratio to torch-fidelity's."""
    for name, seconds in results.seconds.items():
        more = ""
        if name in results.ratios:
            more = f"  {results.ratios[name]:5.2f} times as fast, value off by {results.relative_difference[name]:.0e}"
        print(f"{name:18} {seconds['median']:8.2f} s{more}")
    own = ", ".join(f"{name} {value:.2f} s" for name, value in results.distance_seconds.items())
    rest = ", ".join(f"{name.split()[-1]} {value:.2f}" for name, value in results.extraction_ratios.items())
    print(f"of which from moments to distance: {own}; times as fast without it: {rest}")


def report_memory(peaks: Mapping[str, Sequence[int]]) -> None:
    """Print a line for each side."""
    for side, (once, twice) in peaks.items():
        grown = f"{(twice - once) / 2**20:+.1f} MiB"
        print(f"{side:18} peak memory {once / 2**20:.0f} MiB, with twice the images {twice / 2**20:.0f} ({grown})")


def main() -> None:
    """Print seconds, ratios and memory."""
    options = parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        case = build_case(options, Path(name), options.images)
        print(f"{options.images} samples and real images of {options.size} px ({case.data.name}), {options.extractor}")
        distances, times = measure_times(case, options.repeats, Path(name))
        distance_s = measure_distance(case, Path(name))
    results = build_results(options, case, distances, times, distance_s)
    report_times(results)
    if not options.no_memory:
        results = replace(results, peak_memory_bytes=measure_memory(options))
        report_memory(results.peak_memory_bytes)
    if options.save:
        print(save(f"fid-{options.extractor}", asdict(results), peers=["torch-fidelity", "torchvision"]))


if __name__ == "__main__":
    main()
