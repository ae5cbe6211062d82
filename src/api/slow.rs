//! The log of slow searches: what was asked, where the time went, and why.

use std::time::Duration;

use super::error::Failure;
use crate::config::Log;
use crate::error::Error;
use crate::search::{SearchRequest, SearchResponse};

/// Which searches are logged, and how much of them.
pub(super) struct SlowLog {
    /// Those that take so long; None for none.
    from: Option<Duration>,
    /// Bytes of their request.
    request_bytes: usize,
}

impl SlowLog {
    pub(super) fn new(settings: &Log) -> SlowLog {
        SlowLog {
            from: settings.slow_ms.map(Duration::from_millis),
            request_bytes: settings.slow_request_bytes,
        }
    }

    /// Logs a search if it was slow. One that failed has as much to say for itself as its error.
    pub(super) fn note(
        &self,
        index: &str,
        request: &SearchRequest,
        outcome: &Result<SearchResponse, Error>,
        took: Duration,
    ) {
        if self.from.is_none_or(|from| took < from) {
            return;
        }
        let took_ms = took.as_secs_f64() * 1e3;
        let request = self.shortened(request);
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                // Its sentence may quote the request.
                let code = Failure::from(error).code;
                tracing::warn!(index, took_ms, code, request, "slow search, and it failed");
                return;
            }
        };
        let (timings, work) = (&response.timings, &response.work);
        let rerank = response.rerank.as_ref();
        let lost = response.degraded.iter();
        let lost: Vec<String> = lost
            .map(|one| format!("{}: {}", one.lost, one.reason))
            .collect();
        tracing::warn!(
            index,
            took_ms,
            mode = response.mode.as_str(),
            hits = response.hits.len(),
            encode_ms = timings.encode_ms,
            filter_ms = timings.filter_ms,
            words_ms = timings.words_ms,
            vectors_ms = timings.vectors_ms,
            fusion_ms = timings.fusion_ms,
            rerank_ms = timings.rerank_ms,
            fetch_ms = timings.fetch_ms,
            documents = work.documents,
            allowed = work.allowed,
            strategy = work.strategy.map(|strategy| strategy.as_str()),
            compared = work.compared,
            candidates = work.candidates,
            by_words = work.by_words,
            by_vectors = work.by_vectors,
            reranked = rerank.map(|rerank| rerank.scored),
            rerank_tokens = rerank.map(|rerank| rerank.tokens),
            query_truncated = rerank.map(|rerank| rerank.query_truncated),
            degraded = (!lost.is_empty()).then(|| lost.join("; ")),
            short = response.short.as_ref().map(|short| short.reason.as_str()),
            request,
            "slow search"
        );
    }

    /// As much of a request as is logged; None where nothing is.
    fn shortened(&self, request: &SearchRequest) -> Option<String> {
        if self.request_bytes == 0 {
            return None;
        }
        // Numbers and strings alone: this cannot fail.
        let mut text = serde_json::to_string(request).unwrap_or_default();
        if text.len() > self.request_bytes {
            text.truncate(text.floor_char_boundary(self.request_bytes));
            text.push('…');
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_cut_between_letters() {
        let request = SearchRequest {
            query: Some("ééééé".into()),
            ..SearchRequest::default()
        };
        let of = |slow_request_bytes| {
            let settings = Log {
                slow_request_bytes,
                ..Log::default()
            };
            SlowLog::new(&settings).shortened(&request)
        };
        assert_eq!(of(0), None);
        assert_eq!(of(13).unwrap(), "{\"query\":\"é…");
        assert_eq!(of(14).unwrap(), "{\"query\":\"éé…");
        assert!(of(1_000).unwrap().ends_with('}'));
    }
}
