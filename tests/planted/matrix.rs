//! Many searches beside each other: they mostly wait, and the machine has room for several.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{Behaviour, Limit, Planted};

/// Servers that are alike, and what ten searches of them say.
#[derive(Clone, Copy)]
pub struct Row {
    pub protocol: &'static str,
    pub kind: &'static str,
    pub per_s: f64,
    make: fn(Behaviour) -> Planted,
    limit: Limit,
    /// Cores that one search with its server takes at the knee.
    cores: f64,
}

/// What one search said.
#[derive(Clone)]
pub struct Answer {
    pub knee: Option<f64>,
    pub low: f64,
    pub high: f64,
    /// It said that the generator was disturbed or bound.
    pub is_disturbed: bool,
    pub took: Duration,
    /// All that it said.
    pub text: String,
}

/// Searches of each row.
pub const SEARCHES: usize = 10;
/// Cores that all searches of a moment may take: a shared machine has other work, too.
const CORES: f64 = 1.2;

impl Row {
    /// All rates, protocols and kinds of limit, the most expensive first.
    pub fn all() -> Vec<Row> {
        type Make = fn(Behaviour) -> Planted;
        // A lookup is a TLS handshake with a signature.
        let protocols: [(&str, Make, f64); 3] = [
            ("TVS", Planted::tvs, 0.001),
            ("HTTP", Planted::http, 0.000_3),
            ("TFTP", Planted::tftp, 0.000_2),
        ];
        let mut rows = Vec::new();
        for per_s in [400.0, 137.0, 70.0, 40.0, 20.0, 5.0] {
            let service = Duration::from_secs_f64(1.0 / per_s);
            let worker = ("worker", Limit::Workers { count: 1, service });
            for (kind, limit) in [worker, ("rate", Limit::Rate { per_s })] {
                rows.extend(protocols.map(|(protocol, make, core_s)| {
                    let cores = 0.005 + core_s * per_s;
                    Row { protocol, kind, per_s, make, limit, cores }
                }));
            }
        }
        rows.sort_by(|a, b| b.cores.total_cmp(&a.cores));
        rows
    }

    /// The row in words.
    pub fn name(&self) -> String {
        format!("{} {} {}/s", self.protocol, self.kind, self.per_s)
    }

    fn is_near(&self, answer: &Answer) -> bool {
        answer.knee.is_some_and(|knee| (knee / self.per_s - 1.0).abs() <= 0.03)
    }

    fn is_held(&self, answer: &Answer) -> bool {
        (answer.low..=answer.high).contains(&self.per_s)
    }

    /// How many knees are near and how many intervals hold the limit.
    pub fn right(&self, answers: &[Answer]) -> (usize, usize) {
        let near = answers.iter().filter(|answer| self.is_near(answer)).count();
        (near, answers.iter().filter(|answer| self.is_held(answer)).count())
    }

    /// The row of the report, with every answer that is wrong.
    pub fn report(&self, answers: &[Answer]) -> String {
        let (near, held) = self.right(answers);
        let mut took: Vec<_> = answers.iter().map(|answer| answer.took.as_secs()).collect();
        took.sort_unstable();
        let disturbed = answers.iter().filter(|answer| answer.is_disturbed).count();
        let wrong = answers.iter().filter(|answer| !self.is_near(answer) || !self.is_held(answer));
        let wrong: Vec<_> = wrong.map(|answer| &*answer.text).collect();
        let [shortest, longest] = [took.first(), took.last()].map(|took| *took.unwrap_or(&0));
        format!(
            "{}: {near} knees and {held} intervals of {}, {shortest} to {longest} s each, \
             {disturbed} disturbed\n{}",
            self.name(),
            answers.len(),
            wrong.join("\n")
        )
    }
}

/// Searches every row of `rows` ten times and tells each row's answers when it has all.
pub fn search(
    rows: &[Row],
    one: impl Fn(&Planted, usize) -> Answer + Sync,
    tell: impl Fn(&Row, &[Answer]) + Sync,
) {
    let jobs = (0..rows.len() * SEARCHES).map(|at| (at / SEARCHES, at % SEARCHES));
    let (waiting, changed) = (Mutex::new((jobs.collect::<Vec<_>>(), CORES)), Condvar::new());
    let answers = Mutex::new(vec![Vec::new(); rows.len()]);
    // The first one in the list for which there is room; alone each fits.
    let next = || {
        let mut state = waiting.lock().unwrap();
        loop {
            let (jobs, room) = &mut *state;
            if jobs.is_empty() {
                return None;
            }
            let fits = |&(row, _): &(usize, usize)| rows[row].cores.min(CORES) <= *room + 1e-9;
            if let Some(at) = jobs.iter().position(fits) {
                let job = jobs.remove(at);
                *room -= rows[job.0].cores.min(CORES);
                return Some(job);
            }
            state = changed.wait(state).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..(rows.len() * SEARCHES).min(100) {
            scope.spawn(|| {
                while let Some((row, number)) = next() {
                    let server = (rows[row].make)(Behaviour::limited(rows[row].limit));
                    let begun = Instant::now();
                    let mut answer = one(&server, number);
                    answer.took = begun.elapsed();
                    waiting.lock().unwrap().1 += rows[row].cores.min(CORES);
                    changed.notify_all();
                    let mut all = answers.lock().unwrap();
                    all[row].push(answer);
                    if all[row].len() == SEARCHES {
                        tell(&rows[row], &all[row]);
                    }
                }
            });
        }
    });
}
