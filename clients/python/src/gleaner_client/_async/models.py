"""The models that the server has."""

# Edit this file; its twin in `_sync` is written by scripts/generate.py.

from __future__ import annotations

from typing import AsyncIterator

from .. import types as t
from .._core import call
from .part import Part, entries


class Models(Part):
    """Encoders and rerankers."""

    async def get(self, name: str) -> t.ModelEntry:
        """One of them."""
        answer: t.ModelEntry = await self._transport.send(call("getModel", name))
        return answer

    async def list(self) -> AsyncIterator[t.ModelEntry]:
        """All that there are."""
        async for entry in entries(self._transport, "listModels", "data"):
            yield entry
