//! One file from one TFTP server, with the time of each phase.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::base::Time;
use crate::transfer::{Download, DownloadOutcome, DownloadRequest, Progress, TransferFault};
use crate::wire::tftp::ErrorCode;

/// A file that arrived, and when.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The file.
    pub data: Vec<u8>,
    /// Time from the request to the first answer.
    pub first_answer: Duration,
    /// Time from the request to the last block.
    pub total: Duration,
    /// Datagrams that were sent again.
    pub retransmitted: u32,
}

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] std::io::Error),
    /// The server has no such file, or refuses to send it.
    #[error("the server answered TFTP error {code}{}", said(text))]
    Refused {
        /// The error code; 1 is "file not found".
        code: ErrorCode,
        /// What the server said, in one line that is fit to be shown.
        text: String,
    },
    /// The transfer failed.
    #[error("{fault}{}", with(remark))]
    Transfer {
        /// Why.
        fault: TransferFault,
        /// How far it came, or what was wrong.
        remark: String,
    },
}

fn with(remark: &str) -> String {
    if remark.is_empty() { String::new() } else { format!(": {remark}") }
}

fn said(text: &str) -> String {
    if text.is_empty() { " without a text".to_owned() } else { with(text) }
}

/// Reads one file.
///
/// # Errors
/// If the socket fails, the server refuses or does not answer.
pub fn fetch(server: SocketAddr, request: DownloadRequest) -> Result<Fetched, FetchFault> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    let start = Instant::now();
    let mut out = Vec::new();
    let mut download = Download::start(request, now(start), &mut out);
    let mut wire = Wire { socket, server, buffer: vec![0; 65_536] };
    wire.send(&out, download.peer_port())?;
    let (mut first_answer, mut retransmitted) = (None, 0);
    loop {
        let progress = match wire.receive(time_left(&download, start))? {
            Some((length, port)) => {
                first_answer.get_or_insert_with(|| start.elapsed());
                download.on_datagram(&wire.buffer[..length], port, now(start), &mut out)
            }
            None if time_left(&download, start).is_zero() => {
                download.on_timeout(now(start), &mut out)
            }
            None => continue,
        };
        wire.send(&out, download.peer_port())?;
        out.clear();
        match progress {
            Progress::Continue | Progress::Stray => {}
            Progress::Retransmitted => retransmitted += 1,
            Progress::Finished(outcome) => {
                let data = finished(outcome, &download)?;
                let total = start.elapsed();
                let first_answer = first_answer.unwrap_or(total);
                return Ok(Fetched { data, first_answer, total, retransmitted });
            }
        }
    }
}

fn finished(outcome: DownloadOutcome, download: &Download) -> Result<Vec<u8>, FetchFault> {
    let remark = download.remark().unwrap_or_default().to_owned();
    match outcome {
        DownloadOutcome::Complete(data) => Ok(data),
        DownloadOutcome::NotFound => {
            Err(FetchFault::Refused { code: ErrorCode::FILE_NOT_FOUND, text: remark })
        }
        DownloadOutcome::Failed(TransferFault::Error(code)) => {
            Err(FetchFault::Refused { code, text: remark })
        }
        DownloadOutcome::Failed(fault) => Err(FetchFault::Transfer { fault, remark }),
    }
}

/// The time since the request, as the transfer machine counts it.
fn now(start: Instant) -> Time {
    Time::ZERO + start.elapsed().into()
}

fn time_left(download: &Download, start: Instant) -> Duration {
    download.deadline().since(now(start)).as_duration()
}

struct Wire {
    socket: UdpSocket,
    server: SocketAddr,
    buffer: Vec<u8>,
}

impl Wire {
    /// Sends a datagram, if there is one: to the server's well-known port until it has answered.
    fn send(&self, datagram: &[u8], peer_port: Option<u16>) -> std::io::Result<()> {
        if datagram.is_empty() {
            return Ok(());
        }
        let port = peer_port.unwrap_or_else(|| self.server.port());
        self.socket.send_to(datagram, (self.server.ip(), port)).map(|_| ())
    }

    /// The next datagram of the server, if one comes in time.
    fn receive(&mut self, timeout: Duration) -> std::io::Result<Option<(usize, u16)>> {
        self.socket.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        match self.socket.recv_from(&mut self.buffer) {
            Ok((length, from)) if from.ip() == self.server.ip() => Ok(Some((length, from.port()))),
            Ok(_) => Ok(None),
            Err(error) => match error.kind() {
                std::io::ErrorKind::WouldBlock
                | std::io::ErrorKind::TimedOut
                | std::io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;
    use crate::wire::tftp::Options;

    fn request(tries: u8) -> DownloadRequest {
        DownloadRequest {
            file: "ITLFile.tlv".into(),
            options: Options::default(),
            size_max: 10_000,
            timeout: Span::from_nanos(30_000_000),
            tries,
        }
    }

    /// Answers the first datagram from a new port, then each acknowledgement.
    fn serve(blocks: Vec<Vec<u8>>) -> SocketAddr {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 600];
            let (_, client) = listener.recv_from(&mut buffer).unwrap();
            let transfer = UdpSocket::bind("127.0.0.1:0").unwrap();
            transfer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            for block in blocks {
                transfer.send_to(&block, client).unwrap();
                transfer.recv_from(&mut buffer).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_file_of_two_blocks_arrives() {
        let first = [&[0, 3, 0, 1][..], &[7; 512]].concat();
        let last = [&[0, 3, 0, 2][..], &[8; 3]].concat();
        let fetched = fetch(serve(vec![first, last]), request(3)).unwrap();
        assert_eq!(fetched.data.len(), 515);
        assert!(fetched.first_answer <= fetched.total);
    }

    #[test]
    fn what_the_server_says_is_kept_with_its_code() {
        let codes = [0u8, 1, 2, 3, 4, 5, 6, 7, 8, 99];
        for number in codes {
            let error = [&[0, 5, 0, number][..], b"outside of\x1b the root\0"].concat();
            let fault = fetch(serve(vec![error]), request(3)).unwrap_err();
            let FetchFault::Refused { code, text } = &fault else { panic!("{fault}") };
            assert_eq!(code.0, u16::from(number));
            assert_eq!(text, "outside of\\u{1b} the root");
            let shown = format!("TFTP error {code}: outside of\\u{{1b}} the root");
            assert!(fault.to_string().ends_with(&shown), "{fault}");
        }
        let bare = fetch(serve(vec![vec![0, 5, 0, 2]]), request(3)).unwrap_err();
        assert_eq!(
            bare.to_string(),
            "the server answered TFTP error 2 (access violation) without a text"
        );
    }

    #[test]
    fn silence_says_how_far_the_file_came() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let fault = fetch(address, request(2)).unwrap_err();
        assert_eq!(fault.to_string(), "no answer to the request");
        let first = [&[0, 3, 0, 1][..], &[7; 512]].concat();
        let fault = fetch(serve(vec![first]), request(2)).unwrap_err().to_string();
        assert_eq!(
            fault,
            "the server fell silent in mid-transfer: nothing after block 1 (512 bytes)"
        );
    }
}
