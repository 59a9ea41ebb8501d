use std::net::SocketAddr;

use clap::Args;
use lettre::message::Mailbox;

use crate::net::mail::send;

use super::args::{CliError, ScenarioFlags};
use super::output;

/// Where the Certificate Monitor sends its mails (EXP-01).
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Certificate Monitor")]
pub struct MailArgs {
    /// Mail the warnings of the Certificate Monitor over this SMTP server
    #[arg(long, value_name = "IP:PORT", requires = "mail_to")]
    pub smtp: Option<SocketAddr>,
    /// Whom it mails
    #[arg(long, value_name = "ADDRESS", requires = "smtp")]
    pub mail_to: Option<Mailbox>,
}

/// Mails of one run: more of the same would tell nobody anything (choice).
const MAILS_MAX: usize = 100;

/// What RTMT calls it.
const SUBJECT: &str = "[RTMT-ALERT-StandAloneCluster] SyslogSeverityMatchFound";

impl MailArgs {
    /// Refuses a mail server outside loopback that was not named twice.
    ///
    /// # Errors
    /// Names it.
    pub(super) fn check(&self, flags: &ScenarioFlags) -> Result<(), CliError> {
        match self.smtp {
            Some(smtp) => flags.permit([("the mail server", smtp.ip())].into_iter()),
            None => Ok(()),
        }
    }

    /// Sends the first mails of a run, if anybody wants them. A server that takes none is told of
    /// and changes no result.
    pub(super) fn send(&self, mails: &[String]) {
        let (Some(server), Some(to)) = (self.smtp, &self.mail_to) else { return };
        let sent = &mails[..mails.len().min(MAILS_MAX)];
        let from: Mailbox = "RTMT_Admin@localhost".parse().expect("it is an address");
        if let Err(error) = send(server, (&from, to), SUBJECT, sent) {
            output::message(&format!("warning: {error}\nhelp: alarms.log has all of them"));
        } else if mails.len() > sent.len() {
            let (sent, all) = (sent.len(), mails.len());
            output::message(&format!("mailed {sent} of {all} alarms; alarms.log has all of them"));
        }
    }
}
