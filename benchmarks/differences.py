"""Compare models' scores paired by seed, those under one protocol alone: `python benchmarks/differences.py [RECORDS]`.

Each row is the mean difference over seeds with half of Student's 95 % interval; RECORDS: the CelebA subset's.
Samples of a fitted mixture are also held against those of the prior, model by model.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from paired import interval

from genbench.store import read_record

RECORDS = Path(__file__).parent / "results" / "celeba-subset-32"

Values = dict[tuple[str, str], dict[str, dict[int, float]]]
"""By score and sampler (empty where there is none), then by model, then by seed."""


def read(folder: Path) -> Values:
    """Read the scores of all records below a folder."""
    values: Values = defaultdict(lambda: defaultdict(dict))
    for path in sorted(folder.rglob("record.json")):
        record = read_record(path)
        for score in record.scores:
            side = str(score.protocol.get("sampler", ""))
            # A GAN's attributes are of its own samples, another protocol.
            if score.protocol.get("latents") != "classified-samples":
                values[score.name, side][record.run.model][record.run.seed] = score.value
    return values


def rows(values: Values) -> Iterator[tuple[str, str, str, dict[int, float], dict[int, float]]]:
    """Yield a score, the names of two sides, and the values of both by seed."""
    for (name, side), by in sorted(values.items()):
        label = f"{name} ({side})" if side else name
        for one, other in combinations(sorted(by, reverse=True), 2):
            yield label, one, other, by[one], by[other]
        if side == "gmm":
            for model, fitted in sorted(by.items()):
                yield name, f"{model} (gmm)", f"{model} (prior)", fitted, values[name, "prior"].get(model, {})


def main() -> None:
    """Print a row for each score and pair of models."""
    print("| score | difference | mean ± half of the 95 % interval | seeds |\n|:--|:--|--:|--:|")
    for label, one, other, first, second in rows(read(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDS)):
        seeds = sorted(first.keys() & second.keys())
        if len(seeds) > 1:
            middle, half = interval([first[seed] - second[seed] for seed in seeds])
            print(f"| {label} | {one} − {other} | {middle:+.3g} ± {half:.2g} | {len(seeds)} |")


if __name__ == "__main__":
    main()
