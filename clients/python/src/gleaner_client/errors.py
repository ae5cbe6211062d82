"""What goes wrong, by who has to act.

Every answer that is an error becomes an `ApiError`, of the class of its code's family; `code` is
stable, `message` is for people. What comes to no answer is a `ConnectionFailed`.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BulkError",
    "ConflictError",
    "ConnectionFailed",
    "CursorExpiredError",
    "GleanerError",
    "InvalidRequestError",
    "KeyReusedError",
    "LimitExceededError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "ServerError",
    "ServerTimeoutError",
    "TaskFailed",
    "TimedOut",
    "UnexpectedAnswer",
    "VersionConflictError",
]


class GleanerError(Exception):
    """Anything that this package raises on account of the server or the way to it."""


class ConnectionFailed(GleanerError):
    """The server was not reached, or did not answer to the end."""


class TimedOut(ConnectionFailed):
    """No answer came within the time that this client waits."""


class UnexpectedAnswer(GleanerError):
    """An answer that is none of this server's: a proxy's page, for one."""


class ApiError(GleanerError):
    """An error that the server answered.

    Subclasses are the families of codes; a code that this package does not know falls into the
    family of its status.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: Optional[int] = None,
        field: Optional[str] = None,
        found: Optional[str] = None,
        expected: Optional[str] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        #: Stable and machine-readable.
        self.code = code
        #: One sentence for people.
        self.message = message
        #: The status; none where the error is a part of an answer.
        self.status = status
        #: What is concerned; a path such as `queries[1].fusion.rrf_k`.
        self.field = field
        #: What was found there.
        self.found = found
        #: What would have been accepted.
        self.expected = expected
        #: What the server's log names the request by.
        self.request_id = request_id
        #: Seconds after which to ask again, where the server said so.
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        details = [
            f"{name}: {value}"
            for name, value in (("field", self.field), ("found", self.found), ("expected", self.expected))
            if value is not None
        ]
        if details:
            text += f" ({'; '.join(details)})"
        if self.request_id is not None:
            text += f" [request {self.request_id}]"
        return text

    def __reduce__(self) -> Any:
        members = {name: value for name, value in self.__dict__.items() if name != "message"}
        return (_remade, (type(self), self.message, members))


def _remade(kind: type[ApiError], message: str, members: dict[str, Any]) -> ApiError:
    return kind(message, **members)


class InvalidRequestError(ApiError):
    """The request is not of the documented shape, or not one that can be carried out (`invalid_...`)."""


class AuthenticationError(ApiError):
    """The request brings no key that counts (`unauthenticated`)."""


class PermissionDeniedError(ApiError):
    """The key may not do this (`not_permitted`, `caller_not_permitted`, `source_not_permitted`)."""


class NotFoundError(ApiError):
    """There is nothing of that name (`..._not_found`)."""


class CursorExpiredError(NotFoundError):
    """The cursor is not held any more: begin anew (`cursor_expired`)."""


class ConflictError(ApiError):
    """The request does not go with what is there (`..._exists`, `job_state`, `reindex_needed` and others)."""


class VersionConflictError(ConflictError):
    """The document has another version than was expected (`version_conflict`)."""


class KeyReusedError(ConflictError):
    """The idempotency key belongs to another request (`key_reused`, `request_in_progress`)."""


class LimitExceededError(ApiError):
    """A body, a list, a field or a number past its limit (`limit_exceeded`, `too_many_rejects`)."""


class OverloadedError(ApiError):
    """The server has too much to do, or is being stopped (`overloaded`, `alias_moved`)."""


class ServerTimeoutError(ApiError):
    """The server did not have the time; a write may still have been carried out (`timeout`)."""


class ServerError(ApiError):
    """Something that the server's operator has to mend (`operator_error`, `storage_full`, `internal`)."""


class TaskFailed(GleanerError):
    """A job or a task ended without having done what it was for."""

    def __init__(self, message: str, report: Mapping[str, Any], error: Optional[ApiError] = None) -> None:
        super().__init__(message)
        #: What the server says of it.
        self.report = report
        #: What ended it.
        self.error = error


class BulkError(GleanerError):
    """A stream of documents that ended early.

    The first `done` documents are dealt with: `written` of them, and `rejected` of them refused. The
    others are not written, or not known to be.
    """

    def __init__(self, message: str, *, done: int, written: int, rejected: int, error: GleanerError) -> None:
        super().__init__(f"{message}; of the first {done} documents {written} were written: {error}")
        self.done = done
        self.written = written
        self.rejected = rejected
        #: What ended it.
        self.error = error


#: The families of the codes.
FAMILIES: dict[str, type[ApiError]] = {
    "invalid_request": InvalidRequestError,
    "invalid_document": InvalidRequestError,
    "invalid_filter": InvalidRequestError,
    "invalid_query": InvalidRequestError,
    "invalid_definition": InvalidRequestError,
    "invalid_vector": InvalidRequestError,
    "invalid_model": ServerError,
    "invalid_file": InvalidRequestError,
    "invalid_configuration": InvalidRequestError,
    "invalid_schema": InvalidRequestError,
    "invalid_name": InvalidRequestError,
    "method_not_allowed": InvalidRequestError,
    "index_not_found": NotFoundError,
    "document_not_found": NotFoundError,
    "catalog_not_found": NotFoundError,
    "entity_not_found": NotFoundError,
    "database_not_found": NotFoundError,
    "example_not_found": NotFoundError,
    "key_not_found": NotFoundError,
    "model_not_found": NotFoundError,
    "route_not_found": NotFoundError,
    "snapshot_not_found": NotFoundError,
    "job_not_found": NotFoundError,
    "task_not_found": NotFoundError,
    "cursor_expired": CursorExpiredError,
    "unauthenticated": AuthenticationError,
    "not_permitted": PermissionDeniedError,
    "caller_not_permitted": PermissionDeniedError,
    "source_not_permitted": PermissionDeniedError,
    "version_conflict": VersionConflictError,
    "key_reused": KeyReusedError,
    "request_in_progress": KeyReusedError,
    "catalog_exists": ConflictError,
    "index_exists": ConflictError,
    "index_read_only": ConflictError,
    "index_aliased": ConflictError,
    "reindex_needed": ConflictError,
    "task_running": ConflictError,
    "job_state": ConflictError,
    "last_key": ConflictError,
    "snapshot_damaged": ConflictError,
    "too_little_feedback": ConflictError,
    "input_changed": ConflictError,
    "model_mismatch": ConflictError,
    "limit_exceeded": LimitExceededError,
    "too_many_rejects": LimitExceededError,
    "overloaded": OverloadedError,
    "alias_moved": OverloadedError,
    "timeout": ServerTimeoutError,
    "operator_error": ServerError,
    "storage_full": ServerError,
    "internal": ServerError,
}

_STATUSES: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: CursorExpiredError,
    412: VersionConflictError,
    413: LimitExceededError,
    422: KeyReusedError,
    429: OverloadedError,
    503: OverloadedError,
    504: ServerTimeoutError,
}


def family(code: str, status: Optional[int]) -> type[ApiError]:
    """The class of errors with this code."""
    known = FAMILIES.get(code)
    if known is not None:
        return known
    if status is None:
        return ApiError
    return _STATUSES.get(status, ServerError if status >= 500 else InvalidRequestError)


def error_of(
    failure: Mapping[str, Any],
    *,
    status: Optional[int] = None,
    request_id: Optional[str] = None,
    retry_after: Optional[float] = None,
) -> ApiError:
    """The error that an `error` member of an answer tells of."""
    code = str(failure.get("code", "internal"))
    return family(code, status)(
        str(failure.get("message", "")),
        code=code,
        status=status,
        field=failure.get("field"),
        found=failure.get("found"),
        expected=failure.get("expected"),
        request_id=request_id,
        retry_after=retry_after,
    )
