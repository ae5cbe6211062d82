"""Indexes, aliases, snapshots, tasks."""

from __future__ import annotations

from typing import Dict

import pytest

from gleaner_client import AsyncClient, Client, ConflictError, InvalidRequestError, NotFoundError, types

FIELDS: Dict[str, types.FieldDefinition] = {"title": {"type": "text"}}


async def test_a_life(client: AsyncClient, name: str) -> None:
    assert not await client.indexes.exists(name)
    made = await client.indexes.create({"name": name, "fields": FIELDS})
    assert made["definition"]["name"] == name
    assert await client.indexes.exists(name)
    with pytest.raises(ConflictError) as caught:
        await client.indexes.create({"name": name, "fields": FIELDS})
    assert caught.value.code == "index_exists" and caught.value.status == 409
    changed = await client.indexes.define(name, {"name": name, "description": "notes", "fields": FIELDS})
    assert changed["definition"]["description"] == "notes"
    with pytest.raises(ConflictError, match="reindex_needed"):
        await client.indexes.define(name, {"name": name, "fields": {"body": {"type": "text"}}})
    assert (await client.indexes.get(name))["stats"]["documents"] == 0
    assert await client.indexes.refresh(name) >= 0
    await client.indexes.delete(name)
    with pytest.raises(NotFoundError) as missing:
        await client.indexes.delete(name)
    assert missing.value.code == "index_not_found" and missing.value.request_id
    await client.indexes.delete(name, missing_ok=True)


async def test_lists_come_page_by_page(client: AsyncClient, plain: Client, name: str) -> None:
    names = [f"{name}-{i}" for i in range(5)]
    for one in names:
        plain.indexes.create({"name": one, "fields": FIELDS})
    try:
        for size in (None, 1, 2, 1000):
            listed = [entry["name"] async for entry in client.indexes.list(page_size=size)]
            assert [one for one in listed if one.startswith(name)] == names
            assert len(set(listed)) == len(listed)
    finally:
        for one in names:
            plain.indexes.delete(one)


async def test_an_error_says_where_and_what(client: AsyncClient, filled: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await client.search(filled, "train", k="ten")  # type: ignore[arg-type]
    error = caught.value
    assert (error.code, error.status, error.field) == ("invalid_request", 400, "k")
    assert error.found and error.expected and error.request_id
    assert "field: k" in str(error) and error.request_id in str(error)


async def test_aliases(client: AsyncClient, filled: str) -> None:
    alias = f"{filled}-alias"
    assert (await client.aliases.change({alias: filled}))[alias] == filled
    try:
        assert (await client.aliases.get())[alias] == filled
        assert len(await client.search(alias, "train")) == 10
        with pytest.raises(ConflictError) as caught:
            await client.indexes.delete(filled)
        assert caught.value.code == "index_aliased"
    finally:
        assert alias not in await client.aliases.change({alias: None})


async def test_snapshots(client: AsyncClient, plain: Client, filled: str) -> None:
    snapshot = await client.snapshots.create(filled)
    assert snapshot["documents"] == 10
    listed = [entry["id"] async for entry in client.snapshots.list(filled)]
    assert snapshot["id"] in listed
    again = f"{filled}-again"
    await client.snapshots.restore(filled, snapshot["id"], again)
    try:
        assert (await client.indexes.get(again))["stats"]["documents"] == 10
    finally:
        plain.indexes.delete(again)
    await client.snapshots.delete(filled, snapshot["id"])
    assert [entry async for entry in client.snapshots.list(filled)] == []


async def test_long_work(client: AsyncClient, filled: str) -> None:
    compacted = await client.indexes.compact(filled)
    assert compacted["compacted"] == filled
    tasks = [task async for task in client.tasks.list()]
    for task in tasks:
        assert (await client.tasks.get(task["id"]))["id"] == task["id"]
    with pytest.raises(NotFoundError):
        await client.tasks.wait("nothing")


async def test_reindexing(client: AsyncClient, plain: Client, filled: str) -> None:
    into, alias = f"{filled}-2", f"{filled}-library"
    begun = await client.indexes.reindex(filled, into, alias=alias)
    assert begun["into"] == into
    ended = await client.indexes.wait_for_reindexing(filled, poll=0.05, timeout=60)
    assert ended["state"] == "done"
    assert (await client.indexes.reindexing(filled))["state"] == "done"
    assert plain.aliases.get()[alias] == into
    plain.aliases.change({alias: None})
    plain.indexes.delete(into)


async def test_the_server(client: AsyncClient) -> None:
    assert (await client.health())["status"] == "ok"
    assert await client.ready()
    assert "gleaner" in await client.metrics()
    assert (await client.openapi())["info"]["title"] == "Gleaner"
    models = [model["id"] async for model in client.models.list()]
    for model in models[:1]:
        assert (await client.models.get(model))["id"] == model
