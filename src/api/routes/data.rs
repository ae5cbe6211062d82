//! Indexes, what is in them, and searching it.

use axum::http::Method;
use serde_json::{Value as Json, json};

use super::super::{
    aliases, bulk, documents, export, feedback, indexes, reindex, search, snapshots, tasks,
};
use super::operation::{Doc, NDJSON, route};
use super::{Group, choice, text};
use crate::access::Scope::{Admin, Search, Write};
use crate::error::Code;
use crate::index::Definition;

const PARQUET: &str = "application/vnd.apache.parquet";
const LONGER: &str = "It takes longer than the request may: the task that goes on.";

impl Doc {
    /// The answer where the work goes on beyond the request.
    fn or_goes_on(self) -> Doc {
        self.answers::<tasks::TaskAnswer>(202, LONGER)
            .with_header(202, "Location", "Where to ask for the task.")
            .fails(&[Code::TaskRunning])
    }

    fn write_parameters(self) -> Doc {
        let refresh = choice(&["wait", "false"]);
        let durability = choice(&["synced", "buffered"]);
        self.query(
            "refresh",
            refresh,
            "`wait`: answered when the write is visible to searches.",
        )
        .query(
            "durability",
            durability,
            "`buffered`: answered before the write is on the disk.",
        )
        .fails(&[
            Code::IndexReadOnly,
            Code::AliasMoved,
            Code::ModelMismatch,
            Code::ModelNotFound,
            Code::InvalidModel,
        ])
    }

    fn if_version(self) -> Doc {
        let version =
            json!({"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64});
        self.query(
            "if_version",
            version,
            "Done only if the document has this version; 0: only if there is none.",
        )
        .header(
            "if-match",
            text(),
            "The same by the ETag that the document was read with.",
        )
        .header(
            "if-none-match",
            choice(&["*"]),
            "Done only if there is none.",
        )
        .says(
            412,
            "`version_conflict`, where a header expected another version.",
        )
        .fails(&[Code::VersionConflict])
    }

    pub(super) fn idempotent(self) -> Doc {
        let key =
            json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"});
        self.header(
            "idempotency-key",
            key,
            "Names the request, so that it is carried out once however often it is sent.",
        )
        .fails(&[Code::KeyReused, Code::RequestInProgress])
    }
}

fn definition() -> Json {
    json!({
        "name": "notes",
        "fields": {
            "title": {"type": "text", "required": true, "weight": 2},
            "body": {"type": "text", "analysis": {"language": "english"}},
            "stars": {"type": "integer"}
        }
    })
}

pub(super) fn indexes() -> Group {
    let changes = [
        Code::InvalidDefinition,
        Code::ModelNotFound,
        Code::ModelMismatch,
        Code::InvalidModel,
    ];
    Group {
        tag: "indexes",
        says: "Making indexes, changing and removing them; their other names.",
        routes: vec![
            route(
                Method::GET,
                "/v1/indexes",
                Search,
                indexes::list,
                Doc::new("listIndexes", "Lists the indexes.")
                    .paged()
                    .answers::<indexes::IndexList>(200, "The indexes that the key reaches."),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/indexes",
                Admin,
                indexes::create,
                Doc::new("createIndex", "Creates an index.")
                    .takes::<Definition>(definition())
                    .answers::<indexes::IndexAnswer>(201, "It was created.")
                    .with_header(201, "Location", "Its address.")
                    .fails(&changes)
                    .fails(&[Code::IndexExists]),
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/indexes/{name}",
                Search,
                indexes::show,
                Doc::new("getIndex", "Its definition and figures.")
                    .answers::<indexes::IndexAnswer>(200, "The index."),
            ),
            route(
                Method::PUT,
                "/v1/indexes/{name}",
                Admin,
                indexes::define,
                Doc::new(
                    "defineIndex",
                    "Creates it, or changes its definition in place.",
                )
                .takes::<Definition>(definition())
                .answers::<indexes::IndexAnswer>(200, "It is defined so.")
                .answers::<indexes::IndexAnswer>(201, "It was created.")
                .with_header(201, "Location", "Its address.")
                .fails(&changes)
                .fails(&[
                    Code::ReindexNeeded,
                    Code::IndexReadOnly,
                    Code::IndexExists,
                ]),
            ),
            route(
                Method::DELETE,
                "/v1/indexes/{name}",
                Admin,
                indexes::remove,
                Doc::new("deleteIndex", "Removes it with everything in it.")
                    .answers_nothing()
                    .fails(&[Code::IndexAliased, Code::TaskRunning, Code::IndexReadOnly]),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/refresh",
                Write,
                indexes::refresh,
                Doc::new("refreshIndex", "Makes all writes so far visible.")
                    .answers::<indexes::RefreshAnswer>(200, "They are.")
                    .such_as(200, json!({"visible_seq": 17})),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/compact",
                Admin,
                indexes::compact,
                Doc::new("compactIndex", "Gives back what was deleted or replaced.")
                    .answers::<indexes::CompactAnswer>(200, "It was.")
                    .such_as(
                        200,
                        json!({"compacted": "notes", "bytes_before": 51234567, "bytes": 31234567}),
                    )
                    .or_goes_on()
                    .fails(&[Code::IndexReadOnly]),
            ),
            route(
                Method::GET,
                "/v1/indexes/{name}/export",
                Search,
                export::export,
                Doc::new("exportIndex", "All of it, as of one instant.")
                    .query("filter", text(), "Only documents that pass this filter.")
                    .answers_as(200, "A Parquet file that can be loaded again.", PARQUET)
                    .fails(&[Code::InvalidFilter]),
            ),
            route(
                Method::GET,
                "/v1/indexes/{name}/reindex",
                Search,
                reindex::show,
                Doc::new("getReindexing", "How far a reindexing is, or how it ended.")
                    .answers::<reindex::ReindexAnswer>(200, "The latest one of this index.")
                    .fails(&[Code::TaskNotFound]),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/reindex",
                Admin,
                reindex::begin,
                Doc::new(
                    "beginReindexing",
                    "Makes it anew beside itself, and moves an alias to the new one.",
                )
                .takes::<crate::index::ReindexRequest>(
                    json!({"into": "notes-2", "alias": "library"}),
                )
                .answers::<reindex::ReindexAnswer>(202, "It has begun.")
                .with_header(202, "Location", "Where to ask how far it is.")
                .fails(&changes)
                .fails(&[
                    Code::IndexExists,
                    Code::TaskRunning,
                    Code::IndexReadOnly,
                ]),
            ),
            route(
                Method::DELETE,
                "/v1/indexes/{name}/reindex",
                Admin,
                reindex::cancel,
                Doc::new("cancelReindexing", "Calls it off.")
                    .answers::<reindex::ReindexAnswer>(200, "It has ended.")
                    .answers::<reindex::ReindexAnswer>(202, "It is ending.")
                    .fails(&[Code::TaskNotFound]),
            ),
            route(
                Method::GET,
                "/v1/aliases",
                Search,
                aliases::list,
                Doc::new("listAliases", "Other names of indexes.")
                    .answers::<aliases::AliasesAnswer>(200, "Those that the key reaches.")
                    .such_as(200, json!({"aliases": {"library": "notes"}})),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/aliases",
                Admin,
                aliases::change,
                Doc::new(
                    "changeAliases",
                    "Moves and removes aliases, all in one step.",
                )
                .takes::<aliases::AliasesRequest>(
                    json!({"aliases": {"library": "notes", "old-name": null}}),
                )
                .answers::<aliases::AliasesAnswer>(200, "The aliases there are now.")
                .fails(&[
                    Code::IndexNotFound,
                    Code::IndexExists,
                    Code::TaskRunning,
                ]),
            )
            .checked_by_handler(),
        ],
    }
}

fn document() -> Json {
    json!({"title": "Night train", "body": "Leaves at nine.", "stars": 4})
}

pub(super) fn documents() -> Group {
    type Object = serde_json::Map<String, Json>;
    let one = [Code::InvalidDocument, Code::InvalidVector];
    Group {
        tag: "documents",
        says: "Writing, reading and deleting documents.",
        routes: vec![
            route(
                Method::POST,
                "/v1/indexes/{name}/documents",
                Write,
                documents::bulk,
                Doc::new("writeDocuments", "Writes many documents.")
                    .write_parameters()
                    .idempotent()
                    .takes::<Vec<Object>>(json!([{"id": "n1", "title": "Night train", "stars": 4}]))
                    .takes_as(
                        NDJSON,
                        json!("{\"id\": \"n1\", \"title\": \"Night train\"}\n"),
                    )
                    .answers::<bulk::BulkAnswer>(200, "All were written.")
                    .or_as(200, NDJSON)
                    .answers::<bulk::BulkAnswer>(207, "Some were rejected; each is answered for."),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/operations",
                Write,
                documents::operations,
                Doc::new(
                    "runOperations",
                    "Writes, updates and deletes many documents.",
                )
                .write_parameters()
                .idempotent()
                .takes::<Vec<bulk::BulkOperation>>(json!([
                    {"put": {"id": "n3", "title": "Ferry", "stars": 2}, "if_version": 0},
                    {"update": {"id": "n3", "stars": 3}},
                    {"delete": "n0"}
                ]))
                .takes_as(NDJSON, json!("{\"delete\": \"n0\"}\n"))
                .answers::<bulk::BulkAnswer>(200, "All were done.")
                .or_as(200, NDJSON)
                .answers::<bulk::BulkAnswer>(207, "Some were rejected; each is answered for."),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/documents:delete",
                Write,
                documents::remove_where,
                Doc::new("deleteDocuments", "Deletes those that pass a filter.")
                    .write_parameters()
                    .idempotent()
                    .takes::<documents::DeleteRequest>(json!({"filter": "stars < 3"}))
                    .answers::<documents::DeleteAnswer>(200, "They are deleted.")
                    .such_as(200, json!({"deleted": 0}))
                    .fails(&[Code::InvalidFilter]),
            ),
            route(
                Method::GET,
                "/v1/indexes/{name}/documents/{id}",
                Search,
                documents::show,
                Doc::new("getDocument", "Reads one.")
                    .query(
                        "vectors",
                        choice(&["true", "false"]),
                        "Whether its vectors are read as well.",
                    )
                    .header(
                        "if-none-match",
                        text(),
                        "An ETag: nothing is sent where the document still has it.",
                    )
                    .answers::<documents::DocumentAnswer>(200, "As it was last written.")
                    .with_header(200, "ETag", "Its version.")
                    .says(304, "It still has the ETag that the caller knows.")
                    .fails(&[Code::DocumentNotFound]),
            )
            .takes_tokens(),
            route(
                Method::PUT,
                "/v1/indexes/{name}/documents/{id}",
                Write,
                documents::put,
                Doc::new("putDocument", "Writes one.")
                    .write_parameters()
                    .if_version()
                    .idempotent()
                    .takes::<Object>(document())
                    .answers::<documents::WriteAnswer>(200, "It took the place of another.")
                    .with_header(200, "ETag", "Its version now.")
                    .answers::<documents::WriteAnswer>(201, "There was none of this id.")
                    .with_header(201, "ETag", "Its version now.")
                    .such_as(201, json!({"id": "n1", "status": "created", "version": 2}))
                    .fails(&one),
            ),
            route(
                Method::PATCH,
                "/v1/indexes/{name}/documents/{id}",
                Write,
                documents::update,
                Doc::new(
                    "updateDocument",
                    "Changes a part of one, by a JSON merge patch.",
                )
                .write_parameters()
                .if_version()
                .idempotent()
                .takes::<Object>(json!({"stars": 5, "body": null}))
                .answers::<documents::WriteAnswer>(200, "It is changed.")
                .with_header(200, "ETag", "Its version now.")
                .fails(&one)
                .fails(&[Code::DocumentNotFound]),
            ),
            route(
                Method::DELETE,
                "/v1/indexes/{name}/documents/{id}",
                Write,
                documents::remove,
                Doc::new("deleteDocument", "Deletes one.")
                    .write_parameters()
                    .if_version()
                    .idempotent()
                    .answers_nothing()
                    .fails(&[Code::DocumentNotFound]),
            ),
        ],
    }
}

pub(super) fn search() -> Group {
    Group {
        tag: "search",
        says: "Searching by words, by meaning, and by both.",
        routes: vec![
            route(
                Method::POST,
                "/v1/indexes/{name}/search",
                Search,
                search::search,
                Doc::new("search", "Searches, once or several times.")
                    .takes::<search::SearchBody>(json!({
                        "query": "train at night", "k": 1, "filter": "stars >= 3"
                    }))
                    .answers::<search::SearchAnswer>(200, "What was found, for each search.")
                    .fails(&[
                        Code::InvalidQuery,
                        Code::InvalidFilter,
                        Code::InvalidVector,
                        Code::DocumentNotFound,
                        Code::CursorExpired,
                        Code::ModelMismatch,
                        Code::ModelNotFound,
                        Code::InvalidModel,
                    ]),
            )
            .takes_tokens(),
        ],
    }
}

pub(super) fn snapshots() -> Group {
    Group {
        tag: "snapshots",
        says: "Indexes as they were at one instant.",
        routes: vec![
            route(
                Method::GET,
                "/v1/indexes/{name}/snapshots",
                Search,
                snapshots::list,
                Doc::new("listSnapshots", "Lists an index's snapshots.")
                    .paged()
                    .answers::<snapshots::SnapshotList>(200, "The oldest first."),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/snapshots",
                Admin,
                snapshots::take,
                Doc::new("takeSnapshot", "Takes one.")
                    .answers::<crate::index::Snapshot>(201, "It was taken.")
                    .or_goes_on(),
            ),
            route(
                Method::DELETE,
                "/v1/indexes/{name}/snapshots/{id}",
                Admin,
                snapshots::remove,
                Doc::new("deleteSnapshot", "Removes one.")
                    .answers_nothing()
                    .fails(&[Code::SnapshotNotFound]),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/snapshots/{id}/restore",
                Admin,
                snapshots::restore,
                Doc::new("restoreSnapshot", "Makes an index of one.")
                    .takes::<snapshots::RestoreRequest>(json!({"name": "notes-again"}))
                    .answers::<snapshots::RestoreAnswer>(201, "It was made.")
                    .such_as(201, json!({"name": "notes-again", "documents": 3}))
                    .or_goes_on()
                    .fails(&[
                        Code::SnapshotNotFound,
                        Code::SnapshotDamaged,
                        Code::IndexExists,
                        Code::InvalidDefinition,
                        Code::ModelNotFound,
                        Code::ModelMismatch,
                    ]),
            ),
        ],
    }
}

pub(super) fn feedback() -> Group {
    Group {
        tag: "feedback",
        says: "What people say about answers, and what an index learns from it.",
        routes: vec![
            route(
                Method::POST,
                "/v1/feedback",
                Write,
                feedback::add,
                Doc::new("addFeedback", "Keeps judgments, impressions and clicks.")
                    .idempotent()
                    .takes::<feedback::FeedbackRequest>(json!({
                        "index": "notes",
                        "events": [{"type": "judgment", "query": "train at night", "id": "n1", "grade": 2}]
                    }))
                    .answers::<feedback::FeedbackAnswer>(200, "All of them are kept.")
                    .such_as(200, json!({"index": "notes", "added": 1}))
                    .fails(&[Code::IndexNotFound, Code::IndexReadOnly, Code::AliasMoved]),
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/indexes/{name}/feedback",
                Search,
                feedback::status,
                Doc::new("getFeedback", "What is kept, and which combiner is used.")
                    .answers::<crate::feedback::FeedbackStatus>(200, "Figures."),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/feedback/fit",
                Admin,
                feedback::fit,
                Doc::new("fitFeedback", "Fits a combiner on it, and uses it if it wins.")
                    .takes::<crate::feedback::FitRequest>(json!({}))
                    .answers::<crate::feedback::FitReport>(200, "How it did.")
                    .or_goes_on()
                    .fails(&[Code::TooLittleFeedback, Code::IndexReadOnly]),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/feedback/activate",
                Admin,
                feedback::activate,
                Doc::new("activateCombiner", "Uses a version of the combiner.")
                    .takes::<feedback::ActivateRequest>(json!({"version": 0}))
                    .answers::<crate::index::CombinerStatus>(200, "It is used.")
                    .fails(&[Code::IndexReadOnly]),
            ),
            route(
                Method::POST,
                "/v1/indexes/{name}/feedback/rollback",
                Admin,
                feedback::roll_back,
                Doc::new("rollBackCombiner", "Uses the version before.")
                    .answers::<crate::index::CombinerStatus>(200, "It is used.")
                    .fails(&[Code::IndexReadOnly]),
            ),
            route(
                Method::GET,
                "/v1/indexes/{name}/feedback/export",
                Admin,
                feedback::export,
                Doc::new("exportFeedback", "The events, for training.").answers_as(
                    200,
                    "A Parquet file with a row for each.",
                    PARQUET,
                ),
            ),
        ],
    }
}
