//! A link that is sent to no faster than it can carry: the pacer with a clock and a task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::clock::Clock;
use super::drops::Drops;
use super::outlet::Sender;
use super::pacing::{Pacer, Target, Waiting};
use super::stats::DropReason;
use crate::config::PacingConfig;
use crate::session::{Binding, Peer, Priority};

/// The driver's end of a paced link.
#[derive(Debug)]
pub(super) struct Paced {
    gate: Arc<Gate>,
    sender: Arc<Mutex<Sender>>,
    _pump: AbortOnDropHandle<()>,
}

impl Paced {
    /// Starts the task that sends what waits when its time has come.
    pub(super) fn start(gate: Arc<Gate>, sender: Sender) -> Self {
        let sender = Arc::new(Mutex::new(sender));
        let pump = pump(gate.clone(), sender.clone());
        Self {
            gate,
            sender,
            _pump: AbortOnDropHandle::new(tokio::spawn(pump)),
        }
    }

    pub(super) fn sender(&self) -> MutexGuard<'_, Sender> {
        lock(&self.sender)
    }

    pub(super) fn send(&self, to: Target, priority: Priority, datagram: &[u8]) {
        let sendable = self.sender().check(to, datagram.len());
        if let Err(reason) = sendable {
            return self.gate.dropped(reason, to, datagram.len());
        }
        let mut pacer = self.gate.pacer();
        let pushed = pacer.push(to, priority, datagram, |to, waiting| {
            self.gate.evicted(DropReason::QueueFull, to, waiting);
        });
        match pushed {
            // What goes at once needs no turn of the task.
            Ok(()) => self.gate.release(&mut pacer, &self.sender),
            // The repetition is not lost: the one that waits is the same.
            Err(DropReason::Coalesced) => self.gate.drops.counted(DropReason::Coalesced, 1),
            Err(reason) => self.gate.dropped(reason, to, datagram.len()),
        }
        self.gate.changed.notify_one();
    }

    /// Returns when all that is queued or on the air will be through.
    pub(super) fn busy_until(&self) -> Option<tokio::time::Instant> {
        let clock = self.gate.clock;
        let until = self.gate.pacer().busy_until(clock.now())?;
        Some(clock.at(until))
    }

    /// Waits until nothing is queued any more.
    pub(super) async fn flush(&self) {
        loop {
            let emptied = self.gate.emptied.notified();
            if self.gate.pacer().is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

/// The pacer of a link, as both ends of the link know it.
#[derive(Debug)]
pub(super) struct Gate {
    name: Arc<str>,
    clock: Clock,
    pacer: Mutex<Pacer>,
    drops: Arc<Drops>,
    changed: Notify,
    emptied: Notify,
}

impl Gate {
    pub(super) fn new(
        name: Arc<str>,
        config: PacingConfig,
        max_message: usize,
        drops: Arc<Drops>,
    ) -> Self {
        Self {
            name,
            clock: Clock::start(),
            pacer: Mutex::new(Pacer::new(config, max_message)),
            drops,
            changed: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Notes that a datagram has come from a node.
    pub(super) fn heard(&self) {
        self.pacer().heard(self.clock.now());
    }

    /// Drops what waits for a link that is gone: it would be old news when the link comes back.
    pub(super) fn drop_queued(&self) {
        let mut pacer = self.pacer();
        pacer.clear(|to, waiting| self.evicted(DropReason::LineDown, to, waiting));
        self.emptied.notify_waiters();
    }

    /// Sends what may go now.
    fn release(&self, pacer: &mut Pacer, sender: &Mutex<Sender>) {
        while let Some((to, datagram)) = pacer.poll_transmit(self.clock.now()) {
            let mut sender = lock(sender);
            match to {
                Target::Node(binding) => sender.send(binding.peer, &datagram),
                Target::Everyone(radius) => sender.broadcast(radius, &datagram),
            }
        }
        if pacer.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    fn evicted(&self, reason: DropReason, to: Target, waiting: &Waiting) {
        self.dropped(reason, to, waiting.datagram.len());
    }

    fn dropped(&self, reason: DropReason, to: Target, octets: usize) {
        let name = &self.name;
        match to {
            Target::Node(Binding {
                peer: Peer::Socket(address),
                ..
            }) => self
                .drops
                .dropped(reason, format_args!("{name}/{address}"), octets),
            _ => self.drops.dropped(reason, name, octets),
        }
    }

    fn pacer(&self) -> MutexGuard<'_, Pacer> {
        lock(&self.pacer)
    }
}

/// The task that sends what waits when its time has come.
async fn pump(gate: Arc<Gate>, sender: Arc<Mutex<Sender>>) {
    loop {
        let next = {
            let mut pacer = gate.pacer();
            gate.release(&mut pacer, &sender);
            pacer.poll_timeout()
        };
        let changed = gate.changed.notified();
        match next {
            None => changed.await,
            Some(next) => tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(gate.clock.at(next)) => {}
            },
        }
    }
}

/// Locks what another thread may have left in the middle of a change: its counts may be off by
/// one datagram, and it goes on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
