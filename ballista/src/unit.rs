//! `encode_shard(source, target, definition)`: a unit, by the program.
//!
//! Its answer is what `gleaner encode --json` prints, with the name of the executor. An exit
//! status that says that trying again may help, and a program that was killed, become an
//! I/O error, which Ballista retries; every other failure an execution error, which ends the
//! job and says why.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use serde_json::Value as Json;

/// The function's name in SQL.
pub(crate) const NAME: &str = "encode_shard";
/// `EX_TEMPFAIL`: what gleaner encode ends with where trying again may help.
const TRY_AGAIN: i32 = 75;

/// Who runs units.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    /// The gleaner program.
    pub(crate) gleaner: PathBuf,
    /// The executor's name.
    pub(crate) executor: String,
}

/// The function: with a runner on executors; without one where it is only planned.
pub(crate) fn encode_shard(runner: Option<Runner>) -> ScalarUDF {
    let run = move |args: &[ColumnarValue]| match &runner {
        Some(runner) => all(runner, args),
        None => Err(DataFusionError::Execution(format!(
            "{NAME} runs on executors only"
        ))),
    };
    create_udf(
        NAME,
        vec![DataType::Utf8; 3],
        DataType::Utf8,
        // Its value is what it does: never computed ahead, never left out.
        Volatility::Volatile,
        Arc::new(run),
    )
}

fn all(runner: &Runner, args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(args)?;
    let [sources, targets, definitions] = <[ArrayRef; 3]>::try_from(arrays)
        .map_err(|_| DataFusionError::Execution(format!("{NAME} takes three texts")))?;
    let texts = |array: &ArrayRef, row: usize| -> Result<String> {
        let texts = array
            .as_string_opt::<i32>()
            .filter(|texts| texts.is_valid(row))
            .ok_or_else(|| DataFusionError::Execution("a unit without a text".into()))?;
        Ok(texts.value(row).to_string())
    };
    let mut answers = Vec::with_capacity(sources.len());
    for row in 0..sources.len() {
        let (source, target) = (texts(&sources, row)?, texts(&targets, row)?);
        let definition = texts(&definitions, row)?;
        answers.push(one(runner, &source, &target, &definition)?);
    }
    Ok(ColumnarValue::Array(Arc::new(StringArray::from(answers))))
}

fn one(runner: &Runner, source: &str, target: &str, definition: &str) -> Result<String> {
    let again = |what: String| {
        log::warn!("{source}: {what}");
        DataFusionError::IoError(IoError::new(ErrorKind::Interrupted, what))
    };
    log::info!("{source} -> {target}");
    let output = waiting(|| run(&runner.gleaner, source, target, definition))
        .map_err(|e| again(format!("{} cannot be run: {e}", runner.gleaner.display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or_default().to_string();
    match output.status.code() {
        Some(0) => {}
        Some(TRY_AGAIN) => return Err(again(said)),
        // Killed, for want of memory perhaps.
        None => return Err(again(format!("ended by {}", output.status))),
        Some(_) => return Err(DataFusionError::Execution(format!("{source}: {said}"))),
    }
    let mut answer: Json = serde_json::from_slice(&output.stdout)
        .map_err(|e| DataFusionError::Execution(format!("{source}: no answer: {e}")))?;
    answer["executor"] = Json::from(runner.executor.as_str());
    Ok(answer.to_string())
}

fn run(
    gleaner: &Path,
    source: &str,
    target: &str,
    definition: &str,
) -> std::io::Result<std::process::Output> {
    Command::new(gleaner)
        .args(["encode", source, target, "--definition", definition])
        .args(["--json", "--quiet"])
        .stdin(Stdio::null())
        .output()
}

/// Does what takes long without keeping the thread's other tasks waiting, where that is
/// possible.
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let flavor = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that says and does what the source asks for.
    fn program(folder: &Path) -> Runner {
        let path = folder.join("program");
        let script = "#!/bin/sh\necho \"what went wrong\" >&2\ncase $2 in\n\
                      good) echo '{\"state\":\"encoded\"}';;\nagain) exit 75;;\n\
                      dead) kill -9 $$;;\n*) exit 1;;\nesac\n";
        std::fs::write(&path, script).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Runner {
            gleaner: path,
            executor: "e1".into(),
        }
    }

    #[test]
    fn failures_are_retried_where_that_may_help() {
        let folder = std::env::temp_dir().join(format!("gleaner-ballista-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let runner = program(&folder);
        let run = |source: &str| one(&runner, source, "t", "d");
        let answer: Json = serde_json::from_str(&run("good").unwrap()).unwrap();
        assert_eq!(
            answer,
            serde_json::json!({"state": "encoded", "executor": "e1"})
        );
        for source in ["again", "dead"] {
            assert!(
                matches!(run(source), Err(DataFusionError::IoError(_))),
                "{source}"
            );
        }
        let failed = run("bad").unwrap_err();
        assert!(matches!(&failed, DataFusionError::Execution(why) if why.contains("went wrong")));
        let missing = Runner {
            gleaner: folder.join("missing"),
            ..runner
        };
        let failed = one(&missing, "good", "t", "d");
        assert!(matches!(failed, Err(DataFusionError::IoError(_))));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
