"""Whole runs of seconds on drawn faces, in a temporary folder."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from genbench.config import RunConfig
from genbench.doctor.findings import Ground
from genbench.doctor.threads import one_thread
from genbench.findings import Finding
from genbench.pipeline import Surroundings, folder_of, run
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.resolution import RunRequest, resolve
from genbench.store import read_record

DATASET = "toyfaces"
STEPS, BATCH = 4, 16
TINY = (
    *(f"dataset.count={5 * BATCH}", "network.width=0.05"),
    *("network.latent_size=4", "network.encoder_hidden=64"),
)
"""Settings that make any run with our networks take a second."""


class Unwatched:
    """An observer that listens to nothing."""

    def started(self, images_seen: int, budget: int) -> None: ...
    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None: ...
    def preparing(self, done: int, total: int) -> None: ...
    def said(self, message: str) -> None: ...


def tiny_run(ground: Ground) -> Iterator[Finding]:
    """Train, score and record, on the device that a run would take."""
    config = tiny(ground.plugins, "vaegan", evaluators=("mse",))
    with one_thread(), TemporaryDirectory(prefix="genbench-doctor-") as folder:
        around = Surroundings(Path(folder) / "runs", Path(folder) / "cache")
        record = run(ground.plugins, config, around, Unwatched(), lambda: False)
        back = read_record(folder_of(config, around).record_path)
    yield Finding.of("tiny run", *_verdict(record, back), "see its reason; `genbench run` would meet the same")


def resuming(ground: Ground) -> Iterator[Finding]:
    """Train the same run twice on the CPU, once without a stop; the weights must be the same, bit for bit."""
    config = tiny(ground.plugins, "vaegan", evaluators=())
    with one_thread(), TemporaryDirectory(prefix="genbench-doctor-") as folder:
        cache = Path(folder) / "cache"
        whole, parted = (Surroundings(Path(folder) / name, cache, device="cpu") for name in ("whole", "parted"))
        run(ground.plugins, config, whole, Unwatched(), lambda: False)
        run(ground.plugins, config, parted, Unwatched(), _stop_after(STEPS // 2))
        run(ground.plugins, config, parted, Unwatched(), lambda: False)
        same = weights(config, whole) == weights(config, parted)
    yield Finding.of(
        "resuming",
        same,
        "same seed, same weights, bit for bit" if same else "a run that was stopped ends elsewhere",
        "do not resume runs on this machine; report it as a bug, with the lines above",
    )


def tiny(plugins: Plugins, model: str, *, evaluators: tuple[str, ...], settings: tuple[str, ...] = ()) -> RunConfig:
    """Return the configuration of a run that takes a second."""
    request = RunRequest(
        model, DATASET, size=16, images=STEPS * BATCH, batch_size=BATCH, evaluators=evaluators,
        settings=(*TINY, *settings),
    )  # fmt: skip
    return resolve(plugins, request)


def weights(config: RunConfig, around: Surroundings) -> dict[str, bytes]:
    """Return the tensors of a run's checkpoint."""
    from safetensors.torch import load_file

    tensors = load_file(folder_of(config, around).checkpoint_path)
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


def _verdict(record: Record | None, back: Record) -> tuple[bool, str]:
    if record is None or record != back:
        return False, "its record does not read back"
    if record.status != "ok":
        return False, f"{record.status}: {record.reason}"
    if not record.scores or record.failures:
        told = [f"{entry.evaluator}: {entry.reason}" for entry in (*record.failures, *record.skipped)]
        return False, "; ".join(told) or "it has no score"
    return True, f"{record.execution.engine} on {record.execution.device}: trained, scored, read back"


def _stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * steps)
    return lambda: next(asked, True)
