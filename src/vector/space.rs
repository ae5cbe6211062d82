//! What vectors are: their number of values, how two are compared, and how they are
//! kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Problem};

use super::kernels::BLOCK;

/// Most values of a vector.
pub const MOST_DIMENSIONS: usize = 4096;

/// How two vectors are compared. A score is always such that more is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// The cosine of their angle, -1 to 1: vectors are brought to unit length.
    #[default]
    Cosine,
    /// Their dot product; longer vectors score higher.
    Dot,
    /// Their squared Euclidean distance, negative.
    L2,
}

/// How vectors are kept for searching. The full-precision ones stay in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Two bytes a dimension, which are as good as 16 bits, in three planes: half a byte
    /// for walking graphs, another half for scanning and for ordering what was found, and
    /// a whole one for scoring.
    #[default]
    Int8,
    /// Half-precision floats for both.
    F16,
    /// A bit a dimension for finding, two bytes for scoring: finds fastest and needs the
    /// least memory that must be fast; for hundreds of dimensions and more, with a wide
    /// beam.
    Binary,
}

/// What is read of a row to compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// 4 bits a dimension.
    Nibbles,
    /// 8 bits.
    Bytes,
    /// Half-precision floats.
    Halves,
    /// Signs.
    Bits,
}

/// The shape of an index's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub dimensions: usize,
    pub metric: Metric,
    pub storage: Storage,
}

impl Shape {
    /// Values per row of bytes or halves, padding included.
    pub(crate) fn stride(&self) -> usize {
        self.dimensions.next_multiple_of(BLOCK)
    }

    /// Values of padding per row.
    pub(crate) fn padding(&self) -> usize {
        self.stride() - self.dimensions
    }

    /// By what graphs are walked.
    pub(crate) fn walked_by(&self) -> Plane {
        match self.storage {
            Storage::Int8 => Plane::Nibbles,
            Storage::F16 => Plane::Halves,
            Storage::Binary => Plane::Bits,
        }
    }

    /// By what rows are scanned.
    pub(crate) fn scanned_by(&self) -> Plane {
        match self.storage {
            Storage::Binary => Plane::Bits,
            _ => self.built_by(),
        }
    }

    /// By what graphs are built and what a walk found is put in order: as precisely as
    /// that can be done without scoring.
    pub(crate) fn built_by(&self) -> Plane {
        match self.storage {
            Storage::F16 => Plane::Halves,
            Storage::Int8 | Storage::Binary => Plane::Bytes,
        }
    }

    /// Words per row of bits.
    pub(crate) fn words(&self) -> usize {
        self.dimensions.div_ceil(64)
    }
}

/// The squared length, in double precision.
pub(crate) fn squared_norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&v| f64::from(v).powi(2)).sum()
}

/// The largest length of a vector whose products are far from overflowing an f32.
const MOST_NORM: f64 = 1e18;
/// The smallest: below, its inverse would overflow.
const LEAST_NORM: f64 = 1e-18;

/// Largest and smallest normal value of half precision.
const F16: std::ops::RangeInclusive<f32> = 6.104e-5..=65_504.0;

/// Whether a vector of an index can be kept: as [`check_vector`], and in half precision,
/// unless it is brought to length 1 first, its largest value must be one that this holds.
///
/// # Errors
/// `invalid_vector` with what was found and what was expected.
pub fn check_stored(
    vector: &[f32],
    dimensions: usize,
    metric: Metric,
    storage: Storage,
    field: &str,
) -> Result<(), Problem> {
    check_vector(vector, dimensions, field)?;
    let largest = vector.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if storage == Storage::F16 && metric != Metric::Cosine && !F16.contains(&largest) {
        return Err(Problem::new(
            Code::InvalidVector,
            "a vector whose values half precision does not hold",
        )
        .field(field)
        .found(format!("a largest value of {largest:e}"))
        .expected(format!("one from {:e} to {:e}", F16.start(), F16.end())));
    }
    Ok(())
}

/// Whether `vector` is one of `dimensions` finite values, and neither zero nor too long
/// or short to be computed with; `field` is named in the error.
///
/// # Errors
/// `invalid_vector` with what was found and what was expected.
pub fn check_vector(vector: &[f32], dimensions: usize, field: &str) -> Result<(), Problem> {
    let problem = |message: &str| Problem::new(Code::InvalidVector, message).field(field);
    if vector.len() != dimensions {
        return Err(problem("a vector of another length than the index's")
            .found(format!("{} values", vector.len()))
            .expected(format!("{dimensions} values")));
    }
    if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
        return Err(problem("a vector with a value that is not finite")
            .found(format!("{} at position {at}", vector[at]))
            .expected("finite numbers"));
    }
    let norm = squared_norm(vector).sqrt();
    if norm == 0.0 {
        return Err(problem("a vector of zeros, which is like no other")
            .found("only zeros")
            .expected("at least one value that is not zero"));
    }
    if !(LEAST_NORM..=MOST_NORM).contains(&norm) {
        return Err(
            problem("a vector whose products cannot be computed in single precision")
                .found(format!("length {norm:e}"))
                .expected(format!("a length from {LEAST_NORM:e} to {MOST_NORM:e}")),
        );
    }
    Ok(())
}
