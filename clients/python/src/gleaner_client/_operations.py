"""What the server does; written by `scripts/generate.py` of its description."""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """How an operation is asked for."""

    method: str
    path: str
    #: Parameters of the address.
    query: tuple[str, ...]
    #: Whether a request may carry an `idempotency-key`.
    takes_key: bool


OPERATIONS = {
    "activateCombiner": Operation("POST", "/v1/indexes/{name}/feedback/activate", (), False),
    "addExamples": Operation("POST", "/v1/schemas/{name}/examples", (), False),
    "addFeedback": Operation("POST", "/v1/feedback", (), True),
    "addNames": Operation("POST", "/v1/entities/{name}/names", (), False),
    "annotateExamples": Operation("POST", "/v1/schemas/{name}/examples:annotate", (), False),
    "beginReindexing": Operation("POST", "/v1/indexes/{name}/reindex", (), False),
    "cancelJob": Operation("POST", "/v1/jobs/{id}:cancel", (), False),
    "cancelReindexing": Operation("DELETE", "/v1/indexes/{name}/reindex", (), False),
    "changeAliases": Operation("POST", "/v1/aliases", (), False),
    "compactCatalog": Operation("POST", "/v1/entities/{name}/compact", (), False),
    "compactIndex": Operation("POST", "/v1/indexes/{name}/compact", (), False),
    "createCatalog": Operation("POST", "/v1/entities", (), False),
    "createIndex": Operation("POST", "/v1/indexes", (), False),
    "createJob": Operation("POST", "/v1/jobs", (), False),
    "createKey": Operation("POST", "/v1/keys", (), False),
    "createToken": Operation("POST", "/v1/tokens", (), False),
    "defineIndex": Operation("PUT", "/v1/indexes/{name}", (), False),
    "deleteCatalog": Operation("DELETE", "/v1/entities/{name}", (), False),
    "deleteDocument": Operation(
        "DELETE", "/v1/indexes/{name}/documents/{id}", ("refresh", "durability", "if_version"), True
    ),
    "deleteDocuments": Operation(
        "POST", "/v1/indexes/{name}/documents:delete", ("refresh", "durability"), True
    ),
    "deleteEntity": Operation("DELETE", "/v1/entities/{name}/names/{id}", (), False),
    "deleteExample": Operation("DELETE", "/v1/schemas/{name}/examples/{id}", ("caller",), False),
    "deleteIndex": Operation("DELETE", "/v1/indexes/{name}", (), False),
    "deletePermissions": Operation("DELETE", "/v1/schemas/{name}/permissions", (), False),
    "deleteSchema": Operation("DELETE", "/v1/schemas/{name}", (), False),
    "deleteSnapshot": Operation("DELETE", "/v1/indexes/{name}/snapshots/{id}", (), False),
    "describeSchema": Operation("PUT", "/v1/schemas/{name}/descriptions", (), False),
    "disambiguateMention": Operation("POST", "/v1/entities:disambiguate", (), False),
    "embed": Operation("POST", "/v1/embeddings", (), False),
    "exportFeedback": Operation("GET", "/v1/indexes/{name}/feedback/export", (), False),
    "exportIndex": Operation("GET", "/v1/indexes/{name}/export", ("filter",), False),
    "findValues": Operation("POST", "/v1/schemas/{name}:values", (), False),
    "fitFeedback": Operation("POST", "/v1/indexes/{name}/feedback/fit", (), False),
    "getCatalog": Operation("GET", "/v1/entities/{name}", (), False),
    "getDocument": Operation("GET", "/v1/indexes/{name}/documents/{id}", ("vectors",), False),
    "getEntity": Operation("GET", "/v1/entities/{name}/names/{id}", (), False),
    "getFeedback": Operation("GET", "/v1/indexes/{name}/feedback", (), False),
    "getIndex": Operation("GET", "/v1/indexes/{name}", (), False),
    "getJob": Operation("GET", "/v1/jobs/{id}", (), False),
    "getKey": Operation("GET", "/v1/keys/{id}", (), False),
    "getModel": Operation("GET", "/v1/models/{name}", (), False),
    "getPermissions": Operation("GET", "/v1/schemas/{name}/permissions", (), False),
    "getReindexing": Operation("GET", "/v1/indexes/{name}/reindex", (), False),
    "getRejects": Operation("GET", "/v1/jobs/{id}/rejects", (), False),
    "getSchema": Operation("GET", "/v1/schemas/{name}", ("caller",), False),
    "getTask": Operation("GET", "/v1/tasks/{id}", (), False),
    "health": Operation("GET", "/health", (), False),
    "importSchema": Operation("POST", "/v1/schemas", (), False),
    "linkEntities": Operation("POST", "/v1/entities:link", (), False),
    "listAliases": Operation("GET", "/v1/aliases", (), False),
    "listCatalogs": Operation("GET", "/v1/entities", ("limit", "after"), False),
    "listExamples": Operation("GET", "/v1/schemas/{name}/examples", ("limit", "after", "caller"), False),
    "listIndexes": Operation("GET", "/v1/indexes", ("limit", "after"), False),
    "listJobs": Operation("GET", "/v1/jobs", ("limit", "after"), False),
    "listKeys": Operation("GET", "/v1/keys", ("limit", "after"), False),
    "listModels": Operation("GET", "/v1/models", (), False),
    "listSchemas": Operation("GET", "/v1/schemas", ("limit", "after", "caller"), False),
    "listSnapshots": Operation("GET", "/v1/indexes/{name}/snapshots", ("limit", "after"), False),
    "listTasks": Operation("GET", "/v1/tasks", ("limit", "after"), False),
    "metrics": Operation("GET", "/metrics", (), False),
    "openapi": Operation("GET", "/openapi.json", (), False),
    "pauseJob": Operation("POST", "/v1/jobs/{id}:pause", (), False),
    "putDocument": Operation(
        "PUT", "/v1/indexes/{name}/documents/{id}", ("refresh", "durability", "if_version"), True
    ),
    "putPermissions": Operation("PUT", "/v1/schemas/{name}/permissions", (), False),
    "ready": Operation("GET", "/ready", (), False),
    "refreshIndex": Operation("POST", "/v1/indexes/{name}/refresh", (), False),
    "rerank": Operation("POST", "/v1/rerank", (), False),
    "rerankV2": Operation("POST", "/v2/rerank", (), False),
    "restoreSnapshot": Operation("POST", "/v1/indexes/{name}/snapshots/{id}/restore", (), False),
    "resumeJob": Operation("POST", "/v1/jobs/{id}:resume", (), False),
    "retrieveEntities": Operation("POST", "/v1/entities:retrieve", (), False),
    "retrieveSchema": Operation("POST", "/v1/schemas/{name}:retrieve", (), False),
    "retryJob": Operation("POST", "/v1/jobs/{id}:retry", (), False),
    "revokeKey": Operation("DELETE", "/v1/keys/{id}", (), False),
    "rollBackCombiner": Operation("POST", "/v1/indexes/{name}/feedback/rollback", (), False),
    "runOperations": Operation("POST", "/v1/indexes/{name}/operations", ("refresh", "durability"), True),
    "search": Operation("POST", "/v1/indexes/{name}/search", (), False),
    "similarExamples": Operation("POST", "/v1/schemas/{name}/examples:similar", (), False),
    "takeSnapshot": Operation("POST", "/v1/indexes/{name}/snapshots", (), False),
    "updateDocument": Operation(
        "PATCH", "/v1/indexes/{name}/documents/{id}", ("refresh", "durability", "if_version"), True
    ),
    "watchJob": Operation("GET", "/v1/jobs/{id}/events", (), False),
    "whichSchema": Operation("POST", "/v1/schemas:retrieve", (), False),
    "writeDocuments": Operation("POST", "/v1/indexes/{name}/documents", ("refresh", "durability"), True),
}
