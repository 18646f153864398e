//! What two threads touch: of the standard library, or of [loom](https://docs.rs/loom), which tries every order in which
//! they can (`npm run test:memory`).

#[cfg(feature = "loom")]
pub use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(feature = "loom"))]
pub use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};
