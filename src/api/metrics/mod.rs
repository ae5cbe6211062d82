//! `/metrics`: what the server does, for Prometheus. docs/metrics.md says what each means; a test
//! holds that page and this room together.
//!
//! * What happens is counted where it happens, by a few additions. What there is (`gauges.rs`) is
//!   looked at when somebody asks, on a thread beside those that search.
//! * Labels are bounded, whatever callers send: routes are the patterns of the router, methods
//!   those of HTTP, indexes those that there are, and after the first [`MOST_INDEXES`] names all
//!   others share one.

mod gauges;
mod process;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::error::{ApiError, Failure};
use super::state::App;
use crate::error::Error;
use crate::search::SearchResponse;
use gauges::Gauges;

/// Indexes that have figures of their own.
const MOST_INDEXES: usize = 100;
/// What the others are called; no index can have this name.
const OTHERS: &str = "_other";
/// The route of a request that no route answers.
const NO_ROUTE: &str = "none";
/// Upper bounds of durations, in seconds: from a search by words in memory to the longest that a
/// request may take by default.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IndexLabels {
    index: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SearchLabels {
    index: Arc<str>,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    index: Arc<str>,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabels {
    index: Arc<str>,
    lost: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StrategyLabels {
    strategy: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations<L: Clone + std::hash::Hash + Eq>() -> Durations<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

/// What has happened since the server was started.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Durations<RouteLabels>,
    in_flight: Gauge<i64, AtomicI64>,
    searches: Family<SearchLabels, Counter>,
    search_seconds: Durations<IndexLabels>,
    stage_seconds: Durations<StageLabels>,
    search_errors: Family<ErrorLabels, Counter>,
    degraded: Family<LostLabels, Counter>,
    short: Family<IndexLabels, Counter>,
    strategies: Family<StrategyLabels, Counter>,
    compared: Counter,
    names: Names,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: durations(),
            in_flight: Gauge::default(),
            searches: Family::default(),
            search_seconds: durations(),
            stage_seconds: durations(),
            search_errors: Family::default(),
            degraded: Family::default(),
            short: Family::default(),
            strategies: Family::default(),
            compared: Counter::default(),
            names: Names::default(),
        };
        Metrics {
            registry: metrics.registered(),
            ..metrics
        }
    }
}

impl Metrics {
    /// All of them by their names; counters' get `_total` when they are written.
    fn registered(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(
            "gleaner_http_requests",
            "Requests that were answered",
            self.requests.clone(),
        );
        registry.register(
            "gleaner_http_request_duration_seconds",
            "Time from a request's head to its answer's head",
            self.request_seconds.clone(),
        );
        registry.register(
            "gleaner_http_requests_in_flight",
            "Requests whose answer has not begun",
            self.in_flight.clone(),
        );
        registry.register(
            "gleaner_searches",
            "Searches that were answered, each of a batch counted",
            self.searches.clone(),
        );
        registry.register(
            "gleaner_search_duration_seconds",
            "Time that searches took inside the process, without waiting for their turn",
            self.search_seconds.clone(),
        );
        registry.register(
            "gleaner_search_stage_duration_seconds",
            "Time that stages of searches took, where they had them",
            self.stage_seconds.clone(),
        );
        registry.register(
            "gleaner_search_errors",
            "Searches of an index that were not answered, by the error's code",
            self.search_errors.clone(),
        );
        registry.register(
            "gleaner_search_degraded",
            "Searches that were answered without something that was asked for",
            self.degraded.clone(),
        );
        registry.register(
            "gleaner_search_short",
            "Searches that were answered with fewer hits than were asked for",
            self.short.clone(),
        );
        registry.register(
            "gleaner_search_vector_strategies",
            "Searches of vectors, by how they were searched",
            self.strategies.clone(),
        );
        registry.register(
            "gleaner_search_compared_vectors",
            "Vectors that queries were compared with",
            self.compared.clone(),
        );
        registry
    }

    /// Counts a request until what this gives is dropped.
    pub(super) fn request_begins(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a request that was answered. `route`: the pattern of its address.
    pub(super) fn request_ended(
        &self,
        method: &Method,
        route: Option<&str>,
        status: StatusCode,
        took: Duration,
    ) {
        let labels = RouteLabels {
            method: known(method),
            route: route.unwrap_or(NO_ROUTE).to_owned(),
        };
        self.request_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        let labels = RequestLabels {
            method: labels.method,
            route: labels.route,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a search of an index.
    pub(super) fn searched(&self, index: &str, outcome: &Result<SearchResponse, Error>) {
        let index = self.names.label(index);
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                let code = Failure::from(error).code;
                let labels = ErrorLabels { index, code };
                self.search_errors.get_or_create(&labels).inc();
                return;
            }
        };
        let timings = &response.timings;
        for (stage, milliseconds) in [
            ("encode", timings.encode_ms),
            ("filter", timings.filter_ms),
            ("words", timings.words_ms),
            ("vectors", timings.vectors_ms),
            ("fusion", timings.fusion_ms),
            ("rerank", timings.rerank_ms),
            ("fetch", timings.fetch_ms),
        ] {
            if milliseconds > 0.0 {
                self.stage_seconds
                    .get_or_create(&StageLabels { stage })
                    .observe(milliseconds / 1e3);
            }
        }
        if let Some(strategy) = response.work.strategy {
            let labels = StrategyLabels {
                strategy: strategy.as_str(),
            };
            self.strategies.get_or_create(&labels).inc();
            self.compared.inc_by(response.work.compared);
        }
        for lost in &response.degraded {
            let labels = LostLabels {
                index: index.clone(),
                lost: lost.lost.clone(),
            };
            self.degraded.get_or_create(&labels).inc();
        }
        let labels = SearchLabels {
            index: index.clone(),
            mode: response.mode.as_str(),
        };
        self.searches.get_or_create(&labels).inc();
        let labels = IndexLabels { index };
        if response.short.is_some() {
            self.short.get_or_create(&labels).inc();
        }
        self.search_seconds
            .get_or_create(&labels)
            .observe(timings.total_ms / 1e3);
    }
}

/// A request that is under way.
pub(super) struct InFlight(Gauge<i64, AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Anybody may make up a method.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// The indexes that have figures of their own: the first that were seen.
#[derive(Default)]
struct Names(RwLock<BTreeSet<Arc<str>>>);

impl Names {
    /// What an index that there is, is called.
    fn label(&self, index: &str) -> Arc<str> {
        if let Some(known) = self.0.read().get(index) {
            return known.clone();
        }
        let mut names = self.0.write();
        if names.len() >= MOST_INDEXES && !names.contains(index) {
            return OTHERS.into();
        }
        let name: Arc<str> = index.into();
        names.insert(name.clone());
        name
    }
}

/// The formats that figures are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Prometheus's own, which everything reads.
    Text,
    /// OpenMetrics, where it is asked for.
    OpenMetrics,
}

impl Format {
    fn asked_for(headers: &HeaderMap) -> Format {
        let mut accepted = headers.get_all(ACCEPT).iter();
        let open = accepted.any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.contains("application/openmetrics-text")
        });
        if open {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = Format::asked_for(&headers);
    let permit = app.scrapes.enter(1).await?;
    let written = move || {
        let mut present = Registry::default();
        present.register_collector(Box::new(Gauges::of(&app)));
        let mut page = String::new();
        let registry = &app.metrics.registry;
        let encoded = match format {
            Format::Text => prometheus_text::encode(&mut page, registry)
                .and_then(|()| prometheus_text::encode(&mut page, &present)),
            Format::OpenMetrics => text::encode_registry(&mut page, registry)
                .and_then(|()| text::encode_registry(&mut page, &present))
                .and_then(|()| text::encode_eof(&mut page)),
        };
        encoded.map_err(|e| Error::Bug(format!("figures cannot be written: {e}")))?;
        Ok(page)
    };
    let page = permit.run(written).await?;
    let mut response = Response::new(Body::from(page));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, format.media_type());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_beyond_the_first_share_a_name() {
        let names = Names::default();
        for number in 0..MOST_INDEXES + 10 {
            let name = format!("i{number}");
            let label = names.label(&name);
            let expected = if number < MOST_INDEXES { &name } else { OTHERS };
            assert_eq!(&*label, expected);
        }
        // Those that were first stay so.
        assert_eq!(&*names.label("i0"), "i0");
        assert!(crate::index::check_name(OTHERS).is_err());
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let with = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            Format::asked_for(&headers)
        };
        // What Prometheus sends.
        let scrape = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(with(scrape), Format::OpenMetrics);
        assert_eq!(with("*/*"), Format::Text);
        assert_eq!(Format::asked_for(&HeaderMap::new()), Format::Text);
    }
}
