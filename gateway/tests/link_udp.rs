//! UDP links on real sockets, on loopback.

mod log_lines;

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use gateway::config::{LinkConfig, LinkKind, UdpConfig};
use gateway::link::{self, Batch, DropReason, Inbound, LinkError, LinkHandle};
use gateway::session::{Binding, LinkEvent, LinkId, Peer, Priority};
use log_lines::Lines;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::time::timeout;

const ID: LinkId = LinkId(3);

fn config(listen: &str) -> UdpConfig {
    UdpConfig {
        listen: listen.parse().unwrap(),
        ..UdpConfig::default()
    }
}

fn open(udp: UdpConfig) -> (LinkHandle, mpsc::Receiver<Inbound>, SocketAddr) {
    open_with_queue(udp, 1024)
}

fn open_with_queue(
    udp: UdpConfig,
    batches: usize,
) -> (LinkHandle, mpsc::Receiver<Inbound>, SocketAddr) {
    let (inbound, batches) = mpsc::channel(batches);
    let config = LinkConfig {
        kind: LinkKind::Udp(udp),
        ..LinkConfig::default()
    };
    let handle = link::open(ID, &config, inbound).unwrap();
    let address = handle.local_address().unwrap();
    (handle, batches, address)
}

fn send(handle: &mut LinkHandle, peer: Peer, datagram: &[u8]) {
    let to = Binding {
        link: ID,
        peer,
        node_id: None,
    };
    handle.send(to, Priority::Normal, datagram);
}

/// Collects `count` datagrams, or as many as come within the patience of a test.
async fn collect(batches: &mut mpsc::Receiver<Inbound>, count: usize) -> Batch {
    let mut all = Batch::new();
    while all.len() < count {
        match timeout(PATIENCE, batches.recv()).await {
            Ok(Some(Inbound::Batch(batch))) => all.extend(batch),
            _ => break,
        }
    }
    all
}

async fn expect_nothing(batches: &mut mpsc::Receiver<Inbound>) {
    let quiet = timeout(Duration::from_millis(200), batches.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends from many clients at once while the driver is busy, so that the kernel's buffer
/// takes it all, and collects it afterwards.
async fn burst(clients: usize, each: usize) {
    let (handle, mut batches, address) = open_with_queue(config("127.0.0.1:0"), 1);
    let granted = handle.receive_buffer_bytes().unwrap();
    // Linux counts a small datagram with 768 octets and more, and allows twice what it
    // grants. Where it grants less than the link asks for, less must fit.
    let room = granted * 2 / 1024;
    let clients = clients.min(room);
    let each = each.min(room / clients);
    println!("{clients} clients, {each} datagrams each, receive buffer of {granted} octets");

    let clients: Vec<UdpSocket> = (0..clients)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let own: HashSet<SocketAddr> = clients.iter().map(|it| it.local_addr().unwrap()).collect();
    for round in 0..each {
        for client in &clients {
            let datagram = u16::try_from(round).unwrap().to_be_bytes();
            client.send_to(&datagram, address).unwrap();
        }
    }
    let sent = clients.len() * each;
    let all = collect(&mut batches, sent).await;
    assert_eq!(all.len(), sent);
    let mut seen = HashSet::new();
    for (binding, datagram) in &all {
        assert_eq!((binding.link, binding.node_id), (ID, None));
        let Peer::Socket(from) = binding.peer else {
            panic!("{binding}");
        };
        assert!(own.contains(&from));
        assert!(seen.insert((from, datagram.clone())), "{from} twice");
    }
    // The kernel's counter is read once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let counters = handle.counters();
    assert_eq!(counters.dropped_total(), 0, "{counters:?}");
    assert_eq!(counters.datagrams_in, sent as u64);
    assert_eq!(counters.octets_in, (sent * 2) as u64);
    assert_eq!(counters.line_octets_in, (sent * 30) as u64);
}

#[tokio::test]
async fn a_burst_onto_an_idle_link_loses_nothing() {
    burst(250, 16).await;
}

#[tokio::test]
async fn a_thousand_clients_with_one_datagram_each_lose_nothing() {
    // Most systems allow a process 1,024 files until it asks for more.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard).unwrap();
    burst(1000, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_kernel_drops_is_counted() {
    const SENT: usize = 2000;
    let small = UdpConfig {
        receive_buffer_bytes: 4096,
        ..config("127.0.0.1:0")
    };
    let (handle, mut batches, address) = open_with_queue(small, 1);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..SENT {
        client.send_to(b"\x02\x16", address).unwrap();
    }
    let mut delivered = 0;
    let moment = Duration::from_millis(300);
    while let Ok(Some(Inbound::Batch(batch))) = timeout(moment, batches.recv()).await {
        delivered += batch.len();
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let dropped = handle.counters().dropped(DropReason::KernelBuffer);
    assert!(dropped > 0);
    assert_eq!(delivered as u64 + dropped, SENT as u64);
}

#[tokio::test]
async fn datagrams_go_both_ways_over_ipv6() {
    let (mut handle, mut batches, address) = open(config("[::1]:0"));
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.send_to(b"\x02\x16", address).unwrap();
    let all = collect(&mut batches, 1).await;
    let (binding, datagram) = &all[0];
    assert_eq!(binding.peer, Peer::Socket(client.local_addr().unwrap()));
    assert_eq!(&datagram[..], b"\x02\x16");

    send(&mut handle, binding.peer, b"\x02\x17");
    handle.flush().await;
    assert_eq!(receive(&client), (b"\x02\x17".to_vec(), address));
    let counters = handle.counters();
    assert_eq!((counters.datagrams_out, counters.octets_out), (1, 2));
    assert_eq!(counters.line_octets_out, 2 + 48);
}

#[tokio::test]
async fn ipv6_takes_ipv4_only_where_it_is_told_to() {
    let (_handle, mut batches, address) = open(config("[::]:0"));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ipv4 = SocketAddr::from(([127, 0, 0, 1], address.port()));
    client.send_to(b"\x02\x16", ipv4).unwrap();
    expect_nothing(&mut batches).await;

    let dual = UdpConfig {
        dual_stack: true,
        ..config("[::]:0")
    };
    let (mut handle, mut batches, address) = open(dual);
    let ipv4 = SocketAddr::from(([127, 0, 0, 1], address.port()));
    // A client of its own: the first one may have been told that nobody listened.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"\x02\x16", ipv4).unwrap();
    let all = collect(&mut batches, 1).await;
    send(&mut handle, all[0].0.peer, b"\x02\x17");
    handle.flush().await;
    assert_eq!(receive(&client), (b"\x02\x17".to_vec(), ipv4));
}

#[tokio::test]
async fn large_datagrams_are_dropped_whole_and_counted() {
    let (mut handle, mut batches, address) = open(config("127.0.0.1:0"));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = Peer::Socket(client.local_addr().unwrap());
    assert_eq!(handle.mtu(), 1024);
    for len in [1025, 1026, 9000, 65_507, 0, 1024] {
        client.send_to(&vec![7; len], address).unwrap();
    }
    let all = collect(&mut batches, 1).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1, vec![7; 1024]);
    expect_nothing(&mut batches).await;
    send(&mut handle, peer, &[7; 1025]);
    send(&mut handle, Peer::Line, b"\x02\x17");
    let counters = handle.counters();
    assert_eq!(counters.dropped(DropReason::Oversize), 4);
    assert_eq!(counters.dropped(DropReason::Empty), 1);
    assert_eq!(counters.dropped(DropReason::SendOversize), 1);
    assert_eq!(counters.dropped(DropReason::NoSuchPeer), 1);
    assert_eq!(counters.dropped_total(), 7);
}

#[tokio::test]
async fn merged_datagrams_arrive_one_by_one() {
    let (handle, mut batches, address) = open(config("127.0.0.1:0"));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = quinn_udp::UdpSocketState::new((&client).into()).unwrap();
    let octets: Vec<u8> = (0..5000_u32).map(|n| n.to_le_bytes()[0]).collect();
    // One system call, ten datagrams that stay one buffer all through the kernel, and that
    // as one would not fit what the link reads a datagram into.
    let transmit = quinn_udp::Transmit {
        destination: address,
        ecn: None,
        contents: &octets,
        segment_size: Some(500),
        src_ip: None,
    };
    assert!(
        state.max_gso_segments() >= 10,
        "the kernel knows no UDP_SEGMENT"
    );
    state.try_send((&client).into(), &transmit).unwrap();
    let all = collect(&mut batches, 10).await;
    let parts: Vec<&[u8]> = all.iter().map(|(_, datagram)| &datagram[..]).collect();
    assert_eq!(parts, octets.chunks(500).collect::<Vec<_>>());
    assert_eq!(handle.counters().dropped_total(), 0);
}

#[tokio::test]
async fn answers_come_from_the_address_that_was_sent_to() {
    let (mut handle, mut batches, address) = open(config("0.0.0.0:0"));
    let second = SocketAddr::from(([127, 0, 0, 2], address.port()));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"\x02\x16", second).unwrap();
    let all = collect(&mut batches, 1).await;
    send(&mut handle, all[0].0.peer, b"\x02\x17");
    handle.flush().await;
    assert_eq!(receive(&client), (b"\x02\x17".to_vec(), second));
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_and_keeps_the_order() {
    let narrow = UdpConfig {
        send_queue_max: 4,
        ..config("127.0.0.1:0")
    };
    let (mut handle, _batches, _) = open(narrow);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = Peer::Socket(client.local_addr().unwrap());
    // Until the runtime has looked at the socket once, it does not count as writable: that
    // makes a full socket out of any.
    for octet in 0..10 {
        send(&mut handle, peer, &[octet]);
    }
    assert_eq!(handle.counters().dropped(DropReason::QueueFull), 6);
    handle.flush().await;
    send(&mut handle, peer, &[10]);
    handle.flush().await;
    let received: Vec<u8> = (0..5).map(|_| receive(&client).0[0]).collect();
    assert_eq!(received, [0, 1, 2, 3, 10]);
    assert_eq!(handle.counters().datagrams_out, 5);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_burst_is_summed_up_without_a_further_drop() {
    let lines = Lines::default();
    let _guard = lines.listen();
    let (mut handle, _batches, address) = open(config("127.0.0.1:0"));
    for _ in 0..100 {
        send(&mut handle, Peer::Socket(address), &[9; 1025]);
    }
    assert!(!lines.text().contains("more of"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    let text = lines.text();
    assert!(text.contains("… and 95 more of send_oversize"), "{text}");
}

#[tokio::test]
async fn a_queued_datagram_that_the_kernel_refuses_is_counted_and_logged() {
    let lines = Lines::default();
    let _guard = lines.listen();
    let (mut handle, _batches, _) = open(config("127.0.0.1:0"));
    // Before the runtime has looked at the socket, everything is queued; nobody can be sent
    // to at port 0.
    let nowhere = Peer::Socket("127.0.0.1:0".parse().unwrap());
    send(&mut handle, nowhere, &[2, 0x17]);
    assert_eq!(handle.counters().dropped_total(), 0);
    timeout(PATIENCE, handle.flush()).await.unwrap();
    assert_eq!(handle.counters().dropped(DropReason::SendFailed), 1);
    assert_eq!(handle.counters().datagrams_out, 0);
    let text = lines.text();
    for part in ["who=udp/127.0.0.1:0", "reason=\"send_failed\"", "octets=2"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_network_that_is_gone_is_told_until_something_is_heard() {
    let (mut handle, mut inbound, address) = open(config("[::]:0"));
    assert!(handle.is_up());
    // The loopback interface has no route to link-local addresses: this is what every send
    // says where the network is gone.
    let nowhere = Peer::Socket("[fe80::1%1]:9".parse().unwrap());
    let start = tokio::time::Instant::now();
    let told = loop {
        send(&mut handle, nowhere, b"\x02\x17");
        match timeout(Duration::from_millis(500), inbound.recv()).await {
            Ok(told) => break told.unwrap(),
            Err(_) => assert!(start.elapsed() < PATIENCE),
        }
    };
    assert_eq!(told, Inbound::Event(ID, LinkEvent::Down));
    assert!(
        start.elapsed() > Duration::from_secs(4),
        "one send is no sign"
    );
    assert!(!handle.is_up());
    assert!(handle.counters().dropped(DropReason::SendFailed) >= 3);

    let client = UdpSocket::bind("[::1]:0").unwrap();
    let to = SocketAddr::new("::1".parse().unwrap(), address.port());
    client.send_to(b"\x02\x16", to).unwrap();
    let told = timeout(PATIENCE, inbound.recv()).await.unwrap().unwrap();
    assert_eq!(told, Inbound::Event(ID, LinkEvent::Up));
    let told = timeout(PATIENCE, inbound.recv()).await.unwrap().unwrap();
    assert!(matches!(told, Inbound::Batch(batch) if batch.len() == 1));
    assert!(handle.is_up());
}

#[tokio::test]
async fn one_peer_that_cannot_be_reached_takes_nothing_down() {
    let (mut handle, mut inbound, _) = open(config("[::]:0"));
    let nowhere = Peer::Socket("[fe80::1%1]:9".parse().unwrap());
    let client = UdpSocket::bind("[::1]:0").unwrap();
    for _ in 0..14 {
        send(&mut handle, nowhere, b"\x02\x17");
        send(
            &mut handle,
            Peer::Socket(client.local_addr().unwrap()),
            b"\x02\x17",
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(inbound.try_recv().is_err());
    assert!(handle.is_up());
}

#[tokio::test]
async fn a_taken_address_says_what_to_do() {
    let (handle, _batches, address) = open(config("127.0.0.1:0"));
    for (listen, hint) in [
        (address.to_string(), "another program listens there"),
        (
            "192.0.2.1:10000".to_owned(),
            "no interface has this address",
        ),
    ] {
        let (inbound, _batches) = mpsc::channel(1);
        let config = LinkConfig {
            name: "lan".to_owned(),
            kind: LinkKind::Udp(config(&listen)),
            ..LinkConfig::default()
        };
        let error = link::open(ID, &config, inbound).unwrap_err();
        assert!(matches!(error, LinkError::Bind { .. }), "{error}");
        let text = error.to_string();
        for part in ["link lan", listen.as_str(), hint] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    // The address is free again once the handle is gone.
    drop(handle);
    let mut tries = 0;
    while UdpSocket::bind(address).is_err() {
        tries += 1;
        assert!(tries < 100, "the socket outlives its handle");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn receive(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut datagram = [0; 2048];
    let (len, from) = client.recv_from(&mut datagram).unwrap();
    (datagram[..len].to_vec(), from)
}
