"""Walks through a page of the documentation as a reader would: writes its files, gives its commands, in one folder.

What trains is made tiny: few small images, narrow networks, drawn faces instead of data that must be fetched. A command
is first checked as it stands on the page: its options, its names, and whether the parts of the run fit each other.
"""

import importlib
import io
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import click
import tomli_w
from hatchling.build import build_wheel
from markdown import Block, Command, blocks, changed, commands, missing

from genbench.cli import COMMANDS, group, main
from genbench.cli.options import evaluator_names
from genbench.cli.run import completed
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve
from genbench.suite import find_suite

FETCHED = ("celeba", "mnist", "fashion-mnist", "cifar10", "lfw", "stl10")
"""Data sets that must be fetched; `DRAWN` stands in for them."""

DRAWN = "toyfaces"
SIZE = 16
RUN = {"width": 0.05, "images": 64, "batch_size": 16}
SETTINGS = {"network.latent_size": 4, "network.encoder_hidden": 64, "evaluation.samples": 140}
FACES = 1400
"""Drawn faces: a tenth of them, the test split, is enough for a Fréchet distance on the 128 features of attributes."""

SCORES = "mse,ssim,rate"
_FAILURE = re.compile(r"error: |.*… failed … ")
"""How a page shows what a command says that does not end with 0."""

CHEAP = ("mse", "ssim", "fd", "rate", "similarity:mse", "similarity:ssim", "similarity:l1")


@dataclass
class Walk:
    """A walk through one page.

    Args:
        folder: to work in; empty.
        elsewhere: how commands begin that are not given here, and why.
    """

    folder: Path
    elsewhere: Mapping[str, str]
    counts: Counter[str] = field(default_factory=Counter)
    unwalked: dict[str, str] = field(default_factory=dict)

    def through(self, page: Path) -> None:
        """Walk through all blocks of a page, in their order.

        Raises:
            AssertionError: a command did not do what the page says, a block can't be understood.
        """
        undo: dict[Path, str] = {}
        os.chdir(self.folder)
        with imports_from(self.folder / "site"), imports_from(self.folder):
            for block in blocks(page):
                place = f"{page.name}:{block.line}"
                if block.language == "diff":
                    undo |= self._change(block, place)
                    continue
                self._take(block, place)
                for path, text in undo.items():
                    path.write_text(text)
                undo.clear()
        assert not undo, f"{page.name}: a diff with no command after it"

    def _take(self, block: Block, place: str) -> None:
        if block.language in ("sh", "console"):
            for command in commands(block):
                self._give(command, place)
        elif block.file is not None:
            self._write(block.file, block.text)
        elif block.language == "python":
            self.counts["python"] += 1
            exec(compile(block.text, place, "exec"), {"__name__": "__main__"})
        else:
            assert block.language == "text", f"{place}: a block of {block.language!r} that is no file"
            self.counts["text"] += 1

    def _write(self, name: str, text: str) -> None:
        self.counts["files"] += 1
        if name.endswith(".toml"):
            tomllib.loads(text)
        path = Path.cwd() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _change(self, block: Block, place: str) -> dict[Path, str]:
        """Make a change to the file that its first line names, and return what to put back after the next block."""
        self.counts["changes"] += 1
        first, _, difference = block.text.partition("\n")
        path = Path.cwd() / first.removeprefix("# ")
        before = path.read_text()
        try:
            path.write_text(changed(before, difference))
        except ValueError as error:
            raise AssertionError(f"{place}: {path.name}: {error}") from error
        return {path: before}

    def _give(self, command: Command, place: str) -> None:
        """Give a command, and see that it prints what the page says and ends as it should."""
        program, *arguments = command.words
        fails = any(_FAILURE.match(line) for line in command.expected)
        if program == "genbench" and not fails:
            as_written(arguments)
        why = next((why for how, why in self.elsewhere.items() if str(command).startswith(how)), None)
        if why is not None and "--help" not in arguments:
            self.unwalked[str(command)] = why
            self.counts["elsewhere"] += 1
        elif program == "cd":
            os.chdir(arguments[0])
        elif program == "mv":
            Path(arguments[0]).rename(arguments[1])
        elif program == "pip" and arguments[-1].startswith("./"):
            self.counts["installed"] += 1
            install(Path(arguments[-1].partition("[")[0]), self.folder / "site")
        else:
            assert program in ("genbench", "pytest"), f"{place}: nothing says what is to be done about `{command}`"
            self.counts["commands"] += 1
            pytest = program == "pytest"
            status, printed = tested(arguments, self.folder / "site") if pytest else self._tiny(command, arguments)
            told = f"{place}: `{command}` ended with {status} and printed:\n{printed}"
            line = missing(printed, command.expected)
            assert line is None, f"{told}\nexpected, and not printed: {line!r}"
            assert (status != 0) == fails, told

    def _tiny(self, command: Command, arguments: Sequence[str]) -> tuple[int, str]:
        home = str(self.folder)
        return given(tiny(arguments), {name: value.replace("~", home, 1) for name, value in command.variables.items()})


def as_written(arguments: Sequence[str]) -> None:
    """Check a command as it stands on the page: that it parses, and of a run, that its parts are there and fit."""
    if not arguments or "--help" in arguments:
        return
    name, *rest = arguments
    assert name in COMMANDS, f"no command {name}"
    params = parsed(name, rest)
    if name == "run":
        resolve(Plugins.load(), request_of(params))


def parsed(name: str, words: Sequence[str]) -> Mapping[str, Any]:
    """Return what a command's words say; refuses an unknown option, and runs nothing."""
    # A command keeps the names of its help option as it was first asked for them: they come from above.
    above = click.Context(group, **group.context_settings)
    command = group.get_command(above, name)
    assert command is not None
    return command.make_context(name, list(words), parent=above).params


def request_of(params: Mapping[str, Any]) -> RunRequest:
    """Return what the options of `genbench run` ask for."""
    own = {one.name: params[one.name] for one in fields(RunRequest) if one.name != "evaluators"}
    own |= {key: own[key] or "" for key in ("model", "dataset")}
    return completed(RunRequest(**own, evaluators=evaluator_names(params["evaluators"])), params["recipe"])


def tiny(arguments: Sequence[str]) -> list[str]:
    """Return a command that does the same in about a second."""
    if "--help" in arguments:
        return list(arguments)
    if arguments[:1] == ["run"]:
        return tiny_run(arguments)
    if arguments[:1] == ["evaluate"] and "--evaluators" not in arguments:
        return [*arguments, "--evaluators", SCORES]
    if arguments[:1] == ["score"] and "--dataset" not in arguments:
        return [*arguments, *("--size", "32", "--images", "16", "-s", f"dataset.count={FACES}", "--threads", "1")]
    if arguments[:1] == ["suite"] and "--dry-run" not in arguments:
        assert given(["suite", arguments[1], "--dry-run"], {})[0] == 0, f"{arguments[1]} as it is can't be planned"
        return ["suite", str(tiny_suite(find_suite(arguments[1]))), *arguments[2:], "--device", "cpu"]
    return list(arguments)


def tiny_run(arguments: Sequence[str]) -> list[str]:
    """Return a run with its budget and networks cut down, and on drawn faces where its data must be fetched."""
    params = parsed("run", arguments[1:])
    asked = request_of(params)
    dataset = DRAWN if asked.dataset in FETCHED else asked.dataset
    names = re.split("[:+]", asked.similarity or "")
    needed = [spec.needs.min_size for spec in Plugins.load().specs("similarities") if spec.name in names]
    own = {text.partition("=")[0] for text in asked.settings}
    settings = {**SETTINGS, **({"dataset.count": FACES} if dataset == DRAWN else {})}
    added = [f"{key}={value}" for key, value in settings.items() if key not in own]
    return [
        *(dataset if word == asked.dataset else word for word in arguments),
        *(value for key, value in (("model", asked.model), ("dataset", dataset)) if params[key] is None),
        *("--size", str(max([SIZE, *needed]))),
        *(text for key, value in RUN.items() for text in (f"--{key.replace('_', '-')}", str(value))),
        *(text for setting in added for text in ("-s", setting)),
        *([] if asked.evaluators is not None else ["--evaluators", f"{SCORES},fd" if dataset == DRAWN else SCORES]),
        *("--device", "cpu", "--threads", "1"),
    ]


def tiny_suite(file: Path) -> Path:
    """Write a copy of a suite whose runs are tiny, with two values of each list, one seed and cheap scores alone."""
    suite = tomllib.loads(file.read_text())
    tables = [suite.setdefault("defaults", {}), *suite["runs"]]
    for table in tables:
        for key, value in table.items():
            table[key] = value[:2] if isinstance(value, list) and key != "evaluators" else value
        for key in ("preset", "seeds", "size", *RUN):
            table.pop(key, None)
        if table.get("dataset") in FETCHED:
            table["dataset"] = DRAWN
        if "evaluators" in table:
            table["evaluators"] = [name for name in table["evaluators"] if name in CHEAP]
        own = table.get("settings", {})
        table["settings"] = {key: value[:2] if isinstance(value, list) else value for key, value in own.items()}
    tables[0] |= {"size": SIZE, **RUN}
    tables[0]["settings"] |= {**SETTINGS, "dataset.count": FACES}
    path = Path.cwd() / "tiny" / file.name
    path.parent.mkdir(exist_ok=True)
    path.write_text(tomli_w.dumps(suite))
    return path


def given(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Give one command of genbench in this process and return its status and all that it printed."""
    before = dict(os.environ)
    printed = io.StringIO()
    os.environ.update(variables)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            status = main(list(arguments))
    finally:
        os.environ.clear()
        os.environ.update(before)
    return status, printed.getvalue()


def tested(arguments: Sequence[str], site: Path) -> tuple[int, str]:
    """Run pytest in a process of its own, with what is installed there."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def install(project: Path, site: Path) -> None:
    """Build a project's wheel, as pip would, and unpack it where it can be imported; what it depends on is here."""
    before = Path.cwd()
    os.chdir(project)
    try:
        with redirect_stdout(io.StringIO()):
            wheel = site.parent / "wheels" / build_wheel(str(site.parent / "wheels"))
    finally:
        os.chdir(before)
    with ZipFile(wheel) as file:
        file.extractall(site)
    importlib.invalidate_caches()


@contextmanager
def imports_from(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported, and forget them afterwards."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
                del sys.modules[name]
