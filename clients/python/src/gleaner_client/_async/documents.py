"""Documents one by one, and some at a time."""

# Edit this file; its twin in `_sync` is written by scripts/generate.py.

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from .. import types as t
from .._core import NDJSON, call, encode_lines, is_unsettled
from ..errors import NotFoundError
from .part import Durability, Part, Refresh, writing


class Documents(Part):
    """The documents of an index."""

    async def put(
        self,
        index: str,
        id: str,
        document: Mapping[str, Any],
        *,
        if_version: Optional[int] = None,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.WriteAnswer:
        """Writes one; with `if_version` only if it has that version, with 0 only if there is none."""
        params = writing(refresh, durability, if_version=if_version)
        asked = call("putDocument", index, id, body=document, params=params, key=idempotency_key)
        answer: t.WriteAnswer = await self._transport.send(asked)
        return answer

    async def update(
        self,
        index: str,
        id: str,
        patch: Mapping[str, Any],
        *,
        if_version: Optional[int] = None,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.WriteAnswer:
        """Changes a part of one: members replace those of their name, `None` removes them."""
        params = writing(refresh, durability, if_version=if_version)
        asked = call("updateDocument", index, id, body=patch, params=params, key=idempotency_key)
        answer: t.WriteAnswer = await self._transport.send(asked)
        return answer

    async def get(self, index: str, id: str, *, vectors: bool = False) -> t.DocumentAnswer:
        """One with its version, as it was last written; with `vectors` also those of its passages."""
        asked = call("getDocument", index, id, params={"vectors": vectors or None})
        answer: t.DocumentAnswer = await self._transport.send(asked)
        return answer

    async def exists(self, index: str, id: str) -> bool:
        """Whether there is one."""
        try:
            await self.get(index, id)
        except NotFoundError as error:
            if error.code == "document_not_found":
                return False
            raise
        return True

    async def delete(
        self,
        index: str,
        id: str,
        *,
        if_version: Optional[int] = None,
        missing_ok: bool = False,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> None:
        """Deletes one."""
        params = writing(refresh, durability, if_version=if_version)
        try:
            await self._transport.send(call("deleteDocument", index, id, params=params, key=idempotency_key))
        except NotFoundError as error:
            if not missing_ok or error.code != "document_not_found":
                raise

    async def delete_by_filter(
        self,
        index: str,
        filter: t.FilterInput,
        *,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> int:
        """Deletes those that pass a filter; how many there were."""
        asked = call(
            "deleteDocuments",
            index,
            body={"filter": filter},
            params=writing(refresh, durability),
            key=idempotency_key,
        )
        answer: t.DeleteAnswer = await self._transport.send(asked)
        return answer["deleted"]

    async def bulk(
        self,
        index: str,
        documents: Sequence[Mapping[str, Any]],
        *,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.BulkAnswer:
        """Writes some in one request, at most as many as the server takes in one (10,000); each is
        answered for. `bulk_stream` takes any number."""
        asked = call(
            "writeDocuments",
            index,
            content=encode_lines(documents),
            content_type=NDJSON,
            params=writing(refresh, durability),
            key=idempotency_key,
        )
        answer: t.BulkAnswer = await self._transport.send(asked, again=is_unsettled)
        return answer

    async def operations(
        self,
        index: str,
        operations: Sequence[t.BulkOperation],
        *,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.BulkAnswer:
        """Writes, updates and deletes in one request, in this order; each is answered for."""
        asked = call(
            "runOperations",
            index,
            content=encode_lines(operations),
            content_type=NDJSON,
            params=writing(refresh, durability),
            key=idempotency_key,
        )
        answer: t.BulkAnswer = await self._transport.send(asked, again=is_unsettled)
        return answer
