//! Searching one point in time.

use std::collections::HashMap;
use std::sync::Arc;

use super::analysis::words;
use super::collect::{Wanted, collect, every, visit};
use super::definition::Scoring;
use super::evidence::{WordEvidence, evidence};
use super::explain::{self, WordExplanation};
use super::facets::{Facet, facets};
use super::highlight::{self, Fragment};
use super::passing::passing;
use super::plan::Planner;
use super::sort::{SortAmong, SortQuery, Sorted, SortedHit, Sorter, values};
use super::syntax::WordQuery;
use super::telling::{self, TellingTerm};
use super::view::View;
use crate::document::Value;
use crate::error::Result;
use crate::filter::{BoundFilter, OrdinalSet};

/// An unchanging view of a [`super::WordIndex`] at one of its commits. Cheap to clone;
/// later commits and merges do not show.
#[derive(Clone)]
pub struct WordReader {
    view: Arc<View>,
}

/// A document found by its words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordHit {
    /// The document's ordinal.
    pub ordinal: u32,
    /// BM25 score, at least 0; higher is better.
    pub score: f32,
}

/// The best documents of a search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WordHits {
    /// By descending score, then ascending ordinal.
    pub hits: Vec<WordHit>,
    /// How many documents match, exactly, the hits included.
    pub matched: u64,
}

impl WordReader {
    pub(super) fn new(view: Arc<View>) -> WordReader {
        WordReader { view }
    }

    /// Live documents.
    pub fn documents(&self) -> u64 {
        self.view.documents()
    }

    /// Segments that a search goes through.
    pub fn segments(&self) -> usize {
        self.view.segments.len()
    }

    /// Documents that were deleted and are still in those segments.
    pub fn deleted(&self) -> u64 {
        let segments = self.view.segments.iter();
        segments
            .map(|segment| u64::from(segment.reader.num_deleted_docs()))
            .sum()
    }

    /// The log sequence that this view covers; 0 if nothing was ever committed.
    pub fn covered(&self) -> u64 {
        self.view.covered
    }

    /// Ordinals of the live documents.
    pub fn live(&self) -> Arc<OrdinalSet> {
        self.view.live()
    }

    /// The best `depth` documents among `allowed` (all if None) and the exact number
    /// that match. With a depth of 0 it only counts.
    ///
    /// A query of exclusions or exact values only finds every document they leave, with
    /// score 0; stop words beside exact values change nothing. A query whose words all
    /// vanish in analysis, without exact values, finds nothing.
    ///
    /// # Errors
    /// `limit_exceeded` if the query comes to too many words; an operator's error if
    /// the index cannot be read.
    pub fn search(
        &self,
        query: &WordQuery,
        depth: usize,
        allowed: Option<&OrdinalSet>,
    ) -> Result<WordHits> {
        self.run(query, depth, allowed, true)
    }

    /// The same hits as [`WordReader::search`] finds, without counting what matches,
    /// which lets it skip documents that cannot be among them.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn top(
        &self,
        query: &WordQuery,
        depth: usize,
        allowed: Option<&OrdinalSet>,
    ) -> Result<Vec<WordHit>> {
        Ok(self.run(query, depth, allowed, false)?.hits)
    }

    /// Every document among `allowed` (all if None) that matches.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn matching(&self, query: &WordQuery, allowed: Option<&OrdinalSet>) -> Result<OrdinalSet> {
        if query.is_empty() {
            return Ok(OrdinalSet::new());
        }
        let plan = Planner::new(&self.view, query).plan()?;
        let exact = self.exact(query, allowed)?;
        every(&self.view, &plan, exact.as_ref().or(allowed))
    }

    /// What matches a query among `allowed` (all if None), in the order of fields' values
    /// rather than of scores, which are the same as [`WordReader::search`] finds.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn search_sorted(
        &self,
        query: &WordQuery,
        allowed: Option<&OrdinalSet>,
        order: &SortQuery<'_>,
    ) -> Result<Sorted> {
        let mut sorter = Sorter::new(&self.view.columns, order);
        let matched = self.visit(query, allowed, &mut sorter)?;
        Ok(sorted(sorter, matched))
    }

    /// The first `most` members of each of `groups`, values of the field that `order`
    /// collapses, among what matches.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn search_members(
        &self,
        query: &WordQuery,
        allowed: Option<&OrdinalSet>,
        order: &SortQuery<'_>,
        groups: &[Value],
        most: usize,
    ) -> Result<Vec<Vec<SortedHit>>> {
        let mut sorter = Sorter::new(&self.view.columns, order).within(groups, most);
        self.visit(query, allowed, &mut sorter)?;
        Ok(sorter.finish().0)
    }

    /// Live documents in the order of fields' values.
    ///
    /// # Errors
    /// An operator's error if the index cannot be read.
    pub fn sorted(&self, among: SortAmong<'_>, order: &SortQuery<'_>) -> Result<Sorted> {
        let mut sorter = Sorter::new(&self.view.columns, order);
        let matched = sorter.walk(&self.view, among)?;
        Ok(sorted(sorter, matched))
    }

    /// The first `most` members of each of `groups`, values of the field that `order`
    /// collapses.
    ///
    /// # Errors
    /// An operator's error if the index cannot be read.
    pub fn members(
        &self,
        among: SortAmong<'_>,
        order: &SortQuery<'_>,
        groups: &[Value],
        most: usize,
    ) -> Result<Vec<Vec<SortedHit>>> {
        let mut sorter = Sorter::new(&self.view.columns, order).within(groups, most);
        sorter.walk(&self.view, among)?;
        Ok(sorter.finish().0)
    }

    /// The values that live documents of `among` have in a field that is no text and holds
    /// one value.
    ///
    /// # Errors
    /// An operator's error if the index cannot be read.
    pub fn values(&self, field: &str, among: &OrdinalSet) -> Result<HashMap<u32, Value>> {
        values(&self.view, field, among)
    }

    fn visit(
        &self,
        query: &WordQuery,
        allowed: Option<&OrdinalSet>,
        sorter: &mut Sorter<'_>,
    ) -> Result<u64> {
        if query.is_empty() {
            return Ok(0);
        }
        let plan = Planner::new(&self.view, query).plan()?;
        let exact = self.exact(query, allowed)?;
        visit(&self.view, &plan, exact.as_ref().or(allowed), sorter)
    }

    fn run(
        &self,
        query: &WordQuery,
        depth: usize,
        allowed: Option<&OrdinalSet>,
        count: bool,
    ) -> Result<WordHits> {
        if query.is_empty() {
            return Ok(WordHits::default());
        }
        let plan = Planner::new(&self.view, query).plan()?;
        let exact = self.exact(query, allowed)?;
        let wanted = Wanted {
            depth,
            allowed: exact.as_ref().or(allowed),
            count,
        };
        collect(&self.view, &plan, &wanted)
    }

    /// What the query's exact values leave of the allowed documents; None if it has none.
    fn exact(&self, query: &WordQuery, allowed: Option<&OrdinalSet>) -> Result<Option<OrdinalSet>> {
        if query.filter == BoundFilter::All {
            return Ok(None);
        }
        let mut passing = passing(&self.view, &query.filter)?;
        if let Some(allowed) = allowed {
            passing.and(allowed);
        }
        Ok(Some(passing))
    }

    /// Ordinals of the live documents that pass a filter. The filter has to be bound to
    /// the fields of this index.
    ///
    /// # Errors
    /// An operator's error if the index cannot be read.
    pub fn filter(&self, filter: &BoundFilter) -> Result<OrdinalSet> {
        passing(&self.view, filter)
    }

    /// The `most` most frequent values of a keyword, integer, date or boolean field among
    /// the live documents of `among`, with the number of documents that have each;
    /// equals in the order of their values. Fields of other types have none.
    ///
    /// # Errors
    /// An operator's error if the index cannot be read.
    pub fn facets(&self, field: &str, among: &OrdinalSet, most: usize) -> Result<Vec<Facet>> {
        facets(&self.view, field, among, most)
    }

    /// What the words of a query say about each of some documents, whether or not it finds
    /// them; nothing about those that are not live.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn evidence(&self, query: &WordQuery, ordinals: &[u32]) -> Result<WordEvidence> {
        let plan = Planner::new(&self.view, query).plan()?;
        evidence(&self.view, &plan, ordinals)
    }

    /// How a document came by its score; None if it does not match the query or is not
    /// live.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn explain(&self, query: &WordQuery, ordinal: u32) -> Result<Option<WordExplanation>> {
        let only: OrdinalSet = std::iter::once(ordinal).collect();
        if self.search(query, 0, Some(&only))?.matched == 0 {
            return Ok(None);
        }
        let Some((segment, doc)) = self.view.find(ordinal)? else {
            return Ok(None);
        };
        let plan = Planner::new(&self.view, query).plan()?;
        explain::explain(&plan, segment, doc, query.scoring).map(Some)
    }

    /// The up to three best fragments of `text`, a value of `field`, each of at most
    /// `max_chars` characters, best first. Words count as marked if analysis makes the
    /// same of them as of a word of the query, so other forms of a word are marked too.
    /// If nothing is to be marked, the beginning of the text.
    ///
    /// # Errors
    /// As [`WordReader::search`].
    pub fn highlight(
        &self,
        query: &WordQuery,
        field: &str,
        text: &str,
        max_chars: usize,
    ) -> Result<Vec<Fragment>> {
        let Some(column) = self.view.columns.defined.get(field) else {
            return Ok(Vec::new());
        };
        let plan = Planner::new(&self.view, query).only(field).plan()?;
        let words = words(&column.analyzer, text);
        let sought = highlight::sought(&plan);
        Ok(highlight::fragments(text, &words, &sought, max_chars))
    }

    /// The `max` words of `text` that most tell it from other documents' values of
    /// `field`; none if `field` is no text field.
    ///
    /// # Errors
    /// An operator's error if the index cannot be read.
    pub fn terms_of(&self, text: &str, field: &str, max: usize) -> Result<Vec<TellingTerm>> {
        telling::terms_of(&self.view, text, field, max)
    }

    /// A query for documents with these words, each weighted by how telling it is
    /// against the most telling.
    pub fn more_like(&self, terms: &[TellingTerm], scoring: Scoring) -> WordQuery {
        let most = terms
            .iter()
            .map(|t| t.weight)
            .fold(f32::MIN_POSITIVE, f32::max);
        let terms = terms
            .iter()
            .map(|t| (t.field.clone(), t.term.clone(), t.weight / most));
        WordQuery::of_terms(terms, scoring)
    }
}

fn sorted(sorter: Sorter<'_>, matched: u64) -> Sorted {
    let (lists, lower) = sorter.finish();
    Sorted {
        hits: lists.into_iter().next().unwrap_or_default(),
        matched,
        lower,
    }
}
