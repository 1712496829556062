//! Keys of `[[link]]`.

use super::super::link;
use super::{Fallback, GIB, HOUR, Key, Rule, count, duration, integer, key};

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
        "link[].max_message",
        integer(64, link::MAX_MESSAGE_CEILING as u64),
        count(link::DEFAULT_MAX_MESSAGE),
        "Largest datagram either way, in octets; larger ones are dropped and counted.",
    )
    .at_start(),
    key(
        "link[].t_retry",
        duration(100, HOUR),
        Fallback::Duration(link::DEFAULT_T_RETRY),
        "How long an answer of a node is awaited; longer than the link's worst round trip.",
    ),
    key(
        "link[].n_retry",
        integer(0, 20),
        count(link::DEFAULT_N_RETRY as usize),
        "How often an unanswered message is repeated.",
    ),
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
