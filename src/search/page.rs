//! The hits of one page: fetched, highlighted, explained.

use std::cmp::Ordering;

use serde_json::{Map, Value as Json, json};

use super::fusion::Candidate;
use super::legs::Legs;
use super::passage::{Passage, locate};
use super::ranking::{List, Ranked, Ranking};
use super::request::HighlightRequest;
use super::response::{Explanation, FusionExplanation, Hit, LegExplanation, json_of};
use crate::document::{FieldType, pick, strings_at};
use crate::error::Result;

/// A page of hits.
pub(super) struct Page<'a> {
    pub legs: &'a Legs<'a>,
    pub ranking: &'a Ranking,
}

impl Page<'_> {
    /// The hits from the place `from` on, `most` at most.
    pub fn fetch(&self, from: usize, most: usize) -> Result<Vec<Hit>> {
        let end = from.saturating_add(most).min(self.ranking.tally.end);
        if from >= end {
            return Ok(Vec::new());
        }
        let page = match &self.ranking.list {
            List::Scored(ranked) => self.untie(ranked, from, end)?,
            List::Ordered(ranked) => ranked[from..end].to_vec(),
        };
        let ordinals: Vec<u32> = page.iter().map(|c| c.candidate.ordinal).collect();
        let documents = self.legs.index.documents(&ordinals)?;
        page.into_iter()
            .zip(documents)
            .filter_map(|(ranked, document)| {
                let document = document?;
                Some(self.hit(ranked, document.id, document.source))
            })
            .collect()
    }

    /// Documents that tie across an edge of the page are looked at too: which of them are
    /// on the page is decided by id.
    fn untie(&self, ranked: &[Candidate], from: usize, end: usize) -> Result<Vec<Ranked>> {
        let first = (0..from)
            .rev()
            .take_while(|&i| order(&ranked[i], &ranked[from]) == Ordering::Equal)
            .last()
            .unwrap_or(from);
        let last = (end..ranked.len())
            .take_while(|&i| order(&ranked[i], &ranked[end - 1]) == Ordering::Equal)
            .last()
            .map_or(end, |i| i + 1);
        // Ids decide first; only the page's own documents are read whole.
        let ordinals: Vec<u32> = ranked[first..last].iter().map(|c| c.ordinal).collect();
        let ids = self.legs.index.ids(&ordinals)?;
        let mut tied: Vec<(Candidate, String)> = ranked[first..last]
            .iter()
            .zip(ids)
            .filter_map(|(candidate, id)| Some((*candidate, id?)))
            .collect();
        tied.sort_by(|a, b| order(&a.0, &b.0).then_with(|| a.1.cmp(&b.1)));
        let page = tied.into_iter().skip(from - first).take(end - from);
        Ok(page.map(|(candidate, _)| Ranked::new(candidate)).collect())
    }

    fn hit(&self, ranked: Ranked, id: String, source: Map<String, Json>) -> Result<Hit> {
        let request = self.legs.plan.request;
        let candidate = ranked.candidate;
        let explanation = if request.explain {
            Some(self.explain(&candidate)?)
        } else {
            None
        };
        let highlights = match &request.highlight {
            Some(wanted) => self.highlights(wanted, &source)?,
            None => None,
        };
        Ok(Hit {
            passage: self.passage(&candidate, &source)?,
            document: match &request.fields {
                None => source,
                Some(fields) => pick(source, fields),
            },
            id,
            score: candidate.score,
            sort: match (&request.sort, &ranked.place) {
                (Some(_), Some(place)) => {
                    let values = place.values.iter();
                    Some(
                        values
                            .map(|v| v.as_ref().map_or(Json::Null, json_of))
                            .collect(),
                    )
                }
                _ => None,
            },
            group: ranked.group.as_ref().map(json_of),
            inner: ranked.inner,
            highlights,
            explanation,
        })
    }

    /// The nearest passage, where the definition cuts texts.
    fn passage(
        &self,
        candidate: &Candidate,
        source: &Map<String, Json>,
    ) -> Result<Option<Passage>> {
        let index = self.legs.index;
        let embedding = index.definition().embedding.as_ref();
        let Some(embedding) = embedding.filter(|embedding| embedding.passages.is_some()) else {
            return Ok(None);
        };
        let nearest = candidate
            .dense
            .and_then(|(rank, _)| self.ranking.found.passages.get(rank));
        let Some(number) = nearest.map(|hit| hit.passage) else {
            return Ok(None);
        };
        let Some(stored) = index.stored_vectors(candidate.ordinal)? else {
            return Ok(None);
        };
        Ok(stored
            .spans
            .get(usize::from(number))
            // A vector that the document brought along stands for no text.
            .filter(|span| span.start < span.end)
            .and_then(|span| {
                let span = span.start as usize..span.end as usize;
                let (text, places) = locate(source, &embedding.fields, span)?;
                Some(Passage {
                    number: u32::from(number) + 1,
                    of: u32::try_from(stored.spans.len()).unwrap_or(u32::MAX),
                    text,
                    places,
                })
            }))
    }

    fn highlights(
        &self,
        wanted: &HighlightRequest,
        source: &Map<String, Json>,
    ) -> Result<Option<Map<String, Json>>> {
        let Some(query) = self.legs.words else {
            return Ok(None);
        };
        let fields = &self.legs.index.definition().fields;
        let names: Vec<&String> = match &wanted.fields {
            Some(names) => names.iter().collect(),
            None => fields
                .iter()
                .filter(|(_, field)| field.kind == FieldType::Text)
                .map(|(name, _)| name)
                .collect(),
        };
        let mut marked = Map::new();
        for name in names {
            let mut fragments = Vec::new();
            for text in strings_at(source, name) {
                for fragment in
                    self.legs
                        .view
                        .words
                        .highlight(query, name, text, wanted.max_chars)?
                {
                    fragments.push(Json::String(wanted.mark(&fragment.text, &fragment.spans)));
                }
            }
            if !fragments.is_empty() {
                marked.insert(name.clone(), Json::Array(fragments));
            }
        }
        Ok(Some(marked))
    }

    fn explain(&self, candidate: &Candidate) -> Result<Explanation> {
        let plan = self.legs.plan;
        let lexical = match candidate.lexical {
            Some((rank, score)) => Some(LegExplanation {
                rank: (!plan.scans()).then_some(rank + 1),
                score,
                fused_as: self.ranking.fused.then_some(candidate.parts.0),
                detail: match self.legs.words {
                    Some(query) => self
                        .legs
                        .view
                        .words
                        .explain(query, candidate.ordinal)?
                        .and_then(|detail| serde_json::to_value(detail).ok()),
                    None => None,
                },
            }),
            None => None,
        };
        let dense = candidate.dense.map(|(rank, score)| LegExplanation {
            rank: Some(rank + 1),
            score,
            fused_as: self.ranking.fused.then_some(candidate.parts.1),
            detail: self.ranking.found.passages.get(rank).map(|hit| {
                json!({
                    "passage": hit.passage,
                    "strategy": self.ranking.found.strategy,
                })
            }),
        });
        let reranking = self.ranking.rerank.as_ref();
        Ok(Explanation {
            lexical,
            dense,
            fusion: self.ranking.fused.then(|| self.explain_fusion(candidate)),
            rerank: reranking.and_then(|r| r.explain(candidate)),
            beyond_candidates: candidate.beyond,
        })
    }
}

impl Page<'_> {
    fn explain_fusion(&self, candidate: &Candidate) -> FusionExplanation {
        let fusion = self.legs.plan.fusion;
        let learned = self.ranking.found.learned.as_ref();
        let (lexical_weight, dense_weight) = match learned {
            Some(learned) => learned.leg_weights(),
            None => (fusion.lexical, fusion.dense),
        };
        FusionExplanation {
            method: fusion.method,
            lexical_weight,
            dense_weight,
            score: self
                .ranking
                .rerank
                .as_ref()
                .and_then(|reranking| reranking.first_score(candidate.ordinal))
                .unwrap_or(candidate.score),
            learned: learned.and_then(|learned| learned.explain(candidate.ordinal)),
        }
    }
}

/// Order of two candidates, ids aside. Deeper than the fused candidates the rank decides:
/// it does not change as more hits are asked for, where the set of equal scores would.
pub(super) fn order(a: &Candidate, b: &Candidate) -> Ordering {
    a.beyond.cmp(&b.beyond).then_with(|| {
        if a.beyond {
            a.best_rank().cmp(&b.best_rank())
        } else {
            b.score.total_cmp(&a.score)
        }
    })
}
