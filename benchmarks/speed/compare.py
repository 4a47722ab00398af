"""Time `genbench compare` on stores of whole records: `compare.py [--records 1000 10000]`.

The records are as large as real ones, with two dozen scores each, in rows of five seeds over four data sets. Seconds
are on the clock, of the whole process, from its start to its last line; of several the best, the others being what else
the machine did.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from report import save, spread

from genbench.config import (
    Component,
    DataConfig,
    EvaluationConfig,
    EvaluatorConfig,
    NetworkConfig,
    RunConfig,
    TrainingConfig,
)
from genbench.records import (
    Check,
    Cost,
    DataFacts,
    Direction,
    Execution,
    Plugin,
    Record,
    RunIdentity,
    Scalar,
    Score,
    Unscored,
)
from genbench.store import run_folder, write_record

LIMITS_S: Mapping[int, float] = {1_000: 1.0, 10_000: 5.0}
"""Records, and the seconds that comparing them may take."""
FORMATS: Mapping[str, Sequence[str]] = {"table": ("--format", "table"), "json": ("--format", "json")}
COLUMNS = 80

MODELS = (("vae", "mse"), ("vae", "ssim"), ("vae", "dis-l"), ("vaegan", "dis-l"), ("gan", None))
DATASETS = ("toyfaces", "celeba", "lfw", "cifar10")
SEEDS = 5
WIDTHS = (0.25, 0.5, 0.75, 1.0)
SCORES: Sequence[tuple[str, Direction]] = (
    *((name, "lower") for name in ("mse", "fid", "rfid", "kid", "rkid", "fd-attributes", "rfd-attributes", "lpips")),
    *((name, "lower") for name in ("similarity-mse", "similarity-ssim", "similarity-dis-l")),
    *((name, "higher") for name in ("psnr", "ssim", "ms-ssim", "precision", "recall", "density", "coverage")),
    *((name, "higher") for name in ("attributes", "attributes-success", "attributes-direction")),
    *((name, "lower") for name in ("attributes-leakage", "attributes-identity")),
    ("kl", "none"),
)
ATTRIBUTES, CHECKS, EVALUATORS = 40, 13, 13


def make_record(model: str, similarity: str | None, dataset: str, seed: int, setting: int) -> Record:
    """Build a record of the size that a real one has, of one row for each `setting`."""
    draw = random.Random(f"{model} {similarity} {dataset} {seed} {setting}")
    config = make_config(model, similarity, dataset, seed, setting)
    kinds = {"model": model, "dataset": dataset} | ({"similarity": similarity} if similarity else {})
    return Record(
        status="ok",
        run=RunIdentity(model=model, similarity=similarity, dataset=dataset, seed=seed),
        config=config.model_dump(mode="json"),
        config_hash=config.hash(),
        plugins=tuple(
            Plugin.model_validate({"kind": kind, "name": name, "distribution": "genbench", "version": "0.1.0"})
            for kind, name in [*kinds.items(), *(("evaluator", f"evaluator-{i}") for i in range(EVALUATORS))]
        ),
        data=DataFacts(
            name=dataset, size=64, channels=3, fingerprint="ab" * 32, train=8, validation=1, test=1, attributes=40,
            notes=("images of 89×109 instead of 178×218 pixels; not comparable with scores on the official ones",),
        ),
        images_asked=1_000_000,
        images_seen=1_000_000,
        parameters={"encoder": 10**7, "decoder": 10**7},
        similarity_weight=draw.random(),
        weights_sha256=f"{draw.getrandbits(256):064x}",
        scores=tuple(make_score(name, direction, dataset, draw) for name, direction in SCORES),
        skipped=(Unscored(evaluator="inception-score", reason="Inception's weights are not here"),),
        checks=tuple(
            Check(
                name=f"check-{i}", value=draw.random(), flagged=draw.random() < 0.01, rule="at least 0.01",
                meaning="the model has learnt less than it seems, so that its scores may mislead whoever reads them",
            )
            for i in range(CHECKS)
        ),
        cost=Cost(
            prepare_s=1, train_s=draw.gauss(3000, 90), evaluate_s=60, images_per_s=draw.gauss(300, 9),
            peak_memory_bytes=2**30, energy_j=draw.gauss(1e5, 1e3),
        ),
        execution=Execution(
            device="cpu", device_name="cpu", engine="eager", precision="float32", threads=2, platform="linux",
            versions={"python": "3.11.1", "numpy": "2.1.0", "torch": "2.6.0"}, git_commit="ab" * 20,
        ),
        started_utc="2025-01-01T00:00:00+00:00",
        finished_utc="2025-01-01T01:00:00+00:00",
    )  # fmt: skip


def make_config(model: str, similarity: str | None, dataset: str, seed: int, setting: int) -> RunConfig:
    """Build a configuration; `setting` stands for a width and a learning rate."""
    return RunConfig(
        model=Component(name=model, settings={"gamma": 1e-6, "beta": 1.0}),
        similarity=Component(name=similarity) if similarity else None,
        dataset=DataConfig(name=dataset, size=64),
        network=NetworkConfig(width=WIDTHS[setting % len(WIDTHS)]),
        training=TrainingConfig(images=1_000_000, learning_rate=1e-5 * (1 + setting // len(WIDTHS))),
        evaluation=EvaluationConfig(evaluators=tuple(EvaluatorConfig(name=f"e{i}") for i in range(EVALUATORS))),
        seed=seed,
    )


def make_score(name: str, direction: Direction, dataset: str, draw: random.Random) -> Score:
    """Build a score with a protocol that is alike for all runs on a data set."""
    protocol: dict[str, Scalar] = {"dataset": dataset, "dataset_fingerprint": "ab" * 32, "evaluator": name}
    protocol |= {"images": 10_000, "split": "test", "quantised": False, "strength": 1.0, "left_out": None}
    protocol |= {f"fact-{i}": "a few words that say how it is measured" for i in range(14)}
    parts = ATTRIBUTES if name.startswith("attributes") else 1
    return Score(
        name=name,
        value=draw.gauss(1, 0.1),
        uncertainty=0.01,
        direction=direction,
        protocol=protocol,
        details={f"attribute-{i}": draw.random() for i in range(parts)},
        warnings=("few images, so that the number is biased by an amount that differs between models",),
        origin="0123456789abcdef",
    )


def fill(root: Path, count: int) -> int:
    """Write that many records to a store; return the bytes of one."""
    for index in range(count):
        row, seed = divmod(index, SEEDS)
        (model, similarity), of_models = MODELS[row % len(MODELS)], row // len(MODELS)
        dataset, setting = DATASETS[of_models % len(DATASETS)], of_models // len(DATASETS)
        record = make_record(model, similarity, dataset, seed, setting)
        folder = run_folder(root, dataset, model, similarity, seed, record.config_hash)
        write_record(folder, record)
    return folder.record_path.stat().st_size


def time_command(root: Path, options: Sequence[str], repeats: int) -> list[float]:
    """Return the seconds that the command took, each time; once before, unmeasured, since files may lie on the disk."""
    command = [sys.executable, "-m", "genbench", "compare", str(root), *options]
    environment = os.environ | {"COLUMNS": str(COLUMNS)}
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        times.append(time.perf_counter() - start)
    return times[1:]


def measure(count: int, repeats: int) -> dict[str, list[float]]:
    """Print the best seconds of each format for a store of that many records, and return all of them."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        size = fill(Path(name), count)
        limit = f"limit {LIMITS_S[count]:g} s" if count in LIMITS_S else "no limit"
        for form, options in FORMATS.items():
            found[form] = times = time_command(Path(name), options, repeats)
            what = f"{count:,} records of {size / 1000:.0f} kB, {form}"
            print(f"{what:40} {min(times):6.2f} s, at most {max(times):.2f} s ({limit})", flush=True)
    return found


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=list(LIMITS_S), metavar="N")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the results to benchmarks/results/speed")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, print, write what was asked for, and return 1 where something is over its limit."""
    args = parse()
    found = {count: measure(count, args.repeats) for count in args.records}
    if args.save:
        results = {
            "compare_s": {str(n): {form: spread(times) for form, times in forms.items()} for n, forms in found.items()},
            "limits_s": {str(n): limit for n, limit in LIMITS_S.items()},
        }
        print(save("compare", results, peers=["msgspec", "pydantic", "rich", "scipy"]))
    return int(any(min(t) >= LIMITS_S[n] for n, forms in found.items() if n in LIMITS_S for t in forms.values()))


if __name__ == "__main__":
    sys.exit(main())
