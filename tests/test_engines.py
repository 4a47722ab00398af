"""Whatever executes the steps, the weights are the same; recording is played by a stand-in where there is no GPU."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from torch import Tensor

from genbench import GenbenchError
from genbench.config import NetworkConfig, TrainingConfig
from genbench.data.batches import Batches, Resident, Streamed, order_of
from genbench.interfaces import Batch, Gradients, Model
from genbench.networks import Blueprint
from genbench.train.engine import Engine, Trainer
from genbench.train.engines import CompiledEngine, build_engine
from genbench.train.graph import WARM_UP, GraphEngine, WouldWait
from genbench.train.ledger import Ledger
from genbench.train.optimisers import build_optimisers
from genbench.train.sharing import Share
from genbench.train.weighting import WeightedSimilarity
from genbench_similarities.elementwise import DisL
from genbench_similarities.settings import DisLSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeDisLSettings, VaeGanSettings
from genbench_vaegan.vae_dis_l import VaeDisL

CPU = torch.device("cpu")
BATCH, STEPS = 8, 12
PLAIN = TrainingConfig(images=STEPS * BATCH, batch_size=BATCH, flip=True)
FULL = TrainingConfig(
    images=STEPS * BATCH,
    batch_size=BATCH,
    learning_rate_end=0.0,
    discriminator_learning_rate=1e-4,
    weight_decay=0.01,
    flip=True,
    flip_whole_batches=True,
    augmentation="larsen2016",
)


class Recorder:
    """Records by keeping the work, and replays by doing it: like a graph, it sees only what its tensors hold then."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waits = False
        self.breaks = False

    def aside(self, work: Callable[[], None]) -> None:
        self.told.append("aside")
        work()

    def aside_without_waiting(self, work: Callable[[], None]) -> None:
        self.told.append("without waiting")
        if self.waits:
            raise WouldWait("it reads a tensor's value")
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.told.append("record")
        if self.breaks:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        torch.rand(7)  # recording disturbs the generator

        def replay() -> None:
            self.told.append("replay")
            work()

        return replay


def batches(streamed: bool = False, training: TrainingConfig = PLAIN) -> Batches:
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)
    order = order_of(30, training, 3)
    if streamed:
        return Streamed(order, BATCH, Share(), images, None, np.arange(30), CPU)
    return Resident(order, BATCH, Share(), torch.from_numpy(images), None)


def trainer(
    kind: str = "vaegan",
    streamed: bool = False,
    model: type[VaeGan] = VaeGan,
    network: str = "conv",
    training: TrainingConfig = PLAIN,
) -> Trainer:
    small = NetworkConfig(kind=network, width=0.05, latent_size=4, encoder_hidden=64)  # type: ignore[arg-type]
    plan = Blueprint(3, 16, small, STEPS * BATCH, 3, similarity=WeightedSimilarity(DisL(DisLSettings()), 0.5))
    built: Model = (
        VaeDisL(plan, VaeDisLSettings(discriminator_share=0.5))
        if kind == "vae-dis-l"
        else model(plan, VaeGanSettings(margin=0.01))  # most steps are gated
    )
    built.train().to(memory_format=torch.channels_last)
    optimisers = build_optimisers(built, training)
    return Trainer(built, batches(streamed, training), optimisers, Ledger(CPU), "float32", 3)


def run(engine: Engine, steps: int = STEPS) -> dict[str, Tensor]:
    for number in range(steps):
        engine.step(number * BATCH)
    return {name: value.clone() for name, value in engine.trainer.model.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("kind", "training"), [("vaegan", PLAIN), ("vae-dis-l", PLAIN), ("vaegan", FULL)])
def test_replayed_steps_end_with_the_weights_of_eager_ones(kind: str, training: TrainingConfig, streamed: bool) -> None:
    recorder = Recorder()
    replayed, eager = (trainer(kind, streamed, training=training) for _ in range(2))
    assert same(run(GraphEngine(replayed, 50, recorder)), run(Engine(eager, 50)))
    assert replayed.ledger.read() == eager.ledger.read()
    phase = ["aside"] * (WARM_UP - 1) + ["without waiting", "record"]
    if kind == "vaegan":
        assert recorder.told == phase + ["replay"] * (STEPS - WARM_UP)
    else:  # each of its two parts is recorded
        assert recorder.told == (phase + ["replay"] * (STEPS // 2 - WARM_UP)) * 2


def test_a_step_that_would_make_the_host_wait_goes_on_eagerly_and_says_why() -> None:
    recorder = Recorder()
    recorder.waits = True
    engine = GraphEngine(trainer(), 50, recorder)
    assert same(run(engine), run(Engine(trainer(), 50)))
    assert "record" not in recorder.told
    assert (engine.name, engine.fallback) == ("eager", "the step can't be captured: it reads a tensor's value")


def test_running_statistics_are_put_back_where_a_rehearsal_broke_off() -> None:
    class Reads(VaeGan):
        """Passes through its networks, and then reads a value."""

        rehearsing = False

        def gradients(self, batch: Batch) -> Gradients:
            found = super().gradients(batch)
            if self.rehearsing:
                raise WouldWait("it reads a tensor's value")
            return found

    class Strict(Recorder):
        def aside_without_waiting(self, work: Callable[[], None]) -> None:
            model.rehearsing = True
            try:
                work()
            finally:
                model.rehearsing = False

    reading = trainer(model=Reads)
    model = reading.model
    assert isinstance(model, Reads)
    assert same(run(GraphEngine(reading, 50, Strict())), run(Engine(trainer(), 50)))


def test_a_recording_that_fails_ends_the_run_with_what_to_do() -> None:
    recorder = Recorder()
    recorder.breaks = True
    with pytest.raises(GenbenchError, match=r"not permitted when stream is capturing$") as caught:
        run(GraphEngine(trainer(), 50, recorder))
    assert caught.value.hint == "--engine eager goes on from the last checkpoint"


def test_graphs_need_cuda_and_auto_does_without() -> None:
    with pytest.raises(
        GenbenchError, match="--engine graph can't be used: CUDA graphs need a CUDA device, this is cpu"
    ):
        build_engine("graph", trainer(), CPU)
    for asked in ("auto", "eager"):
        engine = build_engine(asked, trainer(), CPU)
        assert (engine.name, engine.fallback) == ("eager", None)


class Silent(VaeGan):
    """Does not say that its steps are alike."""

    def phase(self, images_seen: int) -> None:  # type: ignore[override]
        return None


@pytest.mark.parametrize(
    ("model", "share", "reason"),
    [
        (Silent, Share(), r"Silent does not say that its steps are alike \(`phase`\)"),
        (VaeGan, Share(0, 2), "several processes train together"),
    ],
)
def test_on_cuda_auto_says_why_it_captures_nothing(model: type[VaeGan], share: Share, reason: str) -> None:
    asked = trainer(model=model)
    asked = replace(asked, batches=replace(asked.batches, share=share))
    engine = build_engine("auto", asked, torch.device("cuda"))
    assert engine.name == "eager"
    assert engine.fallback is not None
    with pytest.raises(GenbenchError, match=reason):
        build_engine("graph", asked, torch.device("cuda"))


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None and which("clang++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_networks_end_with_nearly_the_weights_of_eager_ones() -> None:
    compiled = CompiledEngine(trainer(network="mlp"), 50)  # which compile much faster
    first, second = run(compiled, 2), run(Engine(trainer(network="mlp"), 50), 2)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-3, atol=2e-3, msg=name)
    assert all(network._compiled_call_impl is None for network in compiled.trainer.model.networks.values())


def test_a_network_that_can_not_be_compiled_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = CompiledEngine(trainer(), 50)

    def fail(*_: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("no compiler\nsee the log")

    monkeypatch.setattr(Engine, "step", fail)
    with pytest.raises(GenbenchError, match=r"torch can't compile the networks: no compiler$"):
        engine.step(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("precision", "training"), [("float32", PLAIN), ("bfloat16", PLAIN), ("float32", FULL)])
def test_on_a_gpu_replayed_steps_are_the_eager_ones(precision: str, training: TrainingConfig, tmp_path: Path) -> None:
    device = torch.device("cuda")

    def on_gpu() -> Trainer:
        there = trainer(training=training)
        there.model.to(device)
        images = there.batches.images.to(device)  # type: ignore[attr-defined]
        return Trainer(
            there.model,
            replace(there.batches, images=images),  # type: ignore[call-arg]
            build_optimisers(there.model, training),
            Ledger(device),
            precision,  # type: ignore[arg-type]
            3,
        )

    engine = build_engine("graph", on_gpu(), device)
    one, two = run(engine), run(build_engine("eager", on_gpu(), device))
    assert engine.fallback is None
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-3, atol=2e-3, msg=name)
