"""What piq has, read from its sources: listing imports neither piq nor torch."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from genbench.specs import Needs


@dataclass(frozen=True)
class Metric:
    """A metric of piq's that compares two images.

    Attributes:
        exported: piq's name for it.
        side: of the smallest image that it can tell anything of, in pixels; found by trying.
        colour: whether it takes colour images only, so that grey ones are shown as three equal channels.
        settings: the class of its settings in `genbench_piq.settings`, where it has a network; else empty.
        reads: whether piq reads some of its constants in Python, which lie on the images' device.
        blind: what it does not see, in words, or empty.
        known: whether it has been tried.
    """

    exported: str
    name: str
    summary: str
    side: int = 1
    colour: bool = False
    settings: str = ""
    reads: bool = False
    blind: str = ""
    known: bool = True

    @property
    def target(self) -> str:
        """Return the place of its class."""
        return f"genbench_piq.{'networks' if self.settings else 'formulas'}:{self.exported}"

    @property
    def settings_target(self) -> str | None:
        """Return the place of its settings' class, or None where there is nothing to set."""
        return f"genbench_piq.settings:{self.settings}" if self.settings else None

    @property
    def needs(self) -> Needs:
        """Return what it needs."""
        return Needs(min_size=self.side)


_LUMA = "colour, nor brightness but at the border"

_METRICS = (
    Metric("psnr", "piq-psnr", "minus the peak signal-to-noise ratio, in dB"),
    Metric("SSIMLoss", "piq-ssim", "structural similarity (Wang et al. 2004)", 11),
    Metric("MultiScaleSSIMLoss", "piq-ms-ssim", "structural similarity on five scales (Wang et al. 2003)", 161),
    Metric(
        "VIFLoss",
        "piq-vif",
        "visual information fidelity in the pixel domain (Sheikh & Bovik 2006)",
        41,
        blind="colour, brightness, and contrast that is too strong",
    ),
    Metric("GMSDLoss", "piq-gmsd", "deviation of gradient similarity (Xue et al. 2014)", 3, blind=_LUMA),
    Metric(
        "MultiScaleGMSDLoss",
        "piq-ms-gmsd",
        "deviation of gradient similarity on four scales (Zhang et al. 2017)",
        17,
        blind=_LUMA,
    ),
    Metric(
        "FSIMLoss",
        "piq-fsim",
        "phase congruency, gradients and colour (Zhang et al. 2011)",
        2,
        colour=True,
        blind="brightness, nor most of colour",
    ),
    Metric(
        "VSILoss",
        "piq-vsi",
        "gradients and colour, where they catch the eye (Zhang et al. 2014)",
        2,
        colour=True,
        blind="brightness",
    ),
    Metric("MDSILoss", "piq-mdsi", "mean deviation similarity index (Nafchi et al. 2016)", 2, colour=True),
    Metric(
        "HaarPSILoss",
        "piq-haarpsi",
        "Haar wavelets, and colour (Reisenhofer et al. 2018)",
        16,
        blind="brightness but at the border",
    ),
    Metric(
        "SRSIMLoss",
        "piq-srsim",
        "spectral residual similarity (Zhang & Li 2012)",
        40,
        reads=True,
        blind="colour and brightness",
    ),
    Metric("DSSLoss", "piq-dss", "bands of a cosine transform (Balanov et al. 2015)", 32, reads=True, blind=_LUMA),
    Metric(
        "ContentLoss",
        "piq-content",
        "features of VGG-16 (Gatys et al. 2016)",
        4,
        colour=True,
        settings="BackboneSettings",
    ),
    Metric(
        "StyleLoss",
        "piq-style",
        "Gram matrices of VGG-16's features (Gatys et al. 2016)",
        4,
        colour=True,
        settings="BackboneSettings",
        blind="where in the image anything is",
    ),
    Metric("LPIPS", "piq-lpips", "LPIPS on VGG-16 (Zhang et al. 2018)", 16, colour=True, settings="HeadsSettings"),
    Metric(
        "DISTS",
        "piq-dists",
        "structure and texture in VGG-16's features (Ding et al. 2020)",
        2,
        colour=True,
        settings="HeadsSettings",
    ),
    Metric(
        "PieAPP",
        "piq-pieapp",
        "error as people judge it, learned (Prashnani et al. 2018)",
        64,
        colour=True,
        settings="PieappSettings",
    ),
)

METRICS: Mapping[str, Metric] = {metric.exported: metric for metric in _METRICS}
"""Those that have been tried, by piq's names."""

_ALONE, _SETS = "looks at one image, without a reference", "compares sets of images by their features, not pairs"

LEFT_OUT: Mapping[str, str] = {
    "TVLoss": _ALONE,
    "BRISQUELoss": _ALONE,
    "CLIPIQA": _ALONE,
    "FID": _SETS,
    "GS": _SETS,
    "IS": _SETS,
    "KID": _SETS,
    "MSID": _SETS,
    "PR": _SETS,
    "InformationWeightedSSIMLoss": "needs the inverse of a matrix, and for an image without detail there is none: "
    "one such image ends a run",
}
"""Why piq's other classes are no similarities, by their names."""

_LOADING = ("torch.hub", "torch.load", "pretrained", "load_state_dict", "download")
"""Traces of weights in a module: those are read in genbench's own ways, or not at all."""


def installed() -> Path | None:
    """Return the folder with the sources of the piq that importing it would find, or None."""
    spec = find_spec("piq")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def declared(folder: Path) -> Iterator[Metric]:
    """Yield the metrics of the piq in a folder, those of a newer one included that look like the others."""
    for name, module in _exports(folder).items():
        if name in METRICS:
            yield METRICS[name]
        elif name[0].isupper() and name not in LEFT_OUT and _is_like_others(folder / f"{module}.py", name):
            yield unknown(name)


def unknown(name: str) -> Metric:
    """Return a metric of which nothing is known but piq's name for it."""
    return Metric(name, f"piq-{name.removesuffix('Loss').lower()}", f"piq's {name}", colour=True, known=False)


def _exports(folder: Path) -> Mapping[str, str]:
    """Return the names that piq exports, each with its module."""
    tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
    return {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        for alias in node.names
    }


def _is_like_others(file: Path, name: str) -> bool:
    """Say whether a class compares two images, gives each pair's value by itself if asked to, and loads no weights."""
    if not file.is_file():
        return False
    source = file.read_text("utf-8")
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    if name not in classes or any(trace in source for trace in _LOADING):
        return False
    forward, init = (_arguments(classes, name, method) for method in ("forward", "__init__"))
    compared = [] if forward is None else forward.args[1 : len(forward.args) - len(forward.defaults)]
    of_images = len(compared) == 2 and not any("feature" in argument.arg for argument in compared)
    return of_images and init is not None and "reduction" in [a.arg for a in (*init.args, *init.kwonlyargs)]


def _arguments(classes: Mapping[str, ast.ClassDef], name: str, method: str) -> ast.arguments | None:
    """Return the arguments of a class's method, its own or that of a base in the same module."""
    if name not in classes:
        return None
    for node in classes[name].body:
        if isinstance(node, ast.FunctionDef) and node.name == method:
            return node.args
    bases = (base.id for base in classes[name].bases if isinstance(base, ast.Name))
    return next(filter(None, (_arguments(classes, base, method) for base in bases)), None)
