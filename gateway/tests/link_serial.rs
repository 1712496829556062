//! Serial links on pseudo-terminals, opened by path as a radio is.

mod log_lines;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::config::{LinkConfig, LinkKind, SerialConfig};
use gateway::link::{self, Batch, DropReason, LinkHandle};
use gateway::session::{LinkId, Peer};
use log_lines::Lines;
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use shared::frame::{FrameReader, Lead, encode, frame_len_max};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// The far end of a line, the radio's side.
struct Radio(File);

impl Radio {
    /// Makes a line; the path is the gateway's end.
    fn new() -> (Self, PathBuf) {
        let pty = openpty(None, None).unwrap();
        let mut raw = tcgetattr(&pty.slave).unwrap();
        cfmakeraw(&mut raw);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &raw).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        (Self(File::from(pty.master)), path)
    }

    fn send(&mut self, datagram: &[u8]) {
        let bytes = frame(datagram);
        self.0.write_all(&bytes).unwrap();
    }

    /// Reads until `count` datagrams have come.
    fn receive(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::<1400>::new();
        let mut datagrams = Vec::new();
        let mut bytes = [0; 512];
        while datagrams.len() < count {
            let len = self.0.read(&mut bytes).unwrap();
            let mut rest = &bytes[..len];
            while let Some(datagram) = reader.feed(&mut rest) {
                datagrams.push(datagram.to_vec());
            }
        }
        assert_eq!(reader.stats().broken(), 0);
        datagrams
    }
}

fn frame(datagram: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; frame_len_max(datagram.len())];
    let len = encode(datagram, Lead::None, &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

fn open(path: &Path) -> (LinkHandle, mpsc::Receiver<Batch>) {
    open_with(SerialConfig::new(path))
}

fn open_with(serial: SerialConfig) -> (LinkHandle, mpsc::Receiver<Batch>) {
    let (inbound, batches) = mpsc::channel(64);
    let config = LinkConfig {
        name: "radio".to_owned(),
        max_message: 256,
        kind: LinkKind::Serial(serial),
        ..LinkConfig::default()
    };
    let handle = link::open(LinkId(1), &config, inbound).unwrap();
    (handle, batches)
}

async fn until_up(handle: &LinkHandle, is_up: bool) {
    let wait = async {
        while handle.is_up() != is_up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

async fn collect(batches: &mut mpsc::Receiver<Batch>, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = timeout(PATIENCE, batches.recv()).await;
        for (binding, datagram) in batch.expect("in time").expect("the link runs") {
            assert_eq!(binding.peer, Peer::Line);
            assert_eq!((binding.link, binding.node_id), (LinkId(1), None));
            all.push(datagram.to_vec());
        }
    }
    all
}

#[tokio::test]
async fn frames_go_both_ways() {
    let (mut radio, path) = Radio::new();
    let (mut handle, mut batches) = open(&path);
    until_up(&handle, true).await;
    radio.send(b"\x02\x16");
    radio.send(&[0; 256]);
    assert_eq!(
        collect(&mut batches, 2).await,
        [b"\x02\x16".to_vec(), vec![0; 256]]
    );

    handle.send(Peer::Line, b"\x02\x17");
    handle.send(Peer::Line, &[0x11; 256]);
    handle.flush().await;
    let received = tokio::task::spawn_blocking(move || radio.receive(2))
        .await
        .unwrap();
    assert_eq!(received, [b"\x02\x17".to_vec(), vec![0x11; 256]]);

    let counters = handle.counters();
    assert_eq!((counters.datagrams_in, counters.octets_in), (2, 258));
    assert_eq!((counters.datagrams_out, counters.octets_out), (2, 258));
    assert!(counters.line_octets_in > 258 + 6, "{counters:?}");
    assert!(counters.line_octets_out > 258 + 6, "{counters:?}");
    assert_eq!(counters.dropped_total(), 0);
    assert_eq!(handle.local_address(), None);
    assert_eq!(handle.mtu(), 256);
}

#[tokio::test]
async fn broken_frames_are_counted_by_what_is_wrong() {
    let (mut radio, path) = Radio::new();
    let (mut handle, mut batches) = open(&path);
    until_up(&handle, true).await;
    let mut flipped = frame(b"\x05\x16abc");
    flipped[3] ^= 0x04;
    let mut cut = frame(b"\x05\x16abc");
    cut.remove(3);
    let overrun = vec![1; 4000];
    for bytes in [&flipped[..], &cut, &[1, 1, 0], &overrun, &[0]] {
        radio.0.write_all(bytes).unwrap();
    }
    radio.send(&[9; 257]);
    radio.send(b"\x02\x16");
    assert_eq!(collect(&mut batches, 1).await, [b"\x02\x16".to_vec()]);
    handle.send(Peer::Line, &[9; 257]);
    handle.send(Peer::Socket("192.0.2.1:1".parse().unwrap()), b"\x02\x17");
    let counters = handle.counters();
    for (reason, count) in [
        (DropReason::Crc, 1),
        (DropReason::Cobs, 1),
        (DropReason::TooShort, 1),
        (DropReason::Overrun, 1),
        (DropReason::Oversize, 1),
        (DropReason::SendOversize, 1),
        (DropReason::NoSuchPeer, 1),
    ] {
        assert_eq!(
            counters.dropped(reason),
            count,
            "{} {counters:?}",
            reason.name()
        );
    }
    assert_eq!(counters.dropped_total(), 7);
}

#[tokio::test]
async fn a_radio_may_come_late_leave_and_come_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("radio");
    let (mut handle, mut batches) = open(&path);
    handle.send(Peer::Line, b"\x02\x17");
    assert!(!handle.is_up());
    assert_eq!(handle.counters().dropped(DropReason::LineDown), 1);

    for round in 1..=3_u8 {
        let (mut radio, pty) = Radio::new();
        symlink(&pty, &path).unwrap();
        until_up(&handle, true).await;
        radio.send(&[2, round]);
        assert_eq!(collect(&mut batches, 1).await, [vec![2, round]]);
        handle.send(Peer::Line, &[3, round]);
        handle.flush().await;
        let (radio, received) = tokio::task::spawn_blocking(move || {
            let received = radio.receive(1);
            (radio, received)
        })
        .await
        .unwrap();
        assert_eq!(received, [vec![3, round]]);
        // Half a frame when the radio goes must not spoil the first one after it.
        std::fs::remove_file(&path).unwrap();
        (&radio.0).write_all(&[5, 1, 2]).unwrap();
        drop(radio);
        until_up(&handle, false).await;
    }
    assert_eq!(handle.counters().opened, 3);
    assert_eq!(handle.counters().dropped_total(), 1);
}

#[tokio::test]
async fn a_line_that_does_not_move_costs_a_bounded_queue() {
    const SENT: usize = 500;
    let (mut radio, path) = Radio::new();
    let narrow = SerialConfig {
        write_queue_bytes: 2048,
        ..SerialConfig::new(&path)
    };
    let (mut handle, _batches) = open_with(narrow);
    until_up(&handle, true).await;
    for index in 0..SENT {
        let mut datagram = [0x55; 100];
        datagram[..2].copy_from_slice(&u16::try_from(index).unwrap().to_be_bytes());
        handle.send(Peer::Line, &datagram);
        tokio::task::yield_now().await;
    }
    let dropped = handle.counters().dropped(DropReason::QueueFull);
    let kept = SENT as u64 - dropped;
    assert!(dropped > 0);
    assert!(handle.counters().datagrams_out < kept);
    let stuck = timeout(Duration::from_millis(200), handle.flush()).await;
    assert!(stuck.is_err());

    let count = usize::try_from(kept).unwrap();
    let reading = tokio::task::spawn_blocking(move || radio.receive(count));
    timeout(PATIENCE, handle.flush()).await.unwrap();
    let received = reading.await.unwrap();
    let numbers: Vec<u16> = received
        .iter()
        .map(|it| u16::from_be_bytes([it[0], it[1]]))
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(handle.counters().dropped_total(), dropped);
    assert_eq!(handle.counters().datagrams_out, kept);
}

#[tokio::test]
async fn what_a_lost_line_did_not_take_is_dropped_and_not_sent() {
    const SENT: u64 = 500;
    let (radio, path) = Radio::new();
    let (mut handle, _batches) = open(&path);
    until_up(&handle, true).await;
    for _ in 0..SENT {
        handle.send(Peer::Line, &[0x55; 100]);
        tokio::task::yield_now().await;
    }
    let full = handle.counters().dropped(DropReason::QueueFull);
    assert!(full > 0);
    drop(radio);
    until_up(&handle, false).await;
    timeout(PATIENCE, handle.flush()).await.unwrap();
    let counters = handle.counters();
    let lost = counters.dropped(DropReason::LineDown);
    assert!(lost > 1, "{counters:?}");
    assert_eq!(counters.datagrams_out + lost + full, SENT);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_burst_is_summed_up_without_a_further_drop() {
    let lines = Lines::default();
    let _guard = lines.listen();
    for is_up in [false, true] {
        let (_radio, path) = Radio::new();
        let path = if is_up { path } else { "/nonexistent".into() };
        let (mut handle, _batches) = open(&path);
        until_up(&handle, is_up).await;
        for _ in 0..100 {
            handle.send(Peer::Line, &[9; 257]);
        }
        assert!(!lines.text().contains("more of"));
        // The interval of the summaries, and the longest pause of a task without a device.
        tokio::time::sleep(Duration::from_secs(16)).await;
        let text = lines.text();
        assert!(text.contains("… and 95 more of send_oversize"), "{text}");
        lines.0.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn an_absent_device_is_told_once() {
    let lines = Lines::default();
    let _guard = lines.listen();
    let (handle, _batches) = open(Path::new("/nonexistent/ttyUSB0"));
    // Time for attempts after 0, 0.1, 0.3 and 0.7 s.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!handle.is_up());
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "link=radio",
        "/nonexistent/ttyUSB0 is not there",
        "tried again",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_device_in_use_is_left_alone() {
    let (mut radio, path) = Radio::new();
    let (first, mut batches) = open(&path);
    until_up(&first, true).await;
    let (second, mut others) = open(&path);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_up());
    radio.send(b"\x02\x16");
    assert_eq!(collect(&mut batches, 1).await.len(), 1);
    assert!(others.try_recv().is_err());
    // The one that waits takes over when the device is free.
    drop(first);
    until_up(&second, true).await;
    radio.send(b"\x02\x16");
    assert_eq!(collect(&mut others, 1).await.len(), 1);
}
