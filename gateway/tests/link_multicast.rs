//! Groups of UDP links on real sockets: IPv4 on the loopback interface, IPv6 in a group that
//! never leaves this host.

mod log_lines;
mod radio;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use gateway::config::{
    Config, LinkConfig, LinkKind, MulticastConfig, NetInterface, SerialConfig, UdpConfig,
};
use gateway::driver::Gateway;
use gateway::link::{self, DropReason, Inbound, LinkHandle};
use gateway::session::{Binding, Discovery, LinkId, Peer, Priority};
use log_lines::Lines;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use radio::Radio;
use socket2::{Domain, InterfaceIndexOrAddress, SockRef, Socket, Type};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const ID: LinkId = LinkId(2);
const PATIENCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(200);

const SEARCHGW: &[u8] = &[3, 0x01, 1];
const ADVERTISE: &[u8] = &[5, 0x00, 1, 0, 60];
const GWINFO: &[u8] = &[3, 0x02, 1];
const CONNECT: &[u8] = &[7, 0x04, 0x04, 1, 0, 60, b'x'];

/// A network of this host alone, and a group in it.
#[derive(Clone, Debug)]
struct Network {
    group: SocketAddr,
    interface: NetInterface,
    /// Where links and nodes may listen.
    any: SocketAddr,
}

impl Network {
    /// The group's number keeps the tests apart that run at the same time.
    fn v4(number: u8) -> Self {
        Self {
            group: SocketAddr::from(([239, 255, 83, number], free_port())),
            interface: NetInterface::Name("lo".to_owned()),
            any: "127.0.0.1:0".parse().unwrap(),
        }
    }

    /// Few systems have a route for IPv6 groups on the loopback interface. But a group of
    /// interface-local scope (RFC 4291 §2.7) does not leave the host on any interface.
    fn v6(number: u8) -> Self {
        let group = |index| {
            let address = format!("ff11::83:{number:x}").parse().unwrap();
            SocketAddr::V6(SocketAddrV6::new(address, free_port(), 0, index))
        };
        let mut names: Vec<String> = getifaddrs()
            .unwrap()
            .filter(|it| it.address.is_some_and(|it| it.as_sockaddr_in6().is_some()))
            .map(|it| it.interface_name)
            .collect();
        names.sort_by_key(|name| name != "lo");
        names.dedup();
        let mut tried = Vec::new();
        for name in names {
            let index = if_nametoindex(name.as_str()).unwrap();
            match probe(group(index)) {
                Ok(()) => {
                    return Self {
                        group: group(index),
                        interface: NetInterface::Name(name),
                        any: "[::]:0".parse().unwrap(),
                    };
                }
                Err(error) => tried.push(format!("{name}: {error}")),
            }
        }
        panic!(
            "this host has no interface that carries IPv6 groups ({}); `ip -6 route add \
             multicast ff00::/8 dev lo table local` gives it one",
            tried.join(", ")
        );
    }

    fn config(&self) -> UdpConfig {
        let mut multicast = MulticastConfig::new([without_scope(self.group)]);
        multicast.interface = Some(self.interface.clone());
        multicast.hops_max = 7;
        UdpConfig {
            listen: self.any,
            multicast: Some(multicast),
            ..UdpConfig::default()
        }
    }

    fn link(&self) -> (LinkHandle, mpsc::Receiver<Inbound>) {
        open(self.config()).unwrap()
    }

    /// A node's socket: what it sends to the group goes out on the network.
    fn node(&self) -> UdpSocket {
        let socket = UdpSocket::bind(self.any).unwrap();
        prefer(&socket, self.group).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// A socket that hears the group.
    fn listener(&self) -> UdpSocket {
        listener(self.group).unwrap()
    }
}

/// Sends to a group and hears it.
fn probe(group: SocketAddr) -> io::Result<()> {
    let listener = listener(group)?;
    listener.set_read_timeout(Some(Duration::from_millis(500)))?;
    let socket = UdpSocket::bind("[::]:0")?;
    prefer(&socket, group)?;
    socket.send_to(SEARCHGW, group)?;
    listener.recv(&mut [0; 8]).map(drop)
}

fn prefer(socket: &UdpSocket, group: SocketAddr) -> io::Result<()> {
    match group {
        SocketAddr::V4(_) => SockRef::from(socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST),
        SocketAddr::V6(group) => SockRef::from(socket).set_multicast_if_v6(group.scope_id()),
    }
}

fn listener(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&group.into())?;
    match group {
        SocketAddr::V4(group) => {
            let lo = InterfaceIndexOrAddress::Address(Ipv4Addr::LOCALHOST);
            socket.join_multicast_v4_n(group.ip(), &lo)?;
        }
        SocketAddr::V6(group) => socket.join_multicast_v6(group.ip(), group.scope_id())?,
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// The gateway is to find the scope by the interface.
fn without_scope(group: SocketAddr) -> SocketAddr {
    SocketAddr::new(group.ip(), group.port())
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("[::]:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn open(udp: UdpConfig) -> Result<(LinkHandle, mpsc::Receiver<Inbound>), link::LinkError> {
    let (inbound, batches) = mpsc::channel(64);
    let config = LinkConfig {
        kind: LinkKind::Udp(udp),
        ..LinkConfig::default()
    };
    Ok((link::open(ID, &config, inbound)?, batches))
}

/// Returns the next datagram and where it came from.
async fn next(inbound: &mut mpsc::Receiver<Inbound>) -> (Binding, Vec<u8>) {
    let next = timeout(PATIENCE, inbound.recv()).await;
    let Inbound::Batch(batch) = next.expect("in time").unwrap() else {
        panic!("no datagram");
    };
    assert_eq!(batch.len(), 1);
    (batch[0].0, batch[0].1.to_vec())
}

async fn expect_nothing(inbound: &mut mpsc::Receiver<Inbound>) {
    let quiet = timeout(QUIET, inbound.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut datagram = [0; 2048];
    let (len, from) = socket.recv_from(&mut datagram).unwrap();
    (datagram[..len].to_vec(), from)
}

fn port_of(handle: &LinkHandle) -> u16 {
    handle.local_address().unwrap().port()
}

fn peer_port(binding: Binding) -> u16 {
    match binding.peer {
        Peer::Socket(address) => address.port(),
        Peer::Line => panic!("{binding}"),
    }
}

/// A node asks the group; every gateway of the host hears it and answers the node alone.
async fn a_node_finds_all_gateways(network: Network) {
    let (mut first, mut to_first) = network.link();
    let (mut second, mut to_second) = network.link();
    let node = network.node();
    node.send_to(SEARCHGW, network.group).unwrap();
    let mut answered = Vec::new();
    for (handle, inbound) in [(&mut first, &mut to_first), (&mut second, &mut to_second)] {
        let (binding, datagram) = next(inbound).await;
        assert_eq!(datagram, SEARCHGW);
        assert_eq!((binding.link, binding.node_id), (ID, None));
        assert_eq!(peer_port(binding), node.local_addr().unwrap().port());
        handle.send(binding, Priority::Normal, GWINFO);
        handle.flush().await;
        let (datagram, from) = receive(&node);
        assert_eq!(datagram, GWINFO);
        assert_eq!(from.port(), port_of(handle));
        // What it saw is where it can connect.
        node.send_to(CONNECT, from).unwrap();
        let (binding, datagram) = next(inbound).await;
        assert_eq!(datagram, CONNECT);
        assert_eq!(peer_port(binding), node.local_addr().unwrap().port());
        answered.push(from);
        assert_eq!(handle.counters().dropped_total(), 0);
    }
    assert_ne!(answered[0], answered[1]);
}

#[tokio::test]
async fn d09_a_node_finds_all_gateways_by_ipv4() {
    a_node_finds_all_gateways(Network::v4(1)).await;
}

#[tokio::test]
async fn d09_a_node_finds_all_gateways_by_ipv6() {
    a_node_finds_all_gateways(Network::v6(1)).await;
}

/// ADVERTISE leaves from the address to connect to; others hear it, and the sender does not.
async fn an_advertisement_is_heard_by_all_others(network: Network) {
    let (mut first, mut to_first) = network.link();
    let (second, mut to_second) = network.link();
    let listener = network.listener();
    first.broadcast(0, ADVERTISE);
    let (datagram, from) = receive(&listener);
    assert_eq!(datagram, ADVERTISE);
    assert_eq!(from.port(), port_of(&first));
    let (binding, datagram) = next(&mut to_second).await;
    assert_eq!(datagram, ADVERTISE);
    assert_eq!(peer_port(binding), port_of(&first));
    expect_nothing(&mut to_first).await;
    let counters = first.counters();
    assert_eq!(counters.dropped(DropReason::OwnEcho), 1);
    assert_eq!(counters.dropped_total(), 1);
    assert_eq!((counters.datagrams_out, counters.octets_out), (1, 5));
    assert_eq!(second.counters().dropped_total(), 0);

    let node = UdpSocket::bind(network.any).unwrap();
    node.send_to(CONNECT, from).unwrap();
    assert_eq!(next(&mut to_first).await.1, CONNECT);
}

#[tokio::test]
async fn d09_an_advertisement_is_heard_by_all_others_by_ipv4() {
    an_advertisement_is_heard_by_all_others(Network::v4(2)).await;
}

#[tokio::test]
async fn d09_an_advertisement_is_heard_by_all_others_by_ipv6() {
    an_advertisement_is_heard_by_all_others(Network::v6(2)).await;
}

#[tokio::test]
async fn d09_own_echoes_are_known_by_any_address_of_the_host() {
    let network = Network {
        any: "0.0.0.0:0".parse().unwrap(),
        ..Network::v4(3)
    };
    let (mut first, mut to_first) = network.link();
    let (_second, mut to_second) = network.link();
    first.broadcast(0, ADVERTISE);
    assert_eq!(next(&mut to_second).await.1, ADVERTISE);
    expect_nothing(&mut to_first).await;
    assert_eq!(first.counters().dropped(DropReason::OwnEcho), 1);
}

/// A group is a door for discovery and nothing else.
async fn nothing_but_discovery_comes_through_a_group(network: Network) {
    let lines = Lines::default();
    let _guard = lines.listen();
    let (handle, mut inbound) = network.link();
    let node = network.node();
    let large = [&[1, 4, 0, 0x01][..], &[0; 1020], &[0]].concat();
    for datagram in [CONNECT, &[2, 0x16], &[0], &[3], &[], &large] {
        node.send_to(datagram, network.group).unwrap();
    }
    for datagram in [SEARCHGW, ADVERTISE, GWINFO] {
        node.send_to(datagram, network.group).unwrap();
        assert_eq!(next(&mut inbound).await.1, datagram);
    }
    expect_nothing(&mut inbound).await;
    let counters = handle.counters();
    assert_eq!(counters.dropped(DropReason::NotForGroup), 4);
    assert_eq!(counters.dropped(DropReason::Empty), 1);
    assert_eq!(counters.dropped(DropReason::Oversize), 1);
    assert_eq!(counters.dropped_total(), 6);
    assert_eq!((counters.datagrams_in, counters.octets_in), (3, 11));
    let text = lines.text();
    for part in ["reason=\"not_for_group\"", "octets=7", "who=udp/"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn d09_nothing_but_discovery_comes_through_a_group_by_ipv4() {
    nothing_but_discovery_comes_through_a_group(Network::v4(4)).await;
}

#[tokio::test]
async fn d09_nothing_but_discovery_comes_through_a_group_by_ipv6() {
    nothing_but_discovery_comes_through_a_group(Network::v6(4)).await;
}

/// The radius is the hop limit, up to the configured one; 0 is all of the network.
fn the_radius_is_the_hop_limit(network: &Network) {
    let (mut handle, _inbound) = network.link();
    let listener = network.listener();
    match network.group {
        SocketAddr::V4(_) => setsockopt(&listener, sockopt::Ipv4RecvTtl, &true).unwrap(),
        SocketAddr::V6(_) => setsockopt(&listener, sockopt::Ipv6RecvHopLimit, &true).unwrap(),
    }
    for (radius, hops) in [(0, 7), (1, 1), (3, 3), (200, 7), (1, 1)] {
        handle.broadcast(radius, GWINFO);
        assert_eq!(hop_limit(&listener), hops, "radius {radius}");
    }
}

fn hop_limit(listener: &UdpSocket) -> i32 {
    let mut octets = [0; 64];
    let mut buffers = [io::IoSliceMut::new(&mut octets)];
    let mut control = nix::cmsg_space!(i32);
    let message = recvmsg::<SockaddrStorage>(
        listener.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::empty(),
    );
    let message = message.unwrap();
    let mut control = message.cmsgs().unwrap();
    control
        .find_map(|it| match it {
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                Some(hops)
            }
            _ => None,
        })
        .unwrap()
}

#[tokio::test]
async fn d09_the_radius_is_the_hop_limit_by_ipv4() {
    the_radius_is_the_hop_limit(&Network::v4(5));
}

#[tokio::test]
async fn d09_the_radius_is_the_hop_limit_by_ipv6() {
    the_radius_is_the_hop_limit(&Network::v6(5));
}

#[tokio::test]
async fn d09_a_socket_for_both_protocols_serves_groups_of_both() {
    let (v4, v6) = (Network::v4(6), Network::v6(6));
    // One interface cannot be named where the two groups are on different ones.
    for network in [v4, v6] {
        let config = UdpConfig {
            listen: "[::]:0".parse().unwrap(),
            dual_stack: true,
            ..network.config()
        };
        let (mut handle, mut inbound) = open(config).unwrap();
        let node = network.node();
        node.send_to(SEARCHGW, network.group).unwrap();
        let (binding, _) = next(&mut inbound).await;
        handle.send(binding, Priority::Normal, GWINFO);
        handle.flush().await;
        let (datagram, from) = receive(&node);
        assert_eq!((datagram, from.port()), (GWINFO.to_vec(), port_of(&handle)));
        // The node is the same one wherever its datagrams come in.
        node.send_to(CONNECT, from).unwrap();
        assert_eq!(next(&mut inbound).await.0, binding);
        let listener = network.listener();
        handle.broadcast(1, ADVERTISE);
        let (datagram, from) = receive(&listener);
        assert_eq!(
            (datagram, from.port()),
            (ADVERTISE.to_vec(), port_of(&handle))
        );
        expect_nothing(&mut inbound).await;
    }
}

#[tokio::test]
async fn a_group_may_have_the_port_that_the_link_listens_on() {
    let network = Network::v4(7);
    let listen = SocketAddr::from(([0; 4], network.group.port()));
    let config = UdpConfig {
        listen,
        ..network.config()
    };
    let (_handle, mut inbound) = open(config.clone()).unwrap();
    let node = network.node();
    node.send_to(SEARCHGW, network.group).unwrap();
    node.send_to(CONNECT, network.group).unwrap();
    let own = SocketAddr::from(([127, 0, 0, 1], listen.port()));
    node.send_to(CONNECT, own).unwrap();
    let mut came = [next(&mut inbound).await.1, next(&mut inbound).await.1];
    came.sort();
    assert_eq!(came, [SEARCHGW, CONNECT]);
    expect_nothing(&mut inbound).await;
    // The listening socket itself is not shared.
    let error = open(config).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[tokio::test]
async fn what_others_of_the_host_have_joined_is_not_heard() {
    let network = Network::v4(8);
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(group) = network.group else {
        panic!("{network:?}");
    };
    other
        .join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST)
        .unwrap();
    let (handle, mut inbound) = open(UdpConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..UdpConfig::default()
    })
    .unwrap();
    let node = network.node();
    let theirs = SocketAddr::from((*group.ip(), port_of(&handle)));
    node.send_to(CONNECT, theirs).unwrap();
    expect_nothing(&mut inbound).await;
    let own = SocketAddr::from(([127, 0, 0, 1], port_of(&handle)));
    node.send_to(CONNECT, own).unwrap();
    assert_eq!(next(&mut inbound).await.1, CONNECT);
}

/// Starts a whole gateway with one link that advertises itself.
async fn start(kind: LinkKind) -> Gateway {
    let minute = shared::time::Duration::from_secs(60);
    let mut config = Config {
        links: vec![LinkConfig {
            discovery: Some(Discovery {
                advertise_every: Some(minute),
                standby_misses: None,
            }),
            kind,
            ..LinkConfig::default()
        }],
        ..Config::default()
    };
    config.broker.listen = "127.0.0.1:0".parse().unwrap();
    Gateway::start(&config).await.unwrap()
}

/// Lets a gateway run while `test` looks at it from outside.
async fn run(gateway: Gateway, test: impl FnOnce() + Send + 'static) {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(gateway.run(async {
        let _ = stopped.await;
    }));
    let tested = tokio::task::spawn_blocking(test).await;
    stop.send(()).unwrap();
    timeout(PATIENCE, running).await.unwrap().unwrap();
    tested.unwrap();
}

/// A node hears the gateway, asks for it, and connects to who has answered.
async fn a_gateway_is_found(network: Network) {
    let listener = network.listener();
    let gateway = start(LinkKind::Udp(network.config())).await;
    let port = port_of(&gateway.links()[0]);
    run(gateway, move || {
        let (datagram, from) = receive(&listener);
        assert_eq!((datagram.as_slice(), from.port()), (ADVERTISE, port));
        let node = network.node();
        node.send_to(SEARCHGW, network.group).unwrap();
        let (datagram, from) = receive(&node);
        assert_eq!((datagram.as_slice(), from.port()), (GWINFO, port));
        // The node's question, and the answer for all others who were about to ask.
        assert_eq!(receive(&listener).0, SEARCHGW);
        assert_eq!(receive(&listener).0, GWINFO);
        node.send_to(CONNECT, from).unwrap();
        assert_eq!(receive(&node), (vec![3, 0x05, 0], from));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d09_a_gateway_is_found_and_connected_to_by_ipv4() {
    a_gateway_is_found(Network::v4(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d09_a_gateway_is_found_and_connected_to_by_ipv6() {
    a_gateway_is_found(Network::v6(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d09_a_gateway_is_found_on_a_line() {
    let (mut radio, path) = Radio::new();
    let gateway = start(LinkKind::Serial(SerialConfig::new(&path))).await;
    while !gateway.links()[0].is_up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run(gateway, move || {
        assert_eq!(radio.receive(1), [ADVERTISE]);
        radio.send(SEARCHGW);
        assert_eq!(radio.receive(1), [GWINFO]);
        // The answer for the asker is the one for all: it is not sent twice.
        radio.send(CONNECT);
        assert_eq!(radio.receive(1), [[3, 0x05, 0]]);
    })
    .await;
}

#[tokio::test]
async fn a_link_without_groups_has_nobody_to_broadcast_to() {
    let (mut handle, _inbound) = open(UdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..UdpConfig::default()
    })
    .unwrap();
    handle.broadcast(0, ADVERTISE);
    let counters = handle.counters();
    assert_eq!((counters.datagrams_out, counters.dropped_total()), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_joined_says_what_to_do() {
    let network = Network::v4(9);
    let with = |change: &dyn Fn(&mut MulticastConfig)| {
        let mut config = network.config();
        change(config.multicast.as_mut().unwrap());
        open(config).unwrap_err().to_string()
    };
    let absent = with(&|it| it.interface = Some(NetInterface::Name("nosuchif0".to_owned())));
    let scope = open(UdpConfig {
        listen: "[::]:0".parse().unwrap(),
        multicast: Some(MulticastConfig::new(["[ff02::83:9]:1883".parse().unwrap()])),
        ..UdpConfig::default()
    });
    let scope = scope.unwrap_err().to_string();
    let family = with(&|it| it.groups = vec!["[ff02::83:9]:1883".parse().unwrap()]);
    let unicast = with(&|it| it.groups = vec!["192.0.2.1:1883".parse().unwrap()]);
    let taken = UdpSocket::bind(network.group).unwrap();
    let taken = (with(&|_| {}), taken).0;
    for (text, hint) in [
        (&absent, "ip address shows them"),
        (&scope, "set multicast.interface"),
        (&family, "an IPv6 address"),
        (&unicast, "is no multicast group"),
        (&taken, "does not share it"),
    ] {
        assert!(text.starts_with("link udp: "), "{text}");
        assert!(text.contains(hint), "{hint} in {text}");
    }
}
