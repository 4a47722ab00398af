"""The page of a report, without a browser: what stands in it, where it stands, and that strangers' text stays text."""

import io
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from leaderboards import make_record
from pages import COLUMNS, HOSTILE, SIDE, Page, drawing, group_of, hostile, ordinary
from PIL import Image

from genbench.compare import leaderboard
from genbench.matrix import matrices
from genbench.report.content import Report
from genbench.report.page import render
from genbench.tables import clean, grid

ALLOWED = {
    *("html", "head", "meta", "title", "link", "style", "script", "body", "a", "header", "nav", "main", "footer"),
    *("section", "div", "span", "p", "h1", "h2", "h3", "h4", "ul", "li", "dl", "dt", "dd", "bdi", "strong", "wbr"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "details", "summary"),
    *("fieldset", "legend", "label", "input", "button", "output"),
}


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(ordinary()))


@pytest.fixture(scope="module")
def attacked() -> Page:
    return Page(render(hostile()))


def hashed(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def cells(page: Page, section: str) -> list[list[str]]:
    """Return the text of the first table of a section, row by row, without its first column."""
    (part,) = page.all("section", id=section)
    table = next(e for e in page.all("table") if e.inside(part))
    rows = [e for e in page.all("tr") if e.inside(table)][1:]
    return [[e.words for e in page.all("td") if e.inside(row)] for row in rows]


def test_numbers_marks_and_notes_are_those_of_the_terminal(page: Page) -> None:
    (table,) = leaderboard(ordinary().groups[0].digests)
    text = grid(table)
    expected = [[f"{e.text} {e.spread}".strip() for e in row[text.labels :]] for row in text.rows]
    assert cells(page, "g1-leaderboard") == expected
    (part,) = page.all("section", id="g1-leaderboard")
    strong = [e.words for e in page.all("strong") if e.inside(part)]
    assert strong
    assert strong == [entry.text for row in text.rows for entry in row if entry.strong]
    said = [e.words for e in page.all("li") if e.inside(part)]
    assert said[-len(table.notes) :] == [clean(note) for note in table.notes]
    assert any("All samples are alike." in note for note in said)
    assert any("like is nan" in note for note in said)


def test_the_matrix_is_that_of_compare_with_home_marked(page: Page) -> None:
    (table,) = matrices(ordinary().groups[0].digests)
    text = grid(table)
    expected = [[f"{e.text} {e.spread}".strip() for e in row[text.labels :]] for row in text.rows]
    assert cells(page, "g1-matrix") == expected
    (part,) = page.all("section", id="g1-matrix")
    assert len([e for e in page.all("td", class_="own") if e.inside(part)]) == 2
    headings = [e.words for e in page.all("th") if e.inside(part) and e.attrs.get("scope") == "col"]
    assert "mse ↓, lower is better" in headings
    assert page.all("section", id="g2-matrix") == []


def test_a_matrix_that_can_not_be_made_is_explained() -> None:
    group = group_of([make_record("vae", "mse", 0, {"similarity-mse": 1.0})])
    page = Page(render(Report("t", "m", (group,))))
    (part,) = page.all("section", id="g1-matrix")
    assert "two similarities or more" in part.words


def test_cells_sort_by_the_numbers_themselves(page: Page) -> None:
    (table,) = leaderboard(ordinary().groups[0].digests)
    (part,) = page.all("section", id="g1-leaderboard")
    rows = [e for e in page.all("tr") if e.inside(part)][1:]
    for element, row in zip(rows, table.rows, strict=True):
        keys = [e.attrs.get("data-key") for e in page.all("td") if e.inside(element)][-len(row.cells) :]
        assert [None if key is None else float(key) for key in keys] == [c.mean if c else None for c in row.cells]
    first = {e.words.split(" ")[0]: e.attrs["data-first"] for e in page.all("button") if e.inside(part)}
    assert first["fid"] == "ascending"
    assert first["ssim"] == "descending"


def test_reconstructions_stand_below_the_images_they_are_of_column_by_column(page: Page) -> None:
    (part,) = page.all("section", id="g1-reconstructions")
    images = [e for e in page.all("img") if e.inside(part)]
    assert images[0].attrs["alt"] == f"{COLUMNS} test images"
    assert len(images) == 1 + 10
    assert {e.attrs["width"] for e in images} == {str(1024 // (SIDE * COLUMNS) * SIDE * COLUMNS)}
    assert "gan · None, seed 0: it has no encoder" in part.words


def test_edits_have_a_name_above_each_column(page: Page) -> None:
    (part,) = page.all("section", id="g1-edits")
    names = [e for e in page.all("span", class_="columns upright") if e.inside(part)]
    assert len(names) == 10
    inner = [e.words for e in page.all("span") if e.parent is names[0]]
    assert inner == ["input", "output", "smiling", "Wearing_Lipstick", "hat"]


def test_pictures_are_enlarged_by_whole_factors_and_drawings_not_at_all(page: Page) -> None:
    seen = set()
    for image in page.all("img"):
        found = re.fullmatch(r"data:image/([a-z+]+);base64,([A-Za-z0-9+/=]+)", image.attrs["src"] or "")
        assert found
        content = b64decode(found[2], validate=True)
        shown = int(image.attrs["width"] or ""), int(image.attrs["height"] or "")
        size = (320, 200) if found[1] == "svg+xml" else Image.open(io.BytesIO(content)).size
        factor = shown[0] // size[0]
        assert shown == (factor * size[0], factor * size[1])
        assert (image.attrs.get("class") == "enlarged") == (factor > 1)
        seen.add((found[1], factor))
    assert seen == {("svg+xml", 1), ("png", 16), ("webp", 8), ("png", 12)}


def test_every_picture_has_an_alternative_text(page: Page, attacked: Page) -> None:
    for each in (page, attacked):
        assert len(each.all("img")) > 20
        assert all((image.attrs.get("alt") or "").strip() for image in each.all("img"))


def test_no_strangers_text_becomes_markup(attacked: Page) -> None:
    assert {e.tag for e in attacked.elements} <= ALLOWED
    assert [e for e in attacked.elements for name in e.attrs if name.startswith("on") or name == "style"] == []
    assert [len(attacked.all(tag)) for tag in ("script", "style", "title", "link")] == [1, 1, 1, 1]
    assert all((e.attrs["href"] or "").startswith(("#", "data:,")) for e in attacked.elements if "href" in e.attrs)
    assert all((e.attrs["src"] or "").startswith("data:image/") for e in attacked.elements if "src" in e.attrs)
    assert {name for e in attacked.elements for name in e.attrs} <= {
        *("lang", "charset", "http-equiv", "content", "name", "rel", "href", "class", "id", "type", "hidden", "src"),
        *("width", "height", "alt", "decoding", "role", "tabindex", "scope", "title", "disabled", "value", "checked"),
        *("autocomplete", "aria-label", "aria-labelledby", "data-first", "data-key", "data-of", "data-all"),
    }


def test_strangers_text_is_there_as_text(attacked: Page) -> None:
    (runs,) = attacked.all("section", id="g1-runs")
    for text in HOSTILE:
        assert clean(text) in runs.words
    assert "{{ 7 * 7 }}" in runs.words
    alts = {image.attrs["alt"] for image in attacked.all("img")}
    assert clean(f"Samples of {HOSTILE[1]}") in alts


def test_nothing_turns_text_round_or_controls_anything(attacked: Page) -> None:
    kept = [e for e in attacked.elements if e.tag not in ("style", "script")]
    texts = [e.text for e in kept] + [value or "" for e in kept for value in e.attrs.values()]
    odd = {c for text in texts for c in text if not c.isprintable() and c not in "\n\xa0"}
    assert odd == set()


def test_ids_are_unique_harmless_and_what_links_lead_to(page: Page, attacked: Page) -> None:
    for each in (page, attacked):
        ids = [e.attrs["id"] or "" for e in each.elements if "id" in e.attrs]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
        links = {(e.attrs["href"] or "")[1:] for e in each.all("a")}
        assert links <= set(ids)
        assert {e.attrs["aria-labelledby"] for e in each.all("section")} <= set(ids)


def test_the_policy_allows_the_pages_own_style_and_script_alone(page: Page) -> None:
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in (policy.attrs["content"] or "").split(";"))
    (style,), (script,) = page.all("style"), page.all("script")
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": hashed(style.text),
        "script-src": hashed(script.text),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert re.search(r"https?:|@import|url\(", style.text + script.text) is None


def test_headings_are_in_order_and_landmarks_have_names(page: Page) -> None:
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch(r"h\d", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.all("main")) == len(page.all("nav")) == 1
    assert all(e.attrs.get("tabindex") == "0" and e.attrs["aria-label"] for e in page.all("div", role="region"))


def test_how_the_pictures_were_made_stands_before_them(page: Page) -> None:
    (part,), (samples,) = page.all("section", id="g1-pictures"), page.all("section", id="g1-samples")
    assert "Samples are decoded from the same latents by every model." in part.words
    assert page.elements.index(part) < page.elements.index(samples)
    assert len(page.all("input")) == 12, "where there is one run, there is none to choose"


def test_what_could_not_be_read_is_said(page: Page) -> None:
    (part,) = page.all("section", class_="problems")
    assert "runs/x/record.json: no record" in part.words
    assert Page(render(replace(ordinary(), problems=()))).all("section", class_="problems") == []


def test_a_run_tells_its_settings_cost_protocol_and_health(page: Page) -> None:
    details = next(e for e in page.all("details", class_="run") if e.words.startswith("gan"))
    for text in ("1 sign of ill health", "All samples are alike.", "training.images", "cpu, x", "fid", "evaluator e"):
        assert text in details.words
    lost = next(e for e in page.all("details", class_="run") if e.words.startswith("vaegan-pixel"))
    assert "diverged" in lost.words


def test_a_report_of_records_alone_and_an_empty_one_are_pages() -> None:
    bare = replace(group_of([make_record("vae", "mse", 0)]), originals=None, attributes=(), notes=(), figures=())
    bare = replace(bare, runs=tuple(replace(run, pictures={}, missing={"samples": "no folder"}) for run in bare.runs))
    page = Page(render(Report("t", "m", (bare,))))
    assert page.all("img") == []
    assert "Not of vae · mse, seed 0: no folder" in page.all("main")[0].words
    assert Page(render(Report("t", "m", ()))).all("h1")[0].words == "t"


def test_the_same_report_gives_the_same_page() -> None:
    assert render(ordinary()) == render(ordinary())


def test_what_no_page_embeds_is_refused() -> None:
    odd = replace(drawing(8, 8, "a"), media='text/html"')
    with pytest.raises(ValueError, match="no page embeds"):
        render(Report("t", "m", (replace(group_of([make_record()]), originals=odd),)))


def test_the_wheel_holds_the_templates() -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed: pip install '.[test]'")
    root = Path(__file__).parents[1]
    files = {included.distribution_path for included in wheel.WheelBuilder(str(root)).recurse_included_files()}
    templates = {str(path.relative_to(root)) for path in (root / "genbench/report/templates").iterdir()}
    assert {Path(name).suffix for name in templates} == {".jinja", ".css", ".js"}
    assert templates <= files
