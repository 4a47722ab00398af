"""What the documentation takes from the code is as the code has it: commands' help, hooks, declarations, checks."""

import inspect
import re
from dataclasses import MISSING, fields
from difflib import unified_diff
from pathlib import Path
from typing import get_type_hints

import click
import pytest
from generated import DOCS, help_of, pages
from markdown import blocks

import genbench
from genbench import hookspecs
from genbench.cli import COMMANDS, group
from genbench.records import Record
from genbench.specs import DatasetSpec, EvaluatorSpec, ExtractorSpec, ModelSpec, Needs, SimilaritySpec

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("genbench_"))
DECLARED = {
    "models": (ModelSpec,),
    "similarities": (SimilaritySpec, Needs),
    "evaluators": (EvaluatorSpec,),
    "extractors": (ExtractorSpec,),
    "datasets": (DatasetSpec,),
}


def page_of(hook: str) -> Path:
    return DOCS / "hooks" / f"{hook.removeprefix('genbench_')}.md"


@pytest.mark.parametrize("page", sorted(pages()), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_has_what_the_code_says(page: Path) -> None:
    expected, found = pages()[page], page.read_text() if page.exists() else ""
    difference = "".join(unified_diff(found.splitlines(True), expected.splitlines(True), "the page", "the code"))
    assert not difference, f"`python tests/generated.py` would mend {page}:\n{difference}"


def test_the_commands_page_has_every_command() -> None:
    text = (DOCS / "commands.md").read_text()
    assert re.findall(r"^## genbench (\S+)$", text, re.MULTILINE) == list(COMMANDS)
    assert "--similarity NAME" in help_of(("run",))


def test_every_hook_has_a_page_and_every_page_a_hook() -> None:
    assert sorted(path.stem for path in (DOCS / "hooks").glob("*.md")) == [n.removeprefix("genbench_") for n in HOOKS]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_page_begins_with_the_hook_s_signature(hook: str) -> None:
    first = blocks(page_of(hook))[0]
    assert first.language == "python"
    scope: dict[str, object] = {}
    exec(first.text, scope)
    told, true = scope[hook], getattr(hookspecs, hook)
    assert inspect.isfunction(told)
    assert list(inspect.signature(told).parameters) == list(inspect.signature(true).parameters)
    assert get_type_hints(told) == get_type_hints(true, localns={"Record": Record})
    assert page_of(hook).read_text().startswith(f"# {hook}\n")


@pytest.mark.parametrize(
    ("page", "declaration"), [(page, one) for page, declared in DECLARED.items() for one in declared]
)
def test_a_table_has_every_field_of_a_declaration_and_its_default(page: str, declaration: type) -> None:
    table = (DOCS / "hooks" / f"{page}.md").read_text().split(f"| `{declaration.__name__}` | default | what |\n")[1]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:3]] for line in table.partition("\n\n")[0].splitlines()[1:]]
    told = {name: eval(default, vars(genbench).copy()) if default else MISSING for name, default in rows}
    assert told == {one.name: one.default for one in fields(declaration)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_inside_sentences_have_names_and_options_that_there_are(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for text in re.findall(r"`genbench ([a-z][^`]*)`", prose):
        name, *rest = " ".join(text.split()).split(" ")
        assert name in COMMANDS, text
        command = group.get_command(click.Context(group), name)
        assert command is not None
        known = {option for param in command.params for option in param.opts} | {"--help"}
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known, text


def test_the_index_of_the_documentation_names_every_page() -> None:
    readme = (DOCS.parent / "README.md").read_text()
    pages_named = set(re.findall(r"docs/[\w/]+\.md", readme))
    tutorial = (DOCS / "plugins.md").read_text()
    pages_named |= {f"docs/{name}" for name in re.findall(r"\]\(([\w/]+\.md)\)", tutorial)}
    assert {path.relative_to(DOCS.parent).as_posix() for path in DOCS.rglob("*.md")} <= pages_named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_a_heading_find_it(page: Path) -> None:
    for link, heading in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text()):
        there = (page.parent / link if link else page).read_text()
        titles = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert heading in anchors, f"{link}#{heading}"
