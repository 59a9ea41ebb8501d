use std::ops::RangeInclusive;

use crate::base::named;

use super::release::{RELEASES, Release};

named! {
    /// A known defect of CUCM that a cluster can have, by its id (`spec/domain.md` section 15). What
    /// it does is asked where it matters, by [`Topology::has`](super::Topology::has).
    pub enum Defect {
        /// A backup has no certificates (DEF-01, BKP-05).
        BackupWithoutCertificates = "CSCtn50405",
        /// A certificate that was deleted from a trust store comes back (DEF-02).
        DeletedComesBack = "CSCto86463",
        /// The deletion of a trusted certificate restarts the phones (DEF-03, REG-29).
        DeletionRestarts = "CSCut58407",
        /// A regeneration resets the phones and nobody is told (DEF-04).
        SilentReset = "CSCue55353",
        /// The ITL has no CAPF record although CAPF is active (DEF-05).
        ItlWithoutCapf = "CSCuj78330",
        /// LSC installations fail now and then, and then CAPF stops answering (DEF-07).
        CapfFreezes = "CSCub62243",
        /// A broken ITL can neither be shown nor signed with the local key (DEF-06).
        BrokenItlIsStuck = "CSCus33755",
        /// Listings have no checksums (DEF-09, CLI-08).
        NoChecksums = "CSCto60209",
        /// A node keeps the ITL that its phones trusted before, which TAC can bring back (DEF-12).
        KeepsTrustedItl = "CSCts01319",
    }
}

/// What is known of a defect.
#[derive(Clone, Debug)]
pub struct DefectRules {
    /// The releases that have it.
    pub releases: RangeInclusive<Release>,
    /// Where that is from, and what of it is a guess.
    pub source: &'static str,
    /// What comes of it in a cluster that has it.
    pub consequence: &'static str,
}

/// Known ids that turn nothing on here, each with the reason.
pub const NOT_PLAYED: [(&str, &str); 3] = [
    (
        "CSCuz18034",
        "it asks for a report of locally significant certificates, which every run has here",
    ),
    ("CSCto87262", "it concerns a central TFTP for several clusters, which is not played"),
    (
        "CSCto47052",
        "it asks for a remote deletion of ITLs, which no cluster has: erase-lists sends people",
    ),
];

impl Defect {
    /// Its row of the table.
    pub const fn rules(self) -> DefectRules {
        let (releases, source, consequence) = match self {
            Defect::BackupWithoutCertificates => (
                Release::R8_0..=Release::R9_1,
                "the documents name it for 8.x and 9.1; that it ends there is a guess",
                "a backup lacks certificates and keys: a node that is rebuilt and restored from it \
                 serves broken ITLs until CallManager is regenerated",
            ),
            Defect::DeletedComesBack => (
                Release::R8_0..=Release::R10_5,
                "Cisco's document 211300 on certificate management says that 11.0 ended it; that it \
                 begins with 8.0 is a guess",
                "a certificate that is deleted from a trust store is there again when the stores \
                 have replicated",
            ),
            Defect::DeletionRestarts => (
                Release::R9_1..=Release::R11_5,
                "the documents name it for 9.1 and later; that it ends with 11.5 is a guess",
                "a deletion from CallManager-trust, CAPF-trust or TVS-trust restarts all phones, and \
                 no step says so",
            ),
            Defect::SilentReset => (
                Release::R9_1..=Release::R11_5,
                "the documents name it for 11.5 and automatic resets since 9.1; that it ends there \
                 is a guess",
                "a regeneration of CallManager, TVS or CAPF resets all phones, and nobody is told",
            ),
            Defect::ItlWithoutCapf => (
                Release::R8_0..=Release::R11_5,
                "the documents name it for 11.5; that older releases have it and later ones do not \
                 is a guess",
                "ITLs have no CAPF record although CAPF is active: no phone has a valid CAPF server",
            ),
            Defect::CapfFreezes => (
                Release::R8_0..=Release::R10_5,
                "the documents name it without releases: that 11.x is without it is a guess",
                "installations of LSCs fail now and then, and after some of them CAPF answers \
                 nobody until it is restarted",
            ),
            Defect::BrokenItlIsStuck => (
                Release::R10_5..=Release::R11_5,
                "the documents name it for 11.5, the command came with 10.x; that later releases \
                 are without it is a guess",
                "a broken ITL cannot be shown, and reset-itl-localkey fails while a node serves one",
            ),
            Defect::NoChecksums => (
                Release::R8_0..=Release::R8_6,
                "the documents name it for 8.x; that 9.x is fixed is a guess",
                "show itl and show ctl print no checksums to compare with those of phones",
            ),
            Defect::KeepsTrustedItl => (
                Release::R8_6..=Release::R15,
                "the documents say that fixed versions have it, and not which: that 8.0 is without \
                 it, and that the keys of the list are kept with it, are guesses",
                "a node keeps the ITL of before its last other CallManager certificate with its \
                 keys: restore-trusted-itl brings both back",
            ),
        };
        DefectRules { releases, source, consequence }
    }

    /// Why a cluster of this release is not known to have it, if it is not.
    pub fn foreign_to(self, release: Release) -> Option<String> {
        let DefectRules { releases, source, .. } = self.rules();
        let having: Vec<&str> =
            RELEASES.iter().filter(|known| releases.contains(known)).map(|r| r.name()).collect();
        (!releases.contains(&release)).then(|| {
            format!(
                "{} is not known of release {release}, but of {} ({source})",
                self.name(),
                having.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_foreign_to_releases_that_are_not_known_to_have_it() {
        let foreign = |defect: Defect| -> Vec<&str> {
            let all = RELEASES.iter().filter(|&&release| defect.foreign_to(release).is_some());
            all.map(|release| release.name()).collect()
        };
        assert_eq!(foreign(Defect::SilentReset), ["8.0", "8.6", "12.0", "12.5", "14", "15"]);
        assert_eq!(foreign(Defect::NoChecksums).len(), 7);
        let why = Defect::NoChecksums.foreign_to(Release::R12_5).unwrap();
        assert!(why.contains("release 12.5, but of 8.0, 8.6 (the documents"), "{why}");
    }

    #[test]
    fn every_id_is_written_as_they_are_and_known_once() {
        let played = Defect::ALL.map(Defect::name);
        let mut ids: Vec<&str> = played.into_iter().chain(NOT_PLAYED.map(|(id, _)| id)).collect();
        for id in &ids {
            let (letters, number) = id.split_at(5);
            assert!(letters.starts_with("CSC") && letters[3..].chars().all(char::is_lowercase));
            assert!(number.len() == 5 && number.parse::<u32>().is_ok(), "{id}");
        }
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
