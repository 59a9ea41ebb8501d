//! Phones of a cluster as its administration exports them (CSV), counted.

use crate::base::Model;

/// Rows that are read at most: as many phones as a fleet can have.
const ROWS_MAX: usize = 16_000_000;

/// What a phone export says of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Phones.
    pub phones: u32,
    /// Phones by model, most first.
    pub models: Vec<(Model, u32)>,
    /// Phones by device pool, most first; empty without such a column.
    pub pools: Vec<(String, u32)>,
    /// Phones by `CallManager` group, most first; empty without such a column.
    pub groups: Vec<(String, u32)>,
    /// Phones by site, most first; empty without such a column.
    pub sites: Vec<(String, u32)>,
    /// Rows that are no phones that hold trust lists, by the reason.
    pub left_out: Vec<(String, u32)>,
}

/// What is wrong with a phone export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It has no line.
    #[error("the export is empty; its first line names the columns")]
    Empty,
    /// It does not say of which models the phones are.
    #[error(
        "no column says of which model a phone is; one of model, device type, phone type or product"
    )]
    NoModel,
    /// A quote is not closed.
    #[error("line {0}: a quote is not closed")]
    Quote(usize),
    /// No row is a phone.
    #[error("no row is a phone; rows have a device name such as SEP0C75BD110317 and a model")]
    NoPhone,
    /// There are more rows than a fleet can have phones.
    #[error("there are more than {ROWS_MAX} rows")]
    TooMany,
}

/// Names of columns, of our own lists and of exports of CUCM's Bulk Administration (BAT), in small
/// letters.
const NAMES: [&str; 6] =
    ["name", "device name", "phone", "mac", "mac address", "mac address/device name"];
const MODELS: [&str; 5] = ["model", "device type", "phone type", "product", "type"];
const POOLS: [&str; 2] = ["device pool", "pool"];
const GROUPS: [&str; 4] =
    ["callmanager group", "cm group", "group", "cisco unified communications manager group"];
const SITES: [&str; 3] = ["site", "location", "branch"];

/// Reads an export; its first line names the columns, whose order and case do not matter.
///
/// # Errors
/// Without a column of models, or if no row is a phone.
pub fn read_export(text: &str) -> Result<Export, ExportError> {
    let mut rows = Rows { text: text.trim_start_matches('\u{feff}'), line: 0 };
    let head = rows.next().ok_or(ExportError::Empty)??;
    let head: Vec<String> = head.iter().map(|cell| cell.trim().to_lowercase()).collect();
    let column =
        |names: &[&str]| names.iter().find_map(|name| head.iter().position(|cell| cell == name));
    let model = column(&MODELS).ok_or(ExportError::NoModel)?;
    let [name, pool, group, site] = [&NAMES[..], &POOLS, &GROUPS, &SITES].map(column);
    let (mut counts, mut seen) = (Counts::default(), std::collections::BTreeSet::new());
    for (at, row) in rows.enumerate() {
        if at >= ROWS_MAX {
            return Err(ExportError::TooMany);
        }
        let row = row?;
        let cell = |at: usize| row.get(at).map_or("", |cell| cell.trim());
        if row.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let mac = name.map(|name| mac_of(cell(name)));
        if mac == Some(None) {
            add(&mut counts.left_out, "no device name of a desk phone".to_owned());
            continue;
        }
        if mac.flatten().is_some_and(|mac| !seen.insert(mac)) {
            add(&mut counts.left_out, "a device that stands in a row before".to_owned());
            continue;
        }
        let Some(model) = model_of(cell(model)) else {
            let what = if cell(model).is_empty() { "no model" } else { cell(model) };
            add(&mut counts.left_out, what.to_owned());
            continue;
        };
        counts.phones += 1;
        add(&mut counts.models, model);
        for (column, counts) in
            [(pool, &mut counts.pools), (group, &mut counts.groups), (site, &mut counts.sites)]
        {
            if let Some(at) = column {
                let value = cell(at);
                add(counts, if value.is_empty() { "none" } else { value }.to_owned());
            }
        }
    }
    counts.export()
}

#[derive(Default)]
struct Counts {
    phones: u32,
    models: std::collections::BTreeMap<Model, u32>,
    pools: std::collections::BTreeMap<String, u32>,
    groups: std::collections::BTreeMap<String, u32>,
    sites: std::collections::BTreeMap<String, u32>,
    left_out: std::collections::BTreeMap<String, u32>,
}

impl Counts {
    fn export(self) -> Result<Export, ExportError> {
        if self.phones == 0 {
            return Err(ExportError::NoPhone);
        }
        Ok(Export {
            phones: self.phones,
            models: most_first(self.models),
            pools: most_first(self.pools),
            groups: most_first(self.groups),
            sites: most_first(self.sites),
            left_out: most_first(self.left_out),
        })
    }
}

fn add<K: Ord>(counts: &mut std::collections::BTreeMap<K, u32>, key: K) {
    *counts.entry(key).or_default() += 1;
}

fn most_first<K: Ord>(counts: std::collections::BTreeMap<K, u32>) -> Vec<(K, u32)> {
    let mut all: Vec<(K, u32)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all
}

/// The MAC address in the device name of a desk phone or analogue adapter: soft clients hold no ITL.
fn mac_of(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let mac = name.strip_prefix("SEP").or_else(|| name.strip_prefix("ATA")).unwrap_or(&name);
    let is_mac = mac.len() == 12 && mac.bytes().all(|b| b.is_ascii_hexdigit());
    is_mac.then(|| u64::from_str_radix(mac, 16).ok()).flatten()
}

/// The model in the words of CUCM: `Cisco 8841`, `Cisco ATA 191`, `CP-8832-K9`.
fn model_of(text: &str) -> Option<Model> {
    let is_noise = |word: &&str| {
        !["cisco", "unified", "ip", "phone", "sip", "sccp"].contains(&word.to_lowercase().as_str())
    };
    let words: Vec<&str> =
        text.split([' ', '_']).filter(|word| !word.is_empty()).filter(is_noise).collect();
    let joined = words.concat();
    let model = joined.strip_suffix("-K9").unwrap_or(&joined);
    // A name without a digit is a kind of client, not a phone.
    model.bytes().any(|b| b.is_ascii_digit()).then(|| model.parse().ok()).flatten()
}

/// Rows of a CSV file (RFC 4180).
struct Rows<'a> {
    text: &'a str,
    line: usize,
}

impl Iterator for Rows<'_> {
    type Item = Result<Vec<String>, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.text.is_empty() {
            return None;
        }
        self.line += 1;
        let first = self.line;
        let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
        let mut characters = self.text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if is_quoted && characters.peek().is_some_and(|&(_, next)| next == '"') => {
                    characters.next();
                    cell.push('"');
                }
                '"' => is_quoted = !is_quoted,
                '\n' if !is_quoted => {
                    self.text = &self.text[at + 1..];
                    cells.push(cell);
                    return Some(Ok(cells));
                }
                ',' | ';' | '\t' if !is_quoted => cells.push(std::mem::take(&mut cell)),
                '\r' if !is_quoted => {}
                other => {
                    self.line += usize::from(other == '\n');
                    cell.push(other);
                }
            }
        }
        self.text = "";
        if is_quoted {
            return Some(Err(ExportError::Quote(first)));
        }
        cells.push(cell);
        Some(Ok(cells))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_counted_by_model_pool_and_site_whatever_its_columns_are_called() {
        let text = "\u{feff}Device Name,Description,\"Device Pool\",Device Type,Location\r\n\
            SEP0C75BD110001,\"Lobby, left\",DP-HQ,Cisco 8841,HQ\r\n\
            sep0c75bd110002,,DP-HQ,Cisco 8841,HQ\r\n\
            SEP0C75BD110003,\"a \"\"b\"\"\nc\",DP-Branch,Cisco ATA 191,Branch 7\r\n\
            ATA0C75BD110004,,DP-Branch,CP-8832-K9,\r\n\
            CSFJDOE,,DP-HQ,Cisco Unified Client Services Framework,HQ\r\n\
            SEP0C75BD110005,,DP-HQ,Conference Bridge,HQ\r\n\r\n";
        let export = read_export(text).unwrap();
        let model = |name: &str| name.parse::<Model>().unwrap();
        assert_eq!(export.phones, 4);
        assert_eq!(
            export.models,
            [(model("8841"), 2), (model("ATA191"), 1), (model("CP-8832"), 1)]
        );
        let named = |name: &str, phones| (name.to_owned(), phones);
        assert_eq!(export.pools, [named("DP-Branch", 2), named("DP-HQ", 2)]);
        assert_eq!(export.sites, [named("HQ", 2), named("Branch 7", 1), named("none", 1)]);
        assert!(export.groups.is_empty());
        let left_out = [named("Conference Bridge", 1), named("no device name of a desk phone", 1)];
        assert_eq!(export.left_out, left_out);
        let ours = read_export("name;model;pool;site\nSEP0C75BD110001;7841;a;b\n").unwrap();
        assert_eq!((ours.phones, ours.pools), (1, vec![named("a", 1)]));
    }

    #[test]
    fn a_device_that_stands_in_two_rows_is_one_phone() {
        let rows = "name,model\nSEP0C75BD110001,8841\nsep0c75bd110001,8841\n0C75BD110002,8841\n";
        let export = read_export(rows).unwrap();
        assert_eq!(export.phones, 2);
        assert_eq!(export.left_out, [("a device that stands in a row before".to_owned(), 1)]);
    }

    #[test]
    fn what_is_no_export_says_so() {
        assert_eq!(read_export(""), Err(ExportError::Empty));
        assert_eq!(read_export("name,pool\nSEP0C75BD110001,a\n"), Err(ExportError::NoModel));
        assert_eq!(read_export("name,model\n"), Err(ExportError::NoPhone));
        let open = "name,model\n\"SEP0C75BD110001,8841\n";
        assert_eq!(read_export(open), Err(ExportError::Quote(2)));
    }
}
