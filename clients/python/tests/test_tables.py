"""Tables of pandas and Arrow, in and out."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from gleaner_client import AsyncClient
from gleaner_client.tables import documents_of

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


async def test_frames(client: AsyncClient, words: str) -> None:
    frame = pandas.DataFrame(
        {
            "key": [1, 2, 3],
            "headline": ["night train", "slow train", "ferry"],
            "stars": [4.0, None, 2.0],
            "published": pandas.to_datetime(["2026-01-31", None, "2026-02-01T10:00"], format="ISO8601"),
            "unused": [1, 2, 3],
        }
    ).astype({"stars": "Int64"})
    result = await client.load(
        words,
        frame,
        id="key",
        columns={"key": "id", "headline": "title", "stars": "stars", "published": "published"},
        refresh=True,
    )
    assert result.raise_for_rejections().written == 3
    assert (await client.documents.get(words, "2"))["document"] == {"id": "2", "title": "slow train"}
    found = (await client.search(words, "train OR ferry", sort=["-stars"])).to_pandas()
    assert list(found.columns[:2]) == ["id", "score"] and set(found["id"]) == {"1", "2", "3"}
    assert found["stars"].iloc[0] == 4


async def test_arrow(client: AsyncClient, words: str, tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "id": ["a", "b"],
            "title": ["x", "y"],
            "stars": pyarrow.array([1, None], pyarrow.int32()),
            "published": pyarrow.array([datetime.datetime(2026, 1, 31, 2, 3), None], pyarrow.timestamp("us")),
        }
    )
    for part in (table, table.to_batches()[0], table.to_reader()):
        assert (await client.load(words, part, refresh=True)).written == 2
    results = await client.search(words, sort=["id"])
    assert results.to_arrow()["title"].to_pylist() == ["x", "y"]
    assert results.to_arrow()["stars"].to_pylist() == [1, None]
    exported = await client.export_table(words)
    assert sorted(exported["id"].to_pylist()) == ["a", "b"]
    assert "_passages" not in exported.column_names
    some = await client.export_table(words, filter={"field": "stars", "eq": 1})
    assert some["id"].to_pylist() == ["a"]
    to = tmp_path / "notes.parquet"
    assert await client.export(words, to, filter="stars = 1") == to.stat().st_size
    assert parquet.read_table(to).num_rows == 1
    assert os.listdir(tmp_path) == [to.name]


async def test_no_hits_make_an_empty_table(client: AsyncClient, words: str) -> None:
    results = await client.search(words, "nothing")
    assert list(results.to_pandas().columns) == ["id", "score"]
    assert results.to_arrow().num_rows == 0


def test_rows() -> None:
    rows = [{"id": 7, "a": {"b": float("nan"), "c": (1, 2)}, "d": b"x"}]
    assert list(documents_of(rows, id="id")) == [{"id": "7", "a": {"c": [1, 2]}, "d": "x"}]
    assert list(documents_of(rows, columns={"d": "e"})) == [{"e": "x"}]
