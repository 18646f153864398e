//! A mistake that is made through the options of a mutex. Those that are made in the engine itself are in
//! `crates/mutants`.

use std::cell::Cell;
use std::rc::Rc;

use redsync_engine::ValueSource;

use crate::chance::Chance;

thread_local!(static ONE_VALUE: Cell<bool> = const { Cell::new(false) });

/// As go-redsync: from now on, calls on this thread use one value for all of their attempts.
pub fn use_one_value() {
    ONE_VALUE.set(true);
}

thread_local!(static ASKS_EARLY: Cell<bool> = const { Cell::new(false) });

/// From now on, what waits for a node that is down is sent to it before anybody knows for how long it is up.
pub fn ask_before_uptime_is_known() {
    ASKS_EARLY.set(true);
}

pub fn asks_before_uptime_is_known() -> bool {
    ASKS_EARLY.get()
}

/// Where the values of a mutex come from.
pub fn values(chance: &mut Chance) -> ValueSource {
    if !ONE_VALUE.get() {
        return ValueSource::Random;
    }
    let value = format!("{:022}==", chance.within(0..=u64::MAX));
    ValueSource::Ask(Rc::new(move |_| {
        let value = value.clone();
        Box::pin(async move { Ok(value) })
    }))
}
