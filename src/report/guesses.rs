use crate::measure::{GuessSummary, Summary, TriedValue};

use super::text::{aligned_left, count, seconds};

/// A table of the guesses that a result rests on, and of what becomes of it with other values.
pub(super) fn guess_table(summary: &Summary, guesses: &[GuessSummary]) -> String {
    if guesses.is_empty() {
        return String::new();
    }
    let is_tried = guesses.iter().any(|guess| guess.halved.is_some() || guess.doubled.is_some());
    let tried = |value: &Option<TriedValue>| match value {
        Some(tried) => format!("{}: {}", tried.value, moved(summary, tried)),
        None => "-".to_owned(),
    };
    let mut head = vec!["guess", "value"];
    head.extend(if is_tried { &["halved", "doubled"][..] } else { &[] });
    head.push("source");
    let mut table = vec![head.into_iter().map(str::to_owned).collect()];
    for guess in guesses {
        let mut line = vec![guess.key.clone(), guess.value.clone()];
        if is_tried {
            line.extend([tried(&guess.halved), tried(&guess.doubled)]);
        }
        line.push(guess.source.clone());
        table.push(line);
    }
    format!("\n{}", aligned_left(&table))
}

/// How a result differs from that of the run itself.
fn moved(summary: &Summary, tried: &TriedValue) -> String {
    let (phones, ready) = (&summary.phones, summary.fleet_ready_s.p99);
    let mut parts = Vec::new();
    match (tried.fleet_ready_p99_s, ready) {
        (Some(now), Some(before)) if now > before => {
            parts.push(format!("99 % {} later", seconds(Some(now - before))));
        }
        (Some(now), Some(before)) if now < before => {
            parts.push(format!("99 % {} earlier", seconds(Some(before - now))));
        }
        (Some(now), None) => parts.push(format!("99 % after {}", seconds(Some(now)))),
        (None, Some(_)) => parts.push("99 % never".to_owned()),
        _ => {}
    }
    for (count_now, before, word) in
        [(tried.stuck, phones.stuck, "stuck"), (tried.failed, phones.failed, "failed")]
    {
        if count_now != before {
            parts.push(format!("{} {word}", count(count_now)));
        }
    }
    if parts.is_empty() { "the same".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Finish, Recorder, RunFacts};

    #[test]
    fn a_guess_says_by_how_much_the_result_moves() {
        let mut summary =
            Summary::new(&Recorder::new(0), RunFacts::default(), &[], Finish::Complete);
        summary.fleet_ready_s.p99 = Some(150.0);
        summary.phones.stuck = 3;
        let tried = |fleet_ready_p99_s, stuck, failed| {
            Some(TriedValue { value: "5s".into(), fleet_ready_p99_s, stuck, failed })
        };
        let guess = |halved, doubled| GuessSummary {
            key: "phone.think".into(),
            value: "10s".into(),
            source: "guess".into(),
            halved,
            doubled,
        };
        assert_eq!(guess_table(&summary, &[]), "");
        let named = guess_table(&summary, &[guess(None, None)]);
        assert_eq!(named, "\nguess        value  source\nphone.think  10s    guess\n");
        let lines = [
            guess(tried(Some(150.0), 3, 0), tried(Some(150.25), 3, 7)),
            guess(tried(Some(148.0), 2_000, 0), tried(None, 3, 0)),
            guess(None, None),
        ];
        let table = guess_table(&summary, &lines);
        for part in [
            "5s: the same",
            "5s: 99 % 250 ms later, 7 failed",
            "5s: 99 % 2.00 s earlier, 2 000 stuck",
            "5s: 99 % never",
            "phone.think  10s    -  ",
        ] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
    }
}
