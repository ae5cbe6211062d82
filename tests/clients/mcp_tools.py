"""Calls the tools with the official MCP client, over HTTP and over standard input and output.

    mcp_tools.py URL MODEL RERANKER

`MCP_COMMAND` holds the command that serves the same data folder over standard input and output,
as a JSON list. Run by `make test-clients` (tools/clients.py), which starts the service.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
import urllib.request

from mcp import Client, StdioServerParameters

URL = ""
DDL = """CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, town TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL, customer_id INTEGER REFERENCES customers (id));"""
INDEX = {"name": "papers", "fields": {"title": {"type": "text"}, "body": {"type": "text"}, "year": {"type": "integer"}}}
PAPERS = [
    {"id": "p1", "title": "Rivers", "body": "How red rivers run to the sea.", "year": 2024},
    {"id": "p2", "title": "Mountains", "body": "Where rivers begin.", "year": 2025},
]
NAMES = [{"name": "red river", "id": "q1"}, {"name": "mountain", "id": "q3"}]
QUESTION = {"question": "In which towns do customers live?", "strategy": "retrieval", "mode": "minimal"}


def post(path: str, body: object) -> dict:
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def servers():
    command = json.loads(os.environ["MCP_COMMAND"])
    # The client hands on few variables by itself.
    started = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    # The protocol of today, and the handshake of the versions before it.
    return [(server, mode) for server in (f"{URL}/mcp", started) for mode in ("auto", "legacy")]


class Tools(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        post("/v1/schemas", {"name": "shop", "ddl": DDL})
        post("/v1/indexes", INDEX)
        post("/v1/indexes/papers/documents?refresh=wait", PAPERS)
        post("/v1/entities", {"name": "things", "names": NAMES})

    async def test_tools_are_listed_and_answer_what_rest_answers(self):
        expected = post("/v1/schemas/shop:retrieve", QUESTION)
        for server, mode in servers():
            with self.subTest(server=str(server)[:60], mode=mode):
                async with Client(server, mode=mode, read_timeout_seconds=60) as client:
                    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
                    self.assertLessEqual({"list_databases", "retrieve_schema"}, set(tools))
                    listed = await client.call_tool("list_databases")
                    # The client checks it against the tool's output schema.
                    names = [entry["name"] for entry in listed.structured_content["schemas"]]
                    self.assertEqual(names, ["shop"])
                    answer = await client.call_tool("retrieve_schema", {"database": "shop", **QUESTION})
                    self.assertFalse(answer.is_error)
                    self.assertEqual(answer.structured_content, expected)
                    self.assertEqual(answer.content[0].text, expected["prompt"])

    async def test_indexes_are_searched_where_they_are_open(self):
        wanted = {"query": "rivers", "k": 2, "filter": "year >= 2024", "highlight": {"pre": "*", "post": "*"}}
        expected = post("/v1/indexes/papers/search", wanted)
        for server, mode in servers():
            with self.subTest(server=str(server)[:60], mode=mode):
                async with Client(server, mode=mode, read_timeout_seconds=60) as client:
                    listed = await client.call_tool("list_indexes")
                    names = [entry["name"] for entry in listed.structured_content["indexes"]]
                    self.assertEqual(names, ["papers"])
                    answer = await client.call_tool("search", {"index": "papers", **wanted})
                    if not isinstance(server, str):
                        # The service of this test has it open.
                        self.assertTrue(answer.is_error)
                        self.assertTrue(answer.content[0].text.endswith("[index_in_use]"), answer)
                        continue
                    self.assertFalse(answer.is_error, answer)
                    for field in ("hits", "total", "mode"):
                        self.assertEqual(answer.structured_content[field], expected[field])
                    self.assertIn("1. p", answer.content[0].text)
                    self.assertIn("*rivers*", answer.content[0].text)
                    refused = await client.call_tool("search", {"index": "papers", "query": "rivers", "words": 2})
                    self.assertTrue(refused.is_error)
                    self.assertTrue(refused.content[0].text.endswith("[invalid_request]"), refused)

    async def test_texts_are_linked_to_entities(self):
        wanted = {"catalog": "things", "text": "The Red River is by the Mountain.", "threshold": 0}
        expected = post("/v1/entities:link", wanted)
        self.assertEqual(len(expected["mentions"]), 2)
        for server, mode in servers():
            with self.subTest(server=str(server)[:60], mode=mode):
                async with Client(server, mode=mode, read_timeout_seconds=60) as client:
                    listed = await client.call_tool("list_catalogs")
                    self.assertEqual(listed.structured_content["catalogs"][0]["catalog"], "things")
                    answer = await client.call_tool("link_entities", wanted)
                    self.assertFalse(answer.is_error, answer)
                    self.assertEqual(answer.structured_content, expected)
                    self.assertIn("red river [q1]", answer.content[0].text)

    async def test_errors_are_the_tools(self):
        for server, mode in servers():
            with self.subTest(server=str(server)[:60], mode=mode):
                async with Client(server, mode=mode, read_timeout_seconds=60) as client:
                    for arguments, code in [
                        ({"database": "bank", "question": "Who?"}, "database_not_found"),
                        ({"database": "shop", "question": " "}, "invalid_request"),
                        ({"database": "shop", "question": "x " * 50_000}, "limit_exceeded"),
                    ]:
                        refused = await client.call_tool("retrieve_schema", arguments)
                        self.assertTrue(refused.is_error)
                        self.assertTrue(refused.content[0].text.endswith(f"[{code}]"), refused)


if __name__ == "__main__":
    URL = sys.argv[1]
    unittest.main(argv=sys.argv[:1], verbosity=2)
