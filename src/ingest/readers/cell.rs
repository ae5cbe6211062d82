//! One cell of an Arrow column as JSON.
//!
//! | column | JSON |
//! |---|---|
//! | strings, also by dictionary | string |
//! | integers | number |
//! | 16- and 32-bit floats | the shortest decimal that reads back to the same float, as a 64-bit number (9.99 stays 9.99); inside a list the exact widening, which is much faster and the same after rounding |
//! | 64-bit floats | number |
//! | decimals | number if a 64-bit float or integer keeps every digit (15 significant digits, or a whole number of 64 bits), otherwise a string with all digits |
//! | dates | `2024-05-01` |
//! | timestamps of any unit | RFC 3339 in UTC; without a zone they are taken as UTC |
//! | times of day | `12:30:00.5` |
//! | durations, intervals | ISO 8601, as Arrow prints them |
//! | bytes | string if they are UTF-8 (old writers mark strings so) |
//! | lists | list; null elements stay null |
//! | structs, maps with string or integer keys | object; null members are absent |
//! | null | absent |
//!
//! A float that is not finite, bytes that are not UTF-8 and an instant outside the
//! calendar have no JSON: the row is rejected with the column named.

use arrow::array::{Array, AsArray, ListLikeArray};
use arrow::datatypes::*;
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value as Json};

/// Why a cell has no JSON.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) found: String,
    pub(super) expected: &'static str,
}

impl Unfit {
    fn new(found: impl Into<String>, expected: &'static str) -> Self {
        Unfit {
            found: found.into(),
            expected,
        }
    }
}

/// The value at `i`, None for null. `i` must be within the array.
pub(super) fn cell(array: &dyn Array, i: usize) -> Result<Option<Json>, Unfit> {
    if array.is_null(i) {
        return Ok(None);
    }
    macro_rules! at {
        ($type:ty) => {
            array.as_primitive::<$type>().value(i)
        };
    }
    let json = match array.data_type() {
        DataType::Null => return Ok(None),
        DataType::Boolean => Json::from(array.as_boolean().value(i)),
        DataType::Int8 => Json::from(at!(Int8Type)),
        DataType::Int16 => Json::from(at!(Int16Type)),
        DataType::Int32 => Json::from(at!(Int32Type)),
        DataType::Int64 => Json::from(at!(Int64Type)),
        DataType::UInt8 => Json::from(at!(UInt8Type)),
        DataType::UInt16 => Json::from(at!(UInt16Type)),
        DataType::UInt32 => Json::from(at!(UInt32Type)),
        DataType::UInt64 => Json::from(at!(UInt64Type)),
        DataType::Float16 => shortest(at!(Float16Type).to_f32())?,
        DataType::Float32 => shortest(at!(Float32Type))?,
        DataType::Float64 => float(at!(Float64Type))?,
        DataType::Utf8 => Json::from(array.as_string::<i32>().value(i)),
        DataType::LargeUtf8 => Json::from(array.as_string::<i64>().value(i)),
        DataType::Utf8View => Json::from(array.as_string_view().value(i)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(i))?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(i))?,
        DataType::BinaryView => bytes(array.as_binary_view().value(i))?,
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(i))?,
        DataType::Date32 => day(at!(Date32Type))?,
        DataType::Date64 => {
            const DAY: i64 = 86_400_000;
            let value = at!(Date64Type);
            match i32::try_from(value / DAY) {
                Ok(days) if value % DAY == 0 => day(days)?,
                _ => instant(value, 1_000)?,
            }
        }
        DataType::Timestamp(unit, _) => {
            let (value, per_second) = match unit {
                TimeUnit::Second => (at!(TimestampSecondType), 1),
                TimeUnit::Millisecond => (at!(TimestampMillisecondType), 1_000),
                TimeUnit::Microsecond => (at!(TimestampMicrosecondType), 1_000_000),
                TimeUnit::Nanosecond => (at!(TimestampNanosecondType), 1_000_000_000),
            };
            instant(value, per_second)?
        }
        DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_) => match array_value_to_string(array, i) {
            Ok(text) => Json::from(text),
            Err(error) => return Err(Unfit::new(error.to_string(), "a time")),
        },
        DataType::Decimal32(..) => {
            decimal(array.as_primitive::<Decimal32Type>().value_as_string(i))
        }
        DataType::Decimal64(..) => {
            decimal(array.as_primitive::<Decimal64Type>().value_as_string(i))
        }
        DataType::Decimal128(..) => {
            decimal(array.as_primitive::<Decimal128Type>().value_as_string(i))
        }
        DataType::Decimal256(..) => {
            decimal(array.as_primitive::<Decimal256Type>().value_as_string(i))
        }
        DataType::List(_) => list(array.as_list::<i32>(), i)?,
        DataType::LargeList(_) => list(array.as_list::<i64>(), i)?,
        DataType::ListView(_) => list(array.as_list_view::<i32>(), i)?,
        DataType::LargeListView(_) => list(array.as_list_view::<i64>(), i)?,
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list(), i)?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut object = Map::with_capacity(fields.len());
            for (field, column) in fields.iter().zip(columns) {
                if let Some(value) = cell(column.as_ref(), i)? {
                    object.insert(field.name().clone(), value);
                }
            }
            Json::Object(object)
        }
        DataType::Map(..) => map(array.as_map(), i)?,
        DataType::Dictionary(..) => return dictionary(array, i),
        other => {
            return Err(Unfit::new(
                format!("a column of type {other}"),
                "a column that JSON can express",
            ));
        }
    };
    Ok(Some(json))
}

fn float(value: f64) -> Result<Json, Unfit> {
    serde_json::Number::from_f64(value)
        .map(Json::Number)
        .ok_or_else(|| not_finite(value))
}

/// A narrow float by its shortest decimal, so that 9.99 does not become
/// 9.989999771118164.
fn shortest(value: f32) -> Result<Json, Unfit> {
    match value.to_string().parse::<f64>() {
        Ok(wide) => float(wide),
        Err(_) => float(f64::from(value)),
    }
}

fn not_finite(value: f64) -> Unfit {
    Unfit::new(value.to_string(), "a finite number")
}

fn bytes(value: &[u8]) -> Result<Json, Unfit> {
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Json::from(text)),
        Err(error) => Err(Unfit::new(
            format!(
                "{} bytes, not UTF-8 at offset {}",
                value.len(),
                error.valid_up_to()
            ),
            "bytes that are UTF-8 text",
        )),
    }
}

fn day(days: i32) -> Result<Json, Unfit> {
    i64::from(days)
        .checked_mul(86_400)
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map(|day| Json::from(day.date_naive().to_string()))
        .ok_or_else(|| Unfit::new(format!("day {days}"), "a day within the calendar"))
}

/// A date as a load makes it of microseconds in a column; None outside the calendar.
pub(in crate::ingest) fn date(micros: i64) -> Option<Json> {
    instant(micros, 1_000_000).ok()
}

/// An instant given in units of 1/`per_second` s since the epoch.
fn instant(value: i64, per_second: i64) -> Result<Json, Unfit> {
    let seconds = value.div_euclid(per_second);
    // Below 10^9, so it fits.
    let nanoseconds = (value.rem_euclid(per_second) * (1_000_000_000 / per_second)) as u32;
    let instant = DateTime::from_timestamp(seconds, nanoseconds).ok_or_else(|| {
        Unfit::new(
            format!("{value}, in 1/{per_second} s since 1970"),
            "an instant within the calendar",
        )
    })?;
    Ok(Json::from(
        instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    ))
}

/// See the table above.
fn decimal(digits: String) -> Json {
    let shown = match digits.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole,
            fraction => &digits[..whole.len() + 1 + fraction.len()],
        },
        None => digits.as_str(),
    };
    if let Ok(whole) = shown.parse::<i64>() {
        return Json::from(whole);
    }
    let significant = shown
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|&digit| digit == b'0')
        .count();
    if significant <= f64::DIGITS as usize
        && let Ok(value) = shown.parse::<f64>()
        && let Some(number) = serde_json::Number::from_f64(value)
    {
        return Json::Number(number);
    }
    Json::from(digits)
}

fn list<L: ListLikeArray>(array: &L, i: usize) -> Result<Json, Unfit> {
    let range = array.element_range(i);
    let values = array.values();
    // Vectors: one type check for all of their elements.
    if values.null_count() == 0 {
        match values.data_type() {
            DataType::Float32 => {
                let all = values.as_primitive::<Float32Type>().values();
                return floats(all.get(range), |&value| f64::from(value));
            }
            DataType::Float64 => {
                let all = values.as_primitive::<Float64Type>().values();
                return floats(all.get(range), |&value| value);
            }
            _ => {}
        }
    }
    let mut items = Vec::with_capacity(range.len());
    for element in range {
        items.push(cell(values.as_ref(), element)?.unwrap_or(Json::Null));
    }
    Ok(Json::Array(items))
}

fn floats<T>(values: Option<&[T]>, widen: impl Fn(&T) -> f64) -> Result<Json, Unfit> {
    values
        .ok_or_else(|| Unfit::new("a list past the end of its values", "a whole list"))?
        .iter()
        .map(|value| float(widen(value)))
        .collect::<Result<Vec<_>, _>>()
        .map(Json::Array)
}

fn map(array: &arrow::array::MapArray, i: usize) -> Result<Json, Unfit> {
    let entries = array.value(i);
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut object = Map::with_capacity(entries.len());
    for entry in 0..entries.len() {
        let key = match cell(keys.as_ref(), entry)? {
            Some(Json::String(key)) => key,
            Some(Json::Number(key)) => key.to_string(),
            _ => {
                return Err(Unfit::new(
                    format!("a map with keys of type {}", keys.data_type()),
                    "keys that are strings or integers",
                ));
            }
        };
        if let Some(value) = cell(values.as_ref(), entry)? {
            object.insert(key, value);
        }
    }
    Ok(Json::Object(object))
}

fn dictionary(array: &dyn Array, i: usize) -> Result<Option<Json>, Unfit> {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        return Err(Unfit::new("a damaged dictionary", "a dictionary"));
    };
    let values = dictionary.values();
    match cell(dictionary.keys(), i)? {
        Some(Json::Number(key)) => match key.as_u64().and_then(|key| usize::try_from(key).ok()) {
            Some(key) if key < values.len() => cell(values.as_ref(), key),
            _ => Err(Unfit::new(
                format!("key {key} into a dictionary of {}", values.len()),
                "a key within the dictionary",
            )),
        },
        _ => Ok(None),
    }
}
