"""The models that the server has."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

from typing import Iterator

from .. import types as t
from .._core import call
from .part import Part, entries


class Models(Part):
    """Encoders and rerankers."""

    def get(self, name: str) -> t.ModelEntry:
        """One of them."""
        answer: t.ModelEntry = self._transport.send(call("getModel", name))
        return answer

    def list(self) -> Iterator[t.ModelEntry]:
        """All that there are."""
        for entry in entries(self._transport, "listModels", "data"):
            yield entry
