//! SIGHUP: the configuration is read anew, and what can change in a running gateway changes.
//!
//! The whole file is judged first; where anything in it is wrong, nothing of it is taken. What
//! changes is logged by key, with the value before and after. A key that only a start can take
//! ([`Applies::AtStart`]) is named in a warning, each time until it is as it was or the gateway
//! is started anew; all others are taken. Sessions stay.

use std::path::PathBuf;

use tracing::{error, info, warn};

use super::check::{CheckError, load};
use super::logging::Log;
use crate::config::schema::Applies;
use crate::config::{Change, ConfigError, LogConfig, Problems, Reading, Values};
use crate::driver::GatewayHandle;

/// The changes that get a line each; of further ones only the number is told.
const LINES_MAX: usize = 100;

/// Reads the configuration of a running gateway anew.
#[derive(Debug)]
pub(super) struct Reloader {
    path: Option<PathBuf>,
    gateway: GatewayHandle,
    log: Log,
    /// What the gateway was started with.
    started: Values,
    /// What was read last.
    latest: Values,
}

impl Reloader {
    /// Creates the reloader of a gateway that was started with `values` from the file at `path`.
    pub(super) fn new(
        path: Option<PathBuf>,
        gateway: GatewayHandle,
        log: Log,
        values: &Values,
    ) -> Self {
        Self {
            path,
            gateway,
            log,
            started: values.clone(),
            latest: values.clone(),
        }
    }

    /// Reads the file, and has the gateway go by it where all of it is right.
    pub(super) async fn reload(&mut self) {
        let Some(path) = self.path.clone() else {
            warn!("SIGHUP: the gateway runs without a configuration file, nothing to read");
            return;
        };
        let shown = path.display().to_string();
        // A file may lie on a slow disk or somewhere in a network.
        let Ok(read) = tokio::task::spawn_blocking(move || load(&path)).await else {
            return;
        };
        match read {
            Ok(reading) => self.take(&shown, reading).await,
            Err(error) => {
                refuse(&error);
                error!(file = shown, "not taken: everything stays as it was");
            }
        }
    }

    async fn take(&mut self, file: &str, reading: Reading) {
        let Reading {
            config,
            values,
            warnings,
        } = reading;
        warn_of(&warnings);
        let changes = self.latest.changes(&values);
        let waiting = self.started.changes(&values);
        let waiting: Vec<&Change> = of_kind(&waiting, Applies::AtStart);
        tell(&of_kind(&changes, Applies::AtReload));
        self.apply_level(&changes, &config.log);
        let Some(done) = self.gateway.reload(config).await else {
            return;
        };
        self.latest = values;
        tell_waiting(&waiting);
        info!(
            file,
            changes = changes.len(),
            need_restart = waiting.len(),
            sessions_kept = done.sessions_kept,
            sessions_ended = done.sessions_ended,
            subscriptions_removed = done.subscriptions_removed,
            wills_removed = done.wills_removed,
            "configuration read anew"
        );
    }

    fn apply_level(&self, changes: &[Change], log: &LogConfig) {
        if !changes.iter().any(|change| change.key == "log.level") {
            return;
        }
        match self.log.apply(log) {
            Ok(true) => {}
            Ok(false) => warn!("--log-level or RUST_LOG goes before log.level"),
            Err(error) => warn!(%error, "the level of the log stays"),
        }
    }
}

/// Logs what in a configuration does not do what it seems to.
pub(super) fn warn_of(warnings: &Problems) {
    for warning in &warnings.list {
        warn!("{}:{warning}", warnings.file);
    }
}

fn of_kind(changes: &[Change], applies: Applies) -> Vec<&Change> {
    let same = |change: &&Change| change.applies == applies;
    changes.iter().filter(same).collect()
}

fn refuse(error: &CheckError) {
    match error {
        CheckError::Config(ConfigError::Invalid(problems)) => {
            for problem in problems.list.iter().take(LINES_MAX) {
                error!("{}:{problem}", problems.file);
            }
            tell_rest(problems.list.len());
        }
        _ => error!("{error}"),
    }
}

fn tell(changes: &[&Change]) {
    for change in changes.iter().take(LINES_MAX) {
        let (old, new) = texts(change);
        info!(key = change.key, old, new, "changed");
    }
    tell_rest(changes.len());
}

fn tell_waiting(changes: &[&Change]) {
    for change in changes.iter().take(LINES_MAX) {
        let (old, new) = texts(change);
        warn!(key = change.key, old, new, "needs a restart");
    }
    tell_rest(changes.len());
}

fn tell_rest(count: usize) {
    if count > LINES_MAX {
        info!(more = count - LINES_MAX, "and others");
    }
}

/// What is shown where no value holds.
const NOTHING: &str = "none";

fn texts(change: &Change) -> (&str, &str) {
    let old = change.old.as_deref().unwrap_or(NOTHING);
    let new = change.new.as_deref().unwrap_or(NOTHING);
    (old, new)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::{Arc, Mutex};

    use super::super::logging::{LogArgs, subscriber};
    use super::*;
    use crate::config::{LinkKind, UdpConfig};
    use crate::driver::Gateway;

    #[tokio::test]
    async fn without_a_file_there_is_nothing_to_read() {
        let mut reading = Reading::of_nothing();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        reading.config.broker.listen = any_port;
        reading.config.links[0].kind = LinkKind::Udp(UdpConfig {
            listen: any_port,
            ..UdpConfig::default()
        });
        let gateway = Gateway::start(&reading.config).await.unwrap();
        let sink = Sink::default();
        let writer = sink.clone();
        let args = LogArgs::default();
        let (subscriber, log) =
            subscriber(&args, &reading.config.log, move || writer.clone()).unwrap();
        let mut reloader = Reloader::new(None, gateway.handle(), log, &reading.values);
        let guard = tracing::subscriber::set_default(subscriber);
        reloader.reload().await;
        drop(guard);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(
            text.contains("without a configuration file, nothing to read"),
            "{text}"
        );
        gateway.run(std::future::ready(())).await;
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
