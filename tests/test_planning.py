"""Plans: which runs a suite comes to, what the store has of them, and how long the rest will take."""

from pathlib import Path

import pytest

from genbench.config import RunConfig
from genbench.errors import GenbenchError
from genbench.planning import Plan, only, plan
from genbench.plugins import Plugins
from genbench.records import Cost, DataFacts, Execution, Record, RunIdentity, Unscored
from genbench.store import RunFolder, folder_in, write_record
from genbench.suite import read_suite


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.load()


def planned(plugins: Plugins, folder: Path, text: str, **options: bool) -> Plan:
    path = folder / "mine.toml"
    path.write_text(f'[defaults]\ndataset = "digits"\nimages = 1_000\n{text}')
    return plan(plugins, read_suite(path), folder / "runs", **options)


def place(runs: Path, config: RunConfig) -> RunFolder:
    return folder_in(runs, config)


def finish(
    runs: Path, config: RunConfig, status: str = "ok", *, speed: float = 100.0, skipped: tuple[Unscored, ...] = ()
) -> None:
    record = Record(
        status=status,
        run=RunIdentity(
            model=config.model.name,
            similarity=config.similarity.name if config.similarity else None,
            dataset=config.dataset.name,
            seed=config.seed,
        ),
        config=config.model_dump(mode="json"),
        config_hash=config.hash(),
        plugins=(),
        data=DataFacts(
            name="digits", size=config.dataset.size, channels=1, fingerprint="f", train=1, validation=1, test=1,
            attributes=10,
        ),
        images_asked=1000,
        images_seen=1000,
        parameters={},
        skipped=skipped,
        cost=Cost(prepare_s=1, train_s=1000 / speed, evaluate_s=4, images_per_s=speed, peak_memory_bytes=1),
        execution=Execution(
            device="cpu", device_name="x", engine="eager", precision="float32", threads=1, platform="p", versions={},
            git_commit=None,
        ),
        started_utc="2026-01-01T00:00:00+00:00",
        finished_utc="2026-01-01T00:00:10+00:00",
    )  # fmt: skip
    write_record(place(runs, config), record)


TWO = '[[runs]]\nmodel = "vae"\nsimilarity = ["mse", "l1"]\nseeds = 2\n'


def test_the_first_seed_of_every_row_comes_first_and_labels_tell_runs_apart(plugins: Plugins, tmp_path: Path) -> None:
    found = planned(plugins, tmp_path, f'{TWO}[[runs]]\nmodel = "gan"\nsettings = {{margin = [0.1, 0.2]}}\n')
    assert [run.job.label for run in found.runs] == [
        "vae · mse seed 0",
        "vae · l1 seed 0",
        "gan margin=0.1 seed 0",
        "gan margin=0.2 seed 0",
        "vae · mse seed 1",
        "vae · l1 seed 1",
    ]
    assert [run.job.config.seed for run in found.runs] == [0, 0, 0, 0, 1, 1]
    assert len({run.job.config.hash() for run in found.runs}) == 6
    assert {run.state for run in found.runs} == {"train"}
    assert {run.seconds for run in found.runs} == {None}


def test_a_run_in_two_tables_counts_once_with_the_evaluators_of_both(plugins: Plugins, tmp_path: Path) -> None:
    text = (
        '[[runs]]\nmodel = "vae"\nseeds = 2\nevaluators = ["mse"]\n'
        '[[runs]]\nmodel = "vae"\nsettings = {kl_weight = [1, 3]}\nevaluators = ["ssim"]\n'
    )
    found = planned(plugins, tmp_path, text)
    assert found.twice == 1
    assert [run.job.label for run in found.runs] == [
        "vae · mse kl_weight=1.0 seed 0",
        "vae · mse kl_weight=3.0 seed 0",
        "vae · mse kl_weight=1.0 seed 1",
    ]
    names = [{each.name for each in run.job.config.evaluation.evaluators} for run in found.runs]
    assert names == [{"mse", "ssim", "health"}, {"ssim", "health"}, {"mse", "ssim", "health"}]


def test_what_is_left_is_what_the_store_has_not(plugins: Plugins, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first, second, third, fourth = (run.job.config for run in planned(plugins, tmp_path, TWO).runs)
    finish(runs, first)
    finish(runs, second, "diverged")
    finish(runs, third, "failed")
    checkpoint = place(runs, fourth).checkpoint_path
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    found = planned(plugins, tmp_path, TWO)
    assert [run.state for run in found.runs] == ["done", "diverged", "train", "resume"]
    assert [run.job.config for run in found.left] == [third, fourth]
    # Another score of what is finished is scored, not trained again.
    more = planned(plugins, tmp_path, f'{TWO}evaluators = ["ms-ssim"]\n')
    assert [run.state for run in more.runs] == ["score", "diverged", "train", "resume"]


def test_a_skipped_evaluator_is_tried_again_only_when_asked(plugins: Plugins, tmp_path: Path) -> None:
    (run,) = planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\n').runs
    finish(tmp_path / "runs", run.job.config, skipped=(Unscored(evaluator="fid", reason="no weights"),))
    assert planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\n').runs[0].state == "done"
    again = planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\n', retry_unscored=True)
    assert again.runs[0].state == "score"


def test_a_half_written_record_is_left_to_the_run_itself(plugins: Plugins, tmp_path: Path) -> None:
    (run,) = planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\n').runs
    path = place(tmp_path / "runs", run.job.config).record_path
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "genbench.record/2", "stat')
    assert planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\n').runs[0].state == "train"


def test_times_come_of_runs_of_the_same_kind_else_of_another_similarity(plugins: Plugins, tmp_path: Path) -> None:
    mse, l1, *_ = (run.job.config for run in planned(plugins, tmp_path, TWO).runs)
    finish(tmp_path / "runs", mse, speed=100)
    seconds = {run.job.label: run.seconds for run in planned(plugins, tmp_path, TWO).runs}
    # 1,000 images at 100 a second, 1 s of preparing, 4 s of scoring.
    assert seconds == {"vae · mse seed 0": 0, "vae · l1 seed 0": 15, "vae · mse seed 1": 15, "vae · l1 seed 1": 15}
    finish(tmp_path / "runs", l1, speed=1000)
    assert {run.job.label: run.seconds for run in planned(plugins, tmp_path, TWO).left} == {
        "vae · mse seed 1": 15,
        "vae · l1 seed 1": 6,
    }
    wider = planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\nwidth = 0.5\n')
    assert wider.runs[0].seconds is None


def test_times_do_not_come_of_a_model_whose_name_begins_alike(plugins: Plugins, tmp_path: Path) -> None:
    (other,) = planned(plugins, tmp_path, '[[runs]]\nmodel = "vaegan-pixel"\n').runs
    finish(tmp_path / "runs", other.job.config)
    found = planned(plugins, tmp_path, '[[runs]]\nmodel = ["vaegan", "vae"]\n')
    assert [run.seconds for run in found.runs] == [None, None]
    assert planned(plugins, tmp_path, '[[runs]]\nmodel = "vaegan-pixel"\nseeds = [1]\n').runs[0].seconds == 15


def test_a_run_that_makes_no_sense_is_refused_by_name(plugins: Plugins, tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match=r"suite `mine`, vae with dis-l on digits: .*no discriminator") as caught:
        planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\nsimilarity = ["mse", "dis-l"]\n')
    assert "vaegan" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match="unknown similarity `nope`"):
        planned(plugins, tmp_path, '[[runs]]\nmodel = "vae"\nevaluators = ["similarity:nope"]\n')


def test_a_part_of_a_plan(plugins: Plugins, tmp_path: Path) -> None:
    found = planned(plugins, tmp_path, TWO)
    labels = [run.job.label for run in only(found, ["seed=1"]).runs]
    assert labels == ["vae · mse seed 1", "vae · l1 seed 1"]
    assert [run.job.label for run in only(found, ["similarity = l1", "seed < 1"]).runs] == ["vae · l1 seed 0"]
    assert len(only(found, ["training.images >= 1000"]).runs) == 4
    with pytest.raises(GenbenchError, match="--only 'modle=vae': no run has a `modle`"):
        only(found, ["modle=vae"])
    with pytest.raises(GenbenchError, match="--only 'seed'"):
        only(found, ["seed"])
