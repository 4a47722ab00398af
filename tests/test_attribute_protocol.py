"""What moves the scores of attribute arithmetic, what does not, and what goes wrong."""

from dataclasses import replace

import numpy as np
import pytest
from linear_edits import (
    NAMES,
    Collapsed,
    Diverged,
    Generator,
    Quarters,
    balanced,
    build,
    noisy,
    run,
    scores,
    sheet,
    told,
)

import genbench_evaluators
from genbench.errors import GenbenchError
from genbench.interfaces import Model
from genbench.plugins import Plugins
from genbench.records import Sheet
from genbench.resolution import build_settings
from genbench_evaluators.attribute_settings import AttributeSettings
from genbench_evaluators.attributes import FLOOR_IMAGES

# -- what moves a score and what does not


@pytest.mark.parametrize("model", [Quarters, Generator])
def test_no_score_depends_on_the_batch_size(model: type[Model]) -> None:
    first, second = (scores(build(model(), noisy(), batch_size=size)) for size in (100, 7))
    for name in first:
        assert first[name].value == pytest.approx(second[name].value, rel=1e-5)
        assert first[name].protocol == second[name].protocol
        assert first[name].details == pytest.approx(second[name].details, rel=1e-4, abs=1e-6)


def test_no_score_depends_on_the_order_of_the_images() -> None:
    data = noisy()
    order = np.concatenate([np.arange(800)[::-1], 800 + np.random.default_rng(1).permutation(100)])
    other = replace(data, images=data.images[order], attributes=data.attributes[order])  # type: ignore[index]
    first, second = (scores(build(data=each)) for each in (data, other))
    for name in first:
        assert first[name].value == pytest.approx(second[name].value, rel=1e-5)
        assert first[name].uncertainty == pytest.approx(second[name].uncertainty, rel=0.15)


def test_the_protocol_says_what_was_edited_and_how() -> None:
    found = scores(build(data=noisy()), images=10, strength=0.5)
    for score in found.values():
        assert score.protocol["images"] == 10
        assert score.protocol["strength"] == 0.5
        assert score.protocol["latents"] == "posterior-mean"
        assert score.protocol["vector_images"] == 800
        assert score.protocol["edited_attributes"] == 3
        assert score.protocol["classifier_weights"] == "w"
        assert score.protocol["classifier_version"] == 2
        assert score.protocol["evaluator_version"] == 2
        assert "sampler" not in score.protocol
    assert scores(build(data=noisy()), images=0)["attributes"].protocol["images"] == 100


def test_uncertainties_are_over_images() -> None:
    found = run(build(data=noisy()))
    for score in found.scores:
        low, high = score.details["ci95.low"], score.details["ci95.high"]
        assert low < score.value < high
        assert high - low == pytest.approx(2 * 1.96 * (score.uncertainty or 0), rel=0.15)
        assert score.value == pytest.approx(np.mean([score.details[name] for name in NAMES]))


# -- strengths


def test_the_curve_shows_each_strength() -> None:
    found = run(build(data=noisy()), strengths="0.5, 1,2.0", images=30)
    (table,) = [s for s in found.sheets if s.name == "attributes-strength"]
    assert table.columns == ("strength", "images", "cosine", "success", "direction", "move", "leakage", "identity")
    assert [row[:2] for row in table.rows] == [(0.5, 30), (1.0, 30), (2.0, 30)]
    value = {s.name: s.value for s in found.scores}
    assert table.rows[1][2] == pytest.approx(value["attributes"])
    assert table.rows[1][7] == pytest.approx(value["attributes-identity"])
    moves = [row[5] for row in table.rows]
    assert moves == sorted(moves)  # type: ignore[type-var]


@pytest.mark.parametrize("text", ["", "0.5", "0.5, 1,1.5 ,2"])
def test_strengths_may_be_any_numbers(text: str) -> None:
    settings = resolve(strengths=text)
    assert settings.strengths == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [("a", "'a' is not a number"), ("1,", "'' is not"), ("0", "over 0"), ("nan", "over 0"), ("1,1.0", "twice")],
)
def test_strengths_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(GenbenchError, match=f"`attributes`: setting `strengths`.*{said}"):
        resolve(strengths=text)


def resolve(**values: object) -> AttributeSettings:
    plugins = Plugins.of(genbench_evaluators)
    settings = build_settings(plugins, plugins.evaluator("attributes"), values)
    assert isinstance(settings, AttributeSettings)
    return settings


# -- models without an encoder


def test_a_generator_is_judged_by_its_own_samples() -> None:
    found = scores(build(Generator()), images=100, samples=500)
    assert found["attributes-success"].value > 0.7
    assert found["attributes-direction"].value > 0.8
    assert found["attributes-success"].details["unedited"] == 0  # its labels are what the classifier sees
    assert "reconstruction" not in found["attributes-identity"].details
    for score in found.values():
        assert score.protocol["latents"] == "classified-samples"
        assert score.protocol["sampler"] == "prior"
        assert score.protocol["generated_images"] == score.protocol["vector_images"] == 500
        assert score.protocol["images"] == 100


def test_an_attribute_that_no_sample_has_is_left_out_with_the_reason() -> None:
    weight = told()
    weight[1] = 0  # the bias decides: nobody has it
    found = scores(build(Generator(), weight=weight, bias=-0.01), images=50)
    score = found["attributes"]
    assert "b" not in score.details
    assert score.protocol["edited_attributes"] == 2
    assert score.protocol["left_out"] == "b"
    assert score.warnings == ("1 attributes have no vector and are not edited: none of the 300 latents has it: b",)


def test_a_generator_of_one_image_has_no_vectors() -> None:
    class One(Generator, Collapsed):
        pass

    found = run(build(One()))
    assert found.scores == found.failures == ()
    assert "no attribute has a vector: a: each of the 300 latents has it" in found.skipped[0].reason


def test_a_headline_below_doing_nothing_says_so() -> None:
    data = noisy()
    mixed = replace(data, attributes=np.random.default_rng(0).permutation(data.attributes))
    good, bad = (scores(build(data=each), strength=60.0)["attributes"] for each in (data, mixed))
    assert good.value > good.details["unedited"]
    assert good.warnings == ()
    assert bad.value < bad.details["unedited"]
    assert ["below no edit at all" in text for text in bad.warnings] == [True]


# -- the sign of health


def test_edits_have_an_effect_where_the_model_knows_the_attributes() -> None:
    for model in (Quarters(), Generator()):
        (check,) = run(build(model, noisy())).checks
        assert (check.name, check.flagged) == ("edit-effect", False)
        assert check.value is not None
        assert check.value > 0.2


def test_edits_without_effect_are_flagged() -> None:
    (check,) = run(build(Collapsed(), noisy())).checks
    assert (check.value, check.flagged) == (0, True)
    data = noisy()
    mixed = np.random.default_rng(0).permutation(data.attributes)
    (check,) = run(build(data=replace(data, attributes=mixed))).checks
    assert check.flagged, "vectors of other images' labels"


# -- what goes wrong


def test_a_collapsed_model_edits_nothing_and_has_no_identity_to_lose() -> None:
    found = run(build(Collapsed(), noisy()))
    value = {s.name: s for s in found.scores}
    assert set(value) == {"attributes", "attributes-success", "attributes-direction", "attributes-leakage"}
    assert value["attributes"].value == pytest.approx(value["attributes"].details["unedited"])
    assert value["attributes-direction"].value == value["attributes-leakage"].value == 0
    assert ["`attributes-identity` has nothing to measure by" in u.reason for u in found.skipped] == [True]
    assert sheet(found, "attributes-each")["a"]["identity"] is None


def test_one_attribute_has_none_to_leak_to() -> None:
    found = run(build(weight=told(1)))
    assert "attributes-leakage" not in {s.name for s in found.scores}
    assert ["`attributes-leakage` needs a second attribute" in u.reason for u in found.skipped] == [True]
    assert next(s for s in found.scores if s.name == "attributes").value == pytest.approx(1)


def test_one_image_has_no_uncertainty() -> None:
    found = run(build(), images=1)
    assert {s.name: s.uncertainty for s in found.scores}["attributes"] is None
    assert not found.failures


def test_images_that_are_not_finite_fail_it() -> None:
    found = run(build(Diverged()))
    assert found.scores == ()
    assert ["not finite" in u.reason for u in found.failures] == [True]


def test_without_labels_it_is_skipped() -> None:
    context = build(data=replace(balanced(), attributes=None, attribute_names=()))
    context._classifier = None
    context._cache = None  # type: ignore[assignment]
    found = run(context)
    assert found.scores == found.failures == ()
    assert [u.reason for u in found.skipped] == ["data set `quarters` has no attributes"]


def test_a_table_says_how_well_the_classifier_knows_each_attribute() -> None:
    context = build()
    own = context._classifier
    assert own is not None
    measured = {
        "bounds": (0.9, 0.8, 0.7),
        "test_accuracy": (0.95, 0.85, 0.75),
        "test_balanced_accuracy": (0.93, 0.83, 0.73),
        "test_calibration_error_before": (0.3, 0.2, 0.1),
        "test_calibration_error": (0.03, 0.02, 0.01),
    }
    own.report = replace(own.report, **measured, excluded={"rare": "no image has it"})  # type: ignore[arg-type]
    table = sheet(run(context), "attributes-classifier")
    assert table["b"] == {
        "prevalence": 0.5,
        "validation-balanced-accuracy-bound": 0.8,
        "accuracy": 0.85,
        "balanced-accuracy": 0.83,
        "calibration-error-before": 0.2,
        "calibration-error": 0.02,
        "excluded": "",
    }
    assert table["rare"]["accuracy"] is None
    assert table["rare"]["excluded"] == "no image has it"


def test_excluded_attributes_and_a_missing_calibration_are_said() -> None:
    context = build()
    classifier = context.classifier()
    classifier.report = replace(classifier.report, excluded={"d": "no better than chance"}, calibrated_on=0)
    first, second = scores(context)["attributes"].warnings
    assert "1 of the data set's 4 attributes take no part" in first
    assert "d" in first
    assert "not calibrated" in second


def test_an_attribute_may_be_called_floor() -> None:
    context = build()
    context.classifier().report = replace(context.classifier().report, names=("floor", "b", "c"))
    details = scores(context)["attributes"].details
    assert details["floor (attribute)"] == pytest.approx(1)
    assert details["floor"] < 0.9


def test_tables_are_as_large_as_what_they_tell() -> None:
    found = run(build(data=noisy()))
    assert {s.name: (len(s.rows), len(s.columns)) for s in found.sheets} == {
        "attributes-classifier": (3, 8),
        "attributes-entanglement": (3, 4),
        "attributes-each": (3, 1 + 2 + 6 + 6),
    }
    assert all(isinstance(s, Sheet) for s in found.sheets)
    assert FLOOR_IMAGES >= 100
