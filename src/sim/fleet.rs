use std::collections::HashMap;
use std::sync::Arc;

use crate::base::{Calendar, PhoneId, Time};
use crate::cluster::Cluster;
use crate::crypto::Certificate;
use crate::phone::{
    Env, Fact, Input, Phone, PhoneProfile, Shared, Sink, Step, Trust, TrustList, TrustLists,
    Verifier,
};
use crate::play::Cast;
use crate::scenario::Plan;
use crate::transfer::DownloadRequest;
use crate::wire::TvsMember;

use super::engine::Engine;

/// One step of one phone, for a test that looks over its shoulder.
#[derive(Debug)]
pub struct Seen<'a> {
    /// When.
    pub now: Time,
    /// The phone after the step.
    pub phone: &'a Phone,
    /// The lists that it held before.
    pub lists: &'a TrustLists,
    /// The TVS servers of the configuration that it held before.
    pub members: &'a [TvsMember],
    /// What happened to it.
    pub input: &'a Input<'a>,
    /// What came of it.
    pub facts: &'a [Fact],
    /// The cluster at that moment.
    pub cluster: &'a Cluster,
}

/// Is shown every step of every phone.
pub type Witness = Box<dyn FnMut(&Seen<'_>) + Send>;

/// The phones and what they share.
pub(super) struct Fleet {
    env: Env,
    phones: Vec<Phone>,
    judged: Judged,
    verified_before: u64,
    witness: Option<Witness>,
    /// Stands for names of files that nobody reads.
    no_name: Arc<str>,
}

impl Fleet {
    /// The fleet of a plan before there are phones.
    pub(super) fn new(plan: &Plan, calendar: Arc<Calendar>) -> Fleet {
        let shared = Arc::new(Shared::new(calendar));
        Fleet {
            env: Env {
                profile: Arc::new(plan.phone.clone()),
                verifier: Verifier::remembering(Arc::clone(&shared)),
                shared,
            },
            phones: Vec::with_capacity(plan.fleet.phones as usize),
            judged: Judged::default(),
            verified_before: 0,
            witness: None,
            no_name: Arc::from(""),
        }
    }

    /// Adds so many phones unless the run is to end. `one_config` says that one configuration
    /// stands for many phones; those that `plays` does not name hold nothing.
    pub(super) fn populate(
        &mut self,
        cast: Cast,
        count: u32,
        one_config: bool,
        engine: &Engine,
        plays: impl Fn(PhoneId) -> bool,
    ) {
        let cast = cast.pinned(&self.env.shared, one_config);
        let numbers = (0..count).take_while(|_| !engine.is_stopped());
        let phone = |number| cast.phone(&self.env, PhoneId(number), !plays(PhoneId(number)));
        self.phones.extend(numbers.map(phone));
    }

    pub(super) fn show_to(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    /// Feeds one input to a phone.
    pub(super) fn handle(
        &mut self,
        number: u32,
        now: Time,
        input: Input<'_>,
        cluster: &Cluster,
        sink: &mut Sink,
    ) {
        let phone = &mut self.phones[number as usize];
        let Some(witness) = &mut self.witness else {
            return phone.handle(&self.env, now, input, sink);
        };
        let lists = &phone.lists().clone();
        let config = phone.config().map(|config| Arc::clone(&config.content));
        phone.handle(&self.env, now, input, sink);
        let members = config.as_ref().map_or(&[][..], |config| &config.tvs);
        let (input, facts) = (&input, &sink.facts);
        witness(&Seen { now, phone, lists, members, input, facts, cluster });
    }

    /// The token of the errand that a phone waits for.
    pub(super) fn token(&self, phone: u32) -> u32 {
        self.phones[phone as usize].token()
    }

    pub(super) fn profile(&self) -> &PhoneProfile {
        &self.env.profile
    }

    /// Keeps files at their places.
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.env.shared
    }

    /// How a phone asks for a file; here nobody reads its name.
    pub(super) fn download(&self, phone: u32) -> DownloadRequest {
        self.phones[phone as usize].download(&self.env, Arc::clone(&self.no_name))
    }

    /// The name of the file that a phone asks for in this step.
    pub(super) fn file_name(&self, phone: u32, step: Step) -> Arc<str> {
        let phone = &self.phones[phone as usize];
        step.file_name(phone.name(), phone.lists().any()).into()
    }

    /// The lists that a phone holds.
    pub(super) fn lists(&self, phone: u32) -> TrustLists {
        self.phones[phone as usize].lists().clone()
    }

    /// By what a phone judges servers at this instant.
    pub(super) fn trust(&self, phone: u32, roles: &'static [u16], now: Time) -> Trust {
        Trust { lists: self.lists(phone), roles, date_s: self.env.date_s(now) }
    }

    /// Whether phones that trust this accept a server.
    pub(super) fn accepts(&mut self, trust: &Trust, presented: &Certificate) -> bool {
        self.judged.judge(trust, presented) && trust.is_in_time(presented)
    }

    /// Services may have changed: servers are judged anew.
    pub(super) fn judge_anew(&mut self) {
        self.judged.verdicts.clear();
    }

    /// The storm begins: what was verified before does not count.
    pub(super) fn begin_storm(&mut self) {
        self.verified_before = self.env.verifier.count();
    }

    /// Signatures that were verified in the storm.
    pub(super) fn verified(&self) -> u64 {
        self.env.verifier.count() - self.verified_before
    }

    pub(super) fn phones(&self) -> &[Phone] {
        &self.phones
    }

    pub(super) fn into_phones(self) -> Vec<Phone> {
        self.phones
    }
}

/// Verdicts on servers by the lists that judged them and the service that presented itself; what
/// they name is kept, so that no other list or service can have its place.
#[derive(Debug, Default)]
struct Judged {
    verdicts: HashMap<[usize; 3], (TrustLists, Certificate, bool)>,
}

impl Judged {
    /// Whether a phone accepts this server.
    fn judge(&mut self, trust: &Trust, presented: &Certificate) -> bool {
        let lists = &trust.lists;
        let place = |list: &Option<Arc<TrustList>>| {
            list.as_ref().map_or(0, |list| Arc::as_ptr(list).addr())
        };
        // A certificate is of one kind: its place tells the roles, too.
        let key = [place(&lists.ctl), place(&lists.itl), presented.der().as_ptr().addr()];
        let judge = || {
            let verdict = lists.judge_server(trust.roles, presented);
            (lists.clone(), presented.clone(), verdict)
        };
        self.verdicts.entry(key).or_insert_with(judge).2
    }
}
