#!/usr/bin/env python3
"""An assistant that answers questions about an SQLite database in SQL.

    assistant.py DATABASE FILE.sqlite QUESTION

DATABASE is its name in Gleaner's catalogue, FILE.sqlite the database itself, which is only read.
The loop: retrieve the part of the schema that the question needs, ask a language model for SQL,
run it; where that fails, tell the model why and let it repair. Where a table or a column is
missing, the schema is retrieved again, and more of it is kept.

The environment says where things are:

    GLEANER_URL      the service [http://localhost:7700]
    OPENAI_BASE_URL  a language model behind OpenAI's API [http://localhost:8080/v1]
    OPENAI_API_KEY   its key, where it needs one
    OPENAI_MODEL     the model's name [default]
    TOKEN_BUDGET     most tokens of the schema in the prompt [2000]

Nothing but Python's standard library is needed.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

#: How often the model may try.
ATTEMPTS = 3
#: Rows that are shown, and seconds that a statement may take.
MOST_ROWS = 50
MOST_SECONDS = 10.0
#: Seconds to wait for the service and for the model.
PATIENCE = 120.0

INSTRUCTIONS = (
    "You write SQL for SQLite. Answer with one SELECT statement and nothing else. "
    "Use only tables and columns of the schema that you are given."
)
#: What a statement may do. Whatever else it tries (writing, ATTACH, PRAGMA) is refused by SQLite.
ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    getattr(sqlite3, "SQLITE_RECURSIVE", 33),
}


class Trouble(Exception):
    """What ends the assistant, as a sentence for people."""


def post(url: str, body: Dict[str, Any], headers: Optional[Dict[str, str]] = None) -> Any:
    """Posts JSON and gives the JSON that comes back."""
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        try:
            said = json.loads(said)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = said[:500]
        raise Trouble(f"{url} answered {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        raise Trouble(f"{url} cannot be asked: {error}") from error


def retrieve(database: str, question: str, mode: str) -> Dict[str, Any]:
    """The part of the schema that the question needs."""
    service = os.environ.get("GLEANER_URL", "http://localhost:7700").rstrip("/")
    url = f"{service}/v1/schemas/{urllib.parse.quote(database, safe='')}:retrieve"
    budget = int(os.environ.get("TOKEN_BUDGET", "2000"))
    request = {"question": question, "mode": mode, "token_budget": budget, "dialect": "sqlite"}
    return post(url, request)


def ask(messages: Sequence[Dict[str, str]]) -> str:
    """The language model's answer."""
    base = os.environ.get("OPENAI_BASE_URL", "http://localhost:8080/v1").rstrip("/")
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": os.environ.get("OPENAI_MODEL", "default"), "temperature": 0, "messages": list(messages)}
    answer = post(f"{base}/chat/completions", body, headers)
    try:
        return str(answer["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError) as error:
        raise Trouble(f"the model's answer has no message: {json.dumps(answer)[:500]}") from error


def statement(answer: str) -> str:
    """The SQL in an answer: what is fenced, or all of it."""
    fenced = re.search(r"```(?:\w+)?\s*\n(.*?)```", answer, re.DOTALL)
    return (fenced.group(1) if fenced else answer).strip().rstrip(";").strip()


def run(file: Path, sql: str) -> Tuple[List[str], List[Tuple[Any, ...]]]:
    """Runs a statement that reads: the columns' names, and at most MOST_ROWS + 1 rows."""
    uri = f"file:{urllib.parse.quote(str(file.resolve()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    try:
        allow = lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY  # noqa: E731
        connection.set_authorizer(allow)
        ends = time.monotonic() + MOST_SECONDS
        connection.set_progress_handler(lambda: int(time.monotonic() > ends), 10_000)
        cursor = connection.execute(sql)
        if cursor.description is None:
            raise sqlite3.ProgrammingError("this is no statement that reads")
        return [column[0] for column in cursor.description], cursor.fetchmany(MOST_ROWS + 1)
    finally:
        connection.close()


def show(names: List[str], rows: List[Tuple[Any, ...]]) -> None:
    print(" | ".join(names))
    for row in rows[:MOST_ROWS]:
        print(" | ".join("NULL" if value is None else str(value) for value in row))
    if len(rows) > MOST_ROWS:
        print(f"... more than {MOST_ROWS} rows")


def answer(database: str, file: Path, question: str) -> None:
    mode = "balanced"
    schema = retrieve(database, question, mode)
    system = {"role": "system", "content": INSTRUCTIONS}
    messages = [system, {"role": "user", "content": schema["prompt"]}]
    for attempt in range(1, ATTEMPTS + 1):
        sql = statement(ask(messages))
        print(f"-- {schema['strategy']} schema, {schema['tokens']} of {schema['full_tokens']} tokens")
        print(f"{sql};")
        try:
            names, rows = run(file, sql)
        # A warning is what sqlite3 calls several statements in one.
        except (sqlite3.Error, sqlite3.Warning) as error:
            print(f"-- attempt {attempt} of {ATTEMPTS}: {error}")
            why = str(error)
        else:
            show(names, rows)
            return
        messages += [
            {"role": "assistant", "content": sql},
            {"role": "user", "content": f"SQLite says: {why}. Write the statement anew."},
        ]
        if re.search(r"no such (table|column)", why) and mode != "conservative":
            # Perhaps it was left out of the prompt.
            mode = "conservative"
            schema = retrieve(database, question, mode)
            messages[1] = {"role": "user", "content": schema["prompt"]}
    raise Trouble(f"no statement in {ATTEMPTS} attempts could be run")


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    database, file, question = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if not file.is_file():
        sys.exit(f"assistant: there is no file {file}")
    try:
        answer(database, file, question)
    except Trouble as trouble:
        sys.exit(f"assistant: {trouble}")


if __name__ == "__main__":
    main()
