//! An attack leaves the memory of the servers as it was: a process of its own is besieged, round
//! after round, and its resident memory is read from the kernel.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resetstorm::net::limits;

/// Connections that are open at the same time towards each TCP port.
const CONNECTIONS: usize = 400;
/// Requests of a round, each from an address of its own that never says anything again.
const REQUESTS: u32 = 4_000;
const ROUNDS: u32 = 6;
/// Longest wait for an answer to a good request.
const PATIENCE: Duration = Duration::from_secs(20);

struct Victim {
    child: Child,
    tftp: SocketAddr,
    tcp: [SocketAddr; 3],
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Victim {
    fn start() -> Victim {
        let ports = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0, http = 0, https = 0 }";
        let mut child = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
            .args(["serve", "scenarios/callmanager-regen.toml", "--progress", "lines"])
            .args(["--set", ports, "--set", "cluster.release='14'", "--phones", "50"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("cluster   pub on")).unwrap();
        // The pipe is drained, so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let at = |service: &str| {
            let digits = line.split(&format!(" {service} ")).nth(1).unwrap().split(' ').next();
            SocketAddr::from((Ipv4Addr::LOCALHOST, digits.unwrap().parse().unwrap()))
        };
        let (tftp, tcp) = (at("tftp"), [at("http"), at("https"), at("tvs")]);
        Victim { child, tftp, tcp }
    }

    /// A value of the kernel's status file of the process, in bytes.
    fn memory(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() * 1_024
    }

    /// Everything at once: half-open and silent connections, garbage and half requests on each
    /// TCP port, and requests whose senders never speak again.
    fn besiege(&self, round: u32) {
        let says: [&[u8]; 4] = [b"", b"GET /ITLFile.tlv HT", &[22, 3, 1, 2, 0, 1], &[0xff; 2_000]];
        let mut open = Vec::new();
        for server in self.tcp {
            for number in 0..CONNECTIONS {
                let Ok(mut stream) = TcpStream::connect(server) else { continue };
                // The server may have closed it already.
                let _ = stream.write_all(says[number % says.len()]);
                open.push(stream);
            }
        }
        let request = b"\0\x01ITLFile.tlv\0octet\0blksize\x001428\0";
        for number in 0..REQUESTS {
            let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 9, 0, 1)) + number);
            let socket = UdpSocket::bind((from, 0)).unwrap();
            // The receive queue of a besieged server may be full.
            let _ = socket.send_to(request, self.tftp);
        }
        let own = (Ipv4Addr::new(127, 8, 0, round as u8 + 1), 0);
        let flood = UdpSocket::bind(own).unwrap();
        for number in 0..REQUESTS {
            let _ = flood.send_to(&[&[0, number as u8], &request[2..]].concat(), self.tftp);
        }
        self.still_serves();
    }

    /// A good client gets its file over HTTP, whoever else is there.
    fn still_serves(&self) {
        let mut stream = TcpStream::connect(self.tcp[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /ITLFile.tlv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    }
}

#[test]
fn an_attack_leaves_the_memory_of_the_servers_as_it_was() {
    limits::raise_descriptor_limit().unwrap();
    let victim = Victim::start();
    victim.still_serves();
    let at_rest = victim.memory("VmRSS");
    let mut after = Vec::new();
    for round in 0..ROUNDS {
        victim.besiege(round);
        after.push(victim.memory("VmRSS"));
    }
    let peak = victim.memory("VmHWM");
    println!("{at_rest} bytes at rest, {after:?} after each round, {peak} at the peak");
    // Three rounds fill every pool and cache; what comes then must find room in what is there.
    let grown = after[ROUNDS as usize - 1].saturating_sub(after[2]);
    assert!(grown < 16 << 20, "grown by {grown} bytes in three rounds: {after:?}");
    assert!(peak - at_rest < 150 << 20, "{peak} bytes at the peak, {at_rest} at rest");
}
