"""The pictures of real runs in a report: of the same images for all models, and exactly what each run gives."""

import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import Bench as Store
from leaderboards import make_record
from PIL import Image
from torch import Tensor

import genbench_vae
from genbench.cli import main
from genbench.data.packed import PackedDataset
from genbench.errors import GenbenchError
from genbench.exchange import record_line
from genbench.finished import Bench, Opened, read_run, reopen
from genbench.images import to_uint8
from genbench.plugins import Plugins
from genbench.report import gathering, portraits
from genbench.report.content import Group, Kind, Picture, Report, RunContent
from genbench.report.exhibits import choose_exhibits, spread, telling
from genbench.report.gathering import LOOKED_AT, Cover, gather, read_boards
from genbench.report.portraits import exhibitions
from genbench.store import RunFolder
from genbench.train.checkpoint import load_weights

SIZE = 16


@dataclass(frozen=True)
class Runs:
    """Finished runs on the discs of `bench`: three VAEs and a GAN."""

    store: Store
    bench: Bench
    folders: dict[str, RunFolder]

    def report(self, places: Sequence[Path], attributes: Sequence[str] = (), plugins: Plugins | None = None) -> Report:
        boards, problems = read_boards(places)
        looking = exhibitions(plugins or self.store.plugins, self.bench, boards, attributes)
        return gather(boards, looking, Cover("title", "made now", tuple(problems)), lambda _: None)

    def group(self, *names: str, attributes: Sequence[str] = (), plugins: Plugins | None = None) -> Group:
        (group,) = self.report([self.folders[name].path for name in names], attributes, plugins).groups
        return group

    def open(self, name: str) -> Opened:
        return reopen(self.store.plugins, read_run(self.folders[name]), self.bench)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder)
    configs = {
        "vae0": store.config(seed=0),
        "vae1": store.config(seed=1),
        "l1": store.config(similarity="l1"),
        "gan": store.config("gan", evaluators=()),
    }
    folders = {}
    for name, config in configs.items():
        store.finish(config)
        folders[name] = store.folder(config)
    yield Runs(store, Bench(torch.device("cpu"), folder / "cache"), folders)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def everything(runs: Runs) -> Group:
    """Return all runs with all their pictures, drawings included."""
    return runs.group(*runs.folders)


@pytest.fixture(autouse=True)
def quick(everything: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing from here on: drawings have tests of their own, and take most of the time."""
    drawing = b'<svg width="6pt" height="3pt"/>'
    monkeypatch.setattr(gathering, "draw_curves", lambda *_, **__: drawing)
    monkeypatch.setattr(portraits, "draw_latents", lambda *_, **__: drawing)


def found(group: Group, label: str, seed: int = 0) -> RunContent:
    (run,) = (run for run in group.runs if (run.label, run.seed) == (label, seed))
    return run


def pixels(picture: Picture) -> Tensor:
    """Return a picture's images, uint8 (rows, columns, C, H, W)."""
    assert picture.media == "image/webp"
    image = Image.open(io.BytesIO(picture.content)).convert("RGB")
    assert image.size == (picture.width, picture.height)
    array = torch.from_numpy(np.array(image))
    rows, columns = picture.height // SIZE, picture.width // SIZE
    return array.reshape(rows, SIZE, columns, SIZE, 3).permute(0, 2, 4, 1, 3)


def first_of_test(data: PackedDataset, count: int) -> Tensor:
    return torch.from_numpy(data.images[data.splits == 2][:count]).permute(0, 3, 1, 2)


def test_pictures_are_what_the_run_gives_pixel_for_pixel(runs: Runs, everything: Group) -> None:
    run = found(everything, "vae · mse")
    opened = runs.open("vae0")
    assert not run.missing
    samples = pixels(run.pictures["samples"])
    assert samples.shape[:2] == (8, 8)
    assert torch.equal(samples.flatten(0, 1), torch.cat(list(opened.context.samples(64))))
    fake = to_uint8(next(iter(opened.context.reconstructions("test")))[1])
    assert torch.equal(pixels(run.pictures["reconstructions"])[0], fake[:16])


def test_all_models_are_shown_the_same_images(runs: Runs, everything: Group) -> None:
    encoding = everything.runs[1:]
    assert [(run.label, run.seed) for run in encoding] == [("vae · l1", 0), ("vae · mse", 0), ("vae · mse", 1)]
    data = runs.open("l1").data
    assert everything.originals is not None
    assert torch.equal(pixels(everything.originals)[0], first_of_test(data, 16))
    for run in encoding:
        edits = pixels(run.pictures["edits"])
        assert torch.equal(edits[:, 0], first_of_test(data, 4))
        assert torch.equal(edits[:, 1], pixels(run.pictures["reconstructions"])[0, :4])
        assert edits.shape[1] == 2 + len(everything.attributes)


def test_an_edit_adds_the_difference_of_mean_latents(runs: Runs, everything: Group) -> None:
    assert everything.attributes == ("large",)
    opened = runs.open("vae0")
    train = opened.data.splits == 0
    large = opened.data.attributes[train][:, 0] == 1  # type: ignore[index]
    latents = opened.context.latents("train").double().numpy()
    vector = latents[large].mean(0) - latents[~large].mean(0)
    moved = opened.context.latents("test")[:4].double() + torch.from_numpy(vector)
    expected = to_uint8(opened.context.decode(moved.float()))
    shown = pixels(found(everything, "vae · mse").pictures["edits"])[:, 2]
    assert (shown.int() - expected.int()).abs().max() <= 1  # sums in another order
    assert any("all 60 of them" in note for note in everything.notes)


def test_drawings_are_of_the_run(runs: Runs, everything: Group) -> None:
    run = found(everything, "vae · mse", 1)
    kl = runs.open("vae1").context.posteriors("test").kl().mean().item()
    assert run.pictures["latents"].alt.endswith(f"{kl:.3g} nats an image")
    for kind in ("latents", "curves"):
        picture = run.pictures[kind]
        assert picture.media == "image/svg+xml"
        assert picture.width == 640
        assert "vae · mse, seed 1" in picture.alt


def test_a_model_without_an_encoder_has_samples_and_reasons(everything: Group) -> None:
    gan = found(everything, "gan")
    assert set(gan.pictures) == {"samples", "curves"}
    assert gan.missing == dict.fromkeys(("reconstructions", "edits", "latents"), "Gan has no encoder")


def test_a_data_set_without_attributes_is_not_edited(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        portraits, "choose_exhibits", lambda data, _: choose_exhibits(replace(data, attributes=None), ())
    )
    (run,) = runs.group("vae0").runs
    assert run.missing == {"edits": "data set `blobs` has no attributes"}


def only(report: Report) -> RunContent:
    ((run,),) = (group.runs for group in report.groups)
    return run


def copied(runs: Runs, name: str, to: Path) -> RunFolder:
    shutil.copytree(runs.folders[name].path, to)
    return RunFolder(to)


def test_weights_that_were_not_scored_are_not_shown(runs: Runs, tmp_path: Path) -> None:
    folder = copied(runs, "vae0", tmp_path / "a")
    shutil.copy(runs.folders["vae1"].checkpoint_path, folder.checkpoint_path)
    run = only(runs.report([tmp_path / "a"]))
    assert set(run.pictures) == {"curves"}
    assert set(run.missing) == set(LOOKED_AT)
    assert all(str(tmp_path) not in reason for reason in run.missing.values())
    whole = runs.report([tmp_path / "a", runs.folders["l1"].path]).groups[0].runs
    assert [sorted(each.pictures) for each in whole] == [sorted([*LOOKED_AT, "curves"]), ["curves"]]


def test_a_plugin_that_is_missing_takes_the_pictures_of_its_runs_alone(runs: Runs) -> None:
    import genbench_gan
    import genbench_similarities

    no_vae = Plugins.of(runs.store.extras, genbench_gan, genbench_similarities)
    gan, vae = runs.group("gan", "vae0", plugins=no_vae).runs
    assert "samples" in gan.pictures
    assert "unknown model `vae`" in vae.missing["samples"]
    no_data = Plugins.of(genbench_vae, genbench_similarities)
    group = runs.group("vae0", "vae1", plugins=no_data)
    for run in group.runs:
        assert set(run.pictures) == {"samples", "curves"}
        assert "unknown dataset `blobs`" in run.missing["edits"]
    assert group.originals is None


def test_one_run_that_breaks_does_not_stop_the_page(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, model: object, key: str) -> object:
        if path == runs.folders["vae0"].checkpoint_path:
            raise RuntimeError("no luck\nat all")
        return load_weights(path, model, key)  # type: ignore[arg-type]

    monkeypatch.setattr("genbench.finished.load_weights", broken)
    bad, good = runs.group("vae0", "vae1").runs
    assert bad.missing == dict.fromkeys(LOOKED_AT, "RuntimeError: no luck")
    assert not good.missing


def test_one_picture_that_breaks_leaves_the_others(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Picture:
        raise SystemExit(3)

    monkeypatch.setattr(portraits, "_edits", broken)
    (run,) = runs.group("vae0").runs
    assert set(run.missing) == {"edits"}


def test_a_diverged_run_keeps_its_curve(runs: Runs, tmp_path: Path) -> None:
    store = runs.store
    config = store.config(seed=9)
    record = make_record("vae", "mse", 9, {}, status="diverged", reason="loss is nan", size=16, dataset="blobs")
    folder = RunFolder(tmp_path / "a")
    shutil.copytree(runs.folders["vae0"].path, folder.path)
    folder.record_path.write_text(record_line(record.model_copy(update={"config_hash": config.hash()})))
    run = only(runs.report([folder.path]))
    assert set(run.pictures) == {"curves"}
    assert run.missing["samples"] == "diverged: loss is nan"


def test_attributes_that_are_asked_for_are_checked(runs: Runs) -> None:
    assert runs.group("vae0", attributes=["large"]).attributes == ("large",)
    with pytest.raises(GenbenchError, match="unknown attribute `larg`") as caught:
        runs.group("vae0", attributes=["larg"])
    assert "did you mean `large`?" in str(caught.value.hint)


def test_large_pictures_are_made_smaller(runs: Runs, everything: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits, "MOST_BYTES", 1)
    monkeypatch.setattr(portraits, "LARGEST", SIZE // 2)
    group = runs.group("vae0")
    before, after = found(everything, "vae · mse").pictures, group.runs[0].pictures
    kinds: tuple[Kind, ...] = ("samples", "reconstructions", "edits")
    for kind in kinds:
        assert (after[kind].width * 2, after[kind].height * 2) == (before[kind].width, before[kind].height)
        assert b"VP8 " in after[kind].content[:40]
        assert b"VP8L" in before[kind].content[:40]
    assert any("8 of their 16 pixels" in note for note in group.notes)


def data_of(images: np.ndarray, labels: np.ndarray, splits: np.ndarray) -> PackedDataset:
    names = tuple(f"a{n}" for n in range(labels.shape[1]))
    return PackedDataset("d", images.shape[1], 1, "f", images, splits, labels.astype(np.uint8), names)


def test_attributes_are_chosen_by_what_they_show_beside_each_other() -> None:
    rng = np.random.default_rng(0)
    count = 400
    labels = rng.random((count, 5)) < [0.5, 0.5, 0.5, 0.03, 0.005]
    labels[:, 1] = labels[:, 0] ^ (rng.random(count) < 0.02)  # nearly the same as the first
    images = rng.normal(100, 5, (count, 8, 8, 1))
    images[:, :4] += 60 * labels[:, 0, None, None, None]  # the upper half
    images[:, 4:, :4] += 30 * labels[:, 2, None, None, None]  # a quarter
    images[labels[:, 4]] = 255  # shows most, and is too rare
    data = data_of(images.clip(0, 255).astype(np.uint8), labels, np.zeros(count, np.uint8))
    assert choose_exhibits(data, ()).attributes[:2] == ("a0", "a2")
    assert "a4" not in choose_exhibits(data, ()).attributes
    few = choose_exhibits(data, ["a3", "a9", "a1", "a3"])
    assert few.attributes == ("a3", "a1")
    assert set(few.lacking) == {"a9"}


def test_chance_does_not_make_an_attribute_show() -> None:
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.normal(size=(500, 64)))
    labels = torch.from_numpy(rng.random((500, 2)) < [0.02, 0.5]).double()
    images[labels[:, 1] == 1, 0] += 1.0  # a small true difference, less than what so few images give by chance
    assert telling(images, labels, 1) == [1]


def test_labels_that_all_have_or_none_has_are_not_edited() -> None:
    labels = np.stack([np.ones(10), np.zeros(10), np.arange(10) % 2], 1)
    images = np.zeros((10, 4, 4, 1), np.uint8)
    splits = np.repeat([0, 2], 5).astype(np.uint8)
    data = data_of(images, labels, splits)
    assert choose_exhibits(data, ()).attributes == ("a2",)
    assert choose_exhibits(data, ["a0", "a2"]).lacking == {"a0": "each of the 5 latents has it"}
    bare = PackedDataset("d", 4, 1, "f", images, splits)
    assert choose_exhibits(bare, ()).attributes == ()


def test_images_are_taken_from_all_of_a_set() -> None:
    places = np.arange(100, 1100)
    assert spread(places, 2000) is places
    some = spread(places, 11)
    assert (some[0], some[-1], len(set(some))) == (100, 1099, 11)
    assert set(np.diff(some)) <= {99, 100, 101}


@pytest.mark.slow
def test_the_command_shows_what_a_run_on_digits_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("GENBENCH_RUNS", "GENBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    tiny = [
        "--size",
        "16",
        "-s",
        "network.encoder_hidden=64",
        "--width",
        "0.05",
        "--images",
        "64",
        "--batch-size",
        "8",
        "-s",
        "network.latent_size=4",
    ]
    common = [*tiny, "--device", "cpu", "--threads", "1", "--evaluators", "none"]
    for model in ("vae", "gan"):
        assert main(["run", model, "digits", *common]) == 0
    capsys.readouterr()
    assert main(["report", "--threads", "1", "--device", "cpu", "--where", "model=vae"]) == 0
    out, err = capsys.readouterr()
    torch.set_num_threads(threads)
    assert out.startswith("report.html: ")
    assert err.splitlines()[-1] == "1 of 1: vae · mse, seed 0"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") == 4, "originals, samples, reconstructions and edits"
