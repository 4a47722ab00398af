"""A `genbenchfile.py` that changes while its author works on it: nothing that the old one computed stands in for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from desks import at_desk

from genbench.cli import main

FILE = """
import genbench
import numpy as np
from genbench.interfaces import Dataset, ImageSet
from torch.nn.functional import adaptive_avg_pool2d


class Squares(Dataset):
    def prepare(self, request):
        images = np.random.default_rng(SEED).integers(0, 256, (60, request.size, request.size, 1), np.uint8)
        return ImageSet(images, np.repeat([0, 2], 30).astype(np.uint8))


class Means:
    name, size, weights_hash, facts = "means", 4, "", {}

    def __init__(self, request):
        pass

    def __call__(self, images):
        return adaptive_avg_pool2d(images.float() / SCALE, 2).flatten(1)

    def warnings(self, side, channels):
        return ()


@genbench.hookimpl
def genbench_datasets():
    yield genbench.DatasetSpec("squares", "noise", "genbenchfile:Squares", channels=1)


@genbench.hookimpl
def genbench_extractors():
    yield genbench.ExtractorSpec("means", "means", "genbenchfile:Means")
"""
RUN = [
    *("run", "vae", "squares", "--size", "16", "--width", "0.05", "--images", "16", "--batch-size", "8"),
    *("-s", "network.latent_size=4", "-s", "network.encoder_hidden=64", "-s", "evaluation.samples=30"),
    *("--evaluators", "fd:means", "--device", "cpu", "--threads", "1", "--json"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path) -> Iterator[None]:
    with at_desk(tmp_path, tmp_path / "cache"):
        yield


def made(capsys: pytest.CaptureFixture[str], seed: int, **constants: int) -> tuple[str, float]:
    """Run with a file that has these constants, and return the data's fingerprint and the distance."""
    text = "\n".join(f"{name} = {value}" for name, value in constants.items())
    Path("genbenchfile.py").write_text(f"{text}\n{FILE}")
    assert main([*RUN, "--seed", str(seed)]) == 0
    record = json.loads(capsys.readouterr().out)
    (distance,) = [score["value"] for score in record["scores"] if score["name"] == "fd-means"]
    return record["data"]["fingerprint"], distance


def test_a_data_set_is_prepared_anew_and_features_are_taken_anew(capsys: pytest.CaptureFixture[str]) -> None:
    data, distance = made(capsys, 0, SEED=1, SCALE=1)
    other_data, _ = made(capsys, 1, SEED=2, SCALE=1)
    same_data, tenth = made(capsys, 2, SEED=1, SCALE=10)
    assert other_data != data
    assert same_data == data
    # Features of a tenth, of real and generated images alike: a hundredth of the squared distance, but for the seed.
    assert tenth == pytest.approx(distance / 100, rel=0.5)
    assert len(list(Path("cache/datasets").glob("squares-*"))) == 3


def test_a_finished_run_says_that_the_file_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    made(capsys, 0, SEED=1, SCALE=1)
    assert main([*RUN, "--seed", "0"]) == 0
    assert "note: " not in capsys.readouterr().err
    Path("genbenchfile.py").write_text(f"SEED, SCALE = 2, 1\n{FILE}")
    assert main([*RUN, "--seed", "0"]) == 0
    told = capsys.readouterr().err
    assert "note: dataset `squares` was that of genbenchfile.py sha256-" in told
    assert "to train it anew, move runs/squares/vae-mse/" in told


def test_an_unchanged_file_is_not_prepared_again(capsys: pytest.CaptureFixture[str]) -> None:
    made(capsys, 0, SEED=1, SCALE=1)
    made(capsys, 1, SEED=1, SCALE=1)
    assert len(list(Path("cache/datasets").glob("squares-*"))) == 1
