//! What is measured of a question beside each column and each table of a database.

use super::schema::{ColumnFacts, Kind, Named, SchemaIndex};
use super::words::{Text, Vocabulary};

/// What a question says, encoded.
pub(crate) struct Asked {
    pub question: Text,
    pub evidence: Text,
    /// Of question and evidence together, and of the question alone.
    pub whole: Vec<f32>,
    pub alone: Vec<f32>,
}

/// Features of columns and of tables, row by row in the order of the [`SchemaIndex`].
pub(crate) struct Features {
    pub columns: Vec<[f32; COLUMN]>,
    pub tables: Vec<[f32; TABLE]>,
}

macro_rules! named {
    ($(#[$doc:meta])* $names:ident, $count:ident, $kind:ident { $($field:ident),* $(,)? }) => {
        /// The features, each once.
        #[derive(Clone, Copy, Default)]
        struct $kind { $(pub $field: f32),* }
        $(#[$doc])*
        pub(crate) const $names: &[&str] = &[$(stringify!($field)),*];
        pub(crate) const $count: usize = $names.len();
        impl $kind {
            pub(crate) fn row(&self) -> [f32; $count] { [$(self.$field),*] }
        }
    };
}

named! {
    /// Features of a table: its name against the question and the evidence, its vectors, the
    /// best of its columns, its neighbours', and its place among the tables.
    TABLE_FEATURES, TABLE, TableRow {
        name_question, name_evidence, near_question, near_evidence, phrase_question,
        phrase_evidence, raw_question, raw_evidence, described_question,
        text_whole, text_alone, text_gap, text_rank,
        best_words, best_text, best_name, mean_words, mean_text, named_columns, quoted_columns,
        words_gap, best_text_gap, words_rank, best_text_rank,
        neighbour_words, neighbour_text, neighbour_name, neighbours, columns, tables, all_columns,
    }
}

named! {
    /// Features of a column; those of its table follow.
    COLUMN_ONLY, COLUMN_OWN, ColumnRow {
        name_question, name_evidence, near_question, near_evidence, best_word, phrase_question,
        phrase_evidence, raw_question, raw_evidence, described_question, described_evidence,
        value_question, value_evidence,
        text_whole, text_alone, name_whole, name_alone,
        words, words_gap, words_rank, words_table_gap, words_table_rank,
        text_gap, text_rank, text_table_gap, text_table_rank,
        name_gap, name_rank, name_table_gap, name_table_rank,
        is_text, is_number, is_time, is_id, is_name, primary, refers, referred,
        other_side_words, other_side_text, other_side_name,
        namesakes, namesake_tables, words_in_name,
        question_words, evidence_words, asks_number, asks_time, asks_name, asks_count,
    }
}

pub(crate) const COLUMN: usize = COLUMN_OWN + TABLE;

/// Names of a column's features.
pub(crate) fn column_features() -> Vec<String> {
    let own = COLUMN_ONLY.iter().map(ToString::to_string);
    let table = TABLE_FEATURES.iter().map(|name| format!("table_{name}"));
    own.chain(table).collect()
}

/// A name against the texts.
#[derive(Clone, Copy, Default)]
struct Met {
    question: f32,
    evidence: f32,
    near_question: f32,
    near_evidence: f32,
    best: f32,
    phrase_question: f32,
    phrase_evidence: f32,
    raw_question: f32,
    raw_evidence: f32,
    described_question: f32,
    described_evidence: f32,
}

struct Words<'a> {
    vocabulary: &'a Vocabulary,
    asked: &'a Asked,
    question: Vec<f32>,
    evidence: Vec<f32>,
    /// The most that a description could have of each.
    all_question: f32,
    all_evidence: f32,
}

impl<'a> Words<'a> {
    fn new(vocabulary: &'a Vocabulary, asked: &'a Asked) -> Words<'a> {
        let question = vocabulary.met(&asked.question);
        let evidence = vocabulary.met(&asked.evidence);
        let all = |met: &[f32]| -> f32 {
            let whole = met.iter().enumerate().filter(|(_, met)| **met == 1.0);
            let rarities = whole.map(|(id, _)| vocabulary.rarity_described(id as u32));
            rarities.sum::<f32>().max(1.0)
        };
        Words {
            all_question: all(&question),
            all_evidence: all(&evidence),
            vocabulary,
            asked,
            question,
            evidence,
        }
    }

    fn met(&self, named: &Named) -> Met {
        let mut met = Met::default();
        let mut all = 0f32;
        for id in &named.words {
            let rarity = self.vocabulary.rarity(*id);
            let (q, e) = (self.question[*id as usize], self.evidence[*id as usize]);
            all += rarity;
            met.near_question += rarity * q;
            met.near_evidence += rarity * e;
            met.question += if q == 1.0 { rarity } else { 0.0 };
            met.evidence += if e == 1.0 { rarity } else { 0.0 };
            met.best = met.best.max(q).max(e);
        }
        let all = all.max(f32::MIN_POSITIVE);
        for sum in [
            &mut met.near_question,
            &mut met.near_evidence,
            &mut met.question,
            &mut met.evidence,
        ] {
            *sum /= all;
        }
        for id in &named.described {
            let rarity = self.vocabulary.rarity_described(*id);
            if self.question[*id as usize] == 1.0 {
                met.described_question += rarity;
            }
            if self.evidence[*id as usize] == 1.0 {
                met.described_evidence += rarity;
            }
        }
        met.described_question /= self.all_question;
        met.described_evidence /= self.all_evidence;
        let asked = self.asked;
        met.phrase_question = yes(asked.question.has_phrase(&named.phrases));
        met.phrase_evidence = yes(asked.evidence.has_phrase(&named.phrases));
        met.raw_question = yes(asked.question.has(&named.raw));
        met.raw_evidence = yes(asked.evidence.has(&named.raw));
        met
    }
}

impl Met {
    /// One figure for all, by which columns are ranked by their words.
    fn words(&self) -> f32 {
        self.question.max(self.evidence)
            + 0.5 * self.near_question.max(self.near_evidence)
            + 0.5 * self.phrase_question.max(self.phrase_evidence)
            + self.raw_evidence
            + 0.3 * (self.described_question + self.described_evidence)
    }
}

/// A figure of each column or table against the best one's, and its rank.
struct Placed {
    gaps: Vec<f32>,
    ranks: Vec<f32>,
}

/// Ranks count the better ones alone, so that equal ones rank alike whatever their order; as
/// logarithms of one more.
fn placed(figures: &[f32]) -> Placed {
    let mut sorted = figures.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let best = sorted.first().copied().unwrap_or(0.0);
    Placed {
        gaps: figures.iter().map(|figure| figure - best).collect(),
        ranks: figures
            .iter()
            .map(|figure| (1.0 + sorted.partition_point(|other| other > figure) as f32).ln())
            .collect(),
    }
}

/// Measures a question against a database.
pub(crate) fn features(index: &SchemaIndex, asked: &Asked) -> Features {
    let words = Words::new(&index.vocabulary, asked);
    let met: Vec<Met> = index.columns.iter().map(|c| words.met(&c.named)).collect();
    let own: Vec<f32> = met.iter().map(Met::words).collect();
    let all = 0..index.columns.len();
    let dots = |rows: &super::schema::Rows, query: &[f32], count: usize| -> Vec<f32> {
        match rows.dimensions {
            0 => vec![0.0; count],
            _ => (0..count).map(|row| rows.dot(row, query)).collect(),
        }
    };
    let count = all.len();
    let text_whole = dots(&index.column_texts, &asked.whole, count);
    let text_alone = dots(&index.column_texts, &asked.alone, count);
    let name_whole = dots(&index.column_names, &asked.whole, count);
    let name_alone = dots(&index.column_names, &asked.alone, count);
    let values: Vec<(f32, f32)> = index
        .columns
        .iter()
        .map(|column| values(&column.named, asked))
        .collect();

    let tables = table_rows(
        index,
        &words,
        &TableInputs {
            words: &own,
            text: &text_whole,
            name: &name_whole,
            values: &values,
            alone: dots(&index.table_texts, &asked.alone, index.tables.len()),
            whole: dots(&index.table_texts, &asked.whole, index.tables.len()),
            met: &met,
        },
    );

    let (by_words, by_text, by_name) = (placed(&own), placed(&text_whole), placed(&name_whole));
    let within = |figures: &[f32]| -> Vec<Placed> {
        let tables = index.tables.iter();
        tables
            .map(|table| placed(&figures[table.columns.clone()]))
            .collect()
    };
    let (words_in, text_in, name_in) = (within(&own), within(&text_whole), within(&name_whole));
    let namesake_tables = index.best_namesakes(|n| tables[index.columns[n].table].text_whole, -1.0);
    let asks = Asks::new(&asked.question);
    let columns = all.map(|n| {
        let column = &index.columns[n];
        let (met, table) = (&met[n], column.table);
        let place = n - index.tables[table].columns.start;
        let other_side = |figure: fn(&TableRow) -> f32| {
            let others = column.refers.iter().chain(&column.referred);
            let figures = others.map(|other| figure(&tables[*other]));
            figures.fold(-1.0, f32::max)
        };
        let row = ColumnRow {
            name_question: met.question,
            name_evidence: met.evidence,
            near_question: met.near_question,
            near_evidence: met.near_evidence,
            best_word: met.best,
            phrase_question: met.phrase_question,
            phrase_evidence: met.phrase_evidence,
            raw_question: met.raw_question,
            raw_evidence: met.raw_evidence,
            described_question: met.described_question,
            described_evidence: met.described_evidence,
            value_question: values[n].0,
            value_evidence: values[n].1,
            text_whole: text_whole[n],
            text_alone: text_alone[n],
            name_whole: name_whole[n],
            name_alone: name_alone[n],
            words: own[n],
            words_gap: by_words.gaps[n],
            words_rank: by_words.ranks[n],
            words_table_gap: words_in[table].gaps[place],
            words_table_rank: words_in[table].ranks[place],
            text_gap: by_text.gaps[n],
            text_rank: by_text.ranks[n],
            text_table_gap: text_in[table].gaps[place],
            text_table_rank: text_in[table].ranks[place],
            name_gap: by_name.gaps[n],
            name_rank: by_name.ranks[n],
            name_table_gap: name_in[table].gaps[place],
            name_table_rank: name_in[table].ranks[place],
            is_text: yes(column.kind == Kind::Text),
            is_number: yes(column.kind == Kind::Number),
            is_time: yes(column.kind == Kind::Time),
            is_id: yes(ends_as(column, &["id", "code", "no", "key", "number"])),
            is_name: yes(ends_as(column, &["name", "title"])),
            primary: yes(column.primary),
            refers: yes(!column.refers.is_empty()),
            referred: yes(!column.referred.is_empty()),
            other_side_words: other_side(|row| row.best_words),
            other_side_text: other_side(|row| row.text_whole),
            other_side_name: other_side(|row| row.near_question.max(row.near_evidence)),
            namesakes: index.count_namesakes(n) as f32,
            namesake_tables: namesake_tables[n],
            words_in_name: column.named.words.len() as f32,
            question_words: asked.question.words as f32,
            evidence_words: asked.evidence.words as f32,
            asks_number: asks.number,
            asks_time: asks.time,
            asks_name: asks.name,
            asks_count: asks.count,
        };
        let mut whole = [0.0; COLUMN];
        whole[..COLUMN_OWN].copy_from_slice(&row.row());
        whole[COLUMN_OWN..].copy_from_slice(&tables[table].row());
        whole
    });
    Features {
        columns: columns.collect(),
        tables: tables.iter().map(TableRow::row).collect(),
    }
}

/// What is known of all columns when tables are measured.
struct TableInputs<'a> {
    words: &'a [f32],
    text: &'a [f32],
    name: &'a [f32],
    values: &'a [(f32, f32)],
    met: &'a [Met],
    alone: Vec<f32>,
    whole: Vec<f32>,
}

fn table_rows(index: &SchemaIndex, words: &Words<'_>, inputs: &TableInputs<'_>) -> Vec<TableRow> {
    let best = |figures: &[f32]| figures.iter().copied().fold(0.0, f32::max);
    let first = |figures: &[f32]| {
        let mut sorted = figures.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted.truncate(3);
        sorted.iter().sum::<f32>() / 3.0
    };
    let mut rows: Vec<TableRow> = Vec::new();
    for (n, table) in index.tables.iter().enumerate() {
        let met = words.met(&table.named);
        let inside = table.columns.clone();
        let counted =
            |wanted: &dyn Fn(usize) -> bool| inside.clone().filter(|c| wanted(*c)).count() as f32;
        rows.push(TableRow {
            name_question: met.question,
            name_evidence: met.evidence,
            near_question: met.near_question,
            near_evidence: met.near_evidence,
            phrase_question: met.phrase_question,
            phrase_evidence: met.phrase_evidence,
            raw_question: met.raw_question,
            raw_evidence: met.raw_evidence,
            described_question: met.described_question,
            text_whole: inputs.whole[n],
            text_alone: inputs.alone[n],
            best_words: best(&inputs.words[inside.clone()]),
            best_text: best(&inputs.text[inside.clone()]),
            best_name: best(&inputs.name[inside.clone()]),
            mean_words: first(&inputs.words[inside.clone()]),
            mean_text: first(&inputs.text[inside.clone()]),
            named_columns: counted(&|c| {
                let met = &inputs.met[c];
                met.phrase_question.max(met.phrase_evidence) > 0.0
            }),
            quoted_columns: counted(&|c| {
                inputs.met[c].raw_evidence > 0.0 || inputs.values[c].0 > 0.0
            }),
            neighbours: table.neighbours.len() as f32,
            columns: table.columns.len() as f32,
            tables: index.tables.len() as f32,
            all_columns: index.columns.len() as f32,
            ..TableRow::default()
        });
    }
    let figures = |figure: fn(&TableRow) -> f32| -> Vec<f32> { rows.iter().map(figure).collect() };
    let by_text = placed(&figures(|row| row.text_whole));
    let by_words = placed(&figures(|row| row.best_words));
    let by_best = placed(&figures(|row| row.best_text));
    let own = rows.clone();
    for (n, row) in rows.iter_mut().enumerate() {
        (row.text_gap, row.text_rank) = (by_text.gaps[n], by_text.ranks[n]);
        (row.words_gap, row.words_rank) = (by_words.gaps[n], by_words.ranks[n]);
        (row.best_text_gap, row.best_text_rank) = (by_best.gaps[n], by_best.ranks[n]);
        let beside = |figure: fn(&TableRow) -> f32| {
            let neighbours = index.tables[n].neighbours.iter();
            neighbours
                .map(|other| figure(&own[*other]))
                .fold(-1.0, f32::max)
        };
        row.neighbour_words = beside(|row| row.best_words);
        row.neighbour_text = beside(|row| row.text_whole);
        row.neighbour_name = beside(|row| row.near_question.max(row.near_evidence));
    }
    rows
}

/// Length of the longest value that stands in the question and in the evidence, in words.
fn values(named: &Named, asked: &Asked) -> (f32, f32) {
    let longest = |text: &Text| {
        let found = named.values.iter().filter(|value| text.has(value));
        let words = found.map(|value| value.split_whitespace().count() as f32);
        words.fold(0.0, f32::max)
    };
    (longest(&asked.question), longest(&asked.evidence))
}

fn ends_as(column: &ColumnFacts, endings: &[&str]) -> bool {
    endings
        .iter()
        .any(|ending| column.named.raw.ends_with(ending))
}

/// What kind of thing a question asks for, by its words.
struct Asks {
    number: f32,
    time: f32,
    name: f32,
    count: f32,
}

impl Asks {
    fn new(question: &Text) -> Asks {
        let any = |words: &[&str]| yes(words.iter().any(|word| question.has(word)));
        Asks {
            number: any(&[
                "average",
                "total",
                "sum",
                "maximum",
                "minimum",
                "highest",
                "lowest",
                "more than",
                "less than",
                "most",
                "least",
                "percentage",
                "ratio",
                "mean",
                "greater than",
            ]),
            time: any(&[
                "when", "year", "years", "date", "month", "day", "before", "after", "latest",
                "earliest", "recent", "oldest", "youngest",
            ]),
            name: any(&[
                "who", "whose", "name", "names", "title", "titles", "list", "which",
            ]),
            count: any(&["how many", "number of", "count"]),
        }
    }
}

fn yes(holds: bool) -> f32 {
    if holds { 1.0 } else { 0.0 }
}
