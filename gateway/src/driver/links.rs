//! The links, as the driver's loop uses them.

use shared::time::Instant;
use tokio::sync::mpsc;

use super::clock::Clock;
use crate::config::Config;
use crate::link::{self, Inbound, LinkError, LinkHandle};
use crate::session::{Binding, Engine, LinkEvent, LinkId, Priority};

/// All links, by their ids.
#[derive(Debug)]
pub(super) struct Links {
    handles: Vec<LinkHandle>,
    /// The paced ones, with what the engine was last told of how busy they are.
    paced: Vec<(LinkId, Option<Instant>)>,
}

impl Links {
    /// Turns the configured links on.
    pub(super) fn open(
        config: &Config,
        inbound: &mpsc::Sender<Inbound>,
    ) -> Result<Self, LinkError> {
        let ids = (0..=u16::MAX).map(LinkId);
        let links = ids.zip(&config.links);
        let handles = links.map(|(id, link)| link::open(id, link, inbound.clone()));
        Ok(Self::new(handles.collect::<Result<_, _>>()?))
    }

    pub(super) fn new(handles: Vec<LinkHandle>) -> Self {
        let paced = handles.iter().filter(|link| link.is_paced());
        Self {
            paced: paced.map(|link| (link.id(), None)).collect(),
            handles,
        }
    }

    pub(super) fn handles(&self) -> &[LinkHandle] {
        &self.handles
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = self.handles.iter().map(LinkHandle::name);
        names.map(str::to_owned).collect()
    }

    pub(super) fn send(&mut self, to: Binding, priority: Priority, datagram: &[u8]) {
        if let Some(link) = self.of_id(to.link) {
            link.send(to, priority, datagram);
        }
    }

    pub(super) fn broadcast(&mut self, link: LinkId, radius: u8, datagram: &[u8]) {
        if let Some(link) = self.of_id(link) {
            link.broadcast(radius, datagram);
        }
    }

    /// Hands on what a link has told of itself.
    pub(super) fn take_event(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        link: LinkId,
        event: LinkEvent,
    ) {
        // With the link the engine forgets how busy it was.
        if let Some((_, told)) = self.paced.iter_mut().find(|(paced, _)| *paced == link) {
            *told = None;
        }
        engine.handle_link(now, link, event);
    }

    /// Tells the engine how long the paced links are busy with what they were given.
    pub(super) fn tell_busy(&mut self, clock: Clock, engine: &mut Engine) {
        for (link, told) in &mut self.paced {
            let Some(handle) = self.handles.get(usize::from(link.0)) else {
                continue;
            };
            let until = handle.busy_until().map(|until| clock.of(until));
            if let Some(until) = until
                && *told != Some(until)
            {
                *told = Some(until);
                engine.handle_link(clock.now(), *link, LinkEvent::BusyUntil(until));
            }
        }
    }

    fn of_id(&mut self, link: LinkId) -> Option<&mut LinkHandle> {
        self.handles.get_mut(usize::from(link.0))
    }
}
