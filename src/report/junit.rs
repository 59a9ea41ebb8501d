use crate::measure::Summary;
use crate::scenario::SloVerdict;

/// `junit.xml`: each SLO is a test case. One that could not be judged is an error.
pub fn junit(summary: &Summary) -> String {
    let of = |wanted: &[SloVerdict]| {
        summary.slos.iter().filter(|slo| wanted.contains(&slo.verdict)).count()
    };
    let unjudged = [SloVerdict::NoData, SloVerdict::Inconclusive];
    let name = escaped(&summary.scenario);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{name}\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\">\n",
        summary.slos.len(),
        of(&[SloVerdict::Fail]),
        of(&unjudged)
    );
    for slo in &summary.slos {
        let expr = escaped(&slo.expr);
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
        let told = format!("observed {}, bound {}", number(slo.observed), number(slo.bound));
        let inner = match slo.verdict {
            SloVerdict::Pass => String::new(),
            SloVerdict::Fail => format!("<failure message=\"{told}\"/>"),
            SloVerdict::NoData | SloVerdict::Inconclusive => {
                format!("<error message=\"{}: {told}\"/>", slo.verdict.name())
            }
        };
        out += &format!("  <testcase classname=\"{name}\" name=\"{expr}\">{inner}</testcase>\n");
    }
    out + "</testsuite>\n"
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SloResult;

    #[test]
    fn every_slo_is_a_case_and_only_a_pass_is_silent() {
        let slo = |expr: &str, verdict, observed| SloResult {
            expr: expr.into(),
            verdict,
            observed,
            bound: Some(1.0),
        };
        let summary = Summary {
            scenario: "s".into(),
            slos: vec![
                slo("phones.stuck == 0", SloVerdict::Pass, Some(0.0)),
                slo("boot_time.p99 <= 5s", SloVerdict::Fail, Some(9.5)),
                slo("a < b", SloVerdict::NoData, None),
            ],
            ..Summary::default()
        };
        let text = junit(&summary);
        assert!(text.contains("tests=\"3\" failures=\"1\" errors=\"1\""), "{text}");
        assert!(text.contains("name=\"boot_time.p99 &lt;= 5s\"><failure message=\"observed 9.5"));
        assert!(text.contains("<error message=\"no-data: observed -, bound 1\"/>"), "{text}");
        quick_xml::Reader::from_str(&text).read_event().unwrap();
    }
}
