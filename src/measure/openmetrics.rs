use std::collections::BTreeMap;
use std::fmt::Write;

/// The state of a run at one instant: Unix seconds, and its metrics as Prometheus text.
pub type Frame = (f64, String);

/// Metrics of a run in virtual time as `OpenMetrics` text with a time stamp on each sample, for
/// `promtool tsdb create-blocks-from openmetrics`. Frames come in the order of their time.
pub fn open_metrics(frames: &[Frame]) -> String {
    let mut families: Vec<Family> = Vec::new();
    for (at, text) in frames {
        read(&mut families, *at, text);
    }
    let mut out = String::new();
    for family in &families {
        // A counter's family has no `_total`, its samples do.
        let name = match family.kind.as_str() {
            "counter" => family.name.strip_suffix("_total").unwrap_or(&family.name),
            _ => &family.name,
        };
        writeln!(out, "# HELP {name} {}", family.help).expect("writing to a string cannot fail");
        writeln!(out, "# TYPE {name} {}", family.kind).expect("writing to a string cannot fail");
        family.metrics.values().for_each(|samples| out.push_str(samples));
    }
    out.push_str("# EOF\n");
    out
}

#[derive(Debug, Default)]
struct Family {
    name: String,
    help: String,
    kind: String,
    /// Samples by their labels without the bound of a bucket: those of one metric stand together.
    metrics: BTreeMap<String, String>,
}

fn read(families: &mut Vec<Family>, at: f64, text: &str) {
    let mut here = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            let known = families.iter().position(|family| family.name == name);
            here = Some(known.unwrap_or_else(|| {
                let (name, help) = (name.to_owned(), help.to_owned());
                families.push(Family { name, help, ..Family::default() });
                families.len() - 1
            }));
            continue;
        }
        let Some(family) = here.map(|at: usize| &mut families[at]) else { continue };
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            rest.rsplit(' ').next().unwrap_or("unknown").clone_into(&mut family.kind);
        } else if let Some((sample, value)) = line.rsplit_once(' ') {
            let samples = family.metrics.entry(metric_of(sample)).or_default();
            writeln!(samples, "{sample} {value} {at:.3}").expect("writing to a string cannot fail");
        }
    }
}

/// The labels of a sample without `le`.
fn metric_of(sample: &str) -> String {
    let labels = sample.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
    labels.split(',').filter(|label| !label.starts_with("le=")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_metric_stand_together_with_their_times() {
        let frame = |count: u32| {
            format!(
                "# HELP boots_total Boots.\n# TYPE boots_total counter\nboots_total {count}\n\
                 # HELP time_seconds Time.\n# TYPE time_seconds histogram\n\
                 time_seconds_bucket{{step=\"a\",le=\"1\"}} {count}\n\
                 time_seconds_bucket{{step=\"b\",le=\"1\"}} 0\n"
            )
        };
        let text = open_metrics(&[(1.0, frame(3)), (2.5, frame(9))]);
        let expected = "# HELP boots Boots.\n# TYPE boots counter\n\
            boots_total 3 1.000\nboots_total 9 2.500\n\
            # HELP time_seconds Time.\n# TYPE time_seconds histogram\n\
            time_seconds_bucket{step=\"a\",le=\"1\"} 3 1.000\n\
            time_seconds_bucket{step=\"a\",le=\"1\"} 9 2.500\n\
            time_seconds_bucket{step=\"b\",le=\"1\"} 0 1.000\n\
            time_seconds_bucket{step=\"b\",le=\"1\"} 0 2.500\n# EOF\n";
        assert_eq!(text, expected);
    }
}
