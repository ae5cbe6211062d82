"""Writes articles.parquet from articles.jsonl; needs pyarrow. Run after editing the articles."""

import datetime
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("body", pa.string()),
        ("section", pa.dictionary(pa.int8(), pa.string())),
        ("tags", pa.list_(pa.string())),
        ("published", pa.date32()),
        ("minutes", pa.int8()),
        ("rating", pa.float64()),
        ("featured", pa.bool_()),
    ]
)

rows = [json.loads(line) for line in (HERE / "articles.jsonl").read_text().splitlines()]
for row in rows:
    row["published"] = datetime.date.fromisoformat(row["published"])
pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), HERE / "articles.parquet", compression="zstd")
