"""Who may do what."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from .. import types as t
from .._core import call, given
from .part import Part, entries


class Keys(Part):
    """API keys."""

    def create(
        self,
        scopes: Sequence[t.Scope],
        *,
        name: Optional[str] = None,
        indexes: Optional[Sequence[str]] = None,
        expires_at: Optional[str] = None,
    ) -> t.NewKey:
        """Makes one; its `key` is told this once."""
        body = given(scopes=list(scopes), name=name, indexes=indexes, expires_at=expires_at)
        answer: t.NewKey = self._transport.send(call("createKey", body=body))
        return answer

    def get(self, id: str) -> t.KeyInfo:
        """What is known of one."""
        answer: t.KeyInfo = self._transport.send(call("getKey", id))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.KeyInfo]:
        """All, the oldest first."""
        for entry in entries(self._transport, "listKeys", "keys", page_size=page_size):
            yield entry

    def revoke(self, id: str) -> None:
        """Ends one."""
        self._transport.send(call("revokeKey", id))


class Tokens(Part):
    """Tokens of tenants, which see what passes a filter."""

    def create(
        self,
        filter: t.FilterInput,
        *,
        indexes: Optional[Sequence[str]] = None,
        expires_in: Optional[int] = None,
    ) -> t.NewToken:
        """Makes one, for so many seconds."""
        body = given(filter=filter, indexes=indexes, expires_in=expires_in)
        answer: t.NewToken = self._transport.send(call("createToken", body=body))
        return answer
