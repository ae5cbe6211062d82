//! What the people who run the service are told while it runs: log lines, and traces by
//! OpenTelemetry. Metrics are a matter of the API, which knows what there is to count
//! (`api/metrics`).
//!
//! What holds:
//! * Log lines go to standard error, as text or as one JSON object a line. Those of one request
//!   carry its id, whichever thread writes them: a span named `request` has it, and work that is
//!   handed to another thread takes its span along.
//! * What people look for is not logged, but by the log of slow searches, which has to be
//!   switched on.
//! * Without `telemetry.endpoint` nothing of OpenTelemetry is made and nothing is sent. With it, a
//!   request is a span with its stages below it, a child of the caller's where a `traceparent`
//!   header says so; spans are sent by a thread of their own, and dropped rather than waited for
//!   where they cannot be sent, which the log says once.
//!
//! Stages are spans of one target, [`STAGES`], at the finest level: while nobody wants them a span
//! is one comparison of an atomic integer.

mod traces;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{Log, Telemetry};
use crate::error::{Code, Problem, Result};
use traces::Traces;
pub(crate) use traces::follow;

/// The target of spans that are traced and not logged.
pub(crate) const STAGES: &str = "gleaner::stages";

/// A span of work that is traced, entered until what this gives is dropped. For work on one
/// thread: it is not held across an await.
macro_rules! stage {
    ($name:literal $(, $($field:tt)+)?) => {
        tracing::trace_span!(target: $crate::telemetry::STAGES, $name $(, $($field)+)?).entered()
    };
}
pub(crate) use stage;

/// Sends the last spans when it is dropped.
#[derive(Default)]
pub struct Running {
    _traces: Option<Traces>,
}

/// Begins to log, and to trace where a `telemetry` is given that has an endpoint. A second call in
/// one process (tests) changes nothing.
///
/// # Errors
/// `invalid_configuration` for a filter or an endpoint that is none; an operator's error where no
/// client can be made.
pub fn start(log: &Log, telemetry: Option<&Telemetry>) -> Result<Running> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| {
        Problem::new(
            Code::InvalidConfiguration,
            format!("the log filter cannot be used: {e}"),
        )
        .field("log.filter")
        .found(&log.filter)
        .expected("for example info, or info,tantivy=debug")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        // A line that cannot be written would be reported on standard error, which has
        // just failed, and that panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.json {
        true => lines.json().with_filter(filter).boxed(),
        false => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_filter(filter)
            .boxed(),
    };
    let traces =
        match telemetry.and_then(|telemetry| Some((telemetry.endpoint.as_ref()?, telemetry))) {
            Some((endpoint, telemetry)) => Some(Traces::new(endpoint, telemetry.sample)?),
            None => None,
        };
    let spans = traces.as_ref().map(|traces| {
        let only = Targets::new().with_target(STAGES, LevelFilter::TRACE);
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_location(false)
            .with_threads(false)
            .with_filter(only)
    });
    // A second subscriber in one process keeps the first.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .try_init();
    Ok(Running { _traces: traces })
}
