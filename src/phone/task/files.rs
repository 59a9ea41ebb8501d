use std::sync::Arc;

use crate::base::{Span, Time};
use crate::crypto::{
    DEVICES, FileIdentity, KeySpec, certificate_hash, device, device_of, hash_text, pooled_rsa,
};
use crate::phone::contract::{Fact, Failure};
use crate::phone::errand::{Answer, Ask, ErrandFault, FileRequest};
use crate::phone::families::{holds_lists, knows_digest};
use crate::phone::file_kind::FileKind;
use crate::phone::held::{ConfigTaken, StoredConfig};
use crate::phone::judge::{AcceptPath, Judgement, Refusal, judge};
use crate::phone::lists::{PROVISIONING_ROLES, TrustState};
use crate::phone::step::Step;
use crate::phone::transport::Transport;
use crate::phone::vouched::VouchedSigner;
use crate::transfer::TransferFault;
use crate::wire::SignedFile;

use super::context::{Context, Event, Turn};
use super::lookup::{Look, Lookup, Subject, forget_old, parsed, remember};

/// Fetching, judging and installing lists and configuration.
#[derive(Debug)]
pub(in crate::phone) enum FilesTask {
    /// Waits for a timer before it asks for the file of this step.
    Pause(Step),
    /// Waits for the file of a step.
    Fetch(Fetch),
    /// Asks TVS about the signer of the file of a step.
    Look(Step, Box<Lookup>),
}

/// A file that is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::phone) struct Fetch {
    step: Step,
    via: Transport,
    /// Since when the phone wants it.
    since: Time,
    /// Why the server before this one brought nothing, until this one is known to be in the list.
    failed_over: Option<TransferFault>,
}

/// What a file that was accepted is.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// It is in force.
    InForce,
    /// It says that the configuration is encrypted.
    Stub,
}

type Next = Turn<FilesTask>;

impl FilesTask {
    /// Begins with the CTL when the phone has booted for so long; with the configuration if it is
    /// of a model that holds no lists.
    pub(in crate::phone) fn begin(cx: &mut Context<'_>, boot_time: Span) -> Next {
        let first = if holds_lists(cx.model) { Step::Ctl } else { cx.held.config_step() };
        pause(cx, boot_time, first)
    }

    /// Advances by one event.
    pub(in crate::phone) fn on(self, cx: &mut Context<'_>, event: Event<'_>) -> Next {
        match (self, event) {
            (FilesTask::Pause(step), Event::Timer) => fetch(cx, step),
            (FilesTask::Fetch(fetch), Event::Answered(answer)) => on_fetched(cx, fetch, answer),
            (FilesTask::Look(step, lookup), event) => {
                let look = lookup.on(cx, event);
                on_look(cx, step, look)
            }
            (task, _) => Turn::Unexpected(task),
        }
    }
}

/// Goes to `step` after a pause, or at once if there is none.
fn pause(cx: &mut Context<'_>, length: Span, step: Step) -> Next {
    if length.is_zero() {
        return fetch(cx, step);
    }
    cx.wake_after(length);
    Turn::Wait(FilesTask::Pause(step))
}

fn fetch(cx: &mut Context<'_>, step: Step) -> Next {
    let via = match first_transport(cx, step) {
        Transport::Http | Transport::Https if cx.boot.without_http => Transport::Tftp,
        first => first,
    };
    ask_for(cx, Fetch { step, via, since: cx.now, failed_over: None })
}

/// How a server is asked first that is not known to be out of reach.
fn first_transport(cx: &Context<'_>, step: Step) -> Transport {
    match cx.env.profile.transport.first(cx.model) {
        Transport::Http if step.kind() == FileKind::Config && cx.held.lists.offers_https() => {
            Transport::Https
        }
        first => first,
    }
}

fn ask_for(cx: &mut Context<'_>, fetch: Fetch) -> Next {
    let Fetch { step, via, since, .. } = fetch;
    let lists = &cx.held.lists;
    let trust = (via == Transport::Https).then(|| cx.trust(PROVISIONING_ROLES));
    let file = step.file_name(cx.name(), lists.any()).into();
    let server = cx.boot.server;
    cx.ask(since, Ask::File(FileRequest { step, file, via, server, trust }));
    Turn::Wait(FilesTask::Fetch(fetch))
}

fn on_fetched(
    cx: &mut Context<'_>,
    mut fetch: Fetch,
    answer: Result<Answer<'_>, ErrandFault>,
) -> Next {
    let step = fetch.step;
    if let Err(ErrandFault::NoServer) = answer {
        let Some(fault) = fetch.failed_over else {
            return Turn::Unexpected(FilesTask::Fetch(fetch));
        };
        return give_file_up(cx, step, fault);
    }
    if fetch.failed_over.take().is_some() {
        // What was found out about HTTP belongs to the server before this one.
        cx.boot.without_http = false;
        cx.fact(Fact::TftpFailover);
    }
    match (answer, fetch.via) {
        (Ok(Answer::File(bytes)), via) => on_file(cx, step, via, bytes),
        (Ok(Answer::NoFile), _) => on_missing(cx, step),
        (Err(ErrandFault::Http(fault)), from @ (Transport::Http | Transport::Https)) => {
            // HTTP is never the last word on a file: TFTP is.
            cx.boot.without_http |= fault.is_lasting();
            cx.fact(Fact::TransportFellBack { from, fault });
            ask_for(cx, Fetch { via: Transport::Tftp, ..fetch })
        }
        (Err(ErrandFault::Tftp(fault)), Transport::Tftp) if fault.is_silence() => {
            fail_over(cx, fetch, fault)
        }
        (Err(ErrandFault::Tftp(fault)), Transport::Tftp) => {
            fail(cx, step, Failure::Transfer(fault));
            next_step(cx, step)
        }
        _ => Turn::Unexpected(FilesTask::Fetch(fetch)),
    }
}

/// A server was silent: the next one is asked for the same file, and for all that follow in this
/// boot (BOOT-20).
fn fail_over(cx: &mut Context<'_>, fetch: Fetch, fault: TransferFault) -> Next {
    let Some(next) = cx.boot.server.checked_add(1) else {
        return give_file_up(cx, fetch.step, fault);
    };
    cx.boot.server = next;
    let via = first_transport(cx, fetch.step);
    ask_for(cx, Fetch { via, failed_over: Some(fault), ..fetch })
}

/// The list is at its end: the next file is asked for at its beginning again (choice).
fn give_file_up(cx: &mut Context<'_>, step: Step, fault: TransferFault) -> Next {
    cx.boot.server = 0;
    fail(cx, step, Failure::Transfer(fault));
    next_step(cx, step)
}

fn on_missing(cx: &mut Context<'_>, step: Step) -> Next {
    let generic = match step {
        Step::Ctl if cx.env.profile.ctl_generic => Some(Step::CtlGeneric),
        Step::Itl => Some(Step::ItlGeneric),
        Step::Config => Some(Step::ConfigDefault),
        // It may not be encrypted any longer.
        Step::ConfigEncrypted if cx.boot.config == ConfigTaken::Nothing => Some(Step::Config),
        _ => None,
    };
    if let Some(generic) = generic {
        return pause(cx, cx.env.profile.think, generic);
    }
    if matches!(step, Step::ConfigDefault | Step::ConfigEncrypted) {
        cx.boot.fail(Failure::ConfigMissing);
    }
    next_step(cx, step)
}

/// The boot does not end ready, unless the phone goes on without the file of this step.
fn fail(cx: &mut Context<'_>, step: Step, failure: Failure) {
    if !step.kind().is_further() {
        cx.boot.fail(failure);
    }
}

fn on_file(cx: &mut Context<'_>, step: Step, via: Transport, bytes: &[u8]) -> Next {
    if bytes.is_empty() {
        // Phones are sometimes served a file of no bytes: it counts as no file.
        return on_missing(cx, step);
    }
    let kind = step.kind();
    let is_encrypted = step == Step::ConfigEncrypted;
    if let Some(path) = needs_no_signature(cx, kind, via, bytes).filter(|_| !is_encrypted) {
        let identity = FileIdentity::unsigned(bytes);
        let stored = install_content(cx, kind, bytes, identity, path);
        return finish_file(cx, step, stored);
    }
    let Ok(file) = cx.env.shared.signed(bytes) else {
        return finish_file(cx, step, Err(Refusal::Malformed));
    };
    // Who holds no list, or a blank one, checks nothing.
    let checks = !matches!(cx.held.lists.state(), TrustState::A | TrustState::ABlank);
    if checks && !knows_digest(cx.model, file.header.digest) {
        return finish_file(cx, step, Err(Refusal::UnsupportedDigest));
    }
    let date_s = cx.env.date_s(cx.now);
    let verdict = match judge(&cx.held.lists, kind, &file, &cx.env.verifier, date_s) {
        Judgement::Accept(path) => install_file(cx, step, &file, path),
        Judgement::Refuse(refusal) => {
            // State B asks nobody; without a TVS record in its list there is nobody to ask.
            let is_alone = refusal == Refusal::UnknownSigner && !cx.held.lists.holds_any_tvs();
            if is_alone && !kind.is_further() {
                cx.boot.stick();
            }
            Err(refusal)
        }
        Judgement::AskTvs => return ask_cache(cx, step, &file),
    };
    finish_file(cx, step, verdict)
}

/// Why a configuration is taken without a signature, if it is: state A asks for the unsigned
/// name, and over HTTPS the lists vouch for the server (`spec/signed-file.md`, names).
fn needs_no_signature(
    cx: &Context<'_>,
    kind: FileKind,
    via: Transport,
    bytes: &[u8],
) -> Option<AcceptPath> {
    match (kind, via) {
        _ if !kind.is_list() && !cx.held.lists.any() => Some(AcceptPath::First),
        (FileKind::Config, Transport::Https) if !SignedFile::is_signed(bytes) => {
            Some(AcceptPath::Https)
        }
        _ => None,
    }
}

/// Steps 5 and 6 of the procedure: the TVS cache, then the servers of the stored configuration in
/// their order.
fn ask_cache(cx: &mut Context<'_>, step: Step, file: &SignedFile<'_>) -> Next {
    let kind = step.kind();
    forget_old(cx);
    let fitting = |known: &&VouchedSigner| known.signer.is(file) && known.signer.fits(kind);
    let vouched = cx.held.vouched.iter().find(fitting).map(|known| Arc::clone(&known.signer));
    if let Some(signer) = vouched {
        cx.fact(Fact::TvsCacheHit);
        let verdict = cx
            .env
            .verifier
            .verify(file, signer.public_key())
            .map_err(Refusal::from)
            .and_then(|()| install_file(cx, step, file, AcceptPath::TvsCache));
        return finish_file(cx, step, verdict);
    }
    cx.fact(Fact::TvsCacheMiss);
    let subject = Subject::Signer(cx.env.shared.keep(file.bytes()));
    let look = Lookup::begin(cx, subject);
    on_look(cx, step, look)
}

fn on_look(cx: &mut Context<'_>, step: Step, look: Look) -> Next {
    let verdict = match look {
        Look::Wait(lookup) => return Turn::Wait(FilesTask::Look(step, lookup)),
        Look::Unexpected(lookup) => return Turn::Unexpected(FilesTask::Look(step, lookup)),
        Look::Known(Subject::Signer(file), signer) => {
            let file = parsed(cx, &file);
            use_signer(cx, step, &file, signer)
        }
        Look::Known(Subject::Server(_), _) | Look::Unknown => Err(Refusal::NotValid),
        Look::Unanswered { is_alone: true } => {
            if !step.kind().is_further() {
                cx.boot.stick();
            }
            Err(Refusal::UnknownSigner)
        }
        Look::Unanswered { is_alone: false } => {
            fail(cx, step, Failure::TvsUnreachable);
            Err(Refusal::UnknownSigner)
        }
    };
    finish_file(cx, step, verdict)
}

/// TVS vouched for a signer: caches it, checks role and signature, installs the file.
fn use_signer(
    cx: &mut Context<'_>,
    step: Step,
    file: &SignedFile<'_>,
    signer: VouchedSigner,
) -> Result<Taken, Refusal> {
    let kind = step.kind();
    if signer.signer.is_over(cx.env.date_s(cx.now)) {
        return Err(Refusal::Expired);
    }
    let certificate = Arc::clone(&signer.signer);
    remember(cx, signer);
    if !certificate.fits(kind) {
        return Err(Refusal::WrongRole);
    }
    cx.env.verifier.verify(file, certificate.public_key())?;
    install_file(cx, step, file, AcceptPath::Tvs)
}

fn install_file(
    cx: &mut Context<'_>,
    step: Step,
    file: &SignedFile<'_>,
    path: AcceptPath,
) -> Result<Taken, Refusal> {
    let kind = step.kind();
    if step == Step::ConfigEncrypted {
        let mut keys = own_keys(cx);
        let opened = keys.find_map(|number| cx.env.verifier.open(file, number));
        let opened = opened.ok_or(Refusal::Unreadable)?;
        return install_content(cx, kind, &opened, cx.env.shared.identity(file), path);
    }
    if !kind.is_list() {
        return install_content(cx, kind, file.body, cx.env.shared.identity(file), path);
    }
    let list = cx.env.shared.list(file).map_err(|_| Refusal::Malformed)?;
    if kind == FileKind::Ctl {
        cx.held.lists.ctl = Some(list);
    } else {
        cx.held.lists.itl = Some(list);
    }
    cx.fact(Fact::FileAccepted { kind, path });
    Ok(Taken::InForce)
}

/// The keys that a phone has to open its configuration with: that of its LSC, if it is an RSA key, and
/// that of its MIC. Numbers of the pool stand behind those of device certificates.
fn own_keys(cx: &Context<'_>) -> impl Iterator<Item = usize> + use<> {
    let lsc = cx.held.lsc().filter(|lsc| lsc.spec == KeySpec::Rsa(2_048));
    let lsc = lsc.map(|lsc| DEVICES + usize::from(lsc.number));
    lsc.into_iter().chain([device_of(cx.id)])
}

/// Whether a stub is for a certificate or key of the phone.
fn is_own(cx: &Context<'_>, hash: &str) -> bool {
    let of_lsc = cx.held.lsc().is_some_and(|lsc| {
        let of_key = lsc.spec == KeySpec::Rsa(2_048)
            && hash_text(pooled_rsa(usize::from(lsc.number)).public_key()) == hash;
        of_key || hash_text(lsc.certificate.der()) == hash
    });
    of_lsc || certificate_hash(device(device_of(cx.id))) == hash
}

/// Puts a file that is no list in force, unless it is a stub.
fn install_content(
    cx: &mut Context<'_>,
    kind: FileKind,
    content: &[u8],
    identity: FileIdentity,
    path: AcceptPath,
) -> Result<Taken, Refusal> {
    if kind == FileKind::Config {
        let content = cx.env.shared.config(content).map_err(|_| Refusal::Malformed)?;
        if content.is_stub {
            let is_for_us =
                is_own(cx, &content.cert_hash) && cx.boot.config == ConfigTaken::Nothing;
            return if is_for_us { Ok(Taken::Stub) } else { Err(Refusal::Unreadable) };
        }
        let before = cx.held.config.replace(StoredConfig { content, identity });
        cx.boot.config = ConfigTaken::InForce;
        cx.fact(Fact::FileAccepted { kind, path });
        let load = cx.held.config.as_ref().map(|config| &config.content.load);
        if before.is_some_and(|before| Some(&before.content.load) != load) {
            cx.fact(Fact::LoadTaken);
        }
        return Ok(Taken::InForce);
    }
    cx.held.install_further(kind, identity);
    cx.fact(Fact::FileAccepted { kind, path });
    Ok(Taken::InForce)
}

fn finish_file(cx: &mut Context<'_>, step: Step, verdict: Result<Taken, Refusal>) -> Next {
    match verdict {
        Ok(Taken::InForce) => {}
        Ok(Taken::Stub) => {
            cx.boot.config = ConfigTaken::Stub;
            return pause(cx, cx.env.profile.think, Step::ConfigEncrypted);
        }
        Err(refusal) => {
            cx.fact(Fact::FileRefused { kind: step.kind(), refusal });
            fail(cx, step, Failure::File(refusal));
        }
    }
    next_step(cx, step)
}

fn next_step(cx: &mut Context<'_>, step: Step) -> Next {
    let next = match step.kind() {
        FileKind::Ctl => Some(Step::Itl),
        FileKind::Itl => Some(cx.held.config_step()),
        // The configuration in force, which may be the old one, names them.
        kind if cx.held.config.is_some() => further_file(cx, kind),
        _ => None,
    };
    match next {
        Some(next) => pause(cx, cx.env.profile.think, next),
        None => Turn::Done(()),
    }
}

/// The first of the files beside lists and configuration, or the one behind that of this kind.
fn further_file(cx: &Context<'_>, after: FileKind) -> Option<Step> {
    let kinds = &cx.env.profile.further_files;
    let begin = kinds.iter().position(|&kind| kind == after).map_or(0, |at| at + 1);
    match kinds.get(begin)? {
        FileKind::Locale => Some(Step::Locale),
        FileKind::RingList => Some(Step::RingList),
        FileKind::Ctl | FileKind::Itl | FileKind::Config => None,
    }
}
