//! The grammar of the console: one table for reading, help and completion.

use crate::base::printable;
use crate::cluster::operator::ctl::ResetList;
use crate::cluster::operator::services::Change;
use crate::cluster::{CERTIFICATES, CertificateKind, SecurityMode, TRUST_STORES, TrustStore};
use crate::listing::ListName;

use super::services::{all, cucm_name};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// What can be typed that begins with these words.
    Help(String),
    /// The end of the session.
    Leave,
    /// `show itl`, `show ctl`.
    List(ListName),
    /// `show cert list own|trust`.
    Certificates(Side),
    /// `show cert days`.
    DaysLeft,
    /// `show cert own|trust NAME`.
    Certificate(Side, String),
    /// `set cert regen UNIT`.
    Regenerate(String),
    /// `set cert delete UNIT NAME`.
    Delete(String, String),
    /// `set csr gen UNIT`.
    Request(String),
    /// `show csr own UNIT`.
    ShowRequest(String),
    /// `set cert import own|trust UNIT`.
    Import(Side, String),
    /// `utils service list`.
    Services,
    /// `utils service restart|start|stop NAME`.
    Service(Change, String),
    /// `utils ctl update CTLFile`.
    UpdateCtl,
    /// `utils ctl set-cluster mixed-mode|non-secure-mode`.
    SetMode(SecurityMode),
    /// `utils itl|ctl reset localkey`.
    ResetLocalKey(ResetList),
    /// `utils disaster_recovery ...`.
    Backup(String),
    /// `run sql ...`.
    Sql(String),
    /// `set capf operation ...`.
    SetOperation(String),
    /// `show capf phones`.
    CapfPhones,
    /// `show capf report ...`.
    CapfReport(String),
    /// `file list|view|tail|search activelog PATH ...`.
    Log(LogVerb, String),
}

/// The two kinds of certificates of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those it presents and signs with.
    Own,
    /// Those it trusts.
    Trust,
}

/// What is done with logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogVerb {
    /// Their names are listed.
    List,
    /// One is printed.
    View,
    /// The end of one is printed.
    Tail,
    /// Lines of one are looked for.
    Search,
}

/// Why a line is refused, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub(super) String);

impl Refusal {
    /// What the console prints.
    pub fn text(&self) -> String {
        format!("Executed command unsuccessfully\n{}\n", printable(&self.0))
    }

    fn of(what: &str) -> Refusal {
        Refusal(what.to_owned())
    }
}

/// One form of a command.
struct Form {
    /// The words that it begins with.
    words: &'static str,
    /// What follows.
    takes: Takes,
    /// What it does, in a line.
    does: &'static str,
    /// The command with what follows its words.
    read: fn(&str) -> Command,
}

/// What follows the words of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// The name of a certificate.
    Unit,
    /// The name of a trust store.
    Store,
    /// The name of a trust store and of a file in it.
    StoreAndFile,
    /// The name of a service, which has blanks.
    Service,
    /// One word that is called so.
    Word(&'static str),
    /// Anything, nothing included, that is called so.
    Text(&'static str),
}

impl Takes {
    const fn placeholder(self) -> &'static str {
        match self {
            Takes::Nothing => "",
            Takes::Unit | Takes::Store => " UNIT",
            Takes::StoreAndFile => " UNIT NAME.pem",
            Takes::Service => " SERVICE",
            Takes::Word(name) | Takes::Text(name) => name,
        }
    }

    /// Whether this may follow.
    fn fits(self, rest: &str) -> bool {
        let words = rest.split_whitespace().count();
        match self {
            Takes::Nothing => words == 0,
            Takes::Unit | Takes::Store | Takes::Word(_) => words == 1,
            Takes::StoreAndFile => words == 2,
            Takes::Service => words > 0,
            Takes::Text(_) => true,
        }
    }

    fn candidates(self) -> Vec<&'static str> {
        match self {
            Takes::Unit => CERTIFICATES.into_iter().map(CertificateKind::name).collect(),
            Takes::Store | Takes::StoreAndFile => TRUST_STORES.map(TrustStore::short_name).to_vec(),
            Takes::Service => all().map(cucm_name).collect(),
            Takes::Nothing | Takes::Word(_) | Takes::Text(_) => Vec::new(),
        }
    }
}

const fn form(
    words: &'static str,
    takes: Takes,
    does: &'static str,
    read: fn(&str) -> Command,
) -> Form {
    Form { words, takes, does, read }
}

/// Every form, in the order of the help.
const FORMS: &[Form] = &[
    form("exit", Takes::Nothing, "leave the console", |_| Command::Leave),
    form("quit", Takes::Nothing, "leave the console", |_| Command::Leave),
    form("help", Takes::Text(" [COMMAND]"), "list commands", |rest| Command::Help(rest.into())),
    form("file list activelog", Takes::Text(" PATH"), "list logs", |rest| {
        Command::Log(LogVerb::List, rest.into())
    }),
    form("file search activelog", Takes::Text(" PATH TEXT"), "look for lines of a log", |rest| {
        Command::Log(LogVerb::Search, rest.into())
    }),
    form("file tail activelog", Takes::Text(" PATH [LINES]"), "print the end of a log", |rest| {
        Command::Log(LogVerb::Tail, rest.into())
    }),
    form("file view activelog", Takes::Text(" PATH"), "print a log", |rest| {
        Command::Log(LogVerb::View, rest.into())
    }),
    form("run sql", Takes::Text(" QUERY"), "ask the database", |rest| Command::Sql(rest.into())),
    // CUCM has pages for what is said of CAPF here.
    form("set capf operation", Takes::Text(" OPERATION [KEY=VALUE]"), "set operations", |rest| {
        Command::SetOperation(rest.into())
    }),
    form("set cert regen", Takes::Unit, "make a certificate anew", |rest| {
        Command::Regenerate(rest.into())
    }),
    form("set cert delete", Takes::StoreAndFile, "delete a certificate it trusts", |rest| {
        let (unit, name) = rest.split_once(' ').unwrap_or((rest, ""));
        Command::Delete(unit.into(), name.into())
    }),
    form("set cert import trust", Takes::Store, "trust the certificate of a server", |rest| {
        Command::Import(Side::Trust, rest.into())
    }),
    form("set cert import own", Takes::Unit, "take what a CA has signed", |rest| {
        Command::Import(Side::Own, rest.into())
    }),
    form("set csr gen", Takes::Unit, "request a certificate of a CA", |rest| {
        Command::Request(rest.into())
    }),
    form("show capf phones", Takes::Nothing, "count phones by LSC status", |_| Command::CapfPhones),
    form("show capf report", Takes::Text(" [KEY=VALUE]"), "list LSCs with their ends", |rest| {
        Command::CapfReport(rest.into())
    }),
    form("show csr own", Takes::Unit, "print the request for a CA", |rest| {
        Command::ShowRequest(rest.into())
    }),
    // CUCM has no such command; its page of certificates can be sorted by their end.
    form("show cert days", Takes::Nothing, "list days left (not a command of CUCM)", |_| {
        Command::DaysLeft
    }),
    form("show cert list own", Takes::Nothing, "list the certificates of this node", |_| {
        Command::Certificates(Side::Own)
    }),
    form("show cert list trust", Takes::Nothing, "list the certificates it trusts", |_| {
        Command::Certificates(Side::Trust)
    }),
    form("show cert own", Takes::Word(" NAME"), "print a certificate of this node", |rest| {
        Command::Certificate(Side::Own, rest.into())
    }),
    form("show cert trust", Takes::Word(" NAME"), "print a certificate it trusts", |rest| {
        Command::Certificate(Side::Trust, rest.into())
    }),
    form("show ctl", Takes::Nothing, "print the CTL", |_| Command::List(ListName::Ctl)),
    form("show itl", Takes::Nothing, "print the ITL", |_| Command::List(ListName::Itl)),
    form("utils ctl reset localkey", Takes::Nothing, "sign the CTL with ITLRecovery", |_| {
        Command::ResetLocalKey(ResetList::Ctl)
    }),
    form("utils ctl set-cluster mixed-mode", Takes::Nothing, "secure the cluster", |_| {
        Command::SetMode(SecurityMode::Mixed)
    }),
    form("utils ctl set-cluster non-secure-mode", Takes::Nothing, "leave mixed mode", |_| {
        Command::SetMode(SecurityMode::NonSecure)
    }),
    form("utils ctl update CTLFile", Takes::Nothing, "make the CTL anew", |_| Command::UpdateCtl),
    form("utils disaster_recovery", Takes::Text(" backup|status ..."), "backups", |rest| {
        Command::Backup(rest.into())
    }),
    form("utils itl reset localkey", Takes::Nothing, "sign the ITL with ITLRecovery", |_| {
        Command::ResetLocalKey(ResetList::Itl)
    }),
    form("utils service list", Takes::Nothing, "list services", |_| Command::Services),
    form("utils service restart", Takes::Service, "stop and start a service", |rest| {
        Command::Service(Change::Restart, rest.into())
    }),
    form("utils service start", Takes::Service, "start a service", |rest| {
        Command::Service(Change::Start, rest.into())
    }),
    form("utils service stop", Takes::Service, "stop a service", |rest| {
        Command::Service(Change::Stop, rest.into())
    }),
];

/// Reads a line; `None` for an empty one. Words are known in any case.
///
/// # Errors
/// In the words of the console.
pub fn parse(line: &str) -> Result<Option<Command>, Refusal> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => return Ok(None),
        // A question mark asks at the end of a line, too.
        [before @ .., "?"] => return Ok(Some(Command::Help(before.join(" ")))),
        _ => {}
    }
    let form = FORMS.iter().find(|form| begins(&words, form.words));
    let form = form.ok_or_else(|| Refusal::of("No valid command entered"))?;
    let rest = words[form.words.split(' ').count()..].join(" ");
    if !form.takes.fits(&rest) {
        return Err(Refusal::of(match rest.as_str() {
            "" => "Incorrect number of parameters entered",
            _ => "Incorrect parameters entered",
        }));
    }
    Ok(Some((form.read)(&rest)))
}

/// Whether a line begins with the words of a form.
fn begins(words: &[&str], form: &str) -> bool {
    let mut given = words.iter();
    form.split(' ').all(|word| given.next().is_some_and(|given| given.eq_ignore_ascii_case(word)))
}

/// The forms that begin with these words, a line each.
pub(super) fn help(about: &str) -> Result<String, Refusal> {
    let about = about.to_ascii_lowercase();
    let of = |form: &&Form| form.words.to_ascii_lowercase().starts_with(&about);
    let line = |form: &Form| {
        format!("{:<48}{}\n", format!("{}{}", form.words, form.takes.placeholder()), form.does)
    };
    let text: String = FORMS.iter().filter(of).map(line).collect();
    if text.is_empty() { Err(Refusal::of("No valid command entered")) } else { Ok(text) }
}

/// What may stand behind the last blank of a line that is not finished, whole words in order.
pub fn complete(line: &str) -> Vec<String> {
    let start = line.rfind(' ').map_or(0, |at| at + 1);
    let (before, begun) = line.split_at(start);
    let words: Vec<&str> = before.split_whitespace().collect();
    let mut found: Vec<String> = Vec::new();
    for form in FORMS {
        let own: Vec<&str> = form.words.split(' ').collect();
        let same = own.iter().zip(&words).all(|(own, given)| own.eq_ignore_ascii_case(given));
        let next: Vec<String> = match (same, own.get(words.len())) {
            (false, _) => Vec::new(),
            (true, Some(word)) => vec![(*word).to_owned()],
            (true, None) => argument(form.takes, &words[own.len()..]),
        };
        found.extend(next.into_iter().filter(|word| starts_with(word, begun)));
    }
    found.sort();
    found.dedup();
    found
}

/// What may follow the `given` words of an argument.
fn argument(takes: Takes, given: &[&str]) -> Vec<String> {
    let given = given.join(" ");
    let left = |name: &&str| match given.as_str() {
        "" => Some((*name).to_owned()),
        given => starts_with(name, given)
            .then(|| name.get(given.len()..)?.strip_prefix(' ').map(str::to_owned))
            .flatten(),
    };
    takes.candidates().iter().filter_map(left).collect()
}

fn starts_with(word: &str, begun: &str) -> bool {
    word.get(..begun.len()).is_some_and(|start| start.eq_ignore_ascii_case(begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_in_any_case_and_with_any_blanks() {
        for line in ["utils ctl update CTLfile", "UTILS  ctl\tupdate ctlFILE "] {
            assert_eq!(parse(line), Ok(Some(Command::UpdateCtl)), "{line}");
        }
        assert_eq!(parse("  "), Ok(None));
        let restart = Command::Service(Change::Restart, "Cisco Tftp".into());
        assert_eq!(parse("utils service restart Cisco Tftp"), Ok(Some(restart)));
    }

    #[test]
    fn what_is_no_command_is_refused_in_the_consoles_words() {
        let refused = |line: &str| parse(line).unwrap_err().text();
        let unknown = "Executed command unsuccessfully\nNo valid command entered\n";
        for line in ["show", "shoe itl", "utils service", "rm -rf /", "set cert"] {
            assert_eq!(refused(line), unknown, "{line}");
        }
        assert!(refused("set cert regen").ends_with("\nIncorrect number of parameters entered\n"));
        assert!(refused("show itl now").ends_with("\nIncorrect parameters entered\n"));
    }

    #[test]
    fn every_form_is_read_as_it_is_listed_and_completes() {
        for form in FORMS {
            let line = match form.takes {
                Takes::Nothing | Takes::Text(_) => form.words.to_owned(),
                Takes::Unit | Takes::Store => format!("{} CAPF", form.words),
                Takes::StoreAndFile => format!("{} CAPF old.pem", form.words),
                Takes::Service => format!("{} Cisco Tftp", form.words),
                Takes::Word(_) => format!("{} name", form.words),
            };
            assert!(parse(&line).is_ok_and(|command| command.is_some()), "{line}");
            let (before, last) = form.words.rsplit_once(' ').unwrap_or(("", form.words));
            let begun = format!("{before} {}", &last[..last.len() - 1]);
            assert!(complete(begun.trim_start()).contains(&last.to_owned()), "{begun}");
        }
        assert_eq!(complete("set cert regen ca"), ["CAPF", "CallManager", "CallManager-ECDSA"]);
        let services = complete("utils service stop Cisco T");
        assert_eq!(services, ["Tftp", "Tomcat", "Trust Verification Service"]);
        assert_eq!(
            complete("set cert delete phone"),
            ["phone", "phone-ctl", "phone-sast", "phone-vpn"]
        );
        assert!(complete("set cert delete CAPF ").is_empty());
        assert_eq!(complete("show c"), ["capf", "cert", "csr", "ctl"]);
        assert!(complete("zz").is_empty());
    }
}
