"""Tables that are too large for a record, as CSV files in the run's folder."""

import csv
import io
from pathlib import Path

from genbench.records import Sheet
from genbench.store import write_atomic


def write_sheet(sheet: Sheet, folder: Path) -> None:
    """Write `NAME.csv`, numbers at full precision; one of that name is replaced.

    Raises:
        GenbenchError: it can't be written.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(sheet.columns)
    writer.writerows(sheet.rows)
    write_atomic(folder / f"{sheet.name}.csv", out.getvalue())
