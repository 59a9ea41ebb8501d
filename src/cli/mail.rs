use std::net::SocketAddr;

use clap::Args;
use lettre::message::Mailbox;

use crate::net::mail::Mailing;

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

    /// Who is mailed, if anybody is.
    pub(super) fn mailing(&self) -> Option<Mailing> {
        Some(Mailing { server: self.smtp?, to: self.mail_to.clone()? })
    }

    /// Sends the first mails of a run, if anybody wants them. A server that takes none is told of
    /// and changes no result.
    pub(super) fn send(&self, mails: &[String]) {
        let Some(mailing) = self.mailing().filter(|_| !mails.is_empty()) else { return };
        match mailing.send(mails, "alarms.log") {
            Ok(told) => output::message(&told),
            Err(why) => output::message(&format!("warning: {why}")),
        }
    }
}
