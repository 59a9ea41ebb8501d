//! Texts of dialogues (`spec/domain.md` section 12).

use crate::base::NodeId;
use crate::cluster::operator::ctl::ResetList;
use crate::cluster::{Release, SecurityMode, Topology, TrustStore};

/// Before a certificate is made anew.
pub(super) fn before_regeneration(unit: &str) -> String {
    format!(
        "WARNING: This operation will overwrite any CA signed certificate previously imported\n\
         for {unit}\n"
    )
}

/// The same where the phones are reset by it; the warning that `CSCue55353` asks for (words: choice).
pub(super) fn resets_phones(unit: &str) -> String {
    format!("WARNING: The regeneration of {unit} resets all phones of this cluster\n")
}

/// The question behind [`before_regeneration`].
pub(super) const PROCEED: &str = "Proceed with regeneration (yes|no)? ";

/// After a certificate was made anew. That 8.0 is one of the "older releases" is a guess.
pub(super) fn regenerated(unit: &str, release: Release) -> String {
    if release == Release::R8_0 {
        return format!(
            "Successfully regenerated certificate for {unit}. Please restart services related to \
             {unit} for the new certificate to become active.\n"
        );
    }
    format!(
        "Successfully Regenerated Certificate for {unit}.\n\
         You must restart services related to {unit} for the regenerated certificates to become \
         active.\n"
    )
}

/// After a request was made.
pub(super) fn requested(unit: &str) -> String {
    format!("Successfully Generated CSR for {unit}\n")
}

/// Before a certificate is pasted.
pub(super) const PASTE: &str = "Paste the Certificate and Hit Enter\n";

/// After a certificate was taken.
pub(super) fn imported(unit: &str) -> String {
    format!(
        "Import of {unit} certificate is successful\n\
         You must restart services related to {unit} for the imported certificates to become \
         active.\n"
    )
}

/// After a certificate was taken into a trust store.
pub(super) const TRUST_IMPORTED: &str = "Import of trust certificate is successful\n";

/// After a trusted certificate was deleted; a preloaded one is the manufacturer's (CERT-08).
pub(super) fn deleted(file: &str, store: TrustStore, is_preloaded: bool) -> String {
    let warning = if is_preloaded {
        format!(
            "WARNING: {file} is a certificate of the manufacturer: the cluster does not trust the \
             MICs of phones without it\n"
        )
    } else {
        String::new()
    };
    format!("{warning}Successfully deleted {file} from {}\n", store.name())
}

/// The question of `utils ctl update CTLFile`.
pub(super) const UPDATE_CTL: &str =
    "This operation updates the CTLFile. Do you want to continue? (y/n):";

/// After `utils ctl update CTLFile`.
pub(super) fn ctl_updated() -> String {
    format!("\nUpdating CTL file\nCTL file Updated\n{RESTART_ALL}")
}

/// The question of `utils ctl set-cluster`.
pub(super) const fn set_mode(mode: SecurityMode) -> &'static str {
    match mode {
        SecurityMode::Mixed => {
            "This operation sets the cluster to Mixed mode. Do you want to continue? (y/n):"
        }
        SecurityMode::NonSecure => {
            "This operation sets the cluster to Non secure mode. Do you want to continue? (y/n):"
        }
    }
}

/// After `utils ctl set-cluster`.
pub(super) fn mode_set(mode: SecurityMode) -> String {
    let name = match mode {
        SecurityMode::Mixed => "Mixed Mode",
        SecurityMode::NonSecure => "Non Secure Mode",
    };
    format!("\nMoving Cluster to {name}\nCluster set to {name}\n{RESTART_ALL}")
}

const RESTART_ALL: &str = "Please Restart the TFTP and Cisco CallManager services on all nodes in \
                           the cluster that run these services\n";

/// What asks for the password of an administrator.
pub(super) const PASSWORD: &str = "Enter CCM Administrator password :";

/// After a list was signed with ITLRecovery; `active` are the TFTP nodes that have it now.
pub(super) fn local_key_reset(list: ResetList, active: &[NodeId], topology: &Topology) -> String {
    let list = list.name().to_uppercase();
    let names: Vec<&str> = active.iter().map(|&id| topology.node(id).name.as_str()).collect();
    let rule = "===========================================================";
    let lines =
        |before: &str| -> String { names.iter().flat_map(|name| [before, name, "\n"]).collect() };
    let (nodes, done) =
        (lines(""), lines(&format!("Successfully transferred reset {list} to node ")));
    format!(
        "Name is None\n\
         Generating the reset {list} file.....\n\
         The reset {list} file was generated successfully\n\
         Locating active Tftp servers in the cluster.....\n\
         Following is the list of Active tftp servers in the cluster\n\
         {rule}\n{nodes}{rule}\n\
         Number of Active TFTP servers in the cluster : {}\n\
         Transferring new reset {list} file to the TFTP server nodes in the cluster.........\n{done}",
        names.len()
    )
}

/// After an answer that is not the one asked for (choice: no source quotes one).
pub(super) const ABORTED: &str = "Command aborted\n";

/// After a backup was begun (choice: no public source quotes it).
pub(super) const BACKUP: &str = "drfCliMsg: Backup initiated successfully. Please check status using \
                                 'utils disaster_recovery status backup' command\n";

/// The status before any backup.
pub(super) const NO_BACKUP: &str = "Status: No backup has been made\n";

/// The status after the backup with this number.
pub(super) fn backed_up(number: u32) -> String {
    format!("Status: SUCCESS :Backup {number} completed\n")
}
