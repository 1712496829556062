//! Whether a datagram says again what another one says.

use shared::wire::{Message, Publish, QoS};

/// Returns whether `new` repeats `queued`: the same octets but for the DUP flag of PUBLISH.
///
/// Two publications at QoS 0 may be equal and two, so they never repeat each other.
pub(super) fn repeats(new: &[u8], queued: &[u8]) -> bool {
    if new.len() != queued.len() {
        return false;
    }
    let differing = new.iter().zip(queued).filter(|(a, b)| a != b).count();
    match (differing, publish(new), publish(queued)) {
        (0, Some(publish), _) => is_answered(&publish),
        (0, None, _) => true,
        (1, Some(new), Some(queued)) => is_answered(&new) && undup(new) == undup(queued),
        _ => false,
    }
}

/// Returns whether the datagram is a PINGRESP, which ends a wake: another one means the end of
/// what was queued since (D-22).
pub(super) fn ends_a_wake(datagram: &[u8]) -> bool {
    matches!(innermost(datagram), Some(Message::PingResp))
}

fn publish(datagram: &[u8]) -> Option<Publish<'_>> {
    match innermost(datagram)? {
        Message::Publish(publish) => Some(publish),
        _ => None,
    }
}

fn innermost(datagram: &[u8]) -> Option<Message<'_>> {
    match Message::parse(datagram).ok()? {
        Message::Forward(forward) => Message::parse(forward.inner).ok(),
        message => Some(message),
    }
}

const fn is_answered(publish: &Publish<'_>) -> bool {
    matches!(publish.qos, QoS::AtLeastOnce | QoS::ExactlyOnce)
}

const fn undup(publish: Publish<'_>) -> Publish<'_> {
    Publish {
        dup: false,
        ..publish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PUBLISH of one octet on the normal topic id 5 with the message id 7.
    const fn publish(flags: u8, payload: u8) -> [u8; 8] {
        [8, 0x0C, flags, 0, 5, 0, 7, payload]
    }

    fn forwarded(inner: &[u8]) -> Vec<u8> {
        [&[4, 0xFE, 0, 9][..], inner].concat()
    }

    #[test]
    fn only_dup_may_differ() {
        let (first, again) = (publish(0x20, 1), publish(0xA0, 1));
        assert!(repeats(&again, &first));
        assert!(repeats(&first, &first));
        assert!(repeats(&forwarded(&again), &forwarded(&first)));
        assert!(!repeats(&publish(0xA0, 2), &first));
        assert!(!repeats(&publish(0xA0 | 0x10, 1), &first));
        assert!(!repeats(&forwarded(&again), &first));
        let mut other_node = forwarded(&again);
        other_node[3] = 8;
        assert!(!repeats(&other_node, &forwarded(&first)));
    }

    #[test]
    fn equal_publications_at_qos_0_are_two() {
        let at_0 = [8, 0x0C, 0, 0, 5, 0, 0, 1];
        assert!(!repeats(&at_0, &at_0));
        assert!(!repeats(&forwarded(&at_0), &forwarded(&at_0)));
    }

    #[test]
    fn other_messages_repeat_each_other_where_they_are_equal() {
        let puback = [7, 0x0D, 0, 5, 0, 7, 0];
        assert!(repeats(&puback, &puback));
        assert!(!repeats(&[7, 0x0D, 0, 5, 0, 8, 0], &puback));
        assert!(ends_a_wake(&[2, 0x17]) && ends_a_wake(&forwarded(&[2, 0x17])));
        assert!(!ends_a_wake(&puback));
    }
}
