use serde_json::{Value, json};

use crate::base::lines::paragraph;

use super::table::TableRow;

/// Whether the ITL of a phone is to be deleted: the four conditions, all of which are required
/// (TOOL-01), and what else helps if one is not there (TOOL-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    phone: String,
    result: String,
    conditions: [Condition; 4],
    /// Whether a script that pushes keys could erase its lists (TOOL-09).
    scriptable: Option<bool>,
}

/// One of the four conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    key: &'static str,
    what: &'static str,
    /// `None`: the run does not know it.
    holds: Option<bool>,
    /// The evidence.
    seen: String,
    /// What helps if it does not hold.
    instead: &'static str,
}

impl Diagnosis {
    /// The diagnosis of a phone by its row of `phones.csv` and the summary of its run.
    pub fn of(row: TableRow<'_>, summary: &Value) -> Diagnosis {
        let yes = |column: &str| match row.text(column) {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        let failed = [yes("shows_list_failed"), yes("shows_failed")];
        let seen = failed.into_iter().flatten().any(|yes| yes);
        let shows = match failed {
            [Some(true), Some(true)] => "Trust List Verification Failed, Verification Failed",
            [Some(true), _] => "Trust List Verification Failed",
            [_, Some(true)] => "Verification Failed",
            _ => "neither",
        };
        let tftp = row.text("tftp");
        let conditions = [
            Condition {
                key: "itl_differs",
                what: "its ITL is another one than TFTP serves",
                holds: yes("itl_differs"),
                seen: lists(row, summary, tftp),
                instead: "it holds the list that is served: its list is not the problem",
            },
            Condition {
                key: "tvs_differs",
                what: "no TVS presents a certificate of its list",
                holds: yes("tvs_differs"),
                seen: match yes("tvs_differs") {
                    None => presented(summary),
                    Some(_) => {
                        format!(
                            "list: {}; {}",
                            listed(summary, row.text("itl")),
                            presented(summary)
                        )
                    }
                },
                instead: "it trusts a TVS server that runs: reset it, and it asks that one",
            },
            Condition {
                key: "verification_failed",
                what: "it shows \"Verification Failed\"",
                holds: Some(seen),
                seen: shows.to_owned(),
                instead: "it has refused nothing: reset it, and see why it is not ready (`trace`)",
            },
            Condition {
                key: "no_backup",
                what: "no backup has the old TFTP key",
                holds: yes("no_backup"),
                seen: match yes("no_backup") {
                    Some(false) => "a backup has it".to_owned(),
                    Some(true) => "none has it".to_owned(),
                    None => "not known".to_owned(),
                },
                instead: "a backup has the key that it trusts. To restore the node from it is the last \
                          resort; if nobody will, erase the list as where all four hold",
            },
        ];
        let (phone, result) = (row.text("phone").to_owned(), row.text("result").to_owned());
        Diagnosis { phone, result, conditions, scriptable: yes("scriptable") }
    }

    /// Whether nothing but the deletion helps: all four conditions hold.
    pub fn deletes(&self) -> bool {
        self.conditions.iter().all(|condition| condition.holds == Some(true))
    }

    /// What is to be done instead of a deletion; nothing if that is right.
    fn instead(&self) -> Vec<&'static str> {
        if self.result == "not-reset" {
            return vec!["it was not reset in this run: nothing is known of it"];
        }
        if self.result == "ready" {
            return vec!["it is ready: leave it alone"];
        }
        let others = self.conditions.iter().filter(|condition| condition.holds != Some(true));
        others.map(|condition| condition.instead).collect()
    }

    /// Whether somebody must stand before the phone, if its ITL is to be deleted.
    fn by_script(&self) -> Option<&'static str> {
        let can = self.scriptable.filter(|_| self.deletes())?;
        Some(if can {
            "a script that pushes keys (SOAP, XML) can do it: the authentication URL of its \
             configuration can be asked"
        } else {
            "a script that pushes keys (SOAP, XML) cannot: the phone would ask its secure \
             authentication URL who pushes, and no TVS that it trusts vouches for that server; \
             somebody must press the keys"
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        paragraph(&mut out, "phone", &format!("{}, {}", self.phone, self.result));
        for (number, condition) in (1..).zip(&self.conditions) {
            let word = match condition.holds {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "not known",
            };
            let label = format!("{number}  {word}");
            paragraph(&mut out, &label, &format!("{} ({})", condition.what, condition.seen));
        }
        let verdict = if self.deletes() {
            "delete the ITL: all four conditions hold, nothing else helps".to_owned()
        } else {
            format!("do NOT delete the ITL: {}", self.instead().join("; "))
        };
        paragraph(&mut out, "verdict", &verdict);
        if let Some(how) = self.by_script() {
            paragraph(&mut out, "script", how);
        }
        out
    }

    /// The same as a document, schema 1.
    pub fn to_json(&self) -> Value {
        let condition = |condition: &Condition| {
            json!({
                "key": condition.key,
                "what": condition.what,
                "holds": condition.holds,
                "seen": condition.seen,
            })
        };
        json!({
            "schema": 1,
            "phone": self.phone,
            "result": self.result,
            "conditions": self.conditions.iter().map(condition).collect::<Vec<_>>(),
            "delete_itl": self.deletes(),
            "scriptable": self.scriptable,
            "instead": if self.deletes() { Vec::new() } else { self.instead() },
        })
    }
}

fn or<'a>(text: &'a str, none: &'a str) -> &'a str {
    if text.is_empty() { none } else { text }
}

/// The checksums of the lists that the phone holds and its node serves.
fn lists(row: TableRow<'_>, summary: &Value, tftp: &str) -> String {
    let own = row.text("itl");
    let served = match row.text("itl_differs") {
        "" => return "the run has not looked".to_owned(),
        _ => served(summary, tftp),
    };
    // A restart alone makes a list with another time, so another checksum.
    let is_anew = row.text("itl_differs") == "no" && !own.is_empty() && !served.ends_with(own);
    let anew = if is_anew { ": the same content, signed anew" } else { "" };
    format!("phone {}, {served}{anew}", or(own, "none"))
}

/// The checksum of the ITL that a node serves (TOOL-03).
fn served(summary: &Value, tftp: &str) -> String {
    let itls = summary["itls"].as_array().into_iter().flatten();
    let serves = |itl: &&Value| {
        let mut by = itl["served_by"].as_array().into_iter().flatten();
        by.any(|node| node.as_str() == Some(tftp))
    };
    let found = itls.filter(serves).find_map(|itl| itl["checksum"].as_str());
    found.map_or(format!("{tftp} serves none"), |checksum| format!("{tftp} serves {checksum}"))
}

/// The TVS certificates in the list with a checksum (TOOL-04).
fn listed(summary: &Value, checksum: &str) -> String {
    let mut itls = summary["itls"].as_array().into_iter().flatten();
    let itl = itls.find(|itl| itl["checksum"].as_str() == Some(checksum));
    let tvs = itl.and_then(|itl| itl["tvs"].as_array()).into_iter().flatten();
    let serials: Vec<&str> = tvs.filter_map(|tvs| tvs.as_str()?.rsplit(' ').next()).collect();
    or(&serials.join(", "), "none").to_owned()
}

/// What the TVS servers presented at the end.
fn presented(summary: &Value) -> String {
    let rows: Vec<&Value> = summary["presented"].as_array().into_iter().flatten().collect();
    let mut last: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let Some(service) = row["service"].as_str().filter(|name| name.starts_with("tvs ")) else {
            continue;
        };
        last.retain(|(name, _)| *name != service);
        last.extend(row["serial"].as_str().map(|serial| (service, serial)));
    }
    let said = |(service, serial): &(&str, &str)| format!("{service} presents {serial}");
    or(&last.iter().map(said).collect::<Vec<_>>().join(", "), "no TVS runs").to_owned()
}
