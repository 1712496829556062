//! One step of a world: what is due is delivered, handled and drained.

use bytes::Bytes;
use gateway::session::{Binding, Delivery, LinkEvent, Output, UpstreamEvent, UpstreamRequest};
use shared::client::{Destination, GatewayAddr};
use shared::time::{Duration, Instant};
use shared::wire::Message;

use super::broker::Reached;
use super::ledger::Broken;
use super::{WAKE_MAX, World, place};

impl World {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let stalled = self.stalled();
        let served = |at: Option<Instant>| at.filter(|_| !stalled);
        let nodes = self.nodes.iter().flat_map(|node| {
            [
                served(node.up.poll_timeout()),
                node.down.poll_timeout(),
                node.client.poll_timeout(),
                node.app_timeout(),
            ]
        });
        nodes
            .chain([
                served(self.engine.poll_timeout()),
                served(self.broker.poll_timeout()),
                self.links.poll_timeout(!stalled),
                self.stall_at,
                self.stall_until,
                self.down_at,
            ])
            .flatten()
            .min()
    }

    /// Does everything that is due now.
    pub(super) fn step(&mut self) -> Result<(), Broken> {
        let wakes = self.stall_until.take_if(|at| *at <= self.now).is_some();
        if wakes {
            self.stalled_at = Some(self.now);
            self.ledger.counts.stalls += 1;
            // Whichever the gateway comes to first: its timers, or what has come in meanwhile.
            if self.rng.chance_ppm(500_000) {
                self.run_timers()?;
            }
        }
        if self.stall_at.take_if(|at| *at <= self.now).is_some() {
            self.stall_until =
                Some(self.now + Duration::from_millis(2000 + self.rng.below(60_000)));
            self.stall_at = Some(self.now + Duration::from_secs(90 + self.rng.below(200)));
        }
        for index in 0..self.nodes.len() {
            self.deliver_to_node(index)?;
        }
        self.run_links()?;
        if !self.stalled() {
            for index in 0..self.nodes.len() {
                self.deliver_to_engine(index)?;
            }
            self.run_broker()?;
            self.run_timers()?;
        }
        for index in 0..self.nodes.len() {
            self.run_node(index)?;
        }
        if self.down_at.take_if(|at| *at <= self.now).is_some() {
            self.publish_down();
            self.down_at = Some(self.now + Duration::from_millis(500 + self.rng.below(8000)));
        }
        Ok(())
    }

    /// Returns whether the gateway stands still.
    fn stalled(&self) -> bool {
        self.stall_until.is_some_and(|until| until > self.now)
    }

    fn run_timers(&mut self) -> Result<(), Broken> {
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now);
            self.drain_engine()?;
            if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
                return Err("the engine's timeout has passed and was handled".to_owned());
            }
        }
        Ok(())
    }

    /// Has the links say what has become of them, and send what has its turn.
    fn run_links(&mut self) -> Result<(), Broken> {
        // A gateway that stands still is told afterwards, all at once.
        if !self.stalled() {
            let calm = self.down_at.is_none();
            while let Some((link, event)) = self.links.poll_event(self.now, calm) {
                if self.traced {
                    eprintln!("{} {link:?} {event:?}", self.now);
                }
                self.ledger.counts.link_outages += u64::from(event == LinkEvent::Down);
                self.engine.handle_link(self.now, link, event);
                self.drain_engine()?;
            }
        }
        while let Some((index, frame)) = self.links.poll_sent(self.now) {
            let _ = self.nodes[index].down.send(self.now, &frame);
        }
        Ok(())
    }

    fn deliver_to_node(&mut self, index: usize) -> Result<(), Broken> {
        while let Some(frame) = self.nodes[index].down.poll_deliver(self.now) {
            let node = &mut self.nodes[index];
            let Some((place, datagram)) = place::split(&frame) else {
                continue;
            };
            if place != node.place || node.has_radio_off() {
                continue;
            }
            let datagram = match Message::parse(datagram) {
                Ok(Message::Forward(forward)) => forward.inner,
                _ => datagram,
            };
            if self.traced {
                trace(self.now, index, "<-", datagram);
            }
            node.client
                .handle_datagram(self.now, GatewayAddr::POINT_TO_POINT, datagram);
            self.drain_node(index)?;
        }
        Ok(())
    }

    fn deliver_to_engine(&mut self, index: usize) -> Result<(), Broken> {
        while let Some(frame) = self.nodes[index].up.poll_deliver(self.now) {
            let node = &self.nodes[index];
            let Some((place, datagram)) = place::split(&frame) else {
                continue;
            };
            if !self.links.carries(place::link(place)) {
                continue;
            }
            let from = place::binding(node.index, place);
            let encapsulated = from
                .node_id
                .map(|node_id| place::encapsulate(&node_id, datagram));
            if let Ok(message) = Message::parse(datagram) {
                self.watches[index].heard(&message);
            }
            let datagram = encapsulated.unwrap_or_else(|| Bytes::copy_from_slice(datagram));
            let from = Binding {
                node_id: None,
                ..from
            };
            self.engine.handle_datagram(self.now, from, &datagram);
            self.drain_engine()?;
        }
        Ok(())
    }

    fn run_node(&mut self, index: usize) -> Result<(), Broken> {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.app_timeout().is_some_and(|at| at <= now) {
            node.act(now, &mut self.ledger);
            self.drain_node(index)?;
        }
        let node = &mut self.nodes[index];
        if node.client.poll_timeout().is_some_and(|at| at <= now) {
            node.client.handle_timeout(now);
            self.drain_node(index)?;
            if let Some(at) = self.nodes[index]
                .client
                .poll_timeout()
                .filter(|at| *at <= now)
            {
                return Err(format!(
                    "node {index}'s timeout ({at}) was handled and has passed"
                ));
            }
        }
        Ok(())
    }

    fn drain_node(&mut self, index: usize) -> Result<(), Broken> {
        let mut buf = [0; 128];
        loop {
            let node = &mut self.nodes[index];
            if let Some(transmit) = node.client.poll_transmit(self.now, &mut buf) {
                if matches!(transmit.to, Destination::Gateway(_)) {
                    node.may_have_moved();
                }
                node.places.insert(node.place);
                let datagram = &buf[..transmit.len];
                if self.traced {
                    trace(self.now, index, "->", datagram);
                }
                self.watches[index].count_from_node(self.now)?;
                let _ = node.up.send(self.now, &place::join(node.place, datagram));
            } else if !node.poll_event(self.now, &mut self.ledger)? {
                node.note_quiet();
                return Ok(());
            }
        }
    }

    fn run_broker(&mut self) -> Result<(), Broken> {
        loop {
            if let Some(reached) = self.broker.poll_reached(self.now) {
                match reached {
                    Reached::Publication(publication) => self.ledger.arrived(&publication)?,
                    Reached::Acknowledgement => {}
                }
            } else if let Some(event) = self.broker.poll_event(self.now) {
                if let UpstreamEvent::Delivery(Delivery { publication, .. }) = &event {
                    let owed = self.owed(&publication.topic);
                    self.ledger.given(publication, owed);
                }
                if self.traced {
                    eprintln!("{} {event:?}", self.now);
                }
                self.engine.handle_upstream(self.now, event);
                self.drain_engine()?;
            } else {
                return Ok(());
            }
        }
    }

    fn drain_engine(&mut self) -> Result<(), Broken> {
        loop {
            let outputs: Vec<_> = std::iter::from_fn(|| self.engine.poll_output()).collect();
            if outputs.is_empty() {
                return Ok(());
            }
            // The end of a clean session excuses what is acknowledged for it in the same step.
            for output in &outputs {
                if let Output::Notice(notice) = output {
                    self.note(notice)?;
                }
            }
            self.perform(outputs)?;
        }
    }

    fn perform(&mut self, outputs: Vec<Output>) -> Result<(), Broken> {
        for output in outputs {
            match output {
                Output::Transmit {
                    binding, datagram, ..
                } => self.carry(binding, &datagram)?,
                Output::Broadcast { .. } => {}
                Output::Upstream(request) => {
                    if self.traced {
                        eprintln!("{} {request:?}", self.now);
                    }
                    if let UpstreamRequest::Acknowledge(id) = &request {
                        self.ledger.acknowledged(*id)?;
                    }
                    if let Err(request) = self.broker.request(self.now, request) {
                        self.engine.handle_not_taken(&request);
                    }
                }
                Output::Notice(_) => {}
            }
        }
        Ok(())
    }

    /// Gives a datagram of the engine to its node's link.
    fn carry(&mut self, binding: Binding, datagram: &Bytes) -> Result<(), Broken> {
        let Some((index, place)) = place::place(&binding) else {
            return Err(format!("{binding} was sent something, no node is there"));
        };
        let index = usize::from(index);
        if !self.nodes[index].places.contains(&place) {
            return Err(format!(
                "node {index} was sent something to {binding}, where it never was"
            ));
        }
        let bare = match Message::parse(datagram) {
            Ok(Message::Forward(forward)) => forward.inner,
            Ok(_) => datagram,
            Err(error) => return Err(format!("the engine sent no message: {error}")),
        };
        let message = Message::parse(bare).map_err(|error| error.to_string())?;
        self.check_addressee(index, &message)?;
        let wake_max = match self.config.rules {
            true => usize::try_from(WAKE_MAX).unwrap_or(usize::MAX),
            false => usize::MAX,
        };
        self.watches[index].said(&message, wake_max)?;
        self.watches[index].count_to_node(self.now)?;
        if self.traced {
            trace(self.now, index, "  <-", bare);
        }
        let frame = (index, place::join(place, datagram));
        if let Some(until) = self.links.send(self.now, binding.link, frame) {
            self.ledger.counts.queued += 1;
            let event = LinkEvent::BusyUntil(until);
            self.engine.handle_link(self.now, binding.link, event);
        }
        Ok(())
    }

    /// A node is only told of what it has asked for.
    fn check_addressee(&self, index: usize, message: &Message<'_>) -> Result<(), Broken> {
        let topic = match message {
            Message::Publish(publish) => self.ledger.topic_of(publish.payload),
            Message::Register(register) => std::str::from_utf8(register.topic_name).ok(),
            _ => return Ok(()),
        };
        match topic {
            Some(topic) if self.nodes[index].wants(topic) => Ok(()),
            _ => Err(format!("{message:?} ({topic:?}) is not for node {index}")),
        }
    }
}

fn trace(now: Instant, node: usize, arrow: &str, datagram: &[u8]) {
    eprintln!("{now} node{node} {arrow} {:?}", Message::parse(datagram));
}
