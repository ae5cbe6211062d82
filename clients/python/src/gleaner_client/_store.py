"""What the integrations of frameworks share: how a text with metadata lies in an index."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, TypeVar
from uuid import uuid4

from . import types as t
from .results import Hit

T = TypeVar("T")
#: Ids that a filter names at a time, and hits of a page.
PAGE = 1000


def definition(
    name: str,
    *,
    text: str,
    metadata: str,
    fields: Optional[Mapping[str, Any]],
    language: Optional[str] = None,
    model: Optional[str] = None,
    vector: Optional[str] = None,
    dimensions: Optional[int] = None,
    metric: Optional[str] = None,
    more: Optional[Mapping[str, Any]] = None,
) -> t.Definition:
    """An index of texts with metadata: `fields` are those of the metadata that filters may name, by
    their type or as a definition has them; the others are stored."""
    analysis = {"analysis": {"language": language}} if language else {}
    known: Dict[str, Any] = {text: {"type": "text", **analysis}, **(more or {})}
    for field, kind in (fields or {}).items():
        known[f"{metadata}.{field}"] = {"type": kind} if isinstance(kind, str) else dict(kind)
    made: Dict[str, Any] = {"name": name, "unknown_fields": "store", "fields": known}
    embedding: Dict[str, Any] = {}
    if model is not None:
        embedding = {"model": model, "fields": [text]}
    elif dimensions is not None:
        embedding = {"vector_field": vector, "dimensions": dimensions}
    if embedding:
        if metric is not None:
            embedding["metric"] = metric
        made["embedding"] = embedding
    return made  # type: ignore[return-value]


def in_parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Some at a time."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def everything() -> Dict[str, Any]:
    """A filter that every document passes; the server refuses to delete by one that says so plainly."""
    return {"not": {"field": "id", "eq": uuid4().hex}}


def nothing() -> Dict[str, Any]:
    """A filter that no document passes."""
    return {"field": "id", "in": []}


def both(first: Any, second: Any) -> Any:
    """A filter for what passes both, of which each may be missing, a text or an object."""
    if not first or not second:
        return first or second or None
    if isinstance(first, str) and isinstance(second, str):
        return f"({first}) AND ({second})"
    if isinstance(first, str) or isinstance(second, str):
        raise ValueError("two filters at once have to be both texts or both objects")
    return {"and": [first, second]}


def text_of(hit: Hit, fields: Sequence[str], passage: bool) -> str:
    """The text of a hit: of its nearest passage, if that is wanted and there is one, or of these fields."""
    if passage and hit.passage is not None:
        return hit.passage["text"]
    return "\n".join(texts_in(hit.document, fields))


def texts_in(document: Mapping[str, Any], fields: Iterable[str]) -> Iterator[str]:
    """The texts of some fields, which may be paths."""
    for field in fields:
        value: Any = document.get(field)
        if value is None:
            value = document
            for part in field.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        values: List[Any] = value if isinstance(value, list) else [value]
        for text in values:
            if isinstance(text, str) and text:
                yield text


def metadata_of(hit: Hit, texts: Sequence[str], metadata: Optional[str]) -> Dict[str, Any]:
    """What else is known of a hit's document."""
    if metadata is not None:
        return dict(hit.document.get(metadata) or {})
    return {name: value for name, value in hit.document.items() if name not in texts and name != "id"}
