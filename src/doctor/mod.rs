//! What is wrong with an installation, and what to do about it.
//!
//! **Promise.** [`examine`] finds what would keep a server from starting, from answering or from
//! keeping what it was given, names it and says what to do. It changes nothing but for probes that
//! it removes again (a file in the data folder, an object where snapshots are), takes no lock
//! that anybody else waits for, and may run beside a server: what the server has open is then
//! asked of the server, or left alone and said to be.
//!
//! A *warning* is what works now and may not later, or is worse than it could be; something
//! *failed* where the server, an index or a model cannot be used.

mod access;
mod data;
mod indexes;
mod listen;
mod machine;
mod models;
mod probe;
mod process;
mod settings;
mod snapshots;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::index::{Inventory, Settings};
pub use probe::{Health, ask_health, local_url};

/// What is looked at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The configuration as a whole.
    Configuration,
    /// Variables of the environment that override it.
    Environment,
    /// ONNX Runtime's library.
    OnnxRuntime,
    /// A model that is named somewhere.
    Model,
    /// The data folder: there, and writable.
    DataFolder,
    /// Who may read the data folder.
    Permissions,
    /// The file system that the data folder is on.
    FileSystem,
    /// Room on it.
    DiskSpace,
    /// A server that works on the data folder.
    Server,
    /// The address to listen on.
    Listen,
    /// Keys and encryption: who may ask.
    Access,
    /// An index.
    Index,
    /// Aliases of indexes.
    Aliases,
    /// A catalog of entities' names.
    Entities,
    /// The catalogue of databases.
    Schemas,
    /// What work that was cut short has left.
    Leftovers,
    /// Files that a process may have open.
    OpenFiles,
    /// Memory, beside what the configuration allows itself.
    Memory,
    /// The machine's clock.
    Clock,
    /// The place of snapshots.
    Snapshots,
}

impl Check {
    /// The spelling used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Configuration => "configuration",
            Check::Environment => "environment",
            Check::OnnxRuntime => "onnx_runtime",
            Check::Model => "model",
            Check::DataFolder => "data_folder",
            Check::Permissions => "permissions",
            Check::FileSystem => "file_system",
            Check::DiskSpace => "disk_space",
            Check::Server => "server",
            Check::Listen => "listen",
            Check::Access => "access",
            Check::Index => "index",
            Check::Aliases => "aliases",
            Check::Entities => "entities",
            Check::Schemas => "schemas",
            Check::Leftovers => "leftovers",
            Check::OpenFiles => "open_files",
            Check::Memory => "memory",
            Check::Clock => "clock",
            Check::Snapshots => "snapshots",
        }
    }
}

/// How it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Ok,
    /// It works, and may not later.
    Warning,
    /// Something cannot be used.
    Failed,
}

impl Outcome {
    /// The spelling used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Which one, where there are several: the name of an index or a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How it is.
    pub outcome: Outcome,
    /// What was found, in a sentence.
    pub message: String,
    /// What to do, where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn new(check: Check, outcome: Outcome, message: impl Into<String>) -> Finding {
        Finding {
            check,
            subject: None,
            outcome,
            message: message.into(),
            advice: None,
        }
    }

    fn ok(check: Check, message: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Ok, message)
    }

    fn warning(check: Check, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            advice: Some(advice.into()),
            ..Finding::new(check, Outcome::Warning, message)
        }
    }

    fn failed(check: Check, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            advice: Some(advice.into()),
            ..Finding::new(check, Outcome::Failed, message)
        }
    }

    /// What an error says, its advice apart.
    fn of_error(check: Check, error: &Error, advice: &str) -> Finding {
        match error {
            Error::Operator(fault) => {
                let message = match &fault.source {
                    Some(source) => format!("{}: {source}", fault.message),
                    None => fault.message.clone(),
                };
                let advice = fault.advice.as_deref().unwrap_or(advice);
                Finding::failed(check, message, advice)
            }
            other => Finding::failed(check, other.to_string(), advice),
        }
    }

    fn about(mut self, subject: impl Into<String>) -> Finding {
        self.subject = Some(subject.into());
        self
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of gleaner.
    pub version: String,
    /// The worst of the outcomes.
    pub outcome: Outcome,
    /// What was looked at, in a fixed order.
    pub findings: Vec<Finding>,
}

impl Report {
    fn of(findings: Vec<Finding>) -> Report {
        let outcomes = findings.iter().map(|finding| finding.outcome);
        Report {
            version: env!("CARGO_PKG_VERSION").into(),
            outcome: outcomes.max().unwrap_or(Outcome::Ok),
            findings,
        }
    }

    /// The report where there is no configuration to look at anything with.
    pub fn without_configuration(error: &Error) -> Report {
        let advice = "mend the file or the variable that is named; config.toml in the sources \
                      explains every key";
        Report::of(vec![Finding::of_error(Check::Configuration, error, advice)])
    }
}

/// How thoroughly to look, and what else is known.
#[derive(Debug, Clone, Default)]
pub struct Examination {
    /// The configuration file that was named.
    pub file: Option<PathBuf>,
    /// Read every byte of indexes and vector files, and run every model once.
    pub full: bool,
}

/// What the checks share.
struct Patient<'a> {
    config: &'a Config,
    settings: Settings,
    full: bool,
    /// The server that works on the data folder.
    server: Option<Server>,
    inventory: Result<Inventory>,
}

/// A server that works on the data folder.
struct Server {
    /// Its process, where it can be known.
    process: Option<u32>,
}

impl Patient<'_> {
    fn data(&self) -> &Path {
        &self.config.data.folder
    }

    /// The process whose limits count: the server's, where one runs that can be looked at.
    fn process(&self) -> process::Process {
        let server = self.server.as_ref().and_then(|server| server.process);
        server.map_or(process::Process::Own, process::Process::Of)
    }
}

/// Looks at everything.
pub fn examine(config: &Config, examination: &Examination) -> Report {
    let patient = Patient {
        config,
        settings: Settings::new(config),
        full: examination.full,
        server: data::server(&config.data.folder),
        inventory: Inventory::of(&config.data.folder),
    };
    let mut findings = settings::look(config, examination.file.as_deref());
    findings.extend(data::look(&patient));
    findings.extend(listen::look(&patient));
    findings.extend(access::look(&patient));
    findings.extend(models::runtime(&patient));
    let (about_indexes, wanted) = indexes::look(&patient);
    findings.extend(models::look(&patient, wanted));
    findings.extend(about_indexes);
    findings.extend(snapshots::look(&patient));
    findings.extend(machine::look(&patient));
    Report::of(findings)
}

/// Bytes as people read them.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
