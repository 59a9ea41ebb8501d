use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::base::{HostTable, IpMode, Span};
use crate::measure::Queue;
use crate::net::fleet::connect;
use crate::net::{Clock, Talk, TlsClients, TlsFault};
use crate::phone::{Message, TvsFault};
use crate::wire::Dialogue;

use super::turn::{Carried, Fault, LACK_PATIENCE, LACK_PAUSE, Ticket, Turn};

/// Carries messages of dialogues on behalf of phones, over TLS without resumption or over TCP. A
/// connection ends with the answer, unless the phone wants to go on.
#[derive(Clone, Debug)]
pub struct DialogueClient {
    clients: TlsClients,
    clock: Clock,
    /// Bounds connections, those that wait for the next message of their phone included; waiting
    /// here is the generator's lag.
    budgets: Budgets,
    timeout: Span,
    targets: Arc<BTreeMap<Dialogue, SocketAddr>>,
    allowed: Arc<[IpAddr]>,
    hosts: Arc<HostTable>,
}

/// How many connections a client has at most, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogueLimits {
    /// Those to TVS and CAPF.
    pub lookups: usize,
    /// Those to `CallManagers`.
    pub registrations: usize,
}

/// The places of a client that are free.
#[derive(Clone, Debug)]
struct Budgets {
    lookups: Arc<Semaphore>,
    registrations: Arc<Semaphore>,
}

impl Budgets {
    fn new(in_flight: DialogueLimits) -> Budgets {
        let places = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        let DialogueLimits { lookups, registrations } = in_flight;
        Budgets { lookups: places(lookups), registrations: places(registrations) }
    }

    /// Where a message of this dialogue gets its place.
    fn of(&self, dialogue: Dialogue) -> &Arc<Semaphore> {
        match Queue::of(dialogue) {
            Queue::Registrations => &self.registrations,
            Queue::Connections | Queue::Lookups | Queue::Transfers => &self.lookups,
        }
    }
}

/// One message to one server.
#[derive(Debug)]
pub struct DialogueJob {
    /// Whose it is.
    pub ticket: Ticket,
    /// What the phone says, to whom.
    pub message: Message,
    /// The phone's address, used when the server is on this host.
    pub source: Ipv4Addr,
    /// Says whether it waits or is under way.
    pub turn: Turn,
    /// The connection that the phone has kept.
    pub kept: Option<Box<Kept>>,
}

/// A connection that a phone keeps for its next message, with its place in the budget.
#[derive(Debug)]
pub struct Kept {
    talk: Talk,
    dialogue: Dialogue,
    server: SocketAddr,
    /// `None` after the host lacked something once the connection was there.
    _place: Option<OwnedSemaphorePermit>,
}

impl Kept {
    /// Whether it is a session with TVS that waits for the next question.
    pub fn is_session(&self) -> bool {
        self.dialogue == Dialogue::Tvs
    }

    /// Whether a message goes on here; who awaits the first word of a server opens a connection.
    pub fn suits(&self, message: &Message) -> bool {
        let is_first = message.bytes.is_empty() && message.dialogue.rules().server_first;
        (self.dialogue, self.server) == (message.dialogue, message.server) && !is_first
    }
}

/// Which dialogue it was and what came of it: the answer, and the connection if it stays.
pub type DialogueResult = (Dialogue, Carried<(Vec<u8>, Option<Box<Kept>>), TvsFault>);

impl DialogueClient {
    /// A client with at most so many connections `in_flight` that finds names in `hosts`. Each of
    /// `targets` stands for every member of every group in its dialogue; apart from them only
    /// loopback and `allowed` hosts are ever connected to, whatever a configuration from a server
    /// says.
    pub fn new(
        clock: Clock,
        in_flight: DialogueLimits,
        timeout: Span,
        targets: BTreeMap<Dialogue, SocketAddr>,
        allowed: Vec<IpAddr>,
        hosts: Arc<HostTable>,
    ) -> DialogueClient {
        DialogueClient {
            clients: TlsClients::default(),
            clock,
            budgets: Budgets::new(in_flight),
            timeout,
            targets: Arc::new(targets),
            allowed: allowed.into(),
            hosts,
        }
    }

    /// Where the name of a server leads a phone of this mode. Only the table is asked, never the DNS of the host;
    /// where a target stands for every server, it stands for every name.
    pub fn resolve(&self, name: &str, mode: IpMode) -> Option<IpAddr> {
        match self.targets.values().next() {
            Some(target) => Some(target.ip()).filter(|&address| mode.permits(address)),
            None => self.hosts.resolve(name, mode),
        }
    }

    /// Whether a server that a configuration or a page names may be asked at all.
    pub fn permits(&self, server: SocketAddr) -> bool {
        server.ip().is_loopback() || self.allowed.contains(&server.ip())
    }

    /// Says the message and sends what came of it to `results`.
    pub async fn ask(self, mut job: DialogueJob, results: mpsc::UnboundedSender<DialogueResult>) {
        let kept = job.kept.take().filter(|kept| kept.suits(&job.message));
        let (first, mut lacks) = (self.clock.now(), Vec::new());
        let mut went_on = None;
        if let Some(kept) = kept {
            let is_session = kept.is_session();
            job.turn.begin(first);
            let answer = self.within(self.go_on(&job.message, kept)).await;
            // A phone whose session with TVS was ended by the server has none, and opens one.
            let is_gone = matches!(answer, Err(Fault::Theirs(TvsFault::Connection)));
            went_on = (!(is_session && is_gone)).then_some((first, answer));
        }
        let (started, answer) = if let Some(went_on) = went_on {
            went_on
        } else {
            let budget = self.budgets.of(job.message.dialogue);
            let place = Arc::clone(budget).acquire_owned().await;
            let mut place = Some(place.expect("the budget is never closed"));
            loop {
                let started = self.clock.now();
                job.turn.begin(started);
                match self.within(self.begin(&job, &mut place)).await {
                    Err(Fault::Ours(lack)) if started.since(first) < LACK_PATIENCE => {
                        lacks.push(lack);
                    }
                    answer => break (started, answer),
                }
                job.turn.wait();
                tokio::time::sleep(LACK_PAUSE).await;
            }
        };
        let (ticket, ended) = (job.ticket, self.clock.now());
        let carried = Carried { ticket, answer, started, lacks, ended };
        let result = (job.message.dialogue, carried);
        // The worker is gone when the run is over; then nobody wants the answer.
        let _ = results.send(result);
    }

    async fn within<T>(
        &self,
        exchange: impl Future<Output = Result<T, Fault<TvsFault>>>,
    ) -> Result<T, Fault<TvsFault>> {
        let exchange = tokio::time::timeout(self.timeout.as_duration(), exchange);
        exchange.await.unwrap_or(Err(TvsFault::TimedOut.into()))
    }

    async fn begin(
        &self,
        job: &DialogueJob,
        place: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<(Vec<u8>, Option<Box<Kept>>), Fault<TvsFault>> {
        let Message { dialogue, server, .. } = job.message;
        let talk = self.open(&job.message, job.source).await?;
        let kept = Kept { talk, dialogue, server, _place: place.take() };
        self.go_on(&job.message, Box::new(kept)).await
    }

    /// Opens the connection for a message from `source`, without a place in the budget.
    pub(super) async fn open(
        &self,
        message: &Message,
        source: Ipv4Addr,
    ) -> Result<Talk, Fault<TvsFault>> {
        let Message { dialogue, server, trust, shows, .. } = message;
        let address = self.address(*dialogue, *server).ok_or(TvsFault::Connection)?;
        let broken = |error: std::io::Error| Fault::of(&error, TvsFault::Connection);
        let stream = connect(address, source).await.map_err(broken)?;
        let trust = trust.clone();
        let judge = Box::new(move |der: &[u8]| trust.accepts(der));
        let talk = self.clients.talk(stream, judge, shows.as_deref(), dialogue.rules());
        talk.await.map_err(fault_of)
    }

    /// How long one message may take.
    pub(super) const fn patience(&self) -> Duration {
        self.timeout.as_duration()
    }

    async fn go_on(
        &self,
        message: &Message,
        mut kept: Box<Kept>,
    ) -> Result<(Vec<u8>, Option<Box<Kept>>), Fault<TvsFault>> {
        let answer = kept.talk.say(&message.bytes).await.map_err(fault_of)?;
        if message.stays {
            return Ok((answer, Some(kept)));
        }
        let Kept { talk, _place, .. } = *kept;
        talk.close().await;
        Ok((answer, None))
    }

    /// Where a server is asked: one elsewhere than allowed is as good as unreachable.
    fn address(&self, dialogue: Dialogue, server: SocketAddr) -> Option<SocketAddr> {
        let target = self.targets.get(&dialogue).copied();
        target.or_else(|| self.permits(server).then_some(server))
    }
}

fn fault_of(fault: TlsFault) -> Fault<TvsFault> {
    match fault {
        TlsFault::Refused => TvsFault::CertificateRefused.into(),
        TlsFault::Broken(error) => Fault::of(&error, TvsFault::Connection),
        TlsFault::Malformed => TvsFault::WrongAnswer.into(),
        TlsFault::TurnedAway => TvsFault::TurnedAway.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(target: Option<&str>, hosts: &Arc<HostTable>) -> DialogueClient {
        DialogueClient::new(
            Clock::start(),
            DialogueLimits { lookups: 1, registrations: 1 },
            Span::from_secs(1),
            target.map(|text| (Dialogue::Tvs, text.parse().unwrap())).into_iter().collect(),
            vec!["192.0.2.7".parse().unwrap()],
            Arc::clone(hosts),
        )
    }

    fn address(target: Option<&str>, server: &str) -> Option<String> {
        let server = SocketAddr::new(server.parse().unwrap(), 2445);
        client(target, &Arc::default())
            .address(Dialogue::Tvs, server)
            .map(|address| address.to_string())
    }

    #[test]
    fn names_are_found_in_the_table_and_nowhere_else() {
        let hosts = Arc::new(HostTable::default());
        let there = IpAddr::from([127, 0, 0, 3]);
        hosts.add("pub.cucm.example", there);
        let resolve = |target, name: &str| client(target, &hosts).resolve(name, IpMode::Dual);
        assert_eq!(resolve(None, "pub.cucm.example"), Some(there));
        assert_eq!(resolve(None, "localhost"), None);
        assert_eq!(resolve(Some("127.0.0.1:9"), "tvs.example"), Some([127, 0, 0, 1].into()));
    }

    #[test]
    fn only_loopback_and_permitted_hosts_are_ever_asked_whatever_a_config_says() {
        assert_eq!(address(None, "127.0.0.3").as_deref(), Some("127.0.0.3:2445"));
        assert_eq!(address(None, "::1").as_deref(), Some("[::1]:2445"));
        assert_eq!(address(None, "192.0.2.7").as_deref(), Some("192.0.2.7:2445"));
        assert_eq!(address(None, "192.0.2.8"), None);
    }

    #[test]
    fn a_target_stands_for_the_servers_of_its_dialogue_only() {
        let server = SocketAddr::new([127, 0, 0, 3].into(), 5060);
        let client = client(Some("127.0.0.1:9"), &Arc::default());
        assert_eq!(client.address(Dialogue::Sip, server), Some(server));
        assert_eq!(client.address(Dialogue::Tvs, server).unwrap().port(), 9);
    }

    #[tokio::test]
    async fn a_lookup_that_waits_for_its_answer_holds_up_no_registration() {
        use crate::phone::{Trust, TrustLists};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::TcpListener;

        const ANSWER: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registrar = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let limits = DialogueLimits { lookups: 1, registrations: 1 };
        let (nobody, patience) = (Arc::default(), Span::from_secs(60));
        let client =
            DialogueClient::new(Clock::start(), limits, patience, BTreeMap::new(), vec![], nobody);
        let (results, mut told) = mpsc::unbounded_channel();
        let ask = |phone: usize, dialogue, server: &TcpListener| {
            let trust = Trust { lists: TrustLists::default(), roles: &[], date_s: None };
            let bytes = crate::wire::sip::PING.to_vec();
            let server = server.local_addr().unwrap();
            let message = Message { dialogue, server, bytes, trust, shows: None, stays: false };
            let ticket = Ticket { phone, token: 1, planned: crate::base::Time::ZERO };
            let source = Ipv4Addr::LOCALHOST;
            let job = DialogueJob { ticket, message, source, turn: Turn::default(), kept: None };
            tokio::spawn(client.clone().ask(job, results.clone()))
        };
        let first = ask(0, Dialogue::Tvs, &silent);
        let _held = silent.accept().await.unwrap();
        let second = ask(1, Dialogue::Tvs, &silent);
        let _third = ask(2, Dialogue::Sip, &registrar);
        let (mut phone, _) = registrar.accept().await.unwrap();
        let mut request = [0; 4];
        phone.read_exact(&mut request).await.unwrap();
        phone.write_all(ANSWER).await.unwrap();
        let (dialogue, carried) = told.recv().await.unwrap();
        assert_eq!((dialogue, carried.answer.unwrap().0), (Dialogue::Sip, ANSWER.to_vec()));
        assert!(!first.is_finished() && !second.is_finished(), "the one place is taken");
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_target_stands_for_every_member() {
        let target = Some("127.0.0.1:9");
        assert_eq!(address(target, "192.0.2.8").as_deref(), Some("127.0.0.1:9"));
    }
}
