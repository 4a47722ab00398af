"""Tables that are too large for a record, as CSV files in the run's folder."""

from pathlib import Path

from genbench.records import Sheet
from genbench.rows import as_csv
from genbench.store import write_atomic


def write_sheet(sheet: Sheet, folder: Path) -> None:
    """Write `NAME.csv`, numbers at full precision; one of that name is replaced.

    Raises:
        GenbenchError: it can't be written.
    """
    write_atomic(folder / f"{sheet.name}.csv", as_csv(sheet.columns, sheet.rows))
