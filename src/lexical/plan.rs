//! A query against one view: which terms of which fields, and how rare they are.

use std::sync::Arc;

use tantivy::Term;
use tantivy::schema::Field;
use tantivy::tokenizer::TextAnalyzer;

use super::analysis::{self, Word, words};
use super::definition::{Combine, Scoring};
use super::expand::{self, Found};
use super::schema::Column;
use super::syntax::{Clause, Expression, Occur, WordQuery};
use super::view::View;
use crate::document::{Analysis, FieldType};
use crate::error::{Code, Problem, Result};
use crate::filter::BoundFilter;

/// Most words and phrases a query may come to after analysis; long runs of Chinese or
/// Japanese make one word of each two characters.
const MAX_LEAVES: usize = 4096;

/// What a document has to match.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Leaf(Leaf),
    /// At least one part. Scores are added, or with a tie breaker the best counts in
    /// full and the others in part.
    Any {
        parts: Vec<Node>,
        tie: Option<f32>,
    },
    /// Every part; scores are added.
    All(Vec<Node>),
}

/// A word, a group of words, or a phrase, in the fields of one analysis.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// As typed.
    pub text: String,
    pub fields: Vec<Arc<FieldPart>>,
    pub scoring: Scoring,
    pub boost: f32,
    /// With combined fields: rarity in the whole document.
    pub idf: f32,
    /// With combined fields: weighted average length.
    pub average: f32,
}

/// A leaf in one field.
#[derive(Debug, Clone)]
pub(super) struct FieldPart {
    pub name: String,
    pub field: Field,
    pub weight: f32,
    pub sought: Sought,
    /// Live documents with it; of a group, at most the sum over its words.
    pub frequency: u64,
    /// Live documents that have the field.
    pub documents: u64,
    pub idf: f32,
    /// Average length of the field in words.
    pub average: f32,
}

/// What is looked for in one field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sought {
    /// Any of these terms; an occurrence counts by its factor.
    Terms(Vec<(Term, f32)>),
    /// These terms at these places in a row.
    Phrase { terms: Vec<(u32, Term)>, slop: u32 },
}

/// A whole query.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub must: Vec<Node>,
    pub should: Vec<Node>,
    pub not: Vec<Node>,
    /// There were words, yet none can match: nothing does.
    pub impossible: bool,
}

/// Fields of one analysis, with their weights.
struct Group<'a> {
    analysis: Analysis,
    analyzer: &'a TextAnalyzer,
    fields: Vec<(&'a str, &'a Column, f32)>,
}

impl Group<'_> {
    /// The smallest weight of its fields.
    fn least(&self) -> f32 {
        let weights = self.fields.iter().map(|(_, _, weight)| *weight);
        weights.fold(f32::INFINITY, f32::min)
    }
}

/// Plans queries against a view.
pub(super) struct Planner<'a> {
    view: &'a View,
    query: &'a WordQuery,
    /// Looks only at this field, whatever its weight.
    only: Option<&'a str>,
    leaves: usize,
}

impl<'a> Planner<'a> {
    pub fn new(view: &'a View, query: &'a WordQuery) -> Self {
        Planner {
            view,
            query,
            only: None,
            leaves: 0,
        }
    }

    /// Plans only what concerns one text field, as if it were searched.
    pub fn only(mut self, field: &'a str) -> Self {
        self.only = Some(field);
        self
    }

    /// # Errors
    /// `limit_exceeded` if the text comes to too many words; an operator's error if
    /// the index cannot be read.
    pub fn plan(mut self) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut meaningful = false;
        for clause in &self.query.clauses {
            let required =
                clause.occur == Occur::Must || clause.occur == Occur::Should && self.query.all;
            let Some((node, optional)) = self.clause(clause, required)? else {
                continue;
            };
            match clause.occur {
                Occur::Not => plan.not.push(node),
                _ if required && !optional => {
                    meaningful = true;
                    plan.must.push(node);
                }
                _ => {
                    meaningful = true;
                    flatten(node, &mut plan.should);
                }
            }
        }
        merge_equal(&mut plan.should);
        let wanted = self.query.clauses.iter().any(|c| c.occur != Occur::Not);
        plan.impossible = wanted && !meaningful && self.query.filter == BoundFilter::All;
        Ok(plan)
    }

    fn groups(&self, clause: &'a Clause) -> Vec<Group<'a>> {
        let defined = &self.view.columns.defined;
        let names: Vec<(&str, f32)> = match (&clause.field, self.only) {
            (Some(field), Some(only)) if field != only => Vec::new(),
            (Some(field), _) => vec![(field.as_str(), 1.0)],
            (None, Some(only)) => vec![(only, 1.0)],
            (None, None) => self
                .query
                .fields
                .iter()
                .map(|(name, w)| (name.as_str(), *w))
                .collect(),
        };
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (name, weight) in names {
            let Some((name, column)) = defined.get_key_value(name) else {
                continue;
            };
            if column.definition.kind != FieldType::Text {
                continue;
            }
            let analysis = &column.definition.analysis;
            match groups.iter_mut().find(|g| g.analysis == *analysis) {
                Some(group) => group.fields.push((name, column, weight)),
                None => groups.push(Group {
                    analysis: analysis.clone(),
                    analyzer: &column.analyzer,
                    fields: vec![(name, column, weight)],
                }),
            }
        }
        groups
    }

    /// The node of a clause, and whether it may be missing although required (a stop
    /// word in some of the fields). None if nothing of it is left after analysis.
    fn clause(&mut self, clause: &'a Clause, required: bool) -> Result<Option<(Node, bool)>> {
        let groups = self.groups(clause);
        let least = groups
            .iter()
            .map(Group::least)
            .fold(f32::INFINITY, f32::min);
        let mut nodes = Vec::new();
        let mut optional = false;
        for group in &groups {
            let whole = required || clause.occur == Occur::Not;
            // Fields of one analysis count as one text, by their weights among themselves; what
            // they weigh beside fields of other analyses is left for the score.
            let boost = match self.query.scoring.combine {
                Combine::Combined => clause.boost * (group.least() / least),
                Combine::Sum | Combine::Best => clause.boost,
            };
            match self.expression(group, &clause.expression, boost, whole, clause.occur)? {
                Some(node) => nodes.push(node),
                None => optional = true,
            }
        }
        Ok(self.any(nodes).map(|node| (node, optional)))
    }

    /// Joins what was found in fields of different analyses.
    fn any(&self, mut nodes: Vec<Node>) -> Option<Node> {
        if nodes.len() < 2 {
            return nodes.pop();
        }
        let tie = match self.query.scoring.combine {
            Combine::Sum => None,
            Combine::Best | Combine::Combined => Some(self.query.scoring.tie_breaker),
        };
        Some(Node::Any { parts: nodes, tie })
    }

    fn expression(
        &mut self,
        group: &Group<'_>,
        expression: &Expression,
        boost: f32,
        whole: bool,
        occur: Occur,
    ) -> Result<Option<Node>> {
        Ok(match expression {
            Expression::Word(text) => {
                let list = words(group.analyzer, text);
                if occur == Occur::Not && list.len() > 1 {
                    // -state-of-the-art excludes the phrase, not every "art".
                    return self.phrase(group, text, list, 0, boost);
                }
                self.sequence(group, list, boost, whole)?
            }
            Expression::Phrase { text, slop } => {
                let list = words(group.analyzer, text);
                self.phrase(group, text, list, *slop, boost)?
            }
            Expression::Term(term) => Some(self.word(group, term.clone(), boost, false)?),
            Expression::Prefix(text) => {
                let mut list = words(&analysis::analyzer(&unstemmed(&group.analysis)), text);
                let Some(last) = list.pop() else {
                    return Ok(None);
                };
                let mut nodes = self.nodes(group, list, boost)?;
                let stem = words(group.analyzer, &last.text).pop().map(|w| w.text);
                nodes.push(self.prefix(group, text, &last.text, stem.as_deref(), boost)?);
                sequence(nodes, whole)
            }
            Expression::Fuzzy { text, distance } => {
                let mut nodes = Vec::new();
                for word in words(group.analyzer, text) {
                    let length = word.text.chars().count();
                    let default = if length < self.query.typos.min_length_two as usize {
                        1
                    } else {
                        2
                    };
                    let distance = distance.unwrap_or(default);
                    nodes.push(self.fuzzy(group, &word.text, distance, boost)?);
                }
                sequence(nodes, whole)
            }
            Expression::Synonyms {
                typed,
                others,
                weight,
            } => {
                let text = typed.join(" ");
                let list = words(group.analyzer, &text);
                let mut parts: Vec<Node> = Vec::new();
                parts.extend(self.sequence(group, list, boost, whole)?);
                for other in others {
                    let list = words(group.analyzer, other);
                    parts.extend(self.phrase(group, other, list, 0, boost * weight)?);
                }
                match parts.len() {
                    0 | 1 => parts.pop(),
                    _ => Some(Node::Any {
                        parts,
                        tie: Some(0.0),
                    }),
                }
            }
        })
    }

    fn nodes(&mut self, group: &Group<'_>, list: Vec<Word>, boost: f32) -> Result<Vec<Node>> {
        list.into_iter()
            .map(|word| self.word(group, word.text, boost, true))
            .collect()
    }

    fn sequence(
        &mut self,
        group: &Group<'_>,
        list: Vec<Word>,
        boost: f32,
        whole: bool,
    ) -> Result<Option<Node>> {
        Ok(sequence(self.nodes(group, list, boost)?, whole))
    }

    /// One analysed word; if the index does not have it and typos are forgiven, the
    /// words like it.
    fn word(&mut self, group: &Group<'_>, word: String, boost: f32, typos: bool) -> Result<Node> {
        let mut known = false;
        let mut sought = Vec::new();
        for (_, column, _) in &group.fields {
            let term = Term::from_field_text(column.field, &word);
            let frequency = self.view.frequency(&term)?;
            known |= frequency > 0;
            sought.push((Sought::Terms(vec![(term, 1.0)]), frequency));
        }
        let distance = self.query.typos.distance(word.chars().count());
        if typos && !known && distance > 0 {
            return self.fuzzy(group, &word, distance, boost);
        }
        self.leaf(group, &word, sought, boost)
    }

    fn fuzzy(&mut self, group: &Group<'_>, word: &str, distance: u8, boost: f32) -> Result<Node> {
        let typos = &self.query.typos;
        let mut sought = Vec::new();
        for (_, column, _) in &group.fields {
            let most = typos.max_expansions as usize;
            let found = expand::similar(self.view, column.field, word, distance, most)?;
            sought.push(sought_of(found, |f| {
                typos.weight.powi(i32::from(f.distance))
            }));
        }
        self.leaf(group, word, sought, boost)
    }

    fn prefix(
        &mut self,
        group: &Group<'_>,
        text: &str,
        prefix: &str,
        stem: Option<&str>,
        boost: f32,
    ) -> Result<Node> {
        let mut sought = Vec::new();
        for (_, column, _) in &group.fields {
            let mut found = expand::beginning(self.view, column.field, prefix)?;
            // "running*" should find "running", which is indexed as "run".
            if let Some(stem) = stem.filter(|stem| !stem.starts_with(prefix)) {
                let term = Term::from_field_text(column.field, stem);
                let frequency = self.view.frequency(&term)?;
                if frequency > 0 {
                    found.push(Found {
                        term,
                        frequency,
                        distance: 0,
                    });
                }
            }
            sought.push(sought_of(found, |_| 1.0));
        }
        self.leaf(group, &format!("{text}*"), sought, boost)
    }

    fn phrase(
        &mut self,
        group: &Group<'_>,
        text: &str,
        list: Vec<Word>,
        slop: u32,
        boost: f32,
    ) -> Result<Option<Node>> {
        if list.len() < 2 {
            return match list.into_iter().next() {
                Some(word) => self.word(group, word.text, boost, false).map(Some),
                None => Ok(None),
            };
        }
        let first = list.first().map_or(0, |w| w.position);
        let mut fields = Vec::new();
        for &(name, column, weight) in &group.fields {
            let terms: Vec<(u32, Term)> = list
                .iter()
                .map(|w| {
                    (
                        w.position - first,
                        Term::from_field_text(column.field, &w.text),
                    )
                })
                .collect();
            let totals = self.view.totals(column.field)?;
            let (mut rarity, mut least) = (0.0, u64::MAX);
            for (_, term) in &terms {
                let frequency = self.view.frequency(term)?;
                least = least.min(frequency);
                rarity += idf(frequency, totals.documents);
            }
            fields.push(Arc::new(FieldPart {
                name: name.to_string(),
                field: column.field,
                weight,
                sought: Sought::Phrase { terms, slop },
                frequency: least,
                documents: totals.documents,
                idf: rarity,
                average: totals.average(),
            }));
        }
        self.finish(format!("\"{text}\""), fields, boost).map(Some)
    }

    fn leaf(
        &mut self,
        group: &Group<'_>,
        text: &str,
        sought: Vec<(Sought, u64)>,
        boost: f32,
    ) -> Result<Node> {
        let mut fields = Vec::new();
        for (&(name, column, weight), (sought, frequency)) in group.fields.iter().zip(sought) {
            let totals = self.view.totals(column.field)?;
            let frequency = frequency.min(totals.documents);
            fields.push(Arc::new(FieldPart {
                name: name.to_string(),
                field: column.field,
                weight,
                sought,
                frequency,
                documents: totals.documents,
                idf: idf(frequency, totals.documents),
                average: totals.average(),
            }));
        }
        self.finish(text.to_string(), fields, boost)
    }

    fn finish(
        &mut self,
        text: String,
        mut fields: Vec<Arc<FieldPart>>,
        boost: f32,
    ) -> Result<Node> {
        self.leaves += 1;
        if self.leaves > MAX_LEAVES {
            return Err(
                Problem::new(Code::LimitExceeded, "the query text is too large")
                    .field("query")
                    .found(format!("more than {MAX_LEAVES} words after analysis"))
                    .expected(format!("at most {MAX_LEAVES}"))
                    .into(),
            );
        }
        let scoring = self.query.scoring;
        let (mut rarity, mut average) = (0.0, 1.0);
        if scoring.combine == Combine::Combined {
            // Relative to the smallest, so that one field alone, or fields of equal
            // weight, saturate as plain text does.
            let least = fields
                .iter()
                .map(|f| f.weight)
                .fold(f32::INFINITY, f32::min);
            for field in &mut fields {
                let field = Arc::make_mut(field);
                field.weight /= least;
            }
            let documents = self.view.documents();
            rarity = match fields
                .iter()
                .find(|f| matches!(f.sought, Sought::Phrase { .. }))
            {
                Some(_) => fields.iter().map(|f| f.idf).fold(f32::INFINITY, f32::min),
                None => {
                    let frequency = fields.iter().map(|f| f.frequency).max().unwrap_or(0);
                    idf(frequency, documents)
                }
            };
            let words: f64 = fields
                .iter()
                .map(|f| f64::from(f.weight) * f64::from(f.average) * f.documents as f64)
                .sum();
            if documents > 0 && words > 0.0 {
                average = (words / documents as f64) as f32;
            }
        }
        Ok(Node::Leaf(Leaf {
            text,
            fields,
            scoring,
            boost,
            idf: rarity,
            average,
        }))
    }
}

fn sought_of(found: Vec<Found>, factor: impl Fn(&Found) -> f32) -> (Sought, u64) {
    let frequency = found.iter().map(|f| f.frequency).sum();
    let terms = found.into_iter().map(|f| {
        let factor = factor(&f);
        (f.term, factor)
    });
    (Sought::Terms(terms.collect()), frequency)
}

fn unstemmed(analysis: &Analysis) -> Analysis {
    Analysis {
        stemming: false,
        stop_words: false,
        ..analysis.clone()
    }
}

fn sequence(mut nodes: Vec<Node>, whole: bool) -> Option<Node> {
    match nodes.len() {
        0 | 1 => nodes.pop(),
        _ if whole => Some(Node::All(nodes)),
        _ => Some(Node::Any {
            parts: nodes,
            tie: None,
        }),
    }
}

fn flatten(node: Node, out: &mut Vec<Node>) {
    match node {
        Node::Any { parts, tie: None } => out.extend(parts),
        node => out.push(node),
    }
}

/// A word typed twice counts twice, and is looked up once.
fn merge_equal(nodes: &mut Vec<Node>) {
    let mut kept: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes.drain(..) {
        if let Node::Leaf(leaf) = &node {
            let same = kept.iter_mut().find_map(|k| match k {
                Node::Leaf(other) if alike(other, leaf) => Some(other),
                _ => None,
            });
            if let Some(other) = same {
                other.boost += leaf.boost;
                continue;
            }
        }
        kept.push(node);
    }
    *nodes = kept;
}

fn alike(a: &Leaf, b: &Leaf) -> bool {
    a.fields.len() == b.fields.len()
        && a.fields
            .iter()
            .zip(&b.fields)
            .all(|(x, y)| x.field == y.field && x.weight == y.weight && x.sought == y.sought)
}

/// Rarity of a term that `frequency` of `documents` have.
pub(super) fn idf(frequency: u64, documents: u64) -> f32 {
    let (n, df) = (documents.max(frequency) as f64, frequency as f64);
    (1.0 + (n - df + 0.5) / (df + 0.5)).ln() as f32
}
