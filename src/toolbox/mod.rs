//! The toolbox: reads, explains, checks, makes and changes single files and messages of a cluster or
//! a phone. Only the one-shot clients touch the network; nothing here prints.

mod assemble;
mod assemble_error;
mod findings;
mod inspect;
mod kind;
mod make;
mod message;
mod speed;
mod store;
mod table;
mod tftp_client;
mod tree;
mod trust;
mod tvs_client;

pub use assemble::assemble;
pub use assemble_error::AssembleError;
pub use findings::size_warning;
pub use inspect::{InspectOptions, Inspection, inspect, reencode};
pub use kind::Kind;
pub use make::{
    ListEntry, ListSpec, MakeError, Signer, Style, encrypt_file, make_list, make_stub, sign_file,
};
pub use speed::{SpeedRow, SpeedWork, file_service, rsa_works, speed, speed_table, speed_works};
pub use store::{ReadFault, read_store};
pub use table::to_text;
pub use tftp_client::{FetchFault, Fetched, fetch};
pub use trust::{Decision, Refusal, TrustLists, TrustPath};
pub use tvs_client::{Phase, ServerPin, TvsAnswer, TvsFault, ask_tvs};
