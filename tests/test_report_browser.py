"""The page of a report in a real browser: it opens, asks for nothing, sorts, shows its pictures; anybody can use it."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pages import hostile, ordinary

from genbench.report.page import render

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": PHONE},
}


def system_browser() -> str:
    """Return the path of the first browser that starts, or skip."""
    for name in BROWSERS:
        path = shutil.which(name)
        # A distribution may have a stand-in of that name, which only says how the browser is installed.
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path and starts")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install '.[browser]'"
    )
    path = system_browser()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what happened on it."""

    page: Any
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, file: Path) -> None:
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri(), wait_until="load")

    @property
    def fetched(self) -> list[str]:
        """Return what was asked for beside the file itself and what it holds."""
        return [url for url in self.requests[1:] if not url.startswith("data:")]

    def column(self, table: Any, index: int) -> list[str]:
        return [text.strip() for text in table.locator(f"tbody tr > :nth-child({index + 1})").all_inner_texts()]

    def wide(self) -> bool:
        """Tell whether the page is wider than the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    context = browser.new_context()
    yield Visit(context.new_page())
    context.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of an ordinary report and of one full of strangers' text."""
    folder = tmp_path_factory.mktemp("pages")
    found = {"ordinary": folder / "a report & more.html", "hostile": folder / "hostile.html"}
    found["ordinary"].write_text(render(ordinary()), encoding="utf-8")
    found["hostile"].write_text(render(hostile()), encoding="utf-8")
    return found


def serious(page: Any) -> list[str]:
    """Return what axe finds that keeps people from using a page, with one of each thing that folds unfolded."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.evaluate("for (const each of document.querySelectorAll('.chooser, #g1-r1, #g1-r2')) each.open = true")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def broken_images(page: Any) -> list[str]:
    """Return the images that did not load or say nothing to those who can't see them."""
    script = "[...document.images].filter(i => !(i.complete && i.naturalWidth > 0 && i.alt.trim())).map(i => i.alt)"
    page.evaluate("Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")
    return list(page.evaluate(script))


def leaderboard(visit: Visit) -> Any:
    return visit.page.get_by_role("table", name="toyfaces 32×32×3", exact=True).first


def heading(table: Any, name: str) -> tuple[Any, int]:
    """Return the heading whose button begins with a name, and its place."""
    for index, each in enumerate(table.locator("thead th").all()):
        if each.inner_text().split()[0] == name:
            return each, index
    raise AssertionError(name)


@pytest.mark.parametrize("which", ["ordinary", "hostile"])
def test_it_opens_from_the_disk_quietly_and_asks_for_nothing(visit: Visit, files: dict[str, Path], which: str) -> None:
    visit.open(files[which])
    assert visit.said == []
    assert visit.fetched == []
    assert visit.requests[0].startswith("file://")
    assert broken_images(visit.page) == []
    assert visit.page.evaluate("'pwned' in window") is False
    assert visit.page.evaluate("[...document.scripts].length") == 1


def test_what_slips_through_neither_runs_nor_loads(visit: Visit, files: dict[str, Path], tmp_path: Path) -> None:
    slipped = (
        '<script>window.pwned = "script"</script><img src="x.png" onerror="window.pwned = 1" alt="">'
        '<style>h1 { color: rgb(1, 2, 3) }</style><h1 style="color: rgb(1, 2, 3)">x</h1>'
        '<img src="https://example.com/x.png" alt=""><link rel="stylesheet" href="https://example.com/x.css">'
        '<iframe src="https://example.com"></iframe><form action="https://example.com"></form>'
    )
    page = tmp_path / "slipped.html"
    page.write_text(
        files["ordinary"].read_text(encoding="utf-8").replace("<main", f"{slipped}<main", 1), encoding="utf-8"
    )
    visit.open(page)
    visit.page.evaluate("document.forms[0].requestSubmit()")
    assert visit.page.evaluate("'pwned' in window") is False
    colours = visit.page.evaluate("[...document.querySelectorAll('h1')].map(h => getComputedStyle(h).color)")
    assert len(colours) == 2
    assert "rgb(1, 2, 3)" not in colours
    assert len(visit.said) >= 6
    assert all("Content Security Policy" in text for text in visit.said)
    assert visit.page.url == page.as_uri()


def test_numbers_sort_as_numbers_both_ways_and_rows_without_one_come_last(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    table = leaderboard(visit)
    column, index = heading(table, "fid")
    assert column.get_attribute("aria-sort") is None
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "ascending"
    up = visit.column(table, index)
    assert [text.split()[0] for text in up] == ["1.000e-05", "9.10", "10.10", "100.10", "2000", "–"]
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "descending"
    assert visit.column(table, index) == [*reversed(up[:-1]), up[-1]]
    names = visit.column(table, 0)
    assert names[0] == "gan"
    assert names[-1] == "vaegan-pixel · mse"


def test_a_score_that_is_better_higher_begins_with_the_best(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    table = leaderboard(visit)
    fid, _ = heading(table, "fid")
    fid.get_by_role("button").click()
    ssim, index = heading(table, "ssim")
    ssim.get_by_role("button").click()
    assert ssim.get_attribute("aria-sort") == "descending"
    assert fid.get_attribute("aria-sort") is None
    assert [text.split()[0] for text in visit.column(table, index)] == [
        "0.9000",
        "0.8000",
        "0.7000",
        "0.5000",
        "–",
        "–",
    ]


def test_headings_are_reached_and_pressed_by_keyboard(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    table = leaderboard(visit)
    name, _ = heading(table, "model,")
    name.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")
    up = visit.column(table, 0)
    assert up == sorted(up)
    visit.page.keyboard.press("Space")
    assert visit.column(table, 0) == up[::-1]
    assert name.get_attribute("aria-sort") == "descending"
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.textContent") == "seeds"
    outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_first_stop_of_the_keyboard_skips_to_the_content(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    visit.page.keyboard.press("Tab")
    link = visit.page.get_by_role("link", name="Skip to the content")
    box = link.bounding_box()
    assert box["width"] > 50
    assert box["y"] >= 0
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "content"


def test_colours_change_by_keyboard_and_back(visit: Visit, files: dict[str, Path]) -> None:
    visit.page.emulate_media(color_scheme="light")
    visit.open(files["ordinary"])
    paper = "getComputedStyle(document.body).backgroundColor"
    light = visit.page.evaluate(paper)
    visit.page.get_by_role("button", name="Dark colours").focus()
    visit.page.keyboard.press("Enter")
    dark = visit.page.evaluate(paper)
    assert dark != light
    visit.page.emulate_media(color_scheme="dark")
    assert visit.page.evaluate(paper) == dark
    visit.page.get_by_role("button", name="Light colours").press("Enter")
    assert visit.page.evaluate(paper) == light


def test_runs_can_be_left_out_and_taken_in_again(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    samples, whole = visit.page.locator("#g1-samples figure:visible"), 11
    assert samples.count() == whole
    chooser = visit.page.locator("details.chooser").first
    chooser.locator("summary").click()
    chooser.get_by_role("button", name="None").click()
    assert samples.count() == 0
    assert visit.page.locator("#g1-reconstructions figure:visible").count() == 1
    chooser.get_by_role("checkbox", name="gan · None").check()
    assert samples.count() == 1
    assert chooser.locator("summary").inner_text().endswith("1 of 12")
    chooser.get_by_role("button", name="All").click()
    assert samples.count() == whole


def test_a_picture_leads_to_its_run_unfolded(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    visit.page.locator("#g1-samples figcaption a").nth(1).click()
    details = visit.page.locator("details.run[open]")
    assert details.count() == 1
    assert details.get_attribute("id") == "g1-r2"
    assert details.locator("summary").bounding_box()["y"] < 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "view"), [("ordinary", "light"), ("ordinary", "dark"), ("ordinary", "phone"), ("hostile", "phone")]
)
def test_nothing_serious_keeps_anybody_from_using_it(
    browser: Any, files: dict[str, Path], which: str, view: str
) -> None:
    context = browser.new_context(**VIEWS[view])
    visit = Visit(context.new_page())
    visit.open(files[which])
    assert serious(visit.page) == []
    visit.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert not visit.wide()
    context.close()


def test_rows_of_reconstructions_stay_aligned_on_a_phone(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(**VIEWS["phone"])
    visit = Visit(context.new_page())
    visit.open(files["ordinary"])
    boxes = [image.bounding_box() for image in visit.page.locator("#g1-reconstructions img").all()]
    assert len({(box["x"], box["width"]) for box in boxes}) == 1
    visit.page.locator("#g1-reconstructions .scroll").evaluate("e => e.scrollLeft = 200")
    moved = [image.bounding_box() for image in visit.page.locator("#g1-reconstructions img").all()]
    assert {box["x"] for box in moved} == {boxes[0]["x"] - 200}
    context.close()


def test_it_prints_without_its_controls(visit: Visit, files: dict[str, Path]) -> None:
    visit.open(files["ordinary"])
    visit.page.emulate_media(media="print", color_scheme="dark")
    for part in ("nav", "#theme", ".chooser"):
        assert not visit.page.locator(part).first.is_visible()
    assert visit.page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"


TINY = (
    *("--size", "16", "--width", "0.05", "--images", "256", "--batch-size", "32", "--device", "cpu"),
    *("--threads", "1", "-s", "network.encoder_hidden=64", "-s", "network.latent_size=8"),
)
JUDGED = ("--evaluators", "mse,similarity:mse,similarity:l1")
SIX = (
    ("vae", *JUDGED),
    ("vae", *JUDGED, "--similarity", "l1"),
    ("gan", "--evaluators", "none"),
    ("vaegan", *JUDGED),
    ("vaegan-pixel", *JUDGED),
    ("vae-dis-l", *JUDGED),
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report that the command writes of six runs, trained here."""
    torch = pytest.importorskip("torch", reason="training takes torch")
    from genbench.cli import main

    folder = tmp_path_factory.mktemp("six")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENBENCH_CACHE", str(folder / "cache"))
        for name in ("GENBENCH_RUNS", "GENBENCH_DATA", "GENBENCH_WEIGHTS"):
            patch.delenv(name, raising=False)
        for model, *options in SIX:
            assert main(["run", model, "digits", *TINY, *options]) == 0
        assert main(["report", "-o", "report.html", "--threads", "1", "--title", "Six <small> models"]) == 0
    torch.set_num_threads(threads)
    return folder / "report.html"


@pytest.mark.slow
def test_the_report_of_six_real_runs_opens_and_shows_them(visit: Visit, real: Path) -> None:
    visit.open(real)
    assert visit.said == []
    assert visit.fetched == []
    assert visit.page.title() == "Six <small> models"
    assert broken_images(visit.page) == []
    shown = {
        kind: visit.page.locator(f"#g1-{kind} figure[data-of] img").count()
        for kind in ("samples", "reconstructions", "edits", "curves", "latents")
    }
    assert shown == {"samples": 6, "reconstructions": 5, "edits": 5, "curves": 6, "latents": 5}
    assert visit.page.locator("#g1-reconstructions figure.first img").count() == 1
    assert visit.page.locator("#g1-leaderboard tbody tr").count() == 6
    assert visit.page.locator("#g1-matrix tbody tr").count() == 2
    assert visit.page.locator("details.run").count() == 6
    assert real.stat().st_size < 6 * 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("view", ["light", "phone"])
def test_the_report_of_six_real_runs_is_for_everybody(browser: Any, real: Path, view: str) -> None:
    context = browser.new_context(**VIEWS[view])
    visit = Visit(context.new_page())
    visit.open(real)
    assert serious(visit.page) == []
    assert not visit.wide()
    context.close()
