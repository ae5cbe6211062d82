"""Between documents and the tables of pandas and Arrow."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

if TYPE_CHECKING:
    import pandas
    import pyarrow

#: Rows of a table that are turned into documents at a time.
ROWS = 1024


def documents_of(
    table: Any,
    *,
    id: Optional[str] = None,
    columns: Optional[Mapping[str, str]] = None,
) -> Iterator[Dict[str, Any]]:
    """The rows of a pandas `DataFrame`, a pyarrow `Table`, `RecordBatch` or `RecordBatchReader`, or of
    an iterable of dicts, as documents.

    `columns` says which columns are taken, and what they are called in documents; `id` is the column
    with the ids. What is missing in a row (null, NaN, NaT) is left out of its document; instants
    without a zone are taken for UTC.
    """
    wanted = dict(columns) if columns is not None else None
    for row in _rows(table):
        document = {}
        for name, value in row.items():
            called = name if wanted is None else wanted.get(name)
            if name == id:
                called = called or "id"
                if wanted is None or name not in wanted:
                    called = "id"
            if called is None:
                continue
            value = plain(value)
            if value is not None:
                document[called] = str(value) if name == id else value
        yield document


def _rows(table: Any) -> Iterator[Mapping[str, Any]]:
    module = type(table).__module__.split(".")[0]
    if module == "pandas":
        names = [str(name) for name in table.columns]
        for start in range(0, len(table), ROWS):
            part = table.iloc[start : start + ROWS]
            for values in part.itertuples(index=False, name=None):
                yield dict(zip(names, values))
    elif module == "pyarrow":
        batches: Iterable[Any]
        if hasattr(table, "to_batches"):
            batches = table.to_batches(max_chunksize=ROWS)
        elif hasattr(table, "to_pylist"):
            batches = [table]
        else:
            batches = table
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS):
                yield from batch.slice(start, ROWS).to_pylist()
    else:
        yield from table


def plain(value: Any) -> Any:
    """A value of a table as JSON has it; `None` where there is none."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    # NaT and NA are no equals of themselves, or say nothing of it.
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, datetime.datetime):
        return value.isoformat() + ("" if value.tzinfo else "Z")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        members = {str(name): plain(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member is not None}
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [plain(member) for member in value]
    return value


def to_pandas(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """A frame with a row for each."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("pandas is needed for this: pip install 'gleaner-client[pandas]'") from error
    return pandas.DataFrame.from_records(list(rows), columns=columns_of(rows))


def to_arrow(rows: Sequence[Mapping[str, Any]]) -> pyarrow.Table:
    """A table with a row for each."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("pyarrow is needed for this: pip install 'gleaner-client[arrow]'") from error
    names = columns_of(rows)
    columns: Dict[str, List[Any]] = {name: [row.get(name) for row in rows] for name in names}
    return pyarrow.table(columns)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    """The names in all rows, in the order in which they come first; `id` and `score` always."""
    return list({**dict.fromkeys(("id", "score")), **dict.fromkeys(name for row in rows for name in row)})


def exported(content: bytes, vectors: bool) -> pyarrow.Table:
    """The table of an export, without the columns that say nothing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("pyarrow is needed for this: pip install 'gleaner-client[arrow]'") from error
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    left_out = [] if vectors else ["_passages"]
    if "_rest" in table.column_names and table["_rest"].null_count == table.num_rows:
        left_out.append("_rest")
    return table.drop_columns([name for name in left_out if name in table.column_names])
