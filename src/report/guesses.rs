use crate::base::lines::paragraph;
use crate::base::words::{count, seconds};
use crate::measure::{GuessSummary, Summary, TriedValue};

/// The guesses that a result rests on, and what becomes of it with other values.
pub(super) fn guess_table(summary: &Summary, guesses: &[GuessSummary]) -> String {
    let mut out = String::new();
    for (at, guess) in guesses.iter().enumerate() {
        let mut text = format!("{} = {} ({})", guess.key, guess.value, guess.source);
        for (word, tried) in [("halved", &guess.halved), ("doubled", &guess.doubled)] {
            if let Some(tried) = tried {
                text += &format!("; {word} to {}: {}", tried.value, moved(summary, tried));
            }
        }
        paragraph(&mut out, if at == 0 { "guesses" } else { "" }, &text);
    }
    if out.is_empty() { out } else { format!("\n{out}") }
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
    use crate::measure::{Finish, Ledger, RunFacts, Slice};

    #[test]
    fn a_guess_says_by_how_much_the_result_moves() {
        let mut summary =
            Summary::new(&Ledger::new(Slice::whole(0)), RunFacts::default(), &[], Finish::Complete);
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
        assert_eq!(named, "\nguesses       phone.think = 10s (guess)\n");
        let lines = [
            guess(tried(Some(150.0), 3, 0), tried(Some(150.25), 3, 7)),
            guess(tried(Some(148.0), 2_000, 0), tried(None, 3, 0)),
            guess(None, None),
        ];
        let table = guess_table(&summary, &lines);
        let words = table.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "halved to 5s: the same",
            "doubled to 5s: 99 % 250 ms later, 7 failed",
            "halved to 5s: 99 % 2.00 s earlier, 2 000 stuck",
            "doubled to 5s: 99 % never",
            "phone.think = 10s (guess)",
        ] {
            assert!(words.contains(part), "{part} in\n{table}");
        }
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}
