//! The broker's side of a connection, byte by byte and packet by packet.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, Login, Packet, PingResp,
    PubAck, PubAckReason, PubComp, PubCompReason, PubRec, PubRecReason, PubRel, Publish, SubAck,
    Subscribe, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};
use rumqttc::v5::mqttbytes::{Error as CodecError, QoS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::{Action, Seen, Session, State, lock};

pub(super) async fn accept(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        let Ok((tcp, _)) = listener.accept().await else {
            return;
        };
        tcp.set_nodelay(true).unwrap();
        let (state, tls) = (state.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(tcp, state, number).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve(stream, state, number).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    state: Arc<Mutex<State>>,
    number: usize,
) {
    let mut inbound = BytesMut::new();
    let Some(Packet::Connect(connect, _, login)) = read(&mut stream, &mut inbound).await else {
        return;
    };
    let (actions, mut todo) = unbounded_channel();
    let Some(deaf) = greet(&state, number, connect, login, actions) else {
        return std::future::pending().await;
    };
    let mut count = 0;
    loop {
        tokio::select! {
            biased;
            action = todo.recv() => match action {
                Some(Action::Send(packet)) => {
                    if write(&mut stream, &packet).await.is_err() {
                        return;
                    }
                    if matches!(*packet, Packet::Disconnect(_)) || is_refusal(&packet) {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
                Some(Action::Cut) | None => return,
            },
            packet = read(&mut stream, &mut inbound), if !deaf => {
                let Some(packet) = packet else { return };
                let delay = lock(&state).script.delay;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if !handle(&state, number, packet, &mut count) {
                    flush(&mut stream, &mut todo).await;
                    return;
                }
            }
        }
    }
}

fn is_refusal(packet: &Packet) -> bool {
    matches!(packet, Packet::ConnAck(connack) if connack.code != ConnectReturnCode::Success)
}

/// Answers CONNECT; returns whether the connection is to be deaf, or nothing for a dead one.
fn greet(
    state: &Arc<Mutex<State>>,
    number: usize,
    connect: Connect,
    login: Option<Login>,
    actions: UnboundedSender<Action>,
) -> Option<bool> {
    let mut state = lock(state);
    let allowed = state.script.login.as_ref().is_none_or(|(user, password)| {
        login
            .as_ref()
            .is_some_and(|login| (&login.username, &login.password) == (user, password))
    });
    let code = match state.script.refuse_connect {
        Some(code) => code,
        None if !allowed => ConnectReturnCode::BadUserNamePassword,
        None => ConnectReturnCode::Success,
    };
    let clean = connect.clean_start;
    state.record.connects.push((connect, login));
    if state.script.dead {
        // Whoever waits for an answer keeps the channel, so that nothing is cut.
        state.current = Some((number, actions));
        return None;
    }
    if clean || !state.script.keep_session {
        state.session = Session::default();
    }
    let session_present = state.session.exists;
    state.session.exists = code == ConnectReturnCode::Success;
    state.session.withheld.clear();
    state.session.open.clear();
    let mut packets = vec![Packet::ConnAck(ConnAck {
        session_present: session_present && code == ConnectReturnCode::Success,
        code,
        properties: state.script.limits.clone(),
    })];
    for publish in state.session.outgoing.values() {
        let mut publish = publish.clone();
        publish.dup = true;
        packets.push(Packet::Publish(publish));
    }
    for id in state.session.releasing.keys() {
        packets.push(Packet::PubRel(PubRel::new(*id, None)));
    }
    state.current = Some((number, actions));
    for packet in packets {
        state.act(Action::send(packet));
    }
    Some(state.script.deaf_after_connack)
}

/// Handles a packet; false cuts the connection.
fn handle(state: &Arc<Mutex<State>>, number: usize, packet: Packet, count: &mut usize) -> bool {
    let mut state = lock(state);
    if state.script.dead_after_connack {
        return true;
    }
    let is_exchange = matches!(packet, Packet::Publish(_) | Packet::PubRel(_));
    if is_exchange && state.rolls_cut() {
        return false;
    }
    match packet {
        Packet::Publish(publish) => {
            *count += 1;
            if state.script.cut_after.is_some_and(|after| *count >= after) {
                note(&mut state, number, &publish);
                return false;
            }
            publish_in(&mut state, number, publish);
        }
        Packet::PubRel(release) => {
            if let Some(publish) = state.session.received.remove(&release.pkid) {
                hand_on(&mut state, &publish);
            }
            let mut complete = PubComp::new(release.pkid, None);
            if state.script.unknown_releases {
                complete.reason = PubCompReason::PacketIdentifierNotFound;
            }
            state.answer(Packet::PubComp(complete));
        }
        Packet::PubAck(ack) => {
            state.session.outgoing.remove(&ack.pkid);
            state.record.acks.push(Packet::PubAck(ack));
        }
        Packet::PubRec(ack) => {
            state.session.outgoing.remove(&ack.pkid);
            state.session.releasing.insert(ack.pkid, ());
            state.act(Action::send(Packet::PubRel(PubRel::new(ack.pkid, None))));
            state.record.acks.push(Packet::PubRec(ack));
        }
        Packet::PubComp(ack) => {
            state.session.releasing.remove(&ack.pkid);
            state.record.acks.push(Packet::PubComp(ack));
        }
        Packet::Subscribe(subscribe) => subscribe_in(&mut state, &subscribe),
        Packet::Unsubscribe(unsubscribe) => {
            let mut reason = UnsubAckReason::Success;
            if state.script.subscription_ids_in_use > 0 {
                state.script.subscription_ids_in_use -= 1;
                reason = UnsubAckReason::PacketIdentifierInUse;
            }
            let reasons = vec![reason; unsubscribe.filters.len()];
            state.record.unsubscribed.extend(unsubscribe.filters);
            state.act(Action::send(Packet::UnsubAck(UnsubAck {
                pkid: unsubscribe.pkid,
                reasons,
                properties: None,
            })));
        }
        Packet::PingReq(_) => {
            state.record.pings += 1;
            state.act(Action::send(Packet::PingResp(PingResp)));
        }
        Packet::Disconnect(_) => {
            state.record.orderly_disconnects += 1;
            return false;
        }
        _ => {}
    }
    // The answer is on its way or not: both happen.
    !(is_exchange && state.rolls_cut())
}

fn note(state: &mut State, connection: usize, publish: &Publish) {
    if publish.qos != QoS::AtMostOnce {
        let held = state.session.received.contains_key(&publish.pkid);
        let open = &mut state.session.open;
        if open.contains(&publish.pkid) || (held && !publish.dup) {
            state.record.reused_ids.push(publish.pkid);
        } else {
            open.push(publish.pkid);
        }
        state.record.open_max = state.record.open_max.max(open.len());
    }
    state.record.seen.push(Seen {
        connection,
        packet_id: publish.pkid,
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
        payload: publish.payload.clone(),
    });
}

fn hand_on(state: &mut State, publish: &Publish) {
    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
    state
        .record
        .handed_on
        .push((topic, publish.payload.clone()));
}

fn publish_in(state: &mut State, number: usize, publish: Publish) {
    note(state, number, &publish);
    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
    if let Some((poison, code)) = &state.script.poison
        && *poison == topic
    {
        let disconnect = Packet::Disconnect(Disconnect::new(*code));
        state.act(Action::send(disconnect));
        return;
    }
    let mut reason = state
        .script
        .refuse_topic
        .get(&topic)
        .copied()
        .unwrap_or(PubAckReason::Success);
    if state.script.ids_in_use > 0 {
        state.script.ids_in_use -= 1;
        reason = PubAckReason::PacketIdentifierInUse;
    }
    let taken = matches!(
        reason,
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers
    );
    let answer = match publish.qos {
        QoS::AtMostOnce => return hand_on(state, &publish),
        QoS::AtLeastOnce => {
            if taken {
                hand_on(state, &publish);
            }
            let mut ack = PubAck::new(publish.pkid, None);
            ack.reason = reason;
            Packet::PubAck(ack)
        }
        QoS::ExactlyOnce => {
            let mut ack = PubRec::new(publish.pkid, None);
            ack.reason = match reason {
                PubAckReason::Success => PubRecReason::Success,
                PubAckReason::NoMatchingSubscribers => PubRecReason::NoMatchingSubscribers,
                PubAckReason::PacketIdentifierInUse => PubRecReason::PacketIdentifierInUse,
                PubAckReason::QuotaExceeded => PubRecReason::QuotaExceeded,
                _ => PubRecReason::NotAuthorized,
            };
            if taken {
                state.session.received.insert(publish.pkid, publish);
            }
            Packet::PubRec(ack)
        }
    };
    let withheld = state.script.withhold_topic.as_deref();
    if withheld == Some("#") || withheld == Some(&topic) {
        state.session.withheld.push(answer);
    } else {
        state.answer(answer);
    }
}

fn subscribe_in(state: &mut State, subscribe: &Subscribe) {
    state.record.subscribe_packets += 1;
    let identifier = subscribe.properties.as_ref().and_then(|p| p.id);
    let refusal = if state.script.subscription_ids_in_use > 0 {
        state.script.subscription_ids_in_use -= 1;
        Some(SubscribeReasonCode::PkidInUse)
    } else if state.script.refuse_identifiers && identifier.is_some() {
        Some(SubscribeReasonCode::SubscriptionIdNotSupported)
    } else {
        None
    };
    let mut return_codes = Vec::new();
    for filter in &subscribe.filters {
        let named = (filter.path.clone(), subscribe.pkid, identifier);
        state.record.identifiers.push(named);
        if filter.nolocal || filter.preserve_retain {
            state.record.strange_filters.push(filter.clone());
        }
        state.record.subscribed.push((
            filter.path.clone(),
            filter.qos,
            filter.retain_forward_rule.clone(),
        ));
        let refused = state.script.refuse_filter.get(&filter.path).copied();
        let granted = SubscribeReasonCode::Success(filter.qos);
        return_codes.push(refusal.or(refused).unwrap_or(granted));
    }
    state.act(Action::send(Packet::SubAck(SubAck {
        pkid: subscribe.pkid,
        return_codes,
        properties: None,
    })));
}

async fn read(stream: &mut (impl AsyncRead + Unpin), inbound: &mut BytesMut) -> Option<Packet> {
    loop {
        // rumqttc writes the short form of DISCONNECT and cannot read it.
        if inbound.starts_with(&[DISCONNECT, 0]) {
            let normal = DisconnectReasonCode::NormalDisconnection;
            return Some(Packet::Disconnect(Disconnect::new(normal)));
        }
        match Packet::read(inbound, None) {
            Ok(packet) => return Some(packet),
            Err(CodecError::InsufficientBytes(_)) => {}
            Err(error) => panic!("the client sent garbage: {error}"),
        }
        if stream.read_buf(inbound).await.ok()? == 0 {
            return None;
        }
    }
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    packet: &Packet,
) -> Result<(), std::io::Error> {
    let mut bytes = BytesMut::new();
    if let Packet::Disconnect(disconnect) = packet {
        // With its property length, without which rumqttc does not see the packet at all.
        bytes.extend_from_slice(&[DISCONNECT, 2, disconnect.reason_code as u8, 0]);
    } else {
        packet.write(&mut bytes, None).unwrap();
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn flush(stream: &mut (impl AsyncWrite + Unpin), todo: &mut UnboundedReceiver<Action>) {
    while let Ok(Action::Send(packet)) = todo.try_recv() {
        if write(stream, &packet).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

const DISCONNECT: u8 = 0xE0;
