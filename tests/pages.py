"""Reports of drawn pictures and made-up numbers, and what a parser finds in their pages."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from leaderboards import lost, make_record
from PIL import Image

from genbench.digest import digest_of
from genbench.records import Check, Record
from genbench.report.content import Figure, Group, Kind, Picture, Report, RunContent

VOID = {"meta", "link", "img", "input", "br", "wbr", "hr"}
SIDE, COLUMNS = 8, 8

HOSTILE = (
    "<script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned = 1">',
    "' onmouseover='window.pwned = 1",
    "</style></script></title><script>window.pwned = 1</script>",
    "<!-- <base href=https://example.com>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.pwned=1",
    "\u202eback to front\u2066",
    "bell\x07 escape\x1b[31m nul\x00 next\u2028line\nfeed",
    "שלום",
)


def drawing(width: int, height: int, alt: str, form: str = "PNG") -> Picture:
    """Return a picture of slanting stripes."""
    image = Image.new("RGB", (width, height))
    image.putdata([((x * 9) % 256, (y * 9) % 256, (x + y) % 256) for y in range(height) for x in range(width)])
    content = io.BytesIO()
    image.save(content, form)
    return Picture(content.getvalue(), f"image/{form.lower()}", width, height, alt)


def figure(alt: str) -> Picture:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="200">'
        '<rect width="320" height="200" fill="white"/><path d="M10 190 L310 20" stroke="teal"/></svg>'
    )
    return Picture(svg.encode(), "image/svg+xml", 320, 200, alt)


def pictures_of(name: str, attributes: int = 3, *, encoder: bool = True) -> dict[Kind, Picture]:
    found: dict[Kind, Picture] = {
        "samples": drawing(SIDE * COLUMNS, SIDE * 4, f"Samples of {name}", "WEBP"),
        "curves": figure(f"Costs of {name}"),
    }
    if encoder:
        found["reconstructions"] = drawing(SIDE * COLUMNS, SIDE, f"Reconstructions by {name}")
        found["edits"] = drawing(SIDE * (2 + attributes), SIDE * 4, f"Edits by {name}")
        found["latents"] = figure(f"Latent units of {name}")
    return found


def content_of(record: Record, label: str | None = None) -> RunContent:
    """Return a run as a report tells it."""
    run = record.run
    name = label or f"{run.model} · {run.similarity}"
    encoder = run.similarity is not None
    ok = record.status == "ok"
    kinds: tuple[Kind, ...] = ("samples", "reconstructions", "edits", "curves", "latents")
    pictures = pictures_of(name, encoder=encoder) if ok else {}
    why = "it has no encoder" if ok else f"{record.status}: {record.reason}"
    return RunContent(
        label=name,
        seed=run.seed,
        status=record.status,
        flags=tuple(check.meaning for check in record.checks if check.flagged),
        config=(("training.images", "1000"), ("network.width", "1.0")),
        cost=(("training", "60.0 s"), ("device", "cpu, x")),
        protocols=tuple((score.name, f"{score.value:g}", (("evaluator", "e"),)) for score in record.scores),
        pictures=pictures,
        missing={kind: why for kind in kinds if kind not in pictures},
    )


def group_of(records: Sequence[Record], heading: str = "toyfaces 32×32×3") -> Group:
    return Group(
        heading=heading,
        digests=tuple(map(digest_of, records)),
        runs=tuple(map(content_of, records)),
        originals=drawing(SIDE * COLUMNS, SIDE, f"{COLUMNS} test images"),
        attributes=("smiling", "Wearing_Lipstick", "hat"),
        notes=("Samples are decoded from the same latents by every model.",),
        figures=(Figure("Rate and distortion", figure("mse against the rate")),),
    )


def ordinary() -> Report:
    """Return a report of runs of six rows, one of which has collapsed and one been lost, and of another data set's."""
    costs = {"mse": (9.0, 0.2), "l1": (10.0, 0.3), "ssim": (100.0, 0.1)}
    records = [
        make_record("vae", name, seed, {"fid": fid + seed / 10, "similarity-mse": cost + seed / 100,
                                        "similarity-l1": 2 * cost + seed / 90, "ssim": 1 - cost, "kl": 30.0 + seed})
        for name, (fid, cost) in costs.items()
        for seed in range(3)
    ]  # fmt: skip
    collapsed = Check(
        name="sample-variance", value=0.01, flagged=True, rule="0.3 to 1.2", meaning="All samples are alike."
    )
    records += [
        make_record("vaegan", "dis-l", 0, {"fid": 0.00001, "ssim": 0.5}),
        make_record("gan", None, 0, {"fid": 2000.0}, checks=(collapsed,)),
        lost("diverged", 0, "like is nan", "vaegan-pixel"),
    ]
    other = [make_record("vae", "mse", 0, {"fid": 3.0}, dataset="digits")]
    return Report(
        "A report",
        "made on 2025-01-01 by genbench, of 13 runs",
        (group_of(records), group_of(other, "digits 32×32×3")),
        ("runs/x/record.json: no record",),
    )


def hostile() -> Report:
    """Return a report in which every text is a stranger's."""
    every = " ".join(HOSTILE)
    records = [
        make_record(
            text,
            text,
            0,
            {f"similarity-{text}": 1.0, text: 2.0, "fid": float(index)},
            protocol={f"{text}{index % 2}": text},
            dataset="d",
            checks=(Check(name=text, value=None, flagged=True, rule=text, meaning=text),),
        )
        for index, text in enumerate(HOSTILE)
    ]
    records.append(lost("failed", 1, every))
    runs = tuple(
        RunContent(
            label=text,
            seed=0,
            status=text,
            flags=(text,),
            config=((text, text),),
            cost=((text, text),),
            protocols=((text, text, ((text, text),)),),
            pictures=pictures_of(text) if index % 2 else {},
            missing={} if index % 2 else {"samples": text, "edits": text},
        )
        for index, text in enumerate(HOSTILE)
    )
    group = Group(every, tuple(map(digest_of, records)), runs, drawing(64, 8, every), HOSTILE, HOSTILE,
                  (Figure(every, figure(every)),))  # fmt: skip
    return Report(every, every, (group,), HOSTILE)


@dataclass
class Page(HTMLParser):
    """What stands in a page: elements in their order with the text inside each."""

    text: str
    elements: list["Element"] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.text)
        self.close()
        assert not self._open, "everything that is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {tag} {attrs}"
        found = Element(tag, dict(attrs), self._open[-1] if self._open else None)
        self.elements.append(found)
        if tag not in VOID:
            self._open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for each in self._open:
            each.text += data

    def all(self, tag: str, **having: str) -> list["Element"]:
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in having.items()}
        return [e for e in self.elements if e.tag == tag and all(e.attrs.get(k) == v for k, v in wanted.items())]


@dataclass(eq=False)
class Element:
    tag: str
    attrs: dict[str, str | None]
    parent: "Element | None"
    text: str = ""

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text).strip()

    def inside(self, other: "Element") -> bool:
        return self is other or (self.parent is not None and self.parent.inside(other))
