//! Plays operations against an engine.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use gateway::session::{
    Binding, Delivery, DeliveryId, Engine, LinkEvent, LinkId, Output, Publication, PublicationId,
    Refusal, UpstreamEvent, UpstreamRequest,
};
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::{Message, QoS, SearchGw};

use super::coverage::Coverage;
use super::judge::{Input, Judge};
use super::messages::emit;
use super::operation::{Event, LinkChange, Operation, Wait};
use super::places::{self, Place};
use super::setup::Setup;

mod dialogue;

/// A broken promise, and where it broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The index of the operation; the length of the list where it is the end that is not
    /// reached.
    pub at: usize,
    /// The promise.
    pub why: String,
}

/// An engine, the upstream it asks, and the nodes that were heard.
pub struct Rig {
    engine: Engine,
    judge: Judge,
    now: Instant,
    /// Requests that the upstream will give back.
    full: u8,
    publications: Vec<PublicationId>,
    subscriptions: Vec<(Arc<str>, QoS)>,
    last_delivery: u64,
    /// What was said to each place and what it said, newest last.
    told: HashMap<Binding, VecDeque<Bytes>>,
    said: HashMap<Place, VecDeque<Vec<u8>>>,
    coverage: Coverage,
    /// What the engine was given last, to tell it where that breaks something.
    last: Option<Input>,
    /// What was given and said, where that is to be told.
    story: Option<Vec<String>>,
}

/// The most that one input may lead to: everything that waits for every node, said twice.
const OUTPUTS_MAX: usize = 400;

/// How many messages of each side are kept in mind.
const MEMORY: usize = 4;

/// After this everything that a node has left behind is gone, as scripts go: the longest sleep
/// with all tolerance, and the longest that a session is kept.
const REST: Duration = Duration::from_secs(4 * 3600);

/// The same for the longest sleep that a mutated message can ask for.
const LAST: Duration = Duration::from_secs(22 * 3600);

impl Rig {
    /// Plays the operations, and then waits until everything has come to rest.
    ///
    /// # Errors
    /// A promise that was broken, or a panic.
    pub fn run(setup: &Setup, operations: &[Operation]) -> Result<Coverage, Broken> {
        let mut rig = Self::new(setup);
        for (at, operation) in operations.iter().enumerate() {
            rig.guarded(at, |rig| rig.play(operation))?;
        }
        rig.guarded(operations.len(), Self::rest)?;
        rig.coverage.operations = operations.len() as u64;
        Ok(rig.coverage)
    }

    /// Plays the operations, and returns what the engine was given and what it said, up to the
    /// end or to what broke.
    #[must_use]
    pub fn story(setup: &Setup, operations: &[Operation]) -> Vec<String> {
        let mut rig = Self::new(setup);
        rig.story = Some(Vec::new());
        for (at, operation) in operations.iter().enumerate() {
            if rig.guarded(at, |rig| rig.play(operation)).is_err() {
                break;
            }
        }
        rig.story.unwrap_or_default()
    }

    fn new(setup: &Setup) -> Self {
        let now = Instant::from_millis(1_000_000);
        let rng = Rng::new(setup.rng_seed);
        Self {
            engine: Engine::new(setup.settings.clone(), rng, now),
            judge: Judge::new(&setup.settings),
            now,
            full: 0,
            publications: Vec::new(),
            subscriptions: Vec::new(),
            last_delivery: 0,
            told: HashMap::new(),
            said: HashMap::new(),
            coverage: Coverage::default(),
            last: None,
            story: None,
        }
    }

    fn guarded(
        &mut self,
        at: usize,
        play: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), Broken> {
        let played = catch_unwind(AssertUnwindSafe(|| play(self)));
        let why = match played {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                format!("panic: {}", text.unwrap_or("?"))
            }
        };
        let (now, last) = (self.now, &self.last);
        let why = format!("{why}\n  at {now}, after {last:?}");
        Err(Broken { at, why })
    }

    fn play(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Say { place, bytes } => self.say(*place, bytes),
            Operation::Raw { place, bytes } => {
                let from = Binding {
                    node_id: None,
                    ..places::binding(*place)
                };
                self.datagram(from, bytes)
            }
            Operation::Answer { place, back, how } => match self.answer(*place, *back, *how) {
                Some(bytes) => self.say(*place, &bytes),
                None => Ok(()),
            },
            Operation::Repeat { place, back, dup } => match self.repetition(*place, *back, *dup) {
                Some(bytes) => self.say(*place, &bytes),
                None => Ok(()),
            },
            Operation::Upstream(event) => match self.event(event) {
                Some(event) => self.input(Input::Upstream(event)),
                None => Ok(()),
            },
            Operation::Full(requests) => {
                self.full = self.full.max(*requests);
                Ok(())
            }
            Operation::Link { link, what } => {
                let event = match what {
                    LinkChange::Up => LinkEvent::Up,
                    LinkChange::Down => LinkEvent::Down,
                    LinkChange::Busy(millis) => {
                        let span = Duration::from_millis(u64::from(*millis));
                        LinkEvent::BusyUntil(self.now + span)
                    }
                };
                self.input(Input::Link(LinkId(*link), event))
            }
            Operation::Wait(wait) => self.wait(*wait),
            Operation::Reconfigure(seed) => {
                let setup = Setup::new(*seed);
                self.input(Input::Settings(Box::new(setup.settings)))
            }
            Operation::Shutdown => self.input(Input::Shutdown),
        }
    }

    fn say(&mut self, place: Place, bytes: &[u8]) -> Result<(), String> {
        let said = self.said.entry(place).or_default();
        if said.len() == MEMORY {
            said.pop_front();
        }
        said.push_back(bytes.to_vec());
        let (from, datagram) = places::datagram(place, bytes);
        self.datagram(from, &datagram)
    }

    fn datagram(&mut self, from: Binding, datagram: &[u8]) -> Result<(), String> {
        self.input(Input::Datagram(from, Bytes::copy_from_slice(datagram)))
    }

    /// Hands one input to the engine, does what it says, and has everything judged.
    fn input(&mut self, input: Input) -> Result<(), String> {
        for (what, state) in self.judge.before(self.now, &input, &self.engine) {
            self.coverage.meet(what, state);
        }
        if let Some(story) = &mut self.story {
            story.push(match &input {
                Input::Datagram(from, datagram) => told(self.now, ">", from, datagram),
                other => format!("{} {other:?}", self.now),
            });
        }
        self.last = Some(input.clone());
        let is_timeout = matches!(input, Input::Timeout);
        match &input {
            Input::Datagram(from, datagram) => {
                self.engine.handle_datagram(self.now, *from, datagram);
            }
            Input::Upstream(event) => self.engine.handle_upstream(self.now, event.clone()),
            Input::Link(link, event) => self.engine.handle_link(self.now, *link, *event),
            Input::Timeout => self.engine.handle_timeout(self.now),
            Input::Settings(settings) => {
                let _ = self.engine.reconfigure(self.now, (**settings).clone());
            }
            Input::Shutdown => self.engine.shutdown(),
        }
        self.drain()?;
        if is_timeout && self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            return Err("a timeout was handled and is still due".to_owned());
        }
        self.engine.assert_consistent();
        self.judge.after(&self.engine)
    }

    fn drain(&mut self) -> Result<(), String> {
        let mut outputs = 0;
        while let Some(output) = self.engine.poll_output() {
            outputs += 1;
            if outputs > OUTPUTS_MAX {
                return Err(format!("one input led to more than {OUTPUTS_MAX} outputs"));
            }
            if let Some(story) = &mut self.story {
                story.push(match &output {
                    Output::Transmit {
                        binding, datagram, ..
                    } => told(self.now, "<", binding, datagram),
                    other => format!("{}   {other:?}", self.now),
                });
            }
            self.judge.output(&output)?;
            match output {
                Output::Transmit {
                    binding, datagram, ..
                } => {
                    let told = self.told.entry(binding).or_default();
                    if told.len() == MEMORY {
                        told.pop_front();
                    }
                    told.push_back(datagram);
                }
                Output::Upstream(request) => self.request(request)?,
                Output::Broadcast { .. } | Output::Notice(_) => {}
            }
        }
        self.coverage.outputs += outputs as u64;
        Ok(())
    }

    fn request(&mut self, request: UpstreamRequest) -> Result<(), String> {
        if self.full > 0 {
            self.full -= 1;
            self.judge.not_taken(&request);
            self.engine.handle_not_taken(&request);
            return Ok(());
        }
        self.judge.taken(&request)?;
        match request {
            UpstreamRequest::Publish { id, publication } => {
                if publication.qos != QoS::AtMostOnce {
                    self.publications.push(id);
                }
            }
            UpstreamRequest::Subscribe { filter, qos } => self.subscriptions.push((filter, qos)),
            UpstreamRequest::Unsubscribe { .. } | UpstreamRequest::Acknowledge(_) => {}
        }
        Ok(())
    }

    /// Returns what the upstream tells, if it has anything of the kind to tell.
    fn event(&mut self, event: &Event) -> Option<UpstreamEvent> {
        let refusal = |result: u8| match result {
            0 => Ok(()),
            1 => Err(Refusal::Busy),
            code => Err(Refusal::Denied(0x80 + code)),
        };
        Some(match event {
            Event::Connected => UpstreamEvent::Connected,
            Event::Disconnected => UpstreamEvent::Disconnected,
            Event::Published { index, result } => {
                let count = self.publications.len();
                let id = self
                    .publications
                    .remove(usize::from(*index).checked_rem(count)?);
                UpstreamEvent::Published {
                    id,
                    result: refusal(*result),
                }
            }
            Event::PublishedUnknown(id) => {
                let id = PublicationId(*id);
                self.publications.retain(|waiting| *waiting != id);
                UpstreamEvent::Published { id, result: Ok(()) }
            }
            Event::Subscribed {
                index,
                less,
                result,
            } => {
                let count = self.subscriptions.len();
                let (filter, _) = &self.subscriptions[usize::from(*index).checked_rem(count)?];
                // Of several for one filter the first is answered first.
                let filter = Arc::clone(filter);
                let place = self
                    .subscriptions
                    .iter()
                    .position(|(it, _)| *it == filter)?;
                let (filter, qos) = self.subscriptions.remove(place);
                let granted = if *less { QoS::AtMostOnce } else { qos };
                UpstreamEvent::Subscribed {
                    filter,
                    result: refusal(*result).map(|()| granted),
                }
            }
            Event::SubscribedUnknown(filter) => {
                let filter: Arc<str> = String::from_utf8_lossy(filter).into();
                if self
                    .subscriptions
                    .iter()
                    .any(|(waiting, _)| *waiting == filter)
                {
                    return None;
                }
                let result = Ok(QoS::AtLeastOnce);
                UpstreamEvent::Subscribed { filter, result }
            }
            Event::Delivery { .. } => UpstreamEvent::Delivery(self.delivery(event)?),
        })
    }

    fn delivery(&mut self, event: &Event) -> Option<Delivery> {
        let Event::Delivery {
            topic,
            len,
            qos,
            retain,
            expiry_s,
            filters,
        } = event
        else {
            return None;
        };
        let id = (*qos != QoS::AtMostOnce).then(|| {
            self.last_delivery += 1;
            DeliveryId(self.last_delivery)
        });
        let publication = Publication {
            topic: topic.as_str().into(),
            payload: vec![b'd'; usize::from(*len)].into(),
            qos: *qos,
            retain: *retain,
        };
        Some(Delivery {
            expiry: expiry_s.map(|seconds| Duration::from_secs(u64::from(seconds))),
            filters: filters
                .iter()
                .map(|filter| filter.as_str().into())
                .collect(),
            ..Delivery::new(id, publication)
        })
    }

    fn wait(&mut self, wait: Wait) -> Result<(), String> {
        match wait {
            Wait::Deadlines(deadlines) => {
                for _ in 0..deadlines {
                    let Some(at) = self.engine.poll_timeout() else {
                        break;
                    };
                    self.now = self.now.max(at);
                    self.input(Input::Timeout)?;
                }
                Ok(())
            }
            Wait::Millis(millis) => self.pass(Duration::from_millis(u64::from(millis))),
            Wait::Stall { millis, late } => {
                self.now += Duration::from_millis(u64::from(millis));
                if late {
                    return self.input(Input::Timeout);
                }
                Ok(())
            }
        }
    }

    /// Time passes, and every deadline on the way is met.
    fn pass(&mut self, span: Duration) -> Result<(), String> {
        let end = self.now + span;
        let mut steps = 0;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout)?;
            steps += 1;
            if steps > 10_000 {
                return Err("the engine's timers never come to rest".to_owned());
            }
        }
        self.now = end;
        Ok(())
    }

    /// The nodes are gone, the broker answers everything: nothing may stay.
    fn rest(&mut self) -> Result<(), String> {
        self.full = 0;
        self.input(Input::Upstream(UpstreamEvent::Connected))?;
        for link in 0..3 {
            self.input(Input::Link(LinkId(link), LinkEvent::Up))?;
        }
        let search = emit(&Message::SearchGw(SearchGw { radius: 0 }));
        let (end, last) = (self.now + REST, self.now + LAST);
        while self.now < end || (self.engine.sessions_len() > 0 && self.now < last) {
            self.answer_all()?;
            // The links are alive, so that those who are silent on them are lost.
            for place in [7, 6, 5] {
                let (from, datagram) = places::datagram(place, &search);
                self.datagram(from, &datagram)?;
            }
            self.pass(Duration::from_secs(100))?;
        }
        let stale = BTreeMap::from([
            ("sessions", self.engine.sessions_len()),
            ("uplinks", self.engine.uplinks_pending()),
            ("deliveries", self.engine.deliveries_held()),
            ("handshakes", self.engine.handshake_places().len()),
        ]);
        if stale.values().any(|count| *count > 0) {
            return Err(format!("left behind: {stale:?}"));
        }
        if self.engine.timers_len() > self.judge.timers_at_rest() {
            return Err(format!("{} timers left behind", self.engine.timers_len()));
        }
        self.judge.at_rest()
    }

    fn answer_all(&mut self) -> Result<(), String> {
        let (index, result, less) = (0, 0, false);
        while !self.publications.is_empty() {
            self.play(&Operation::Upstream(Event::Published { index, result }))?;
        }
        while !self.subscriptions.is_empty() {
            self.play(&Operation::Upstream(Event::Subscribed {
                index,
                less,
                result,
            }))?;
        }
        Ok(())
    }
}

/// Returns a line of the story.
fn told(now: Instant, arrow: &str, place: &Binding, datagram: &[u8]) -> String {
    let bare = match Message::parse(datagram) {
        Ok(Message::Forward(forward)) => forward.inner,
        _ => datagram,
    };
    format!("{now} {arrow} {place} {:?}", Message::parse(bare))
}
