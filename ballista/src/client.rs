//! Asking a cluster to run a manifest.

use std::io::Write;
use std::path::Path;

use ballista::prelude::SessionContextExt;
use ballista_core::config::BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK;
use ballista_core::extension::SessionConfigExt;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};

use crate::unit::{NAME, encode_shard};

/// Runs every unit of a folder of one-row files.
pub(crate) async fn run(scheduler: &str, units: &Path) -> Result<(), String> {
    let entries = std::fs::read_dir(units)
        .map_err(|e| format!("{} cannot be listed: {e}", units.display()))?;
    let count = entries.count();
    let folder = std::path::absolute(units).map_err(|e| e.to_string())?;
    let folder = folder.to_str().ok_or("a folder whose name is no text")?;
    // As many partitions as there are units, and one of them in a task: what is lost with an
    // executor is one unit, and who is done first takes the next.
    let config = SessionConfig::new_with_ballista()
        .with_target_partitions(count.max(1))
        .set_str(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1");
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .build();
    let failed = |e: datafusion::error::DataFusionError| e.to_string();
    let context = SessionContext::remote_with_state(scheduler, state)
        .await
        .map_err(failed)?;
    // After the state was made a cluster's: that brings functions of its own.
    context.register_udf(encode_shard(None));
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let schema = Schema::new(vec![text("source"), text("target"), text("definition")]);
    let options = CsvReadOptions::new()
        .has_header(true)
        .file_extension(".csv")
        .schema(&schema);
    context
        .register_csv("units", &format!("{folder}/"), options)
        .await
        .map_err(failed)?;
    let query = format!("SELECT {NAME}(source, target, definition) FROM units");
    let answer = context.sql(&query).await.map_err(failed)?;
    let mut out = std::io::stdout().lock();
    for batch in answer.collect().await.map_err(failed)? {
        let Some(lines) = batch.column(0).as_string_opt::<i32>() else {
            return Err("the cluster answers something else than texts".into());
        };
        for row in (0..lines.len()).filter(|row| lines.is_valid(*row)) {
            writeln!(out, "{}", lines.value(row)).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
