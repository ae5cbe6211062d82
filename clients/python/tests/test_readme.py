"""The examples of README.md, run from the first to the last."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from conftest import Server

README = Path(__file__).resolve().parents[1] / "README.md"
#: What some examples need.
NEEDED = ["pandas", "pyarrow", "langchain_core", "llama_index.core", "haystack"]


def examples() -> Iterator[Tuple[int, str, Optional[str]]]:
    """Each example with the line that it stands on, and what it is to print."""
    text = README.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", text, re.M | re.S):
        yield text[: found.start(1)].count("\n") + 1, found.group(1), found.group(2)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    key = "k" * 40
    server = Server(tmp_path, GLEANER_ADMIN_KEY=key)
    monkeypatch.setenv("GLEANER_URL", server.url)
    monkeypatch.setenv("GLEANER_API_KEY", key)
    yield server
    server.stop()


def test_examples(served: Server, encoder: str, reranker: str) -> None:
    for name in NEEDED:
        pytest.importorskip(name)
    rows = [{"id": f"more{n}", "title": "x"} for n in range(3)]
    (served.loads / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names: Dict[str, Any] = {}
    failed: List[str] = []
    ran = 0
    for line, code, expected in examples():
        code = code.replace("/srv/loads", str(served.loads))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + code, str(README), "exec"), names)
        if expected is not None and printed.getvalue() != expected:
            failed.append(f"line {line}: expected\n{expected}and printed\n{printed.getvalue()}")
        ran += 1
    assert not failed, "\n".join(failed)
    assert ran > 15
