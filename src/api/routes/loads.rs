//! What takes longer than a request.

use axum::http::Method;
use serde_json::json;

use super::super::{jobs, tasks};
use super::Group;
use super::operation::{Doc, NDJSON, route};
use crate::access::Scope::{Search, Write};
use crate::error::Code;
use crate::jobs::JobReport;

/// What can be asked of a job.
fn act(id: &'static str, summary: &'static str, path: &'static str) -> Doc {
    Doc::new(id, summary)
        .at(path)
        .takes::<jobs::JobActionRequest>(json!({}))
        .body_optional()
        .answers::<JobReport>(200, "It has happened.")
        .answers::<JobReport>(202, "It will.")
        .fails(&[
            Code::JobNotFound,
            Code::JobState,
            Code::TaskRunning,
            Code::IndexNotFound,
        ])
}

pub(super) fn jobs() -> Group {
    Group {
        tag: "jobs",
        says: "Loads of files that the server reads itself.",
        routes: vec![
            route(
                Method::GET,
                "/v1/jobs",
                Search,
                jobs::list,
                Doc::new("listJobs", "Lists them.")
                    .paged()
                    .answers::<jobs::JobList>(200, "The latest first."),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/jobs",
                Write,
                jobs::create,
                Doc::new("createJob", "Makes one.")
                    .takes::<jobs::JobRequest>(
                        json!({"index": "notes", "inputs": ["/srv/loads/notes.parquet"]}),
                    )
                    .answers::<JobReport>(202, "It has begun, or waits.")
                    .with_header(202, "Location", "Its address.")
                    .fails(&[
                        Code::IndexNotFound,
                        Code::IndexReadOnly,
                        Code::SourceNotPermitted,
                        Code::InvalidFile,
                        Code::TaskRunning,
                        Code::ModelMismatch,
                    ]),
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/jobs/{id}",
                Search,
                jobs::show,
                Doc::new("getJob", "How far it is.")
                    .answers::<JobReport>(200, "The job.")
                    .fails(&[Code::JobNotFound]),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/jobs/{id}",
                Write,
                jobs::act,
                vec![
                    act(
                        "pauseJob",
                        "Halts it until it is resumed.",
                        "/v1/jobs/{id}:pause",
                    ),
                    act("resumeJob", "Goes on with it.", "/v1/jobs/{id}:resume"),
                    act("cancelJob", "Ends it.", "/v1/jobs/{id}:cancel"),
                    act(
                        "retryJob",
                        "Tries again what failed.",
                        "/v1/jobs/{id}:retry",
                    ),
                ],
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/jobs/{id}/events",
                Search,
                jobs::events,
                Doc::new("watchJob", "How far it comes, as it comes.")
                    .answers_as(200, "Server-sent events.", "text/event-stream")
                    .fails(&[Code::JobNotFound]),
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/jobs/{id}/rejects",
                Search,
                jobs::rejects,
                Doc::new("getRejects", "The rows that were rejected, and why.")
                    .answers_as(200, "One JSON object a line.", NDJSON)
                    .fails(&[Code::JobNotFound]),
            )
            .checked_by_handler(),
        ],
    }
}

pub(super) fn tasks() -> Group {
    Group {
        tag: "tasks",
        says: "Work that went on beyond its request.",
        routes: vec![
            route(
                Method::GET,
                "/v1/tasks",
                Search,
                tasks::list,
                Doc::new("listTasks", "Lists them.")
                    .paged()
                    .answers::<tasks::TaskList>(200, "The latest first."),
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/tasks/{id}",
                Search,
                tasks::show,
                Doc::new("getTask", "How far it is, or what came of it.")
                    .answers::<tasks::TaskAnswer>(200, "The task.")
                    .fails(&[Code::TaskNotFound]),
            )
            .checked_by_handler(),
        ],
    }
}
