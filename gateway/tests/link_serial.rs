//! Serial links on pseudo-terminals, opened by path as a radio is.

mod log_lines;
mod radio;

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use gateway::config::{LinkConfig, LinkKind, SerialConfig};
use gateway::link::{self, DropReason, Inbound, LinkHandle};
use gateway::session::{Binding, LinkEvent, LinkId, Peer, Priority};
use log_lines::Lines;
use radio::{Radio, frame};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn open(path: &Path) -> (LinkHandle, mpsc::Receiver<Inbound>) {
    open_with(SerialConfig::new(path))
}

fn open_with(serial: SerialConfig) -> (LinkHandle, mpsc::Receiver<Inbound>) {
    open_with_queue(serial, 64)
}

fn open_with_queue(serial: SerialConfig, places: usize) -> (LinkHandle, mpsc::Receiver<Inbound>) {
    let (inbound, batches) = mpsc::channel(places);
    let config = LinkConfig {
        name: "radio".to_owned(),
        max_message: 256,
        kind: LinkKind::Serial(serial),
        ..LinkConfig::default()
    };
    let handle = link::open(LinkId(1), &config, inbound).unwrap();
    (handle, batches)
}

fn send(handle: &mut LinkHandle, peer: Peer, datagram: &[u8]) {
    let to = Binding {
        link: LinkId(1),
        peer,
        node_id: None,
    };
    handle.send(to, Priority::Normal, datagram);
}

async fn until_up(handle: &LinkHandle, is_up: bool) {
    let wait = async {
        while handle.is_up() != is_up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

async fn collect(batches: &mut mpsc::Receiver<Inbound>, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        let inbound = timeout(PATIENCE, batches.recv()).await;
        let Inbound::Batch(batch) = inbound.expect("in time").expect("the link runs") else {
            continue;
        };
        for (binding, datagram) in batch {
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

    send(&mut handle, Peer::Line, b"\x02\x17");
    send(&mut handle, Peer::Line, &[0x11; 256]);
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
    send(&mut handle, Peer::Line, &[9; 257]);
    let elsewhere = Peer::Socket("192.0.2.1:1".parse().unwrap());
    send(&mut handle, elsewhere, b"\x02\x17");
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
    send(&mut handle, Peer::Line, b"\x02\x17");
    assert!(!handle.is_up());
    assert_eq!(handle.counters().dropped(DropReason::LineDown), 1);

    for round in 1..=3_u8 {
        let (mut radio, pty) = Radio::new();
        symlink(&pty, &path).unwrap();
        until_up(&handle, true).await;
        radio.send(&[2, round]);
        assert_eq!(collect(&mut batches, 1).await, [vec![2, round]]);
        send(&mut handle, Peer::Line, &[3, round]);
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
async fn the_line_tells_when_it_comes_and_goes_behind_what_was_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("radio");
    // Room for one thing at a time: what was read waits for the driver.
    let (mut handle, mut inbound) = open_with_queue(SerialConfig::new(&path), 1);
    let told = |event| Inbound::Event(LinkId(1), event);
    let mut next = async || timeout(PATIENCE, inbound.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, told(LinkEvent::Down), "absent at the start");
    for round in 1..=2 {
        let (mut radio, pty) = Radio::new();
        symlink(&pty, &path).unwrap();
        assert_eq!(next().await, told(LinkEvent::Up));
        until_up(&handle, true).await;
        for number in 0..2 {
            radio.send(&[2, number]);
            while handle.counters().datagrams_in < (round - 1) * 2 + u64::from(number) + 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        std::fs::remove_file(&path).unwrap();
        drop(radio);
        // One datagram is in the driver's queue, the other has no place there, and only an
        // error of the writer tells that the line is gone.
        while handle.is_up() {
            send(&mut handle, Peer::Line, b"\x02\x17");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for number in 0..2 {
            let Inbound::Batch(batch) = next().await else {
                panic!("datagram {number} of round {round} is lost");
            };
            assert_eq!(&batch[0].1[..], [2, number]);
        }
        assert_eq!(next().await, told(LinkEvent::Down));
    }
}

#[tokio::test]
async fn a_line_that_is_there_tells_only_that() {
    let (_radio, path) = Radio::new();
    let (_handle, mut inbound) = open(&path);
    let told = timeout(PATIENCE, inbound.recv()).await.unwrap();
    assert_eq!(told, Some(Inbound::Event(LinkId(1), LinkEvent::Up)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(inbound.try_recv().is_err());
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
        send(&mut handle, Peer::Line, &datagram);
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
        send(&mut handle, Peer::Line, &[0x55; 100]);
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
            send(&mut handle, Peer::Line, &[9; 257]);
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
    let told = others.try_recv().unwrap();
    assert_eq!(told, Inbound::Event(LinkId(1), LinkEvent::Down));
    assert!(others.try_recv().is_err());
    // The one that waits takes over when the device is free.
    drop(first);
    until_up(&second, true).await;
    radio.send(b"\x02\x16");
    assert_eq!(collect(&mut others, 1).await.len(), 1);
}
