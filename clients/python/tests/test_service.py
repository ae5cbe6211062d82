"""Jobs, databases, entities, feedback, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, List

import pytest
from conftest import Server

from gleaner_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TaskFailed,
)

DDL = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, town TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers(id), total REAL);
"""


async def test_jobs(client: AsyncClient, server: Server, words: str) -> None:
    file = server.loads / f"{words}.jsonl"
    rows = [{"id": f"j{i}", "title": "train" if i else 3} for i in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = await client.jobs.create(words, [str(file)])
    told: List[Any] = []
    report = await client.jobs.wait(made["id"], progress=told.append, poll=0.05, timeout=60)
    assert report["state"] == "done" and report["loaded"] == 19 and report["rejected"] == 1
    assert told[-1] == report
    events = [event async for event in client.jobs.events(made["id"])]
    assert events[-1]["id"] == made["id"] and events[-1]["state"] == "done"
    rejects = [reject async for reject in client.jobs.rejects(made["id"])]
    assert len(rejects) == 1 and "title" in json.dumps(rejects)
    assert made["id"] in [job["id"] async for job in client.jobs.list()]
    with pytest.raises(NotFoundError):
        await client.jobs.get("nothing")

    failing = await client.jobs.create(words, [str(file)], max_rejects=0)
    with pytest.raises(TaskFailed, match="too_many_rejects") as caught:
        await client.jobs.wait(failing["id"], poll=0.05, timeout=60)
    assert caught.value.report["state"] == "failed"
    assert (await client.jobs.wait(failing["id"], check=False))["state"] == "failed"
    again = await client.jobs.retry(failing["id"], max_rejects="50%")
    assert (await client.jobs.wait(again["id"], poll=0.05, timeout=60))["state"] == "done"
    with pytest.raises(PermissionDeniedError) as refused:
        await client.jobs.create(words, ["/etc/passwd"])
    assert refused.value.code == "source_not_permitted"


@pytest.fixture
def shop(plain: Client, name: str) -> Iterator[str]:
    plain.schemas.import_ddl(name, DDL, dialect="sqlite")
    yield name
    plain.schemas.delete(name)


async def test_schemas(client: AsyncClient, shop: str) -> None:
    entry = await client.schemas.get(shop)
    assert entry["database"]["name"] == shop
    assert shop in [database["name"] async for database in client.schemas.list()]
    again = await client.schemas.create({"name": shop, "ddl": DDL})
    assert again["name"] == shop
    await client.schemas.describe(shop, {"tables": {"customers": {"description": "who buys"}}})
    added = await client.schemas.add_examples(
        shop, [{"question": "How many customers are there?", "sql": "SELECT count(*) FROM customers"}]
    )
    assert added
    examples = [example async for example in client.schemas.examples(shop)]
    assert examples[0]["sql"].startswith("SELECT")
    await client.schemas.delete_example(shop, examples[0]["id"])
    assert [example async for example in client.schemas.examples(shop)] == []
    assert await client.schemas.permissions(shop) is None
    await client.schemas.permit(shop, {"callers": {"support": {"allow": ["*"], "deny": ["orders"]}}})
    seen = await client.schemas.get(shop, caller="support")
    assert [table["name"] for table in seen["database"]["tables"]] == ["customers"]
    with pytest.raises(PermissionDeniedError):
        await client.schemas.get(shop, caller="nobody")
    await client.schemas.open_to_all(shop)


async def test_questions_to_schemas(client: AsyncClient, shop: str, encoder: str) -> None:
    question = "Which towns do customers live in?"
    focus = await client.schemas.retrieve(shop, question, mode="minimal", strategy="full")
    assert "customers" in focus["prompt"] and question in focus["prompt"]
    which = await client.schemas.which(question, schemas=0)
    assert shop in [ranked["database"] for ranked in which["databases"]]
    assert "hits" in await client.schemas.values(shop, "berlin")
    await client.schemas.add_examples(shop, [{"question": "Who buys?", "sql": "SELECT name FROM customers"}])
    similar = await client.schemas.similar_examples(shop, "Who bought?", limit=1)
    assert similar["examples"]
    worth = await client.schemas.worth_annotating(shop, ["Who bought most?", "Who bought least?"], limit=1)
    assert worth


async def test_entities(client: AsyncClient, plain: Client, name: str, encoder: str) -> None:
    report = await client.entities.create(
        name,
        [
            {"id": "Q64", "name": "Berlin", "description": "capital of Germany"},
            {"id": "Q90", "name": "Paris", "aliases": ["City of Light"]},
        ],
    )
    assert report
    try:
        assert name in [entry["catalog"] async for entry in client.entities.list()]
        assert (await client.entities.get(name))["names"] == 2
        linked = await client.entities.link(name, "We went from Berlin to Paris.", alternatives=1)
        assert [mention["mention"] for mention in linked["mentions"]] == ["Berlin", "Paris"]
        mention = await client.entities.disambiguate(name, "We love Paris.", 8, 13)
        assert mention["mention"] == "Paris"
        assert (await client.entities.retrieve(name, "Berlin", k=1))["entities"]
        await client.entities.add(name, [{"id": "Q84", "name": "London"}])
        assert (await client.entities.names(name, "Q84"))["names"]
        await client.entities.remove(name, "Q84")
        with pytest.raises(NotFoundError):
            await client.entities.names(name, "Q84")
        await client.entities.compact(name)
    finally:
        plain.entities.delete(name)


async def test_feedback(client: AsyncClient, filled: str, tmp_path: Path) -> None:
    added = await client.feedback.add(
        filled,
        [
            {"type": "impression", "query": "train", "answer": "a1", "shown": [{"id": "n1", "rank": 1}]},
            {"type": "click", "answer": "a1", "id": "n1"},
            {"type": "judgment", "query": "train", "id": "n2", "grade": 2},
        ],
    )
    assert added == 3
    status = await client.feedback.get(filled)
    assert status["combiner"]["active"] == 0 and status["index"] == filled
    with pytest.raises(InvalidRequestError, match="no vectors"):
        await client.feedback.fit(filled)
    with pytest.raises(InvalidRequestError):
        await client.feedback.activate(filled, 7)
    with pytest.raises(InvalidRequestError):
        await client.feedback.roll_back(filled)
    assert await client.feedback.export(filled, tmp_path / "events.parquet") > 0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys."""
    server = Server(tmp_path_factory.mktemp("guarded"), GLEANER_ADMIN_KEY="a" * 40)
    yield server
    server.stop()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_keys_and_tokens(guarded: Server, kind: Any) -> None:
    import anyio

    async def asked() -> None:
        async with AsyncClient(guarded.url) as nobody:
            with pytest.raises(AuthenticationError):
                await nobody.indexes.get("orders")
        async with AsyncClient(guarded.url, api_key="a" * 40) as admin:
            await admin.indexes.define(
                "orders",
                {"name": "orders", "fields": {"tenant": {"type": "keyword"}, "title": {"type": "text"}}},
            )
            await admin.documents.bulk(
                "orders",
                [{"id": "1", "tenant": "acme", "title": "x"}, {"id": "2", "tenant": "other", "title": "x"}],
                refresh=True,
            )
            key = await admin.keys.create(["search"], name="reader", indexes=["or*"])
            assert key["id"] in [one["id"] async for one in admin.keys.list()]
            assert (await admin.keys.get(key["id"]))["name"] == "reader"
            token = await admin.tokens.create('tenant = "acme"', indexes=["orders"], expires_in=60)
            async with AsyncClient(guarded.url, api_key=lambda: token["token"]) as tenant:
                assert (await tenant.search("orders", "x")).ids == ["1"]
                with pytest.raises(PermissionDeniedError):
                    await tenant.documents.put("orders", "3", {"title": "x"})
            async with AsyncClient(guarded.url, api_key=key["key"]) as reader:
                assert len(await reader.search("orders", "x")) == 2
                with pytest.raises(PermissionDeniedError):
                    await reader.bulk_stream("orders", [{"id": "3", "title": "x"}])
                await admin.keys.revoke(key["id"])
                with pytest.raises(AuthenticationError):
                    await reader.search("orders", "x")

    def waited() -> None:
        with Client(guarded.url, api_key="a" * 40) as admin:
            key = admin.keys.create(["write"])
            with Client(guarded.url, api_key=key["key"]) as writer:
                assert writer.bulk_stream("orders", [{"id": "2", "title": "x"}]).written == 1
            admin.keys.revoke(key["id"])

    anyio.run(asked)
    if kind is Client:
        waited()


async def test_a_key_is_never_told(guarded: Server) -> None:
    with Client(guarded.url, api_key="glk_secret_1") as client, pytest.raises(AuthenticationError) as caught:
        client.indexes.get("orders")
    assert "secret" not in str(caught.value) and "secret" not in repr(client)


async def test_names_are_quoted(client: AsyncClient) -> None:
    with pytest.raises((NotFoundError, InvalidRequestError)):
        await client.indexes.get("../v1/keys?x=1")
