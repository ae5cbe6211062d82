"""What is answered, where more can be done with it than to read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
    cast,
    overload,
)

from . import types as t
from .errors import ApiError, error_of

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = [
    "BulkProgress",
    "BulkResult",
    "Embeddings",
    "Hit",
    "Rejection",
    "SearchResults",
]


@dataclass(frozen=True)
class Hit:
    """A document that was found. `hit["title"]` is a field of it."""

    id: str
    score: float
    #: The document, or the fields of it that were asked for.
    document: Dict[str, Any]
    #: The passage whose vector was nearest, where texts are cut.
    passage: Optional[t.Passage] = None
    #: Fragments with the query's words marked, by field.
    highlights: Dict[str, List[str]] = field(default_factory=dict)
    #: Its values of the fields that hits are sorted by.
    sort: Optional[List[Any]] = None
    #: Its value of the field that is collapsed.
    group: Any = None
    #: Further members of its group.
    inner: List[t.InnerHit] = field(default_factory=list)
    #: The score, taken apart.
    explanation: Optional[t.Explanation] = None

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A field of the document."""
        return self.document.get(name, default)

    @classmethod
    def of(cls, answer: t.Hit) -> Hit:
        """Out of an answer."""
        return cls(
            id=answer["id"],
            score=answer["score"],
            document=answer["document"],
            passage=answer.get("passage"),
            highlights=answer.get("highlights") or {},
            sort=answer.get("sort"),
            group=answer.get("group"),
            inner=answer.get("inner") or [],
            explanation=answer.get("explanation"),
        )


class SearchResults(Sequence[Hit]):
    """The hits of a search, the best first, and what is said of them."""

    def __init__(self, raw: t.SearchResponse) -> None:
        #: The answer as it came.
        self.raw = raw
        self.hits: List[Hit] = [Hit.of(hit) for hit in raw["hits"]]

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> List[Hit]: ...
    def __getitem__(self, at: Union[int, slice]) -> Union[Hit, List[Hit]]:
        return self.hits[at]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __repr__(self) -> str:
        return f"<SearchResults: {len(self.hits)} hits of {self.total}, {self.mode}>"

    @property
    def ids(self) -> List[str]:
        """The ids of the hits."""
        return [hit.id for hit in self.hits]

    @property
    def documents(self) -> List[Dict[str, Any]]:
        """The documents of the hits."""
        return [hit.document for hit in self.hits]

    @property
    def total(self) -> int:
        """Documents that pass the filter and, in lexical mode, match the words."""
        return self.raw["total"]["value"]

    @property
    def mode(self) -> t.Mode:
        """Which legs answered."""
        return self.raw["mode"]

    @property
    def facets(self) -> Dict[str, List[t.FacetCount]]:
        """Values and how many documents have them, by field."""
        return self.raw.get("facets") or {}

    @property
    def cursor(self) -> Optional[str]:
        """Where to go on, if a cursor was asked for and there is more."""
        return self.raw.get("cursor")

    @property
    def short(self) -> Optional[t.Shortfall]:
        """Why there are fewer hits than were asked for."""
        return self.raw.get("short")

    @property
    def degraded(self) -> List[t.Degraded]:
        """What the answer had to do without."""
        return self.raw.get("degraded") or []

    @property
    def rerank(self) -> Optional[t.RerankSummary]:
        """What the reranker did."""
        return self.raw.get("rerank")

    @property
    def timings(self) -> t.Timings:
        """Where the time went, in milliseconds."""
        return self.raw["timings"]

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each hit: its id and score, and a column for each field of the documents."""
        from .tables import to_pandas

        return to_pandas(self.rows())

    def to_arrow(self) -> pyarrow.Table:
        """The same as a table of Arrow."""
        from .tables import to_arrow

        return to_arrow(self.rows())

    def rows(self) -> List[Dict[str, Any]]:
        """Each hit as `id`, `score` and the fields of its document; of a field called `id` or `score`
        itself the hit's own value is kept."""
        return [{"id": hit.id, "score": hit.score, **_without(hit.document)} for hit in self.hits]


def _without(document: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("id", "score")}


def batch_of(answer: t.SearchBatchAnswer) -> List[Union[SearchResults, ApiError]]:
    """The answers to several searches."""
    results: List[Union[SearchResults, ApiError]] = []
    for result in answer["results"]:
        failure = cast(Mapping[str, Any], result).get("error")
        results.append(error_of(failure) if failure else SearchResults(cast(t.SearchResponse, result)))
    return results


@dataclass(frozen=True)
class Embeddings:
    """Vectors of texts, in their order."""

    vectors: List[List[float]]
    model: str
    #: Tokens that were encoded.
    tokens: int
    #: Texts whose end was cut off, by their index.
    truncated: List[int]

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[List[float]]:
        return iter(self.vectors)

    def __getitem__(self, at: int) -> List[float]:
        return self.vectors[at]


@dataclass(frozen=True)
class Rejection:
    """A document that was refused."""

    #: Which one it was, counted from 0.
    item: int
    #: Its id; none where none could be read.
    id: Optional[str]
    #: Why.
    error: ApiError


@dataclass(frozen=True)
class BulkProgress:
    """How far a load is."""

    #: Documents that were sent.
    sent: int
    #: Documents whose fate is known.
    done: int
    written: int
    rejected: int


@dataclass(frozen=True)
class BulkResult:
    """What became of a load."""

    written: int
    rejected: int
    #: Each that was refused.
    rejections: List[Rejection]

    def raise_for_rejections(self) -> BulkResult:
        """Raises the error of the first document that was refused, if any was."""
        if self.rejections:
            raise self.rejections[0].error
        return self
