"""Scores asked of a run that has ended: they are added, what was there stays, and nothing is computed twice."""

import json
import tomllib
from collections.abc import Mapping

import pytest
import torch
from bench import BATCH, STEPS, Bench, Blobs, One, Watch
from leaderboards import make_record

from genbench import GenbenchError
from genbench.config import EvaluationConfig, EvaluatorConfig, RunConfig, SamplingConfig
from genbench.evaluate.merging import merge, missing
from genbench.records import Check, Plugin, Record, Score, Unscored
from genbench.store import read_record


def listed(record: Record) -> list[str]:
    return [c["name"] for c in record.config["evaluation"]["evaluators"]]  # type: ignore[call-overload]


def evaluated(watch: Watch) -> list[str]:
    return [word.removeprefix("evaluating ") for word in watch.words if word.startswith("evaluating ")]


def test_other_evaluators_are_added_and_earlier_ones_kept(bench: Bench) -> None:
    first = bench.finish(bench.config("gan", evaluators=("mse", "failing")))
    assert (len(first.scores), len(first.skipped), len(first.failures)) == (0, 1, 1)
    watch = Watch()
    config = bench.config("gan", evaluators=("one",))
    second = bench.finish(config, watch)
    assert (watch.steps, evaluated(watch)) == ([], ["one"])
    assert [s.name for s in second.scores] == ["one"]
    assert (second.skipped, second.failures) == (first.skipped, first.failures)
    assert listed(second) == ["mse", "failing", "one"]
    assert {p.name for p in second.plugins if p.kind == "evaluator"} == {"mse", "failing", "one"}
    assert read_record(bench.folder(config).record_path) == second
    with bench.folder(config).config_path.open("rb") as file:
        assert [e["name"] for e in tomllib.load(file)["evaluation"]["evaluators"]] == listed(second)


def test_what_is_not_about_the_new_scores_stays(bench: Bench) -> None:
    first = bench.finish(bench.config(evaluators=("mse",)))
    second = bench.finish(bench.config(evaluators=("one",)))
    changed = {name for name in Record.model_fields if getattr(first, name) != getattr(second, name)}
    assert changed <= {"config", "plugins", "scores", "cost", "finished_utc"}
    assert second.cost.evaluate_s > first.cost.evaluate_s
    same = {"evaluate_s": 0}
    assert second.cost.model_copy(update=same) == first.cost.model_copy(update=same)
    assert bench.extras.finished == [first, second]


@pytest.mark.parametrize("evaluators", [("mse",), ("one",), ("one", "mse"), (), ("failing",)])
def test_whatever_is_there_already_is_not_computed_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, evaluators: tuple[str, ...]
) -> None:
    record = bench.finish(bench.config(evaluators=("mse", "one", "failing")))
    monkeypatch.setattr("genbench.pipeline.assemble", lambda *_: pytest.fail("begun anew"))
    watch = Watch()
    config = bench.config(evaluators=evaluators)
    assert bench.finish(config, watch) == record
    assert watch.words == [f"done before: {bench.folder(config).record_path}"]


def test_other_settings_replace_a_score(bench: Bench) -> None:
    bench.finish(bench.config(evaluators=("mse", "one")))
    watch = Watch()
    bench.finish(bench.config(evaluators=("one",), settings=("evaluation.samples=50",)), watch)
    again = bench.finish(bench.config(evaluators=("mse", "one"), settings=("evaluation.samples=50",)), watch)
    assert evaluated(watch) == ["one"], "mse looks at no samples"
    assert [s.name for s in again.scores] == ["mse", "one"]


def test_a_run_whose_weights_are_gone_is_trained_and_scored_anew(bench: Bench) -> None:
    bench.finish(bench.config(evaluators=("mse",)))
    config = bench.config(evaluators=("one",))
    bench.folder(config).checkpoint_path.unlink()
    watch = Watch()
    record = bench.finish(config, watch)
    assert len(watch.steps) == STEPS
    assert [s.name for s in record.scores] == listed(record) == ["one"], "the other score is of weights that are gone"


def test_other_images_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.config(evaluators=("one",))
    bench.finish(bench.config(evaluators=("mse",)))
    before = bench.folder(config).record_path.read_bytes()
    prepare = Blobs.prepare

    def inverted(self: Blobs, request: object) -> object:
        images = prepare(self, request)  # type: ignore[arg-type]
        images.images[:] = 255 - images.images
        return images

    monkeypatch.setattr(Blobs, "prepare", inverted)
    monkeypatch.setattr(Blobs, "version", 2)
    with pytest.raises(GenbenchError, match="trained and scored on other images than `blobs` now has"):
        bench.run(config)
    assert bench.folder(config).record_path.read_bytes() == before


def test_a_failure_on_the_way_to_another_score_costs_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.finish(bench.config(evaluators=("mse",)))
    config = bench.config(evaluators=("one",))
    monkeypatch.setattr("genbench.scoring.read_curve", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.run(config)
    assert read_record(bench.folder(config).record_path) == first


def test_a_stop_between_evaluators_leaves_no_record_and_the_weights(bench: Bench) -> None:
    config = bench.config(evaluators=("one", "mse"))
    watch = Watch()
    assert bench.run(config, watch, stop=lambda: "evaluating one" in watch.words) is None
    assert evaluated(watch) == ["one"]
    assert len(watch.steps) == STEPS
    assert not bench.folder(config).record_path.exists()
    again = Watch()
    assert [s.name for s in bench.finish(config, again).scores] == ["one", "mse"]
    assert evaluated(again) == ["mse"]
    assert (again.starts, again.steps) == ([STEPS * BATCH], [])


def test_a_stop_during_the_last_evaluator_comes_too_late(bench: Bench) -> None:
    watch = Watch()
    record = bench.run(bench.config(), watch, stop=lambda: "evaluating mse" in watch.words)
    assert record is not None
    assert record.status == "ok"


def test_a_stopped_rescoring_keeps_the_earlier_record(bench: Bench) -> None:
    first = bench.finish(bench.config(evaluators=("mse",)))
    config = bench.config(evaluators=("one",))
    assert bench.run(config, stop=lambda: True) is None
    assert read_record(bench.folder(config).record_path) == first


def test_a_kill_during_rescoring_costs_but_the_evaluator_at_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.finish(bench.config(evaluators=("mse",)))
    config = bench.config(evaluators=("one", "failing", "psnr"))
    with monkeypatch.context() as patch:
        patch.setattr("genbench_evaluators.reconstruction.signal_to_noise", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.run(config)
    kept = read_record(bench.folder(config).record_path)
    assert [s.name for s in kept.scores] == ["mse", "one"]
    assert [u.evaluator for u in kept.failures] == ["failing"]
    watch = Watch()
    assert [s.name for s in bench.finish(config, watch).scores] == ["mse", "one", "psnr"]
    assert evaluated(watch) == ["psnr"]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Return the configuration of a run that was killed at its third evaluator, having no record yet."""
    config = bench.config(evaluators=("one", "failing", "psnr"))
    with monkeypatch.context() as patch:
        patch.setattr("genbench_evaluators.reconstruction.signal_to_noise", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.run(config)
    assert not bench.folder(config).record_path.exists()
    return config


def test_a_kill_during_the_first_scoring_costs_but_the_evaluator_at_work(bench: Bench, killed: RunConfig) -> None:
    watch = Watch()
    record = bench.finish(killed, watch)
    assert (evaluated(watch), watch.steps) == (["psnr"], [])
    assert [s.name for s in record.scores] == ["one", "psnr"]
    assert [u.evaluator for u in record.failures] == ["failing"]
    assert listed(record) == ["one", "failing", "psnr"]
    assert RunConfig.model_validate(record.config) == killed
    assert not bench.folder(killed).unfinished_path.exists()
    assert bench.finish(killed) == record


@pytest.mark.parametrize("spoil", ["half", "other weights", "other images"])
def test_what_a_kill_left_of_anything_else_is_not_used(bench: Bench, killed: RunConfig, spoil: str) -> None:
    path = bench.folder(killed).unfinished_path
    text = path.read_text()
    found = json.loads(text)
    if spoil == "other weights":
        found["weights_sha256"] = "0" * 64
    if spoil == "other images":
        found["data"]["fingerprint"] = "0" * 64
    path.write_text(text[: len(text) // 2] if spoil == "half" else json.dumps(found))
    watch = Watch()
    assert [s.name for s in bench.finish(killed, watch).scores] == ["one", "psnr"]
    assert evaluated(watch) == ["one", "failing", "psnr"]


def test_an_evaluator_that_lacks_memory_fails_the_run_which_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    config = bench.config(evaluators=("one",))
    with monkeypatch.context() as patch:
        patch.setattr(One, "evaluate", greedy)
        with pytest.raises(GenbenchError, match="out of memory") as caught:
            bench.run(config)
    assert caught.value.exit_code == 1
    record = read_record(bench.folder(config).record_path)
    assert (record.status, record.images_seen) == ("failed", STEPS * BATCH)
    watch = Watch()
    assert [s.name for s in bench.finish(config, watch).scores] == ["one"]
    assert watch.steps == []


# The pure part.


def scored(*parts: EvaluatorConfig, value: float = 1.0, **changes: object) -> Record:
    """Return a record with one score of each of these evaluators that is neither skipped nor failed."""
    base = make_record()
    unscored = [*changes.get("skipped", ()), *changes.get("failures", ())]  # type: ignore[call-overload]
    evaluation = EvaluationConfig(evaluators=parts).model_dump(mode="json")
    return base.model_copy(
        update={
            "config": {**base.config, "evaluation": evaluation},
            "plugins": (
                Plugin(kind="model", name="one", distribution="d", version="1"),
                *(Plugin(kind="evaluator", name=p.name, distribution="d", version="1") for p in parts),
            ),
            "scores": tuple(a_score(p, value) for p in parts if p.label not in {u.evaluator for u in unscored}),
            **changes,
        }
    )


def a_score(part: EvaluatorConfig, value: float) -> Score:
    """Return a score on samples, unless the evaluator's name begins with an underscore."""
    sampling = part.sampling
    sampled = {"sampler": sampling.sampler, "generated_images": sampling.samples}
    return Score(
        name=f"{part.label}-score",
        value=value,
        direction="lower",
        protocol={"evaluator": part.label, **({} if part.name.startswith("_") else sampled)},
        origin=part.key,
    )


def part(name: str, samples: int = 100, sampler: str = "prior", **settings: object) -> EvaluatorConfig:
    name, _, variant = name.partition(":")
    sampling = SamplingConfig.model_validate({"samples": samples, "sampler": sampler})
    return EvaluatorConfig(name=name, settings=settings, variant=variant, sampling=sampling)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((part("a", k=1),), ()),
        ((part("b"), part("a", k=1)), ()),
        ((part("a", k=2), part("b")), ("a",)),
        ((part("a"), part("b")), ("a",)),
        ((part("c"), part("a", k=1)), ("c",)),
        ((part("b", 99), part("a", 99, k=1)), ("b", "a")),
        ((part("b", sampler="gmm"),), ("b",)),
        ((part("b:x"),), ("b:x",)),
        ((), ()),
        ((part("t", pair=(1, 2)),), ()),
    ],
)
def test_missing_is_what_is_new_or_differs(asked: tuple[EvaluatorConfig, ...], expected: tuple[str, ...]) -> None:
    record = scored(part("a", k=1), part("b"), part("t", pair=(1, 2)))
    for found in (record, Record.model_validate_json(json.dumps(record.model_dump()))):
        todo = missing(found, EvaluationConfig(evaluators=asked))
        assert tuple(c.label for c in todo) == expected
        assert missing(found, EvaluationConfig(evaluators=asked), again=True) == asked


def test_what_was_skipped_or_failed_is_tried_again_where_that_is_asked_for() -> None:
    parts = (part("a"), part("b"), part("c"))
    unscored = {
        "skipped": (Unscored(evaluator="a", reason="no weights"),),
        "failures": (Unscored(evaluator="c", reason="bug"),),
    }
    record = scored(*parts, **unscored)
    asked = EvaluationConfig(evaluators=parts[:2])
    assert missing(record, asked) == ()
    assert missing(record, asked, retry_unscored=True) == parts[:1]


@pytest.mark.parametrize(
    "config", [{}, {"evaluation": None}, {"evaluation": {"samples": 100}}, {"evaluation": {"evaluators": [{"x": 1}]}}]
)
def test_a_record_that_lists_nothing_lacks_everything(config: Mapping[str, object]) -> None:
    record = make_record(config=dict(config))
    assert missing(record, EvaluationConfig(evaluators=(part("a"),))) == (part("a"),)


def test_records_that_have_one_number_of_samples_for_all_are_understood() -> None:
    evaluation = {"samples": 100, "evaluators": [{"name": "a", "settings": {}}]}
    record = make_record(config={"evaluation": evaluation})
    assert missing(record, EvaluationConfig(evaluators=(part("a"), part("b")))) == (part("b"),)


def test_what_is_computed_anew_replaces_all_that_was_known_of_it() -> None:
    gone = (Unscored(evaluator="c", reason="no weights"),)
    earlier = scored(part("a", k=1), part("b"), part("c"), value=1.0, skipped=gone)
    later = scored(part("c"), part("a", k=2), value=2.0)
    record = merge(earlier, later)
    assert [(s.name, s.value) for s in record.scores] == [("b-score", 1.0), ("c-score", 2.0), ("a-score", 2.0)]
    assert record.skipped == ()
    assert [(c["name"], c["settings"]) for c in record.config["evaluation"]["evaluators"]] == [  # type: ignore[call-overload]
        ("b", {}),
        ("c", {}),
        ("a", {"k": 2}),
    ]
    assert sorted((p.kind, p.name) for p in record.plugins) == [
        ("evaluator", "a"),
        ("evaluator", "b"),
        ("evaluator", "c"),
        ("model", "one"),
    ]
    assert Record.model_validate_json(json.dumps(record.model_dump())) == record


def test_scores_on_other_samples_stay_and_are_not_computed_again() -> None:
    record = merge(scored(part("a"), part("_b")), scored(part("a", 7), part("_b", 7), value=2.0))
    assert [(s.name, s.value) for s in record.scores] == [("a-score", 1.0), ("a-score", 2.0), ("_b-score", 2.0)]
    both = EvaluationConfig(evaluators=(part("a"), part("a", 7)))
    assert missing(record, both) == ()
    third = merge(record, scored(part("a", sampler="gmm"), value=3.0))
    assert [s.value for s in third.scores] == [1.0, 2.0, 2.0, 3.0]
    assert [s.value for s in merge(third, scored(part("a"), value=4.0)).scores] == [2.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("seen", [200, 150])
def test_scores_on_some_of_the_samples_are_replaced_once(seen: int) -> None:
    def limited(samples: int, value: float) -> Record:
        """Return a record of an evaluator that looked at fewer of its samples than it was given."""
        record = scored(part("a", samples, images=seen), value=value)
        protocol = {**record.scores[0].protocol, "generated_images": seen}
        return record.model_copy(update={"scores": (record.scores[0].model_copy(update={"protocol": protocol}),)})

    once_more = merge(limited(300, 1.0), limited(300, 2.0))
    assert [s.value for s in once_more.scores] == [2.0]
    of_more = merge(limited(300, 1.0), limited(400, 2.0))
    assert [s.value for s in of_more.scores] == [2.0], "the same images"


def test_an_evaluator_that_gives_nothing_this_time_keeps_what_it_gave() -> None:
    earlier = scored(part("a"), part("b"))
    gone = (Unscored(evaluator="a", reason="no network"), Unscored(evaluator="b", reason="no network"))
    record = merge(earlier, scored(part("a"), part("b", 7), value=2.0, skipped=gone))
    assert [(s.name, s.value) for s in record.scores] == [("a-score", 1.0), ("b-score", 1.0)]
    assert [u.evaluator for u in record.skipped] == ["b"], "on other samples it never gave anything"
    assert missing(record, EvaluationConfig(evaluators=(part("a"), part("b", 7)))) == ()
    other = scored(part("a", k=2), failures=(Unscored(evaluator="a", reason="bug"),))
    kept = merge(earlier, other)
    assert [s.name for s in kept.scores] == ["a-score", "b-score"]
    assert missing(kept, EvaluationConfig(evaluators=(part("a", k=2),))) == (part("a", k=2),)


def test_scores_of_before_they_knew_their_origin_are_replaced_by_their_evaluators_name() -> None:
    earlier = scored(part("a"), part("b"))
    blank = earlier.model_copy(update={"scores": tuple(s.model_copy(update={"origin": None}) for s in earlier.scores)})
    assert [s.value for s in merge(blank, scored(part("a"), value=2.0)).scores] == [1.0, 2.0]


def test_variants_of_one_evaluator_stand_side_by_side() -> None:
    record = merge(scored(part("fd:x"), part("fd")), scored(part("fd:y")))
    assert [s.name for s in record.scores] == ["fd:x-score", "fd-score", "fd:y-score"]
    assert [p.name for p in record.plugins if p.kind == "evaluator"] == ["fd"]
    assert [s.name for s in merge(record, scored(part("fd:x"))).scores] == ["fd-score", "fd:y-score", "fd:x-score"]


def test_checks_are_replaced_by_name() -> None:
    old, new = (Check(name="a", value=v, flagged=False, rule="", meaning="") for v in (1.0, 2.0))
    other = old.model_copy(update={"name": "b"})
    assert merge(scored(checks=(old, other)), scored(checks=(new,))).checks == (other, new)


def test_scores_of_other_weights_are_not_added() -> None:
    with pytest.raises(GenbenchError, match="the weights are not those that were scored"):
        merge(scored(part("a"), weights_sha256="1" * 64), scored(part("b"), weights_sha256="2" * 64))
    assert merge(scored(part("a")), scored(part("b"), weights_sha256="2" * 64)).weights_sha256 == "2" * 64
