//! Programs that are not ours, and numbers that are not ours: `cargo test --test interop --
//! --ignored`.
//!
//! Every test needs programs of other people and most need root on Linux; `.ci/run` installs them.
//! A program that is missing is a failure.

mod capacity;
mod capture;
mod disk;
mod eap;
mod formats;
mod judge;
mod lab;
mod lsc;
mod mail;
mod peers;
mod prometheus;
mod report;
mod services;
mod sip;
mod stores;
mod web;
