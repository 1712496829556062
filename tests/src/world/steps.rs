//! One step of a world: what is due is delivered, handled and drained.

use bytes::Bytes;
use gateway::session::{Binding, Delivery, Output, UpstreamEvent, UpstreamRequest};
use shared::client::{Destination, GatewayAddr};
use shared::time::{Duration, Instant};
use shared::wire::Message;

use super::broker::Reached;
use super::ledger::Broken;
use super::{World, place};

impl World {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let nodes = self.nodes.iter().flat_map(|node| {
            [
                node.up.poll_timeout(),
                node.down.poll_timeout(),
                node.client.poll_timeout(),
                node.app_timeout(),
            ]
        });
        nodes
            .chain([
                self.engine.poll_timeout(),
                self.broker.poll_timeout(),
                self.down_at,
            ])
            .flatten()
            .min()
    }

    /// Does everything that is due now.
    pub(super) fn step(&mut self) -> Result<(), Broken> {
        for index in 0..self.nodes.len() {
            self.deliver_to_node(index)?;
            self.deliver_to_engine(index)?;
        }
        self.run_broker()?;
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now);
            self.drain_engine()?;
            if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
                return Err("the engine's timeout has passed and was handled".to_owned());
            }
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

    fn deliver_to_node(&mut self, index: usize) -> Result<(), Broken> {
        while let Some(frame) = self.nodes[index].down.poll_deliver(self.now) {
            let node = &mut self.nodes[index];
            let Some((port, datagram)) = place::split(&frame) else {
                continue;
            };
            if port != node.port || node.has_radio_off() {
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
            let Some((port, datagram)) = place::split(&frame) else {
                continue;
            };
            let from = place::binding(node.index, node.plan.forwarded, port);
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
                let datagram = &buf[..transmit.len];
                if self.traced {
                    trace(self.now, index, "->", datagram);
                }
                self.watches[index].count_from_node(self.now)?;
                let _ = node.up.send(self.now, &place::join(node.port, datagram));
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
                    self.note(notice);
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
        let (index, port) = place::place(&binding);
        let bare = match Message::parse(datagram) {
            Ok(Message::Forward(forward)) => forward.inner,
            Ok(_) => datagram,
            Err(error) => return Err(format!("the engine sent no message: {error}")),
        };
        let message = Message::parse(bare).map_err(|error| error.to_string())?;
        self.watches[index].said(&message)?;
        self.watches[index].count_to_node(self.now)?;
        if self.traced {
            trace(self.now, index, "  <-", bare);
        }
        let node = &mut self.nodes[index];
        let _ = node.down.send(self.now, &place::join(port, datagram));
        Ok(())
    }
}

fn trace(now: Instant, node: usize, arrow: &str, datagram: &[u8]) {
    eprintln!("{now} node{node} {arrow} {:?}", Message::parse(datagram));
}
