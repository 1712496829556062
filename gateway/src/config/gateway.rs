//! The gateway's own settings: who it is, and what it grants its nodes.

use shared::time::Duration;

use super::reader::Section;
use crate::session::WillMode;

/// What the gateway is called and how much it keeps for its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The gateway's id in ADVERTISE and GWINFO [MQTT-SN 1.2 §5.3.6].
    pub id: u8,
    /// The MQTT client id towards the upstream broker.
    pub client_id: String,
    /// The most sessions.
    pub clients_max: usize,
    /// The longest client id of a node, in octets (D-14).
    pub client_id_len_max: usize,
    /// How long a node that asked for no supervision may be silent (D-13).
    pub session_idle_max: Duration,
    /// How long the session of a node that connects with clean = 0 outlives the node.
    pub session_expiry: Duration,
    /// How long the upstream may be away before nodes are told of it (D-36).
    pub outage_patience: Duration,
    /// How long the upstream may be away before the nodes are sent off (D-36); `None` keeps
    /// them.
    pub outage_disconnect: Option<Duration>,
    /// Whether nodes may change their wills (D-33).
    pub wills: WillMode,
    /// Whether CONNECT out of sleep leaves the session and the will as they were (D-30).
    pub wake_connect_ignores_flags: bool,
    /// The first levels of the topics that the gateway itself publishes on.
    pub status_prefix: String,
    /// The most topic ids registered for one node.
    pub topics_per_node_max: usize,
    /// The most subscriptions of one node.
    pub subscriptions_per_node_max: usize,
    /// The most QoS 1 and 2 publications a node may have in flight (D-40).
    pub publish_window: usize,
    /// Whether repetitions at QoS 1 are answered and not published again (D-39).
    pub dedup_qos1: bool,
    /// The most downlink publications that the broker is kept waiting for; beyond it the
    /// oldest is answered for although it is in memory only.
    pub unanswered_max: usize,
    /// What is kept for a node that cannot be reached.
    pub mailbox: MailboxConfig,
}

/// The bounds of the downlink that waits for one node (D-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxConfig {
    /// The most publications.
    pub messages_max: usize,
    /// The most octets of topics and payloads.
    pub bytes_max: usize,
    /// How long a publication is kept.
    pub age_max: Duration,
    /// The most QoS 0 publications among them; 0 keeps none.
    pub qos0_max: usize,
    /// Whether only the newest QoS 0 publication of each topic is kept.
    pub conflate_qos0: bool,
}

/// The gateway's id where none is configured.
pub const DEFAULT_ID: u8 = 1;
/// The MQTT client id where none is configured.
pub const DEFAULT_CLIENT_ID: &str = "sandgrouse";
/// The most sessions where nothing is configured.
pub const DEFAULT_CLIENTS_MAX: usize = 10_000;
/// The longest client id where nothing is configured, in octets (D-14).
pub const DEFAULT_CLIENT_ID_LEN_MAX: usize = 64;
/// The idle cap where nothing is configured (D-13).
pub const DEFAULT_SESSION_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The life of a session without its node where nothing is configured.
pub const DEFAULT_NODE_SESSION_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
/// The patience with an absent upstream where nothing is configured (D-36).
pub const DEFAULT_OUTAGE_PATIENCE: Duration = Duration::from_secs(30);
/// The patience with an outage, before nodes are sent off, where nothing is configured (D-36).
pub const DEFAULT_OUTAGE_DISCONNECT: Duration = Duration::from_secs(600);
/// How changes of wills may be dealt with (D-33).
pub const WILLS: &[&str] = &[WILLS_GATEWAY, WILLS_OFF];
/// Changes of wills are taken where nothing is configured: the gateway keeps the wills.
pub const WILLS_GATEWAY: &str = "gateway";
/// Changes of wills are refused.
pub const WILLS_OFF: &str = "off";
/// CONNECT out of sleep is taken at its word where nothing is configured (D-30).
pub const DEFAULT_WAKE_CONNECT_IGNORES_FLAGS: bool = false;
/// The first level of the gateway's own topics where nothing is configured.
pub const DEFAULT_STATUS_PREFIX: &str = "sandgrouse";
/// The most topic ids of one node where nothing is configured.
pub const DEFAULT_TOPICS_PER_NODE_MAX: usize = 256;
/// The most subscriptions of one node where nothing is configured.
pub const DEFAULT_SUBSCRIPTIONS_PER_NODE_MAX: usize = 64;
/// The publications in flight where nothing is configured (D-40).
pub const DEFAULT_PUBLISH_WINDOW: usize = 4;
/// Repetitions at QoS 1 are published again where nothing is configured (D-39).
pub const DEFAULT_DEDUP_QOS1: bool = false;
/// The downlink publications left unanswered where nothing is configured: fewer than the 20
/// after which mosquitto, as it comes, sends no more.
pub const DEFAULT_UNANSWERED_MAX: usize = 16;
/// The most waiting publications where nothing is configured (D-27).
pub const DEFAULT_MAILBOX_MESSAGES_MAX: usize = 100;
/// The most waiting octets where nothing is configured (D-27).
pub const DEFAULT_MAILBOX_BYTES_MAX: usize = 65_536;
/// The longest wait where nothing is configured (D-27).
pub const DEFAULT_MAILBOX_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most waiting QoS 0 publications where nothing is configured (D-27).
pub const DEFAULT_MAILBOX_QOS0_MAX: usize = 20;
/// All waiting QoS 0 publications of a topic are kept where nothing is configured (D-27).
pub const DEFAULT_MAILBOX_CONFLATE_QOS0: bool = false;

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            id: DEFAULT_ID,
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            clients_max: DEFAULT_CLIENTS_MAX,
            client_id_len_max: DEFAULT_CLIENT_ID_LEN_MAX,
            session_idle_max: DEFAULT_SESSION_IDLE_MAX,
            session_expiry: DEFAULT_NODE_SESSION_EXPIRY,
            outage_patience: DEFAULT_OUTAGE_PATIENCE,
            outage_disconnect: Some(DEFAULT_OUTAGE_DISCONNECT),
            wills: WillMode::Gateway,
            wake_connect_ignores_flags: DEFAULT_WAKE_CONNECT_IGNORES_FLAGS,
            status_prefix: DEFAULT_STATUS_PREFIX.to_owned(),
            topics_per_node_max: DEFAULT_TOPICS_PER_NODE_MAX,
            subscriptions_per_node_max: DEFAULT_SUBSCRIPTIONS_PER_NODE_MAX,
            publish_window: DEFAULT_PUBLISH_WINDOW,
            dedup_qos1: DEFAULT_DEDUP_QOS1,
            unanswered_max: DEFAULT_UNANSWERED_MAX,
            mailbox: MailboxConfig::default(),
        }
    }
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self {
            messages_max: DEFAULT_MAILBOX_MESSAGES_MAX,
            bytes_max: DEFAULT_MAILBOX_BYTES_MAX,
            age_max: DEFAULT_MAILBOX_AGE_MAX,
            qos0_max: DEFAULT_MAILBOX_QOS0_MAX,
            conflate_qos0: DEFAULT_MAILBOX_CONFLATE_QOS0,
        }
    }
}

impl GatewayConfig {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let default = Self::default();
        let read = Self {
            id: section.or("id", default.id),
            client_id: section.or("client_id", default.client_id),
            clients_max: section.or("clients_max", default.clients_max),
            client_id_len_max: section.or("client_id_len_max", default.client_id_len_max),
            session_idle_max: section.or("session_idle_max", default.session_idle_max),
            session_expiry: section.or("session_expiry", default.session_expiry),
            outage_patience: section.or("outage_patience", default.outage_patience),
            outage_disconnect: section.or("outage_disconnect", default.outage_disconnect),
            wills: read_wills(section),
            wake_connect_ignores_flags: section.or(
                "wake_connect_ignores_flags",
                default.wake_connect_ignores_flags,
            ),
            status_prefix: section.or("status_prefix", default.status_prefix),
            topics_per_node_max: section.or("topics_per_node_max", default.topics_per_node_max),
            subscriptions_per_node_max: section.or(
                "subscriptions_per_node_max",
                default.subscriptions_per_node_max,
            ),
            publish_window: section.or("publish_window", default.publish_window),
            dedup_qos1: section.or("dedup_qos1", default.dedup_qos1),
            unanswered_max: section.or("unanswered_max", default.unanswered_max),
            mailbox: MailboxConfig::read(section),
        };
        if read
            .outage_disconnect
            .is_some_and(|span| span < read.outage_patience)
        {
            let key = ["outage_disconnect", "outage_patience"]
                .into_iter()
                .find(|key| section.has(key));
            let why = "outage_disconnect is shorter than outage_patience, which is waited for in \
                       any case";
            section.warn(key.unwrap_or("outage_disconnect"), why);
        }
        read
    }
}

impl MailboxConfig {
    fn read(gateway: &mut Section<'_, '_>) -> Self {
        let default = Self::default();
        Self {
            messages_max: gateway.or("mailbox.messages_max", default.messages_max),
            bytes_max: gateway.or("mailbox.bytes_max", default.bytes_max),
            age_max: gateway.or("mailbox.age_max", default.age_max),
            qos0_max: gateway.or("mailbox.qos0_max", default.qos0_max),
            conflate_qos0: gateway.or("mailbox.conflate_qos0", default.conflate_qos0),
        }
    }
}

fn read_wills(section: &mut Section<'_, '_>) -> WillMode {
    match section.or("wills", WILLS_GATEWAY.to_owned()).as_str() {
        WILLS_OFF => WillMode::Off,
        _ => WillMode::Gateway,
    }
}
