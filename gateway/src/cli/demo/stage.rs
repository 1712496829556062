//! The stage: the clock, the books and the view that all of the demo share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration as StdDuration;

use shared::time::{Duration, Instant};
use shared::wire::Message;
use tokio::sync::{Notify, watch};

use super::event::{Event, Loss, Start, Way};
use super::ledger::Ledger;
use super::summary::Summary;
use super::view::View;

/// What all of the demo share.
pub(super) struct Stage {
    start: tokio::time::Instant,
    names: Vec<String>,
    ledgers: RefCell<Vec<Ledger>>,
    view: RefCell<View>,
    /// Nobody reads the view any more.
    unwatched: Notify,
    is_ending: watch::Sender<bool>,
    resting: Cell<usize>,
    /// A node rests, or a publication has arrived.
    settled: Notify,
}

impl Stage {
    pub(super) fn new(names: Vec<String>, view: View) -> Rc<Self> {
        let ledgers = names.iter().map(|_| Ledger::default()).collect();
        Rc::new(Self {
            start: tokio::time::Instant::now(),
            names,
            ledgers: RefCell::new(ledgers),
            view: RefCell::new(view),
            unwatched: Notify::new(),
            is_ending: watch::Sender::new(false),
            resting: Cell::new(0),
            settled: Notify::new(),
        })
    }

    /// Returns the time since the demo began.
    pub(super) fn now(&self) -> Instant {
        let millis = self.start.elapsed().as_millis();
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    pub(super) async fn sleep_until(&self, at: Instant) {
        let span = StdDuration::from_millis(at.since(Instant::ZERO).as_millis());
        match self.start.checked_add(span) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Returns the node's name.
    pub(super) fn name(&self, node: usize) -> &str {
        self.names.get(node).map_or("?", String::as_str)
    }

    /// Returns the nodes' names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Shows how the demo is set up.
    pub(super) fn open(&self, start: &Start) {
        self.show(|view| view.open(start));
    }

    /// Shows the summary; returns whether all that was acknowledged has arrived.
    pub(super) fn close(&self) -> bool {
        let summary = Summary::of(&self.names, &self.ledgers.borrow(), self.now());
        self.show(|view| view.close(&summary));
        summary.is_good()
    }

    /// Notes a frame that was put on the air.
    pub(super) fn sent(&self, node: usize, way: Way, frame: &[u8], loss: Option<Loss>) {
        self.with(node, |ledger| ledger.sent(self.now(), way, frame));
        if let Some(why) = loss {
            self.lost(node, way, frame, why);
        }
    }

    /// Notes a frame that did not come through.
    pub(super) fn lost(&self, node: usize, way: Way, frame: &[u8], why: Loss) {
        self.with(node, |ledger| ledger.lost(way));
        let event = Event::Lost {
            way,
            message: message_name(frame),
            octets: frame.len(),
            why,
        };
        self.tell(node, &event);
    }

    /// Notes a frame that came through.
    pub(super) fn carried(&self, node: usize, way: Way, frame: &[u8]) {
        let event = Event::Carried {
            way,
            message: message_name(frame),
            octets: frame.len(),
        };
        self.tell(node, &event);
    }

    /// Notes a frame that the node has read.
    pub(super) fn heard(&self, node: usize, frame: &[u8]) {
        if let Some(Some(event)) = self.with(node, |ledger| ledger.heard(frame)) {
            self.tell(node, &event);
        }
    }

    /// Notes a publication that the broker has handed out; others' topics are not ours.
    pub(super) fn published(&self, topic: &str, payload: &[u8]) {
        let Some((kind, name)) = topic.split_once('/') else {
            return;
        };
        let Some(node) = self.names.iter().position(|known| known == name) else {
            return;
        };
        let now = self.now();
        let event = self.with(node, |ledger| match kind {
            "readings" => ledger.reading(now, payload),
            "status" => ledger.status(now, payload),
            "cmd" => Some(ledger.command(now, payload)),
            _ => None,
        });
        if let Some(Some(event)) = event {
            self.tell(node, &event);
        }
        self.settled.notify_one();
    }

    pub(super) fn fell_asleep(&self, node: usize, span: Duration) {
        if let Some(event) = self.with(node, |ledger| ledger.fell_asleep(self.now(), span)) {
            self.tell(node, &event);
        }
    }

    pub(super) fn woke(&self, node: usize) {
        self.with(node, |ledger| ledger.woke(self.now()));
    }

    /// Returns whether a command would reach the node.
    pub(super) fn is_subscribed(&self, node: usize) -> bool {
        self.with(node, |ledger| ledger.is_subscribed()) == Some(true)
    }

    /// Returns when nobody reads the view any more.
    pub(super) async fn unwatched(&self) {
        self.unwatched.notified().await;
    }

    /// Tells the nodes to stay asleep from their next sleep on.
    pub(super) fn begin_end(&self) {
        self.is_ending.send_replace(true);
    }

    /// Returns once the demo ends.
    pub(super) async fn ending(&self) {
        // The sender is in this very value, so it cannot be gone.
        let _ = self.is_ending.subscribe().wait_for(|is| *is).await;
    }

    /// Keeps a node asleep for the rest of the demo.
    pub(super) async fn rest(&self) {
        self.resting.set(self.resting.get() + 1);
        self.settled.notify_one();
        std::future::pending().await
    }

    /// Returns when every node rests.
    pub(super) async fn all_rest(&self) {
        while self.resting.get() < self.names.len() {
            self.settled.notified().await;
        }
    }

    /// Returns when all that was acknowledged has arrived.
    pub(super) async fn all_arrived(&self) {
        let is_missing = |ledger: &Ledger| !ledger.missing().is_empty();
        while self.ledgers.borrow().iter().any(is_missing) {
            self.settled.notified().await;
        }
    }

    fn with<T>(&self, node: usize, f: impl FnOnce(&mut Ledger) -> T) -> Option<T> {
        self.ledgers.borrow_mut().get_mut(node).map(f)
    }

    fn tell(&self, node: usize, event: &Event) {
        let at = self.now();
        self.show(|view| view.show(at, self.name(node), event));
    }

    fn show(&self, f: impl FnOnce(&mut View) -> std::io::Result<()>) {
        if f(&mut self.view.borrow_mut()).is_err() {
            self.unwatched.notify_one();
        }
    }
}

fn message_name(frame: &[u8]) -> &'static str {
    Message::parse(frame).map_or("not a message", |message| message.kind().name())
}
