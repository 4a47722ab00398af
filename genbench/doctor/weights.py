"""Which published weights are here; nothing is downloaded."""

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

import torch

from genbench.doctor.findings import Ground
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.extractors import Extractor, Inception
from genbench.evaluate.extractors.dinov2 import DINOV2
from genbench.evaluate.extractors.fidelity import published_clip
from genbench.evaluate.extractors.inception import WEIGHTS as INCEPTION
from genbench.evaluate.extractors.lpips import BACKBONES
from genbench.evaluate.extractors.torchvision import published_classifier
from genbench.evaluate.extractors.weights import FOLDER_VARIABLE, Published, find, hash_in
from genbench.findings import Finding


def weights(_: Ground) -> Iterator[Finding]:
    """Look for each, and compare its content with the hash that it is published under."""
    for name, published in known().items():
        yield _look(f"weights {name}", published)


def known() -> dict[str, Published]:
    """Return what scores are computed on, by what needs it."""
    return {
        "inception": INCEPTION,
        "vgg16": published_classifier("vgg16"),
        "clip": published_clip("vit-b-32"),
        "dinov2": DINOV2["vitb14"].published,
        # Its linear heads come with torchmetrics.
        **{f"lpips {net}": published_classifier(backbone.name) for net, backbone in BACKBONES.items()},
    }


def inception(device: torch.device) -> Extractor:
    """Return Inception where its weights are here already.

    Raises:
        NotApplicable: they are not.
    """
    path = find(INCEPTION)
    if path is None:
        raise NotApplicable("Inception's weights are not here", _road(INCEPTION))
    return Inception.load(path, device)


def _look(name: str, published: Published) -> Finding:
    try:
        path = find(published)
    except GenbenchError as error:
        return Finding(name, "failed", error.message, error.hint)
    if path is None:
        return Finding(name, "skipped", "not here; downloaded when needed", _road(published))
    wrong = _other_content(path, published)
    return Finding.of(name, wrong is None, wrong or str(path), f"get it anew from {published.url}")


def _other_content(path: Path, published: Published) -> str | None:
    """Say where a file's content is not what its name promises; a file of another name promises nothing."""
    promised = published.sha256 if path.name == published.files[0] else hash_in(path.name)
    with path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found.startswith(promised):
        return None
    return f"{path}: its SHA-256 begins with {found[:8]}, expected is {promised[:8]}"


def _road(published: Published) -> str:
    hub = Path(torch.hub.get_dir()) / "checkpoints" / published.files[0]
    return f"put the file from {published.url} at {hub}, or into the folder that {FOLDER_VARIABLE} names"
