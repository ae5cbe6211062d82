//! A vector in a list column, straight to 32-bit floats: as JSON each of its values would be
//! an allocation's worth of work.

use arrow::array::{Array, AsArray, ListLikeArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};

/// Whether a column of this type is read so: a list of floats.
pub(super) fn is_vector(data_type: &DataType) -> bool {
    let item = match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item,
        _ => return false,
    };
    matches!(
        item.data_type(),
        DataType::Float16 | DataType::Float32 | DataType::Float64
    )
}

/// The vector at `i`, which must be within the array; None for null, and where an element is
/// null or not there, which the reading as JSON then tells of.
pub(super) fn vector(array: &dyn Array, i: usize) -> Option<Vec<f32>> {
    if array.is_null(i) {
        return None;
    }
    match array.data_type() {
        DataType::List(_) => floats(array.as_list::<i32>(), i),
        DataType::LargeList(_) => floats(array.as_list::<i64>(), i),
        DataType::FixedSizeList(..) => floats(array.as_fixed_size_list(), i),
        _ => None,
    }
}

fn floats<L: ListLikeArray>(list: &L, i: usize) -> Option<Vec<f32>> {
    let range = list.element_range(i);
    let values = list.values();
    if values.null_count() > 0 && range.clone().any(|at| at >= values.len() || values.is_null(at)) {
        return None;
    }
    match values.data_type() {
        DataType::Float32 => {
            let all = values.as_primitive::<Float32Type>().values();
            Some(all.get(range)?.to_vec())
        }
        DataType::Float64 => {
            let all = values.as_primitive::<Float64Type>().values();
            Some(all.get(range)?.iter().map(|&value| value as f32).collect())
        }
        DataType::Float16 => {
            let all = values.as_primitive::<Float16Type>().values();
            Some(all.get(range)?.iter().map(|value| value.to_f32()).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, Int32Array, ListArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn lists_of_floats_are_vectors() {
        let rows = vec![
            Some(vec![Some(1.0f32), Some(0.5)]),
            None,
            Some(vec![Some(2.0), None]),
            Some(vec![]),
        ];
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows));
        assert!(is_vector(list.data_type()));
        assert_eq!(vector(&list, 0), Some(vec![1.0, 0.5]));
        assert_eq!(vector(&list, 1), None);
        assert_eq!(vector(&list, 2), None);
        assert_eq!(vector(&list, 3), Some(vec![]));
        let wide: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 0.1, 3.0, f64::NAN]));
        let item = Arc::new(Field::new("item", DataType::Float64, false));
        let fixed = FixedSizeListArray::new(item, 2, wide, None);
        // A slice keeps to its rows.
        let second = fixed.slice(1, 1);
        assert!(vector(&second, 0).unwrap()[1].is_nan());
        assert_eq!(vector(&fixed, 0), Some(vec![1.0, 0.1]));
        assert!(!is_vector(Int32Array::from(vec![1]).data_type()));
    }
}
