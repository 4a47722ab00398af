"""The names of a new plugin, made of the one that its user types, and whether they are free. Imports no torch."""

import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, get_args

from genbench.errors import GenbenchError
from genbench.plugins import FILE, SINGULAR, Kind, Plugins

PartKind = Literal["similarity", "model", "evaluator", "dataset"]
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)

PLURAL: dict[str, Kind] = {word: kind for kind, word in SINGULAR.items()}

LONGEST = 64
"""Characters of a name: it becomes part of the names of files and folders."""

PREFIX = "genbench-"

# What may stand in a declaration and in the name of a distribution (PEP 508) at once.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")

_MEANT = {
    ":": "in a similarity it is a share, as in `mse:0.5+dis-l:0.5`, in an evaluator a variant, as in `fd:dinov2`",
    "+": "it makes mixtures, as in `mse:0.5+dis-l:0.5`",
    ",": "it stands between names, as in `--evaluators mse,ssim`",
}
"""What characters mean that no name may hold."""

_NONE = "none"
"""On the command line and in tables, that there is no such part."""

_IN_TEMPLATES = frozenset(
    {
        *("Annotated", "Batch", "Blueprint", "Callable", "DataRequest", "Dataset", "EvaluationContext", "Evaluator"),
        *("Floats", "Ge", "Gt", "ImageSet", "Iterable", "Losses", "Model", "NotApplicable", "Posterior", "Score"),
        *("Settings", "Similarity", "Tensor", "View"),
    }
)
"""What templates define beside the new class."""


@dataclass(frozen=True)
class Names:
    """All names of a new part.

    Attributes:
        name: what users type.
    """

    kind: PartKind
    name: str

    @property
    def distribution(self) -> str:
        """Return what pip installs, normalised (PEP 503)."""
        return PREFIX + re.sub(r"[-_.]+", "-", self.name)

    @property
    def module(self) -> str:
        """Return the package that is imported."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        """Return the class, which is no name that means something else already."""
        words = "".join(word[:1].upper() + word[1:] for word in re.split("[-_.]+", self.name))
        taken = not words.isidentifier() or keyword.iskeyword(words) or hasattr(builtins, words)
        return f"{self.kind.capitalize()}{words}" if taken or words in _IN_TEMPLATES else words


def make_names(kind: PartKind, name: str) -> Names:
    """Return the names of a new part.

    Raises:
        GenbenchError: the name can't be that of a part and of a package.
    """
    if name.startswith((PREFIX, "genbench_", "genbench.")):
        rest = name[len(PREFIX) :]
        raise GenbenchError(
            f"name {name!r}: the package gets `{PREFIX}` before its name, the {kind} itself needs none",
            f"genbench new {kind} {rest}" if _NAME.fullmatch(rest) else None,
        )
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise GenbenchError(
            f"name {name!r}: {'; '.join(_faults(name))}",
            f"such as `{_mended(name) or 'my-' + kind}`",
        )
    if name == _NONE:
        raise GenbenchError(f"name `{name}`: it means that there is no {kind}", f"such as `my-{kind}`")
    return Names(kind, name)


def check_free(plugins: Plugins, names: Names) -> None:
    """Raise a GenbenchError where something of this kind has the name already; says whose it is."""
    for declaration in plugins.declarations(PLURAL[names.kind]):
        if declaration.spec.name == names.name:
            own = declaration.plugin.distribution == FILE
            raise GenbenchError(
                f"{names.kind} `{names.name}` is there already, from plugin {declaration.plugin.title}",
                f"rename {FILE} first: the two would clash" if own else "choose another name",
            )


def check_free_package(plugins: Plugins, names: Names) -> None:
    """Raise a GenbenchError where the package's names are another's already, installed or importable."""
    owner = next((plugin.title for plugin in plugins.loaded if plugin.name == names.module), None)
    found = find_spec(names.module)
    if owner is None and found is not None:
        owner = found.origin or ", ".join(found.submodule_search_locations or [])
    if owner is not None:
        raise GenbenchError(
            f"name `{names.name}`: its package would be `{names.module}`, which is there already: {owner}",
            "choose another name",
        )
    try:
        installed = version(names.distribution)
    except PackageNotFoundError:
        return
    raise GenbenchError(
        f"name `{names.name}`: its distribution would be `{names.distribution}`, of which {installed} is installed",
        "choose another name, or uninstall that one",
    )


def _faults(name: str) -> Iterator[str]:
    """Yield what is wrong with a name, a clause each."""
    for character in dict.fromkeys(name):
        if character in _MEANT:
            yield f"{character!r} has a meaning: {_MEANT[character]}"
    if len(name) > LONGEST:
        yield f"{len(name)} characters, expected at most {LONGEST}"
    if not _NAME.fullmatch(name):
        yield "expected lower-case letters, digits, and between them `.`, `_` or `-`"


def _mended(name: str) -> str:
    """Return the nearest name that will do, or nothing where too little is left of it."""
    words = re.findall("[a-z0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower())
    return "-".join(words)[:LONGEST].strip("-")
