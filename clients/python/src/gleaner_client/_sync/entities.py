"""Entities in texts."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from .. import types as t
from .._core import call, given
from .part import Part, entries, settled


class Entities(Part):
    """Catalogs of names, and which of them texts speak of."""

    def create(
        self,
        name: str,
        names: Sequence[t.NewName],
        *,
        model: Optional[str] = None,
        after_space: Optional[bool] = None,
    ) -> t.BuildReport:
        """Builds a catalog of at most 10,000 names."""
        body = given(name=name, names=list(names), model=model, after_space=after_space)
        answer: t.BuildReport = self._transport.send(call("createCatalog", body=body))
        return answer

    def get(self, catalog: str) -> t.CatalogInfo:
        """A catalog's figures."""
        answer: t.CatalogInfo = self._transport.send(call("getCatalog", catalog))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.CatalogInfo]:
        """All catalogs that the key reaches."""
        for entry in entries(self._transport, "listCatalogs", "catalogs", page_size=page_size):
            yield entry

    def delete(self, catalog: str) -> None:
        """Removes a catalog."""
        self._transport.send(call("deleteCatalog", catalog))

    def add(self, catalog: str, names: Sequence[t.NewName]) -> t.AddReport:
        """Adds at most 10,000 names, all or none."""
        asked = call("addNames", catalog, body={"names": list(names)})
        answer: t.AddReport = self._transport.send(asked)
        return answer

    def compact(self, catalog: str, *, timeout: Optional[float] = None) -> t.BuildReport:
        """Seals what was added and removed."""
        asked = call("compactCatalog", catalog)
        answer: t.BuildReport = settled(self._transport, asked, timeout)
        return answer

    def names(self, catalog: str, id: str) -> t.EntityAnswer:
        """The names of an entity."""
        answer: t.EntityAnswer = self._transport.send(call("getEntity", catalog, id))
        return answer

    def remove(self, catalog: str, id: str) -> None:
        """Removes an entity."""
        self._transport.send(call("deleteEntity", catalog, id))

    def link(
        self,
        catalog: str,
        text: str,
        *,
        method: Optional[t.LinkMethod] = None,
        mentions: Optional[t.Mentions] = None,
        threshold: Optional[float] = None,
        alternatives: Optional[int] = None,
    ) -> t.LinkResponse:
        """Which stretches of a text are mentions, and what they mean."""
        body = given(
            catalog=catalog,
            text=text,
            method=method,
            mentions=mentions,
            threshold=threshold,
            alternatives=alternatives,
        )
        answer: t.LinkResponse = self._transport.send(call("linkEntities", body=body))
        return answer

    def disambiguate(
        self,
        catalog: str,
        text: str,
        start: int,
        end: int,
        *,
        candidates: Optional[Sequence[str]] = None,
        threshold: Optional[float] = None,
        alternatives: Optional[int] = None,
    ) -> t.LinkedMention:
        """What the mention from character `start` to `end` of a text means."""
        body = given(
            catalog=catalog,
            text=text,
            start=start,
            end=end,
            candidates=candidates,
            threshold=threshold,
            alternatives=alternatives,
        )
        asked = call("disambiguateMention", body=body)
        answer: t.LinkedMention = self._transport.send(asked)
        return answer

    def retrieve(
        self, catalog: str, query: str, *, k: Optional[int] = None, samples: Optional[int] = None
    ) -> t.RetrieveEntitiesResponse:
        """Entities that a text is about."""
        body = given(catalog=catalog, query=query, k=k, samples=samples)
        asked = call("retrieveEntities", body=body)
        answer: t.RetrieveEntitiesResponse = self._transport.send(asked)
        return answer
