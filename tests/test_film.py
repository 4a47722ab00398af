"""The film of a training: it moves no weight, is the same however often the run was stopped, and never stops one."""

import io
from collections.abc import Callable
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import BATCH, STEPS, Bench, Watch, stop_after
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from genbench import GenbenchError
from genbench.cli import main
from genbench.config import RunConfig
from genbench.errors import NotApplicable
from genbench.finished import Bench as On
from genbench.finished import read_run, reopen
from genbench.images import grid_png, to_float, to_uint8
from genbench.interfaces import Batch, Losses, Model, Posterior
from genbench.report.film import HOLD_S, Frame, animate, compose, read_frames
from genbench.store import RunFolder, write_config
from genbench.train.film import FRAMES, Film, columns, frame_path
from genbench_vae.model import Vae

ALL = [f"{step * BATCH:012d}.png" for step in range(STEPS + 1)]
"""Frames of so short a run: one after each step, for more milestones than steps."""


class Painter(Model):
    """Decodes latents to their mean in grey, and encodes to twice what it is shown; counts how often it decodes."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.networks = nn.ModuleDict({"decoder": nn.Linear(1, 1)})
        self.drop = nn.Dropout(0.5)
        self.decoded = 0

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def encode(self, batch: Batch) -> Posterior:
        mean = 2 * batch.images.mean((1, 2, 3)).unsqueeze(1).expand(-1, 4)
        return Posterior(mean, torch.full_like(mean, 50.0))  # what is drawn from it would be far from its mean

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        self.decoded += 1
        return self.drop(latents).mean(1)[:, None, None, None].expand(-1, 3, 16, 16)


class WithoutEncoder(Painter):
    def encode(self, batch: Batch) -> Posterior:
        raise NotApplicable("no encoder")


class Failing(Painter):
    error: Exception = RuntimeError("can't be shown")

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        self.decoded += 1
        raise self.error


class Crooked(Painter):
    """Decodes to fewer channels than images have."""

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents)[:, :1]


def config_of(images: int, batch_size: int) -> RunConfig:
    return RunConfig.model_validate(
        {
            "model": {"name": "any"},
            "similarity": None,
            "dataset": {"name": "any", "size": 16},
            "network": {"latent_size": 4},
            "training": {"images": images, "batch_size": batch_size},
            "evaluation": {},
        }
    )


def shown(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.film_path.iterdir())}


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Film]:
    """Return what makes a film of a model in training, in a folder of its own; `words` is what it says."""

    def build(model: Model, images: int = 800, batch_size: int = 8) -> Film:
        real = torch.arange(8, dtype=torch.uint8).mul(30)[:, None, None, None].expand(-1, 3, 16, 16)
        words: list[str] = []
        made = Film(model.train(), real, config_of(images, batch_size), RunFolder(tmp_path), words.append)
        made.words = words  # type: ignore[attr-defined]
        return made

    return build


@pytest.mark.parametrize("model", ["vaegan", "gan"])
def test_it_changes_no_weight(model: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.config(model, evaluators=())
    bench.finish(config)
    filmed, folder = load_file(bench.folder(config).checkpoint_path), bench.folder(config)
    assert list(shown(folder)) == ALL
    curve = folder.curve_path.read_text()
    folder.path.rename(folder.path.with_name("filmed"))
    monkeypatch.setattr("genbench.pipeline.load_film", lambda *_: None)
    bench.finish(config)
    assert not folder.film_path.exists()
    assert folder.curve_path.read_text() == curve
    plain = load_file(folder.checkpoint_path)
    assert plain.keys() == filmed.keys()
    assert all(torch.equal(plain[name], filmed[name]) for name in plain)  # optimisers and running means included


def test_a_run_that_was_stopped_has_the_same_film(bench: Bench) -> None:
    config = bench.config("vae", evaluators=())
    bench.finish(config)
    folder = bench.folder(config)
    whole = shown(folder)
    assert len(set(whole.values())) == len(ALL)  # what is learned shows
    folder.path.rename(folder.path.with_name("whole"))
    for steps in (2, 3):
        assert bench.run(config, stop=stop_after(steps)) is None
    bench.finish(config)
    assert shown(folder) == whole


def test_its_rows_are_samples_images_and_what_is_made_of_them(bench: Bench) -> None:
    config = bench.config("vaegan", evaluators=())
    bench.finish(config)
    folder = bench.folder(config)
    content = shown(folder)[ALL[-1]]
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (columns(16) * 16, 3 * 16)
    it = reopen(bench.plugins, read_run(folder), On(torch.device("cpu"), bench.around.cache))
    real = torch.cat(list(it.context.real("validation")))[: columns(16)]
    made = to_uint8(it.context.decode(it.context.encode(real).mean))
    (frame,) = read_frames(folder, 16)[-1:]
    assert frame.images_seen == STEPS * BATCH
    assert torch.equal(frame.rows[1], real)
    # Training computes on other memory layouts than evaluation does, which may round a pixel elsewhere.
    assert (frame.rows[2].int() - made.int()).abs().max() <= 1
    assert frame.rows[0].float().std() > 0


def test_a_gan_has_a_row_of_samples_alone(bench: Bench) -> None:
    config = bench.config("gan", evaluators=())
    bench.finish(config)
    assert [frame.rows.shape for frame in read_frames(bench.folder(config), 16)] == [(1, 8, 3, 16, 16)] * len(ALL)


def test_what_can_not_be_shown_does_not_stop_training(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Vae.decode

    def decode(self: Vae, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        if not self.training and len(latents) == columns(16):
            raise RuntimeError("can't be shown")
        return original(self, latents, attributes)

    monkeypatch.setattr(Vae, "decode", decode)
    config, watch = bench.config("vae", evaluators=()), Watch()
    assert bench.finish(config, watch).status == "ok"
    notes = [word for word in watch.words if "film" in word]
    assert notes == ["note: no film of the training: RuntimeError: can't be shown"]
    assert not bench.folder(config).film_path.exists()
    assert watch.steps[-1] == STEPS * BATCH


@pytest.mark.parametrize(("images", "batch_size"), [(100_000, 64), (1000, 7), (5, 8), (24**2, 2)])
def test_frames_are_taken_at_the_first_step_past_each_milestone(
    images: int, batch_size: int, film: Callable[..., Film]
) -> None:
    made = film(WithoutEncoder(), images, batch_size)
    steps = ceil(images / batch_size)
    for step in range(steps + 1):
        made.take_due(step * batch_size)
    milestones = [round(images * number**2 / FRAMES**2) for number in range(FRAMES + 1)]
    expected = sorted({ceil(milestone / batch_size) * batch_size for milestone in milestones})
    assert list(shown(made.folder)) == [f"{seen:012d}.png" for seen in expected]
    assert expected[0] == 0
    assert expected[-1] == steps * batch_size


def test_frames_are_of_the_mean_in_eval_mode_with_the_same_noise_each_time(film: Callable[..., Film]) -> None:
    model = Painter()
    made = film(model)
    before = torch.get_rng_state()
    for seen in (0, 800):
        made.take_due(seen)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())
    first, last = read_frames(made.folder, 16)
    assert torch.equal(first.rows, last.rows)  # no dropout, and no new noise
    assert torch.equal(first.rows[1], made.real)
    expected = to_uint8((2 * to_float(made.real)).clamp(-1, 1))
    assert (first.rows[2].int() - expected.int()).abs().max() <= 1  # means are rounded


@pytest.mark.parametrize("model", [Failing(), Crooked()], ids=["failing", "crooked"])
def test_a_film_that_fails_is_over(model: Painter, film: Callable[..., Film]) -> None:
    made = film(model)
    made.take_due(0)
    assert model.training
    tried = model.decoded
    made.take_due(800)
    assert model.decoded == tried
    (word,) = made.words  # type: ignore[attr-defined]
    assert word.startswith("note: no film of the training: RuntimeError: ")
    assert not made.folder.film_path.exists()


def test_no_memory_left_is_not_the_films_to_hide(film: Callable[..., Film]) -> None:
    model = Failing()
    model.error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        film(model).take_due(0)
    assert model.training


def frames(folder: RunFolder, count: int = 3, size: int = 8, rows: int = 3, channels: int = 3) -> None:
    """Leave frames in a run's folder, each of another grey; columns beside each other are two."""
    for number in range(count):
        grey = torch.full((2 * rows, channels, size, size), 40 * number, dtype=torch.uint8)
        folder.film_path.mkdir(parents=True, exist_ok=True)
        frame_path(folder, 100 * number).write_bytes(grid_png(grey, 2))
    write_config(folder, {"dataset": {"size": size}})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_film_is_read_as_it_was_taken(rows: int, channels: int, tmp_path: Path) -> None:
    frames(RunFolder(tmp_path), rows=rows, channels=channels)
    (tmp_path / "film" / "mine.png").write_bytes(b"not a frame")
    found = read_frames(RunFolder(tmp_path), 8)
    assert [frame.images_seen for frame in found] == [0, 100, 200]
    assert all(frame.rows.shape == (rows, 2, channels, 8, 8) for frame in found)
    assert [int(frame.rows.float().mean()) for frame in found] == [0, 40, 80]
    assert len({picture.size for picture in compose(found)}) == 1


def test_images_stay_where_they_are_when_frames_are_composed() -> None:
    rows = torch.randint(0, 256, (3, 2, 3, 8, 8), dtype=torch.uint8)
    (picture,) = compose([Frame(1, rows)])
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    shown = torch.cat([torch.cat(list(row), 2) for row in rows], 1).repeat_interleave(32, 1).repeat_interleave(32, 2)
    assert torch.equal(pixels[:, -3 * 256 :, -512:], shown)


def test_a_gif_has_each_frame_and_stays_on_the_last(tmp_path: Path) -> None:
    frames(RunFolder(tmp_path))
    film = animate(compose(read_frames(RunFolder(tmp_path), 8)), "gif", 5)
    with Image.open(io.BytesIO(film)) as picture:
        assert (picture.format, picture.n_frames) == ("GIF", 3)  # type: ignore[attr-defined]
        told = []
        for number in range(3):
            picture.seek(number)
            told.append(picture.info["duration"])
    assert told == [200, 200, 200 + 1000 * HOLD_S]


def test_the_command_makes_a_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames(RunFolder(tmp_path / "runs" / "toyfaces" / "vae-mse" / "s0-0"))
    output = tmp_path / "film.gif"
    assert main(["film", "vae", "--runs", str(tmp_path / "runs"), "-o", str(output)]) == 0  # of a run under way
    assert capsys.readouterr().out.splitlines() == ["3 frames, to 200 images", str(output)]
    assert output.read_bytes().startswith(b"GIF89a")
    content = output.read_bytes()
    assert main(["film", "vae", "--runs", str(tmp_path / "runs"), "-o", str(output)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["film", "vae", "--runs", str(tmp_path / "runs"), "-o", str(output), "--force"]) == 0
    assert output.read_bytes() == content
    assert main(["film", "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "film.avi")]) == 2
    assert "endings are .gif, .mp4" in capsys.readouterr().err
    for fps in ("nan", "0", "inf"):
        assert main(["film", "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "b.gif"), "--fps", fps]) == 2
    assert not (tmp_path / "b.gif").exists()


def test_a_run_without_a_film_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(RunFolder(tmp_path / "old"), {"dataset": {"size": 8}})
    assert main(["film", "old", "--runs", str(tmp_path), "-o", str(tmp_path / "film.gif")]) == 2
    told = capsys.readouterr().err
    assert f"error: {tmp_path / 'old'}: no film of its training" in told
    assert "older versions of genbench took none" in told
    assert not (tmp_path / "film.gif").exists()


def test_frames_of_something_else_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    frames(folder)
    with pytest.raises(GenbenchError, match="whose images have 7 px"):
        read_frames(folder, 7)
    with pytest.raises(GenbenchError, match="whose images have 1000000000000 px"):
        read_frames(folder, 10**12)
    frame_path(folder, 100).write_bytes(grid_png(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 2))  # one row, not three
    with pytest.raises(GenbenchError, match="frames that are not of this run"):
        read_frames(folder, 8)
    frame_path(folder, 100).write_bytes(frame_path(folder, 0).read_bytes()[:45])
    with pytest.raises(GenbenchError, match=r"000000000100\.png"):
        read_frames(folder, 8)


@pytest.mark.parametrize("text", ["", "[dataset]\nsize = 'x'\n", "[dataset]\nsize = 0\n", "dataset = 3\n", "= no toml"])
def test_a_configuration_that_tells_no_size_is_an_error(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(text)
    assert main(["film", str(tmp_path), "-o", str(tmp_path / "film.gif")]) == 2
    assert "config.toml" in capsys.readouterr().err
