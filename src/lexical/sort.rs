//! Documents in the order of their fields' values, and the best of each group.
//!
//! Within a segment the columns' numbers decide: they keep the order of the values, and
//! those of strings are places in the segment's sorted dictionary. So a document's place is
//! a few integers, whatever the fields are, and only what a segment leaves over is read as
//! values, by which segments are merged. What is held is bounded by what is wanted,
//! whatever matches.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use tantivy::columnar::{Column, StrColumn, TermOrdHit};
use tantivy::{DocId, f64_to_u64, i64_to_u64, u64_to_f64, u64_to_i64};

use super::WordHit;
use super::collect::Sink;
use super::fault;
use super::schema::{Columns, ID};
use super::view::{Segment, View};
use crate::document::{FieldType, Value};
use crate::error::{Error, Result};
use crate::filter::OrdinalSet;

/// Most keys of one order.
pub const MAX_SORT_KEYS: usize = 4;

/// What documents are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortBy {
    /// The score.
    Score,
    /// The document's id.
    Id,
    /// A keyword, integer, float, date or boolean field. Of several values the first in the
    /// order counts: the least ascending, the greatest descending.
    Field(String),
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// What is compared.
    pub by: SortBy,
    /// Greater values come first.
    pub descending: bool,
    /// Documents without a value come first rather than last.
    pub missing_first: bool,
}

/// Where a document stands in an order. Comparing ids last, no two stand at the same place.
#[derive(Debug, Clone, PartialEq)]
pub struct SortPlace {
    /// A value for each key; None where the document has none. Scores are floats.
    pub values: Vec<Option<Value>>,
    /// The document's id.
    pub id: String,
}

/// The documents to be ordered.
#[derive(Debug, Clone, Copy)]
pub enum SortAmong<'a> {
    /// All of these (all live ones if None), with a score of 0.
    All(Option<&'a OrdinalSet>),
    /// These, each with its score.
    Scored(&'a HashMap<u32, f32>),
}

/// Which documents to bring back, and in what order.
#[derive(Debug, Clone, Copy)]
pub struct SortQuery<'a> {
    /// The order; equals come in the order of their ids.
    pub keys: &'a [SortKey],
    /// Most documents to bring back.
    pub depth: usize,
    /// Only what comes after this place.
    pub after: Option<&'a SortPlace>,
    /// Only documents with at least this score.
    pub least: Option<f32>,
    /// Only the first document of each value of this field, which holds one value; those
    /// without a value all count.
    pub collapse: Option<&'a str>,
}

/// A document in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedHit {
    /// The document's ordinal.
    pub ordinal: u32,
    /// Its score.
    pub score: f32,
    /// Its place.
    pub place: SortPlace,
    /// Its value of the field that is collapsed.
    pub group: Option<Value>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sorted {
    /// In order, at most `depth`.
    pub hits: Vec<SortedHit>,
    /// Documents that match, whatever their score and place.
    pub matched: u64,
    /// Those of them that score lower than the least.
    pub lower: u64,
}

/// Orders what it is given, segment by segment.
pub(super) struct Sorter<'a> {
    columns: &'a Columns,
    query: &'a SortQuery<'a>,
    /// The groups whose members are wanted, each with at most so many.
    within: Option<(&'a [Value], usize)>,
    current: Option<Current>,
    /// One list; of wanted groups, one for each.
    found: Vec<Vec<SortedHit>>,
    lower: u64,
}

impl<'a> Sorter<'a> {
    pub fn new(columns: &'a Columns, query: &'a SortQuery<'a>) -> Sorter<'a> {
        Sorter {
            columns,
            query,
            within: None,
            current: None,
            found: vec![Vec::new()],
            lower: 0,
        }
    }

    /// Brings back the first `most` members of each of these groups instead of the best of
    /// each group.
    pub fn within(mut self, groups: &'a [Value], most: usize) -> Sorter<'a> {
        self.within = Some((groups, most));
        self.found = vec![Vec::new(); groups.len()];
        self
    }

    /// Gives all documents of `among` to the sorter; how many there were.
    pub fn walk(&mut self, view: &View, among: SortAmong<'_>) -> Result<u64> {
        let mut matched = 0;
        for segment in &view.segments {
            self.enter(segment)?;
            for (doc, &ordinal) in (0..).zip(segment.ordinals.iter()) {
                let score = match among {
                    SortAmong::All(None) => 0.0,
                    SortAmong::All(Some(set)) if set.contains(ordinal) => 0.0,
                    SortAmong::All(Some(_)) => continue,
                    SortAmong::Scored(scores) => match scores.get(&ordinal) {
                        Some(&score) => score,
                        None => continue,
                    },
                };
                if segment.is_alive(doc) {
                    matched += 1;
                    self.offer(doc, WordHit { ordinal, score });
                }
            }
            self.leave()?;
        }
        Ok(matched)
    }

    /// What was found: of wanted groups a list for each, otherwise one list.
    pub fn finish(self) -> (Vec<Vec<SortedHit>>, u64) {
        (self.found, self.lower)
    }
}

impl Sink for Sorter<'_> {
    fn enter(&mut self, segment: &Segment) -> Result<()> {
        let keys = self.query.keys.iter();
        let keys = keys
            .map(|key| Ok((key.clone(), Ranks::of_key(key, self.columns, segment)?)))
            .collect::<Result<Vec<_>>>()?;
        let id = Ranks::strings(segment, ID, FieldType::Keyword)?;
        let group = match self.query.collapse {
            Some(field) => Some(Ranks::of_field(field, self.columns, segment)?),
            None => None,
        };
        let kept = match (&group, self.within) {
            (Some(group), Some((groups, _))) => Kept::Within {
                wanted: groups
                    .iter()
                    .enumerate()
                    .filter_map(|(i, value)| Some((group.exactly(value).transpose()?, i)))
                    .map(|(rank, i)| Ok((rank?, i)))
                    .collect::<Result<_>>()?,
                heaps: groups.iter().map(|_| BinaryHeap::new()).collect(),
            },
            (Some(_), None) => Kept::Groups {
                best: HashMap::new(),
                places: BTreeMap::new(),
            },
            (None, _) => Kept::Best(BinaryHeap::new()),
        };
        let mut current = Current {
            keys,
            id,
            group,
            after: None,
            kept,
        };
        if let Some(after) = self.query.after {
            current.after = Some(current.place_of(after)?);
        }
        self.current = Some(current);
        Ok(())
    }

    fn offer(&mut self, doc: DocId, hit: WordHit) {
        if self.query.least.is_some_and(|least| hit.score < least) {
            self.lower += 1;
            return;
        }
        let depth = self.within.map_or(self.query.depth, |(_, most)| most);
        if let Some(current) = &mut self.current {
            current.offer(doc, hit, depth);
        }
    }

    fn leave(&mut self) -> Result<()> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        let depth = self.within.map_or(self.query.depth, |(_, most)| most);
        let lists: Vec<Vec<Entry>> = match std::mem::take(&mut current.kept) {
            Kept::Best(heap) => vec![heap.into_vec()],
            Kept::Groups { best, .. } => vec![best.into_values().collect()],
            Kept::Within { heaps, .. } => heaps.into_iter().map(BinaryHeap::into_vec).collect(),
        };
        for (found, list) in self.found.iter_mut().zip(lists) {
            for entry in list {
                found.push(current.read(&entry)?);
            }
            found.sort_by(|a, b| compare(self.query.keys, &a.place, &b.place));
            if self.query.collapse.is_some() && self.within.is_none() {
                // Each segment has its own first member of a group.
                let mut seen = HashSet::new();
                found.retain(|hit| match &hit.group {
                    Some(value) => seen.insert(value.to_string()),
                    None => true,
                });
            }
            found.truncate(depth);
        }
        Ok(())
    }
}

/// Order of two places.
pub fn compare(keys: &[SortKey], a: &SortPlace, b: &SortPlace) -> Ordering {
    let values = a.values.iter().zip(&b.values);
    keys.iter()
        .zip(values)
        .map(|(key, (a, b))| match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) if key.missing_first => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) if key.missing_first => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) if key.descending => order(b, a),
            (Some(a), Some(b)) => order(a, b),
        })
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.id.cmp(&b.id))
}

/// Order of two values of one field.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) | (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (a, b) => a.as_str().cmp(&b.as_str()),
    }
}

/// A place in one segment: a number for each key, and one for the id. Smaller comes first.
type Place = [u128; MAX_SORT_KEYS + 1];

/// A document of the current segment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    place: Place,
    doc: DocId,
    ordinal: u32,
    score: f32,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What belongs together: the documents of one value, or one document without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Of(u64),
    Alone(DocId),
}

/// What is kept of the current segment; the last of each heap is on its top.
enum Kept {
    Best(BinaryHeap<Entry>),
    /// The first of each of the first groups.
    Groups {
        best: HashMap<Group, Entry>,
        places: BTreeMap<Place, Group>,
    },
    Within {
        wanted: HashMap<u64, usize>,
        heaps: Vec<BinaryHeap<Entry>>,
    },
}

impl Default for Kept {
    fn default() -> Self {
        Kept::Best(BinaryHeap::new())
    }
}

impl Kept {
    /// The last place that is kept, where there is room for no more.
    fn bound(&self, depth: usize) -> Option<Place> {
        match self {
            Kept::Best(heap) if heap.len() >= depth => heap.peek().map(|last| last.place),
            Kept::Groups { places, .. } if places.len() >= depth => {
                places.last_key_value().map(|(last, _)| *last)
            }
            _ => None,
        }
    }
}

/// The segment at hand.
struct Current {
    keys: Vec<(SortKey, Ranks)>,
    id: Ranks,
    group: Option<Ranks>,
    after: Option<Place>,
    kept: Kept,
}

impl Current {
    fn offer(&mut self, doc: DocId, hit: WordHit, depth: usize) {
        // Most documents come after all that is kept, and their first key says so.
        let bound = self.kept.bound(depth);
        let mut undecided = bound.is_some();
        let mut place = Place::default();
        let slots = place.iter_mut().zip(bound.unwrap_or_default());
        for ((slot, bound), (key, ranks)) in slots.zip(&self.keys) {
            *slot = self::slot(key, ranks.rank(doc, key.descending, hit.score));
            if undecided {
                match (*slot).cmp(&bound) {
                    Ordering::Greater => return,
                    Ordering::Less => undecided = false,
                    Ordering::Equal => {}
                }
            }
        }
        if let Some(last) = place.get_mut(self.keys.len()) {
            *last = u128::from(self.id.rank(doc, false, 0.0).unwrap_or(u64::MAX));
        }
        if self.after.is_some_and(|after| place <= after) {
            return;
        }
        let entry = Entry {
            place,
            doc,
            ordinal: hit.ordinal,
            score: hit.score,
        };
        let group = self.group.as_ref().map(|ranks| {
            let value = ranks.rank(doc, false, 0.0);
            value.map_or(Group::Alone(doc), Group::Of)
        });
        match (&mut self.kept, group) {
            (Kept::Best(heap), _) => push(heap, entry, depth),
            (Kept::Groups { best, places }, Some(group)) => {
                push_group(best, places, group, entry, depth);
            }
            (Kept::Within { wanted, heaps }, Some(Group::Of(value))) => {
                if let Some(heap) = wanted.get(&value).and_then(|&i| heaps.get_mut(i)) {
                    push(heap, entry, depth);
                }
            }
            (Kept::Within { .. } | Kept::Groups { .. }, _) => {}
        }
    }

    /// The place in this segment where a document of another one would stand.
    fn place_of(&self, after: &SortPlace) -> Result<Place> {
        let mut place = Place::default();
        let keys = self.keys.iter().zip(&after.values);
        for (at, ((key, ranks), value)) in place.iter_mut().zip(keys) {
            let rank = match value {
                Some(value) => Some(ranks.nearest(value)?),
                None => None,
            };
            *at = slot(key, rank);
        }
        if let Some(last) = place.get_mut(self.keys.len()) {
            let id = Value::Keyword(after.id.clone());
            *last = u128::from(self.id.nearest(&id)?);
        }
        Ok(place)
    }

    fn read(&self, entry: &Entry) -> Result<SortedHit> {
        let values = self.keys.iter();
        let values = values
            .map(|(key, ranks)| {
                let rank = ranks.rank(entry.doc, key.descending, entry.score);
                match (ranks, rank) {
                    (Ranks::Score, _) => Ok(Some(Value::Float(f64::from(entry.score) + 0.0))),
                    (_, Some(rank)) => ranks.value(rank).map(Some),
                    (_, None) => Ok(None),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let id = match self.id.rank(entry.doc, false, 0.0) {
            Some(rank) => self.id.value(rank)?,
            None => return Err(Error::operator("a document of the word index has no id")
                .advice("delete the folder `words` of the index while nothing serves it; it is made again")),
        };
        let group = match &self.group {
            Some(ranks) => match ranks.rank(entry.doc, false, 0.0) {
                Some(rank) => Some(ranks.value(rank)?),
                None => None,
            },
            None => None,
        };
        Ok(SortedHit {
            ordinal: entry.ordinal,
            score: entry.score,
            place: SortPlace {
                values,
                id: id.to_string(),
            },
            group,
        })
    }
}

fn push(heap: &mut BinaryHeap<Entry>, entry: Entry, depth: usize) {
    if heap.len() < depth {
        heap.push(entry);
    } else if let Some(mut last) = heap.peek_mut()
        && entry < *last
    {
        *last = entry;
    }
}

/// Keeps the first document of each of the first `depth` groups. A group that is given up
/// comes back if a better document of it does, so one pass is enough.
fn push_group(
    best: &mut HashMap<Group, Entry>,
    places: &mut BTreeMap<Place, Group>,
    group: Group,
    entry: Entry,
    depth: usize,
) {
    if let Some(known) = best.get_mut(&group) {
        if entry < *known {
            places.remove(&known.place);
            places.insert(entry.place, group);
            *known = entry;
        }
        return;
    }
    if best.len() >= depth {
        match places.last_key_value() {
            Some((last, _)) if entry.place < *last => {
                if let Some((_, given_up)) = places.pop_last() {
                    best.remove(&given_up);
                }
            }
            _ => return,
        }
    }
    places.insert(entry.place, group);
    best.insert(group, entry);
}

/// A key's number in a place.
fn slot(key: &SortKey, rank: Option<u64>) -> u128 {
    let late = u128::from(rank.is_none() != key.missing_first);
    let rank = rank.map_or(0, |rank| if key.descending { !rank } else { rank });
    late << 64 | u128::from(rank)
}

/// Numbers in the order of a field's values in one segment.
enum Ranks {
    Score,
    /// No document of the segment has a value.
    Absent(FieldType),
    Numbers(Column<u64>, FieldType),
    /// Places in the dictionary: odd numbers, so that there is room between.
    Strings(StrColumn),
}

impl Ranks {
    fn of_key(key: &SortKey, columns: &Columns, segment: &Segment) -> Result<Ranks> {
        match &key.by {
            SortBy::Score => Ok(Ranks::Score),
            SortBy::Id => Ranks::strings(segment, ID, FieldType::Keyword),
            SortBy::Field(field) => Ranks::of_field(field, columns, segment),
        }
    }

    fn of_field(field: &str, columns: &Columns, segment: &Segment) -> Result<Ranks> {
        let Some(column) = columns.defined.get(field) else {
            return Err(Error::Bug(format!(
                "an order by an unknown field {field:?}"
            )));
        };
        let kind = column.definition.kind;
        let fast = segment.reader.fast_fields();
        let numbers = match kind {
            FieldType::Keyword => return Ranks::strings(segment, &column.name, kind),
            FieldType::Integer | FieldType::Date => fast
                .column_opt::<i64>(&column.name)
                .map_err(fault)?
                .map(Column::to_u64_monotonic),
            FieldType::Float => fast
                .column_opt::<f64>(&column.name)
                .map_err(fault)?
                .map(Column::to_u64_monotonic),
            FieldType::Boolean => fast
                .column_opt::<bool>(&column.name)
                .map_err(fault)?
                .map(Column::to_u64_monotonic),
            FieldType::Text => {
                return Err(Error::Bug(format!("an order by the text field {field:?}")));
            }
        };
        Ok(numbers.map_or(Ranks::Absent(kind), |column| Ranks::Numbers(column, kind)))
    }

    fn strings(segment: &Segment, name: &str, kind: FieldType) -> Result<Ranks> {
        let strings = segment.reader.fast_fields().str(name).map_err(fault)?;
        Ok(strings.map_or(Ranks::Absent(kind), Ranks::Strings))
    }

    /// The number of a document's value; of several, the one that comes first.
    #[inline]
    fn rank(&self, doc: DocId, descending: bool, score: f32) -> Option<u64> {
        let first = |column: &Column<u64>| {
            let values = column.values_for_doc(doc);
            if descending {
                values.max()
            } else {
                values.min()
            }
        };
        match self {
            Ranks::Score => Some(f64_to_u64(f64::from(score) + 0.0)),
            Ranks::Absent(_) => None,
            Ranks::Numbers(column, _) => first(column),
            Ranks::Strings(column) => first(column.ords()).map(|place| 2 * place + 1),
        }
    }

    /// The number of a value that may be in another segment only: then it lies between the
    /// numbers of those before and after it.
    fn nearest(&self, value: &Value) -> Result<u64> {
        Ok(match (self, value) {
            (Ranks::Strings(column), value) => {
                let dictionary = column.dictionary();
                let text = value.as_str().unwrap_or_default();
                match dictionary
                    .term_ord_or_next(text)
                    .map_err(|e| fault(e.into()))?
                {
                    TermOrdHit::Exact(place) => 2 * place + 1,
                    TermOrdHit::Next(place) => 2 * place.min(dictionary.num_terms() as u64),
                }
            }
            // Where nothing has a value it only matters that this one has.
            (Ranks::Absent(_), _) => 0,
            (_, Value::Integer(value) | Value::Date(value)) => i64_to_u64(*value),
            (_, Value::Float(value)) => f64_to_u64(*value),
            (_, Value::Boolean(value)) => u64::from(*value),
            (_, Value::Text(_) | Value::Keyword(_)) => {
                return Err(Error::Bug("a string in an order of numbers".into()));
            }
        })
    }

    /// The number of a value, if a document of the segment may have it.
    fn exactly(&self, value: &Value) -> Result<Option<u64>> {
        match self {
            Ranks::Absent(_) | Ranks::Score => Ok(None),
            Ranks::Numbers(..) => self.nearest(value).map(Some),
            Ranks::Strings(column) => {
                let text = value.as_str().unwrap_or_default();
                let place = column.dictionary().term_ord(text);
                Ok(place
                    .map_err(|e| fault(e.into()))?
                    .map(|place| 2 * place + 1))
            }
        }
    }

    /// The value that a number stands for.
    fn value(&self, rank: u64) -> Result<Value> {
        Ok(match self {
            Ranks::Strings(column) => {
                let mut text = String::new();
                let known = column.ord_to_str(rank / 2, &mut text);
                if !known.map_err(|e| fault(e.into()))? {
                    return Err(Error::Bug(format!("a dictionary without its place {rank}")));
                }
                Value::Keyword(text)
            }
            Ranks::Score => Value::Float(u64_to_f64(rank)),
            Ranks::Numbers(_, kind) | Ranks::Absent(kind) => match kind {
                FieldType::Date => Value::Date(u64_to_i64(rank)),
                FieldType::Float => Value::Float(u64_to_f64(rank)),
                FieldType::Boolean => Value::Boolean(rank != 0),
                _ => Value::Integer(u64_to_i64(rank)),
            },
        })
    }
}

/// The values that documents have in a field that holds one.
pub(super) fn values(view: &View, field: &str, among: &OrdinalSet) -> Result<HashMap<u32, Value>> {
    let mut all = HashMap::new();
    for segment in &view.segments {
        let ranks = Ranks::of_field(field, &view.columns, segment)?;
        for (doc, &ordinal) in (0..).zip(segment.ordinals.iter()) {
            if among.contains(ordinal)
                && segment.is_alive(doc)
                && let Some(rank) = ranks.rank(doc, false, 0.0)
            {
                all.insert(ordinal, ranks.value(rank)?);
            }
        }
    }
    Ok(all)
}
