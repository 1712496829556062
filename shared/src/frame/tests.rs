//! Frames on good and bad lines.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec as bytes;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::rng::Rng;
use crate::wire::{Message, MsgId, NodeId, Publish, QoS, TopicId, TopicRef, WireError};

const N: usize = 600;

fn frame_of(datagram: &[u8], lead: Lead) -> Vec<u8> {
    let mut frame = vec![0xAA; frame_len_max(datagram.len())];
    let len = encode(datagram, lead, &mut frame).unwrap();
    frame.truncate(len);
    frame
}

fn read_all<const N: usize>(reader: &mut FrameReader<N>, mut line: &[u8]) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    while let Some(datagram) = reader.feed(&mut line) {
        datagrams.push(datagram.to_vec());
    }
    assert!(line.is_empty());
    datagrams
}

fn read(line: &[u8]) -> Vec<Vec<u8>> {
    read_all(&mut FrameReader::<N>::new(), line)
}

/// A datagram with zeros in it, as messages have them; reproducible.
fn sample(rng: &mut Rng, len: usize) -> Vec<u8> {
    (0..len)
        .map(|_| match rng.below(4) {
            0 => 0,
            _ => rng.next_u64().to_be_bytes()[0],
        })
        .collect()
}

// ---- the format ----

#[test]
fn the_frame_of_a_pingresp_is_what_the_format_says() {
    let [low, high] = reference_crc(&[0x02, 0x17]).to_le_bytes();
    let expected = [0x00, 0x05, 0x02, 0x17, low, high, 0x00];
    assert_eq!(frame_of(&[0x02, 0x17], Lead::Delimiter), expected);
    assert_eq!(frame_of(&[0x02, 0x17], Lead::None), expected[1..]);
}

#[test]
fn the_crc_is_the_published_one() {
    // The check value of the catalogue of parametrised CRC algorithms.
    assert_eq!(CRC.checksum(b"123456789"), 0x906E);
    assert_eq!(reference_crc(b"123456789"), 0x906E);
}

/// The CRC bit by bit, in the order in which a UART sends them.
fn reference_crc(octets: &[u8]) -> u16 {
    !octets.iter().fold(0xFFFF, |crc, octet| {
        (0..8).fold(crc ^ u16::from(*octet), |crc, _| {
            (crc >> 1) ^ if crc & 1 != 0 { 0x8408 } else { 0 }
        })
    })
}

#[test]
fn every_length_makes_the_round_trip_within_the_stated_size() {
    let mut rng = Rng::new(1);
    // All octets different from 0 make COBS's longest output, all 0 its shortest.
    for len in 1..=N {
        let fills = [vec![0xFF; len], vec![0; len], sample(&mut rng, len)];
        for datagram in fills {
            for lead in [Lead::None, Lead::Delimiter] {
                let frame = frame_of(&datagram, lead);
                assert!(frame.len() <= frame_len_max(len), "{len}");
                assert_eq!(read(&frame), [&datagram[..]], "{len} {lead:?}");
            }
        }
    }
}

#[rstest]
#[case(1, FRAME_OVERHEAD + 1)]
#[case(252, FRAME_OVERHEAD + 1)]
#[case(253, FRAME_OVERHEAD + 2)]
#[case(506, FRAME_OVERHEAD + 2)]
#[case(507, FRAME_OVERHEAD + 3)]
fn the_overhead_is_the_stated_one(#[case] len: usize, #[case] overhead: usize) {
    // Zero-free content, CRC included, is the worst case.
    assert_eq!(frame_len_max(len), len + overhead);
    let longest = (0..=255u8)
        .map(|fill| frame_of(&vec![fill; len], Lead::Delimiter).len())
        .max();
    assert_eq!(longest, Some(len + overhead));
}

#[test]
fn what_does_not_fit_the_buffer_is_refused() {
    let mut rng = Rng::new(2);
    for len in [1, 2, 15, 252, 253, 300] {
        let datagram = sample(&mut rng, len);
        for lead in [Lead::None, Lead::Delimiter] {
            let frame = frame_of(&datagram, lead);
            for short in 0..frame.len() {
                let mut buf = vec![0; short];
                assert_eq!(encode(&datagram, lead, &mut buf), Err(FrameError::Buffer));
            }
            let mut exact = vec![0; frame.len()];
            assert_eq!(encode(&datagram, lead, &mut exact), Ok(frame.len()));
            assert_eq!(exact, frame);
        }
    }
}

#[test]
fn nothing_is_not_framed() {
    let mut buf = [0; 16];
    assert_eq!(encode(&[], Lead::None, &mut buf), Err(FrameError::Empty));
    assert_eq!(
        encode_message(NodeId::new(b"n").as_ref(), &[], Lead::None, &mut buf),
        Err(FrameError::Empty)
    );
}

// ---- the reader ----

#[test]
fn push_gives_the_datagram_at_its_delimiter() {
    let frame = frame_of(b"abc", Lead::None);
    let mut reader = FrameReader::<3>::new();
    let (last, before) = frame.split_last().unwrap();
    for byte in before {
        assert_eq!(reader.push(*byte), None);
    }
    assert_eq!(reader.push(*last), Some(&b"abc"[..]));
}

#[test]
fn a_datagram_of_n_octets_fits_and_one_more_is_an_overrun() {
    let mut reader = FrameReader::<16>::new();
    let mut line = frame_of(&[7; 17], Lead::None);
    line.extend(frame_of(&[0; 17], Lead::None));
    line.extend(frame_of(&[7; 300], Lead::None));
    line.extend(frame_of(&[9; 16], Lead::None));
    assert_eq!(read_all(&mut reader, &line), [vec![9; 16]]);
    assert_eq!(reader.stats().overruns, 3);
    assert_eq!(reader.stats().frames, 1);
    assert_eq!(reader.stats().broken(), 3);
}

#[test]
fn every_octet_and_every_fault_is_counted() {
    let mut reader = FrameReader::<64>::new();
    let good = frame_of(b"good", Lead::Delimiter);
    let mut line = good.clone();
    line.extend([0, 0, 0]); // three empty frames
    line.extend([1, 0]); // nothing decoded
    line.extend([3, 0x12, 0x34, 0]); // a CRC and nothing else
    line.extend([9, 1, 2, 0]); // cut short
    line.extend([6, b'g', b'o', b'o', b'd', b'!', 0]); // no CRC that fits
    line.extend(&good);
    assert_eq!(read_all(&mut reader, &line), [b"good", b"good"]);
    assert_eq!(
        *reader.stats(),
        FrameStats {
            frames: 2,
            datagram_octets: 8,
            octets: u64::try_from(line.len()).unwrap(),
            empty: 5,
            crc_errors: 1,
            cobs_errors: 1,
            too_short: 2,
            overruns: 0,
        }
    );
}

#[test]
fn a_line_of_zeros_is_only_empty() {
    let mut reader = FrameReader::<16>::new();
    assert!(read_all(&mut reader, &[0; 10_000]).is_empty());
    assert_eq!(reader.stats().empty, 10_000);
    assert_eq!(reader.stats().broken(), 0);
    assert_eq!(read_all(&mut reader, &frame_of(b"x", Lead::None)), [b"x"]);
}

#[test]
fn a_line_that_never_ends_a_frame_holds_no_more_than_one() {
    let mut reader = FrameReader::<16>::new();
    assert!(read_all(&mut reader, &[0xFF; 100_000]).is_empty());
    assert!(read_all(&mut reader, &[0]).is_empty());
    assert_eq!(reader.stats().overruns, 1);
    assert_eq!(read_all(&mut reader, &frame_of(b"x", Lead::None)), [b"x"]);
}

#[test]
fn a_reset_forgets_the_frame_that_has_begun() {
    let frame = frame_of(b"abc", Lead::None);
    let mut reader = FrameReader::<16>::new();
    assert!(read_all(&mut reader, &frame[..3]).is_empty());
    reader.reset();
    assert_eq!(read_all(&mut reader, &frame), [b"abc"]);
    assert_eq!(reader.stats().broken(), 0);
}

#[test]
fn a_truncated_frame_is_never_a_datagram() {
    let mut rng = Rng::new(3);
    for len in [1, 2, 15, 32, 200, 300] {
        let datagram = sample(&mut rng, len);
        let frame = frame_of(&datagram, Lead::None);
        for cut in 0..frame.len() - 1 {
            let mut line = frame[..cut].to_vec();
            line.push(DELIMITER);
            line.extend(frame_of(b"next", Lead::None));
            assert_eq!(read(&line), [b"next"], "len {len} cut {cut}");
        }
    }
}

#[test]
fn every_single_bit_flip_is_detected() {
    // A flipped code octet passes with a chance of 2⁻¹⁶, so the datagrams are fixed.
    let mut rng = Rng::new(4);
    for len in [1, 2, 3, 7, 15, 32, 64, 200, 252, 253, 300, 510] {
        assert_flips_are_detected(&sample(&mut rng, len));
    }
}

#[test]
fn zeros_at_the_end_do_not_weaken_the_crc() {
    // Where the CRC ends in 0 the last code octet is 1, one flip away from a delimiter.
    let ends_in_zero = (0..=u16::MAX)
        .map(u16::to_be_bytes)
        .map(|[a, b]| [5, 0x0C, a, b, 0])
        .filter(|datagram| CRC.checksum(datagram) < 0x100);
    let mut checked = 0;
    for datagram in ends_in_zero {
        assert_flips_are_detected(&datagram);
        checked += 1;
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn every_burst_of_16_bits_in_data_is_detected() {
    // No zeros, and none made: the bursts stay in data octets.
    let datagram: Vec<_> = (0..40).map(|octet: u8| 0x80 | octet).collect();
    let crc = CRC.checksum(&datagram).to_le_bytes();
    let sent = [&datagram[..], &crc].concat();
    for burst in 1..=u16::MAX {
        let start = usize::from(burst) * 7 % (sent.len() * 8 - 16);
        let mut bad = sent.clone();
        for bit in (0..16).filter(|bit| burst & (1 << bit) != 0) {
            // As a UART sends them: the lowest bit of an octet first.
            bad[(start + bit) / 8] ^= 1 << ((start + bit) % 8);
        }
        let (datagram, crc) = bad.split_at(bad.len() - 2);
        assert_ne!(CRC.checksum(datagram).to_le_bytes(), crc, "{burst:04x}");
    }
}

fn assert_flips_are_detected(datagram: &[u8]) {
    let frame = frame_of(datagram, Lead::None);
    for bit in 0..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // A spoiled delimiter merges two frames: the next one goes down with it.
        let lost_next = bit / 8 == frame.len() - 1;
        bad.extend(frame_of(b"next", Lead::None));
        bad.extend(frame_of(b"last", Lead::None));
        let expected: &[&[u8]] = if lost_next {
            &[b"last"]
        } else {
            &[b"next", b"last"]
        };
        assert_eq!(read(&bad), expected, "{datagram:02x?} bit {bit}");
    }
}

proptest! {
    #[test]
    fn frames_survive_any_chunking(
        datagrams in bytes(bytes(any::<u8>(), 1..N), 1..8),
        leads in bytes(any::<bool>(), 8),
        cuts in bytes(1_usize..40, 1..64),
    ) {
        let mut line = Vec::new();
        for (datagram, lead) in datagrams.iter().zip(leads) {
            line.extend(frame_of(datagram, if lead { Lead::Delimiter } else { Lead::None }));
        }
        let mut reader = FrameReader::<N>::new();
        let mut got = Vec::new();
        let mut rest = &line[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, later) = rest.split_at((*cut).min(rest.len()));
            got.extend(read_all(&mut reader, chunk));
            rest = later;
        }
        prop_assert_eq!(got, datagrams);
        prop_assert_eq!(reader.stats().broken(), 0);
    }

    /// Garbage before, between and after frames: no good frame but the one that the garbage
    /// runs into is lost, and none with a leading delimiter.
    #[test]
    fn garbage_costs_at_most_the_next_frame(
        pieces in bytes((bytes(any::<u8>(), 0..80), bytes(any::<u8>(), 1..60)), 1..8),
        lead in any::<bool>(),
    ) {
        let mut line = Vec::new();
        for (garbage, datagram) in &pieces {
            line.extend(garbage);
            if lead {
                line.extend(frame_of(datagram, Lead::Delimiter));
            } else {
                line.extend(frame_of(b"sacrifice", Lead::None));
                line.extend(frame_of(datagram, Lead::None));
            }
        }
        let got = read(&line);
        let mut wanted = got.iter();
        for (_, datagram) in &pieces {
            // Each in its order, whatever else came out in between.
            prop_assert!(wanted.any(|found| found == datagram), "{:?} of {:?}", datagram, got);
        }
    }

    /// Octets that vanish or are put in inside a frame spoil that frame only.
    #[test]
    fn garbage_inside_a_frame_costs_that_frame(
        datagram in bytes(any::<u8>(), 4..100),
        at in any::<prop::sample::Index>(),
        garbage in bytes(1..=255_u8, 0..20),
        gone in 0_usize..6,
    ) {
        let frame = frame_of(&datagram, Lead::None);
        let at = at.index(frame.len() - 1);
        let end = (at + gone).min(frame.len() - 1);
        let mut line = frame[..at].to_vec();
        line.extend(&garbage);
        line.extend(&frame[end..]);
        line.extend(frame_of(b"next", Lead::None));
        let got = read(&line);
        prop_assert_eq!(got.last().unwrap(), b"next");
    }

    #[test]
    fn push_and_feed_agree(line in bytes(prop_oneof![Just(0_u8), Just(2), any::<u8>()], 0..400)) {
        let mut pushed = Vec::new();
        let mut reader = FrameReader::<32>::new();
        for byte in &line {
            pushed.extend(reader.push(*byte).map(<[u8]>::to_vec));
        }
        let mut other = FrameReader::<32>::new();
        prop_assert_eq!(pushed, read_all(&mut other, &line));
        prop_assert_eq!(reader.stats(), other.stats());
    }

    #[test]
    fn messages_keep_their_node(
        name in prop::option::of(bytes(any::<u8>(), 0..=NodeId::LEN_MAX)),
        payload in bytes(any::<u8>(), 0..400),
        lead in any::<bool>(),
    ) {
        let mut message = vec![0; 420];
        let len = publish(&payload).emit(&mut message).unwrap();
        let message = &message[..len];
        let node_id = name.map(|name| NodeId::new(&name).unwrap());
        let mut frame = vec![0; frame_len_max(len + NODE_OVERHEAD_MAX)];
        let lead = if lead { Lead::Delimiter } else { Lead::None };
        let len = encode_message(node_id.as_ref(), message, lead, &mut frame).unwrap();
        let datagrams = read(&frame[..len]);
        prop_assert_eq!(datagrams.len(), 1);
        prop_assert_eq!(split(&datagrams[0]), Ok((node_id, message)));
    }
}

#[test]
fn random_bytes_never_panic_and_are_all_accounted_for() {
    bolero::check!().for_each(|line: &[u8]| {
        let mut reader = FrameReader::<24>::new();
        let datagrams = read_all(&mut reader, line);
        for datagram in &datagrams {
            assert!((1..=24).contains(&datagram.len()));
            let _ = split(datagram);
        }
        let _ = split(line);
        let stats = reader.stats();
        assert_eq!(stats.octets, u64::try_from(line.len()).unwrap());
        assert_eq!(stats.frames, u64::try_from(datagrams.len()).unwrap());
        let delimiters = line.iter().filter(|byte| **byte == DELIMITER).count();
        assert_eq!(
            stats.frames + stats.broken() + stats.empty,
            u64::try_from(delimiters).unwrap()
        );
    });
}

// ---- the node's name ----

fn publish(payload: &[u8]) -> Message<'_> {
    Message::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicRef::Predefined(TopicId(7)),
        msg_id: MsgId(1),
        payload,
    })
}

#[rstest]
#[case::plain(&[0x02, 0x17], Ok((None, &[0x02, 0x17][..])))]
#[case::empty(&[], Ok((None, &[][..])))]
#[case::not_a_message(&[0x00, 0xFE, 0x01], Ok((None, &[0x00, 0xFE, 0x01][..])))]
#[case::named(
    &[0x05, 0xFE, 0x00, b'n', b'1', 0x02, 0x17],
    Ok((NodeId::new(b"n1"), &[0x02, 0x17][..]))
)]
#[case::radius(
    &[0x04, 0xFE, 0x03, 0x09, 0x02, 0x17],
    Ok((NodeId::new(&[9]), &[0x02, 0x17][..]))
)]
#[case::nameless(&[0x03, 0xFE, 0x00, 0x02, 0x17], Ok((NodeId::new(&[]), &[0x02, 0x17][..])))]
#[case::cut(&[0x05, 0xFE, 0x00, b'n'], Err(NodeError::Wire(WireError::Truncated)))]
#[case::no_ctrl(&[0x02, 0xFE, 0x02, 0x17], Err(NodeError::Wire(WireError::Body)))]
#[case::no_message(&[0x04, 0xFE, 0x00, b'n'], Err(NodeError::Wire(WireError::Inner)))]
#[case::long_form(
    &[0x01, 0x00, 0x06, 0xFE, 0x00, b'n', 0x02, 0x17],
    Err(NodeError::Wire(WireError::Length))
)]
#[case::nested(
    &[0x04, 0xFE, 0x00, b'a', 0x04, 0xFE, 0x00, b'b', 0x02, 0x17],
    Err(NodeError::Nested)
)]
#[case::too_long(
    &[22, 0xFE, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 2, 0x17],
    Err(NodeError::NodeIdTooLong(19))
)]
fn a_datagram_is_split(
    #[case] datagram: &[u8],
    #[case] expected: Result<(Option<NodeId>, &[u8]), NodeError>,
) {
    assert_eq!(split(datagram), expected);
}
