//! The program itself, run in a folder of its own: no configuration, data or model of the
//! machine reaches it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use gleaner::config::Config;
use gleaner::error::Code;
use gleaner::index::{Catalog, Index};
use serde_json::Value;
use tempfile::TempDir;

use super::tiny_model::TinyModel;
use super::world::config_in;

/// The working folder of the commands; by default data lies in `data`, models in `models`.
pub struct Place {
    folder: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(command: &mut Command) -> Said {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Place {
    pub fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A place with a tiny encoder under this name; with the default encoder's, the default
    /// linker is there as well.
    pub fn with_model(name: &str) -> Place {
        let place = Place::new();
        TinyModel::default().write(&place.path("models").join(name));
        if name == "gleaner-minilm" {
            TinyModel::linker().write(&place.path("models/gleaner-linker"));
        }
        place
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gleaner"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("GLEANER") || name.starts_with("XDG_") {
                command.env_remove(&*name);
            }
        }
        command
            .current_dir(self.folder())
            .env("HOME", self.folder())
            .timeout(Duration::from_secs(60))
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        Said::of(&mut self.command(args))
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.status, Some(0), "{args:?}: {said:?}");
        said
    }

    /// The one JSON document of a command that must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.ok(&[args, &["--json"]].concat());
        one_document(&said.out)
    }

    /// Runs a command that must be refused with this code: exit status 1, nothing on
    /// standard output, and a last line of standard error that ends with the code.
    pub fn refused(&self, code: Code, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.status, Some(1), "{args:?}: {said:?}");
        assert_eq!(said.out, "", "{args:?}");
        let line = said.err.lines().last().unwrap_or_default();
        assert!(
            line.ends_with(&format!("[{code}]")) && said.err.contains("gleaner: "),
            "{args:?}: {said:?}"
        );
        said.err
    }

    /// The configuration that the commands have here by default.
    pub fn config(&self) -> Config {
        let mut config = config_in(self.folder());
        config.models.folders = vec![self.path("models")];
        config
    }

    /// Looks into an index through the library; no command may run meanwhile.
    pub fn look<T>(&self, index: &str, look: impl FnOnce(&Index) -> T) -> T {
        let catalog = Catalog::new(&self.config()).unwrap();
        look(&catalog.get(index).unwrap())
    }
}

/// Standard output with `--json`: one document on one line, and nothing else.
pub fn one_document(out: &str) -> Value {
    assert!(
        out.ends_with('\n') && out.lines().count() == 1,
        "not one line: {out:?}"
    );
    serde_json::from_str(out).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}
