//! The node's MQTT-SN 1.2 machine, sans-IO.
//!
//! [`Client`] keeps one node connected: it finds a gateway, connects, registers names,
//! publishes, subscribes, receives, sleeps and wakes, repeats what is lost and goes to another
//! gateway when one falls silent. It owns no clock, socket, task, allocator or randomness, and
//! no pointer: kept in memory that survives deep sleep, it goes on where it was.
//!
//! # Driving it
//!
//! 1. Feed one input: [`handle_datagram`](Client::handle_datagram),
//!    [`handle_timeout`](Client::handle_timeout) or a command.
//! 2. Drain [`poll_transmit`](Client::poll_transmit) and [`poll_event`](Client::poll_event),
//!    in turn, until both are empty. Commands do nothing on the link before that.
//! 3. Wait until [`poll_timeout`](Client::poll_timeout) or the next input. Where
//!    [`is_quiet`](Client::is_quiet) says so, the radio may be off meanwhile.
//!
//! ```
//! use shared::client::{Client, Config, Event, GatewayAddr, Topic};
//! use shared::rng::Rng;
//! use shared::time::Instant;
//! use shared::wire::QoS;
//!
//! let config = Config::new("sensor-01")?.with_gateway(GatewayAddr::POINT_TO_POINT)?;
//! let mut node: Client<8, 4, 64> = Client::new(config, Rng::new(0xC0FF_EE00))?;
//!
//! let now = Instant::from_millis(12);
//! node.connect(now).unwrap();
//! node.subscribe(Topic::Name("cmd/sensor-01/#"), QoS::AtLeastOnce).unwrap();
//! node.publish(Topic::Name("well/7/pressure"), QoS::AtLeastOnce, false, b"4.2").unwrap();
//! node.sleep(900).unwrap();
//!
//! let mut datagram = [0; 128];
//! loop {
//!     if let Some(transmit) = node.poll_transmit(now, &mut datagram) {
//!         // radio.send(transmit.to, &datagram[..transmit.len])
//!         assert_eq!(transmit.len, 15);
//!     } else if let Some(event) = node.poll_event() {
//!         if let Event::Received(command) = event {
//!             // Acted upon before the acknowledgement leaves.
//!             let _ = command.payload;
//!         }
//!     } else {
//!         break;
//!     }
//! }
//! assert!(node.poll_timeout().is_some_and(|at| at > now));
//! # Ok::<(), shared::client::ConfigError>(())
//! ```
//!
//! # States
//!
//! ```text
//!                OFF
//!                 | connect()
//!                 v            no gateway known, discovery on
//!   .------> next gateway? ------------------------> SEARCHING
//!   |             | one known                         |      | no one answers
//!   |             v            GWINFO, ADVERTISE      |      v
//!   |         CONNECTING <----------------------------'   BACKING OFF
//!   |          |  ^    |                                   ^  |
//!   |          |  |    '-- none left to try ---------------'  |
//!   |          |  |                                           |
//!   |          |  '------------------- time is over ----------'
//!   |          | CONNACK 00
//!   |          v            sleep(), nothing left to send
//!   |        ACTIVE -------------------------------> SLEEP PENDING
//!   |          |                                          |
//!   |          |             DISCONNECT, or N_retry spent |
//!   |          |                                          v
//!   |          |   connect(), or something to send ---- ASLEEP <-----------.
//!   |          |   where D-26 does not hold                |               |
//!   |          |   go to CONNECTING, session resumed       | wake(), time  | PINGRESP, or
//!   |          |                                           v               | tries spent
//!   |          |                                         AWAKE ------------'
//!   |          |                                           |
//!   '- lost ---+-------------------------------------------'
//! ```
//!
//! *Lost* is a request without an answer after N_retry repetitions, CONNECT included, or
//! `wakes_until_lost` wakes in vain: another gateway is tried first, then the same one. A
//! DISCONNECT in ACTIVE, or in sleep as the answer to something, means that the gateway does
//! not know the node: BACKING OFF for a short random time, then the same gateway. CONNACK with
//! a code other than 00 lets that gateway rest, for T_WAIT or an hour. `disconnect()` leads
//! from any state by DISCONNECTING to OFF.
//!
//! # What a session is, and when it is renewed
//!
//! CONNACK does not say in MQTT-SN 1.2 whether the gateway still has the session. The machine
//! takes it as going on only where it leaves its sleep by CONNECT without the gateway having
//! fallen silent or having said that it does not know the node. In every other case, another
//! gateway included, the session counts as renewed:
//!
//! - every topic id is forgotten, since the same id may mean another topic now, and names are
//!   registered again when they are next published on;
//! - every subscription is made again, so that a node never waits for commands in vain (the
//!   broker then sends retained messages again);
//! - publications stay queued. One in flight at QoS 1 or 2 goes on with its message id and
//!   DUP = 1, a QoS 2 one from the step it had reached, so that it is neither lost nor doubled.
//!
//! The clean flag of the configuration is for the connection that the application asks for;
//! those the machine makes by itself keep what the gateway has (clean = 0).
//!
//! # Memory
//!
//! Fixed by the type. A `Client<8, 4, 64>`, eight topics, four publications of 64 octets, is
//! about 2.6 KiB (a test holds it to that on a 64-bit host; a 32-bit node needs a little less).
//!
//! # What to read first
//!
//! MQTT-SN 1.2 §6 and §7.2. Then `state` here, `connect` for the life of a connection, and one
//! file for each kind of exchange.
//!
#![doc = include_str!("../../docs/client-decisions.md")]

mod address;
mod config;
mod connect;
mod discovery;
mod error;
mod event;
mod gateways;
mod input;
mod output;
mod publish;
mod published;
mod receive;
mod register;
mod sleep;
mod state;
mod stats;
mod subscribe;
mod timers;
mod topics;
mod will;

pub use address::{Destination, GatewayAddr, Transmit};
pub use config::{
    Config, ConfigError, Discovery, GATEWAYS_MAX, LinkClock, TOPIC_NAME_LEN_MAX,
    WILL_MESSAGE_LEN_MAX, WakePlan, Will,
};
pub use error::{CommandError, PublishError};
pub use event::{Event, Received, RequestClass, Session, Token, Topic, WillPart};
pub use state::Phase;
pub use stats::{BadStats, ClientStats, RetryStats};

use heapless::{Deque, Vec};

use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::MsgId;
use discovery::Sharing;
use gateways::{Gateway, Gateways};
use output::{EVENTS_MAX, Pending, REPLIES_MAX, Reply};
use publish::{LastQoS0, Publication, Publishing};
use receive::{Seen, Slot};
use register::Registering;
use state::State;
use subscribe::{Answered, Subscribing};
use timers::Holds;
use topics::Topics;
use will::WillUpdate;

/// The MQTT-SN machine of one node, with room for `TOPICS` names, filters and subscriptions,
/// `QUEUE` publications that wait, and payloads of `PAYLOAD` octets either way.
#[derive(Clone, Debug)]
pub struct Client<const TOPICS: usize, const QUEUE: usize, const PAYLOAD: usize> {
    config: Config,
    rng: Rng,
    stats: ClientStats,
    state: State,

    /// The gateway of the connection, or of the last one.
    gateway: Option<Gateway>,
    gateways: Gateways,
    /// Rounds through the gateways, and reconnections, without an answer that made sense.
    rounds: u8,
    /// Whether the next CONNECT is the one the application asked for.
    fresh: bool,
    /// Whether the gateway has the will.
    will_known: bool,
    /// How long the application wants the node to sleep, in seconds.
    sleep_goal_s: Option<u32>,
    /// How long it does, in seconds; the gateway was told of that, as far as it can be told.
    sleep_s: u32,
    /// Whether the gateway is to be told of the sleep again.
    retell: bool,
    /// How often the gateway may acknowledge the sleep yet, once for each repetition.
    sleep_acks_owed: u8,
    /// Whether the session began with clean = 1.
    asked_clean: bool,
    failed_wakes: u8,
    last_sent: Instant,
    last_heard: Instant,
    sharing: Sharing,

    topics: Topics<TOPICS>,
    last_msg_id: MsgId,
    next_token: u32,
    holds: Holds,
    registering: Option<Registering>,
    subscribing: Option<Subscribing>,
    answered: Answered,
    will_update: WillUpdate,
    queue: Vec<Publication<PAYLOAD>, QUEUE, u8>,
    publishing: Option<Publishing>,
    repairs: u8,
    last_qos0: Option<LastQoS0>,

    slot: Option<Slot<PAYLOAD>>,
    seen: Seen,
    replies: Deque<Reply, REPLIES_MAX>,
    events: Deque<Pending, EVENTS_MAX>,
}

impl<const TOPICS: usize, const QUEUE: usize, const PAYLOAD: usize> Client<TOPICS, QUEUE, PAYLOAD> {
    /// Creates a machine that is off. `rng` is seeded differently in each node and at each
    /// boot: message ids start at random, so that an answer to the boot before fits nothing.
    ///
    /// # Errors
    /// What is wrong with `config`.
    pub fn new(config: Config, mut rng: Rng) -> Result<Self, ConfigError> {
        const {
            assert!(TOPICS > 0 && TOPICS < 255, "1 to 254 topics");
            assert!(QUEUE > 0 && QUEUE < 255, "1 to 254 publications");
            assert!(PAYLOAD > 0 && PAYLOAD < 65_535, "1 to 65534 octets");
        };
        config.validate()?;
        Ok(Self {
            gateways: Gateways::configured(&config.gateways),
            last_msg_id: MsgId(rng.next_u16()),
            config,
            rng,
            stats: ClientStats::default(),
            state: State::Off,
            gateway: None,
            rounds: 0,
            fresh: false,
            will_known: false,
            sleep_goal_s: None,
            sleep_s: 0,
            retell: false,
            sleep_acks_owed: 0,
            asked_clean: false,
            failed_wakes: 0,
            last_sent: Instant::ZERO,
            last_heard: Instant::ZERO,
            sharing: Sharing::Nothing,
            topics: Topics::default(),
            next_token: 0,
            holds: Holds::default(),
            registering: None,
            subscribing: None,
            answered: Answered::default(),
            will_update: WillUpdate::default(),
            queue: Vec::new(),
            publishing: None,
            repairs: 0,
            last_qos0: None,
            slot: None,
            seen: Seen::default(),
            replies: Deque::new(),
            events: Deque::new(),
        })
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &ClientStats {
        &self.stats
    }

    /// Returns the configuration, with the will as it was last changed.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the gateways that are known at `now`, with their ids where those are: the ones
    /// of the configuration, then the others as they were heard of [MQTT-SN 1.2 §6.1].
    pub fn known_gateways(&self, now: Instant) -> impl Iterator<Item = (Option<u8>, GatewayAddr)> {
        self.gateways
            .iter(now)
            .map(|gateway| (gateway.gw_id, gateway.addr))
    }

    /// Returns the address of the gateway of this connection, or of the last one.
    #[must_use]
    pub fn gateway(&self) -> Option<GatewayAddr> {
        self.gateway.map(|gateway| gateway.addr)
    }
}
