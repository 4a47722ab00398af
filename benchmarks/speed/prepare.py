"""Time the preparation of CelebA at 64 px, the first time and the second, beside what a peer's loader does every epoch.

    python benchmarks/speed/prepare.py [--images 202599] [--folder] [--peer-images 10000] [--rounds 3] [--save]

The images are synthetic: smoothed noise in 178×218 JPEGs of about 9 kB (the official ones have 7 kB), 500 different
ones over and over, freshly written and so in the system's file cache. All of CelebA takes 5 GB in `--where`, a
temporary folder, and is deleted afterwards.

- genbench decodes, crops and resizes every image once, on all cores. Each preparation is measured in a fresh process,
  without its imports, beside the peak of its anonymous memory. Each epoch of a run then gathers its batches from the
  packed file.
- The peer's way, in every epoch: torchvision's CelebA with CenterCrop(148), Resize(64) and ToTensor, in a DataLoader
  with a worker for each core.

Both sides take turns on the same images in a folder. Epochs are measured the second time through, on a CPU.
"""

import argparse
import io
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image
from report import ratio, save

if TYPE_CHECKING:
    from genbench.data.packed import PackedDataset

T = TypeVar("T")

CELEBA = 202_599
SHAPE = (218, 178)
SIZE = 64
BATCH = 64
DIFFERENT = 500
OCTAVES = ((4, 60.0), (9, 40.0), (20, 25.0), (45, 14.0), (110, 8.0))
"""Side of the noise before it is smoothed, and its standard deviation in levels."""
SPLITS = (0.8034, 0.9015)
"""Where CelebA's validation and test images begin."""
PREPARE, EPOCH, PEER = "genbench, once", "genbench, every epoch", "torchvision CelebA, every epoch"
BYTES_A_FILE = 12_288
"""Room on disk for one image, in whole blocks; packed at 64 px it takes as much again."""


@dataclass(frozen=True)
class Preparation:
    """One preparation in a process of its own.

    Attributes:
        images: prepared.
        import_s: seconds that its imports took.
        prepare_s: seconds that it took.
        cpu_s: CPU seconds in these, over all threads.
        memory_before_bytes: anonymous memory when it began, imports included; None where the system doesn't tell.
        memory_peak_bytes: the most while it lasted.
    """

    images: int
    import_s: float
    prepare_s: float
    cpu_s: float
    memory_before_bytes: int | None
    memory_peak_bytes: int | None


def face(seed: int) -> bytes:
    """Return a JPEG of smoothed noise."""
    rng = np.random.default_rng(seed)
    levels = np.full((*SHAPE, 3), 128.0)
    for side, deviation in OCTAVES:
        coarse = rng.normal(0, deviation, (3, side, side)).astype(np.float32)
        smooth = [Image.fromarray(plane).resize(SHAPE[::-1], Image.Resampling.BICUBIC) for plane in coarse]
        levels += np.stack([np.asarray(plane) for plane in smooth], 2)
    file = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


def write_celeba(source: Path, faces: Sequence[bytes], count: int, *, zipped: bool) -> None:
    """Write so many images into `source/celeba`, and all lists that genbench and torchvision read."""
    folder = source / "celeba"
    folder.mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, count + 1)]
    _write_lists(folder, names)
    images = folder / "img_align_celeba"
    if zipped:
        with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
            for place, name in enumerate(names):
                archive.writestr(f"img_align_celeba/{name}", faces[place % len(faces)])
        return
    images.mkdir()
    for place, name in enumerate(names):
        (images / name).write_bytes(faces[place % len(faces)])


def _write_lists(folder: Path, names: Sequence[str]) -> None:
    signs = np.random.default_rng(0).choice(np.array(["-1", "1"]), (len(names), 40))
    bounds = [round(share * len(names)) for share in SPLITS]
    splits = np.searchsorted(bounds, np.arange(len(names)), side="right")
    tables: dict[str, tuple[Sequence[str], Iterator[str]]] = {
        "list_attr_celeba.txt": ([f"Attribute_{i}" for i in range(40)], (" ".join(row) for row in signs)),
        "list_bbox_celeba.txt": (["image_id", "x_1", "y_1", "width", "height"], ("0 0 1 1" for _ in names)),
        "list_landmarks_align_celeba.txt": ([f"x{i}" for i in range(10)], ("0 " * 9 + "0" for _ in names)),
    }
    for file, (header, rows) in tables.items():
        lines = [str(len(names)), " ".join(header), *map(" ".join, zip(names, rows, strict=True))]
        (folder / file).write_text("\n".join(lines) + "\n")
    for file, values in (("list_eval_partition.txt", splits), ("identity_CelebA.txt", range(1, len(names) + 1))):
        (folder / file).write_text("".join(f"{name} {value}\n" for name, value in zip(names, values, strict=True)))


def preparer() -> "Callable[[Path, Path], PackedDataset]":
    """Import what prepares CelebA from a source into a cache, and return it."""
    from genbench.config import DataConfig
    from genbench.data.preparation import prepare
    from genbench_datasets import genbench_datasets
    from genbench_datasets.celeba import Celeba

    spec = next(spec for spec in genbench_datasets() if spec.name == "celeba")
    config = DataConfig(name="celeba", size=SIZE)
    return lambda source, cache: prepare(spec, Celeba(), config, source, cache, lambda _done, _total: None)


def prepare(source: Path, cache: Path) -> Preparation:
    """Prepare CelebA, or find it prepared."""
    begin = time.perf_counter()
    prepare_celeba = preparer()
    imported = time.perf_counter()
    with watched() as peak:
        before, cpu = anonymous_bytes(), time.process_time()
        packed = prepare_celeba(source, cache)
        done, cpu = time.perf_counter(), time.process_time() - cpu
    return Preparation(len(packed.images), imported - begin, done - imported, cpu, before, peak())


def epoch(source: Path, cache: Path) -> float:
    """Return the seconds in which genbench draws as many images in batches as it has prepared before."""
    import torch

    from genbench.config import Component, DataConfig, EvaluationConfig, NetworkConfig, RunConfig, TrainingConfig
    from genbench.data.batches import load_batches
    from genbench.train.sharing import Share

    packed = preparer()(source, cache)
    training = TrainingConfig(images=len(packed.images), batch_size=BATCH)
    config = RunConfig(
        model=Component(name="none"), similarity=None, dataset=DataConfig(name="celeba", size=SIZE),
        network=NetworkConfig(), training=training, evaluation=EvaluationConfig(),
    )  # fmt: skip
    batches = load_batches(packed, config, torch.device("cpu"), Share())
    for _ in range(2):
        begin = time.perf_counter()
        for place in range(0, len(packed.images), BATCH):
            batches.draw(place)
    return time.perf_counter() - begin


def peer_epoch(source: Path, workers: int) -> float:
    """Return the seconds that torchvision's loader takes for all images, decoded and cropped anew."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import CelebA
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    CelebA._check_integrity = lambda _self: True  # these lists have no official checksums
    images = CelebA(str(source), "all", transform=Compose([CenterCrop(148), Resize(SIZE), ToTensor()]))
    loader = DataLoader(images, BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
    for _ in range(2):
        begin = time.perf_counter()
        for _batch in loader:
            pass
    return time.perf_counter() - begin


@contextmanager
def watched() -> Iterator[Callable[[], int | None]]:
    """Look at this process's anonymous memory twenty times a second; yields how to ask for the most that was seen."""
    seen, stop = [anonymous_bytes()], Event()

    def look() -> None:
        while not stop.wait(0.05):
            seen.append(anonymous_bytes())

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: max((value for value in seen if value is not None), default=None)
    finally:
        stop.set()
        watcher.join()


def anonymous_bytes() -> int | None:
    """Return the memory of this process that is no file's, or None where the system doesn't tell."""
    status = Path("/proc/self/status")
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else None


def afresh(function: Callable[..., T], *arguments: object) -> T:
    """Call a function of this module in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def take_turns(source: Path, caches: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of genbench's preparations and epochs, and of the peer's epochs, on the same images."""
    seconds: dict[str, list[float]] = {PREPARE: [], EPOCH: [], PEER: []}
    for number in range(rounds):
        cache = caches / str(number)
        seconds[PREPARE].append(afresh(prepare, source, cache).prepare_s)
        seconds[PEER].append(afresh(peer_epoch, source, cores()))
        seconds[EPOCH].append(afresh(epoch, source, cache))
        shutil.rmtree(cache)
    return seconds


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=CELEBA, help="prepared twice (default: all of CelebA)")
    parser.add_argument("--folder", action="store_true", help="unpacked images instead of a zip archive")
    parser.add_argument("--peer-images", type=int, default=10_000, help="in each turn of both sides; 0: no turns")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--where", type=Path, help="where the temporary folder is made")
    parser.add_argument("--save", action="store_true", help="write JSON to benchmarks/results/speed")
    return parser.parse_args()


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(args: argparse.Namespace, root: Path) -> dict[str, object]:
    """Make the images and time both sides, printing as it goes."""
    faces = [face(seed) for seed in range(DIFFERENT)]
    size = sum(map(len, faces)) / len(faces)
    kind = "unpacked in a folder" if args.folder else "in a zip archive"
    print(f"{args.images:,} JPEGs of 178×218, {size / 1000:.1f} kB each, {kind}; {SIZE} px; {cores()} cores")
    write_celeba(root / "all", faces, args.images, zipped=not args.folder)
    first, second = (afresh(prepare, root / "all", root / "cache") for _ in range(2))
    print_preparation("first preparation", first)
    print_preparation("second preparation", second)
    shutil.rmtree(root / "all")
    shutil.rmtree(root / "cache")
    results: dict[str, object] = {"bytes_a_jpeg": size, "zipped": not args.folder, "cores": cores()}
    results |= {"first": asdict(first), "second": asdict(second)}
    if args.peer_images:
        write_celeba(root / "some", faces, args.peer_images, zipped=False)
        results["turns"] = measure_turns(args, root)
    return results


def measure_turns(args: argparse.Namespace, root: Path) -> dict[str, object]:
    """Time genbench and the peer in turns on the same images."""
    seconds = take_turns(root / "some", root / "caches", args.rounds)
    print(f"\n{args.peer_images:,} of them in a folder, {args.rounds} turns each, median")
    for what, taken in seconds.items():
        print(f"{what:34}{median(taken):9.2f} s {args.peer_images / median(taken):12,.0f} images/s")
    together = {1: "after one epoch", 10: "after ten epochs"}
    ratios = {}
    for epochs, name in together.items():
        ours = [once + epochs * each for once, each in zip(seconds[PREPARE], seconds[EPOCH], strict=True)]
        ratios[name] = ratio([epochs * each for each in seconds[PEER]], ours)
        print(f"{f'ratio, {name}':34}{ratios[name]:9.2f}")
    return {"images": args.peer_images, "seconds": seconds, "ratios": ratios}


def print_preparation(what: str, done: Preparation) -> None:
    """Print a line of the table."""
    line = f"{what:34}{done.prepare_s:9.2f} s {done.images / done.prepare_s:12,.0f} images/s, {done.cpu_s:.2f} s of CPU"
    if done.memory_peak_bytes is not None and done.memory_before_bytes is not None:
        more = done.memory_peak_bytes - done.memory_before_bytes
        line += f", {more / 1e6:,.0f} MB more than the {done.memory_before_bytes / 1e6:,.0f} MB of its imports"
    print(line, flush=True)


def main() -> None:
    """Measure, print, and save where that is asked for."""
    args = parse()
    with tempfile.TemporaryDirectory(prefix="genbench-prepare-", dir=args.where) as name:
        needed = 2 * BYTES_A_FILE * max(args.images, args.peer_images)
        free = shutil.disk_usage(name).free
        if free < 1.1 * needed:
            sys.exit(
                f"{name}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed; choose another folder by --where"
            )
        results = measure(args, Path(name))
    if args.save:
        print(save("prepare-folder" if args.folder else "prepare", results, peers=["pillow", "torchvision"]))


if __name__ == "__main__":
    main()
