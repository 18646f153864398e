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
