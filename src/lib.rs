//! resetstorm rehearses the reset storm of a Cisco Unified Communications Manager cluster.
//!
//! The house has floors; imports go down only (`ARCHITECTURE.md`):
//! `cli` → `report` → `serve`, `swarm`, `sim` → `net`, `measure` → `scenario` → `cluster`, `phone`
//! → `transfer` → `crypto` → `wire` → `base`. `toolbox` stands beside them: `cli` → `toolbox` →
//! `transfer`.

pub mod base;
pub mod cli;
pub mod crypto;
pub mod toolbox;
pub mod transfer;
pub mod wire;
