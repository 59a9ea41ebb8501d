//! Mails over SMTP (RFC 5321), in the clear: for a mail server of the lab.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::{Mailbox, header::ContentType};
use lettre::{Message, SmtpTransport, Transport};

/// Why mails did not all leave.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
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

/// How long a server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends these texts, one mail each and over one connection.
///
/// # Errors
/// The first mail that the server did not take; those before it have left.
pub fn send(
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
