"""Time `genbench compare` on 1,000 records of all metrics in a temporary folder; the goal is under 1 s on 2 cores.

python benchmarks/speed/compare.py [records]
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from genbench.config import (
    Component,
    DataConfig,
    EvaluationConfig,
    EvaluatorConfig,
    NetworkConfig,
    RunConfig,
    TrainingConfig,
)
from genbench.records import Check, Cost, DataFacts, Execution, Plugin, Record, RunIdentity, Score
from genbench.store import run_folder, write_record

MODELS = (("vae", "mse"), ("vae", "ssim"), ("vae", "dis-l"), ("vaegan", "dis-l"), ("gan", None))
DATASETS = ("toyfaces", "celeba", "lfw", "cifar10")
LOWER = ("mse", "fid", "rfid", "kid", "rkid", "fd-attributes", "rfd-attributes", "lpips")
HIGHER = ("psnr", "ssim", "ms-ssim", "precision", "recall", "density", "coverage")
BY_ATTRIBUTE = (
    *(("attributes", "higher"), ("attributes-success", "higher"), ("attributes-direction", "higher")),
    *(("attributes-leakage", "lower"), ("attributes-identity", "lower")),
)
SCORES = (*((name, "lower") for name in LOWER), *((name, "higher") for name in HIGHER), *BY_ATTRIBUTE)
CHECKS = 13


def make_record(model: str, similarity: str | None, dataset: str, seed: int, width: float) -> Record:
    """Build a record of the size that a real one has."""
    draw = random.Random(f"{model} {similarity} {dataset} {seed} {width}")
    config = RunConfig(
        model=Component(name=model, settings={"gamma": 1e-6, "beta": 1.0}),
        similarity=Component(name=similarity) if similarity else None,
        dataset=DataConfig(name=dataset, size=64),
        network=NetworkConfig(width=width),
        training=TrainingConfig(images=1_000_000),
        evaluation=EvaluationConfig(evaluators=tuple(EvaluatorConfig(name=name) for name, _ in SCORES)),
        seed=seed,
    )
    protocol = {"data": dataset, "fingerprint": "ab" * 32, "evaluator version": 1, "images": 10_000, "split": "test"}
    protocol |= {f"fact {i}": "a few words that say how" for i in range(15)}
    return Record(
        status="ok",
        run=RunIdentity(model=model, similarity=similarity, dataset=dataset, seed=seed),
        config=config.model_dump(mode="json"),
        config_hash=config.hash(),
        plugins=(Plugin(kind="model", name=model, distribution="genbench", version="0.1.0"),),
        data=DataFacts(
            name=dataset, size=64, channels=3, fingerprint="ab" * 32, train=8, validation=1, test=1, attributes=40
        ),
        images_asked=1_000_000,
        images_seen=1_000_000,
        parameters={"encoder": 10**7, "decoder": 10**7},
        scores=tuple(
            Score(
                name=name,
                value=draw.gauss(1, 0.1),
                direction="lower" if direction == "lower" else "higher",
                protocol=protocol | {"evaluator": name},
                details={f"part {i}": draw.random() for i in range(40 if (name, direction) in BY_ATTRIBUTE else 2)},
                warnings=("few images, so that the number is biased by an amount that differs between models",),
                origin="0123456789abcdef",
            )
            for name, direction in SCORES
        ),
        checks=tuple(
            Check(name=f"check {i}", value=draw.random(), flagged=False, rule="at least 0", meaning="It is ill.")
            for i in range(CHECKS)
        ),
        cost=Cost(prepare_s=1, train_s=3000, evaluate_s=60, images_per_s=draw.gauss(300, 9), peak_memory_bytes=2**30),
        execution=Execution(
            device="cpu", device_name="cpu", engine="eager", precision="float32", threads=2, platform="linux",
            versions={"torch": "2.6"}, git_commit=None,
        ),
        started_utc="2025-01-01T00:00:00Z",
        finished_utc="2025-01-01T01:00:00Z",
    )  # fmt: skip


def main() -> None:
    """Write the records, then run the command three times and print the wall times."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for index in range(count):
            (model, similarity), rest = MODELS[index % 5], index // 5
            dataset, seed = DATASETS[rest % 4], rest // 4
            record = make_record(model, similarity, dataset, seed // 2, (0.5, 1.0)[seed % 2])
            write_record(run_folder(root, dataset, model, similarity, seed // 2, record.config_hash), record)
        command = [sys.executable, "-c", "from genbench.cli.compare import compare; compare()", str(root)]
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            print(f"genbench compare, {count} records: {time.perf_counter() - start:.2f} s")
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
