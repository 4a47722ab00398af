"""Compare the scores of runs in `auto` and in float32, paired by seed: `python benchmarks/precision.py [RECORDS]`.

The interval is Student's, at 95 %, of the mean difference; RECORDS defaults to those of docs/performance.md.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from paired import interval

from genbench.store import read_record

RECORDS = Path(__file__).parent / "results" / "precision-celeba-32"


def main() -> None:
    """Print a row for each model and score."""
    values: dict[tuple[str, str], dict[object, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted((Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDS).rglob("record.json")):
        record = read_record(path)
        precision = record.config["training"]["precision"]  # type: ignore[index]
        for score in record.scores:
            values[record.run.model, score.name][precision][record.run.seed] = score.value
    print("| model | score | auto | float32 | auto − float32 |\n|:--|:--|--:|--:|--:|")
    for (model, name), by in sorted(values.items()):
        seeds = sorted(by["auto"].keys() & by["float32"].keys())
        auto, full = ([by[precision][seed] for seed in seeds] for precision in ("auto", "float32"))
        apart = [a - b for a, b in zip(auto, full, strict=True)]
        apart_by, half = interval(apart)
        columns = [f"{mean(side):.4g} ± {stdev(side):.2g}" for side in (auto, full)]
        print(f"| {model} | {name} | {' | '.join(columns)} | {apart_by:+.2g} ± {half:.2g} |")


if __name__ == "__main__":
    main()
