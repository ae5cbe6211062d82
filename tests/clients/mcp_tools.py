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
