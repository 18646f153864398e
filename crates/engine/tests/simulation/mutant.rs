//! Mistakes for the simulation to find: those that the engine can make, and those that are made
//! through its options.

use std::cell::Cell;

use redsync_engine::ValueSource;

use crate::chance::Chance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// As go-redsync: one value for all attempts of a call. Options alone can do it.
    OneValue,
    /// One that is compiled into the engine.
    #[cfg(feature = "mutants")]
    Engine(redsync_engine::Mutant),
}

thread_local!(static ONE_VALUE: Cell<bool> = const { Cell::new(false) });

impl Mutant {
    /// What runs on this thread makes this mistake from now on.
    pub fn choose(mutant: Option<Self>) {
        let one_value = mutant == Some(Self::OneValue);
        #[cfg(feature = "mutants")]
        let one_value = one_value || Self::choose_in_engine(mutant);
        ONE_VALUE.set(one_value);
    }

    /// Tells whether it needs values that are used again: who makes new ones finds none on a node.
    #[cfg(feature = "mutants")]
    fn choose_in_engine(mutant: Option<Self>) -> bool {
        let in_engine = match mutant {
            Some(Self::Engine(mutant)) => Some(mutant),
            _ => None,
        };
        redsync_engine::Mutant::choose(in_engine);
        in_engine == Some(redsync_engine::Mutant::StaleVote)
    }
}

/// Where the values of a mutex come from.
pub fn values(chance: &mut Chance) -> ValueSource {
    if !ONE_VALUE.get() {
        return ValueSource::Random;
    }
    let value = format!("{:022}==", chance.within(0..=u64::MAX));
    ValueSource::Ask(std::rc::Rc::new(move |_| {
        let value = value.clone();
        Box::pin(async move { Ok(value) })
    }))
}
