"""InfluxDB's annotated CSV to columns, without an object a row."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class QueryFailedError(Exception):
    """InfluxDB began to answer and then met an error; the message is InfluxDB's."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one schema.

    Attributes:
        columns: values as InfluxDB wrote them, by column name; a missing value is "".
        length: number of rows.
    """

    columns: dict[str, tuple[str, ...]]
    length: int

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def texts(self, name: str) -> tuple[str, ...]:
        """A column of text; empty text where the table does not have it."""
        return self.columns.get(name) or ("",) * self.length

    def floats(self, name: str) -> NDArray[np.float64]:
        """A column of numbers, float64, NaN where a value or the column is missing."""
        return np.array([value or "nan" for value in self.texts(name)], dtype=np.float64)

    def integers(self, name: str) -> NDArray[np.int64]:
        """A column of integers, int64, 0 where a value or the column is missing."""
        return np.array([int(value or 0) for value in self.texts(name)], dtype=np.int64)

    def truths(self, name: str) -> NDArray[np.bool_]:
        """A column of booleans, false where a value or the column is missing."""
        return np.array([value == "true" for value in self.texts(name)], dtype=np.bool_)

    def times(self, name: str = "_time") -> NDArray[np.int64]:
        """A column of times, int64, ns since the epoch."""
        stamps = np.array([value.removesuffix("Z") for value in self.texts(name)], dtype="datetime64[ns]")
        return stamps.astype(np.int64)


def tables(text: str) -> Iterator[Table]:
    """Parse annotated CSV (annotation `datatype`, header on): one `Table` for each block of rows with one header.

    Args:
        text: the whole answer. InfluxDB ends lines with CR LF, those within a quoted value too.

    Raises:
        QueryFailedError: the answer holds InfluxDB's error table.
    """
    names: list[str] = []
    rows: list[list[str]] = []
    expect_names = False
    for row in csv.reader(io.StringIO(text.replace("\r\n", "\n"), newline="")):
        if row and row[0] == "#datatype":
            if rows:
                yield _table(names, rows)
            rows, expect_names = [], True
        elif not row or row[0].startswith("#"):
            continue
        elif expect_names or _announces_error(row):
            names, expect_names = row, False
        elif _announces_error(names):
            raise QueryFailedError(row[names.index("error")])
        else:
            rows.append(row)
    if rows:
        yield _table(names, rows)


def _announces_error(names: list[str]) -> bool:
    """With annotations a row begins with an empty column, without them it does not; errors come either way."""
    return ["error", "reference"] in (names[:2], names[1:3])


def _table(names: list[str], rows: list[list[str]]) -> Table:
    return Table(dict(zip(names, zip(*rows, strict=True), strict=True)), len(rows))
