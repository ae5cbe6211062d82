//! ONNX Runtime: found and loaded once per process.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::session::builder::SessionBuilder;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem, Result};

/// What encoders run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, which takes an ONNX Runtime built for it.
    Cuda,
}

/// How encoders are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeOptions {
    /// ONNX Runtime's shared library. Unset: `ORT_DYLIB_PATH`, then gleaner's cache
    /// (`~/.cache/gleaner/onnxruntime`), the folder of the executable and the system's
    /// library folders. A process loads one library; the first one wins.
    pub library: Option<PathBuf>,
    /// What encoders run on. With `cuda` the library has to be that of `onnxruntime-gpu`;
    /// models in fp32 gain by it, int8 ones do not.
    pub device: Device,
    /// Sessions per model, which is how many batches are encoded at once. Unset: one
    /// per core, divided by `threads_per_session`. At least 1.
    pub sessions: Option<usize>,
    /// Threads inside one session. More than 1 shortens a single query's time and
    /// costs throughput. At least 1.
    pub threads_per_session: usize,
    /// Largest batch in tokens: bounds the memory of a forward pass.
    /// A single text longer than this is a batch of its own. Small batches stay in the
    /// processor's cache and are the fastest with one thread per session; several
    /// threads per session want several thousand. At least 1.
    pub batch_tokens: usize,
    /// Texts that may wait for a model, queries and documents each, before further requests
    /// to `/v1/embeddings` are refused. At least 1.
    pub queue_texts: usize,
    /// Vectors that are kept, of all models together, in bytes; a query that is asked again
    /// is then not encoded again. 0: none. Loading goes past it.
    pub cache_bytes: usize,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        RuntimeOptions {
            library: None,
            device: Device::Cpu,
            sessions: None,
            threads_per_session: 1,
            batch_tokens: 512,
            queue_texts: 16_384,
            cache_bytes: 0,
        }
    }
}

impl RuntimeOptions {
    /// The number of sessions in effect.
    pub fn session_count(&self) -> usize {
        self.sessions.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
            (cores / self.threads_per_session.max(1)).max(1)
        })
    }

    /// Refuses zeros, which would encode nothing forever.
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [
            ("sessions", self.sessions.unwrap_or(1)),
            ("threads_per_session", self.threads_per_session),
            ("batch_tokens", self.batch_tokens),
            ("queue_texts", self.queue_texts),
        ];
        for (field, count) in counts {
            if count == 0 {
                return Err(Problem::new(
                    Code::InvalidConfiguration,
                    "the encoder's runtime cannot work with nothing",
                )
                .field(field)
                .found(0)
                .expected("1 or more")
                .into());
            }
        }
        Ok(())
    }
}

/// The process's environment, once a library has been loaded, and the library's file.
static ENVIRONMENT: Mutex<Option<(Environment, PathBuf)>> = Mutex::new(None);

const ADVICE: &str = "install ONNX Runtime 1.17 or later and name its shared library in \
                      ORT_DYLIB_PATH or in the configuration's `library`";

/// The environment sessions are made in; loads the library on first use.
///
/// # Errors
/// Operator: no library found, or the one named cannot be loaded. A failure is not
/// remembered: the next call tries again.
pub(crate) fn environment(library: Option<&Path>) -> Result<Environment> {
    load_once(library).map(|(environment, _)| environment)
}

/// The library that models are run by, loaded on first use: its file, and what it says of its
/// build.
///
/// # Errors
/// Operator: no library found, or the one named cannot be loaded.
pub fn loaded_library(options: &RuntimeOptions) -> Result<(PathBuf, String)> {
    let (_, path) = load_once(options.library.as_deref())?;
    // As in `ORT Build Info: git-branch=HEAD, git-commit-id=..., build type=Release, ...`.
    let info = ort::info();
    let parts = info.trim_start_matches("ORT Build Info:").split(',');
    let known = parts
        .map(str::trim)
        .filter(|part| part.starts_with("git-commit-id") || part.starts_with("build type"));
    Ok((path, known.collect::<Vec<_>>().join(", ")))
}

fn load_once(library: Option<&Path>) -> Result<(Environment, PathBuf)> {
    let mut slot = ENVIRONMENT.lock();
    if let Some(loaded) = slot.as_ref() {
        return Ok(loaded.clone());
    }
    let loaded = load(library)?;
    *slot = Some(loaded.clone());
    Ok(loaded)
}

/// Puts a session's work on the GPU.
///
/// # Errors
/// Operator: the library was built without CUDA, or CUDA's own libraries are missing.
pub(crate) fn on_cuda(builder: SessionBuilder) -> Result<SessionBuilder> {
    const ADVICE: &str = "install onnxruntime-gpu (`pip install onnxruntime-gpu`), with the CUDA \
                          and cuDNN it asks for, and name its libonnxruntime.so in the \
                          configuration's models.runtime.library; or set models.runtime.device \
                          = \"cpu\"";
    let built_in = ep::CUDA::is_available().map_err(|e| {
        Error::operator_from("ONNX Runtime does not say what it runs on", e.to_string())
    })?;
    if !built_in {
        return Err(Error::operator(
            "models.runtime.device is \"cuda\", and the ONNX Runtime that was loaded has no CUDA",
        )
        .advice(ADVICE));
    }
    builder
        .with_execution_providers([ep::CUDA::default().build().error_on_failure()])
        .map_err(|e| {
            Error::operator_from(
                "models.runtime.device is \"cuda\", and ONNX Runtime cannot use it",
                e.to_string(),
            )
            .advice(ADVICE)
        })
}

fn load(library: Option<&Path>) -> Result<(Environment, PathBuf)> {
    let from_environment = || {
        std::env::var_os("ORT_DYLIB_PATH")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    // A library that was named is the only candidate: falling back to another one
    // would hide the mistake.
    if let Some(path) = library.map(Path::to_path_buf).or_else(from_environment) {
        return load_from(&path);
    }
    let mut failures = Vec::new();
    for path in installed() {
        match load_from(&path) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => failures.push(error.to_string()),
        }
    }
    let looked_in = places()
        .iter()
        .map(|place| place.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let tried = failures.join("; ");
    Err(Error::operator(if tried.is_empty() {
        format!("no ONNX Runtime library found in {looked_in}")
    } else {
        format!("no ONNX Runtime library could be loaded: {tried}")
    })
    .advice(ADVICE))
}

fn load_from(path: &Path) -> Result<(Environment, PathBuf)> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::operator_from(
            format!("cannot load ONNX Runtime from {}", path.display()),
            error,
        )
        .advice(ADVICE)
    };
    // `ort` resolves a relative path against the executable; ours are relative to the
    // working directory like any other path in a configuration.
    let absolute = std::path::absolute(path).map_err(|e| failed(e.into()))?;
    if !absolute.is_file() {
        return Err(failed("no such file".into()));
    }
    let environment = ort::init_from(&absolute)
        .map_err(|e| failed(e.to_string().into()))?
        .with_name("gleaner")
        .with_telemetry(false)
        .build()
        .map_err(|e| failed(e.to_string().into()))?;
    tracing::debug!(library = %absolute.display(), "loaded onnx runtime");
    Ok((environment, absolute))
}

/// Folders in which a library may have been installed, most specific first.
fn places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    if let Some(cache) = cache {
        places.push(cache.join("gleaner").join("onnxruntime"));
    }
    if let Ok(executable) = std::env::current_exe()
        && let Some(folder) = executable.parent()
    {
        places.push(folder.to_path_buf());
        places.push(folder.join("../lib"));
    }
    places.extend(
        [
            "/usr/local/lib",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/opt/onnxruntime/lib",
            "/opt/homebrew/lib",
        ]
        .map(PathBuf::from),
    );
    places
}

/// Libraries in those folders; within a folder the plain name before versioned ones,
/// later versions first.
fn installed() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let plain = format!(
        "{}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    for place in places() {
        let Ok(entries) = std::fs::read_dir(&place) else {
            continue;
        };
        let mut here: Vec<(Vec<u32>, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = if name == plain {
                    vec![u32::MAX]
                } else {
                    name.strip_prefix(&plain)?
                        .strip_prefix('.')?
                        .split('.')
                        .map(|part| part.parse().ok())
                        .collect::<Option<Vec<u32>>>()?
                };
                Some((version, entry.path()))
            })
            .collect();
        here.sort_by(|a, b| b.cmp(a));
        found.extend(here.into_iter().map(|(_, path)| path));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_the_operators() {
        let error = load_from(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
        assert!(matches!(error, Error::Operator(_)), "{error}");
        assert!(error.to_string().contains("ORT_DYLIB_PATH"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_the_operators() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not a library").unwrap();
        let error = load_from(file.path()).unwrap_err();
        assert!(matches!(error, Error::Operator(_)), "{error}");
    }

    #[test]
    fn zeros_are_refused() {
        for field in [
            "sessions",
            "threads_per_session",
            "batch_tokens",
            "queue_texts",
        ] {
            let options: RuntimeOptions = toml::from_str(&format!("{field} = 0")).unwrap();
            let error = options.check().unwrap_err();
            assert_eq!(
                error.problem().and_then(|p| p.field.as_deref()),
                Some(field)
            );
        }
    }
}
