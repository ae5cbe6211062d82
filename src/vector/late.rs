//! Late interaction: a query of many vectors against documents of many vectors.

use crate::error::{Code, Problem, Result};
use crate::filter::OrdinalSet;

use super::reader::VectorReader;
use super::rows::Query;
use super::space::check_vector;

/// Most vectors of one query.
pub const MOST_QUERY_VECTORS: usize = 1024;

impl VectorReader {
    /// Scores the `candidates` by MaxSim: the sum, over the query's vectors, of the score
    /// of the document's vector nearest to each (Khattab and Zaharia, ColBERT,
    /// arXiv:2004.12832, equation 3). `query` holds its vectors one after another. Gives
    /// the ordinals with their scores, best first, equal ones by ordinal; candidates that
    /// have no vectors here are left out. Every vector of every candidate is compared as
    /// precisely as it is kept: meant for the some hundred documents that a search found.
    ///
    /// Errors: `invalid_vector` for what is not 1 to 1,024 vectors that
    /// [`VectorReader::search`] would take.
    pub fn late_interaction(
        &self,
        query: &[f32],
        candidates: &OrdinalSet,
    ) -> Result<Vec<(u32, f32)>> {
        let dimensions = self.shape.dimensions;
        let vectors = query.len() / dimensions;
        if !query.len().is_multiple_of(dimensions) || !(1..=MOST_QUERY_VECTORS).contains(&vectors) {
            return Err(Problem::new(
                Code::InvalidVector,
                "the vectors of a query do not have the index's shape",
            )
            .field("query")
            .found(format!("{} values", query.len()))
            .expected(format!(
                "1 to {MOST_QUERY_VECTORS} vectors of {dimensions} values"
            ))
            .into());
        }
        let mut queries = Vec::with_capacity(vectors);
        for vector in query.chunks_exact(dimensions) {
            check_vector(vector, dimensions, "query")?;
            let mut query = Query::default();
            query.set(vector, &self.shape);
            queries.push(query);
        }
        let mut scores = Vec::new();
        for ordinal in candidates.iter() {
            // Of an ordinal that was added twice the later one counts, as in a merge.
            let mut places = self.segments.iter().rev();
            let found = places.find_map(|s| Some((s.rows(), s.rows().find(ordinal)?)));
            let Some((rows, document)) = found else {
                continue;
            };
            let best = queries
                .iter()
                .map(|query| f64::from(rows.best_passage(query, document).0));
            scores.push((ordinal, best.sum::<f64>() as f32));
        }
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(scores)
    }
}
