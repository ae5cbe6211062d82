"""Who may do what."""

# Edit this file; its twin in `_sync` is written by scripts/generate.py.

from __future__ import annotations

from typing import AsyncIterator, Optional, Sequence

from .. import types as t
from .._core import call, given
from .part import Part, entries


class Keys(Part):
    """API keys."""

    async def create(
        self,
        scopes: Sequence[t.Scope],
        *,
        name: Optional[str] = None,
        indexes: Optional[Sequence[str]] = None,
        expires_at: Optional[str] = None,
    ) -> t.NewKey:
        """Makes one; its `key` is told this once."""
        body = given(scopes=list(scopes), name=name, indexes=indexes, expires_at=expires_at)
        answer: t.NewKey = await self._transport.send(call("createKey", body=body))
        return answer

    async def get(self, id: str) -> t.KeyInfo:
        """What is known of one."""
        answer: t.KeyInfo = await self._transport.send(call("getKey", id))
        return answer

    async def list(self, *, page_size: Optional[int] = None) -> AsyncIterator[t.KeyInfo]:
        """All, the oldest first."""
        async for entry in entries(self._transport, "listKeys", "keys", page_size=page_size):
            yield entry

    async def revoke(self, id: str) -> None:
        """Ends one."""
        await self._transport.send(call("revokeKey", id))


class Tokens(Part):
    """Tokens of tenants, which see what passes a filter."""

    async def create(
        self,
        filter: t.FilterInput,
        *,
        indexes: Optional[Sequence[str]] = None,
        expires_in: Optional[int] = None,
    ) -> t.NewToken:
        """Makes one, for so many seconds."""
        body = given(filter=filter, indexes=indexes, expires_in=expires_in)
        answer: t.NewToken = await self._transport.send(call("createToken", body=body))
        return answer
