//! `sandgrouse run`: the gateway until SIGINT or SIGTERM.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::logging::{self, LogArgs};
use crate::config::Config;
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
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    logging::init(&args.log, &config.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(&config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Taken before anything is started, so that an early signal ends it in order as well.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let gateway = Gateway::start(config).await?;
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
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
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
