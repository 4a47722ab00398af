"""Extractors by name: what the registry gives, refuses, and says."""

import ast
import sys
from collections.abc import Callable, Iterator
from inspect import cleandoc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import genbench
import genbench_evaluators
from genbench import ExtractorSpec, GenbenchError, NotApplicable, hookspecs
from genbench.cli import main
from genbench.evaluate.extractors import ExtractorRequest, check_variants, obtain_extractor
from genbench.plugins import Plugins

CPU = torch.device("cpu")
FIRST_PARTY = Plugins.of(genbench_evaluators)


class Fake:
    """An extractor that remembers what it was asked for."""

    size, weights_hash = 1, "0" * 64

    def __init__(self, request: ExtractorRequest) -> None:
        self.request = request
        self.name = f"fake:{request.variant}" if request.variant else "fake"
        self.facts: dict[str, str] = {}

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().mean((1, 2, 3))[:, None]

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return ()


def refused(request: ExtractorRequest) -> None:
    raise NotApplicable("no weights", "get some")


def nothing(request: ExtractorRequest) -> object:
    return object()


def other(request: ExtractorRequest) -> object:
    return SimpleNamespace(**{**dict.fromkeys(("size", "weights_hash", "facts", "warnings", "__call__")), "name": "x"})


constant = 3

Declare = Callable[..., Plugins]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Return plugins with one extractor `fake`, whose target is something of this module."""
    monkeypatch.setitem(sys.modules, "extractors_of_tests", sys.modules[__name__])

    def declare(target: str = "Fake", **options: Any) -> Plugins:
        class Own:
            @genbench.hookimpl
            def genbench_extractors(self) -> Iterator[ExtractorSpec]:
                yield ExtractorSpec("fake", "of no use", f"extractors_of_tests:{target}", **options)

        return Plugins.of(genbench_evaluators, Own())

    return declare


def test_a_target_is_called_with_what_was_asked_for(declare: Declare) -> None:
    plugins = declare(variants=True, variant="small")
    extractor: Any = obtain_extractor(plugins, "fake:large", "some/file.pth", CPU)
    assert extractor.request == ExtractorRequest("large", "some/file.pth", CPU)
    extractor = obtain_extractor(plugins, "fake", "", CPU)
    assert extractor.request == ExtractorRequest("small", "", CPU)
    extractor = obtain_extractor(declare(), "fake", "", CPU)
    assert extractor.request == ExtractorRequest("", "", CPU)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("incepton", "unknown extractor `incepton`", "did you mean `inception`?"),
        ("torchvison:resnet18", "unknown extractor `torchvison`", "did you mean `torchvision`?"),
        ("torchvision", "extractor `torchvision` needs a variant", "genbench show torchvision"),
        ("torchvision:", "needs a variant", "genbench show torchvision"),
        ("torchvision:resnt18", "unknown classifier of torchvision `resnt18`", "did you mean `resnet18`"),
        ("clip:", "needs a variant", "genbench show clip"),
        ("clip:vit-b32", "unknown variant `vit-b32`", "did you mean `vit-b-32`"),
        ("dinov2:vitg14", "unknown variant `vitg14`", "vitb14"),
        ("inception:v4", "extractor `inception` has no variants, found `inception:v4`", "write `inception`"),
        ("attributes", "a data set's classifier", "evaluation context"),
    ],
)
def test_names_that_give_no_extractor(name: str, message: str, hint: str) -> None:
    with pytest.raises(GenbenchError) as caught:
        obtain_extractor(FIRST_PARTY, name, "", CPU)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "what `extractors_of_tests:nothing` gives has no `name`"),
        ("other", "`extractors_of_tests:other` calls itself `x`"),
        ("constant", "`extractors_of_tests:constant` can't be called"),
        ("missing", "has no `missing`"),
    ],
)
def test_targets_that_are_no_extractors(declare: Declare, target: str, message: str) -> None:
    with pytest.raises(GenbenchError, match=message):
        obtain_extractor(declare(target), "fake", "", CPU)


def test_an_extractor_that_does_not_apply_is_named_and_stays_a_skip(declare: Declare) -> None:
    with pytest.raises(NotApplicable, match="extractor `fake`: no weights") as caught:
        obtain_extractor(declare("refused"), "fake", "", CPU)
    assert caught.value.hint == "get some"


def test_the_classifiers_name_is_taken() -> None:
    class Own:
        @genbench.hookimpl
        def genbench_extractors(self) -> Iterator[ExtractorSpec]:
            yield ExtractorSpec("attributes", "mine", "a:B")

    with pytest.raises(GenbenchError, match="extractor `attributes` is declared by"):
        Plugins.of(genbench_evaluators, Own()).extractor("attributes")


@pytest.mark.parametrize("options", [{"settings": "a:B"}, {"variant": "small"}])
def test_declarations_that_would_do_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GenbenchError, match="ExtractorSpec 'fake'"):
        ExtractorSpec("fake", "of no use", "a:B", **options)


def test_the_hooks_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = (hookspecs.genbench_extractors.__doc__ or "").partition("::\n")[2]
    source = cleandoc("\n" + example)
    assert isinstance(ast.parse(source), ast.Module)
    (tmp_path / "genbenchfile.py").write_text(source)
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    extractor = obtain_extractor(Plugins.load(tmp_path), "colours", "", CPU)
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[0, 1] = 90
    features = extractor(images)
    assert features.shape == (2, extractor.size)
    assert features.dtype == torch.float32
    assert features.sum().item() == 16 * 90
    assert extractor(images[:, 1:2]).shape == (2, extractor.size)
    assert extractor.warnings(28, 1)
    monkeypatch.delitem(sys.modules, "genbenchfile")


def test_extractors_are_listed_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list", "extractors"]) == 0
    out = capsys.readouterr().out
    for name in ("attributes", "clip", "dinov2", "inception", "torchvision", "vgg16"):
        assert f"\n{name} " in out
    for name in ("attributes", "clip", "dinov2", "inception", "torchvision", "vgg16"):
        assert main(["show", name]) == 0
        assert f"extractor {name}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("torchvision:resnt18", "did you mean `resnet18`"),
        ("torchvision:qqq", "none of them like it"),
        ("clip:vit", "known: vit-b-32, vit-b-16, vit-l-14"),
        ("dinov2:vitb15", "did you mean `vitb14`"),
    ],
)
def test_a_variant_that_there_is_not_is_told_without_weights(name: str, hint: str) -> None:
    with pytest.raises(GenbenchError) as caught:
        check_variants(FIRST_PARTY, [name])
    base, _, variant = name.partition(":")
    assert caught.value.message == f"extractor `{base}` has no variant `{variant}`"
    assert hint in (caught.value.hint or "")


def test_variants_that_there_are_and_names_of_others_pass() -> None:
    names = ("inception", "attributes", "clip", "clip:vit-l-14", "dinov2:vits14", "torchvision:squeezenet1_0", "mine")
    check_variants(FIRST_PARTY, names)


def test_a_run_with_a_misspelt_variant_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["run", "vae", "toyfaces"], ["evaluate", "runs"]):
        (tmp_path / "runs").mkdir(exist_ok=True)
        assert main([*command, "--evaluators", "fd:torchvision:resnt18"]) == 2
    err = capsys.readouterr().err
    assert "has no variant `resnt18`" in err
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"known": "a:b"}, "`variants` is false"), ({"variants": True, "known": "a"}, "not of the form")],
)
def test_a_spec_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(GenbenchError, match=said):
        ExtractorSpec("x", "", "a:B", **fields)
