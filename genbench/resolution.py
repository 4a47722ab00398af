"""From what a user asked for to a fully resolved `RunConfig`; imports no torch.

Names are looked up, defaults filled in, settings and needs checked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from genbench import pairing
from genbench.config import (
    Component,
    DataConfig,
    EvaluationConfig,
    EvaluatorConfig,
    NetworkConfig,
    RunConfig,
    SamplingConfig,
    TrainingConfig,
)
from genbench.errors import GenbenchError, did_you_mean
from genbench.plugins import Plugins
from genbench.specs import ADDED_LATER, DatasetSpec, EvaluatorSpec, ModelSpec, Spec

Config = TypeVar("Config", bound=BaseModel)
Values = dict[str, Any]

SECTIONS = ("similarity", "dataset", "network", "training", "evaluation")
"""What a dotted setting may begin with; one without a dot belongs to the model."""


@dataclass(frozen=True)
class Preset:
    """Defaults that stand in for the data set's own.

    Attributes:
        size: side in pixels, at most.
        width: width factor, at most.
        images: budget, at most.
    """

    size: int
    width: float
    images: int


PRESETS = {"quick": Preset(size=32, width=0.25, images=30_000)}


@dataclass(frozen=True)
class RunRequest:
    """A run as a user asks for it; None leaves a choice to the defaults.

    Attributes:
        evaluators: NAME or NAME:VARIANT, or None for those that run by default.
        settings: `key=value` for the model, `similarity.key=value`, in a mixture `similarity.NAME.key=value`,
            `dataset.key=value`, `network.key=value`, `training.key=value`, `evaluation.key=value`,
            `evaluation.EVALUATOR.key=value`.
    """

    model: str
    dataset: str
    similarity: str | None = None
    similarity_weight: str | None = None
    seed: int = 0
    preset: str | None = None
    size: int | None = None
    width: float | None = None
    images: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    evaluators: tuple[str, ...] | None = None
    skip_bad_images: bool = False
    settings: tuple[str, ...] = ()


def resolve(plugins: Plugins, request: RunRequest) -> RunConfig:
    """Return the run's whole configuration.

    Raises:
        GenbenchError: a name or setting that nothing answers to, a value of the wrong type or out of range, or a
            similarity that does not fit the model or the data.
    """
    model, dataset = plugins.model(request.model), plugins.dataset(request.dataset)
    if not 0 <= request.seed < 2**63:
        raise GenbenchError(f"--seed is {request.seed}, expected 0 to 2^63 - 1")
    given = by_section(request.settings)
    defaults = _defaults(request, dataset)
    network = _build(NetworkConfig, {"width": defaults.width} | given["network"], "network")
    training = {"images": defaults.images, "flip": dataset.flip} | _given(
        batch_size=request.batch_size,
        similarity_weight=_number_or_way(request.similarity_weight),
        precision=request.precision,
    )
    similarity = _similarity(plugins, request, model, dataset, defaults.size, given["similarity"])
    config = RunConfig(
        model=Component(name=model.name, settings=_model_settings(plugins, model, similarity, given["model"])),
        similarity=similarity,
        dataset=_build(
            DataConfig,
            {
                "name": dataset.name,
                "settings": resolve_settings(plugins, dataset, given["dataset"]),
                "size": defaults.size,
                "skip_bad_images": request.skip_bad_images,
            },
            "dataset",
        ),
        network=network,
        training=_build(TrainingConfig, training | given["training"], "training"),
        evaluation=_evaluation(plugins, request.evaluators, given["evaluation"]),
        seed=request.seed,
    )
    network.check_size(config.dataset.size)
    _check_training(config.training, plugins, model)
    return config


def _check_training(training: TrainingConfig, plugins: Plugins, model: ModelSpec) -> None:
    if training.discriminator_learning_rate is not None and not model.discriminator:
        able = [spec.name for spec in plugins.specs("models") if spec.discriminator]
        raise GenbenchError(
            f"setting `training.discriminator_learning_rate`: model `{model.name}` has no discriminator",
            f"leave it out; models with one: {', '.join(able) or 'none installed'}",
        )


def _model_settings(plugins: Plugins, model: ModelSpec, similarity: Component | None, given: Values) -> Values:
    """Return all settings of a model, and tell one of the similarity apart from one that nothing has."""
    if similarity is not None and (shared := given.keys() & similarity.settings.keys()):
        for key in sorted(shared - set(_setting_names(plugins, model))):
            raise GenbenchError(
                f"`{model.name}` has no setting `{key}`, but `{similarity.name}` has",
                f"write -s similarity.{key}={given[key]}",
            )
    return resolve_settings(plugins, model, given)


def build_settings(plugins: Plugins, spec: Spec, values: Mapping[str, Any]) -> Any:
    """Return an instance of a spec's settings class, or None where the spec names none.

    Raises:
        GenbenchError: an unknown setting, or a value of the wrong type or out of range.
    """
    cls: Any = plugins.resolve(spec.settings) if spec.settings else None
    names = _setting_names(plugins, spec)
    for key in values:
        if key not in names:
            guess = did_you_mean(key, names)
            see = f"see `genbench show {spec.name}`"
            raise GenbenchError(f"`{spec.name}` has no setting `{key}`", f"{guess} {see}" if guess else see)
    if cls is None:
        return None
    try:
        settings = _adapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise _invalid(error, f"`{spec.name}`", f"see `genbench show {spec.name}`") from error
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise GenbenchError(f"`{spec.name}`: setting `{name}` is {value}, expected a finite number")
    return settings


def _setting_names(plugins: Plugins, spec: Spec) -> list[str]:
    cls: Any = plugins.resolve(spec.settings) if spec.settings else None
    return [field.name for field in fields(cls)] if cls else []


@cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    """Return what validates a settings class; building it takes most of the time, and a suite resolves thousands."""
    return TypeAdapter(cls)


def build_part(plugins: Plugins, spec: Spec, values: Mapping[str, Any]) -> Any:
    """Return an instance of a spec's target, given its settings where the spec names any."""
    cls: Any = plugins.resolve(spec.target)
    settings = build_settings(plugins, spec, values)
    return cls() if settings is None else cls(settings)


def resolve_settings(plugins: Plugins, spec: Spec, values: Mapping[str, Any]) -> Values:
    """Return all settings of a spec, defaults filled in, as plain data; without later ones that have their default."""
    settings = build_settings(plugins, spec, values)
    if settings is None:
        return {}
    later = {field.name: field.default for field in fields(settings) if ADDED_LATER.items() <= field.metadata.items()}
    return {name: value for name, value in asdict(settings).items() if name not in later or value != later[name]}


def by_section(settings: Sequence[str]) -> dict[str, Values]:
    """Sort `key=value` texts by the section that they belong to; one without a dot is the model's.

    Raises:
        GenbenchError: a text is not of that form, names no section, or sets what another one has set.
    """
    sections: dict[str, Values] = {name: {} for name in ("model", *SECTIONS)}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise GenbenchError(f"setting {text!r} is not of the form key=value", "for example -s gamma=0.1")
        head, dot, rest = key.strip().partition(".")
        section, name = (head, rest) if dot else ("model", head)
        if section not in SECTIONS and dot:
            guess = did_you_mean(section, SECTIONS)
            raise GenbenchError(
                f"setting `{key}`: unknown section `{section}`",
                guess or f"known: {', '.join(SECTIONS)}; a setting of the model has no dot",
            )
        if name in sections[section]:
            raise GenbenchError(f"setting `{key}` is given twice")
        sections[section][name] = value.strip()
    return sections


def _defaults(request: RunRequest, dataset: DatasetSpec) -> Preset:
    """Return size, width and budget: as asked, else the preset's, else the data set's."""
    size, width, images = dataset.size, dataset.width, dataset.images
    if request.preset is not None:
        if request.preset not in PRESETS:
            guess = did_you_mean(request.preset, PRESETS)
            raise GenbenchError(f"unknown preset `{request.preset}`", guess or f"known: {', '.join(PRESETS)}")
        preset = PRESETS[request.preset]
        size, width, images = min(size, preset.size), min(width, preset.width), min(images, preset.images)
    return Preset(
        size=size if request.size is None else request.size,
        width=width if request.width is None else request.width,
        images=images if request.images is None else request.images,
    )


def _similarity(
    plugins: Plugins, request: RunRequest, model: ModelSpec, dataset: DatasetSpec, size: int, given: Values
) -> Component | None:
    """Return the run's similarity with all its settings, having checked that model and data have what it needs."""
    if model.similarity is None:
        if request.similarity is not None or request.similarity_weight is not None:
            raise GenbenchError(
                f"model `{model.name}` reconstructs nothing, so it takes no similarity", "leave out --similarity"
            )
        if given:
            raise GenbenchError(f"model `{model.name}` has no similarity to set", "leave out the similarity.* settings")
        return None
    parts = pairing.parts_of(plugins, request.similarity or model.similarity)
    settings: Values = {}
    for part, values in zip(parts, pairing.settings_by_part(parts, given), strict=True):
        pairing.check(plugins, part.spec, model, dataset, size)
        own = dict(model.similarity_settings) if part.name == model.similarity else {}
        resolved = resolve_settings(plugins, part.spec, own | values)
        settings |= {f"{part.prefix}{key}": value for key, value in resolved.items()}
    return Component(name=pairing.label(parts), settings=settings)


def resolve_evaluation(plugins: Plugins, names: tuple[str, ...] | None, settings: Sequence[str]) -> EvaluationConfig:
    """Return the evaluators asked for, each with its settings and the samples that it is given.

    Args:
        plugins: where evaluators are looked up.
        names: NAME or NAME:VARIANT; None for those that run by default. Those that run always are added to any.
        settings: `evaluation.samples=50`, `evaluation.EVALUATOR.key=value`.

    Raises:
        GenbenchError: as `resolve` does.
    """
    sections = by_section(settings)
    foreign = [name for name, values in sections.items() if values and name != "evaluation"]
    if foreign:
        raise GenbenchError(
            f"setting of the {foreign[0]}: it belongs to training, and a trained model has it for good",
            "what can be set here begins with `evaluation.`",
        )
    return _evaluation(plugins, names, sections["evaluation"])


def _evaluation(plugins: Plugins, names: tuple[str, ...] | None, given: Values) -> EvaluationConfig:
    if "evaluators" in given:
        raise GenbenchError(
            "setting `evaluation.evaluators`: evaluators have an option of their own", "--evaluators A,B"
        )
    chosen = _chosen(plugins, names)
    sampling = _build(SamplingConfig, {key: value for key, value in given.items() if "." not in key}, "evaluation")
    own = _settings_by_evaluator(given, {name for name, _ in chosen})
    components = [_evaluator(plugins, name, variant, own[name], sampling) for name, variant in chosen]
    return EvaluationConfig(evaluators=tuple({component.label: component for component in components}.values()))


def _chosen(plugins: Plugins, names: tuple[str, ...] | None) -> list[tuple[str, str]]:
    """Return name and variant of each evaluator to run, in the order asked for."""
    specs = plugins.specs("evaluators")
    asked = [spec.name for spec in specs if spec.default] if names is None else list(names)
    # Where nothing is asked for, nothing is added.
    added = [spec.name for spec in specs if spec.always and spec.name not in asked] if asked else []
    empty = [text for text in asked if text.endswith(":")]
    if empty:
        raise GenbenchError(f"evaluator `{empty[0]}`: no variant after the colon", f"ask for `{empty[0].rstrip(':')}`")
    return [(name, variant) for name, _, variant in (text.partition(":") for text in [*asked, *added])]


def _settings_by_evaluator(given: Values, names: set[str]) -> dict[str, Values]:
    settings: dict[str, Values] = {name: {} for name in names}
    for key, value in given.items():
        name, dot, setting = key.rpartition(".")
        if not dot:
            continue
        if name not in settings:
            raise GenbenchError(
                f"setting `evaluation.{key}`: evaluator `{name}` is not part of this run",
                did_you_mean(name, settings) or f"it runs: {', '.join(sorted(settings)) or 'none'}",
            )
        settings[name][setting] = value
    return settings


def _evaluator(plugins: Plugins, name: str, variant: str, given: Values, sampling: SamplingConfig) -> EvaluatorConfig:
    spec = plugins.evaluator(name)
    if variant and spec.variant is None:
        raise GenbenchError(f"evaluator `{name}` has no variants, so not `{name}:{variant}`", f"ask for `{name}`")
    if variant and spec.variant in given:
        raise GenbenchError(
            f"`{name}:{variant}` and the setting `evaluation.{name}.{spec.variant}` say the same twice",
            "leave out one of them",
        )
    values = resolve_settings(plugins, spec, given | ({spec.variant: variant} if variant and spec.variant else {}))
    if spec.variant == "extractor":
        plugins.extractor(values["extractor"])  # a name that nothing answers to is told before hours of training
    if spec.variant == "similarity":
        pairing.single(plugins, values["similarity"])
    return EvaluatorConfig(
        name=name,
        settings=values,
        variant=_variant(plugins, spec, values),
        sampling=sampling if spec.sampled else SamplingConfig(),
    )


def _variant(plugins: Plugins, spec: EvaluatorSpec, values: Values) -> str:
    """Return the setting by which an evaluator's variants are named, or nothing where it is the default."""
    if spec.variant is None or values[spec.variant] == resolve_settings(plugins, spec, {})[spec.variant]:
        return ""
    return str(values[spec.variant])


def _build(cls: type[Config], values: Values, where: str) -> Config:
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        unknown = next((e for e in error.errors() if e["type"] == "extra_forbidden"), None)
        guess = did_you_mean(str(unknown["loc"][0]), cls.model_fields) if unknown else None
        raise _invalid(error, where, guess or f"known: {', '.join(cls.model_fields)}") from error


def _invalid(error: ValidationError, where: str, hint: str) -> GenbenchError:
    """Turn the first of pydantic's complaints into ours."""
    first = error.errors()[0]
    place = ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("constrained", "literal", "float"))
    )
    if first["type"] == "extra_forbidden":
        return GenbenchError(f"{where} has no setting `{place}`", hint)
    if first["type"] == "missing":
        return GenbenchError(f"{where}: setting `{place}` has no value and no default", hint)
    said = first["msg"].removeprefix("Value error, ")
    message = said[0].lower() + said[1:]
    if not place:  # the class's own check of its settings taken together
        return GenbenchError(f"{where}: {message}", hint)
    return GenbenchError(f"{where}: setting `{place}` is {first['input']!r}: {message}", hint)


def _number_or_way(text: str | None) -> float | str | None:
    if text is None or text in ("auto", "calibrated"):
        return text
    try:
        return float(text)
    except ValueError:
        raise GenbenchError(
            f"--similarity-weight is {text!r}, expected `auto`, `calibrated` or a number over 0"
        ) from None


def _given(**values: Any) -> Values:
    """Return the values that are not None."""
    return {key: value for key, value in values.items() if value is not None}
