//! The life of a node.

use core::fmt;

use embassy_futures::select::{Either, select};
use shared::client::{Client, CommandError, ConfigError, Event, GatewayAddr, Phase};
use shared::rng::Rng;
use shared::time::{Duration, Instant};

use crate::command::{Action, Command};
use crate::outbox::{Outbox, Publication, Target};
use crate::payload::{Outcome, PAYLOAD_LEN_MAX, Reading, Status};
use crate::ports::{Clock, Power, Radio, Sensor, Storage};
use crate::settings::{DATAGRAM_LEN_MAX, Settings, SettingsError, Topic};
use crate::state::{Sequence, State};

/// The parts of a board that a node is made of.
#[derive(Debug)]
pub struct Parts<R, S, M, P, C> {
    /// The way to the gateway.
    pub radio: R,
    /// Where settings and state are.
    pub storage: S,
    /// What measures.
    pub sensor: M,
    /// What sleeps.
    pub power: P,
    /// What tells the time.
    pub clock: C,
}

/// A node: its board's parts, its settings and the protocol machine between them.
#[derive(Debug)]
pub struct Node<R, S, M, P, C> {
    parts: Parts<R, S, M, P, C>,
    client: NodeClient,
    settings: Settings,
    topics: Topics,
    state: State,
    sequence: Sequence,
    outbox: Outbox,
    led: bool,
    radio_is_up: bool,
    next_report: Instant,
    stats: NodeStats,
}

/// What a node has done since it started; counters wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Readings taken.
    pub readings: u32,
    /// Publications that the gateway has acknowledged (at QoS 0: that were sent).
    pub published: u32,
    /// Publications that the gateway, or the protocol machine, refused for good.
    pub refused: u32,
    /// Publications dropped, the oldest first, because too many waited.
    pub dropped: u32,
    /// Commands that arrived, repeated ones included.
    pub commands: u32,
    /// Sleeps.
    pub sleeps: u32,
    /// Times the gateway was lost.
    pub gateway_losses: u32,
    /// Failures of the sensor, each of which cost a reading.
    pub sensor_errors: u32,
    /// Failures of the radio.
    pub radio_errors: u32,
    /// Failures of the storage.
    pub storage_errors: u32,
}

impl NodeStats {
    /// Returns whether everything that was to be published is with the gateway.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.refused == 0 && self.dropped == 0 && self.sensor_errors == 0
    }
}

impl<R, S, M, P, C> Node<R, S, M, P, C>
where
    R: Radio,
    S: Storage,
    M: Sensor,
    P: Power,
    C: Clock,
{
    /// Reads settings and state from the storage and prepares a node that has sent nothing yet.
    ///
    /// # Errors
    /// [`StartError`], where the storage fails or its settings are not valid.
    pub async fn start(mut parts: Parts<R, S, M, P, C>) -> Result<Self, StartError<S::Error>> {
        let settings = Settings::load(&mut parts.storage).await?;
        let mut state = State::load(&mut parts.storage)
            .await
            .map_err(StartError::Storage)?;
        state.boots = state.boots.wrapping_add(1);
        let config = settings.client_config().map_err(StartError::Config)?;
        let client = NodeClient::new(config, rng(&settings, &state)).map_err(StartError::Config)?;
        Ok(Self {
            topics: Topics::new(&settings),
            sequence: Sequence::after(&state),
            next_report: parts.clock.now(),
            outbox: Outbox::default(),
            led: false,
            radio_is_up: false,
            stats: NodeStats::default(),
            parts,
            client,
            settings,
            state,
        })
    }

    /// Lives: measures, publishes, collects commands and sleeps, again and again. Returns only
    /// where the settings limit the readings, when all of it is done and the node is asleep.
    ///
    /// # Errors
    /// What the protocol machine does not take of the settings' command topic, at the start.
    ///
    /// # Cancellation Safety
    /// Dropping the future stops the node where it is, and the next call goes on from there. A
    /// datagram that was being sent is lost, which the protocol makes good.
    pub async fn run(&mut self) -> Result<NodeStats, CommandError> {
        if self.client.phase() == Phase::Off {
            let filter = self.topics.command.as_client();
            self.client.subscribe(filter, COMMAND_QOS)?;
            self.client.connect(self.parts.clock.now())?;
        }
        loop {
            if self.parts.clock.now() >= self.next_report {
                self.report_on_time().await;
            }
            self.exchange().await;
            if self.is_done() {
                return Ok(self.stats);
            }
            self.rest().await;
        }
    }

    /// Returns what the node has done so far.
    pub const fn stats(&self) -> &NodeStats {
        &self.stats
    }

    /// Returns the settings in force, without what commands have changed since.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Gives the board's parts back, as a loss of power would.
    pub fn into_parts(self) -> Parts<R, S, M, P, C> {
        self.parts
    }

    /// Takes a reading and sets the time of the next one.
    async fn report_on_time(&mut self) {
        let now = self.parts.clock.now();
        self.next_report += self.interval();
        if self.next_report <= now {
            // Late by more than an interval: what was missed is not made up for.
            self.next_report = now + self.interval();
        }
        if !self.readings_done() {
            self.report().await;
        }
    }

    async fn report(&mut self) {
        let Ok(sample) = self.parts.sensor.sample().await else {
            self.stats.sensor_errors = self.stats.sensor_errors.wrapping_add(1);
            return;
        };
        let reserved = self
            .sequence
            .next(&mut self.state, &mut self.parts.storage)
            .await;
        if reserved.1.is_err() {
            self.stats.storage_errors = self.stats.storage_errors.wrapping_add(1);
        }
        let reading = Reading {
            sequence: reserved.0,
            uptime_s: u32::try_from(self.parts.clock.now().as_millis() / 1000).unwrap_or(u32::MAX),
            battery_mv: sample.battery_mv,
            value_milli: sample.value_milli,
        };
        self.stats.readings = self.stats.readings.wrapping_add(1);
        self.enqueue(Publication::new(Target::Reading, &reading));
    }

    fn enqueue(&mut self, publication: Publication) {
        if self.outbox.push(publication) {
            self.stats.dropped = self.stats.dropped.wrapping_add(1);
        }
    }

    /// Talks to the gateway until nothing is left to say: publishes, then collects commands.
    async fn exchange(&mut self) {
        self.radio_is_up = self.parts.radio.power_up().await.is_ok();
        if !self.radio_is_up {
            self.count_radio_error();
            return;
        }
        let mut collected = false;
        loop {
            let now = self.parts.clock.now();
            if self.client.poll_timeout().is_some_and(|due| due <= now) {
                self.client.handle_timeout(now);
            }
            self.settle().await;
            if self.client.is_quiet() {
                // Once in each exchange, and after the publications, so that one wake brings
                // the commands that these may have caused.
                let asleep = self.client.phase() == Phase::Asleep;
                if collected || !asleep || self.client.wake().is_err() {
                    break;
                }
                collected = true;
                continue;
            }
            self.wait().await;
        }
        if self.parts.radio.power_down().await.is_err() {
            self.count_radio_error();
        }
    }

    /// Hands publications over, takes every event and sends every datagram, until all three
    /// have run dry.
    async fn settle(&mut self) {
        loop {
            self.hand_over();
            // An acknowledgement leaves with the transmissions that follow, so what a command
            // changes is stored by then.
            let mut progress = false;
            while let Some(seen) = self.next_event() {
                progress = true;
                self.handle(seen).await;
            }
            let mut buf = [0; DATAGRAM_LEN_MAX];
            while let Some(transmit) = self.client.poll_transmit(self.parts.clock.now(), &mut buf) {
                progress = true;
                let datagram = buf.get(..transmit.len).unwrap_or(&[]);
                if self.parts.radio.transmit(datagram).await.is_err() {
                    self.count_radio_error();
                }
            }
            if !progress {
                return;
            }
        }
    }

    /// Gives the protocol machine the next publications, as far as it has room.
    fn hand_over(&mut self) {
        let qos = self.settings.publish_qos();
        while let Some(next) = self.outbox.front() {
            let topic = self.topics.of(next.to).as_client();
            match self.client.publish(topic, qos, false, &next.payload) {
                Ok(_token) => {}
                Err(CommandError::QueueFull) => return,
                Err(_) => self.stats.refused = self.stats.refused.wrapping_add(1),
            }
            self.outbox.pop();
        }
    }

    fn next_event(&mut self) -> Option<Seen> {
        Some(match self.client.poll_event()? {
            Event::Connected { .. } => Seen::Connected,
            Event::Published { .. } => Seen::Published,
            Event::PublishFailed { .. } => Seen::Refused,
            Event::Received(received) => Seen::Command(Command::parse(received.payload)),
            Event::GatewayLost => Seen::GatewayLost,
            _ => Seen::Other,
        })
    }

    async fn handle(&mut self, seen: Seen) {
        let stats = &mut self.stats;
        match seen {
            // Lost again already, it will be told of the next connection.
            Seen::Connected => drop(self.client.sleep(u32::from(self.settings.sleep_s))),
            Seen::Published => stats.published = stats.published.wrapping_add(1),
            Seen::Refused => stats.refused = stats.refused.wrapping_add(1),
            Seen::GatewayLost => stats.gateway_losses = stats.gateway_losses.wrapping_add(1),
            Seen::Command(command) => self.obey(command).await,
            Seen::Other => {}
        }
    }

    /// Carries a command out and queues its confirmation.
    async fn obey(&mut self, command: Command) {
        self.stats.commands = self.stats.commands.wrapping_add(1);
        let outcome = match command.action {
            Err(outcome) => outcome,
            // A QoS 1 command may come twice, and after a restart.
            Ok(_) if command.id != 0 && command.id == self.state.command_id => Outcome::Repeated,
            Ok(action) => self.act(command.id, action).await,
        };
        let status = Status {
            command_id: command.id,
            outcome,
            commands: self.stats.commands,
            interval_s: self.interval_s(),
            led: self.led,
            dropped: self.stats.dropped,
            boots: self.state.boots,
        };
        self.enqueue(Publication::new(Target::Status, &status));
    }

    async fn act(&mut self, id: u32, action: Action) -> Outcome {
        let mut wanted = self.state;
        if id != 0 {
            wanted.command_id = id;
        }
        if let Action::Interval(seconds) = action {
            wanted.interval_s = Some(seconds);
        }
        if wanted != self.state {
            if wanted.save(&mut self.parts.storage).await.is_err() {
                self.stats.storage_errors = self.stats.storage_errors.wrapping_add(1);
                return Outcome::Storage;
            }
            self.state = wanted;
        }
        match action {
            Action::Interval(_) => self.next_report = self.parts.clock.now() + self.interval(),
            Action::Report => self.report().await,
            Action::Led(on) => {
                self.led = on;
                self.parts.power.switch_led(on);
            }
        }
        Outcome::Done
    }

    /// Waits for a datagram or for the time that the protocol machine has set.
    async fn wait(&mut self) {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        let Parts { radio, clock, .. } = &mut self.parts;
        let due = self.client.poll_timeout();
        let timeout = async {
            match due {
                Some(due) => clock.wait_until(due).await,
                None => core::future::pending().await,
            }
        };
        match select(radio.receive(&mut buf), timeout).await {
            Either::First(Ok(len)) => {
                let datagram = buf.get(..len).unwrap_or(&[]);
                let now = clock.now();
                self.client
                    .handle_datagram(now, GatewayAddr::POINT_TO_POINT, datagram);
            }
            Either::First(Err(_)) => {
                self.count_radio_error();
                // A radio that fails at once must not keep the node from its timers.
                let again = self.parts.clock.now() + RADIO_PAUSE;
                self.parts.clock.wait_until(again).await;
            }
            Either::Second(()) => {}
        }
    }

    /// Sleeps until the next reading is due or the protocol machine needs the radio. A radio
    /// that could not be switched on is not tried again before the next reading: joining a
    /// network that is not there costs more than any message.
    async fn rest(&mut self) {
        let due = match self.client.poll_timeout() {
            Some(due) if self.radio_is_up => due.min(self.next_report),
            _ => self.next_report,
        };
        let span = due.since(self.parts.clock.now());
        if span > Duration::ZERO {
            self.stats.sleeps = self.stats.sleeps.wrapping_add(1);
            self.parts.power.sleep(span).await;
        }
    }

    fn count_radio_error(&mut self) {
        self.stats.radio_errors = self.stats.radio_errors.wrapping_add(1);
    }

    fn interval_s(&self) -> u32 {
        self.state.interval_s.unwrap_or(self.settings.interval_s)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.interval_s()))
    }

    const fn readings_done(&self) -> bool {
        let limit = self.settings.readings_limit;
        limit != 0 && self.stats.readings >= limit
    }

    fn is_done(&self) -> bool {
        self.readings_done()
            && self.stats.commands >= self.settings.commands_awaited
            && self.outbox.is_empty()
            && self.client.queued() == 0
            && self.client.phase() == Phase::Asleep
    }
}

/// Why a node cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError<E> {
    /// The storage reports this.
    Storage(E),
    /// There are no settings, or which are not valid.
    Settings(SettingsError),
    /// The protocol machine does not take the settings.
    Config(ConfigError),
}

impl<E: fmt::Debug> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => write!(f, "storage: {error:?}"),
            Self::Settings(error) => write!(f, "settings: {error}"),
            Self::Config(error) => write!(f, "settings: {error}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for StartError<E> {}

/// The events that the application acts on, without borrowing from the protocol machine.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Connected,
    Published,
    Refused,
    Command(Command),
    GatewayLost,
    Other,
}

#[derive(Debug)]
struct Topics {
    reading: Topic,
    status: Topic,
    command: Topic,
}

impl Topics {
    fn new(settings: &Settings) -> Self {
        Self {
            reading: settings.reading_topic(),
            status: settings.status_topic(),
            command: settings.command_topic(),
        }
    }

    const fn of(&self, target: Target) -> &Topic {
        match target {
            Target::Reading => &self.reading,
            Target::Status => &self.status,
        }
    }
}

/// Makes the random choices differ from node to node and from start to start.
fn rng(settings: &Settings, state: &State) -> Rng {
    let seed = match settings.seed {
        // FNV-1a, 64 bits: nodes flashed with one image differ by their name.
        0 => settings
            .client_id
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325, |hash: u64, octet| {
                (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01B3)
            }),
        seed => seed,
    };
    let mut rng = Rng::new(seed ^ u64::from(state.boots));
    rng.split()
}

/// Room for the topics of readings, confirmations and commands, and for names that commands
/// arrive under; for two publications, since more wait in the outbox.
type NodeClient = Client<CLIENT_TOPICS, CLIENT_QUEUE, CLIENT_PAYLOAD>;

const CLIENT_TOPICS: usize = 5;
const CLIENT_QUEUE: usize = 2;

/// What a node publishes is shorter, a command may be longer.
const CLIENT_PAYLOAD: usize = 64;
const _: () = assert!(PAYLOAD_LEN_MAX <= CLIENT_PAYLOAD);

/// Commands must arrive, and may arrive twice.
const COMMAND_QOS: shared::wire::QoS = shared::wire::QoS::AtLeastOnce;

/// How long the node stays away from a radio that failed.
const RADIO_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
