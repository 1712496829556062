//! What comes from the link, sorted by message and state.

use super::Client;
use super::address::GatewayAddr;
use super::event::WillPart;
use super::output::Reply;
use super::state::State;
use super::stats::bump;
use crate::time::Instant;
use crate::wire::Message;

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Takes one datagram that came from `from`. Bytes that are not a message, or not one that
    /// fits now, are counted and change nothing.
    pub fn handle_datagram(&mut self, now: Instant, from: GatewayAddr, datagram: &[u8]) {
        bump(&mut self.stats.datagrams_in);
        let len = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        self.stats.bytes_in = self.stats.bytes_in.wrapping_add(len);
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(reason) => return self.stats.bad.count(reason),
        };
        match message {
            Message::Advertise(advertise) => self.on_advertise(now, from, advertise),
            Message::GwInfo(info) => self.on_gw_info(now, from, info),
            Message::SearchGw(search) => self.on_search_gw(now, search),
            _ if !self.is_own_gateway(from) => bump(&mut self.stats.foreign),
            message => self.handle_unicast(now, message),
        }
    }

    fn handle_unicast(&mut self, now: Instant, message: Message<'_>) {
        match message {
            Message::ConnAck(ack) => self.on_connack(now, ack),
            Message::WillTopicReq => self.on_will_request(now, WillPart::Topic),
            Message::WillMsgReq => self.on_will_request(now, WillPart::Message),
            Message::Disconnect(_) => self.on_disconnect(now),
            message if self.is_in_session() => self.handle_in_session(now, message),
            _ => bump(&mut self.stats.unexpected),
        }
    }

    fn handle_in_session(&mut self, now: Instant, message: Message<'_>) {
        self.last_heard = now;
        // The gateway serves this node: only now, not by CONNACK alone, has it proved good, and
        // the next search may begin afresh.
        self.rounds = 0;
        self.gateways.forgive();
        if message != Message::PingResp {
            self.prolong_wake(now);
        }
        match message {
            Message::PingResp => self.on_pingresp(now),
            Message::PingReq(_) => self.reply(Reply::PingResp),
            Message::Register(register) => self.on_register(register),
            Message::RegAck(ack) => self.on_regack(now, ack),
            Message::Publish(publish) => self.on_publish(now, publish),
            Message::PubAck(ack) => self.on_puback(now, ack),
            Message::PubRec(msg_id) => self.on_pubrec(msg_id),
            Message::PubRel(msg_id) => self.on_pubrel(now, msg_id),
            Message::PubComp(msg_id) => self.on_pubcomp(msg_id),
            Message::SubAck(ack) => self.on_suback(now, ack),
            Message::UnsubAck(msg_id) => self.on_unsuback(msg_id),
            Message::WillTopicResp(ack) => self.on_will_response(now, WillPart::Topic, ack),
            Message::WillMsgResp(ack) => self.on_will_response(now, WillPart::Message, ack),
            _ => bump(&mut self.stats.unexpected),
        }
    }

    /// Returns whether `from` is the current gateway, and learns its port where that was not
    /// known.
    fn is_own_gateway(&mut self, from: GatewayAddr) -> bool {
        let off = matches!(self.state, State::Off | State::Searching(_));
        match &mut self.gateway {
            Some(gateway) if !off && gateway.addr.is_sender(&from) => {
                if gateway.addr != from {
                    self.gateways.move_to(gateway.addr, from);
                    gateway.addr = from;
                }
                true
            }
            _ => false,
        }
    }
}
