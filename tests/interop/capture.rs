//! A storm counted from outside: a capture on the loopback of a network namespace, read by a
//! parser of the test's own, against `summary.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Namespace, PATIENCE, Running, SCENARIO, line_with, run, summary, text, turn};

const PHONES: u64 = 500;
const TFTP: u16 = 6_969;
const HTTP: u16 = 6_970;
const TVS: u16 = 2_445;

/// Longest packet that is kept: what the loopback carries at most, with its Ethernet header.
const SNAP: &str = "65600";
/// Room for packets that wait for tcpdump, in KiB: several storms of this size.
const RING_KIB: &str = "262144";
/// Storms until one is captured without a gap.
const STORMS_MAX: usize = 3;

/// Sent after the storm: when it is in the capture, everything before it is.
const LAST_WORD: &str = "the-storm-is-over";

type Socket = (Ipv4Addr, u16);

/// One IPv4 packet of the capture.
struct Packet<'a> {
    protocol: u8,
    from: Socket,
    to: Socket,
    /// From the UDP or TCP header on.
    segment: &'a [u8],
}

/// The packets of a capture file in the classic format, little-endian, of an Ethernet-like link.
fn packets(capture: &[u8]) -> Vec<Packet<'_>> {
    let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xA1B2_C3D4, 1), "classic pcap of Ethernet frames");
    let (mut at, mut packets) = (24, Vec::new());
    while at + 16 <= capture.len() {
        let (kept, length) = (word(at + 8) as usize, word(at + 12) as usize);
        assert_eq!(kept, length, "packets are kept whole");
        packets.extend(ipv4(&capture[at + 16..at + 16 + kept]));
        at += 16 + kept;
    }
    packets
}

fn ipv4(frame: &[u8]) -> Option<Packet<'_>> {
    let ip = frame.strip_prefix(&frame[..12])?.strip_prefix(&[8, 0])?;
    let segment = &ip[usize::from(ip[0] & 15) * 4..usize::from(u16::from_be_bytes([ip[2], ip[3]]))];
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    let (from, to) = ((address(12), port(0)), (address(16), port(2)));
    Some(Packet { protocol: ip[9], from, to, segment })
}

/// What the capture says about a storm.
#[derive(Debug, Default)]
struct Counted {
    requests: u64,
    /// Client and file of each request.
    asked: BTreeSet<(Socket, Vec<u8>)>,
    clients: BTreeSet<Ipv4Addr>,
    data_packets: u64,
    /// Bytes of file by client, server and block.
    blocks: BTreeMap<(Socket, Socket, [u8; 2]), usize>,
    not_found: BTreeSet<(Socket, Socket)>,
    lookups: BTreeSet<Socket>,
    lookup_clients: BTreeSet<Ipv4Addr>,
    http_connections: BTreeSet<Socket>,
    http_clients: BTreeSet<Ipv4Addr>,
    /// What each side of an HTTP connection said: by sender and receiver, then sequence number.
    said: BTreeMap<(Socket, Socket), BTreeMap<u32, Vec<u8>>>,
}

/// What was asked and answered over HTTP.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    requests: u64,
    files: u64,
    bytes: u64,
    not_found: u64,
}

impl Counted {
    /// The bytes of a direction in their order; sequence numbers do not wrap in a boot.
    fn streams(&self, of: impl Fn(&(Socket, Socket)) -> bool) -> Vec<Vec<u8>> {
        let chosen = self.said.iter().filter(|(ends, _)| of(ends));
        chosen.map(|(_, parts)| parts.values().flatten().copied().collect()).collect()
    }

    fn answers(&self) -> Answers {
        let mut answers = Answers::default();
        for stream in self.streams(|(_, to)| to.1 == HTTP) {
            let text = String::from_utf8(stream).unwrap();
            answers.requests +=
                text.lines().filter(|line| line.starts_with("GET /")).count() as u64;
        }
        for stream in self.streams(|(from, _)| from.1 == HTTP) {
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                let head = std::str::from_utf8(&rest[..end]).unwrap().to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.unwrap().parse().unwrap();
                if head.starts_with("http/1.1 200") {
                    answers.files += 1;
                    answers.bytes += length as u64;
                } else {
                    assert!(head.starts_with("http/1.1 404"), "{head}");
                    answers.not_found += 1;
                }
                rest = &rest[end + length..];
            }
        }
        answers
    }
}

fn count(capture: &[u8]) -> Counted {
    let mut counted = Counted::default();
    for Packet { protocol, from, to, segment } in packets(capture) {
        match (protocol, segment.get(8..)) {
            (17, Some(&[0, 1, ref request @ ..])) if to.1 == TFTP => {
                counted.requests += 1;
                let file = request.split(|&byte| byte == 0).next().unwrap_or_default();
                counted.asked.insert((from, file.to_vec()));
                counted.clients.insert(from.0);
            }
            (17, Some(&[0, 3, high, low, ref data @ ..])) => {
                counted.data_packets += 1;
                counted.blocks.insert((to, from, [high, low]), data.len());
            }
            (17, Some(&[0, 5, 0, 1, ..])) => {
                counted.not_found.insert((to, from));
            }
            // SYN without ACK.
            (6, _) if to.1 == TVS && segment[13] & 0x12 == 0x02 => {
                counted.lookups.insert(from);
                counted.lookup_clients.insert(from.0);
            }
            (6, _) if to.1 == HTTP || from.1 == HTTP => {
                if to.1 == HTTP && segment[13] & 0x12 == 0x02 {
                    counted.http_connections.insert(from);
                    counted.http_clients.insert(from.0);
                }
                let payload = &segment[usize::from(segment[12] >> 4) * 4..];
                if !payload.is_empty() {
                    let sequence = u32::from_be_bytes(segment[4..8].try_into().unwrap());
                    let parts = counted.said.entry((from, to)).or_default();
                    parts.insert(sequence, payload.to_vec());
                }
            }
            _ => {}
        }
    }
    counted
}

/// A count of a summary, its keys joined by points.
pub fn number(summary: &Value, path: &str) -> u64 {
    let found = path.split('.').fold(summary, |value, key| &value[key]);
    found.as_u64().unwrap_or_else(|| panic!("{path} in {summary:#}"))
}

/// How many packets of a capture tshark sees under `filter`.
fn tshark(capture: &Path, filter: &str) -> u64 {
    let decode = [
        format!("udp.port=={TFTP},tftp"),
        format!("tcp.port=={HTTP},http"),
        format!("tcp.port=={TVS},tls"),
    ];
    let mut tshark = Command::new("tshark");
    for port in &decode {
        tshark.args(["-d", port]);
    }
    tshark.args(["-n", "-Y", filter, "-r"]).arg(capture);
    text(&mut tshark).lines().count() as u64
}

/// The shipped scenarios here, with [`PHONES`] phones in two seconds.
fn shipped(what: &str, scenario: &str, folder: &Path) -> (PathBuf, Value) {
    let phones = PHONES.to_string();
    let set = ["--phones", &phones, "--set", "event.reset-1.reset-phones.spread=2s"];
    storm(what, scenario, &set, folder)
}

/// Runs a scenario in a network of its own; the capture and the summary. A capture that lacks a
/// packet proves nothing: the storm is repeated then.
pub fn storm(what: &str, scenario: &str, set: &[&str], folder: &Path) -> (PathBuf, Value) {
    let mut dropped = Vec::new();
    while dropped.len() < STORMS_MAX {
        let number = dropped.len();
        let folder = folder.join(number.to_string());
        fs::create_dir(&folder).unwrap();
        match capture(&format!("{what}{number}"), scenario, set, &folder) {
            Ok(whole) => return whole,
            Err(line) => {
                println!("the storm is repeated: {line}");
                dropped.push(line);
            }
        }
    }
    panic!("no capture is whole: {dropped:?}");
}

/// One storm, or what tcpdump says about packets that it has missed.
fn capture(
    what: &str,
    scenario: &str,
    set: &[&str],
    folder: &Path,
) -> Result<(PathBuf, Value), String> {
    let namespace = Namespace::new(what);
    let file = folder.join("storm.pcap");
    let mut tcpdump = namespace.command("tcpdump");
    // Not in immediate mode, where each packet takes a slot of the largest size: packed, the ring
    // has room for the whole storm, whoever else keeps the machine busy.
    tcpdump
        .args(["-i", "lo", "-n", "-s", SNAP, "-B", RING_KIB, "-Z", "root", "-U", "-w"])
        .arg(&file);
    let mut tcpdump = Running::start(&mut tcpdump);
    let said = tcpdump.stderr();
    line_with(&said, "listening on");
    run(namespace
        .command(env!("CARGO_BIN_EXE_resetstorm"))
        .args(["run", scenario, "--progress", "none", "--max-wall", "2m"])
        .args(set)
        .arg("--out")
        .arg(folder));
    let summary = summary(folder);
    run(namespace
        .command("bash")
        .args(["-c", &format!("printf {LAST_WORD} >/dev/udp/127.0.0.1/9")]));
    let deadline = Instant::now() + PATIENCE;
    while !has_near_its_end(&file, LAST_WORD.as_bytes()) {
        if Instant::now() >= deadline {
            return Err("the last word is not in it".to_owned());
        }
        // tcpdump hands packets on once a second.
        sleep(Duration::from_millis(50));
    }
    tcpdump.signal("INT");
    let dropped = line_with(&said, "dropped by kernel");
    tcpdump.ended();
    if dropped.starts_with("0 packets") { Ok((file, summary)) } else { Err(dropped) }
}

/// Whether these bytes are in the last part of a file: a connection may be closed behind the last
/// word.
fn has_near_its_end(file: &Path, bytes: &[u8]) -> bool {
    const LAST_PART: u64 = 64 * 1_024;
    let mut file = File::open(file).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_PART))).unwrap();
    let mut end = Vec::new();
    file.read_to_end(&mut end).unwrap();
    end.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and tshark"]
fn a_capture_of_a_storm_has_the_numbers_of_the_summary() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (file, summary) = shipped("capture", SCENARIO, folder.path());
    let capture = fs::read(&file).unwrap();
    let counted = count(&capture);
    let transfers = number(&summary, "tftp.requests");
    let repeated = counted.requests - counted.asked.len() as u64;
    println!(
        "{} packets; {} requests, {repeated} of them repeated; {} TVS connections; {} blocks",
        packets(&capture).len(),
        counted.requests,
        counted.lookups.len(),
        counted.blocks.len()
    );
    assert_eq!(counted.clients.len() as u64, PHONES, "each phone has an address of its own");
    assert_eq!(transfers, 4 * PHONES);
    assert_eq!(counted.asked.len() as u64, transfers);
    assert_eq!(counted.requests, number(&summary, "serve.tftp_requests"));
    assert!(repeated <= number(&summary, "tftp.retransmits"));
    assert_eq!(counted.not_found.len() as u64, number(&summary, "tftp.not_found"));
    let attempts = number(&summary, "tvs.lookups") + number(&summary, "tvs.failed");
    assert_eq!((counted.lookups.len() as u64, attempts), (PHONES, PHONES));
    assert_eq!(counted.lookup_clients.len() as u64, PHONES, "lookups come from the phones, too");
    let bytes: usize = counted.blocks.values().sum();
    assert_eq!(bytes as u64, number(&summary, "tftp.bytes"));

    assert_eq!(tshark(&file, "_ws.malformed"), 0);
    assert_eq!(tshark(&file, "tftp.opcode == 1"), counted.requests);
    assert_eq!(tshark(&file, "tftp.opcode == 3"), counted.data_packets);
    assert_eq!(tshark(&file, "tls.handshake.type == 1"), PHONES, "one ClientHello per lookup");
    assert_eq!(tshark(&file, "tls.handshake.type == 2"), PHONES);
    assert_eq!(tshark(&file, "tls.alert_message.level == 2"), 0);
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and tshark"]
fn a_capture_of_a_mixed_fleet_has_the_numbers_of_both_transports() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (file, summary) = shipped("mixed", "scenarios/mixed-fleet.toml", folder.path());
    let counted = count(&fs::read(&file).unwrap());
    let answers = counted.answers();
    println!("{answers:?} on {} connections", counted.http_connections.len());
    let http = |key: &str| number(&summary, &format!("http.{key}"));
    let seen = Answers {
        requests: http("requests"),
        files: http("requests") - http("not_found"),
        bytes: http("bytes"),
        not_found: http("not_found"),
    };
    assert_eq!(answers, seen);
    assert!(seen.requests > PHONES, "most phones ask over HTTP");
    assert_eq!(counted.http_connections.len() as u64, http("connections"));
    assert_eq!(counted.http_clients.len() as u64 * 4, seen.requests, "four names each");
    // The others ask over TFTP, and nobody does both.
    assert_eq!(counted.asked.len() as u64, number(&summary, "tftp.requests"));
    assert!(counted.clients.is_disjoint(&counted.http_clients));
    assert_eq!(counted.clients.len() + counted.http_clients.len(), PHONES as usize);
    let bytes: usize = counted.blocks.values().sum();
    assert_eq!(bytes as u64, number(&summary, "tftp.bytes"));
    assert_eq!(counted.lookups.len() as u64, PHONES);

    assert_eq!(tshark(&file, "_ws.malformed"), 0);
    assert_eq!(tshark(&file, "http.request"), seen.requests);
    assert_eq!(tshark(&file, "http.response.code == 200"), seen.files);
}
