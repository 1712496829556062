//! `sandgrouse run`: the gateway until SIGINT or SIGTERM; SIGHUP reads the configuration anew.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::logging::{self, Log, LogArgs};
use super::reload::{Reloader, warn_of};
use crate::config::Reading;
use crate::driver::Gateway;

/// How to run the gateway.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct RunArgs {
    /// The configuration file; without one the defaults serve
    #[arg(short, long, value_name = "FILE", env = "SANDGROUSE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let reading = match &args.config {
        Some(path) => Reading::load(path)?,
        None => Reading::of_nothing(),
    };
    let log = logging::init(&args.log, &reading.config.log)?;
    warn_of(&reading.warnings);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(reading, args.config.clone(), log))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(reading: Reading, path: Option<PathBuf>, log: Log) -> anyhow::Result<()> {
    let config = &reading.config;
    // Taken before anything is started, so that an early signal ends it in order as well.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let gateway = Gateway::start(config).await?;
    let mut reloader = Reloader::new(path, gateway.handle(), log, &reading.values);
    for link in gateway.links() {
        info!(
            link = link.name(),
            at = link.local_address().map(tracing::field::display),
            "open"
        );
    }
    match gateway.broker_addr() {
        Some(address) => info!(%address, "embedded broker, no upstream is configured"),
        None => {
            if let Some(upstream) = &config.upstream {
                info!(url = %upstream.url, "upstream");
            }
        }
    }
    info!("ready");
    let stats = gateway
        .run(async {
            let signal = loop {
                tokio::select! {
                    _ = terminate.recv() => break "SIGTERM",
                    _ = interrupt.recv() => break "SIGINT",
                    _ = hangup.recv() => reloader.reload().await,
                }
            };
            info!(signal, "stopping");
        })
        .await;
    info!(
        publications_up = stats.publications_up,
        publications_down = stats.publications_down,
        dropped = stats.dropped,
        "stopped"
    );
    Ok(())
}
