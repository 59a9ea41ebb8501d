//! A TFTP server and its clients against each other in virtual time, on a network that loses,
//! repeats and reorders: two machines of this floor and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;

use super::download::{Download, DownloadOutcome, DownloadRequest, Progress};
use super::table::{Line, TRANSFER_SOCKETS};
use super::upload::UploadLimits;
use super::uploads::{Found, Offer, Step, Transmit, Uploads};
use crate::base::{Purpose, Span, Stream, Time, stream};
use crate::wire::tftp::{Options, Packet};

/// A driver whose sockets are queues.
pub(super) struct Server {
    pub(super) uploads: Uploads<Vec<u8>, Vec<u8>>,
    pub(super) listener: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) sockets: [VecDeque<(SocketAddr, Vec<u8>)>; TRANSFER_SOCKETS],
    /// How long it takes to complete a file whose name begins with `slow`.
    pub(super) patience: Span,
    pub(super) completions: VecDeque<(Time, u64)>,
    pub(super) sent: Vec<(Line, Vec<u8>)>,
    pub(super) read_out: Vec<u8>,
}

/// What a file holds: `name/length`; none has the length -1.
pub(super) fn content(name: &str) -> Option<Vec<u8>> {
    let length: usize = name.rsplit_once('/')?.1.parse().ok()?;
    Some((0..length).map(|at| (at / 3) as u8 ^ name.as_bytes()[0]).collect())
}

pub(super) fn server(transfers_max: usize) -> Server {
    Server {
        uploads: Uploads::new(UploadLimits::default(), transfers_max),
        listener: VecDeque::new(),
        sockets: Default::default(),
        patience: Span::from_millis(20),
        completions: VecDeque::new(),
        sent: Vec::new(),
        read_out: Vec::new(),
    }
}

impl Server {
    pub(super) fn request(&mut self, peer: SocketAddr, file: &str, options: Options) {
        let mut bytes = Vec::new();
        Packet::Rrq { file, octet: true, options }.encode(&mut bytes);
        self.listener.push_back((peer, bytes));
    }

    pub(super) fn acknowledge(&mut self, line: Line, block: u16) {
        let mut bytes = Vec::new();
        Packet::Ack { block }.encode(&mut bytes);
        self.sockets[usize::from(line.socket)].push_back((line.peer, bytes));
    }

    /// One turn, as a pump takes it; what was sent is returned.
    pub(super) fn turn(&mut self, now: Time) -> Vec<(Line, Vec<u8>)> {
        while self.completions.front().is_some_and(|(at, _)| *at <= now) {
            let (_, id) = self.completions.pop_front().unwrap();
            let first = self.uploads.on_completed(id, |file| file, now);
            self.send(first);
        }
        self.read_requests(now);
        for socket in 0..TRANSFER_SOCKETS as u8 {
            self.drain(socket, now);
        }
        self.steps(now);
        std::mem::take(&mut self.sent)
    }

    pub(super) fn read_requests(&mut self, now: Time) {
        while let Some((peer, bytes)) = self.listener.pop_front() {
            let answer = self.uploads.on_request(peer, &bytes, now);
            self.send(answer);
        }
    }

    pub(super) fn drain(&mut self, socket: u8, now: Time) {
        while let Some((peer, bytes)) = self.sockets[usize::from(socket)].pop_front() {
            let answer = self.uploads.on_datagram(Line { peer, socket }, &bytes, now);
            self.send(answer);
        }
        self.uploads.on_emptied(socket, now);
    }

    pub(super) fn steps(&mut self, now: Time) {
        for next in [Uploads::on_timeout, Uploads::next_answer] {
            loop {
                match next(&mut self.uploads, now) {
                    Step::Idle => break,
                    Step::Done => {}
                    Step::Send(transmit) => self.send(Some(transmit)),
                    Step::ReadOut { socket } => {
                        self.read_out.push(socket);
                        self.drain(socket, now);
                    }
                    Step::Begin(offer) => self.begin(offer, now),
                }
            }
        }
    }

    fn begin(&mut self, offer: Offer, now: Time) {
        let found = match content(offer.file()) {
            None => Found::Missing,
            Some(_) if offer.file().starts_with("busy") => Found::Busy,
            Some(file) if offer.file().starts_with("slow") => {
                self.completions.push_back((now + self.patience, offer.id));
                Found::Pending(file)
            }
            Some(file) => Found::Ready(file),
        };
        let answer = self.uploads.begin(offer, found);
        self.send(answer);
    }

    fn send(&mut self, transmit: Option<Transmit>) {
        let Some(transmit) = transmit else { return };
        let (sent, mut out) = (&mut self.sent, Vec::new());
        self.uploads.write(transmit, &mut out, |bytes, length| {
            sent.extend(bytes.chunks(length).map(|bytes| (transmit.line, bytes.to_vec())));
        });
    }

    /// One request and the line of its answer.
    pub(super) fn ask(&mut self, peer: SocketAddr, file: &str, now: Time) -> Line {
        self.request(peer, file, Options::default());
        let sent = self.turn(now);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent[0].0
    }

    fn next_time(&self) -> Time {
        let completion = self.completions.front().map_or(Time::NEVER, |(at, _)| *at);
        self.uploads.next_timeout().min(completion)
    }

    pub(super) fn assert_empty(&self) {
        assert!(self.uploads.is_empty() && self.completions.is_empty());
    }
}

pub(super) fn peer(number: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000 + number)
}

/// What a network does to datagrams, and how late a server reads them.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: f64,
    duplicates: f64,
    /// Longest way of a datagram; another one may overtake it.
    delay: Span,
    lateness: Span,
    seed: u64,
}

/// A client that asks for files, one after the other, each from a port of its own.
#[derive(Debug)]
struct Client {
    files: Vec<(SocketAddr, String, Options)>,
    download: Option<Download>,
    got: Vec<DownloadOutcome>,
}

enum Datagram {
    /// From a client to a port of the server; 69 is that of requests.
    Up(SocketAddr, u16, Vec<u8>),
    /// From a port of the server to a client.
    Down(u16, SocketAddr, Vec<u8>),
}

struct Play {
    server: Server,
    clients: Vec<Client>,
    weather: Weather,
    chance: Stream,
    way: BTreeMap<(Time, u64), Datagram>,
    server_reads: Time,
    now: Time,
    sent: u64,
    /// Datagrams to addresses without a client.
    to_nobody: usize,
}

impl Play {
    fn new(clients: Vec<Client>, places: usize, weather: Weather) -> Play {
        let chance = stream(weather.seed, 0, Purpose::Network);
        Play {
            server: server(places),
            clients,
            weather,
            chance,
            way: BTreeMap::new(),
            server_reads: Time::NEVER,
            now: Time::ZERO,
            sent: 0,
            to_nobody: 0,
        }
    }

    fn send(&mut self, make: impl Fn() -> Datagram) {
        let Weather { loss, duplicates, delay, .. } = self.weather;
        let copies = 1 + u8::from(self.chance.unit() < duplicates);
        for _ in 0..copies {
            if self.chance.unit() >= loss {
                self.sent += 1;
                let arrival = self.now + delay.scaled(self.chance.unit());
                self.way.insert((arrival, self.sent), make());
            }
        }
    }

    /// A request of an address where nobody is.
    fn forge(&mut self, from: SocketAddr) {
        let mut bytes = Vec::new();
        Packet::Rrq { file: "a/2000", octet: true, options: Options::default() }.encode(&mut bytes);
        self.send(|| Datagram::Up(from, 69, bytes.clone()));
    }

    fn next_time(&self) -> Time {
        let clients = self.clients.iter().filter_map(|one| one.download.as_ref());
        let deadline = clients.map(Download::deadline).min().unwrap_or(Time::NEVER);
        let arrival = self.way.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at);
        deadline.min(arrival).min(self.server_reads).min(self.server.next_time())
    }

    /// Plays until nobody has anything to do any more.
    fn run(&mut self) {
        (0..self.clients.len()).for_each(|client| self.ask(client));
        for _ in 0..100_000 {
            let next = self.next_time();
            if next == Time::NEVER {
                return;
            }
            self.now = next.max(self.now);
            self.deliver();
            self.time_out();
            if self.server_reads.min(self.server.next_time()) <= self.now {
                self.serve();
            }
        }
        panic!("it does not end");
    }

    /// The client's next file, if one is left.
    fn ask(&mut self, client: usize) {
        let Client { files, download, got } = &mut self.clients[client];
        let Some((from, file, options)) = files.get(got.len()).cloned() else { return };
        let request = DownloadRequest {
            file: file.into(),
            options,
            size_max: 100_000,
            timeout: Span::from_secs(4),
            tries: 4,
        };
        let mut out = Vec::new();
        *download = Some(Download::start(request, self.now, &mut out));
        self.send(|| Datagram::Up(from, 69, out.clone()));
    }

    fn deliver(&mut self) {
        while let Some(first) = self.way.first_entry()
            && first.key().0 <= self.now
        {
            match first.remove() {
                Datagram::Up(from, port, bytes) => {
                    let queue = match port {
                        69 => &mut self.server.listener,
                        port => &mut self.server.sockets[usize::from(port - 1_000)],
                    };
                    queue.push_back((from, bytes));
                    let late = self.weather.lateness.scaled(self.chance.unit());
                    self.server_reads = self.server_reads.min(self.now + late);
                }
                Datagram::Down(port, to, bytes) => self.hear(port, to, &bytes),
            }
        }
    }

    fn hear(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) {
        let has = |one: &Client| one.files.iter().any(|(from, ..)| *from == to);
        let Some(client) = self.clients.iter().position(has) else {
            self.to_nobody += 1;
            return;
        };
        let Client { files, download, got } = &mut self.clients[client];
        let Some(running) = download.as_mut().filter(|_| files[got.len()].0 == to) else {
            return;
        };
        let mut out = Vec::new();
        let progress = running.on_datagram(bytes, port, self.now, &mut out);
        let server = running.peer_port().unwrap_or(69);
        if !out.is_empty() {
            self.send(|| Datagram::Up(to, server, out.clone()));
        }
        self.take(client, progress);
    }

    fn time_out(&mut self) {
        for client in 0..self.clients.len() {
            let Client { files, download, got } = &mut self.clients[client];
            let now = self.now;
            let Some(running) = download.as_mut().filter(|one| one.deadline() <= now) else {
                continue;
            };
            let (from, mut out) = (files[got.len()].0, Vec::new());
            let progress = running.on_timeout(now, &mut out);
            let server = running.peer_port().unwrap_or(69);
            if !out.is_empty() {
                self.send(|| Datagram::Up(from, server, out.clone()));
            }
            self.take(client, progress);
        }
    }

    fn take(&mut self, client: usize, progress: Progress) {
        if let Progress::Finished(outcome) = progress {
            self.clients[client].download = None;
            self.clients[client].got.push(outcome);
            self.ask(client);
        }
    }

    fn serve(&mut self) {
        self.server_reads = Time::NEVER;
        if self.chance.unit() < 0.5 {
            // It decides before it reads.
            self.server.read_requests(self.now);
            self.server.steps(self.now);
        }
        for (line, bytes) in self.server.turn(self.now) {
            let port = 1_000 + u16::from(line.socket);
            self.send(|| Datagram::Down(port, line.peer, bytes.clone()));
        }
    }

    fn has_everything(&self) -> bool {
        let mut outcomes = self.clients.iter().flat_map(|client| &client.got);
        outcomes.all(|outcome| !matches!(outcome, DownloadOutcome::Failed(_)))
    }

    /// Every file arrived whole or was given up, and the server is at rest.
    fn check(&self) {
        for Client { files, got, .. } in &self.clients {
            assert_eq!(files.len(), got.len());
            for ((_, file, _), outcome) in files.iter().zip(got) {
                match outcome {
                    DownloadOutcome::Complete(data) => {
                        assert!(content(file).as_ref() == Some(data), "{file}: {}", data.len());
                    }
                    DownloadOutcome::NotFound => assert_eq!(content(file), None, "{file}"),
                    DownloadOutcome::Failed(_) => {}
                }
            }
        }
        self.server.assert_empty();
    }
}

fn weather(loss: impl Strategy<Value = f64>, delay: u64) -> impl Strategy<Value = Weather> {
    let millis = |most: u64| (0..most).prop_map(Span::from_millis);
    (loss, 0.0..0.4, millis(delay), millis(300), any::<u64>()).prop_map(
        |(loss, duplicates, delay, lateness, seed)| Weather {
            loss,
            duplicates,
            delay,
            lateness,
            seed,
        },
    )
}

/// Clients with a few files each, each file from a port of its own, up to `most` times and in
/// windows of up to so many blocks.
fn clients(most: usize, window: u64) -> impl Strategy<Value = Vec<Client>> {
    let length = prop_oneof![Just(None), (0..4_000_u32).prop_map(Some)];
    let name = prop::sample::select(vec!["a", "b", "slow"]);
    let block_size = prop::option::of(prop::sample::select(vec![100, 512, 1_428]));
    let window_size = prop::option::of(1..=window);
    let file = (name, length, block_size, window_size, 1..=most);
    prop::collection::vec(prop::collection::vec(file, 1..4), 1..8).prop_map(|clients| {
        let mut ports = 0..;
        let mut files = |files: Vec<(&str, Option<u32>, _, _, _)>| {
            let mut all = Vec::new();
            for (name, length, block_size, window_size, times) in files {
                let file = length.map_or("none".to_owned(), |l| format!("{name}/{l}"));
                // A late block of an earlier transfer to the same port looks like the answer of
                // a server without options: no client can tell.
                let options = match times {
                    1 => Options { block_size, window_size, ..Options::default() },
                    _ => Options::default(),
                };
                let port = ports.next().unwrap();
                all.resize(all.len() + times, (peer(port), file, options));
            }
            Client { files: all, download: None, got: Vec::new() }
        };
        clients.into_iter().map(&mut files).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_arrives_whole_or_its_client_gives_up_and_nothing_stays_behind(
        clients in clients(3, 4),
        places in 1..12_usize,
        weather in weather(0.0..0.4, 900),
    ) {
        let mut play = Play::new(clients, places, weather);
        play.run();
        play.check();
        let counts = play.server.uploads.counts();
        prop_assert!(counts.in_flight_max <= places as u64);
    }

    #[test]
    fn without_loss_every_file_arrives_in_any_order_and_however_often(
        clients in clients(1, 1),
        weather in weather(Just(0.0), 300),
    ) {
        let mut play = Play::new(clients, 1_000, weather);
        play.run();
        play.check();
        prop_assert!(play.has_everything());
    }

    #[test]
    fn a_flood_of_forged_requests_keeps_nobody_out_and_is_not_amplified(
        clients in clients(1, 1),
        forged in 50..150_u16,
        seed: u64,
    ) {
        let delay = Span::from_millis(100);
        let weather = Weather { loss: 0.0, duplicates: 0.0, delay, lateness: Span::ZERO, seed };
        let mut play = Play::new(clients, 40, weather);
        (0..forged).for_each(|number| play.forge(peer(10_000 + number)));
        play.run();
        play.check();
        prop_assert!(play.to_nobody <= usize::from(forged));
        prop_assert!(play.has_everything());
    }
}
