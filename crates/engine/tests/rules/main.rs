//! The rules that keep the lock right, and where it leaves go-redsync on purpose: one test a rule.

#[path = "../support/mod.rs"]
mod support;

mod attempts;
mod cancellation;
mod cleanup;
mod closing;
mod extension;
mod fencing;
mod line;
mod load;
mod memory;
mod partial;
mod permits;
mod readers;
mod readiness;
mod reports;
mod rest;
mod signs;
mod validity;
mod value;
mod wait;
