//! Trust lists as a cluster lists them: `show itl` and `show ctl`, roles, hex and verdicts. Knows no
//! cluster and no phone.

mod hex;
mod list;
mod roles;
mod show;
mod verdict;

pub use hex::{hex, unhex, upper_hex};
pub use list::{List, is_signer, significant};
pub use roles::{parse_role, role_text, role_use};
pub use show::{ListName, Listing, ShowOptions, show};
pub use verdict::{Verdict, check_file, check_list, open_envelope};
