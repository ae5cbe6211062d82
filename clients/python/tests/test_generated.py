"""What is written by scripts/generate.py is what it would write now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gleaner_client import Client
from gleaner_client._operations import OPERATIONS

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "gleaner_client"


def test_it_is_current(plain: Client, tmp_path: Path) -> None:
    pytest.importorskip("datamodel_code_generator")
    pytest.importorskip("unasync")
    import generate

    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(plain.openapi()), encoding="utf-8")
    assert generate.stale(description) == [], "run scripts/generate.py --openapi FILE"


def test_every_operation_has_a_method() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (PACKAGE / "_async").glob("*.py"))
    called = set(re.findall(r'(?:call\(|_transport,|_entries\(transport,)\s*\n?\s*"([A-Za-z0-9]+)"', text))
    assert called <= set(OPERATIONS)
    # The second address of re-ranking is for other clients.
    assert set(OPERATIONS) - called == {"rerankV2"}
