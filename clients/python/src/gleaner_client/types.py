"""What the server takes and answers.

Written by `scripts/generate.py` of the server's description. Members without `NotRequired` are always there in answers, and have to be there in requests.
"""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

from typing_extensions import NotRequired, TypeAlias, TypedDict


class AttachedProblem(TypedDict):
    """
    What keeps an attached index from being the newest.
    """

    since: str
    """
    Since when.
    """
    code: str
    """
    A stable code: `store_unreachable`, `snapshot_not_found`, `snapshot_damaged`,
    `model_mismatch`, or another of a caller's problems; the log has the whole story.
    """


class Failure(TypedDict):
    """
    What went wrong.
    """

    code: str
    """
    Stable and machine-readable: a code of a caller's problem, `operator_error`,
    `storage_full` or `internal`.
    """
    message: str
    """
    One sentence for people.
    """
    field: NotRequired[Optional[str]]
    """
    The field, parameter or header concerned; a path such as `queries[2].fusion.rrf_k`.
    """
    found: NotRequired[Optional[str]]
    """
    What was found there, shortened.
    """
    expected: NotRequired[Optional[str]]
    """
    What would have been accepted.
    """


UnknownFields: TypeAlias = Literal["reject", "store", "ignore"]
"""
What to do with fields that the definition does not name, inside of objects too.
"""


FieldType: TypeAlias = Literal["text", "keyword", "integer", "float", "date", "boolean"]
"""
Type of a field's values.
"""


Language: TypeAlias = Union[
    Literal[
        "danish",
        "dutch",
        "english",
        "finnish",
        "french",
        "german",
        "hungarian",
        "italian",
        "norwegian",
        "portuguese",
        "russian",
        "spanish",
        "swedish",
    ],
    Literal["none"],
]
"""
Languages with a stemmer and a list of stop words.
"""


Metric: TypeAlias = Literal["cosine", "dot", "l2"]
"""
How two vectors are compared. A score is always such that more is nearer.
"""


Storage: TypeAlias = Literal["int8", "f16", "binary"]
"""
How vectors are kept for searching. The full-precision ones stay in the store.
"""


Builder: TypeAlias = Literal["native", "hnsw_rs"]
"""
What builds graphs.
"""


class Passages(TypedDict):
    """
    How long texts are cut.
    """

    max_tokens: NotRequired[int]
    """
    Tokens in a passage, at most; never more than the model takes.
    """
    overlap: NotRequired[int]
    """
    Tokens that a passage shares with the one before.
    """


Mode: TypeAlias = Literal["lexical", "dense", "hybrid"]
"""
Which legs answer a query.
"""


FusionMethod: TypeAlias = Literal["learned", "minmax", "rrf"]
"""
How the legs' scores become one.
"""


MatchWords: TypeAlias = Literal["any", "all"]
"""
Which words of a query a document must hold.
"""


class Cascade(TypedDict):
    """
    Which documents are worth the reranker's time, told from the first stage's scores.
    """

    threshold: NotRequired[float]
    """
    Least likelihood of ending among the first ten with which a document is re-ranked, 0
    (all of them) to 1. `gleaner eval cascade` picks it for a budget.
    """
    share: NotRequired[float]
    """
    Most of a query's documents that are re-ranked, as a share of the bytes of all their
    texts, more than 0 to 1; the likeliest go first.
    """
    weights: NotRequired[list[float]]
    """
    Weights of the features that the likelihood is told from, as `gleaner eval cascade`
    fits them; the built-in ones where there are none.
    """


Combine: TypeAlias = Literal["sum", "best", "combined"]
"""
How the fields of a document add up to its score.
"""


class Synonyms(TypedDict):
    """
    Words that stand for one another.
    """

    groups: NotRequired[list[list[str]]]
    """
    Each group lists words or phrases that mean the same; a query that has one of
    them finds the others too. At most 10,000 groups of 2 to 50 members.
    """
    weight: NotRequired[float]
    """
    Weight of a synonym against the word that was typed, 0 to 1.
    """


class Typos(TypedDict):
    """
    Tolerance for misspelt words. It applies to words that no document contains;
    `word~1` and `word~2` ask for it explicitly and work without it.
    """

    enabled: NotRequired[bool]
    """
    Whether unknown words are matched against similar ones.
    """
    min_length_one: NotRequired[int]
    """
    Shortest word, in characters, in which one error is forgiven. At least 2.
    """
    min_length_two: NotRequired[int]
    """
    Shortest word, in characters, in which two errors are forgiven. At least
    `min_length_one`.
    """
    weight: NotRequired[float]
    """
    Weight of a similar word, 0 to 1; two errors weigh its square.
    """
    max_expansions: NotRequired[int]
    """
    Most similar words that one word stands for. 1 to 256.
    """


class RefreshAnswer(TypedDict):
    """
    The outcome of a refresh.
    """

    visible_seq: int
    """
    The log sequence that is visible now; all writes answered before the refresh was
    asked for are at or below it.
    """


class CompactAnswer(TypedDict):
    """
    The outcome of a compaction.
    """

    compacted: str
    """
    The index.
    """
    bytes_before: int
    """
    Bytes of its files before.
    """
    bytes: int
    """
    And after.
    """


TaskKind: TypeAlias = Literal["compact", "snapshot", "restore", "reindex", "fit", "compact_catalog"]
"""
What a task does.
"""


TaskState: TypeAlias = Literal["running", "done", "failed"]
"""
Whether a task goes on.
"""


ReindexState: TypeAlias = Literal["running", "done", "failed", "cancelled"]
"""
Whether a reindexing goes on.
"""


ReindexPhase: TypeAlias = Literal["copying", "catching_up", "swapping"]
"""
What a reindexing is at.
"""


class AliasesAnswer(TypedDict):
    """
    The aliases there are.
    """

    aliases: dict[str, str]
    """
    Each with the index it stands for.
    """


class AliasesRequest(TypedDict):
    """
    Changes to aliases, all in one step.
    """

    aliases: dict[str, Optional[str]]
    """
    Each with the index it is to stand for, or null to remove it. Others stay.
    """


BulkStatus: TypeAlias = Literal["created", "updated", "deleted", "rejected"]
"""
Whether a document was written.
"""


DocumentId: TypeAlias = Union[str, int]
"""
An id as a document may carry it.
"""


FilterInput: TypeAlias = Any
"""
A filter, as text or as an object.
"""


class DeleteAnswer(TypedDict):
    """
    The outcome of deleting by filter.
    """

    deleted: int
    """
    Documents that were deleted.
    """


class PassageVector(TypedDict):
    """
    The vector of a passage of a stored document.
    """

    start: int
    """
    First byte of the passage in the text that was encoded.
    """
    end: int
    """
    One past its last byte; 0 where the document brought the vector.
    """
    values: list[float]
    """
    As it was encoded or brought.
    """


class WriteAnswer(TypedDict):
    """
    The outcome of writing one document.
    """

    id: str
    """
    Its id.
    """
    status: BulkStatus
    """
    `created` or `updated`.
    """
    version: int
    """
    Its version now.
    """


class Like(TypedDict):
    """
    Documents to look for more of.
    """

    ids: list[str]
    """
    Ids of documents in the same index, 1 to 32. They are not among the hits.
    """


SortOrder: TypeAlias = Literal["asc", "desc"]
"""
Direction of an order.
"""


Missing: TypeAlias = Literal["first", "last"]
"""
Where documents without a value come, whatever the direction.
"""


class Collapse(TypedDict):
    """
    Only the best hit of each value of a field.
    """

    field: str
    """
    A keyword, integer, date or boolean field that holds one value. Documents without a
    value are all hits of their own.
    """
    inner: NotRequired[int]
    """
    How many further members of its group a hit names, at most 100.
    """


class CursorRequest(TypedDict):
    """
    Pages through one point in time, whatever is written meanwhile.
    """

    keep_s: NotRequired[Optional[int]]
    """
    Begins: how long the cursor is kept after its last use, in seconds; 60 by default.
    """
    token: NotRequired[Optional[str]]
    """
    Goes on: the `cursor` of the answer before. Stands alone; everything else is as in
    the first request.
    """


class HighlightRequest(TypedDict):
    """
    What to mark in hits.
    """

    fields: NotRequired[Optional[list[str]]]
    """
    Text fields to mark; all of them by default.
    """
    max_chars: NotRequired[int]
    """
    Longest fragment, in characters, 20 to 10,000.
    """
    pre: NotRequired[str]
    """
    Put before a marked word.
    """
    post: NotRequired[str]
    """
    Put after a marked word.
    """
    escape: NotRequired[bool]
    """
    Make the text safe for HTML, so that only the marks are tags.
    """


class RerankSettings(TypedDict):
    """
    Settings of re-ranking; what is left out is as the index's definition says.
    """

    model: NotRequired[Optional[str]]
    """
    Name of a reranker.
    """
    depth: NotRequired[Optional[int]]
    """
    Documents that are re-ranked, 1 to 1,000.
    """
    fields: NotRequired[Optional[list[str]]]
    """
    Fields whose texts are read.
    """
    weight: NotRequired[Optional[float]]
    """
    Weight of the reranker's score against the first stage's, 0 to 1.
    """
    time_ms: NotRequired[Optional[int]]
    """
    Longest time re-ranking may take, in milliseconds.
    """
    cascade: NotRequired[Optional[Cascade]]
    """
    Leaves out documents that the reranker is unlikely to put among the first ten.
    """


class InnerHit(TypedDict):
    """
    A further member of a hit's group.
    """

    id: str
    """
    The document's id.
    """
    score: float
    """
    Its score.
    """


class Place(TypedDict):
    """
    A piece of a text of a document.
    """

    field: str
    """
    The field.
    """
    item: int
    """
    Which of the field's texts, from 0; more than 0 only where it holds a list.
    """
    start: int
    """
    First character (Unicode scalar value) of the piece, from 0.
    """
    end: int
    """
    One past its last character.
    """


class LegExplanation(TypedDict):
    """
    One leg's part of a score.
    """

    rank: NotRequired[Optional[int]]
    """
    Rank among the leg's hits, from 1; absent where they were not ranked but sorted or
    collapsed.
    """
    score: float
    """
    The leg's own score: BM25, or the index's metric.
    """
    fused_as: NotRequired[Optional[float]]
    """
    The score as it entered the fusion, before the weight.
    """
    detail: NotRequired[Any]
    """
    Inside the leg: terms with their document frequencies, or how the vectors were searched.
    """


class FeatureExplanation(TypedDict):
    """
    One feature's part of a score.
    """

    name: str
    """
    The feature; docs/ranking.md lists them.
    """
    value: float
    """
    Its value, 0 to 1.
    """
    weight: float
    """
    Its weight for this query; all weights add up to 1.
    """
    contribution: float
    """
    Their product.
    """


class RerankExplanation(TypedDict):
    """
    What re-ranking made of a document. `weight * score_as + (1 - weight) * first_as` is the
    hit's score; one that was not scored follows those that were, in the first stage's order.
    """

    first_rank: int
    """
    Rank in the first stage, from 1.
    """
    first_score: float
    """
    The first stage's score.
    """
    first_as: NotRequired[Optional[float]]
    """
    The same, stretched to 0..1 over the documents that were scored.
    """
    score: NotRequired[Optional[float]]
    """
    The reranker's score, calibrated to 0..1; absent where it was not asked.
    """
    score_as: NotRequired[Optional[float]]
    """
    The same, stretched likewise; with a weight of 1 as it is.
    """
    weight: float
    """
    Weight of the reranker.
    """
    tokens: NotRequired[Optional[int]]
    """
    Tokens of the pair.
    """
    chance: NotRequired[Optional[float]]
    """
    With a cascade: how likely the document was to end among the first ten.
    """


TotalCounts: TypeAlias = Literal["matching", "filtered"]
"""
What a total counts.
"""


class FacetCount(TypedDict):
    """
    A value of a field and how many documents have it.
    """

    value: Any
    """
    The value, as a document holds it; an instant in UTC for dates.
    """
    count: int
    """
    Documents that have it, each counted once.
    """


class RerankSummary(TypedDict):
    """
    What a reranker did.
    """

    model: str
    """
    Its name.
    """
    depth: int
    """
    Documents that were to be re-ranked: the first so many candidates.
    """
    scored: int
    """
    How many of them it scored; all, but for a cascade, a time that was up or a failure.
    """
    tokens: int
    """
    Tokens it read, the query's with each document's.
    """
    query_truncated: NotRequired[bool]
    """
    Whether the query was longer than half of what it reads, and cut.
    """


class Shortfall(TypedDict):
    """
    Why there are fewer hits than were asked for.
    """

    asked: int
    """
    Hits that were asked for.
    """
    found: int
    """
    Hits that came.
    """
    reason: str
    """
    The reason, for people.
    """


class Degraded(TypedDict):
    """
    Something an answer had to do without.
    """

    lost: str
    """
    What was lost: `dense`, or `rerank`.
    """
    reason: str
    """
    Why.
    """


class Timings(TypedDict):
    """
    Milliseconds spent in each stage. Encoding and words run side by side, so the stages
    may add up to more than `total`.
    """

    encode_ms: float
    """
    Encoding the query; waiting for an encoder that is busy is not in it.
    """
    filter_ms: float
    """
    Compiling the filter.
    """
    words_ms: float
    """
    Searching the words.
    """
    vectors_ms: float
    """
    Searching the vectors.
    """
    fusion_ms: float
    """
    Fusing the legs.
    """
    rerank_ms: NotRequired[float]
    """
    Re-ranking the first documents.
    """
    fetch_ms: float
    """
    Fetching, highlighting and explaining the hits.
    """
    total_ms: float
    """
    From the request to the answer, inside the process.
    """


class SearchFailure(TypedDict):
    """
    Why there is no answer.
    """

    error: Failure
    """
    The same as in an error answer.
    """


class Snapshot(TypedDict):
    """
    What a snapshot holds.
    """

    id: str
    """
    The snapshot's name among those of its index: when it was taken, in UTC.
    """
    index: str
    """
    The index's name then.
    """
    seq: int
    """
    The log sequence up to which it has everything.
    """
    documents: int
    """
    Its documents.
    """
    bytes: int
    """
    Its length, linked files included.
    """


class RestoreRequest(TypedDict):
    """
    Where to restore a snapshot to.
    """

    name: str
    """
    The name of the index to make of it, which must be free.
    """


class RestoreAnswer(TypedDict):
    """
    The outcome of restoring a snapshot.
    """

    name: str
    """
    The name of the index that was made of it.
    """
    documents: int
    """
    Its documents.
    """


EventKind: TypeAlias = Literal["judgment", "impression", "click"]
"""
What somebody said.
"""


class Shown(TypedDict):
    """
    A document that was shown.
    """

    id: str
    """
    Its id.
    """
    rank: int
    """
    Where, from 1.
    """


class FeedbackAnswer(TypedDict):
    """
    The outcome of adding events.
    """

    index: str
    """
    The index that keeps them.
    """
    added: int
    """
    Events that were added: all that were sent.
    """


class FeedbackCounts(TypedDict):
    """
    Events that are kept, by type.
    """

    judgments: int
    """
    Judgments.
    """
    impressions: int
    """
    Impressions.
    """
    clicks: int
    """
    Clicks that came by themselves.
    """
    oldest: int
    """
    Numbers of the oldest and the newest event; 0 where there is none.
    """
    newest: int
    """
    See above.
    """


class CombinerStatus(TypedDict):
    """
    Which combiner an index uses.
    """

    active: int
    """
    The one in use; 0 for the one that is shipped.
    """
    before: list[int]
    """
    Those that were in use before it, the latest last: where rolling back goes.
    """
    versions: list[int]
    """
    The versions that are kept.
    """


class FitRequest(TypedDict):
    """
    How to fit.
    """

    activate: NotRequired[bool]
    """
    Use the combiner at once if it wins on the queries that are held back.
    """


class Propensities(TypedDict):
    """
    How likely each rank is looked at, relative to the first.
    """

    by_rank: list[float]
    """
    By rank, from 1: falling, at most 1, at least 0.05.
    """
    estimated: int
    """
    Ranks that the log told about; the others are assumed.
    """
    interventions: int
    """
    Pairs of query and document that were shown at more than one rank.
    """


class LargestWeights(TypedDict):
    """
    The largest weights that negatives had, before they were clipped.
    """

    relevance: float
    """
    In fitting relevance.
    """
    selection: float
    """
    In fitting selection.
    """


class Comparison(TypedDict):
    """
    A combiner against another one, on queries that neither was fitted on.
    """

    queries: int
    """
    Queries compared on.
    """
    before: float
    """
    Mean gain of the one in use.
    """
    after: float
    """
    Mean gain of the new one.
    """
    p: float
    """
    Of the paired randomisation test, two-sided.
    """


class ActivateRequest(TypedDict):
    """
    Which combiner to use.
    """

    version: int
    """
    Its version; 0 for the one that is shipped.
    """


class CatalogInfo(TypedDict):
    """
    What a catalog is.
    """

    catalog: str
    """
    Its name.
    """
    names: int
    """
    Names that can be written.
    """
    added: int
    """
    Of those, added since the names were sealed.
    """
    removed: int
    """
    Sealed names that were removed since.
    """
    aliases: int
    """
    Spellings of aliases; each that came with an added name is counted beside the sealed ones.
    """
    ids: bool
    """
    Whether ids are something else than the names.
    """
    bytes: int
    """
    Size of the sealed names on disk, in bytes.
    """
    mapped_bytes: int
    """
    The part of it that is mapped into memory, in bytes; the rest is read when it is asked for.
    """
    nodes: int
    """
    Nodes of the trie of the sealed names.
    """
    max_tokens: int
    """
    Longest name in tokens.
    """
    model: str
    """
    The model whose tokenizer spells the names.
    """
    after_space: bool
    """
    Whether they are spelled as they are behind a space.
    """
    tokenizer_sha256: str
    """
    Hash of its `tokenizer.json`.
    """
    built_at: str
    """
    When the names were sealed.
    """


class NewName(TypedDict):
    """
    A name to be put into a catalog.
    """

    name: str
    """
    What the generator writes.
    """
    id: NotRequired[Optional[str]]
    """
    The entity that is called so; several names may have the same. The name where it is not
    said.
    """
    aliases: NotRequired[list[str]]
    """
    What else the entity is called: by these it is found in texts, they are not written.
    """
    description: NotRequired[Optional[str]]
    """
    What it is, in words.
    """
    popularity: NotRequired[Optional[float]]
    """
    How often it is meant, beside others: a count, or anything that grows with it.
    """


class BuildReport(TypedDict):
    """
    What a build has made.
    """

    catalog: str
    """
    Name of the catalog.
    """
    names: int
    """
    Names in it.
    """
    spellings: int
    """
    Different token sequences among them: names that the tokenizer sees no difference between
    share one.
    """
    duplicates: int
    """
    Names that came again with the same id, and were taken once.
    """
    rejected: int
    """
    Names and aliases that could not be taken.
    """
    aliases: int
    """
    Spellings of aliases.
    """
    unknown_targets: int
    """
    Aliases of names that are not in the catalog.
    """
    bytes: int
    """
    Size on disk in bytes, the tokenizer not counted.
    """


LinkMethod: TypeAlias = Literal["detect", "annotate"]
"""
How the mentions of a text are found.
"""


Mentions: TypeAlias = Literal["capitalized", "all"]
"""
Which stretches count as mentions.
"""


class ScoredEntity(TypedDict):
    """
    An entity with how likely it is.
    """

    id: str
    """
    Its id.
    """
    name: str
    """
    Its name; of several the likeliest.
    """
    score: float
    """
    0 to 1: how likely it is meant, beside the others and none.
    """


class LinkDegraded(TypedDict):
    """
    Something an answer had to do without.
    """

    lost: str
    """
    What was lost: `generator`.
    """
    reason: str
    """
    Why.
    """


class DisambiguateRequest(TypedDict):
    """
    Which entity a mention means.
    """

    catalog: str
    """
    The catalog of names.
    """
    text: str
    """
    The text, at most 200,000 bytes.
    """
    start: int
    """
    First character of the mention, counted from 0.
    """
    end: int
    """
    The character after its last.
    """
    candidates: NotRequired[list[str]]
    """
    Names or ids of the catalog that it may mean, at most 256, which may have 1,024 names; what its
    words may mean where none are given.
    """
    threshold: NotRequired[Optional[float]]
    """
    The answer is none of the catalog where the best entity has a lower score, 0 to 1; where it
    is not said, what the weights were fitted with.
    """
    alternatives: NotRequired[Optional[int]]
    """
    Most further entities that are told, 0 to 100; 5 where it is not said.
    """


class RetrieveEntitiesRequest(TypedDict):
    """
    Which entities a query asks about.
    """

    catalog: str
    """
    The catalog of names.
    """
    query: str
    """
    The query, at most 200,000 bytes.
    """
    k: NotRequired[Optional[int]]
    """
    Most entities, 1 to 100; 10 where it is not said.
    """
    samples: NotRequired[Optional[int]]
    """
    So many names are drawn, 1 to 1,000, in the place of searching for the likeliest: by the
    generator's own distribution over the names that there are (aligned sampling). Scores are
    shares of the draws then; the same request draws the same.
    """


class RetrieveEntitiesResponse(TypedDict):
    """
    Entities that a query asks about, the likeliest first.
    """

    entities: list[ScoredEntity]
    """
    The entities. Where a generator searched for them, a score is the share that falls to the
    entity of all that the search found, these and others, by the mean probability of a name's
    tokens: it says which is likelier, not whether any is right.
    """
    degraded: NotRequired[Optional[LinkDegraded]]
    """
    What the answer had to do without.
    """


class AddNamesRequest(TypedDict):
    """
    Names to add to a catalog; all of them are added or none.
    """

    names: list[NewName]
    """
    The names, at most 10,000.
    """


class AddReport(TypedDict):
    """
    What came of adding names.
    """

    added: int
    """
    Names that are new.
    """
    replaced: int
    """
    Names that were there with the same id: what came with them now is in the place of what was
    known, what did not come stays, and aliases are added to those that there were.
    """


class NameRecord(TypedDict):
    """
    What a catalog knows of a name.
    """

    name: str
    """
    What the generator writes.
    """
    id: str
    """
    The entity.
    """
    description: NotRequired[Optional[str]]
    """
    What it is, in words.
    """
    popularity: NotRequired[Optional[float]]
    """
    How often it is meant, beside others.
    """


Dialect: TypeAlias = Union[Literal["sqlite", "postgres"], Literal["mysql"]]
"""
The language that a database speaks; decides how names are quoted and types are written.
"""


class SchemaColumn(TypedDict):
    """
    A column.
    """

    name: str
    """
    As SQL names it, unquoted.
    """
    readable: NotRequired[Optional[str]]
    """
    In words, where the source or somebody says so.
    """
    data_type: NotRequired[str]
    """
    The type as the source writes it; empty where it has none.
    """
    nullable: NotRequired[bool]
    generated: NotRequired[bool]
    """
    Computed from others.
    """
    description: NotRequired[Optional[str]]
    """
    The source's comment, or what was written through the API.
    """
    value_description: NotRequired[Optional[str]]
    """
    What its values mean (BIRD's `value_description`).
    """
    values: NotRequired[list[str]]
    """
    Frequent values, the most frequent first; bounded, empty where masked or not read.
    """
    masked: NotRequired[bool]
    """
    Looks like a secret or personal data: its values are kept nowhere.
    """


Origin: TypeAlias = Literal["declared", "inferred"]
"""
Where a foreign key is known from.
"""


class Changed(TypedDict):
    """
    Names, in the order of the alphabet.
    """

    added: list[str]
    changed: list[str]
    removed: list[str]


Strategy: TypeAlias = Literal["auto", "full", "retrieval"]
"""
Whether a schema is cut down.
"""


SchemaMode: TypeAlias = Literal["minimal", "balanced", "conservative"]
"""
How much is kept rather than left out, by how likely the question needs it.
"""


Reason: TypeAlias = Literal["linked", "value", "primary_key", "foreign_key", "everything"]
"""
Why a column is kept.
"""


Matched: TypeAlias = Literal["exact", "words", "ngrams", "meaning"]
"""
How a value was found.
"""


class Span(TypedDict):
    """
    A place in a text, in characters (Unicode scalar values) from 0; `end` is behind the last.
    """

    start: int
    end: int


class Dropped(TypedDict):
    """
    What was left out for the budget, the least useful first.
    """

    details: NotRequired[list[str]]
    """
    `samples`, `values`, `matched_values`, `long_comments`, `comments`.
    """
    columns: NotRequired[list[str]]
    """
    `table.column`, as the dialect quotes them.
    """
    tables: NotRequired[list[str]]
    examples: NotRequired[int]
    """
    How many examples.
    """


class ColumnDescription(TypedDict):
    """
    What was written about a column.
    """

    readable: NotRequired[Optional[str]]
    """
    Its name in words.
    """
    description: NotRequired[Optional[str]]
    value_description: NotRequired[Optional[str]]
    """
    What its values mean.
    """


class RetrieveRequest(TypedDict):
    """
    What is asked of a database.
    """

    question: str
    """
    What somebody wants to know, 1 to 16,384 bytes.
    """
    evidence: NotRequired[str]
    """
    What the question's words stand for: values, formulas.
    """
    strategy: NotRequired[Strategy]
    """
    What is kept: `auto` is all of it where that is within the budget, otherwise what
    retrieval finds.
    """
    mode: NotRequired[SchemaMode]
    """
    How much retrieval keeps.
    """
    token_budget: NotRequired[Optional[int]]
    """
    Most tokens of the prompt; as many as there are where it is not said.
    """
    tokenizer: NotRequired[Optional[str]]
    """
    By which tokens are counted: the name of a model here. The encoder's where it is not said.
    """
    dialect: NotRequired[Optional[Dialect]]
    """
    How names are quoted; the database's own where it is not said.
    """
    comments: NotRequired[Optional[bool]]
    """
    Whether readable names and descriptions are written; yes where it is not said.
    """
    samples: NotRequired[Optional[int]]
    """
    Most sample rows of a table, 0 to 100; 3 where it is not said.
    """
    values: NotRequired[Optional[int]]
    """
    Most frequent values of a column, 0 to 100; 3 where it is not said.
    """
    examples: NotRequired[Optional[int]]
    """
    Most stored questions like this one that are shown with their SQL, 0 to 100; none where it
    is not said.
    """
    caller: NotRequired[Optional[str]]
    """
    Who asks; needed where the database has permissions.
    """


class ValuesRequest(TypedDict):
    """
    What is searched for among a database's values.
    """

    text: str
    """
    What may be a value, or a part of one, or mean one; 1 to 1,024 bytes.
    """
    limit: NotRequired[Optional[int]]
    """
    Most values of the answer, 1 to 100; 10 where it is not said.
    """
    meaning: NotRequired[Optional[bool]]
    """
    Whether values are also compared by their vectors, for which they are encoded the first
    time; yes where it is not said.
    """
    caller: NotRequired[Optional[str]]
    """
    Who asks; needed where the database has permissions.
    """


class ValueHit(TypedDict):
    """
    A value that was found.
    """

    table: str
    column: str
    value: str
    score: float
    """
    0 to 1; 1 is the text itself.
    """
    matched: Matched


class Access(TypedDict):
    """
    The tables that a caller may see: those that `allow` names and `deny` does not. Patterns are
    compared whatever the case; `*` stands for any characters, `?` for one, `[ab]` for one of some
    and `{a,b}` for one of several texts.
    """

    allow: list[str]
    deny: NotRequired[list[str]]


class Example(TypedDict):
    """
    A stored question with its SQL.
    """

    id: str
    """
    The same for the same question, whatever its case, spaces and marks at its end, and for
    the same sight of the database.
    """
    question: str
    sql: str
    tables: list[str]
    """
    Tables that the SQL uses.
    """
    columns: NotRequired[list[str]]
    """
    Columns of them that it uses, as `table.column`.
    """
    stale: NotRequired[bool]
    """
    The database does not have these tables or columns any more: it is shown to nobody who asks.
    """


class NewExample(TypedDict):
    """
    A question with its SQL, to be stored.
    """

    question: str
    """
    1 to 16,384 bytes.
    """
    sql: str
    """
    One query, 1 to 16,384 bytes, that uses tables and columns of the database.
    """


class ExamplesAdded(TypedDict):
    """
    What storing has done.
    """

    ids: list[str]
    """
    Ids, in the order of the request.
    """
    added: int
    """
    Questions that are new, and those that were there and have new SQL or the same.
    """
    replaced: int
    total: int
    """
    All that there are now.
    """


class SimilarRequest(TypedDict):
    """
    A question whose like are looked for.
    """

    question: str
    """
    1 to 16,384 bytes.
    """
    limit: NotRequired[Optional[int]]
    """
    Most examples of the answer, 1 to 100; 5 where it is not said.
    """
    diversity: NotRequired[Optional[float]]
    """
    0 takes the nearest, 1 those that are most unlike each other; 0.3 where it is not said.
    """
    caller: NotRequired[Optional[str]]
    """
    Who asks; needed where the database has permissions.
    """


class SimilarExample(TypedDict):
    """
    A stored question with its SQL and how like the question it is.
    """

    id: str
    question: str
    sql: str
    score: float
    """
    Cosine of the questions' vectors, -1 to 1.
    """


class AnnotateRequest(TypedDict):
    """
    Questions without SQL, some of which somebody could write it for.
    """

    questions: list[str]
    """
    1 to 2,000 questions of 1 to 16,384 bytes; those that are stored already, and the second of
    two that are the same, are passed over.
    """
    limit: NotRequired[Optional[int]]
    """
    Most questions of the answer, 1 to 100; 5 where it is not said.
    """
    caller: NotRequired[Optional[str]]
    """
    Who asks; needed where the database has permissions.
    """


class WorthAnnotating(TypedDict):
    """
    A question that is worth writing SQL for.
    """

    place: int
    """
    Its place in the request, from 0.
    """
    question: str


JobState: TypeAlias = Literal["queued", "running", "paused", "cancelled", "failed", "done"]
"""
What a job is doing.
"""


JobOwner: TypeAlias = Literal["command", "server"]
"""
Who runs a job.
"""


class JobPlace(TypedDict):
    """
    How far a load has come among its inputs.
    """

    input: int
    """
    Inputs that were read to their ends.
    """
    row_group: NotRequired[int]
    """
    The group, from 0; always 0 in text formats.
    """
    row: NotRequired[int]
    """
    Rows of the group that lie before, good or not.
    """


class JobError(TypedDict):
    """
    Why a job failed.
    """

    code: str
    """
    Stable and machine-readable: a code of a caller's problem, `operator_error`,
    `storage_full` or `internal`.
    """
    message: str
    """
    One sentence for people.
    """
    field: NotRequired[Optional[str]]
    """
    The field, column or parameter concerned.
    """
    found: NotRequired[Optional[str]]
    """
    What was found there.
    """
    expected: NotRequired[Optional[str]]
    """
    What would have been accepted.
    """


FileFormat: TypeAlias = Literal["parquet", "arrow", "jsonl", "json", "csv", "tsv"]
"""
What a file holds, apart from its compression.
"""


RowFilter: TypeAlias = str
"""
A filter over the columns of a file.
"""


Names: TypeAlias = Union[str, list[str]]
"""
One name, or several.
"""


ReadAs: TypeAlias = Literal["text", "keyword", "integer", "float", "date", "boolean", "json"]
"""
What a value is read as.
"""


MaxRejects: TypeAlias = Union[int, str]
"""
Rejected rows past which a job fails: a number, or a share of the rows read, `"2%"`.
"""


class JobActionRequest(TypedDict):
    """
    What a job is to go on with.
    """

    max_rejects: NotRequired[Optional[MaxRejects]]
    """
    Another limit on rejected rows from now on.
    """


ModelKind: TypeAlias = Literal["text-encoder", "reranker", "token-classifier", "generator"]
"""
What a model does.
"""


EmbeddingsInput: TypeAlias = Union[str, list[str], list[int], list[list[int]]]
"""
One or several texts, as they are or as ids of the model's own tokenizer.
"""


EncodingFormat: TypeAlias = Literal["float", "base64"]
"""
How vectors are written.
"""


EncodingTask: TypeAlias = Literal["query", "document"]
"""
What a text is encoded for; decides its prompt, and who waits for whom: queries go
before documents.
"""


LongTexts: TypeAlias = Literal["truncate", "windows"]
"""
What happens to texts that are longer than the model reads.
"""


EncodedValues: TypeAlias = Union[list[float], str]
"""
A vector as it was asked for.
"""


class Usage(TypedDict):
    """
    Tokens that were encoded, prompts and special tokens included.
    """

    prompt_tokens: int
    """
    Of all inputs.
    """
    total_tokens: int
    """
    The same: encoders write nothing.
    """


DocumentSchema: TypeAlias = Union[str, dict[str, Any]]
"""
The two forms of a document, for the schema alone.
"""


class RerankResult(TypedDict):
    """
    How relevant a document is.
    """

    index: int
    """
    Which of the documents, from 0.
    """
    relevance_score: float
    """
    0 to 1. It depends on the query and the document alone.
    """
    document: NotRequired[Any]
    """
    The document: as it came where it was an object, under `text` where it was a string.
    """


class ApiVersion(TypedDict):
    """
    Version of the API.
    """

    version: str
    """
    `1`.
    """


class BilledUnits(TypedDict):
    """
    What would be billed, if anything were.
    """

    search_units: int
    """
    Always 1.
    """


class MetaTokens(TypedDict):
    """
    What was read.
    """

    input_tokens: int
    """
    Of all pairs.
    """


class RerankUsage(TypedDict):
    """
    Tokens of all pairs of query and document, special tokens included.
    """

    prompt_tokens: int
    """
    Read.
    """
    total_tokens: int
    """
    The same: rerankers write nothing.
    """


Scope: TypeAlias = Literal["search", "write", "admin"]
"""
What a key may do.
"""


class KeyRequest(TypedDict):
    """
    A key to be made.
    """

    name: NotRequired[str]
    """
    What it is for, for people.
    """
    scopes: list[Scope]
    """
    What it may do; at least one.
    """
    indexes: NotRequired[list[str]]
    """
    Names of indexes, aliases, databases and catalogs that it reaches, as globs such as
    `docs-*`; all of them by default.
    """
    expires_at: NotRequired[Optional[str]]
    """
    When it ends; never by default. RFC 3339.
    """


class NewKey(TypedDict):
    """
    A key that was just made.
    """

    key: str
    """
    The key itself, for `authorization: Bearer KEY`. It is not stored and cannot be shown
    again.
    """
    id: str
    """
    Names it, in the log of administrators' acts too.
    """
    name: str
    """
    What it is for.
    """
    scopes: list[Scope]
    """
    What it may do.
    """
    indexes: list[str]
    """
    Names that it reaches, as globs.
    """
    created_at: str
    """
    When it was made, in UTC.
    """
    expires_at: NotRequired[Optional[str]]
    """
    When it ends.
    """


class TokenRequest(TypedDict):
    """
    A token to be made.
    """

    filter: Any
    """
    What every document has to pass that its holder may see: a filter, as text or as an
    object.
    """
    indexes: NotRequired[list[str]]
    """
    Names that it reaches, as globs, among those that the key reaches; all of these by
    default.
    """
    expires_in: NotRequired[int]
    """
    How long it counts, in seconds: 1 to 86,400; an hour by default.
    """


class NewToken(TypedDict):
    """
    A token that was just made.
    """

    token: str
    """
    The token, for `authorization: Bearer TOKEN`.
    """
    expires_at: str
    """
    When it ends, in UTC.
    """


class HealthAnswer(TypedDict):
    """
    The process is up.
    """

    status: str
    """
    Always `ok`.
    """
    version: str
    """
    Version of gleaner.
    """
    warnings: NotRequired[list[str]]
    """
    What answers nevertheless, and perhaps not from the newest: attached indexes whose store
    cannot be reached, or whose newest snapshot cannot be used.
    """


class ReadyAnswer(TypedDict):
    """
    Whether requests will be answered without waiting for something to be opened.
    """

    ready: bool
    """
    Indexes are opened and their models warmed up.
    """
    reasons: NotRequired[list[str]]
    """
    What is missing.
    """


class AttachedStatus(TypedDict):
    """
    What is known of an attached index.
    """

    url: str
    """
    The place of its snapshots.
    """
    index: str
    """
    Its name there.
    """
    snapshot: NotRequired[Optional[str]]
    """
    The snapshot that answers; absent before there is one.
    """
    follow_s: int
    """
    Seconds between two looks for a newer one; 0 for none.
    """
    checked: NotRequired[Optional[str]]
    """
    When this process last found out which is the newest; absent before it has.
    """
    problem: NotRequired[Optional[AttachedProblem]]
    """
    What went wrong since then: the index answers nevertheless, from `snapshot`.
    """


class ErrorAnswer(TypedDict):
    """
    The body of every error.
    """

    error: Failure
    """
    What went wrong.
    """
    request_id: str
    """
    Names this request in the server's log; also in the `x-request-id` header.
    """


class Analysis(TypedDict):
    """
    How a text field's words are made from its characters.
    """

    language: NotRequired[Language]
    """
    Language of the field; decides stemmer and stop words.
    """
    stemming: NotRequired[bool]
    """
    Reduce words to their stem ("running" matches "runs"). Needs a language.
    """
    stop_words: NotRequired[bool]
    """
    Leave out the language's most frequent words.
    """
    fold_accents: NotRequired[bool]
    """
    Match letters without their accents ("cafe" finds "café").
    """


class Graph(TypedDict):
    """
    The graphs (HNSW) over the vectors of an index.
    """

    m: NotRequired[int]
    """
    Links per vector and layer, twice as many on the base layer; 4 to 128. More find
    more of the true neighbours and cost memory: 8 bytes a vector each.
    """
    ef_construction: NotRequired[int]
    """
    Vectors looked at to choose a new one's links among, 8 to 4,096. More make better
    graphs and take longer to build.
    """
    builder: NotRequired[Builder]
    """
    What builds them.
    """


class Fusion(TypedDict):
    """
    Fusion of the two legs.
    """

    method: NotRequired[Optional[FusionMethod]]
    """
    How scores are made comparable: `learned`, or `minmax` where weights are given and
    no method.
    """
    lexical: NotRequired[Optional[float]]
    """
    Weight of the words, 0 or more; 0.5 by default. Not for `learned`, which finds its
    own.
    """
    dense: NotRequired[Optional[float]]
    """
    Weight of the vectors, likewise.
    """
    rrf_k: NotRequired[Optional[float]]
    """
    The constant of reciprocal rank fusion; 60 by default.
    """


class Rerank(TypedDict):
    """
    Re-ranking by a cross-encoder, which reads the query and a document together.
    """

    model: NotRequired[Optional[str]]
    """
    Name of a reranker (`gleaner models list`).
    """
    by_default: NotRequired[bool]
    """
    Whether searches that do not say are re-ranked. Those that nothing can be re-ranked of
    (without a text to compare with, or in an order of fields) are left as they are.
    """
    depth: NotRequired[int]
    """
    Documents that are re-ranked: the first so many of the fused candidates, 1 to 1,000.
    Never derived from `k`, so that asking for more hits does not reorder the first ones.
    """
    fields: NotRequired[list[str]]
    """
    Fields whose texts, joined by a line break, are read; those that are encoded by
    default, or all text fields where nothing is.
    """
    weight: NotRequired[Optional[float]]
    """
    Weight of the reranker's score against the first stage's, 0 to 1. With 1 the
    reranker's score is the hit's; otherwise both are stretched to 0..1 over the documents
    that were re-ranked (with a cascade, the first stage's over all that it was asked about),
    and added. Absent: what the model recommends, or else 1.
    """
    time_ms: NotRequired[int]
    """
    Longest time re-ranking may take, in milliseconds. What was not reached in that time
    follows in the first stage's order, and the answer says so.
    """
    cascade: NotRequired[Optional[Cascade]]
    """
    Leaves out documents that the reranker is unlikely to put among the first ten.
    """


class Scoring(TypedDict):
    """
    Parameters of BM25.
    """

    combine: NotRequired[Combine]
    """
    How fields add up.
    """
    tie_breaker: NotRequired[float]
    """
    Share of the fields that are not the best, with `best`; 0 to 1.
    """
    k1: NotRequired[float]
    """
    How soon further occurrences of a word stop counting; 0 to 10.
    """
    b: NotRequired[float]
    """
    How much a long text is discounted; 0 to 1.
    """


class TaskAnswer(TypedDict):
    """
    Work that may take longer than a request.
    """

    id: str
    """
    Names it in `/v1/tasks/{id}`.
    """
    kind: TaskKind
    """
    What is done.
    """
    index: str
    """
    To which index or catalog of entities, as the request named it.
    """
    state: TaskState
    """
    Whether it goes on.
    """
    started: str
    """
    When it began, in UTC.
    """
    seconds: float
    """
    Time it has taken.
    """
    result: NotRequired[Any]
    """
    What the request would have been answered with, once it is done.
    """
    error: NotRequired[Optional[Failure]]
    """
    Why it failed.
    """


class ReindexAnswer(TypedDict):
    """
    How far a reindexing has come.
    """

    source: str
    """
    The index that is read.
    """
    into: str
    """
    The index that is made.
    """
    alias: NotRequired[Optional[str]]
    """
    The alias that moves at the end.
    """
    state: ReindexState
    """
    Whether it goes on.
    """
    phase: ReindexPhase
    """
    What it is at, or was at when it ended.
    """
    documents_total: int
    """
    Documents that were there when it began.
    """
    documents: int
    """
    Of these, documents that are in the new index.
    """
    operations: int
    """
    Operations that came meanwhile and are in the new index.
    """
    behind: int
    """
    Operations that are not yet.
    """
    carried: int
    """
    Documents whose vectors were taken over.
    """
    encoded: int
    """
    Documents whose texts were encoded.
    """
    held_ms: float
    """
    For how long writers of the old index had to wait at the end, in milliseconds.
    """
    started: str
    """
    When it began, in UTC.
    """
    seconds: float
    """
    Time it has taken.
    """
    error: NotRequired[Optional[Failure]]
    """
    Why it was given up.
    """


class BulkItem(TypedDict):
    """
    What became of one document.
    """

    id: NotRequired[Optional[str]]
    """
    Its id; null where none could be read.
    """
    status: BulkStatus
    """
    Whether it was written.
    """
    version: NotRequired[Optional[int]]
    """
    Its version now, where it was written.
    """
    error: NotRequired[Optional[Failure]]
    """
    Why it was not.
    """


class BulkOperation(TypedDict):
    """
    One of the operations of a bulk request: exactly one of `put`, `update` and `delete`.
    """

    put: NotRequired[Optional[dict[str, Any]]]
    """
    A document to write.
    """
    update: NotRequired[Optional[dict[str, Any]]]
    """
    A part of a document, with its id, to merge into the one that is there (RFC 7396).
    """
    delete: NotRequired[Optional[DocumentId]]
    """
    The id of a document to delete.
    """
    if_version: NotRequired[Optional[int]]
    """
    The version that the document must have; 0 for no document.
    """


class DeleteRequest(TypedDict):
    """
    Which documents to delete.
    """

    filter: FilterInput
    """
    Those that pass this filter, in either of its notations.
    """


class DocumentAnswer(TypedDict):
    """
    A stored document.
    """

    id: str
    """
    Its id.
    """
    version: int
    """
    Its version: grows with each write of the document. For `if_version`.
    """
    document: dict[str, Any]
    """
    The object as it was sent, without a vector of its own.
    """
    vectors: NotRequired[Optional[list[PassageVector]]]
    """
    Its vectors, one for each passage, where they were asked for.
    """


class SortObject(TypedDict):
    """
    The object form of a [`Sort`], and the schema of both.
    """

    field: str
    """
    A keyword, integer, float, date or boolean field, the id, or `_score`. Of several
    values the least counts ascending, the greatest descending.
    """
    order: NotRequired[Optional[SortOrder]]
    """
    Ascending by default; the best score first for `_score`.
    """
    missing: NotRequired[Missing]
    """
    Where documents without a value come.
    """


RerankSchema: TypeAlias = Union[bool, RerankSettings]
"""
The two forms, for the schema alone.
"""


class Passage(TypedDict):
    """
    The passage of a document whose vector was nearest.
    """

    number: int
    """
    Its number among the passages of the document, from 1.
    """
    of: int
    """
    How many passages the document has.
    """
    text: str
    """
    Its text. Where it takes part of several texts, they are on lines of their own.
    """
    places: list[Place]
    """
    Where it stands: one place for each text that it takes part of.
    """


class LearnedExplanation(TypedDict):
    """
    A score of the learned fusion, taken apart.
    """

    version: int
    """
    Version of the index's combiner; 0 for the one that is shipped.
    """
    features: list[FeatureExplanation]
    """
    What is known of the document. The contributions add up to the score.
    """
    query: dict[str, float]
    """
    What is known of the query, from which the weights come.
    """


class Total(TypedDict):
    """
    How many documents there are to be found.
    """

    value: int
    """
    Documents that pass the filter and, in lexical mode, match the words.
    """
    counts: TotalCounts
    """
    What `value` counts.
    """


class SnapshotList(TypedDict):
    """
    The snapshots of an index.
    """

    snapshots: list[Snapshot]
    """
    The oldest first.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class FeedbackEvent(TypedDict):
    """
    One event. Which members it has depends on its type.
    """

    type: EventKind
    """
    What is said.
    """
    query: NotRequired[Optional[str]]
    """
    The text that was searched for. A click may name its `answer` instead.
    """
    id: NotRequired[Optional[str]]
    """
    Of a judgment or a click, the document.
    """
    grade: NotRequired[Optional[int]]
    """
    Of a judgment, 0 (not relevant) to 10; a later one takes the place of an earlier one.
    """
    shown: NotRequired[Optional[list[Shown]]]
    """
    Of an impression, what was shown, 1 to 200 documents.
    """
    clicked: NotRequired[Optional[list[str]]]
    """
    Of an impression, ids of those that were clicked.
    """
    answer: NotRequired[Optional[str]]
    """
    A name of the caller's for what was shown, which clicks refer to.
    """
    session: NotRequired[Optional[str]]
    """
    A name of the caller's for who searched; never looked into.
    """
    time: NotRequired[Optional[str]]
    """
    When it happened, such as 2026-01-31T12:00:00Z; when it came, otherwise.
    """


class FeedbackStatus(TypedDict):
    """
    What an index knows from feedback.
    """

    index: str
    """
    The index.
    """
    events: FeedbackCounts
    """
    What is kept.
    """
    combiner: CombinerStatus
    """
    Its combiners.
    """


class FitReport(TypedDict):
    """
    What came of fitting.
    """

    version: int
    """
    The new combiner's version.
    """
    compared_with: int
    """
    The one that it was compared with; 0 for the one that is shipped.
    """
    won: bool
    """
    Whether it won: better on the queries held back, and not by chance (p < .05).
    """
    activated: bool
    """
    Whether searches use it.
    """
    queries: int
    """
    Queries that it was fitted on.
    """
    clicks: int
    """
    Clicks in them.
    """
    judgments: int
    """
    Judged pairs, in all queries.
    """
    not_found: int
    """
    Documents that were shown or judged and are no candidates of their queries now: they
    teach nothing.
    """
    left_out: int
    """
    Queries that could not be asked, or were too many.
    """
    propensities: Propensities
    """
    How likely each rank is looked at, as estimated.
    """
    largest_weights: LargestWeights
    """
    Largest weights that negatives had, before they were clipped.
    """
    held_back: Comparison
    """
    On the queries held back.
    """


class CatalogList(TypedDict):
    """
    The catalogs there are.
    """

    catalogs: list[CatalogInfo]
    """
    In the order of their names.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class CatalogRequest(TypedDict):
    """
    A catalog to build of a few names; larger ones are built on the command line.
    """

    name: str
    """
    Its name, by the rules of names of indexes.
    """
    names: NotRequired[list[NewName]]
    """
    The names, at most 10,000.
    """
    model: NotRequired[Optional[str]]
    """
    The model whose tokenizer spells them; where it is not said, the configuration's generator, or
    its encoder where there is none.
    """
    after_space: NotRequired[bool]
    """
    Whether names are spelled as they are behind a space, for generators that write them there.
    """


class LinkRequest(TypedDict):
    """
    Which entities a text speaks of.
    """

    catalog: str
    """
    The catalog of names.
    """
    text: str
    """
    The text, at most 200,000 bytes and 5,000 mentions.
    """
    method: NotRequired[LinkMethod]
    """
    How mentions are found.
    """
    mentions: NotRequired[Mentions]
    """
    Which stretches count as mentions where they are detected.
    """
    threshold: NotRequired[Optional[float]]
    """
    Mentions whose best entity has a lower score are answered as meaning none of the catalog,
    0 to 1; where it is not said, what the weights were fitted with.
    """
    alternatives: NotRequired[int]
    """
    Most further entities that are told of each mention, 0 to 100; 0 where it is not said.
    """


class LinkedMention(TypedDict):
    """
    A mention and what it means.
    """

    start: int
    """
    First character of the mention, counted from 0.
    """
    end: int
    """
    The character after its last.
    """
    mention: str
    """
    Its text.
    """
    entity: NotRequired[Optional[ScoredEntity]]
    """
    What it means; null for none of the catalog. It is the likeliest entity where that has at
    least the threshold, be none likelier or not.
    """
    threshold: float
    """
    The score from which on an entity is answered.
    """
    none: float
    """
    The share that falls to none of the catalog, 0 to 1.
    """
    alternatives: NotRequired[list[ScoredEntity]]
    """
    What else it could mean, the likeliest first.
    """
    degraded: NotRequired[Optional[LinkDegraded]]
    """
    What the answer had to do without; of a whole text it is told once, beside the mentions.
    """


class EntityAnswer(TypedDict):
    """
    The names of an entity.
    """

    names: list[NameRecord]
    """
    At least one.
    """


class SchemaSummary(TypedDict):
    """
    A database in the list.
    """

    name: str
    description: NotRequired[Optional[str]]
    dialect: Dialect
    tables: int
    """
    Tables that the caller may see, and their columns.
    """
    columns: int
    source: str
    """
    Where it was imported from, without credentials.
    """
    imported_at: str


class SchemaTable(TypedDict):
    """
    A table or a view.
    """

    name: str
    """
    As SQL names it, unquoted; with the schema in front where that is not the default one.
    """
    readable: NotRequired[Optional[str]]
    """
    In words, where the source or somebody says so (`customer accounts`).
    """
    description: NotRequired[Optional[str]]
    """
    The source's comment, or what was written through the API.
    """
    view: NotRequired[bool]
    columns: list[SchemaColumn]
    primary_key: NotRequired[list[str]]
    """
    Names of the columns of the primary key, in its order; empty where there is none.
    """
    rows: NotRequired[Optional[int]]
    samples: NotRequired[list[list[Optional[str]]]]
    """
    A few rows, a value for each column in the order of the columns, as text; None is NULL.
    """


class ForeignKey(TypedDict):
    """
    Columns of one table that refer to as many of another.
    """

    table: str
    columns: list[str]
    to_table: str
    to_columns: list[str]
    origin: NotRequired[Origin]


class Changes(TypedDict):
    """
    Tables and columns that an import added, changed and removed.
    """

    tables: Changed
    """
    Tables; one is changed where its own description, key or kind is, or a column.
    """
    columns: Changed
    """
    Columns, as `table.column`, of tables that were there before and are still.
    """
    foreign_keys: bool
    """
    Whether foreign keys were added or removed.
    """


class WhichRequest(TypedDict):
    """
    A question that one of many databases may answer.
    """

    question: str
    """
    What somebody wants to know, 1 to 16,384 bytes.
    """
    evidence: NotRequired[str]
    """
    What the question's words stand for: values, formulas.
    """
    databases: NotRequired[Optional[int]]
    """
    Most databases of the answer, 1 to 50; 3 where it is not said.
    """
    schemas: NotRequired[Optional[int]]
    """
    Of so many of them, the best first, the part that the question needs is answered, 0 to 5;
    of one where it is not said.
    """
    strategy: NotRequired[Strategy]
    """
    What is kept of a schema, as in a question to one database.
    """
    mode: NotRequired[SchemaMode]
    token_budget: NotRequired[Optional[int]]
    """
    Most tokens of each prompt; as many as there are where it is not said.
    """
    caller: NotRequired[Optional[str]]
    """
    Who asks; needed where databases have permissions: those that open to others are left out.
    """


class FocusedColumn(TypedDict):
    """
    A column of the answer.
    """

    name: str
    data_type: str
    score: float
    """
    How likely it is needed, 0 to 1.
    """
    reason: Reason


class MatchedValue(TypedDict):
    """
    A value of the database that the question names.
    """

    table: str
    column: str
    value: str
    score: float
    """
    0 to 1: how much of the value stands there, and how much like a value.
    """
    matched: Matched
    span: NotRequired[Optional[Span]]
    """
    Where in the question; nothing where the evidence names it.
    """


class TableDescription(TypedDict):
    """
    What was written about a table.
    """

    readable: NotRequired[Optional[str]]
    """
    Its name in words.
    """
    description: NotRequired[Optional[str]]
    columns: NotRequired[dict[str, ColumnDescription]]
    """
    Its columns, by name.
    """


class ValuesAnswer(TypedDict):
    """
    The values that were found.
    """

    database: str
    hits: list[ValueHit]
    """
    The best first.
    """


class Permissions(TypedDict):
    """
    Callers of a database, by the names that requests give them.
    """

    callers: dict[str, Access]


class ExampleList(TypedDict):
    """
    The examples there are.
    """

    examples: list[Example]
    """
    In the order in which they were stored.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class ExamplesRequest(TypedDict):
    """
    Examples to store: all or none.
    """

    examples: list[NewExample]
    """
    1 to 10,000.
    """
    caller: NotRequired[Optional[str]]
    """
    Who asks; needed where the database has permissions.
    """


class SimilarAnswer(TypedDict):
    """
    Stored questions like the one that was asked.
    """

    database: str
    examples: list[SimilarExample]
    """
    In the order in which they were chosen.
    """


class AnnotateAnswer(TypedDict):
    """
    The questions that are worth writing SQL for.
    """

    database: str
    questions: list[WorthAnnotating]
    """
    The first the most.
    """


class JobReport(TypedDict):
    """
    A job as it is told.
    """

    id: str
    """
    Names it among all jobs.
    """
    index: str
    """
    The index it loads into, as it was asked for.
    """
    state: JobState
    """
    What it is doing.
    """
    interrupted: NotRequired[bool]
    """
    The process that ran it ended in the middle; it goes on where it was.
    """
    owner: JobOwner
    """
    Who runs it.
    """
    files: NotRequired[int]
    """
    Files read to their end.
    """
    rows: NotRequired[int]
    """
    Rows read, good or not.
    """
    loaded: NotRequired[int]
    """
    Documents acknowledged by the index.
    """
    replaced: NotRequired[int]
    """
    Of these, documents that took the place of one with the same id.
    """
    unchanged: NotRequired[int]
    """
    Of these, documents that were there already, as they are, and were not written.
    """
    deleted: NotRequired[int]
    """
    Documents that rows had deleted.
    """
    rejected: NotRequired[int]
    """
    Rows that were not loaded.
    """
    passages: NotRequired[int]
    """
    Passages written, with vectors that were made or brought.
    """
    tokens: NotRequired[int]
    """
    Tokens encoded.
    """
    truncated: NotRequired[int]
    """
    Passages cut to the model's length.
    """
    seconds: NotRequired[float]
    """
    Time taken.
    """
    documents_per_second: NotRequired[float]
    """
    `loaded` over `seconds`.
    """
    tokens_per_second: NotRequired[float]
    """
    `tokens` over `seconds`.
    """
    inputs: int
    """
    Inputs it has.
    """
    bytes: int
    """
    Their bytes.
    """
    seconds_left: NotRequired[Optional[float]]
    """
    Seconds left, about, while it runs.
    """
    place: JobPlace
    """
    How far it is for good: the place behind the last row that is durable.
    """
    created: str
    """
    When it was made, in UTC.
    """
    started: NotRequired[Optional[str]]
    """
    When it began to load first.
    """
    updated: NotRequired[Optional[str]]
    """
    When something was durable last.
    """
    ended: NotRequired[Optional[str]]
    """
    When it ended.
    """
    error: NotRequired[Optional[JobError]]
    """
    Why it failed.
    """
    rejects: NotRequired[Optional[str]]
    """
    The file with the rows that did not fit, where there are any.
    """


class FieldSource(TypedDict):
    """
    Where the value of a field comes from: a column, or a template over several.
    """

    column: NotRequired[Names]
    """
    A column, or the path of a value inside of one (`product.name`); of several the first
    that has a value.
    """
    template: NotRequired[Optional[str]]
    """
    A text with columns in braces: `{title}. {body}`. What has no value is left empty, and
    where none has, neither has the field. A brace by itself is written `\\{` or `\\}`.
    """
    type: NotRequired[Optional[ReadAs]]
    """
    What the value is read as.
    """
    default: NotRequired[Any]
    """
    The value where there is none; then the column may be missing from a file as well.
    """
    required: NotRequired[bool]
    """
    Rows in which a column of it has no value are rejected.
    """


class TaskList(TypedDict):
    """
    The tasks there are.
    """

    tasks: list[TaskAnswer]
    """
    The latest first; of those that ended, the last hundred since the server started.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class ModelEntry(TypedDict):
    """
    A model: OpenAI's fields, and behind them ours.
    """

    id: str
    """
    Name to ask for it by.
    """
    object: str
    """
    Always `model`.
    """
    created: int
    """
    When its folder was last changed, in seconds since 1970.
    """
    owned_by: str
    """
    Always `gleaner`.
    """
    kind: ModelKind
    """
    What it does.
    """
    dimensions: NotRequired[Optional[int]]
    """
    Values per vector, where it makes some.
    """
    matryoshka: NotRequired[list[int]]
    """
    Shorter vectors that it makes as well.
    """
    max_tokens: int
    """
    Longest input in tokens.
    """
    experts: NotRequired[list[str]]
    """
    Names of its further sets of weights.
    """


class EmbeddingsRequest(TypedDict):
    """
    What to encode and how: OpenAI's fields, and behind them ours.
    """

    model: str
    """
    Name of a text encoder (`GET /v1/models`).
    """
    input: EmbeddingsInput
    """
    What to encode.
    """
    dimensions: NotRequired[Optional[int]]
    """
    Values of each vector: the first so many, brought to length 1 again. Only what the
    model was trained for (`matryoshka` of its manifest). Absent: all.
    """
    encoding_format: NotRequired[Optional[EncodingFormat]]
    """
    How vectors are written. Absent: as numbers.
    """
    user: NotRequired[Optional[str]]
    """
    Accepted and not used.
    """
    task: NotRequired[Optional[EncodingTask]]
    """
    What the texts are: decides their prompt, and queries go before documents. Absent:
    documents.
    """
    prompt_name: NotRequired[Optional[str]]
    """
    Another of the model's prompts, by its name.
    """
    prompt: NotRequired[Optional[str]]
    """
    A prompt of the caller's own, such as an instruction, in place of the task's.
    """
    long_texts: NotRequired[Optional[LongTexts]]
    """
    What happens to texts longer than the model reads. Absent: as the model says.
    """
    expert: NotRequired[Optional[str]]
    """
    One of the model's experts.
    """


class EncodedText(TypedDict):
    """
    The vector of one input.
    """

    object: str
    """
    Always `embedding`.
    """
    index: int
    """
    Which of the inputs, from 0.
    """
    embedding: EncodedValues
    """
    The vector.
    """


class RerankCall(TypedDict):
    """
    What to score: Cohere's fields (both versions) and Jina's.
    """

    model: str
    """
    Name of a reranker (`GET /v1/models`).
    """
    query: str
    """
    What the documents are compared with.
    """
    documents: list[DocumentSchema]
    """
    Strings, or objects with a `text`, or with the fields that `rank_fields` names.
    """
    top_n: NotRequired[Optional[int]]
    """
    How many of the best to return; all by default.
    """
    rank_fields: NotRequired[Optional[list[str]]]
    """
    Fields of the documents that are read, joined by a line break, where documents are
    objects; `text` by default.
    """
    return_documents: NotRequired[Optional[bool]]
    """
    Whether results carry their document.
    """
    max_tokens_per_doc: NotRequired[Optional[int]]
    """
    Most tokens of a document that are read; what the model has room for otherwise.
    """
    max_chunks_per_doc: NotRequired[Optional[int]]
    """
    Accepted where it is 1: a document is read from its beginning, and not in chunks.
    """
    priority: NotRequired[Optional[int]]
    """
    Accepted and not used.
    """
    truncation: NotRequired[Optional[bool]]
    """
    Accepted where it is `true`, as Jina has it by default: what does not fit is cut off,
    and reported.
    """
    return_embeddings: NotRequired[Optional[bool]]
    """
    Accepted where it is `false`: documents are not returned as vectors.
    """


class Meta(TypedDict):
    """
    What Cohere's clients read of an answer.
    """

    api_version: ApiVersion
    """
    Version of the API.
    """
    billed_units: BilledUnits
    """
    What would be billed.
    """
    tokens: MetaTokens
    """
    What was read.
    """
    warnings: NotRequired[list[str]]
    """
    What the caller should know.
    """


class KeyInfo(TypedDict):
    """
    A key, without what opens doors.
    """

    id: str
    """
    Names it, in the log of administrators' acts too.
    """
    name: str
    """
    What it is for.
    """
    scopes: list[Scope]
    """
    What it may do.
    """
    indexes: list[str]
    """
    Names that it reaches, as globs.
    """
    created_at: str
    """
    When it was made, in UTC.
    """
    expires_at: NotRequired[Optional[str]]
    """
    When it ends.
    """


class Stats(TypedDict):
    """
    Figures of an index.
    """

    documents: int
    """
    Documents that are visible.
    """
    passages: int
    """
    Passages with a vector, those of documents that died and were not compacted away
    yet included.
    """
    dimensions: int
    """
    Length of the vectors; 0 without any.
    """
    vector_bytes: int
    """
    Memory that vectors and graphs take, in bytes; what sealed files hold is not counted.
    """
    durable_seq: int
    """
    Last log sequence that is durable.
    """
    visible_seq: int
    """
    Last log sequence that is visible.
    """
    combiner: int
    """
    Version of the combiner that hybrid searches use; 0 for the one that is shipped.
    """
    attached: NotRequired[Optional[AttachedStatus]]
    """
    Where it is from, if it was built elsewhere.
    """


class FieldDefinition(TypedDict):
    """
    One field of an index.
    """

    type: FieldType
    """
    Type of the values.
    """
    required: NotRequired[bool]
    """
    A document without it is refused.
    """
    many: NotRequired[bool]
    """
    Holds a list of values; a single value counts as a list of one.
    """
    weight: NotRequired[float]
    """
    Factor on the field's BM25 score; 0 leaves the field out of the search by words
    (it can still be named: `field:word`). Text only, 0 to 100.
    """
    analysis: NotRequired[Analysis]
    """
    Analysis of a text field.
    """


class EmbeddingDefinition(TypedDict):
    """
    What is turned into vectors, and by which model.
    """

    model: NotRequired[Optional[str]]
    """
    Name of a text encoder (`gleaner models list`). Without it every document
    brings its own vector in `vector_field`.
    """
    expert: NotRequired[Optional[str]]
    """
    One of the model's experts: another set of weights, for texts of one domain.
    """
    fields: NotRequired[list[str]]
    """
    Fields whose texts, joined by a line break, are encoded.
    """
    language_field: NotRequired[Optional[str]]
    """
    The field with the language of code, for a model that sees its syntax: the languages are those
    of `gleaner ingest --code`. Texts in others are encoded as texts, and so is everything by a
    model that does not.
    """
    vector_field: NotRequired[Optional[str]]
    """
    A property that may carry a ready vector, used as it is.
    """
    dimensions: NotRequired[Optional[int]]
    """
    Length of the vectors; needed where no model tells it. Of a model that was trained
    for it (`matryoshka` of its manifest), the first so many values.
    """
    metric: NotRequired[Metric]
    """
    How two vectors are compared. `cosine` brings every vector to length 1.
    """
    storage: NotRequired[Storage]
    """
    How vectors are kept for searching; the store keeps them as they came.
    """
    graph: NotRequired[Graph]
    """
    The graphs over the vectors.
    """
    passages: NotRequired[Optional[Passages]]
    """
    Cut long texts into passages with a vector each. Without it a text is encoded
    up to the model's limit and the rest is counted as truncated.
    """


class SearchDefaults(TypedDict):
    """
    How an index is searched where a request does not say.
    """

    mode: NotRequired[Mode]
    """
    Which legs answer. Without an `embedding` it is always lexical.
    """
    candidates: NotRequired[int]
    """
    Documents each leg hands to the fusion. Never derived from `k`, so that asking
    for more hits does not reorder the first ones.
    """
    ef: NotRequired[int]
    """
    Breadth of a graph search (HNSW's efSearch): more is more exact and slower.
    """
    fusion: NotRequired[Fusion]
    """
    Fusion of the legs.
    """
    match: NotRequired[MatchWords]
    """
    Which words of a query must be in a document.
    """
    rerank: NotRequired[Optional[Rerank]]
    """
    Re-ranking of the first documents.
    """


class BulkAnswer(TypedDict):
    """
    The answer to a bulk request.
    """

    items: list[BulkItem]
    """
    One for each document, in the order they were sent.
    """
    written: int
    """
    Documents that were written, and are as durable as was asked for.
    """
    rejected: int
    """
    Documents that were not.
    """


SortSchema: TypeAlias = Union[str, SortObject]
"""
One key of the order of hits.
"""


class FusionExplanation(TypedDict):
    """
    How two legs became one score.
    """

    method: FusionMethod
    """
    The method.
    """
    lexical_weight: float
    """
    Weight of the words; of a learned fusion, what their features weigh for this query.
    """
    dense_weight: float
    """
    Weight of the vectors, likewise.
    """
    score: float
    """
    The sum: the hit's score, before any re-ranking.
    """
    learned: NotRequired[Optional[LearnedExplanation]]
    """
    Of a learned fusion, what the score is the sum of; absent beyond the candidates.
    """


class FeedbackRequest(TypedDict):
    """
    Events to add.
    """

    index: str
    """
    The index that was searched, or an alias of it.
    """
    events: list[FeedbackEvent]
    """
    What was said, the earliest first.
    """


class LinkResponse(TypedDict):
    """
    What a text speaks of, in its order.
    """

    mentions: list[LinkedMention]
    """
    The mentions; none overlaps another.
    """
    degraded: NotRequired[Optional[LinkDegraded]]
    """
    What the answer had to do without.
    """


class SchemaList(TypedDict):
    """
    The databases that the caller may see tables of.
    """

    schemas: list[SchemaSummary]
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class SchemaDatabase(TypedDict):
    """
    A schema, wherever it was read from. Tables and columns keep the order of their source, but
    nothing that is answered depends on it.
    """

    name: str
    """
    Its name in the catalogue.
    """
    dialect: NotRequired[Dialect]
    description: NotRequired[Optional[str]]
    """
    What it is about, for choosing among databases.
    """
    tables: list[SchemaTable]
    foreign_keys: NotRequired[list[ForeignKey]]


class SchemaImported(TypedDict):
    """
    What an import has brought.
    """

    name: str
    tables: int
    columns: int
    """
    Columns of all tables.
    """
    skipped_statements: int
    """
    Statements of the DDL text that say nothing about the schema.
    """
    changes: NotRequired[Optional[Changes]]
    """
    What is not as it was before; nothing where the database is new.
    """
    notes: list[str]
    """
    What was left out and why.
    """


class FocusedTable(TypedDict):
    """
    A table of the answer.
    """

    name: str
    score: float
    """
    How likely it is needed, 0 to 1.
    """
    joins: NotRequired[bool]
    """
    It joins others; nothing of its own was found.
    """
    columns: list[FocusedColumn]
    """
    In the order of their names.
    """


class Descriptions(TypedDict):
    """
    What was written about a database.
    """

    description: NotRequired[Optional[str]]
    """
    What it is about.
    """
    tables: NotRequired[dict[str, TableDescription]]
    """
    Its tables, by name.
    """


class JobList(TypedDict):
    """
    The jobs there are.
    """

    jobs: list[JobReport]
    """
    The latest first.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class JobMapping(TypedDict):
    """
    How the columns of a file become fields: see the module. Leaving out comes first and goes
    by the column's name; a field that asks for such a column by name still gets it.
    """

    drop: NotRequired[list[str]]
    """
    Columns to leave out. Parquet and Arrow readers do not even decode them.
    """
    operation: NotRequired[Optional[str]]
    """
    The column that says what is to be done with a row.
    """
    where: NotRequired[Optional[RowFilter]]
    """
    Which rows are loaded, by their columns; the others are passed over.
    """
    rest: NotRequired[bool]
    """
    Whether columns that are not named become fields of their own names.
    """
    columns: NotRequired[dict[str, str]]
    """
    Column of the file -> field of the index.
    """
    fields: NotRequired[dict[str, FieldSource]]
    """
    Fields that are more than a column under another name.
    """


class ModelList(TypedDict):
    """
    The models there are.
    """

    object: str
    """
    Always `list`.
    """
    data: list[ModelEntry]
    """
    One for each that can be used.
    """


class EmbeddingsAnswer(TypedDict):
    """
    Vectors in the order of the inputs.
    """

    object: str
    """
    Always `list`.
    """
    data: list[EncodedText]
    """
    One vector for each input.
    """
    model: str
    """
    The model, as it was asked for.
    """
    usage: Usage
    """
    What was encoded.
    """
    truncated: NotRequired[list[int]]
    """
    Inputs whose end was cut off, by their index; absent where there are none. Ours.
    """


class RerankAnswer(TypedDict):
    """
    Results, the most relevant first.
    """

    id: str
    """
    Of this answer.
    """
    object: str
    """
    Always `list`. Jina's.
    """
    model: str
    """
    The model, as it was asked for.
    """
    results: list[RerankResult]
    """
    One for each document, or for the best `top_n`.
    """
    meta: Meta
    """
    Cohere's.
    """
    usage: RerankUsage
    """
    Jina's.
    """
    truncated: NotRequired[list[int]]
    """
    Documents whose end was cut off, by their index; absent where there are none. Ours.
    """
    query_truncated: NotRequired[bool]
    """
    Whether the query was longer than half of what the model reads, and cut. Ours.
    """


class KeyList(TypedDict):
    """
    The keys there are.
    """

    keys: list[KeyInfo]
    """
    The oldest first.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class IndexEntry(TypedDict):
    """
    An index in the list.
    """

    name: str
    """
    Its name.
    """
    description: NotRequired[Optional[str]]
    """
    What its definition says it is for.
    """
    stats: NotRequired[Optional[Stats]]
    """
    Its figures; absent while it is not opened.
    """


class Definition(TypedDict):
    """
    One index, as a TOML file in `indexes/` or a JSON body describes it.
    """

    name: str
    """
    Lower-case letters, digits, `-` and `_`, starting with a letter or digit; at
    most 64 bytes.
    """
    description: NotRequired[Optional[str]]
    """
    For people.
    """
    id_field: NotRequired[str]
    """
    The property of a document that carries its id.
    """
    unknown_fields: NotRequired[UnknownFields]
    """
    What happens to properties that `fields` does not name.
    """
    fields: dict[str, FieldDefinition]
    """
    The fields, by name. A name with points is a path: `author.name` is the member
    `name` of the object `author`, or of each object in a list of them.
    """
    embedding: NotRequired[Optional[EmbeddingDefinition]]
    """
    What is turned into vectors; without it the index is searched by words alone.
    """
    search: NotRequired[SearchDefaults]
    """
    How the index is searched where a request does not say.
    """
    scoring: NotRequired[Scoring]
    """
    How words score: BM25's parameters, and how fields add up.
    """
    synonyms: NotRequired[Synonyms]
    """
    Groups of words that mean the same.
    """
    typos: NotRequired[Typos]
    """
    Tolerance for misspelt words.
    """


class IndexAnswer(TypedDict):
    """
    One index.
    """

    definition: Definition
    """
    What is in force, defaults filled in.
    """
    stats: Stats
    """
    Its figures.
    """


class ReindexRequest(TypedDict):
    """
    What to make of an index.
    """

    into: str
    """
    The name of the index to make, which must be free.
    """
    definition: NotRequired[Optional[Definition]]
    """
    Its definition; the one of the index that is read where absent. Its name is `into`,
    whatever it says.
    """
    alias: NotRequired[Optional[str]]
    """
    An alias that stands for the index, or for none yet, to stand for the new one at the
    end.
    """


class SearchRequest(TypedDict):
    """
    A search. One of `query`, `vector` and `like` must be there, or `sort`; all else has
    defaults.
    """

    query: NotRequired[Optional[str]]
    """
    What is looked for: words, "phrases", -exclusions, field:word, prefix*, fuzzy~.
    """
    mode: NotRequired[Optional[Mode]]
    """
    Which legs answer; the index's default otherwise.
    """
    k: NotRequired[Optional[int]]
    """
    Number of hits, 1 to the configured limit; 10 by default.
    """
    offset: NotRequired[Optional[int]]
    """
    Hits to leave out at the top.
    """
    min_score: NotRequired[Optional[float]]
    """
    Leaves out hits whose final score is lower. What a score means depends on the mode.
    """
    filter: NotRequired[Optional[FilterInput]]
    """
    Which documents may be hits: a text such as `section = "science" AND rating >= 4`,
    or the same as an object.
    """
    vector: NotRequired[Optional[list[float]]]
    """
    A vector of the caller's own, in place of the query's encoding.
    """
    like: NotRequired[Optional[Like]]
    """
    Documents like these.
    """
    candidates: NotRequired[Optional[int]]
    """
    Candidates each leg hands to the fusion.
    """
    ef: NotRequired[Optional[int]]
    """
    Breadth of a graph search.
    """
    exact: NotRequired[bool]
    """
    Scan all vectors rather than search the graph.
    """
    fusion: NotRequired[Optional[Fusion]]
    """
    How the legs are fused.
    """
    match: NotRequired[Optional[MatchWords]]
    """
    Whether one word or all words must be in a document.
    """
    facets: NotRequired[dict[str, int]]
    """
    Fields whose values are counted over all documents to be found, with the most values
    of each to return.
    """
    sort: NotRequired[Optional[list[SortSchema]]]
    """
    The order of hits, by their fields' values; by relevance otherwise. Without `query`,
    `vector` and `like`, all documents that pass the filter in this order. In dense and
    hybrid mode the candidates are put in order.
    """
    collapse: NotRequired[Optional[Collapse]]
    """
    Only the best hit of each value of a field.
    """
    cursor: NotRequired[Optional[CursorRequest]]
    """
    Pages through one point in time, whatever is written meanwhile.
    """
    fields: NotRequired[Optional[list[str]]]
    """
    Fields of a hit's document to return, or objects with fields; all of them by
    default, none with `[]`.
    """
    highlight: NotRequired[Optional[HighlightRequest]]
    """
    Mark the query's words in these fields.
    """
    rerank: NotRequired[Optional[RerankSchema]]
    """
    Whether and how a cross-encoder re-ranks the first documents: `true`, `false`, or an
    object with settings in place of the definition's.
    """
    explain: NotRequired[bool]
    """
    Take each hit's score apart.
    """


class Explanation(TypedDict):
    """
    A score, taken apart.
    """

    lexical: NotRequired[Optional[LegExplanation]]
    """
    The words' part.
    """
    dense: NotRequired[Optional[LegExplanation]]
    """
    The vectors' part.
    """
    fusion: NotRequired[Optional[FusionExplanation]]
    """
    How the two became one; absent where one leg answered alone.
    """
    rerank: NotRequired[Optional[RerankExplanation]]
    """
    What re-ranking made of it; absent where there was none.
    """
    beyond_candidates: NotRequired[bool]
    """
    Set for hits that follow the fused candidates because more hits were asked for
    than there are candidates: they are ranked by their best rank in a leg.
    """


class SchemaRequest(TypedDict):
    """
    A schema to import: exactly one of `ddl`, `database` and `source`.
    """

    name: NotRequired[Optional[str]]
    """
    Its name in the catalogue, by the rules of names of indexes. Of a source and a database it
    may be left out.
    """
    ddl: NotRequired[Optional[str]]
    """
    DDL text.
    """
    dialect: NotRequired[Optional[Dialect]]
    """
    What the DDL text is written for; SQLite where it is not said.
    """
    database: NotRequired[Optional[SchemaDatabase]]
    """
    A schema as it is.
    """
    source: NotRequired[Optional[str]]
    """
    Name of a source in the configuration.
    """
    infer_keys: NotRequired[Optional[bool]]
    """
    Whether foreign keys that nobody declared are inferred; yes where it is not said.
    """


class SchemaFocus(TypedDict):
    """
    The part of a schema that a question needs.
    """

    database: str
    strategy: Strategy
    """
    `full` or `retrieval`: what was done.
    """
    why: str
    """
    Why that, for people.
    """
    mode: SchemaMode
    tables: list[FocusedTable]
    """
    In the order of their names.
    """
    foreign_keys: list[ForeignKey]
    """
    Foreign keys between these tables.
    """
    join_paths: list[list[str]]
    """
    Tables that were found far apart, with those that join them, from end to end.
    """
    ddl: str
    """
    `CREATE TABLE` text.
    """
    matched_values: list[MatchedValue]
    """
    Values that the question or its evidence names, of columns that are kept; the surest first.
    """
    prompt: str
    """
    Schema, examples, evidence and question as one text.
    """
    tokens: int
    """
    Tokens of the prompt, and of the prompt with the whole schema and all else that was asked
    for.
    """
    full_tokens: int
    tokenizer: str
    """
    By which tokens are counted.
    """
    dropped: NotRequired[Dropped]
    """
    What was left out for the budget.
    """


class SchemaEntry(TypedDict):
    """
    A database of the catalogue.
    """

    database: SchemaDatabase
    """
    As it was imported, what was written about it laid over.
    """
    written: Descriptions
    """
    What was written about it.
    """
    source: str
    """
    Where it was imported from, without credentials.
    """
    imported_at: str
    """
    When it was imported last.
    """


class JobRequest(TypedDict):
    """
    A job to be made.
    """

    index: str
    """
    The index, by name or alias.
    """
    inputs: list[str]
    """
    Absolute paths of files and folders, patterns, and URLs, below those that
    `ingest.sources` of the configuration names.
    """
    format: NotRequired[Optional[FileFormat]]
    """
    What the files hold; by their names where it is not said.
    """
    mapping: NotRequired[JobMapping]
    """
    Which column becomes which field.
    """
    max_rejects: NotRequired[Optional[MaxRejects]]
    """
    Rejected rows past which it fails.
    """


class IndexList(TypedDict):
    """
    The indexes there are.
    """

    indexes: list[IndexEntry]
    """
    By name.
    """
    next: NotRequired[Optional[str]]
    """
    What `after` has to be for the next page; none at the end.
    """


class SearchBatch(TypedDict):
    """
    Several searches of one index.
    """

    queries: list[SearchRequest]
    """
    The searches, 1 to the configured limit.
    """


class Hit(TypedDict):
    """
    One hit.
    """

    id: str
    """
    The document's id.
    """
    score: float
    """
    The score that ranks it. Lexical: BM25. Dense: the index's
    metric (cosine unless its definition says otherwise). Hybrid: the fusion's. Re-ranked:
    the reranker's, or its blend with these; less where a document was not reached. 0
    where nothing was looked for.
    """
    sort: NotRequired[Optional[list[Any]]]
    """
    Its values of the fields that hits are sorted by, null where it has none.
    """
    group: NotRequired[Any]
    """
    Its value of the field that is collapsed.
    """
    inner: NotRequired[Optional[list[InnerHit]]]
    """
    Further members of its group, the best first.
    """
    document: dict[str, Any]
    """
    The document, or the fields of it that were asked for.
    """
    passage: NotRequired[Optional[Passage]]
    """
    The passage whose vector was nearest, where texts are cut.
    """
    highlights: NotRequired[Optional[dict[str, Any]]]
    """
    Marked fragments by field.
    """
    explanation: NotRequired[Optional[Explanation]]
    """
    The score, taken apart.
    """


class RankedDatabase(TypedDict):
    """
    A database that may answer a question.
    """

    database: str
    score: float
    """
    How likely it is the one, 0 to 1; those of all that were linked sum to 1.
    """
    words: list[str]
    """
    Words of the question that it has, the rarest among databases first.
    """
    tables: list[str]
    """
    Its tables that are nearest to the question, the nearest first.
    """
    schema: NotRequired[Optional[SchemaFocus]]
    """
    The part of it that the question needs, where that was asked for.
    """


SearchBody: TypeAlias = Union[SearchBatch, SearchRequest]
"""
What is sent: one search, or several.
"""


class SearchResponse(TypedDict):
    """
    The answer to a search.
    """

    hits: list[Hit]
    """
    The hits, best first.
    """
    total: Total
    """
    How many documents there are to be found.
    """
    facets: NotRequired[dict[str, list[FacetCount]]]
    """
    Of each field whose values were asked for, the most frequent ones among the documents
    that `total` counts.
    """
    mode: Mode
    """
    The legs that were asked for.
    """
    rerank: NotRequired[Optional[RerankSummary]]
    """
    What was re-ranked, where that was asked for.
    """
    short: NotRequired[Optional[Shortfall]]
    """
    Why there are fewer hits than `k`.
    """
    degraded: NotRequired[list[Degraded]]
    """
    What was lost on the way; the hits come from what was left.
    """
    cursor: NotRequired[Optional[str]]
    """
    Where to go on: the `token` of the next request's `cursor`. Absent on the last page.
    """
    seq: int
    """
    The log sequence that the answer stands on.
    """
    timings: Timings
    """
    Where the time went.
    """


SearchResult: TypeAlias = Union[SearchResponse, SearchFailure]
"""
The answer to one of several searches. One that fails does not stop the others.
"""


class WhichAnswer(TypedDict):
    """
    The databases that may answer a question, the likeliest first.
    """

    databases: list[RankedDatabase]
    compared: int
    """
    Databases that were compared.
    """


class SearchBatchAnswer(TypedDict):
    """
    The answers to several searches.
    """

    results: list[SearchResult]
    """
    One for each search, in their order.
    """


SearchAnswer: TypeAlias = Union[SearchResponse, SearchBatchAnswer]
"""
What is answered: to one search, or to several.
"""
