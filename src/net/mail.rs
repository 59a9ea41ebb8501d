//! Mails over SMTP (RFC 5321), in the clear: for a mail server of the lab.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::{Mailbox, header::ContentType};
use lettre::{Message, SmtpTransport, Transport};

/// Why mails did not all leave.
#[derive(Debug, thiserror::Error)]
enum MailError {
    /// A mail cannot be made.
    #[error("the mail cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    /// The server did not take one.
    #[error("{server} did not take mail {number}: {cause}")]
    Refused {
        /// The SMTP server.
        server: SocketAddr,
        /// Which mail, from 1.
        number: usize,
        /// What it said, or why nothing was heard of it.
        cause: lettre::transport::smtp::Error,
    },
}

/// Who is mailed the warnings of the Certificate Monitor, over which server (EXP-01).
#[derive(Clone, Debug)]
pub struct Mailing {
    /// The SMTP server.
    pub server: SocketAddr,
    /// Whom it mails.
    pub to: Mailbox,
}

/// Warnings that are mailed at a time: more of the same would tell nobody anything (choice).
const MAILS_MAX: usize = 100;

/// What RTMT calls it.
const SUBJECT: &str = "[RTMT-ALERT-StandAloneCluster] SyslogSeverityMatchFound";

impl Mailing {
    /// Sends the first of these texts, one mail each; what has come of it in words, with where the
    /// rest of them are.
    ///
    /// # Errors
    /// The first mail that the server did not take, with what helps; those before it have left.
    pub fn send(&self, texts: &[String], elsewhere: &str) -> Result<String, String> {
        let sent = &texts[..texts.len().min(MAILS_MAX)];
        let from: Mailbox = "RTMT_Admin@localhost".parse().expect("it is an address");
        send(self.server, (&from, &self.to), SUBJECT, sent)
            .map_err(|error| format!("{error}\nhelp: {elsewhere} has all of them"))?;
        let (sent, all) = (sent.len(), texts.len());
        Ok(if sent < all {
            format!("mailed {sent} of {all} alarms; {elsewhere} has all of them")
        } else {
            format!("mailed {all} alarms to {}", self.to.email)
        })
    }
}

/// How long a server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends these texts, one mail and one connection each; those before the first one that the
/// server did not take have left.
fn send(
    server: SocketAddr,
    (from, to): (&Mailbox, &Mailbox),
    subject: &str,
    texts: &[String],
) -> Result<(), MailError> {
    let host = server.ip().to_string();
    let transport =
        SmtpTransport::builder_dangerous(host).port(server.port()).timeout(Some(PATIENCE)).build();
    for (at, text) in texts.iter().enumerate() {
        let mail = Message::builder()
            .from(from.clone())
            .to(to.clone())
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text.clone())?;
        let number = at + 1;
        transport.send(&mail).map_err(|cause| MailError::Refused { server, number, cause })?;
    }
    Ok(())
}
