//! Spans to an OpenTelemetry collector: OTLP over HTTP, as protocol buffers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use tracing::{Span, info, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use url::Url;

use crate::error::{Code, Error, Problem, Result};

/// Where collectors take spans, below their address.
const PATH: &str = "/v1/traces";
/// Longest that sending a batch of spans may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest that the last spans are waited for when the process ends.
const LAST: Duration = Duration::from_secs(3);
/// The headers of the W3C's Trace Context.
const CONTEXT: [&str; 2] = ["traceparent", "tracestate"];

/// What makes spans and sends them.
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Spans of so large a share of requests, 0 to 1, to the collector at this address; of a
    /// request whose caller is traced its caller decides.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that is none; an operator's error where the thread
    /// or the client cannot be made.
    pub(super) fn new(endpoint: &str, sample: f64) -> Result<Traces> {
        let address = address(endpoint)?;
        let cannot = |e: String| Error::operator_from("traces cannot be sent", e);
        let client = reqwest::blocking::Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(|e| cannot(e.to_string()))?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client(client))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(address.as_str())
            .with_timeout(PATIENCE)
            .build()
            .map_err(|e| cannot(e.to_string()))?;
        let exporter = Told {
            exporter,
            // Where there are credentials in it they are not for the log.
            to: address.host_str().unwrap_or_default().to_owned(),
            fails: AtomicBool::new(false),
        };
        // The name may be given by the environment, as the specification has it.
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", VERSION));
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("gleaner");
        }
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample)));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_sampler(sampler)
            .with_batch_exporter(exporter)
            .build();
        Ok(Traces { provider })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("gleaner")
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// The address that spans are posted to: the collector's, with the usual path where it has none.
fn address(endpoint: &str) -> Result<Url> {
    let wrong = |found: &str| {
        Problem::new(
            Code::InvalidConfiguration,
            "this is not the address of a collector",
        )
        .field("telemetry.endpoint")
        .found(found)
        .expected("an address such as http://127.0.0.1:4318")
    };
    let mut url = Url::parse(endpoint).map_err(|e| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(url.scheme()).into());
    }
    if !url.path().ends_with(PATH) {
        let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

/// The client that the process has anyway, on the thread that sends spans.
#[derive(Debug)]
struct Client(reqwest::blocking::Client);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.execute(request.try_into()?)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        Ok(response.body(answer.bytes()?)?)
    }
}

/// Says in the log when spans cannot be sent, and when they can again.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    to: String,
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        let failed_before = self.fails.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Err(error) if !failed_before => {
                warn!(collector = self.to, %error, "traces cannot be sent, and are dropped");
            }
            Ok(()) if failed_before => info!(collector = self.to, "traces are sent again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Makes a span a child of the caller's, where the headers of its request name one. Nothing
/// happens to a span that is not traced.
pub(crate) fn follow<'a>(span: &Span, header: impl Fn(&str) -> Option<&'a str>) {
    if span.is_disabled() {
        return;
    }
    let [parent, state] = CONTEXT.map(header);
    if parent.is_none() {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Context([parent, state]));
    // Where nobody traces there is no parent to be had either.
    let _ = span.set_parent(context);
}

/// The headers of [`CONTEXT`].
struct Context<'a>([Option<&'a str>; 2]);

impl Extractor for Context<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let named = CONTEXT.iter().position(|name| *name == key)?;
        self.0[named]
    }

    fn keys(&self) -> Vec<&str> {
        CONTEXT.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_path_is_added_where_there_is_none() {
        for (given, posted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://c.example/otlp", "https://c.example/otlp/v1/traces"),
            ("http://c.example/v1/traces", "http://c.example/v1/traces"),
        ] {
            assert_eq!(address(given).unwrap().as_str(), posted);
        }
        for wrong in ["", "localhost:4318", "grpc://c.example", "not an address"] {
            let error = address(wrong).unwrap_err();
            let problem = error.problem().unwrap();
            assert_eq!(problem.code, Code::InvalidConfiguration, "{wrong}");
            assert_eq!(problem.field.as_deref(), Some("telemetry.endpoint"));
        }
    }
}
