use crate::cluster::operator::ctl::{ResetList, ResetLocalKey, UpdateCtl};
use crate::cluster::{CTL_METHODS, CertificateKind, CtlMethod, Holders};

use super::super::error::Problem;
use super::super::names::one_of;
use super::super::plan::TimelineEntry;
use super::{Argument, Given, Reader, Step, Verb, Written};

pub(super) const VERBS: &[Verb] = &[UPDATE, RESET_ITL, RESET_CTL];

const RESET_ITL: Verb = Verb {
    key: "reset-itl-localkey",
    word: "reset-itl-localkey",
    takes: &[],
    read: |_, reader| reset_local_key(ResetList::Itl, reader),
    write: |entry, _| written(ResetList::Itl, entry),
};

const RESET_CTL: Verb = Verb {
    key: "reset-ctl-localkey",
    word: "reset-ctl-localkey",
    takes: &[],
    read: |_, reader| reset_local_key(ResetList::Ctl, reader),
    write: |entry, _| written(ResetList::Ctl, entry),
};

fn written(list: ResetList, entry: &TimelineEntry) -> Option<Written> {
    (*entry.action.get::<ResetLocalKey>()? == ResetLocalKey { list }).then(Vec::new)
}

/// The release must know the command, which only a cluster with such a list takes (CTL-17).
fn reset_local_key(list: ResetList, reader: &Reader<'_>) -> Result<Step, Problem> {
    let topology = reader.topology;
    if topology.release.holders(CertificateKind::ItlRecovery) == Holders::Nobody {
        let what = format!("release {} has no ITLRecovery key to sign with", topology.release);
        let help = "the command came with 10.x; before, lists are erased at the phones";
        return Err(Problem::new(reader.place.clone(), what).help(help));
    }
    if list == ResetList::Ctl && !reader.is_mixed {
        let what = "a cluster that is not in mixed mode has no CTL to sign";
        let help = "reset-itl-localkey is the command for it";
        return Err(Problem::new(reader.place.clone(), what).help(help));
    }
    Ok(ResetLocalKey { list }.into())
}

const UPDATE: Verb = Verb {
    key: "update-ctl",
    word: "update-ctl",
    takes: &[
        Argument::text("method").or_none(),
        Argument::text("token").or_none(),
        Argument::word("password-known").or_none(),
    ],
    read: update_ctl,
    write: |entry, _| {
        let UpdateCtl { method, token, is_password_known } = entry.action.get()?;
        let method = method.map(|method| ("method", method.name().into()));
        let token = token.as_ref().map(|token| ("token", token.as_str().into()));
        let password = (!is_password_known).then(|| ("password-known", false.into()));
        Some(method.into_iter().chain(token).chain(password).collect())
    },
};

fn update_ctl(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    if !reader.is_mixed {
        let problem = Problem::new(reader.place.clone(), "the cluster is not in mixed mode here");
        let help = "security-mode = \"mixed\" under [cluster], or set-parameter before this step";
        return Err(problem.help(help));
    }
    let etokens = &reader.topology.security.etokens;
    let method = given.text_if("method").map(|text| {
        let method = one_of(text, "method", &CTL_METHODS, CtlMethod::name)?;
        check_method(method, reader)
            .map_err(|(what, help)| Problem::new(text.span(), what).help(help))
    });
    let method = method.transpose()?;
    let token = given.text_if("token");
    let known = |name: &String| etokens.contains(name);
    if let Some(text) = token.filter(|text| !known(text.get_ref())) {
        let what = format!("token `{}` is none of the original set-up", text.get_ref());
        let help = match etokens.as_slice() {
            [] => "the CTL of this cluster has no tokens; leave `token` out".to_owned(),
            names => format!("the CTL client wants one that signed before: {}", names.join(", ")),
        };
        return Err(Problem::new(text.span(), what).help(help));
    }
    if let (Some(text), Some(CtlMethod::Tokenless)) = (token, method) {
        let problem = Problem::new(text.span(), "a CTL without tokens and a token");
        return Err(problem.help("leave `token` or `method` out"));
    }
    let token = token.map(|text| text.get_ref().clone());
    // Whoever takes a token in hand runs the CTL client.
    let method = method.or(token.as_ref().map(|_| CtlMethod::Etoken));
    let is_password_known = match given.text_if("password-known") {
        Some(text) => one_of(text, "value", &[true, false], truth)?,
        None => true,
    };
    Ok(UpdateCtl { method, token, is_password_known }.into())
}

const fn truth(is_true: bool) -> &'static str {
    if is_true { "true" } else { "false" }
}

/// Whether the cluster knows this method (CTL-04).
fn check_method(
    method: CtlMethod,
    reader: &Reader<'_>,
) -> Result<CtlMethod, (String, &'static str)> {
    let topology = reader.topology;
    match method {
        CtlMethod::Tokenless if !topology.release.signs_ctl(method) => {
            let what = format!("release {} signs its CTL with tokens only", topology.release);
            Err((what, "the command line came with 10.x"))
        }
        CtlMethod::Etoken if topology.security.etokens.is_empty() => {
            let what = "this cluster has no tokens".to_owned();
            Err((what, "name them: etokens = [\"SAST-ADN008580ef\", …] under [cluster]"))
        }
        known => Ok(known),
    }
}
