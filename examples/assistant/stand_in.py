#!/usr/bin/env python3
"""Stands in for a language model: answers what was recorded, behind OpenAI's API.

    stand_in.py [PORT]

Listens on 127.0.0.1 (port 8080; 0 chooses one) and prints its URL. `recorded.json` beside this
file holds the answers: each to a question, after an error or at first, and only to a prompt that
has the tables and columns that the SQL needs. To any other prompt the answer is an error, as it
should be in a test.
"""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List

RECORDED: List[Dict[str, Any]] = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
#: Longest request, in bytes.
MOST_BYTES = 1 << 20


class Unknown(Exception):
    """A prompt that nothing was recorded for."""


def recorded(messages: List[Dict[str, str]]) -> str:
    """The answer to these messages."""
    prompt, last = messages[1]["content"], messages[-1]["content"]
    found = re.search(r"^-- Question: (.*)$", prompt, re.MULTILINE)
    question = found.group(1) if found else ""
    error = last if len(messages) > 2 else ""
    for entry in RECORDED:
        if entry["question"] != question or entry.get("after_error", "") not in error:
            continue
        if bool(entry.get("after_error")) != bool(error):
            continue
        missing = [text for text in entry["needs"] if text not in prompt]
        if missing:
            raise Unknown(f"the prompt lacks {', '.join(missing)}")
        return str(entry["answer"])
    raise Unknown(f"nothing was recorded for the question {question!r} after {error!r}")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("content-length", "0"))
            if self.path != "/v1/chat/completions" or not 0 < length <= MOST_BYTES:
                raise Unknown("only /v1/chat/completions is known here")
            body = json.loads(self.rfile.read(length))
            content = recorded(body["messages"])
        except (Unknown, ValueError, LookupError, TypeError) as error:
            self.reply(400, {"error": {"message": f"stand-in: {error}", "type": "invalid_request_error"}})
            return
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.reply(200, {"object": "chat.completion", "model": body.get("model"), "choices": [choice]})

    def reply(self, status: int, body: Dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
