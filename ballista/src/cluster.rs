//! The scheduler and the executors.

use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use crate::unit::{NAME, Runner, encode_shard};

/// How often executors say that they are there, and how often it is looked who does not, in
/// seconds. Ballista's own (60 and 15, and 180 until one counts as lost) would leave the units
/// of a lost machine undone for minutes.
const HEARTBEAT: u64 = 2;

/// What a job is planned with: the function, and nothing that runs it.
pub(crate) fn session(config: SessionConfig) -> datafusion::error::Result<SessionState> {
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .build();
    state.register_udf(Arc::new(encode_shard(None)))?;
    Ok(state)
}

pub(crate) async fn scheduler(
    listen: &str,
    executor_timeout: u64,
    attempts: usize,
) -> Result<(), String> {
    let address: std::net::SocketAddr = listen
        .parse()
        .map_err(|e| format!("{listen} is no address: {e}"))?;
    let config = SchedulerConfig {
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        executor_timeout_seconds: executor_timeout.max(2 * HEARTBEAT),
        expire_dead_executor_interval_seconds: HEARTBEAT,
        // A cluster that has lost its last executor waits for another one.
        no_executors_grace_period_seconds: 600,
        task_max_failures: attempts,
        stage_max_failures: attempts,
        override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
        override_session_builder: Some(Arc::new(session)),
        ..SchedulerConfig::default()
    };
    let failed = |e: ballista_core::error::BallistaError| format!("the scheduler ended: {e}");
    let cluster = BallistaCluster::new_from_config(&config)
        .await
        .map_err(failed)?;
    start_server(cluster, address, Arc::new(config))
        .await
        .map_err(failed)
}

/// Where an executor is reached.
pub(crate) struct Place {
    pub(crate) bind: String,
    pub(crate) external_host: Option<String>,
    pub(crate) port: u16,
}

pub(crate) async fn executor(
    scheduler: &str,
    place: Place,
    units: usize,
    gleaner: PathBuf,
) -> Result<(), String> {
    let (host, port) = scheduler
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_string(), port.parse().ok()?)))
        .ok_or_else(|| format!("{scheduler} is no HOST:PORT"))?;
    let name = format!(
        "{}:{}",
        place.external_host.as_deref().unwrap_or(&place.bind),
        place.port
    );
    let mut functions = BallistaFunctionRegistry::default();
    let function = encode_shard(Some(Runner {
        gleaner,
        executor: name.clone(),
    }));
    functions
        .scalar_functions
        .insert(NAME.into(), Arc::new(function));
    let config = ExecutorProcessConfig {
        external_host: Some(place.external_host.unwrap_or_else(|| place.bind.clone())),
        bind_host: place.bind,
        port: place.port,
        grpc_port: place
            .port
            .checked_add(1)
            .ok_or("there is no port after the last one")?,
        scheduler_host: host,
        scheduler_port: port,
        scheduler_connect_timeout_seconds: 60,
        vcores: units.max(1),
        executor_heartbeat_interval_seconds: HEARTBEAT,
        // Of answers there is next to nothing; the programs have memory of their own.
        memory_pool_size: Some(0),
        override_function_registry: Some(Arc::new(functions)),
        override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config))
        .await
        .map_err(|e| format!("the executor ended: {e}"))
}
