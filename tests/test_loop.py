"""The training loop: a run that is stopped, killed or broken ends as one that never was, and never with bad weights."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from genbench import GenbenchError
from genbench.config import Component, DataConfig, EvaluationConfig, NetworkConfig, RunConfig, TrainingConfig
from genbench.data.batches import Resident, order_of
from genbench.interfaces import Batch, Gradients, Losses, Model
from genbench.networks import Blueprint, seeded
from genbench.store import RunFolder
from genbench.train import engines, loop
from genbench.train.checkpoint import read_progress
from genbench.train.loop import Outcome, train
from genbench.train.sharing import Share
from genbench.train.weighting import WeightedSimilarity, measure_weight
from genbench_gan.model import Gan
from genbench_similarities.elementwise import DisL, Mse
from genbench_similarities.settings import DisLSettings, ElementwiseSettings
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeDisLSettings, VaeGanSettings
from genbench_vaegan.vae_dis_l import VaeDisL

BATCH, STEPS = 8, 10


@pytest.fixture(autouse=True)
def _short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten steps hold three rows of the curve and a rest."""
    monkeypatch.setattr(engines, "LOG_STEPS", 3)
    monkeypatch.setattr(loop, "WEIGHT_BATCHES", 2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Fragile(Vae):
    """A VAE that breaks after three steps, in the way that it is told."""

    breaks: str = "loss"

    def losses(self, batch: Batch) -> Losses:
        losses = super().losses(batch)
        if batch.images_seen < 3 * BATCH:
            return losses
        if self.breaks == "loss":
            return Losses({name: loss * math.nan for name, loss in losses.of.items()}, losses.log)
        if self.breaks == "log":
            return Losses(losses.of, dict(losses.log) | {"kl": torch.tensor(math.inf)})
        for parameter in self.networks["decoder"].parameters():  # √x at 0: a finite loss with an infinite gradient
            root = (parameter - parameter.detach()).abs().sqrt().sum()
            losses = Losses(dict(losses.of) | {"decoder": root}, losses.log)
        return losses


def of(kind: str, config: RunConfig) -> Model:
    measure = Mse(ElementwiseSettings()) if kind in ("vae", "fragile") else DisL(DisLSettings())
    with seeded(config.seed, "init"):
        similarity = None if kind == "gan" else WeightedSimilarity(measure, config.training.similarity_weight)
        plan = Blueprint(3, 16, config.network, config.training.images, config.seed, similarity=similarity)
        build: dict[str, Callable[[], Model]] = {
            "vae": lambda: Vae(plan, VaeSettings()),
            "fragile": lambda: Fragile(plan, VaeSettings()),
            "gan": lambda: Gan(plan, VaeGanSettings()),
            "vaegan": lambda: VaeGan(plan, VaeGanSettings()),
            "vae-dis-l": lambda: VaeDisL(plan, VaeDisLSettings(discriminator_share=0.45)),
        }
        model = build[kind]()
    model.to(memory_format=torch.channels_last)
    return model


def configure(**training: Any) -> RunConfig:
    return RunConfig(
        model=Component(name="m"),
        similarity=Component(name="s"),
        dataset=DataConfig(name="d", size=16),
        network=NetworkConfig(width=0.05, latent_size=4, encoder_hidden=64),
        training=TrainingConfig(**({"images": STEPS * BATCH, "batch_size": BATCH, "flip": True} | training)),
        evaluation=EvaluationConfig(),
    )


CONFIG = configure()


class Watch:
    """Observes, and does something after some steps."""

    def __init__(self, then: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.then = then or {}
        self.rows: list[Mapping[str, float]] = []
        self.starts: list[tuple[int, int]] = []
        self.seen: list[int] = []

    def started(self, images_seen: int, budget: int) -> None:
        self.starts.append((images_seen, budget))

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        if row:
            self.rows.append(row)
            return
        self.seen.append(images_seen)
        self.then.get(images_seen // BATCH, lambda: None)()


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * steps)
    return lambda: next(asked, True)


class Killed(BaseException):
    pass


def kill() -> None:
    raise Killed


def go(
    folder: Path,
    kind: str = "vaegan",
    config: RunConfig = CONFIG,
    watch: Watch | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train, in noise that no result may depend on."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (30, 16, 16, 3), generator=generator, dtype=torch.uint8)
    order = order_of(len(images), config.training, config.seed)
    batches = Resident(order, config.training.batch_size, Share(), images, None)
    torch.seed()
    return train(of(kind, config), batches, config, RunFolder(folder), watch or Watch(), stop)


def state(folder: Path) -> dict[str, Any]:
    """Return all of a run that must be the same in every repetition."""
    path = RunFolder(folder).checkpoint_path
    with safe_open(path, "pt") as file:
        header = file.metadata()
    progress = json.loads(header["progress"])
    del progress["train_s"]
    tensors = {name: value.numpy().tobytes() for name, value in load_file(path).items()}
    curve = RunFolder(folder).curve_path.read_bytes()
    return {"tensors": tensors, "progress": progress, "hash": header["config_hash"], "curve": curve}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return the state at the end of an uninterrupted run of a model."""
    found: dict[str, dict[str, Any]] = {}

    def of_kind(kind: str) -> dict[str, Any]:
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            assert go(folder, kind).status == "finished"
            found[kind] = state(folder)
        return found[kind]

    return of_kind


def test_a_repetition_is_the_same_to_the_last_bit(tmp_path: Path, whole: Callable[[str], dict[str, Any]]) -> None:
    go(tmp_path)
    assert state(tmp_path) == whole("vaegan")
    assert len(whole("vaegan")["tensors"]) > 50
    go(tmp_path / "other", config=CONFIG.model_copy(update={"seed": 1}))
    assert state(tmp_path / "other")["tensors"] != whole("vaegan")["tensors"]


@pytest.mark.parametrize("kind", ["vae", "gan", "vaegan", "vae-dis-l"])
@pytest.mark.parametrize("last_save", [1, 5, 8])
def test_a_killed_run_ends_as_if_nothing_had_been(
    kind: str,
    last_save: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[[str], dict[str, Any]],
) -> None:
    """Killed two steps after its last checkpoint; what the curve has of them must not stand there twice."""
    monkeypatch.setattr(loop, "SAVE_S", 0.0)

    def save_no_more() -> None:
        monkeypatch.setattr(loop, "SAVE_S", math.inf)

    with pytest.raises(Killed):
        go(tmp_path, kind, watch=Watch({last_save + 1: save_no_more, last_save + 2: kill}))
    saved = read_progress(RunFolder(tmp_path).checkpoint_path)
    assert saved is not None
    assert saved.images_seen == last_save * BATCH
    resumed = Watch()
    assert go(tmp_path, kind, watch=resumed).status == "finished"
    assert resumed.starts == [(last_save * BATCH, STEPS * BATCH)]
    assert resumed.seen[0] == (last_save + 1) * BATCH
    assert state(tmp_path) == whole(kind)


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_a_run_stopped_after_every_step_ends_as_if_nothing_had_been(optimiser: str, tmp_path: Path) -> None:
    config = configure(optimiser=optimiser)
    go(tmp_path / "whole", config=config)
    outcomes = [go(tmp_path / "parts", config=config, stop=stop_after(1)) for _ in range(STEPS + 1)]
    assert [o.status for o in outcomes] == ["stopped"] * (STEPS - 1) + ["finished"] * 2
    assert [o.progress.images_seen for o in outcomes] == [BATCH * min(i + 1, STEPS) for i in range(STEPS + 1)]
    assert state(tmp_path / "parts") == state(tmp_path / "whole")


OPTIONS: dict[str, dict[str, Any]] = {
    "falling": {"learning_rate_end": 1e-5},
    "falling fast": {"learning_rate_end": 1e-5, "learning_rate_power": 0.75},
    "discriminator": {"discriminator_learning_rate": 3e-5},
    "decaying": {"weight_decay": 0.01},
    "mirrored together": {"flip_whole_batches": True},
    "augmented": {"augmentation": "larsen2016"},
}


def test_every_option_of_training_moves_the_weights(tmp_path: Path, whole: Callable[[str], dict[str, Any]]) -> None:
    ends = [whole("vaegan")["tensors"]]
    for name, training in OPTIONS.items():
        go(tmp_path / name, config=configure(**training))
        ends.append(state(tmp_path / name)["tensors"])
        assert all(ends[-1] != other for other in ends[:-1]), name


def test_with_every_option_a_stopped_run_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    config = configure(**{key: value for training in OPTIONS.values() for key, value in training.items()})
    go(tmp_path / "whole", config=config)
    for _ in range(STEPS):
        go(tmp_path / "parts", config=config, stop=stop_after(1))
    assert read_progress(RunFolder(tmp_path / "parts").checkpoint_path) is not None
    assert state(tmp_path / "parts") == state(tmp_path / "whole")


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, whole: Callable[[str], dict[str, Any]]
) -> None:
    with pytest.raises(Killed):
        go(tmp_path, watch=Watch({5: kill}))
    assert not RunFolder(tmp_path).checkpoint_path.exists()
    assert RunFolder(tmp_path).curve_path.read_text().count("\n") == 1
    go(tmp_path)
    assert state(tmp_path) == whole("vaegan")


def test_a_row_that_was_cut_in_half_is_dropped(tmp_path: Path, whole: Callable[[str], dict[str, Any]]) -> None:
    go(tmp_path, stop=stop_after(4))
    with RunFolder(tmp_path).curve_path.open("a") as file:
        file.write('{"images_seen": 9')
    go(tmp_path)
    assert state(tmp_path) == whole("vaegan")


def test_a_finished_run_is_not_trained_again(tmp_path: Path, whole: Callable[[str], dict[str, Any]]) -> None:
    go(tmp_path)
    watch = Watch()
    outcome = go(tmp_path, watch=watch)
    assert (outcome.status, outcome.progress.images_seen) == ("finished", STEPS * BATCH)
    assert watch.seen == []
    assert state(tmp_path) == whole("vaegan")


def test_a_budget_is_met_with_whole_batches(tmp_path: Path) -> None:
    assert go(tmp_path, config=configure(images=3 * BATCH - 1)).progress.images_seen == 3 * BATCH
    assert go(tmp_path / "one", config=configure(images=1)).progress.images_seen == BATCH


def test_time_is_summed_over_the_parts(tmp_path: Path) -> None:
    times = [go(tmp_path, stop=stop_after(2)).progress.train_s for _ in range(3)]
    assert 0 < times[0] < times[1] < times[2]


def test_rows_of_the_curve_are_the_means_of_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Gradients] = []
    gradients = VaeGan.gradients

    def record(model: VaeGan, batch: Batch) -> Gradients:
        steps.append(gradients(model, batch))
        return steps[-1]

    monkeypatch.setattr(VaeGan, "gradients", record)
    watch = Watch()
    go(tmp_path, watch=watch)
    rows = [json.loads(line) for line in RunFolder(tmp_path).curve_path.read_text().splitlines()]
    assert rows == watch.rows
    assert [row["images_seen"] for row in rows] == [BATCH * n for n in (3, 6, 9, 10)]
    for row, window in zip(rows, [steps[0:3], steps[3:6], steps[6:9], steps[9:]], strict=True):
        for name in ("kl", "like", "gan.real", "gan.fake"):
            assert row[name] == pytest.approx(sum(float(g.log[name]) for g in window) / len(window)), name
        opened = sum(float(g.gates["discriminator"]) for g in window) / len(window)
        assert row["moved.discriminator"] == pytest.approx(opened)


def test_checkpoints_are_written_when_they_are_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda *args: saved.append(args[3].images_seen))
    go(tmp_path)
    assert saved == [STEPS * BATCH]
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    saved.clear()
    go(tmp_path)
    assert saved == [BATCH * n for n in range(STEPS + 1)]


@pytest.mark.parametrize(("kind", "start"), [("vaegan", 0), ("vae-dis-l", 5)])
def test_the_weight_is_measured_once_when_the_similarity_begins_to_count(
    kind: str, start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[list[int]] = []

    def record(model: Model, similarity: Any, batches: list[Batch]) -> float:
        measured.append([batch.images_seen for batch in batches])
        return measure_weight(model, similarity, batches)

    monkeypatch.setattr(loop, "measure_weight", record)
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    with pytest.raises(Killed):
        go(tmp_path, kind, watch=Watch({8: kill}))
    go(tmp_path, kind)
    assert measured == [[start * BATCH, (start + 1) * BATCH]]


def test_a_weight_that_is_given_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "measure_weight", lambda *_: pytest.fail("measured"))
    go(tmp_path, config=configure(similarity_weight=2.0))
    assert float(load_file(RunFolder(tmp_path).checkpoint_path)["model/similarity.weight"]) == 2.0


BROKEN = {"loss": "gradient of encoder is not finite", "log": "kl is inf", "gradient": "gradient of decoder is not"}


@pytest.mark.parametrize("breaks", BROKEN)
def test_a_run_that_diverges_says_so_and_keeps_its_last_good_checkpoint(
    breaks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    monkeypatch.setattr(Fragile, "breaks", breaks)
    outcome = go(tmp_path, "fragile")
    assert (outcome.status, outcome.progress.images_seen) == ("diverged", 3 * BATCH)
    assert outcome.reason is not None
    assert BROKEN[breaks] in outcome.reason
    assert outcome.reason.endswith(f"after {3 * BATCH} images")
    tensors = load_file(RunFolder(tmp_path).checkpoint_path)
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    monkeypatch.setattr(loop, "SAVE_S", math.inf)
    before = RunFolder(tmp_path).checkpoint_path.read_bytes()
    assert go(tmp_path, "fragile").reason == outcome.reason
    assert RunFolder(tmp_path).checkpoint_path.read_bytes() == before


@pytest.mark.parametrize("save_s", [0.0, math.inf])
def test_the_curve_holds_what_led_up_to_a_divergence_and_holds_it_once(
    save_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_S", save_s)
    monkeypatch.setattr(engines, "LOG_STEPS", 2)
    for _ in range(2):  # the second goes on from the checkpoint, where there is one
        watch = Watch()
        assert go(tmp_path, "fragile", watch=watch).status == "diverged"
        rows = [json.loads(line) for line in RunFolder(tmp_path).curve_path.read_text().splitlines()]
        assert [row["images_seen"] for row in rows] == [2 * BATCH, 3 * BATCH]
        assert watch.rows[-1] == rows[-1]
        assert rows[-1]["kl"] != rows[0]["kl"]


def test_a_run_that_diverges_before_its_first_checkpoint_leaves_none(tmp_path: Path) -> None:
    outcome = go(tmp_path, config=configure(similarity_weight=1e38))
    assert (outcome.status, outcome.reason) == ("diverged", "like is inf after 0 images")
    assert not RunFolder(tmp_path).checkpoint_path.exists()
    assert RunFolder(tmp_path).curve_path.read_text() == ""


def test_a_checkpoint_of_another_configuration_is_refused_and_kept(tmp_path: Path) -> None:
    go(tmp_path)
    before = state(tmp_path)
    with pytest.raises(GenbenchError, match="of another configuration"):
        go(tmp_path, config=CONFIG.model_copy(update={"seed": 1}))
    assert state(tmp_path) == before
