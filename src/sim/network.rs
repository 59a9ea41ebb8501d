use std::sync::Arc;

use crate::base::{PhoneId, Span};
use crate::scenario::{Link, Plan};

use super::engine::Engine;
use super::event::{Event, Job, Request};
use super::link::Fates;
use super::station::Station;

/// Everything between phones and servers: the links of the sites and what they do to datagrams,
/// segments and files.
#[derive(Debug)]
pub(super) struct Network {
    plan: Arc<Plan>,
    links: Vec<Link>,
    /// A link carries one stream of bits, which its transfers share if its rate is limited.
    streams: Vec<Station<Job>>,
    draws: u64,
}

/// Parts of a request that draw fates of their own: the way there and everything after it.
const FATE_PARTS: u32 = 2;

impl Network {
    pub(super) fn new(plan: &Arc<Plan>) -> Network {
        let links = links(plan);
        let streams = links.iter().map(|_| Station::new(1, 1.0)).collect();
        Network { plan: Arc::clone(plan), links, streams, draws: 0 }
    }

    /// Random numbers that were drawn.
    pub(super) const fn draws(&self) -> u64 {
        self.draws
    }

    /// Plays the way of a request to the server.
    pub(super) fn there<T>(&mut self, request: Request, play: impl FnOnce(&mut Fates) -> T) -> T {
        self.play(request, 0, play)
    }

    /// Plays what follows on a request that has arrived.
    pub(super) fn back<T>(&mut self, request: Request, play: impl FnOnce(&mut Fates) -> T) -> T {
        self.play(request, 1, play)
    }

    fn play<T>(
        &mut self,
        Request { phone, generation }: Request,
        part: u32,
        play: impl FnOnce(&mut Fates) -> T,
    ) -> T {
        let (seed, latency) = (self.plan.seed, self.plan.cost.latency);
        let link = self.links[self.site(phone)];
        let mut fates = Fates::new(seed, phone, generation * FATE_PARTS + part, link, latency);
        let played = play(&mut fates);
        self.draws += fates.draws;
        played
    }

    fn site(&self, phone: u32) -> usize {
        self.plan.fleet.site_of(self.plan.seed, PhoneId(phone))
    }

    /// Sends `bytes` through the link of a phone's site; returns a job that this does not keep
    /// waiting.
    pub(super) fn carry(
        &mut self,
        engine: &mut Engine,
        phone: u32,
        bytes: usize,
        job: Job,
    ) -> Option<Job> {
        let site = self.site(phone);
        let Some(rate) = self.links[site].down else { return Some(job) };
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate);
        let work = Span::from_nanos(nanos as u64);
        if work.is_zero() {
            return Some(job);
        }
        if let Some(at) = self.streams[site].submit(engine.now(), work, job) {
            engine.push(at, Event::LinkDue(site as u16));
        }
        None
    }

    /// Takes what the link of a site has carried by now.
    pub(super) fn carried(&mut self, engine: &mut Engine, site: u16, done: &mut Vec<Job>) {
        if let Some(at) = self.streams[usize::from(site)].finished(engine.now(), done) {
            engine.push(at, Event::LinkDue(site));
        }
    }
}

/// The links of the sites. Where nothing else is said, phones that share a host with the cluster
/// have no wire to it.
fn links(plan: &Plan) -> Vec<Link> {
    if plan.cost.shared_host && plan.fleet.sites.is_empty() {
        return vec![Link { rtt: Span::ZERO, ..Link::default() }];
    }
    plan.fleet.links()
}
