//! The tantivy schema of an index's fields, and documents in its terms.

use indexmap::IndexMap;
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{RAW_TOKENIZER_NAME, TextAnalyzer};
use tantivy::{Index, TantivyDocument, Term};

use super::analysis;
use crate::document::{Document, FieldDefinition, FieldType, Fields, Value};

/// Name of the fast field with the ordinal.
pub(super) const ORDINAL: &str = "_ordinal";
/// Name of the field with the id, by which equals are ordered.
pub(super) const ID: &str = "_id";
const PRESENT: &str = "_present";

/// A defined field and what tantivy calls it.
#[derive(Clone)]
pub(super) struct Column {
    pub field: Field,
    /// Name in tantivy, for its fast field.
    pub name: String,
    pub definition: FieldDefinition,
    /// Chain of a text field; for other types it does nothing.
    pub analyzer: TextAnalyzer,
}

/// Fields of an index, ours and the defined ones.
#[derive(Clone)]
pub(super) struct Columns {
    pub schema: Schema,
    pub ordinal: Field,
    pub id: Field,
    /// Holds the names of the fields a document has.
    pub present: Field,
    pub defined: IndexMap<String, Column>,
}

impl Columns {
    /// The schema for these fields. It depends on names, types and analyses, not on
    /// weights, so those can change without a rebuild.
    pub fn new(fields: &Fields) -> Columns {
        let mut builder = Schema::builder();
        let raw = |fast: bool| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(RAW_TOKENIZER_NAME)
                .set_fieldnorms(false)
                .set_index_option(IndexRecordOption::Basic);
            let options = TextOptions::default().set_indexing_options(indexing);
            if fast {
                options.set_fast(RAW_TOKENIZER_NAME)
            } else {
                options
            }
        };
        let number = || NumericOptions::default().set_indexed().set_fast();
        let ordinal = builder.add_u64_field(ORDINAL, number());
        let id = builder.add_text_field(ID, raw(true));
        let present = builder.add_text_field(PRESENT, raw(false));
        let defined = fields
            .iter()
            .map(|(name, definition)| {
                let inner = inner_name(name);
                let field = match definition.kind {
                    FieldType::Text => {
                        let indexing = TextFieldIndexing::default()
                            .set_tokenizer(&analysis::tokenizer_name(&definition.analysis))
                            .set_fieldnorms(true)
                            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
                        let options = TextOptions::default().set_indexing_options(indexing);
                        builder.add_text_field(&inner, options)
                    }
                    FieldType::Keyword => builder.add_text_field(&inner, raw(true)),
                    // Dates as microseconds: tantivy's own date terms are cut to seconds.
                    FieldType::Integer | FieldType::Date => builder.add_i64_field(&inner, number()),
                    FieldType::Float => builder.add_f64_field(&inner, number()),
                    FieldType::Boolean => builder.add_bool_field(&inner, number()),
                };
                let column = Column {
                    field,
                    name: inner,
                    definition: definition.clone(),
                    analyzer: match definition.kind {
                        FieldType::Text => analysis::analyzer(&definition.analysis),
                        _ => TextAnalyzer::default(),
                    },
                };
                (name.clone(), column)
            })
            .collect();
        Columns {
            schema: builder.build(),
            ordinal,
            id,
            present,
            defined,
        }
    }

    /// Makes the analyses known to an index of this schema.
    pub fn register(&self, index: &Index) {
        for column in self.defined.values() {
            if column.definition.kind == FieldType::Text {
                index.tokenizers().register(
                    &analysis::tokenizer_name(&column.definition.analysis),
                    column.analyzer.clone(),
                );
            }
        }
    }

    /// The term that finds a document by its ordinal.
    pub fn ordinal_term(&self, ordinal: u32) -> Term {
        Term::from_field_u64(self.ordinal, u64::from(ordinal))
    }

    /// A document as tantivy takes it. Values of undefined fields, or of another type
    /// than defined, are left out.
    pub fn document(&self, ordinal: u32, document: &Document) -> TantivyDocument {
        let mut out = TantivyDocument::new();
        out.add_u64(self.ordinal, u64::from(ordinal));
        out.add_text(self.id, &document.id);
        for (name, values) in &document.values {
            let Some(column) = self.defined.get(name) else {
                continue;
            };
            out.add_text(self.present, name);
            for value in values {
                match value {
                    Value::Text(s) | Value::Keyword(s) => out.add_text(column.field, s),
                    Value::Integer(i) | Value::Date(i) => out.add_i64(column.field, *i),
                    Value::Float(x) => out.add_f64(column.field, x + 0.0),
                    Value::Boolean(b) => out.add_bool(column.field, *b),
                }
            }
        }
        out
    }
}

impl Column {
    /// The term of an exact value; None if the value is not of the column's type.
    pub fn term(&self, value: &Value) -> Option<Term> {
        if value.kind() != self.definition.kind {
            return None;
        }
        Some(match value {
            Value::Text(s) | Value::Keyword(s) => Term::from_field_text(self.field, s),
            Value::Integer(i) | Value::Date(i) => Term::from_field_i64(self.field, *i),
            Value::Float(x) => Term::from_field_f64(self.field, x + 0.0),
            Value::Boolean(b) => Term::from_field_bool(self.field, *b),
        })
    }
}

/// A field's name in tantivy, which gives points and slashes a meaning of its own:
/// letters and digits stay, everything else becomes its bytes in hexadecimal.
fn inner_name(name: &str) -> String {
    let mut inner = String::from("f_");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            inner.push(byte as char);
        } else {
            inner.push_str(&format!("_{byte:02x}"));
        }
    }
    inner
}
