//! Ctrl-C and SIGTERM as a flag, so that a run that is broken off still ends what it started
//! and removes its folders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this process was asked to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches for the signals from now on, on a thread of its own.
    ///
    /// # Errors
    /// Where the signals cannot be watched.
    pub(crate) fn watch() -> Result<Self> {
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let guard = runtime.enter();
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        drop(guard);
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.recv() => {}
                    _ = terminated.recv() => {}
                }
            });
            flag.store(true, Ordering::Relaxed);
        });
        Ok(interrupt)
    }

    /// Returns an error once the process was asked to end.
    ///
    /// # Errors
    /// That it was interrupted.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}
