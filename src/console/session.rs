use crate::base::{NodeId, Span, printable};
use crate::cluster::operator::certificates::{ImportTrust, Regenerate, Upload};
use crate::cluster::operator::ctl::{ResetList, ResetLocalKey, UpdateCtl};
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::operator::recovery::BackUp;
use crate::cluster::operator::requests::{ImportOwn, RequestCertificate};
use crate::cluster::operator::services::{Change, Services};
use crate::cluster::{
    CertificateKind, Cluster, CtlMethod, Holders, OperatorAction, SecurityMode, ServiceKind,
    TrustStore,
};
use crate::crypto::{Certificate, KeyStore};
use crate::listing::{ListName, ShowOptions, show};

use super::capf;
use super::certificates::{self, unit};
use super::command::{Command, Refusal, Side, help, parse};
use super::logs;
use super::look::Look;
use super::services;
use super::texts;
use super::view::View;

/// The prompt of a console that waits for a command (CLI-01).
pub const PROMPT: &str = "admin:";

/// A session at the console of one node.
#[derive(Clone, Debug)]
pub struct Session {
    node: NodeId,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// A question is open.
    Asked(Pending),
    /// A certificate is being pasted.
    Pasting(Paste),
    Left,
}

/// What is done when its question is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    Regenerate(CertificateKind),
    UpdateCtl,
    SetMode(SecurityMode),
    ResetLocalKey(ResetList),
}

/// A certificate that is being pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Paste {
    place: Place,
    text: String,
}

/// Where a pasted certificate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own(CertificateKind),
    Trust(TrustStore),
}

/// Longest text that can be pasted, in bytes; certificates have some thousand.
const PASTE_MAX: usize = 65_536;

/// What the console says to a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What it prints, line ends included.
    pub text: String,
    /// What is to be done with the cluster.
    pub action: Option<OperatorAction>,
    /// Whether the line was none that the console takes.
    pub is_refused: bool,
}

/// A command as it was typed, with the answers to its questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// At which node.
    pub node: NodeId,
    /// The lines.
    pub lines: Vec<String>,
}

impl Typed {
    /// The session as it stands on a terminal: what was typed and what the console said.
    pub fn transcript(&self, view: &View<'_>) -> Transcript {
        let mut session = Session::new(self.node);
        let mut transcript = Transcript::default();
        for line in &self.lines {
            transcript.text += &session.prompt_and(line);
            let answer = session.line(line, view);
            transcript.text += &answer.text;
            if answer.is_refused {
                let why = answer.text.lines().last().unwrap_or_default();
                transcript.refused = Some(format!("`{}`: {why}", printable(line)));
            }
        }
        transcript
    }

    /// What is done where a command changes nothing.
    pub fn look(&self) -> Look {
        Look { node: self.node, line: self.lines.first().cloned().unwrap_or_default() }
    }
}

/// A session as it stands on a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What was typed and what the console said.
    pub text: String,
    /// The last line that the console has refused, and why.
    pub refused: Option<String>,
}

impl Session {
    /// A session at this node.
    pub const fn new(node: NodeId) -> Session {
        Session { node, state: State::Ready }
    }

    /// The node.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What stands before the next line; nothing when the session is over.
    pub const fn prompt(&self) -> &'static str {
        match &self.state {
            State::Ready => PROMPT,
            State::Asked(pending) => pending.question(),
            State::Pasting(_) | State::Left => "",
        }
    }

    /// The prompt with what is typed behind it, and the end of that line.
    pub fn prompt_and(&self, line: &str) -> String {
        let shown = if self.hides() { String::new() } else { printable(line) };
        format!("{}{shown}\n", self.prompt())
    }

    /// Whether the next line is a secret that is not shown.
    pub const fn hides(&self) -> bool {
        matches!(&self.state, State::Asked(Pending::ResetLocalKey(_)))
    }

    /// Whether the next line is a command and no answer.
    pub const fn is_ready(&self) -> bool {
        matches!(&self.state, State::Ready)
    }

    /// Whether somebody has left.
    pub const fn is_over(&self) -> bool {
        matches!(&self.state, State::Left)
    }

    /// Takes a line.
    pub fn line(&mut self, line: &str, view: &View<'_>) -> Answer {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Ready => refused_or(self.command(line, view)),
            State::Pasting(paste) => refused_or(self.paste(paste, line, view)),
            State::Asked(pending) if pending.is_accepted(line) => pending.done(self.node, view),
            State::Asked(_) => said(texts::ABORTED),
            State::Left => {
                self.state = State::Left;
                Answer::default()
            }
        }
    }

    fn command(&mut self, line: &str, view: &View<'_>) -> Result<Answer, Refusal> {
        let Some(command) = parse(line)? else { return Ok(Answer::default()) };
        Ok(match command {
            Command::Help(about) => said(help(&about)?),
            Command::Leave => {
                self.state = State::Left;
                Answer::default()
            }
            Command::List(list) => said(self.list(list, view)),
            Command::Certificates(side) => said(certificates::list(side, self.node, view)),
            Command::DaysLeft => said(certificates::days_left(self.node, view)),
            Command::Certificate(side, name) => {
                said(certificates::print(side, &name, self.node, view)?)
            }
            Command::Services => said(services::list(self.node, view)),
            Command::Service(change, name) => self.service(change, &name, view)?,
            Command::Regenerate(name) => {
                let kind = unit(&name, self.node, view)?;
                let resets = view.topology.auto_reset(kind).is_some()
                    && !view.topology.resets_silently(kind);
                let resets = if resets { texts::resets_phones(kind.name()) } else { String::new() };
                let warning = texts::before_regeneration(kind.name()) + &resets;
                self.ask(Pending::Regenerate(kind), warning)
            }
            Command::Request(name) => {
                let (certificate, node) =
                    (certificates::signed_unit(&name, self.node, view)?, self.node);
                Answer {
                    action: Some(RequestCertificate { certificate, node }.into()),
                    ..said(texts::requested(certificate.name()))
                }
            }
            Command::ShowRequest(name) => said(self.request(&name, view)?),
            Command::Delete(store, name) => {
                let (action, text) = certificates::delete(&store, &name, self.node, view)?;
                Answer { action: Some(action.into()), ..said(text) }
            }
            Command::Import(side, name) => {
                let place = match side {
                    Side::Own => Place::Own(certificates::signed_unit(&name, self.node, view)?),
                    Side::Trust => Place::Trust(certificates::store(&name)?),
                };
                self.state = State::Pasting(Paste { place, text: String::new() });
                said(texts::PASTE)
            }
            Command::UpdateCtl => {
                self.check_ctl(view)?;
                self.ask(Pending::UpdateCtl, "")
            }
            Command::SetMode(mode) => {
                self.check_mode(mode, view)?;
                self.ask(Pending::SetMode(mode), "")
            }
            Command::ResetLocalKey(list) => {
                self.check_local_key(list, view)?;
                self.ask(Pending::ResetLocalKey(list), "")
            }
            Command::SetOperation(rest) => self.set_operation(&rest, view)?,
            Command::CapfPhones => {
                self.check_publisher(view)?;
                said(capf::phones(view))
            }
            Command::CapfReport(rest) => {
                self.check_publisher(view)?;
                said(capf::report(&rest, view)?)
            }
            Command::Backup(rest) => self.back_up(&rest, view)?,
            Command::Sql(query) => sql(&query, view)?,
            Command::Log(verb, rest) => said(logs::answer(verb, &rest, self.node, view)?),
        })
    }

    fn ask(&mut self, pending: Pending, text: impl Into<String>) -> Answer {
        self.state = State::Asked(pending);
        said(text)
    }

    /// `set capf operation`: refused where CAPF cannot issue LSCs, or not for long (CAPF-07).
    fn set_operation(&self, rest: &str, view: &View<'_>) -> Result<Answer, Refusal> {
        self.check_publisher(view)?;
        let asked = capf::operation(rest, view)?;
        let trouble = view.cluster.and_then(|cluster| cluster.capf_trouble(view.now));
        if let Some(trouble) = trouble.filter(|_| asked.checks_capf) {
            return Err(refusal(&format!("{trouble}; check-capf=false sets it all the same")));
        }
        let text = capf::is_set(&asked, view)?;
        Ok(Answer { action: Some(asked.into()), ..said(text) })
    }

    /// `utils disaster_recovery backup|status`: DRF Master is on the publisher, and whatever device
    /// is named, the backup is the cluster's next one (BKP-01).
    fn back_up(&self, rest: &str, view: &View<'_>) -> Result<Answer, Refusal> {
        self.check_publisher(view)?;
        let verb = rest.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        match verb.as_str() {
            "backup" => Ok(Answer { action: Some(BackUp.into()), ..said(texts::BACKUP) }),
            "status" => {
                let last = view.cluster.and_then(Cluster::last_backup);
                Ok(said(last.map_or_else(|| texts::NO_BACKUP.to_owned(), texts::backed_up)))
            }
            _ => Err(refusal("drfCliMsg: backup and status are the commands that are played")),
        }
    }

    /// `show csr own`.
    fn request(&self, name: &str, view: &View<'_>) -> Result<String, Refusal> {
        let kind = certificates::signed_unit(name, self.node, view)?;
        let Some(cluster) = view.cluster else { return Ok(String::new()) };
        let request = cluster.certificate_request(self.node, kind);
        request.ok_or_else(|| refusal(&format!("There is no CSR for {}", kind.name())))
    }

    /// Takes a line of a certificate; its last line, or an empty one, ends it.
    fn paste(&mut self, mut paste: Paste, line: &str, view: &View<'_>) -> Result<Answer, Refusal> {
        let line = line.trim();
        if paste.text.is_empty() && !line.starts_with("-----BEGIN") {
            return Err(refusal("The certificate is not in PEM format"));
        }
        paste.text += line;
        paste.text.push('\n');
        if paste.text.len() > PASTE_MAX {
            return Err(refusal("The certificate is too large"));
        }
        if !line.is_empty() && !line.starts_with("-----END") {
            self.state = State::Pasting(paste);
            return Ok(Answer::default());
        }
        let pasted = KeyStore::from_pem(&paste.text)
            .and_then(|store| store.first_certificate().cloned())
            .map_err(|error| refusal(&format!("The certificate cannot be read: {error}")))?;
        match paste.place {
            Place::Own(certificate) => self.import_own(certificate, pasted, view),
            Place::Trust(store) => {
                let upload = Upload::Given(pasted);
                let action = Some(ImportTrust { node: self.node, store, upload }.into());
                Ok(Answer { action, ..said(texts::TRUST_IMPORTED) })
            }
        }
    }

    fn import_own(
        &self,
        certificate: CertificateKind,
        signed: Certificate,
        view: &View<'_>,
    ) -> Result<Answer, Refusal> {
        let node = self.node;
        if view.cluster.is_some_and(|own| !own.is_requested(node, certificate, &signed)) {
            return Err(refusal("The certificate does not match the CSR"));
        }
        let action = Some(ImportOwn { certificate, node, signed }.into());
        Ok(Answer { action, ..said(texts::imported(certificate.name())) })
    }

    /// `show itl` and `show ctl`: the files as they are on this node.
    fn list(&self, list: ListName, view: &View<'_>) -> String {
        let Some(cluster) = view.cluster else { return String::new() };
        let bytes = match list {
            ListName::Itl => cluster.tftp(self.node).map(|service| service.signed_list()),
            ListName::Ctl => cluster.ctl().map(|ctl| ctl.bytes().to_vec()),
        };
        if list == ListName::Itl && cluster.itl_is_stuck(self.node) {
            return "Error parsing the ITL file!!\n".to_owned();
        }
        let modified = bytes.as_deref().map(certificates::written_at).unwrap_or_default();
        let checksum = view.topology.lists_have_checksums();
        show(bytes.as_deref(), &ShowOptions { list, modified: &modified, checksum }).text
    }

    fn service(&self, change: Change, name: &str, view: &View<'_>) -> Result<Answer, Refusal> {
        let service = services::named(name)
            .ok_or_else(|| refusal(&format!("Invalid service name: {name}")))?;
        if !view.topology.is_active(self.node, service) {
            let name = services::cucm_name(service);
            return Err(refusal(&format!("{name}[STOPPED]  Service Not Activated")));
        }
        let action = Services { change, node: self.node, service: Some(service) };
        Ok(Answer {
            text: services::changed(change, service),
            action: Some(action.into()),
            is_refused: false,
        })
    }

    fn check_publisher(&self, view: &View<'_>) -> Result<(), Refusal> {
        if self.node == view.topology.cluster.node(0) {
            return Ok(());
        }
        Err(refusal("This command can be run on the publisher only"))
    }

    fn check_tokenless(&self, view: &View<'_>) -> Result<(), Refusal> {
        self.check_publisher(view)?;
        if view.topology.release.signs_ctl(CtlMethod::Tokenless) {
            return Ok(());
        }
        Err(refusal("No valid command entered"))
    }

    fn check_ctl(&self, view: &View<'_>) -> Result<(), Refusal> {
        self.check_tokenless(view)?;
        if view.is_mixed { Ok(()) } else { Err(refusal("Cluster is not in Mixed mode")) }
    }

    fn check_mode(&self, mode: SecurityMode, view: &View<'_>) -> Result<(), Refusal> {
        self.check_tokenless(view)?;
        match (mode, view.is_mixed) {
            (SecurityMode::Mixed, true) => Err(refusal("Cluster is already in Mixed mode")),
            (SecurityMode::NonSecure, false) => {
                Err(refusal("Cluster is already in Non secure mode"))
            }
            _ => Ok(()),
        }
    }

    /// The publisher alone has the command (CLI-10), from the release on that has the key.
    fn check_local_key(&self, list: ResetList, view: &View<'_>) -> Result<(), Refusal> {
        if view.topology.release.holders(CertificateKind::ItlRecovery) == Holders::Nobody {
            return Err(refusal("No valid command entered"));
        }
        self.check_publisher(view)?;
        if list == ResetList::Ctl && !view.is_mixed {
            return Err(refusal("Cluster is not in Mixed mode"));
        }
        Ok(())
    }
}

impl Pending {
    const fn question(&self) -> &'static str {
        match self {
            Pending::Regenerate(_) => texts::PROCEED,
            Pending::UpdateCtl => texts::UPDATE_CTL,
            Pending::SetMode(mode) => texts::set_mode(*mode),
            Pending::ResetLocalKey(_) => texts::PASSWORD,
        }
    }

    /// Whether this answer has it done (CLI-05). Our administrators have no passwords: any will do.
    fn is_accepted(&self, line: &str) -> bool {
        let answer = line.trim();
        match self {
            Pending::Regenerate(_) => answer.eq_ignore_ascii_case("yes"),
            Pending::UpdateCtl | Pending::SetMode(_) => {
                ["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes))
            }
            Pending::ResetLocalKey(_) => !answer.is_empty(),
        }
    }

    fn done(self, node: NodeId, view: &View<'_>) -> Answer {
        let (text, action): (String, OperatorAction) = match self {
            Pending::Regenerate(certificate) => (
                texts::regenerated(certificate.name(), view.topology.release),
                Regenerate { certificate, node }.into(),
            ),
            Pending::UpdateCtl => {
                let has_tokens = !view.topology.security.etokens.is_empty();
                let method = has_tokens.then_some(CtlMethod::Tokenless);
                (texts::ctl_updated(), UpdateCtl { method, ..UpdateCtl::AS_EVER }.into())
            }
            Pending::SetMode(mode) => {
                let parameter = Parameter::SecurityMode(mode);
                let action = SetParameter { parameter, spread: Span::ZERO };
                (texts::mode_set(mode), action.into())
            }
            Pending::ResetLocalKey(list) => (
                texts::local_key_reset(list, &active_tftp(view), view.topology),
                ResetLocalKey { list }.into(),
            ),
        };
        Answer { text, action: Some(action), is_refused: false }
    }
}

/// `run sql`: what a database refuses it says without our words before it, as on a real node.
fn sql(query: &str, view: &View<'_>) -> Result<Answer, Refusal> {
    if query.is_empty() {
        return Err(refusal("Incorrect number of parameters entered"));
    }
    let Some(cluster) = view.cluster else { return Ok(Answer::default()) };
    let database = view.sql.ok_or_else(|| refusal("No database answers SQL on this node"))?;
    Ok(match database.answer(cluster, query) {
        Ok(rows) => said(rows),
        Err(why) => Answer { is_refused: true, ..said(format!("{why}\n")) },
    })
}

/// The nodes whose TFTP runs.
fn active_tftp(view: &View<'_>) -> Vec<NodeId> {
    let runs = |&node: &NodeId| view.cluster.is_none_or(|cluster| cluster.tftp(node).is_some());
    view.topology.nodes_with(ServiceKind::Tftp).filter(runs).collect()
}

fn refused_or(answer: Result<Answer, Refusal>) -> Answer {
    answer.unwrap_or_else(|refusal| Answer { is_refused: true, ..said(refusal.text()) })
}

fn said(text: impl Into<String>) -> Answer {
    Answer { text: text.into(), ..Answer::default() }
}

fn refusal(what: &str) -> Refusal {
    Refusal(what.to_owned())
}
