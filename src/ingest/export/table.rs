//! Documents into columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, FixedSizeListArray, Float32Array, Float64Builder, Int64Builder,
    ListArray, RecordBatch, StringBuilder, StructArray, TimestampMicrosecondBuilder, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields as ArrowFields, Schema, TimeUnit};
use serde_json::{Map, Value as Json};

use super::{Manifest, arrow_bug, own_names};
use crate::document::{FieldDefinition, FieldType, Value};
use crate::error::{Error, Result};
use crate::index::Stored;
use crate::ingest::readers::date_json;
use crate::store::StoredVectors;

/// Most documents in a batch of columns, and most bytes of them, about.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// Documents on their way into columns.
pub(super) struct Table {
    schema: Arc<Schema>,
    id: StringBuilder,
    id_field: String,
    columns: Vec<Column>,
    /// The columns in the order of the file, each by its place here: 0 is the id, then come
    /// the fields of the definition.
    order: Vec<usize>,
    rest: StringBuilder,
    vectors: Option<Vectors>,
    /// The name of the column of vectors.
    passages: String,
    rows: usize,
    bytes: usize,
}

impl Table {
    pub(super) fn new(manifest: &Manifest, usual_order: &[String]) -> Table {
        let definition = &manifest.definition;
        let [rest, passages] = own_names(definition);
        let columns: Vec<Column> = definition
            .fields
            .iter()
            .map(|(name, field)| Column::new(name, field))
            .collect();
        let mut all = vec![Field::new(&definition.id_field, DataType::Utf8, false)];
        let typed = columns
            .iter()
            .map(|c| Field::new(&c.name, c.data_type(), true));
        all.extend(typed);
        let mut order: Vec<usize> = (0..all.len()).collect();
        let place = |&i: &usize| usual_order.iter().position(|name| name == all[i].name());
        // Those that it does not have come last, the id before all others.
        order.sort_by_key(|i| place(i).unwrap_or(if *i == 0 { 0 } else { usize::MAX }));
        let mut fields: Vec<Field> = order.iter().map(|&i| all[i].clone()).collect();
        fields.push(Field::new(rest, DataType::Utf8, true));
        let vectors = definition
            .embedding
            .is_some()
            .then(|| Vectors::new(manifest.dimensions));
        if let Some(vectors) = &vectors {
            fields.push(Field::new(&passages, vectors.data_type(), true));
        }
        Table {
            schema: Arc::new(Schema::new(fields)),
            id: StringBuilder::new(),
            id_field: definition.id_field.clone(),
            columns,
            order,
            rest: StringBuilder::new(),
            vectors,
            passages,
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The name of the column of vectors, whether it is there or not.
    pub(super) fn passages(&self) -> &str {
        &self.passages
    }

    pub(super) fn has_vectors(&self) -> bool {
        self.vectors.is_some()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= BATCH || self.bytes >= BATCH_BYTES
    }

    pub(super) fn push(&mut self, stored: Stored) -> Result<()> {
        let source = parse(&stored.source)?;
        self.rows += 1;
        self.bytes += 2 * stored.source.len();
        self.id.append_value(&stored.id);
        // The members whose columns say them exactly.
        let id = source.get(&self.id_field).and_then(Json::as_str);
        let mut exact = vec![(id == Some(&stored.id)).then_some(self.id_field.as_str())];
        for column in &mut self.columns {
            let says = column.push(source.get(&column.name));
            exact.push(says.then_some(column.name.as_str()));
        }
        let exact: Vec<&str> = self.order.iter().filter_map(|&i| exact[i]).collect();
        let plain = exact.iter().eq(source.keys());
        if plain {
            self.rest.append_null();
        } else {
            let members: Vec<Json> = source
                .iter()
                .map(|(name, value)| match exact.contains(&name.as_str()) {
                    true => Json::from(name.as_str()),
                    false => Json::from(vec![Json::from(name.as_str()), value.clone()]),
                })
                .collect();
            self.rest.append_value(Json::from(members).to_string());
        }
        if let Some(vectors) = &mut self.vectors {
            self.bytes += stored.vectors.as_ref().map_or(0, |v| v.vectors.len() * 4);
            vectors.push(stored.vectors)?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        let mut all: Vec<ArrayRef> = vec![Arc::new(self.id.finish())];
        for column in &mut self.columns {
            all.push(column.take()?);
        }
        let mut arrays: Vec<ArrayRef> = self.order.iter().map(|&i| all[i].clone()).collect();
        arrays.push(Arc::new(self.rest.finish()));
        if let Some(vectors) = &mut self.vectors {
            arrays.push(vectors.take()?);
        }
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(arrow_bug)
    }
}

pub(super) fn parse(source: &[u8]) -> Result<Map<String, Json>> {
    serde_json::from_slice(source)
        .map_err(|e| Error::operator_from("a stored document cannot be read", e))
}

/// One field's values.
struct Column {
    name: String,
    kind: FieldType,
    many: bool,
    values: Values,
    /// Of each row how many values, where it may have many; None for a row without.
    lengths: Vec<Option<usize>>,
}

enum Values {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Date(TimestampMicrosecondBuilder),
    Boolean(BooleanBuilder),
}

impl Column {
    fn new(name: &str, field: &FieldDefinition) -> Column {
        Column {
            name: name.into(),
            kind: field.kind,
            many: field.many,
            values: match field.kind {
                FieldType::Text | FieldType::Keyword => Values::Text(StringBuilder::new()),
                FieldType::Integer => Values::Integer(Int64Builder::new()),
                FieldType::Float => Values::Float(Float64Builder::new()),
                FieldType::Date => {
                    Values::Date(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
                }
                FieldType::Boolean => Values::Boolean(BooleanBuilder::new()),
            },
            lengths: Vec::new(),
        }
    }

    fn item_type(&self) -> DataType {
        match self.kind {
            FieldType::Text | FieldType::Keyword => DataType::Utf8,
            FieldType::Integer => DataType::Int64,
            FieldType::Float => DataType::Float64,
            FieldType::Date => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            FieldType::Boolean => DataType::Boolean,
        }
    }

    fn data_type(&self) -> DataType {
        match self.many {
            true => DataType::List(Arc::new(Field::new("item", self.item_type(), false))),
            false => self.item_type(),
        }
    }

    /// Adds a row; whether its column says exactly what the document does.
    fn push(&mut self, json: Option<&Json>) -> bool {
        let items: Option<&[Json]> = match json {
            None | Some(Json::Null) => None,
            Some(Json::Array(items)) if self.many => Some(items),
            Some(single) => Some(std::slice::from_ref(single)),
        };
        let typed: Option<Vec<Value>> = items.and_then(|items| {
            let typed = items.iter().map(|json| Value::from_json(self.kind, json));
            // What does not fit its field is in the rest alone.
            typed.collect::<Result<_, _>>().ok()
        });
        if self.many {
            self.lengths.push(typed.as_ref().map(Vec::len));
        } else if typed.is_none() {
            self.values.append_null();
        }
        let (Some(items), Some(typed)) = (items, typed) else {
            return false;
        };
        let mut exact = self.many == matches!(json, Some(Json::Array(_)));
        for (item, value) in items.iter().zip(typed) {
            exact &= back(&value).as_ref() == Some(item);
            self.values.append(value);
        }
        exact
    }

    fn take(&mut self) -> Result<ArrayRef> {
        let values = self.values.finish();
        if !self.many {
            return Ok(values);
        }
        let item = Arc::new(Field::new("item", self.item_type(), false));
        lists(item, values, std::mem::take(&mut self.lengths))
    }
}

impl Values {
    fn append(&mut self, value: Value) {
        match (self, value) {
            (Values::Text(to), Value::Text(value) | Value::Keyword(value)) => {
                to.append_value(value);
            }
            (Values::Integer(to), Value::Integer(value)) => to.append_value(value),
            (Values::Float(to), Value::Float(value)) => to.append_value(value),
            (Values::Date(to), Value::Date(value)) => to.append_value(value),
            (Values::Boolean(to), Value::Boolean(value)) => to.append_value(value),
            // A value is made by its column's type.
            (to, _) => to.append_null(),
        }
    }

    fn append_null(&mut self) {
        match self {
            Values::Text(to) => to.append_null(),
            Values::Integer(to) => to.append_null(),
            Values::Float(to) => to.append_null(),
            Values::Date(to) => to.append_null(),
            Values::Boolean(to) => to.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Values::Text(values) => Arc::new(values.finish()),
            Values::Integer(values) => Arc::new(values.finish()),
            Values::Float(values) => Arc::new(values.finish()),
            Values::Date(values) => Arc::new(values.finish()),
            Values::Boolean(values) => Arc::new(values.finish()),
        }
    }
}

/// The JSON that a load makes of a value in a column.
fn back(value: &Value) -> Option<Json> {
    match value {
        Value::Text(text) | Value::Keyword(text) => Some(Json::from(text.as_str())),
        Value::Integer(whole) => Some(Json::from(*whole)),
        Value::Float(number) => serde_json::Number::from_f64(*number).map(Json::Number),
        Value::Date(micros) => date_json(*micros),
        Value::Boolean(truth) => Some(Json::from(*truth)),
    }
}

/// Lists of these lengths, one after the other; no list where there is no length.
fn lists(item: Arc<Field>, values: ArrayRef, lengths: Vec<Option<usize>>) -> Result<ArrayRef> {
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
    let nulls = NullBuffer::from_iter(lengths.iter().map(Option::is_some));
    let lists = ListArray::try_new(item, offsets, values, Some(nulls)).map_err(arrow_bug)?;
    Ok(Arc::new(lists))
}

/// The stored vectors.
struct Vectors {
    dimensions: i32,
    starts: Vec<u32>,
    ends: Vec<u32>,
    values: Vec<f32>,
    lengths: Vec<Option<usize>>,
}

impl Vectors {
    fn new(dimensions: usize) -> Vectors {
        Vectors {
            // An index has at most some thousands.
            dimensions: i32::try_from(dimensions).unwrap_or(i32::MAX),
            starts: Vec::new(),
            ends: Vec::new(),
            values: Vec::new(),
            lengths: Vec::new(),
        }
    }

    fn members(&self) -> ArrowFields {
        let value = Arc::new(Field::new("item", DataType::Float32, false));
        ArrowFields::from(vec![
            Field::new("start", DataType::UInt32, false),
            Field::new("end", DataType::UInt32, false),
            Field::new(
                "vector",
                DataType::FixedSizeList(value, self.dimensions),
                false,
            ),
        ])
    }

    fn item(&self) -> Arc<Field> {
        Arc::new(Field::new("item", DataType::Struct(self.members()), false))
    }

    fn data_type(&self) -> DataType {
        DataType::List(self.item())
    }

    fn push(&mut self, stored: Option<StoredVectors>) -> Result<()> {
        let Some(stored) = stored else {
            self.lengths.push(None);
            return Ok(());
        };
        if i32::try_from(stored.dimensions) != Ok(self.dimensions) {
            return Err(Error::operator(format!(
                "a stored vector has {} dimensions, those of its index have {}",
                stored.dimensions, self.dimensions
            )));
        }
        self.lengths.push(Some(stored.spans.len()));
        self.starts
            .extend(stored.spans.iter().map(|span| span.start));
        self.ends.extend(stored.spans.iter().map(|span| span.end));
        self.values.extend(stored.vectors);
        Ok(())
    }

    fn take(&mut self) -> Result<ArrayRef> {
        let (item, members) = (self.item(), self.members());
        let take = |values: &mut Vec<u32>| UInt32Array::from(std::mem::take(values));
        let values = Float32Array::from(std::mem::take(&mut self.values));
        let value = Arc::new(Field::new("item", DataType::Float32, false));
        let vectors = FixedSizeListArray::try_new(value, self.dimensions, Arc::new(values), None)
            .map_err(arrow_bug)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(take(&mut self.starts)),
            Arc::new(take(&mut self.ends)),
            Arc::new(vectors),
        ];
        let passages = StructArray::try_new(members, columns, None).map_err(arrow_bug)?;
        lists(item, Arc::new(passages), std::mem::take(&mut self.lengths))
    }
}
