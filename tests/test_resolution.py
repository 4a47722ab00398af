"""From what a user types to a whole configuration, or to an error that says what to type instead."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import genbench
from genbench import GenbenchError
from genbench.config import RunConfig
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, build_part, build_settings, resolve, resolve_evaluation
from genbench_vaegan.settings import VaeGanSettings

REQUEST = RunRequest(model="vaegan", dataset="toyfaces")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    return Plugins.load(tmp_path_factory.mktemp("empty"))


def refusal(plugins: Plugins, **changes: Any) -> GenbenchError:
    with pytest.raises(GenbenchError) as caught:
        resolve(plugins, replace(REQUEST, **changes))
    assert caught.value.exit_code == 2
    return caught.value


def written(settings: VaeGanSettings) -> dict[str, Any]:
    """Return the settings as a configuration has them: without those that came later and have their default."""
    return {name: value for name, value in asdict(settings).items() if name not in ("fake_cost", "one_batch")}


def test_defaults_come_from_the_data_set_and_the_plugins(plugins: Plugins) -> None:
    config = resolve(plugins, REQUEST)
    spec = plugins.dataset("toyfaces")
    assert config.model.name == "vaegan"
    assert config.model.settings == written(VaeGanSettings())
    assert config.similarity is not None
    assert (config.similarity.name, config.similarity.settings) == ("dis-l", {"reduction": "sum", "layer": "default"})
    assert config.dataset.settings == {"count": 20_000, "seed": 0}
    assert (config.dataset.size, config.network.width, config.training.images) == (spec.size, spec.width, spec.images)
    assert config.training.flip == spec.flip
    assert config.training.similarity_weight == "auto"
    assert [e.name for e in config.evaluation.evaluators] == [e.name for e in plugins.specs("evaluators") if e.default]


def test_the_data_sets_flip_is_taken_over_and_can_be_set(plugins: Plugins) -> None:
    celeba = replace(REQUEST, dataset="celeba")
    assert resolve(plugins, celeba).training.flip is True
    assert resolve(plugins, replace(celeba, settings=("training.flip=false",))).training.flip is False


def test_what_is_asked_goes_over_the_defaults(plugins: Plugins) -> None:
    config = resolve(
        plugins,
        RunRequest(
            model="vaegan",
            dataset="toyfaces",
            similarity="l1",
            similarity_weight="2.5",
            seed=7,
            size=48,
            width=0.5,
            images=123,
            batch_size=16,
            evaluators=("attributes", "mse", "attributes"),
            settings=(
                "gamma=0.5",
                "saturating=true",
                "similarity.reduction=mean",
                "dataset.count=100",
                "network.latent_size=8",
                "training.learning_rate=1e-4",
                "evaluation.samples=50",
                "evaluation.attributes.strength=2",
            ),
        ),
    )
    assert config.model.settings == written(VaeGanSettings(gamma=0.5, saturating=True))
    assert config.similarity is not None
    assert (config.similarity.name, config.similarity.settings) == ("l1", {"reduction": "mean"})
    assert config.seed == 7
    assert (config.dataset.size, config.dataset.settings["count"]) == (48, 100)
    assert (config.network.width, config.network.latent_size) == (0.5, 8)
    assert (config.training.images, config.training.batch_size, config.training.learning_rate) == (123, 16, 1e-4)
    assert config.training.similarity_weight == 2.5
    assert [e.name for e in config.evaluation.evaluators] == ["attributes", "mse", "health"]
    assert [e.sampling.samples for e in config.evaluation.evaluators[:2]] == [50, 10_000], "mse looks at no samples"
    assert config.evaluation.evaluators[0].settings["strength"] == 2.0


def test_quick_stands_in_for_the_data_sets_defaults_and_never_makes_a_run_larger(plugins: Plugins) -> None:
    quick = resolve(plugins, replace(REQUEST, dataset="celeba", preset="quick"))
    assert (quick.dataset.size, quick.network.width, quick.training.images) == (32, 0.25, 30_000)
    asked = resolve(plugins, replace(REQUEST, dataset="celeba", preset="quick", size=64, width=1.0, images=31_000))
    assert (asked.dataset.size, asked.network.width, asked.training.images) == (64, 1.0, 31_000)

    class Small:
        @genbench.hookimpl
        def genbench_datasets(self) -> Iterator[genbench.DatasetSpec]:
            yield genbench.DatasetSpec("small", "", "m:C", size=16, width=0.1, images=5)

        @genbench.hookimpl
        def genbench_models(self) -> Iterator[genbench.ModelSpec]:
            yield genbench.ModelSpec("model", "", "m:C")

    small = resolve(Plugins.of(Small()), RunRequest("model", "small", preset="quick"))
    assert (small.dataset.size, small.network.width, small.training.images) == (16, 0.1, 5)


def test_no_evaluators(plugins: Plugins) -> None:
    assert resolve(plugins, replace(REQUEST, evaluators=())).evaluation.evaluators == ()


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("gamma=abc", "`vaegan`: setting `gamma` is 'abc': input should be a valid number", "`genbench show vaegan`"),
        ("gama=1", "`vaegan` has no setting `gama`", "did you mean `gamma`? see `genbench show vaegan`"),
        ("gamma=nan", "`vaegan`: setting `gamma` is 'nan'", "show vaegan"),
        ("gamma=inf", "`vaegan`: setting `gamma` is inf, expected a finite number", None),
        ("gamma=-1", "`vaegan`: setting `gamma` is '-1': input should be greater than or equal to 0", "show vaegan"),
        ("saturating=perhaps", "`vaegan`: setting `saturating` is 'perhaps'", "show vaegan"),
        ("gamma", "setting 'gamma' is not of the form key=value", "-s gamma=0.1"),
        ("=1", "setting '=1' is not of the form key=value", "-s gamma=0.1"),
        ("trainig.images=1", "setting `trainig.images`: unknown section `trainig`", "did you mean `training`?"),
        ("model.gamma=1", "unknown section `model`", "a setting of the model has no dot"),
        ("layer=down2", "`vaegan` has no setting `layer`, but `dis-l` has", "write -s similarity.layer=down2"),
        ("training.lerning_rate=1", "training has no setting `lerning_rate`", "did you mean `learning_rate` or"),
        ("training.learning_rate=nan", "training: setting `learning_rate` is 'nan'", "known: images"),
        ("training.learning_rate=2", "training: setting `learning_rate` is '2': input should be less", "known: images"),
        ("training.batch_size=1", "training: setting `batch_size` is '1'", "known: images"),
        ("training.similarity_weight=abc", "training: setting `similarity_weight` is 'abc'", "known: images"),
        (
            "network.kind=cnv",
            "network: setting `kind` is 'cnv': input should be 'conv', 'mlp', 'conv-leaky'",
            "known: kind",
        ),
        ("network.width=nan", "network: setting `width` is 'nan'", "known: kind"),
        ("similarity.reduction=men", "`dis-l`: setting `reduction` is 'men'", "show dis-l"),
        ("dataset.count=9", "`toyfaces`: setting `count` is '9'", "show toyfaces"),
        ("dataset.size=16", "`toyfaces` has no setting `size`", "show toyfaces"),
        ("evaluation.sampels=9", "evaluation has no setting `sampels`", "did you mean `samples` or `sampler`?"),
        ("evaluation.evaluators=mse", "setting `evaluation.evaluators`", "--evaluators"),
        ("evaluation.fad.x=1", "evaluator `fad` is not part of this run", "`fid`?"),
        ("evaluation.attributes.strenght=1", "`attributes` has no setting `strenght`", "`strength` or `strengths`?"),
    ],
)
def test_a_wrong_setting_is_refused(plugins: Plugins, setting: str, message: str, hint: str | None) -> None:
    error = refusal(plugins, settings=(setting,))
    assert message in error.message
    assert (hint is None) == (error.hint is None)
    assert (hint or "") in (error.hint or "")


def test_a_setting_given_twice_is_refused(plugins: Plugins) -> None:
    error = refusal(plugins, settings=("network.width=1", "gamma=1", "network.width=1"))
    assert error.message == "setting `network.width` is given twice"


def test_an_evaluator_may_be_asked_for_in_several_variants(plugins: Plugins) -> None:
    names = ("fd:torchvision:resnet18", "fd", "kid:dinov2", "fd:attributes")
    found = resolve_evaluation(plugins, names, ("evaluation.fd.reference=train", "evaluation.sampler=gmm"))
    assert [e.label for e in found.evaluators] == ["fd:torchvision:resnet18", "fd", "kid:dinov2", "health"]
    assert [e.settings.get("extractor") for e in found.evaluators[:3]] == [
        "torchvision:resnet18",
        "attributes",
        "dinov2",
    ]
    assert [e.settings.get("reference") for e in found.evaluators[:3]] == ["train", "train", "test"]
    assert {e.sampling.sampler for e in found.evaluators[:3]} == {"gmm"}
    by_setting = resolve_evaluation(plugins, ("fd",), ("evaluation.fd.extractor=torchvision:resnet18",))
    assert by_setting.evaluators[0].label == "fd:torchvision:resnet18"


def test_what_runs_always_is_added_unless_nothing_is_asked_for(plugins: Plugins) -> None:
    assert [e.name for e in resolve_evaluation(plugins, ("mse",), ()).evaluators] == ["mse", "health"]
    assert [e.name for e in resolve_evaluation(plugins, ("health", "mse"), ()).evaluators] == ["health", "mse"]
    assert resolve_evaluation(plugins, (), ()).evaluators == ()


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (("mse:x",), (), "evaluator `mse` has no variants, so not `mse:x`"),
        (("fd:a",), ("evaluation.fd.extractor=b",), "`fd:a` and the setting `evaluation.fd.extractor` say the same"),
        (("mse",), ("gamma=1",), "setting of the model: it belongs to training"),
        (("mse",), ("training.images=1",), "setting of the training: it belongs to training"),
        (("mse",), ("evaluation.sampler=posterior",), "input should be 'prior' or 'gmm'"),
        (("mse",), ("evaluation.samples=1",), "greater than or equal to 2"),
        (("sme",), (), "unknown evaluator `sme`"),
        (("fd:dinov3",), (), "unknown extractor `dinov3`"),
        (("kid:torchvision",), (), "`torchvision`"),
    ],
)
def test_a_wrong_evaluation_is_refused(
    plugins: Plugins, names: tuple[str, ...], settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(GenbenchError) as caught:
        resolve_evaluation(plugins, names, settings)
    assert message in caught.value.message


def test_an_evaluator_that_is_not_asked_for_can_not_be_set(plugins: Plugins) -> None:
    error = refusal(plugins, evaluators=("mse",), settings=("evaluation.attributes.strength=2",))
    assert error.message == "setting `evaluation.attributes.strength`: evaluator `attributes` is not part of this run"
    assert error.hint == "it runs: health, mse"


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"model": "vagan"}, "unknown model `vagan`", "did you mean `vaegan` or `gan`? see `genbench list models`"),
        ({"dataset": "celba"}, "unknown dataset `celba`", "did you mean `celeba`? see `genbench list datasets`"),
        ({"similarity": "disl"}, "unknown similarity `disl`", "did you mean `dis-l`?"),
        ({"evaluators": ("fdi",)}, "unknown evaluator `fdi`", "`fid`?"),
        ({"preset": "quik"}, "unknown preset `quik`", "did you mean `quick`?"),
        ({"preset": "large"}, "unknown preset `large`", "known: quick"),
        ({"similarity_weight": "much"}, "is 'much', expected `auto`, `calibrated` or a number over 0", ""),
        ({"similarity_weight": "nan"}, "setting `similarity_weight` is nan", ""),
        ({"similarity_weight": "-1"}, "setting `similarity_weight` is -1.0: input should be greater than 0", ""),
        ({"seed": -1}, "--seed is -1, expected 0 to 2^63 - 1", ""),
        ({"seed": 2**63}, "--seed is 9223372036854775808", ""),
        ({"width": float("nan")}, "setting `width` is nan", ""),
        ({"width": 0.0}, "setting `width` is 0.0", ""),
        ({"size": 2000}, "setting `size` is 2000", ""),
        ({"size": 300}, "convolutional networks take images of 16 to 256 px, not 300", "-s network.kind=mlp"),
        ({"size": 8}, "convolutional networks take images of 16 to 256 px, not 8", "choose another --size"),
        ({"images": 0}, "setting `images` is 0", ""),
    ],
)
def test_a_wrong_choice_is_refused(plugins: Plugins, changes: dict[str, Any], message: str, hint: str) -> None:
    error = refusal(plugins, **changes)
    assert message in error.message
    assert hint in (error.hint or "")


def test_dis_l_without_a_discriminator_names_the_models_that_have_one(plugins: Plugins) -> None:
    error = refusal(plugins, model="vae", similarity="dis-l")
    assert "similarity `dis-l` with model `vae` on `toyfaces`" in error.message
    assert "this model has no discriminator" in error.message
    assert error.hint == "models with one: vae-dis-l, vaegan, vaegan-pixel"


@pytest.mark.parametrize(
    "changes", [{"similarity": "mse"}, {"similarity_weight": "2"}, {"settings": ("similarity.reduction=mean",)}]
)
def test_a_gan_takes_no_similarity(plugins: Plugins, changes: dict[str, Any]) -> None:
    assert "model `gan`" in refusal(plugins, model="gan", **changes).message
    assert resolve(plugins, replace(REQUEST, model="gan")).similarity is None


def test_what_a_similarity_needs_of_the_images_is_checked() -> None:
    class Needy:
        @genbench.hookimpl
        def genbench_similarities(self) -> Iterator[genbench.SimilaritySpec]:
            yield genbench.SimilaritySpec("large", "", "m:C", needs=genbench.Needs(min_size=48))
            yield genbench.SimilaritySpec("colour", "", "m:C", needs=genbench.Needs(channels=3))

        @genbench.hookimpl
        def genbench_models(self) -> Iterator[genbench.ModelSpec]:
            yield genbench.ModelSpec("model", "", "m:C", similarity="large")

        @genbench.hookimpl
        def genbench_datasets(self) -> Iterator[genbench.DatasetSpec]:
            yield genbench.DatasetSpec("grey", "", "m:C", channels=1, size=32)

    needy = Plugins.of(Needy())
    with pytest.raises(GenbenchError, match="at least 48 px, these have 32") as caught:
        resolve(needy, RunRequest("model", "grey"))
    assert caught.value.hint == "--size 48"
    resolve(needy, RunRequest("model", "grey", size=48))
    with pytest.raises(GenbenchError, match="needs 3 channels, these images have 1"):
        resolve(needy, RunRequest("model", "grey", similarity="colour"))


@dataclass(frozen=True)
class Range:
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low must be under high")


@dataclass(frozen=True)
class Needy:
    power: float


class Part:
    def __init__(self, settings: Range) -> None:
        self.settings = settings


def test_a_settings_class_may_check_its_fields_together(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ranged", sys.modules[__name__])
    spec = genbench.SimilaritySpec("ranged", "", "ranged:Part", "ranged:Range")
    assert build_part(plugins, spec, {"low": "0.5"}).settings == Range(0.5, 1.0)
    with pytest.raises(GenbenchError, match=r"^`ranged`: low must be under high$"):
        build_settings(plugins, spec, {"low": "2"})


def test_a_setting_without_a_default_must_be_given(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ranged", sys.modules[__name__])
    spec = genbench.SimilaritySpec("needy", "", "ranged:Part", "ranged:Needy")
    with pytest.raises(GenbenchError, match=r"^`needy`: setting `power` has no value and no default$"):
        build_settings(plugins, spec, {})


def test_a_part_without_settings_takes_none(plugins: Plugins) -> None:
    spec = genbench.DatasetSpec("bare", "", "builtins:dict")
    assert build_part(plugins, spec, {}) == {}
    with pytest.raises(GenbenchError, match="`bare` has no setting `x`"):
        build_settings(plugins, spec, {"x": "1"})


@pytest.mark.parametrize("size", [8, 16, 256, 300])
def test_mlps_take_images_of_any_size(plugins: Plugins, size: int) -> None:
    config = resolve(plugins, replace(REQUEST, model="gan", size=size, settings=("network.kind=mlp",)))
    assert config.dataset.size == size


@pytest.mark.parametrize("size", [16, 256])
def test_convolutions_take_images_of_their_least_and_largest_size(plugins: Plugins, size: int) -> None:
    assert resolve(plugins, replace(REQUEST, size=size)).dataset.size == size


def test_the_same_run_typed_in_two_ways_has_one_hash(plugins: Plugins) -> None:
    plain = resolve(plugins, REQUEST)
    spelt = resolve(
        plugins,
        replace(
            REQUEST,
            similarity="dis-l",
            similarity_weight="auto",
            width=0.25,
            settings=(" gamma = 1e-2 ", "similarity.layer=default", "network.kind=conv"),
            evaluators=("mse",),
        ),
    )
    assert spelt.hash() == plain.hash()
    assert RunConfig.model_validate_json(spelt.model_dump_json()).hash() == plain.hash()


def test_resolving_imports_no_torch(tmp_path: Path) -> None:
    import subprocess

    script = (
        "import sys; from genbench.plugins import Plugins; from genbench.resolution import RunRequest, resolve\n"
        "resolve(Plugins.load(), RunRequest('vaegan', 'toyfaces')); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"
