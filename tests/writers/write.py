"""Writes files with every writer and every type it has, and what their rows are.

    write.py FOLDER

Makes FOLDER/NAME.EXT and FOLDER/expected.json: for each file the documents that it holds, by
their ids. What is expected is said here beside the values, never read back from a file.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import sys
import uuid
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

#: Rows of a file, and of a row group or batch.
ROWS, GROUP = 30, 10
UTC = dt.timezone.utc
NOON = dt.datetime(2024, 5, 1, 12, 30, 0, 250000)
LONG = decimal.Decimal("12345678901234567890.1234567890")


def ids() -> list:
    return [f"r{n}" for n in range(ROWS)]


def cycle(values: list) -> list:
    return [values[n % len(values)] for n in range(ROWS)]


#: Name, Arrow type, values, and what they are as JSON. None is absent.
ARROW = [
    ("bool", pa.bool_(), [True, None, False], [True, None, False]),
    ("int8", pa.int8(), [-128, 127], [-128, 127]),
    ("int16", pa.int16(), [-(2**15), None], [-(2**15), None]),
    ("int32", pa.int32(), [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
    ("int64", pa.int64(), [-(2**63), 2**63 - 1, None], [-(2**63), 2**63 - 1, None]),
    ("uint8", pa.uint8(), [0, 255], [0, 255]),
    ("uint16", pa.uint16(), [0, 2**16 - 1], [0, 2**16 - 1]),
    ("uint32", pa.uint32(), [0, 2**32 - 1], [0, 2**32 - 1]),
    ("uint64", pa.uint64(), [0, 2**64 - 1], [0, 2**64 - 1]),
    ("float32", pa.float32(), [9.99, -0.5, None], [9.99, -0.5, None]),
    ("float64", pa.float64(), [9.99, 1e300], [9.99, 1e300]),
    ("string", pa.string(), ["naïve", "", None], ["naïve", "", None]),
    ("large_string", pa.large_string(), ["a", None], ["a", None]),
    ("dictionary", pa.dictionary(pa.int32(), pa.string()), ["x", "y", None], ["x", "y", None]),
    ("binary", pa.binary(), [b"text", None], ["text", None]),
    ("date32", pa.date32(), [dt.date(2024, 5, 1), dt.date(1900, 1, 1)], ["2024-05-01", "1900-01-01"]),
    ("timestamp_ms", pa.timestamp("ms"), [NOON, None], ["2024-05-01T12:30:00.250Z", None]),
    ("timestamp_us", pa.timestamp("us"), [NOON], ["2024-05-01T12:30:00.250Z"]),
    ("timestamp_zone", pa.timestamp("us", tz="Europe/Berlin"), [NOON.replace(tzinfo=UTC)], ["2024-05-01T12:30:00.250Z"]),
    ("time64", pa.time64("us"), [dt.time(12, 30, 0, 500000)], ["12:30:00.500"]),
    ("decimal", pa.decimal128(9, 2), [decimal.Decimal("12.50"), None], [12.5, None]),
    ("long_decimal", pa.decimal128(38, 10), [LONG], ["12345678901234567890.1234567890"]),
    ("list", pa.list_(pa.string()), [["a", None], [], None], [["a", None], [], None]),
    ("vector", pa.list_(pa.float32(), 3), [[0.5, 1.0, -2.0]], [[0.5, 1.0, -2.0]]),
    (
        "struct",
        pa.struct([("name", pa.string()), ("deep", pa.struct([("n", pa.int32())]))]),
        [{"name": "x", "deep": {"n": 1}}, {"name": None, "deep": {"n": 2}}, None],
        [{"name": "x", "deep": {"n": 1}}, {"deep": {"n": 2}}, None],
    ),
    (
        "structs",
        pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        [[{"a": 1, "b": ["x"]}, {"a": 2, "b": []}], None],
        [[{"a": 1, "b": ["x"]}, {"a": 2, "b": []}], None],
    ),
    ("map", pa.map_(pa.string(), pa.int64()), [[("k", 1), ("l", 2)], None], [{"k": 1, "l": 2}, None]),
    ("null", pa.null(), [None], [None]),
]
#: What Parquet has no form of by itself, but Arrow has.
ARROW_ONLY = [
    ("float16", pa.float16(), [0.5, None], [0.5, None]),
    ("string_view", pa.string_view(), ["seen", "a longer one than fits inline", None], ["seen", "a longer one than fits inline", None]),
    ("large_list", pa.large_list(pa.int64()), [[1, 2], None], [[1, 2], None]),
    ("timestamp_s", pa.timestamp("s"), [dt.datetime(2024, 5, 1)], ["2024-05-01T00:00:00Z"]),
    ("time32", pa.time32("s"), [dt.time(12, 30)], ["12:30:00"]),
]


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict = {}

    def path(self, name: str, columns: dict) -> str:
        """Where to write a file; `columns` are what is expected of its rows."""
        rows = [{key: column[n] for key, column in columns.items() if column[n] is not None} for n in range(ROWS)]
        self.expected[name] = {row["id"]: row for row in rows}
        return str(self.folder / name)


def arrow_table(kinds: list) -> "tuple[pa.Table, dict]":
    arrays = {"id": pa.array(ids())}
    expected = {"id": ids()}
    for name, kind, values, json_values in kinds:
        arrays[name] = pa.array(cycle(values), type=kind)
        expected[name] = cycle(json_values)
    return pa.table(arrays), expected


def pyarrow_files(files: Files) -> None:
    table, expected = arrow_table(ARROW)
    ways: dict = {codec: {"compression": codec} for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")}
    ways.update(
        pages_v2={"data_page_version": "2.0", "compression": "zstd"},
        no_dictionary={"use_dictionary": False},
        delta={
            "use_dictionary": False,
            "column_encoding": {"int64": "DELTA_BINARY_PACKED", "string": "DELTA_BYTE_ARRAY", "large_string": "DELTA_LENGTH_BYTE_ARRAY", "float64": "BYTE_STREAM_SPLIT"},
        },
        no_schema={"store_schema": False},
        old={"version": "1.0"},
        int96={"use_deprecated_int96_timestamps": True},
        checksums={"write_page_checksum": True},
        index={"write_page_index": True},
        small_pages={"data_page_size": 64, "write_batch_size": 4},
        integers={"store_decimal_as_integer": True},
    )
    for way, options in ways.items():
        pq.write_table(table, files.path(f"pyarrow_{way}.parquet", expected), row_group_size=GROUP, **options)
    table, expected = arrow_table(ARROW + ARROW_ONLY)
    for codec in ("uncompressed", "lz4", "zstd"):
        feather.write_feather(table, files.path(f"pyarrow_{codec}.feather", expected), compression=codec, chunksize=GROUP)
    with pa.ipc.new_file(files.path("pyarrow.arrow", expected), table.schema) as writer:
        writer.write_table(table, max_chunksize=GROUP)
    with pa.ipc.new_stream(files.path("pyarrow.arrows", expected), table.schema) as writer:
        writer.write_table(table, max_chunksize=GROUP)


def polars_files(files: Files) -> None:
    utc = NOON.replace(tzinfo=UTC)
    kinds = [
        ("int", pl.Int64, [1, None], [1, None]),
        ("small", pl.UInt8, [255], [255]),
        ("float", pl.Float32, [9.99], [9.99]),
        ("text", pl.String, ["naïve", None], ["naïve", None]),
        ("categorical", pl.Categorical, ["x", "y"], ["x", "y"]),
        ("enum", pl.Enum(["low", "high"]), ["high", None], ["high", None]),
        ("flag", pl.Boolean, [True, None], [True, None]),
        ("day", pl.Date, [dt.date(2024, 5, 1)], ["2024-05-01"]),
        ("naive", pl.Datetime("ns"), [NOON], ["2024-05-01T12:30:00.250Z"]),
        ("zoned", pl.Datetime("us", "Asia/Tokyo"), [utc], ["2024-05-01T12:30:00.250Z"]),
        ("time", pl.Time, [dt.time(12, 30)], ["12:30:00"]),
        ("decimal", pl.Decimal(12, 3), [decimal.Decimal("1.250")], [1.25]),
        ("list", pl.List(pl.Int64), [[1, 2], None], [[1, 2], None]),
        ("array", pl.Array(pl.Float32, 3), [[0.5, 1.0, 2.0]], [[0.5, 1.0, 2.0]]),
        ("struct", pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)}), [{"a": 1, "b": ["x"]}], [{"a": 1, "b": ["x"]}]),
        ("bytes", pl.Binary, [b"text"], ["text"]),
    ]
    columns = {"id": pl.Series(ids())}
    expected = {"id": ids()}
    for name, kind, values, json_values in kinds:
        columns[name] = pl.Series(name, cycle(values), dtype=kind)
        expected[name] = cycle(json_values)
    frame = pl.DataFrame(columns)
    for codec in ("uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"):
        frame.write_parquet(files.path(f"polars_{codec}.parquet", expected), compression=codec, row_group_size=GROUP)
    for codec in ("uncompressed", "lz4", "zstd"):
        frame.write_ipc(files.path(f"polars_{codec}.arrow", expected), compression=codec)
    frame.write_ipc_stream(files.path("polars.arrows", expected))
    plain = ["id", "int", "text", "flag", "list"]
    frame.select(plain).write_ndjson(files.path("polars.jsonl", {name: expected[name] for name in plain}))
    texts = {"id": ids(), "text": expected["text"], "int": [None if v is None else str(v) for v in expected["int"]]}
    frame.select(["id", "text", "int"]).write_csv(files.path("polars.csv", texts))


def duckdb_files(files: Files) -> None:
    one = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    kinds = [
        ("t", "'naïve'::VARCHAR", "naïve"),
        ("tiny", "-128::TINYINT", -128),
        ("big", "9223372036854775807::BIGINT", 2**63 - 1),
        ("ubig", "18446744073709551615::UBIGINT", 2**64 - 1),
        ("f", "9.99::FLOAT", 9.99),
        ("d", "9.99::DOUBLE", 9.99),
        ("dec", "12.50::DECIMAL(9,2)", 12.5),
        ("wide", "12345678901234567890.1234567890::DECIMAL(38,10)", str(LONG)),
        ("b", "true", True),
        ("day", "DATE '2024-05-01'", "2024-05-01"),
        ("ts", "TIMESTAMP '2024-05-01 12:30:00.25'", "2024-05-01T12:30:00.250Z"),
        ("tz", "TIMESTAMPTZ '2024-05-01 12:30:00.25+00'", "2024-05-01T12:30:00.250Z"),
        ("tm", "TIME '12:30:00'", "12:30:00"),
        ("u", f"'{one}'::UUID", str(one)),
        ("e", "'high'::ENUM('low', 'high')", "high"),
        ("l", "[1, 2, NULL]::INTEGER[]", [1, 2, None]),
        ("a", "[0.5, 1.0, 2.0]::FLOAT[3]", [0.5, 1.0, 2.0]),
        ("s", "{'a': 1, 'b': ['x']}", {"a": 1, "b": ["x"]}),
        ("m", "MAP {'k': 1}", {"k": 1}),
        ("j", "'{\"a\": 1}'::JSON", '{"a": 1}'),
    ]
    select = ", ".join(f"{sql} AS {name}" for name, sql, _ in kinds)
    query = f"SELECT 'r' || i AS id, CASE WHEN i % 2 = 0 THEN i END AS even, {select} FROM range({ROWS}) t(i)"
    expected = {"id": ids(), "even": [n if n % 2 == 0 else None for n in range(ROWS)]}
    expected.update({name: [value] * ROWS for name, _, value in kinds})
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4_raw"):
        path = files.path(f"duckdb_{codec}.parquet", expected)
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION {codec}, ROW_GROUP_SIZE {GROUP})")
    path = files.path("duckdb_v2.parquet", expected)
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, PARQUET_VERSION v2)")
    plain = {name: expected[name] for name in ("id", "even", "t", "b", "l", "s")}
    for name in ("duckdb.jsonl", "duckdb.jsonl.gz"):
        path = files.path(name, plain)
        codec = ", COMPRESSION gzip" if name.endswith("gz") else ""
        connection.execute(f"COPY (SELECT {', '.join(plain)} FROM ({query})) TO '{path}' (FORMAT json{codec})")
    texts = {"id": ids(), "t": expected["t"]}
    connection.execute(f"COPY (SELECT id, t FROM ({query})) TO '{files.path('duckdb.csv', texts)}' (FORMAT csv, HEADER)")


def pandas_files(files: Files) -> None:
    frame = pd.DataFrame(
        {
            "id": ids(),
            "category": pd.Categorical(cycle(["x", "y"])),
            "nullable": pd.array(cycle([1, None]), dtype="Int64"),
            "zoned": pd.Series(cycle([pd.Timestamp("2024-05-01 12:30", tz="Europe/Berlin")])),
            "text": pd.array(cycle(["naïve", None]), dtype="string"),
            "objects": cycle([{"a": 1}]),
            "lists": cycle([["x", "y"]]),
        }
    )
    expected = {
        "id": ids(),
        "category": cycle(["x", "y"]),
        "nullable": cycle([1, None]),
        "zoned": cycle(["2024-05-01T10:30:00Z"]),
        "text": cycle(["naïve", None]),
        "objects": cycle([{"a": 1}]),
        "lists": cycle([["x", "y"]]),
    }
    frame.to_parquet(files.path("pandas.parquet", expected), index=False, row_group_size=GROUP)
    frame.to_feather(files.path("pandas.feather", expected))
    # An index that is not the default one becomes a column.
    frame.set_index("id").to_parquet(files.path("pandas_index.parquet", expected))
    plain = {name: expected[name] for name in ("id", "category", "nullable", "lists")}
    lines = frame[list(plain)]
    lines.to_json(files.path("pandas.jsonl", plain), orient="records", lines=True)
    lines.to_json(files.path("pandas.json.zst", plain), orient="records", compression="zstd")
    texts = {"id": ids(), "category": expected["category"], "text": expected["text"]}
    frame[list(texts)].to_csv(files.path("pandas.csv.gz", texts), index=False)
    frame[list(texts)].to_csv(files.path("pandas.tsv", texts), index=False, sep="\t")


def main() -> None:
    files = Files(Path(sys.argv[1]))
    for write in (pyarrow_files, polars_files, duckdb_files, pandas_files):
        write(files)
    (files.folder / "expected.json").write_text(json.dumps(files.expected), encoding="utf-8")


if __name__ == "__main__":
    main()
