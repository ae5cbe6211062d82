"""Indexes, their other names, and what is kept of them."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

from typing import Dict, Iterator, Mapping, Optional

from .. import types as t
from .._core import call, given
from ..errors import NotFoundError
from .part import Part, deadline, entries, raise_failed, settled, until_next


class Indexes(Part):
    """Indexes: their definitions, and what is done with one as a whole."""

    def create(self, definition: t.Definition) -> t.IndexAnswer:
        """Creates one."""
        answer: t.IndexAnswer = self._transport.send(call("createIndex", body=definition))
        return answer

    def define(self, name: str, definition: t.Definition) -> t.IndexAnswer:
        """Creates one, or changes in place what can be changed of it."""
        answer: t.IndexAnswer = self._transport.send(call("defineIndex", name, body=definition))
        return answer

    def get(self, name: str) -> t.IndexAnswer:
        """Its definition and figures."""
        answer: t.IndexAnswer = self._transport.send(call("getIndex", name))
        return answer

    def exists(self, name: str) -> bool:
        """Whether there is one."""
        try:
            self.get(name)
        except NotFoundError:
            return False
        return True

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.IndexEntry]:
        """All that the key reaches."""
        for entry in entries(self._transport, "listIndexes", "indexes", page_size=page_size):
            yield entry

    def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Removes it with everything in it."""
        try:
            self._transport.send(call("deleteIndex", name))
        except NotFoundError:
            if not missing_ok:
                raise

    def refresh(self, name: str) -> int:
        """Makes all writes so far visible; the number of the last one."""
        answer: t.RefreshAnswer = self._transport.send(call("refreshIndex", name))
        return answer["visible_seq"]

    def compact(self, name: str, *, timeout: Optional[float] = None) -> t.CompactAnswer:
        """Gives back what was deleted or replaced."""
        answer: t.CompactAnswer = settled(self._transport, call("compactIndex", name), timeout)
        return answer

    def reindex(
        self,
        name: str,
        into: str,
        *,
        definition: Optional[t.Definition] = None,
        alias: Optional[str] = None,
    ) -> t.ReindexAnswer:
        """Begins to make a new index of this one beside it; `wait_for_reindexing` says how it ended."""
        body = given(into=into, definition=definition, alias=alias)
        answer: t.ReindexAnswer = self._transport.send(call("beginReindexing", name, body=body))
        return answer

    def reindexing(self, name: str) -> t.ReindexAnswer:
        """How far it is."""
        answer: t.ReindexAnswer = self._transport.send(call("getReindexing", name))
        return answer

    def cancel_reindexing(self, name: str) -> t.ReindexAnswer:
        """Calls it off."""
        answer: t.ReindexAnswer = self._transport.send(call("cancelReindexing", name))
        return answer

    def wait_for_reindexing(
        self, name: str, *, poll: float = 0.5, timeout: Optional[float] = None
    ) -> t.ReindexAnswer:
        """Returns when it is done; raises `TaskFailed` where it ended otherwise."""
        until = deadline(timeout)
        while True:
            report = self.reindexing(name)
            if report["state"] == "done":
                return report
            if report["state"] != "running":
                raise_failed(f"the reindexing of {name}", report)
            until_next(f"the reindexing of {name}", poll, until)


class Aliases(Part):
    """Other names of indexes."""

    def get(self) -> Dict[str, str]:
        """Each alias, and the index that it stands for."""
        answer: t.AliasesAnswer = self._transport.send(call("listAliases"))
        return dict(answer["aliases"])

    def change(self, aliases: Mapping[str, Optional[str]]) -> Dict[str, str]:
        """Moves aliases, all in one step; `None` removes one, and those not named stay."""
        asked = call("changeAliases", body={"aliases": dict(aliases)})
        answer: t.AliasesAnswer = self._transport.send(asked)
        return dict(answer["aliases"])


class Snapshots(Part):
    """Indexes as they were."""

    def create(self, index: str, *, timeout: Optional[float] = None) -> t.Snapshot:
        """Takes one."""
        answer: t.Snapshot = settled(self._transport, call("takeSnapshot", index), timeout)
        return answer

    def list(self, index: str, *, page_size: Optional[int] = None) -> Iterator[t.Snapshot]:
        """Those of an index, the oldest first."""
        for entry in entries(self._transport, "listSnapshots", "snapshots", index, page_size=page_size):
            yield entry

    def restore(self, index: str, id: str, name: str, *, timeout: Optional[float] = None) -> t.RestoreAnswer:
        """Makes an index of that name of one."""
        asked = call("restoreSnapshot", index, id, body={"name": name})
        answer: t.RestoreAnswer = settled(self._transport, asked, timeout)
        return answer

    def delete(self, index: str, id: str) -> None:
        """Removes one."""
        self._transport.send(call("deleteSnapshot", index, id))
