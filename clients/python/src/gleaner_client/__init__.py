"""Client of Gleaner, a server that searches by words and by meaning at once.

```python
from gleaner_client import Client

with Client("http://localhost:7700") as client:
    for hit in client.search("articles", "why does bread rise", k=3):
        print(hit.score, hit["title"])
```

`AsyncClient` is the same for asyncio and trio.
"""

from . import errors, types
from ._async.client import AsyncClient
from ._core import Retry
from ._sync.client import Client
from ._version import __version__
from .errors import (
    ApiError,
    AuthenticationError,
    BulkError,
    ConflictError,
    ConnectionFailed,
    CursorExpiredError,
    GleanerError,
    InvalidRequestError,
    KeyReusedError,
    LimitExceededError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ServerError,
    ServerTimeoutError,
    TaskFailed,
    TimedOut,
    UnexpectedAnswer,
    VersionConflictError,
)
from .results import BulkProgress, BulkResult, Embeddings, Hit, Rejection, SearchResults

__all__ = [
    "ApiError",
    "AsyncClient",
    "AuthenticationError",
    "BulkError",
    "BulkProgress",
    "BulkResult",
    "Client",
    "ConflictError",
    "ConnectionFailed",
    "CursorExpiredError",
    "Embeddings",
    "GleanerError",
    "Hit",
    "InvalidRequestError",
    "KeyReusedError",
    "LimitExceededError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "Rejection",
    "Retry",
    "SearchResults",
    "ServerError",
    "ServerTimeoutError",
    "TaskFailed",
    "TimedOut",
    "UnexpectedAnswer",
    "VersionConflictError",
    "__version__",
    "errors",
    "types",
]
