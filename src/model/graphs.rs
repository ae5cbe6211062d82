//! What runs a batch: the encoder's graph, the head's where there is one, the pooling.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Batch;
use super::code::{CodeSession, TokenGraph};
use super::files::invalid;
use super::graph::{self, WEIGHTS};
use super::head::HeadSession;
use super::manifest::Manifest;
use super::pooling::{Pooling, normalize};
use super::queue::Runner;
use super::runtime::RuntimeOptions;
use super::session::{EncoderSession, GraphSource, OutputKind, Wanted};
use super::tokenizer::TextTokenizer;
use crate::error::{Error, Result};

/// The graphs of one set of weights.
pub(crate) struct Graphs {
    folder: PathBuf,
    source: GraphSource,
    head: Option<String>,
    code: Option<String>,
    wanted: Wanted,
    pooling: Pooling,
    normalize: bool,
    dimensions: usize,
    options: RuntimeOptions,
}

/// A session of each graph.
pub(crate) struct Sessions {
    encoder: EncoderSession,
    head: Option<HeadSession>,
    code: Option<CodeSession>,
}

impl Graphs {
    /// Loads the graphs a manifest names, and makes a first session of each, which is run
    /// to see that they fit it.
    ///
    /// # Errors
    /// InvalidModel naming the file that does not fit; Operator when ONNX Runtime or a file
    /// cannot be loaded.
    pub(crate) fn open(
        folder: &Path,
        manifest: &Manifest,
        tokenizer: &TextTokenizer,
        options: &RuntimeOptions,
    ) -> Result<(Self, Sessions)> {
        let source = if manifest.graph == WEIGHTS {
            let float = graph::float(folder, tokenizer, graph::Purpose::Encoder, None)?;
            GraphSource::Memory(Arc::new(float.model))
        } else {
            GraphSource::File(folder.join(&manifest.graph))
        };
        let head = match &manifest.head {
            Some(file) => Some(HeadSession::open(folder, file, options)?),
            None => None,
        };
        let wanted = match &head {
            Some(head) => head.wants(),
            None if manifest.code.is_some() => Wanted::Tokens,
            None if manifest.pooling.is_trained() => Wanted::Texts,
            None => Wanted::TokensOrTexts,
        };
        let encoder = EncoderSession::open(&source, options, wanted)?;
        if !manifest.pool_prompt
            && encoder.kind() == OutputKind::Texts
            && !encoder.takes_pooling_mask()
        {
            return Err(invalid(
                &manifest.graph,
                "the graph pools by itself and cannot leave a prompt out",
            )
            .found("no input named pooling_mask")
            .expected("that input, or pool_prompt = true")
            .into());
        }
        let graphs = Graphs {
            folder: folder.to_path_buf(),
            source,
            head: manifest.head.clone(),
            code: manifest.code.as_ref().map(|form| form.graph.clone()),
            wanted,
            pooling: manifest.pooling,
            normalize: manifest.normalize,
            dimensions: manifest.dimensions,
            options: options.clone(),
        };
        let code = graphs.open_code()?;
        let mut sessions = Sessions {
            encoder,
            head,
            code,
        };
        graphs.check_dimensions(&mut sessions, &manifest.graph)?;
        Ok((graphs, sessions))
    }

    fn open_code(&self) -> Result<Option<CodeSession>> {
        let Some(file) = &self.code else {
            return Ok(None);
        };
        CodeSession::open(&self.folder, file, &self.options).map(Some)
    }

    /// A session of the encoder's graph alone, with so many threads.
    pub(crate) fn bare(&self, threads: usize) -> Result<EncoderSession> {
        let options = RuntimeOptions {
            threads_per_session: threads.max(1),
            ..self.options.clone()
        };
        EncoderSession::open(&self.source, &options, self.wanted)
    }

    /// Runs one token and compares the vector's length with the manifest's.
    fn check_dimensions(&self, sessions: &mut Sessions, file: &str) -> Result<()> {
        let batch = Batch::new(&[0], &[vec![0_u32]], 0);
        let encoder = &mut sessions.encoder;
        let output = encoder.outputs().join(", ");
        let kind = encoder.kind();
        let mut found = encoder.dimensions();
        let (file, kind) = match (&mut sessions.head, &self.head) {
            (Some(head), Some(name)) => {
                let (states, layers, width) = states(encoder, &batch, self.dimensions)?;
                found = Some(head.run(&states, layers, width, &batch)?.len());
                (name.as_str(), "by the head".to_owned())
            }
            _ => {
                let announced = found.is_some();
                encoder.run(&batch, |name, values| {
                    if name == output && !announced {
                        found = Some(values.len());
                    }
                })?;
                (file, format!("{kind:?}"))
            }
        };
        if found == Some(self.dimensions) {
            return Ok(());
        }
        Err(
            invalid(file, "the vectors have another length than announced")
                .found(format!(
                    "{} values in `{output}` ({kind})",
                    found.unwrap_or_default()
                ))
                .expected(format!("{} dimensions", self.dimensions))
                .into(),
        )
    }

    /// Vectors of a batch in which some texts have a graph over their tokens.
    fn over_syntax(&self, sessions: &mut Sessions, batch: &Batch) -> Result<Vec<f32>> {
        let width = self.dimensions;
        let (states, _, _) = states(&mut sessions.encoder, batch, width)?;
        let of_row = batch.longest() * width;
        if states.len() != batch.lengths().len() * of_row {
            return Err(changed("last_hidden_state"));
        }
        let mut vectors = vec![0.0; batch.lengths().len() * width];
        let mut graphs: Vec<&TokenGraph> = Vec::new();
        let mut of_graphs: Vec<f32> = Vec::new();
        let mut rows: Vec<usize> = Vec::new();
        for (row, vector) in vectors.chunks_exact_mut(width).enumerate() {
            match batch.graph(row) {
                Some(graph) => {
                    rows.push(row);
                    graphs.push(graph);
                    of_graphs.extend_from_slice(&states[row * of_row..][..of_row]);
                }
                None => {
                    let tokens = &states[batch.tokens(row, width)];
                    self.pooling.pool(tokens, batch.skip(row), vector);
                }
            }
        }
        let code = sessions.code.as_mut();
        let code = code.ok_or_else(|| Error::Bug("graphs for a model without a network".into()))?;
        let found = code.run(&of_graphs, width, &graphs)?;
        for (row, vector) in rows.into_iter().zip(found.chunks_exact(width)) {
            vectors[row * width..][..width].copy_from_slice(vector);
        }
        Ok(vectors)
    }

    /// Pools what the encoder's graph gives.
    fn pooled(&self, encoder: &mut EncoderSession, batch: &Batch) -> Result<Vec<f32>> {
        let dimensions = self.dimensions;
        let rows = batch.lengths().len();
        let kind = encoder.kind();
        let output = encoder.outputs().first().cloned().unwrap_or_default();
        let mut vectors = vec![0.0; rows * dimensions];
        let mut fits = false;
        encoder.run(batch, |name, values| {
            if name != output {
                return;
            }
            let per_row = match kind {
                OutputKind::Texts => dimensions,
                _ => batch.longest() * dimensions,
            };
            fits = values.len() == rows * per_row;
            if !fits {
                return;
            }
            for (row, vector) in vectors.chunks_exact_mut(dimensions).enumerate() {
                match kind {
                    OutputKind::Texts => {
                        vector.copy_from_slice(&values[row * dimensions..][..dimensions]);
                    }
                    _ => {
                        let tokens = &values[batch.tokens(row, dimensions)];
                        self.pooling.pool(tokens, batch.skip(row), vector);
                    }
                }
            }
        })?;
        match fits {
            true => Ok(vectors),
            false => Err(changed(&output)),
        }
    }
}

impl Runner for Graphs {
    type Session = Sessions;

    fn open(&self) -> Result<Sessions> {
        let head = match &self.head {
            Some(file) => Some(HeadSession::open(&self.folder, file, &self.options)?),
            None => None,
        };
        Ok(Sessions {
            encoder: EncoderSession::open(&self.source, &self.options, self.wanted)?,
            head,
            code: self.open_code()?,
        })
    }

    fn run(&self, sessions: &mut Sessions, batch: &Batch) -> Result<Vec<f32>> {
        let over_syntax = (0..batch.lengths().len()).any(|row| batch.graph(row).is_some());
        let mut vectors = match &mut sessions.head {
            None if over_syntax => self.over_syntax(sessions, batch)?,
            None => self.pooled(&mut sessions.encoder, batch)?,
            Some(head) => {
                let (states, layers, width) =
                    states(&mut sessions.encoder, batch, self.dimensions)?;
                head.run(&states, layers, width, batch)?
            }
        };
        if vectors.len() != batch.lengths().len() * self.dimensions {
            return Err(changed("head"));
        }
        if self.normalize {
            vectors
                .chunks_exact_mut(self.dimensions)
                .for_each(normalize);
        }
        Ok(vectors)
    }
}

/// The token vectors of a batch, [layers, texts, tokens, values], with the number of layers
/// and of values.
fn states(
    encoder: &mut EncoderSession,
    batch: &Batch,
    dimensions: usize,
) -> Result<(Vec<f32>, usize, usize)> {
    let width = encoder.dimensions().unwrap_or(dimensions);
    let layer = batch.lengths().len() * batch.longest() * width;
    let outputs = encoder.outputs().to_vec();
    let mut found: Vec<Vec<f32>> = vec![Vec::new(); outputs.len()];
    encoder.run(batch, |name, values| {
        if let Some(place) = outputs.iter().position(|output| output == name) {
            found[place] = values.to_vec();
        }
    })?;
    let states = match found.len() {
        1 => found.swap_remove(0),
        _ => found.concat(),
    };
    let layers = states.len() / layer.max(1);
    if layers == 0 || states.len() != layers * layer {
        return Err(changed(&outputs.join(", ")));
    }
    Ok((states, layers, width))
}

fn changed(output: &str) -> Error {
    Error::Bug(format!(
        "the output `{output}` changed its shape between batches"
    ))
}
