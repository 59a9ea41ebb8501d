use crate::cluster::operator::ctl::UpdateCtl;
use crate::cluster::{CTL_METHODS, CtlMethod};

use super::super::error::Problem;
use super::super::names::one_of;
use super::{Argument, Given, Reader, Step, Verb};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "update-ctl",
    word: "update-ctl",
    takes: &[Argument::text("method").or_none(), Argument::text("token").or_none()],
    read: update_ctl,
    write: |entry, _| {
        let UpdateCtl { method, token } = entry.action.get()?;
        let method = method.map(|method| ("method", method.name().into()));
        let token = token.as_ref().map(|token| ("token", token.as_str().into()));
        Some(method.into_iter().chain(token).collect())
    },
}];

fn update_ctl(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
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
    Ok(UpdateCtl { method, token }.into())
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
