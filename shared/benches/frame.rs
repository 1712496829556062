//! Framing for byte-stream radios: datagram to frame, and bytes to datagram.
//!
//! `cargo bench -p shared --bench frame`

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "no bytes from the air here: a benchmark that is set up wrong may stop"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use shared::frame::{FrameReader, Lead, encode, encode_message, frame_len_max};
use shared::rng::Rng;
use shared::wire::NodeId;

/// A short reading, and a long one near what radios carry at most.
const DATAGRAM_LENS: [usize; 2] = [32, 200];
const DATAGRAM_LEN_MAX: usize = 255;
const FRAME_LEN_MAX: usize = frame_len_max(DATAGRAM_LEN_MAX);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for len in DATAGRAM_LENS {
        let mut datagram = [0; DATAGRAM_LEN_MAX];
        fill(&mut datagram[..len]);
        bench_len(&mut criterion, &datagram[..len]);
    }
    criterion.final_summary();
}

fn bench_len(criterion: &mut Criterion, datagram: &[u8]) {
    let len = datagram.len();
    let mut frame = [0; FRAME_LEN_MAX];
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Bytes(u64::try_from(len).unwrap()));

    group.bench_function(format!("encode/{len}"), |bencher| {
        bencher.iter(|| encode(black_box(datagram), Lead::Delimiter, &mut frame));
    });
    let node_id = NodeId::new(&[0x12, 0x34]);
    group.bench_function(format!("encode_message/{len}"), |bencher| {
        bencher.iter(|| {
            let node_id = black_box(&node_id);
            encode_message(
                node_id.as_ref(),
                black_box(datagram),
                Lead::None,
                &mut frame,
            )
        });
    });

    let frame_len = encode(datagram, Lead::None, &mut frame).unwrap();
    let frame = &frame[..frame_len];
    let mut reader = FrameReader::<DATAGRAM_LEN_MAX>::new();
    group.bench_function(format!("read/{len}"), |bencher| {
        bencher.iter(|| {
            let mut bytes = black_box(frame);
            reader.feed(&mut bytes).map(<[u8]>::len)
        });
    });
    assert_eq!(reader.stats().broken(), 0);
    group.finish();
}

/// Fills a datagram with one zero among eight octets, about as messages have them.
fn fill(datagram: &mut [u8]) {
    let mut rng = Rng::new(1);
    for octet in datagram {
        let [random, selector, ..] = rng.next_u64().to_be_bytes();
        *octet = if selector < 32 { 0 } else { random };
    }
}
