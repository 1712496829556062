//! Keys of `[[link]]`.

use shared::time::Duration;

use super::super::presets::LinkPreset;
use super::super::value::NEVER;
use super::super::{link, multicast, pacing};
use super::{
    DAY, Fallback, GIB, HOUR, Key, Rule, SECOND, count, duration, duration_or_never, integer, key,
};

pub(super) const KEYS: &[Key] = &[
    key(
        "link[].name",
        Rule::Text { len_max: 32 },
        Fallback::Required,
        "Name in logs, counters and rules; each link has its own.",
    )
    .at_start(),
    key(
        "link[].type",
        Rule::Choice(&[link::UDP, link::SERIAL]),
        Fallback::Required,
        "What the link is made of.",
    )
    .at_start(),
    key(
        "link[].preset",
        Rule::Choice(LinkPreset::NAMES),
        Fallback::Nothing,
        "What is usual on such a link, for what is not written.",
    ),
    key(
        "link[].max_message",
        integer(
            link::MAX_MESSAGE_FLOOR as u64,
            link::MAX_MESSAGE_CEILING as u64,
        ),
        count(link::DEFAULT_MAX_MESSAGE),
        "Largest datagram either way, in octets; larger ones are dropped and counted.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].t_retry",
        duration(100, HOUR),
        Fallback::Duration(link::DEFAULT_T_RETRY),
        "How long an answer of a node is awaited; longer than the link's worst round trip.",
    )
    .of_preset(),
    key(
        "link[].n_retry",
        integer(0, 20),
        count(link::DEFAULT_N_RETRY as usize),
        "How often an unanswered message is repeated.",
    )
    .of_preset(),
    key(
        "link[].tolerance_short_percent",
        integer(100, 1_000),
        count(link::DEFAULT_TOLERANCE_SHORT_PERCENT as usize),
        "How long a node may be silent that announced up to a minute, in percent of that.",
    )
    .of_preset(),
    key(
        "link[].tolerance_long_percent",
        integer(100, 1_000),
        count(link::DEFAULT_TOLERANCE_LONG_PERCENT as usize),
        "How long a node may be silent that announced more than a minute, in percent of that.",
    )
    .of_preset(),
    key(
        "link[].discovery",
        Rule::Boolean,
        Fallback::Nothing,
        "Whether SEARCHGW is answered; it is on serial links, and on UDP ones with groups.",
    ),
    key(
        "link[].advertise_every",
        duration_or_never(10 * SECOND, 18 * HOUR),
        Fallback::Text(NEVER),
        "Time between two ADVERTISEs.",
    ),
    key(
        "link[].standby_misses",
        integer(1, 100),
        Fallback::Nothing,
        "Advertise only once so many ADVERTISEs of another gateway in a row have not come.",
    ),
    key(
        "link[].dead_after",
        duration_or_never(10 * SECOND, 90 * DAY),
        Fallback::Text(NEVER),
        "Silence of all nodes after which the link is dead, and none of them lost.",
    )
    .of_preset(),
    key(
        "link[].pacing.rate_bytes_per_s",
        integer(1, 100_000_000),
        Fallback::Nothing,
        "Octets a second that the channel carries.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.lora_spreading_factor",
        integer(7, 12),
        Fallback::Nothing,
        "The spreading factor of a LoRa radio at 125 kHz, which says how long a frame takes.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.frame_overhead_bytes",
        integer(0, 1_024),
        count(pacing::DEFAULT_FRAME_OVERHEAD_BYTES),
        "What a frame has on the channel beside its datagram, in octets.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.frame_time",
        duration(0, HOUR),
        Fallback::Duration(Duration::ZERO),
        "What a frame costs beside its octets: preamble, key-up, the set-up of a session.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.burst_bytes",
        integer(0, 16_777_216),
        count(0),
        "Octets that may go at once before the rate holds; what the modem has room for.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.duty_cycle_permille",
        integer(1, pacing::DUTY_CYCLE_FREE as u64),
        count(pacing::DUTY_CYCLE_FREE as usize),
        "Share of every hour that may be spent on the air, in thousandths; 1000 is no bound.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.duty_burst",
        duration(0, HOUR),
        Fallback::Duration(Duration::ZERO),
        "Time on the air that may be used at once; that of one largest frame at least.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.guard",
        duration(0, HOUR),
        Fallback::Duration(Duration::ZERO),
        "How long the link keeps quiet after each frame, so that a half-duplex node can answer.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].pacing.queue_bytes_max",
        integer(64, 16_777_216),
        count(pacing::DEFAULT_PACING_QUEUE_BYTES),
        "Most octets that wait for their time; the largest frame must fit.",
    )
    .of_preset()
    .at_start(),
    key(
        "link[].listen",
        Rule::SocketAddress,
        Fallback::Required,
        "Where the socket listens.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].dual_stack",
        Rule::Boolean,
        Fallback::Boolean(false),
        "Whether an IPv6 socket takes IPv4 too.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].receive_buffer_bytes",
        integer(4_096, GIB),
        count(link::DEFAULT_RECEIVE_BUFFER_BYTES),
        "Receive buffer asked of the kernel; less than net.core.rmem_max grants is warned of.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].send_queue_max",
        integer(1, 1_000_000),
        count(link::DEFAULT_SEND_QUEUE_MAX),
        "Most datagrams that wait while the socket is full.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].forwarders",
        Rule::Forwarders,
        Fallback::Empty,
        "Who may send encapsulated messages; nobody where it is empty.",
    )
    .only(link::UDP),
    key(
        "link[].multicast.groups",
        Rule::Groups,
        Fallback::Empty,
        "Groups on which nodes look for gateways and this one makes itself known.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].multicast.interface",
        Rule::Text { len_max: 64 },
        Fallback::Nothing,
        "Network of the groups, by its name, number or address; that of listen, or the kernel's.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].multicast.hops_max",
        integer(1, 255),
        count(multicast::DEFAULT_HOPS_MAX as usize),
        "Routers plus one that a datagram to a group may pass; 1 stays in its network.",
    )
    .only(link::UDP)
    .at_start(),
    key(
        "link[].path",
        Rule::Device,
        Fallback::Required,
        "The device; one that is not there yet is waited for.",
    )
    .only(link::SERIAL)
    .at_start(),
    key(
        "link[].baud",
        integer(300, 4_000_000),
        count(link::DEFAULT_BAUD as usize),
        "Bit rate of the line.",
    )
    .only(link::SERIAL)
    .at_start(),
    key(
        "link[].write_queue_bytes",
        integer(256, 16_777_216),
        count(link::DEFAULT_WRITE_QUEUE_BYTES),
        "Most octets of frames that wait for the line; one of max_message must fit.",
    )
    .only(link::SERIAL)
    .at_start(),
];
