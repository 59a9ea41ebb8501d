//! A storm counted from outside: a capture on the loopback of a network namespace, read by a
//! parser of the test's own, against `summary.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::lab::{Namespace, PATIENCE, Running, SCENARIO, line_with, run, summary, text};

const PHONES: u64 = 500;
const TFTP: u16 = 6_969;
const TVS: u16 = 2_445;

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
            _ => {}
        }
    }
    counted
}

fn number(summary: &Value, path: &str) -> u64 {
    let found = path.split('.').fold(summary, |value, key| &value[key]);
    found.as_u64().unwrap_or_else(|| panic!("{path} in {summary:#}"))
}

/// How many packets of a capture tshark sees under `filter`.
fn tshark(capture: &Path, filter: &str) -> u64 {
    let (tftp, tvs) = (format!("udp.port=={TFTP},tftp"), format!("tcp.port=={TVS},tls"));
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-d", &tftp, "-d", &tvs, "-Y", filter, "-r"]).arg(capture);
    text(&mut tshark).lines().count() as u64
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and tshark"]
fn a_capture_of_a_storm_has_the_numbers_of_the_summary() {
    let namespace = Namespace::new("capture");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storm.pcap");
    let mut tcpdump = namespace.command("tcpdump");
    tcpdump
        .args(["-i", "lo", "-n", "-s", "0", "-B", "65536", "-Z", "root"])
        .args(["--immediate-mode", "-U", "-w"])
        .arg(&file);
    let mut tcpdump = Running::start(&mut tcpdump);
    let said = tcpdump.stderr();
    line_with(&said, "listening on");
    run(namespace
        .command(env!("CARGO_BIN_EXE_resetstorm"))
        .args(["run", SCENARIO, "--phones", &PHONES.to_string(), "--progress", "none"])
        .args(["--set", "event.3.reset-phones.spread=2s", "--max-wall", "2m", "--out"])
        .arg(folder.path()));
    let summary = summary(folder.path());
    run(namespace
        .command("bash")
        .args(["-c", &format!("printf {LAST_WORD} >/dev/udp/127.0.0.1/9")]));
    let deadline = Instant::now() + PATIENCE;
    while !fs::read(&file).unwrap().ends_with(LAST_WORD.as_bytes()) {
        assert!(Instant::now() < deadline, "the capture does not end");
    }
    tcpdump.signal("INT");
    let dropped = line_with(&said, "dropped by kernel");
    assert!(dropped.starts_with("0 packets"), "the capture is not whole: {dropped}");
    tcpdump.ended();

    let capture = fs::read(&file).unwrap();
    let counted = count(&capture);
    let transfers = number(&summary, "tftp.transfers");
    let repeated = counted.requests - counted.asked.len() as u64;
    println!(
        "{} packets; {} requests, {repeated} of them repeated; {} TVS connections; {} blocks",
        packets(&capture).len(),
        counted.requests,
        counted.lookups.len(),
        counted.blocks.len()
    );
    assert_eq!(counted.clients.len() as u64, PHONES, "each phone has an address of its own");
    assert_eq!(transfers, 3 * PHONES);
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
