//! `gleaner search`: one search from the command line.

use clap::Args;

use super::Context;
use crate::error::{Code, Problem, Result};
use crate::index::Mode;
use crate::search::{
    FilterInput, HighlightRequest, Like, RerankRequest, RerankSettings, SearchRequest,
    SearchResponse, Sort, search,
};

/// Search an index.
#[derive(Debug, Args)]
pub(super) struct Search {
    /// Name of the index.
    index: String,
    /// What to look for: words, "phrases", -exclusions, field:word, prefix*, fuzzy~.
    #[arg(required_unless_present_any = ["like", "sort"])]
    query: Option<String>,
    /// lexical, dense or hybrid [default: the index's].
    #[arg(long)]
    mode: Option<String>,
    /// For example: section = "science" AND rating >= 4
    #[arg(long)]
    filter: Option<String>,
    /// Number of hits.
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Hits to leave out at the top.
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Id of a document to find more of, in place of a query; may be repeated.
    #[arg(long, conflicts_with = "query")]
    like: Vec<String>,
    /// Field to sort by, with a - before it from the greatest down; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    sort: Vec<String>,
    /// Re-rank the first documents by the definition's reranker, or by the one named.
    #[arg(long, value_name = "MODEL", num_args = 0..=1, default_missing_value = "")]
    rerank: Option<String>,
    /// Documents that are re-ranked [default: the definition's, or 100].
    #[arg(long, value_name = "N", requires = "rerank")]
    rerank_depth: Option<usize>,
    /// Do not re-rank, whatever the definition says.
    #[arg(long, conflicts_with = "rerank")]
    no_rerank: bool,
    /// Take each score apart.
    #[arg(long)]
    explain: bool,
    /// Mark the query's words.
    #[arg(long)]
    highlight: bool,
}

impl Search {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let mode = self.mode.as_deref().map(str::parse::<Mode>).transpose()?;
        let request = SearchRequest {
            query: self.query,
            mode,
            k: Some(self.k),
            offset: Some(self.offset),
            filter: self.filter.as_deref().map(FilterInput::from),
            like: (!self.like.is_empty()).then_some(Like { ids: self.like }),
            sort: (!self.sort.is_empty()).then(|| {
                let keys = self.sort.iter();
                keys.map(|key| Sort::from(key.as_str())).collect()
            }),
            rerank: match (self.rerank, self.no_rerank) {
                (None, false) => None,
                (None, true) => Some(RerankRequest::Whether(false)),
                (Some(model), _) => Some(RerankRequest::Settings(RerankSettings {
                    model: (!model.is_empty()).then_some(model),
                    depth: self.rerank_depth,
                    ..RerankSettings::default()
                })),
            },
            explain: self.explain,
            highlight: (self.highlight || !context.json).then(|| HighlightRequest {
                pre: if context.json { "<em>" } else { "[" }.into(),
                post: if context.json { "</em>" } else { "]" }.into(),
                escape: context.json,
                ..HighlightRequest::default()
            }),
            ..SearchRequest::default()
        };
        let index = context.catalog()?.get(&self.index)?;
        if index.view().documents == 0 && !context.json {
            return Err(Problem::new(
                Code::InvalidRequest,
                format!("index {:?} holds no documents yet", self.index),
            )
            .field("index")
            .expected("an index with documents; load some with: gleaner ingest INDEX FILE")
            .into());
        }
        let response = search(&index, &request)?;
        context.print(&response, in_words)
    }
}

fn in_words(response: &SearchResponse) -> String {
    let mut out = String::new();
    for (place, hit) in response.hits.iter().enumerate() {
        out += &format!("{:>3}. {}  ({:.4})\n", place + 1, hit.id, hit.score);
        let text = |name: &str| hit.document.get(name).and_then(|t| t.as_str());
        // Where code is, as editors take it.
        if let (Some(path), Some(line)) = (text("path"), hit.document.get("first_line")) {
            let lines = text("lines").unwrap_or_default();
            out += &format!("     {path}:{line} (lines {lines})\n");
        }
        let title = text("title");
        if let Some(title) = title {
            out += &format!("     {title}\n");
        }
        // What the code says is not said again as the words of its names.
        let code = text("path").is_some() && text("code").is_some();
        let fields = hit.highlights.iter().flatten();
        let fields =
            fields.filter(|(name, _)| !code || matches!(name.as_str(), "docstring" | "code"));
        for (_, fragments) in fields {
            for fragment in fragments.as_array().into_iter().flatten().take(1) {
                let text = fragment.as_str().unwrap_or_default().replace('\n', " ");
                out += &format!("     {text}\n");
            }
        }
        if let Some(explanation) = &hit.explanation {
            let json = serde_json::to_string_pretty(explanation).unwrap_or_default();
            for line in json.lines() {
                out += &format!("     {line}\n");
            }
        }
    }
    for lost in &response.degraded {
        out += &format!("without {}: {}\n", lost.lost, lost.reason);
    }
    if let Some(short) = &response.short {
        out += &format!(
            "{} hits of {} asked for: {}\n",
            short.found, short.asked, short.reason
        );
    }
    let timings = &response.timings;
    if let Some(rerank) = &response.rerank {
        out += &format!(
            "{} of the first {} re-ranked by {} in {:.1} ms\n",
            rerank.scored, rerank.depth, rerank.model, timings.rerank_ms
        );
    }
    out += &format!(
        "{} documents in {:.1} ms ({}: encode {:.1}, words {:.1}, vectors {:.1})\n",
        response.total.value,
        timings.total_ms,
        response.mode.as_str(),
        timings.encode_ms,
        timings.words_ms,
        timings.vectors_ms
    );
    out
}
