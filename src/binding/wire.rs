//! The records that cross from JavaScript, and how they are read. `lib/calls.js` writes them.
//!
//! A record: its length, the operation, the call, the client, then what the operation needs.
//! Strings stand, in the order of their lengths in the record, in a text beside the records.
//! Lengths are in UTF-8 bytes.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Answer, Extension, Fate, Found, Keys, NodeError, Vote};

use crate::node::redis::found;

/// The call that nobody waits for: it gets no completion.
pub const NO_CALL: u32 = 0;

/// What a call asks for.
pub enum Operation {
    Lock(MutexCall),
    TryLock(MutexCall),
    Unlock(MutexCall),
    Extend(MutexCall),
    Valid(MutexCall),
    /// Stop the call of this number.
    Cancel,
    /// The answer of JavaScript to a question of this call; `None` when its function failed.
    Answer(Option<(f64, String)>),
    Health(Duration),
    Ready(Duration),
    Close,
    /// Tell when the lock of this value is over. The call is the number of the lease.
    Watch(MutexCall),
    /// Do not extend the lock of this value any more. The call is the number of the lease that it is
    /// not to be extended for, or none for whoever looks after the lock.
    LetExpire(MutexCall),
    /// A pool has answered: its index among the nodes, its vote, and what it has found if asked for that. The call is the question.
    PoolAnswer(usize, Vote, Option<Found>),
    /// Sets a clock for tests so far ahead of the boot clock. The client is the clock.
    Advance(Duration),
    /// What does each node store under this key? Each is waited for so long.
    Inspect(Duration, String),
    /// Extend, and keep the lock alive from then on. The call is the number of the lease.
    Adopt(MutexCall),
    /// No operation that is known here, or not with what it needs. Does somebody wait for it?
    Unreadable(bool),
}

impl Operation {
    /// Whether the call is a new one, to be told how it ended.
    pub fn has_completion(&self) -> bool {
        !matches!(
            self,
            Self::Cancel
                | Self::Unreadable(false)
                | Self::Answer(_)
                | Self::Watch(_)
                | Self::LetExpire(_)
                | Self::PoolAnswer(..)
                | Self::Advance(_)
        )
    }
}

/// A call on a mutex: its options, its value ("" for none) and its names.
pub struct MutexCall {
    pub expiry: Duration,
    pub tries: u64,
    pub delay: RetryDelay,
    pub drift_factor: f64,
    pub timeout_factor: f64,
    pub fail_fast: bool,
    pub shuffle: bool,
    pub recreate_on_extend: bool,
    pub ask_value: bool,
    pub value: String,
    /// Keep what is acquired alive; the call is the number of the lease.
    pub extension: Option<Extension>,
    /// When the lock to be watched is over, on the boot clock.
    pub until: Duration,
    pub keys: Keys,
}

/// The pause between attempts.
pub enum RetryDelay {
    Random,
    Ask,
    Fixed(Duration),
}

/// One record.
pub struct Record {
    pub call: u32,
    pub client: u32,
    pub operation: Operation,
}

/// Reads records one after the other.
pub struct Reader<'a> {
    numbers: &'a [f64],
    text: &'a str,
}

impl<'a> Reader<'a> {
    pub fn new(numbers: &'a [f64], text: &'a str) -> Self {
        Self { numbers, text }
    }

    /// `None` at the end, and where what follows is no record.
    pub fn next_record(&mut self) -> Option<Record> {
        let length = *self.numbers.first()? as usize;
        let (record, rest) = self.numbers.split_at_checked(length)?;
        self.numbers = rest;
        let [_, code, call, client, operands @ ..] = record else { return None };
        let operation = self.operation(*code as u32, operands).unwrap_or_else(|| {
            // Where the strings of what follows begin is not known any more: no name may be taken
            // for another.
            self.text = "";
            unreadable(*code as u32, operands)
        });
        Some(Record { call: *call as u32, client: *client as u32, operation })
    }

    fn operation(&mut self, code: u32, operands: &[f64]) -> Option<Operation> {
        Some(match code {
            0 => Operation::Lock(self.mutex_call(operands)?),
            1 => Operation::TryLock(self.mutex_call(operands)?),
            2 => Operation::Unlock(self.mutex_call(operands)?),
            3 => Operation::Extend(self.mutex_call(operands)?),
            4 => Operation::Valid(self.mutex_call(operands)?),
            5 => Operation::Cancel,
            6 => {
                let [is_good, number, length] = operands else { return None };
                let text = self.string(*length)?.to_owned();
                Operation::Answer((*is_good != 0.0).then_some((*number, text)))
            }
            7 => Operation::Health(milliseconds(*operands.first()?)),
            8 => Operation::Ready(milliseconds(*operands.first()?)),
            9 => Operation::Close,
            10 => Operation::Watch(self.mutex_call(operands)?),
            11 => Operation::LetExpire(self.mutex_call(operands)?),
            12 => {
                let [node, vote, code, message] = operands else { return None };
                let (code, message) = (self.string(*code)?, self.string(*message)?);
                let found = (*vote == POOL_FOUND).then(|| found(message)).flatten();
                Operation::PoolAnswer(*node as usize, pool_vote(*vote, code, message), found)
            }
            13 => Operation::Advance(milliseconds(*operands.first()?)),
            14 => {
                let [limit, key] = operands else { return None };
                Operation::Inspect(milliseconds(*limit), self.string(*key)?.to_owned())
            }
            15 => Operation::Adopt(self.mutex_call(operands)?),
            _ => return None,
        })
    }

    fn mutex_call(&mut self, operands: &[f64]) -> Option<MutexCall> {
        let [
            expiry,
            tries,
            delay,
            drift_factor,
            timeout_factor,
            flags,
            interval,
            max_hold,
            max_stall,
            until,
            value,
            names @ ..,
        ] = operands
        else {
            return None;
        };
        let flag = |bit: u32| *flags as u32 & 1 << bit != 0;
        Some(MutexCall {
            expiry: milliseconds(*expiry),
            // Infinity becomes u64::MAX.
            tries: *tries as u64,
            delay: match *delay {
                -1.0 => RetryDelay::Random,
                -2.0 => RetryDelay::Ask,
                delay => RetryDelay::Fixed(milliseconds(delay)),
            },
            drift_factor: *drift_factor,
            timeout_factor: *timeout_factor,
            fail_fast: flag(0),
            shuffle: flag(1),
            recreate_on_extend: flag(2),
            ask_value: flag(3),
            extension: (*interval > 0.0).then(|| Extension {
                interval: milliseconds(*interval),
                max_hold: milliseconds(*max_hold),
                max_stall: milliseconds(*max_stall),
            }),
            until: milliseconds(*until),
            value: self.string(*value)?.to_owned(),
            keys: self.keys(names)?,
        })
    }

    fn keys(&mut self, lengths: &[f64]) -> Option<Keys> {
        let mut keys = Vec::with_capacity(lengths.len());
        for length in lengths {
            keys.push(self.string(*length)?.into());
        }
        Some(Rc::from(keys))
    }

    fn string(&mut self, length: f64) -> Option<&'a str> {
        let (string, rest) = self.text.split_at_checked(length as usize)?;
        self.text = rest;
        Some(string)
    }
}

/// What becomes of a record that cannot be read: whoever waits for it is told.
fn unreadable(code: u32, operands: &[f64]) -> Operation {
    match (code, operands) {
        (6, _) => Operation::Answer(None),
        (12, [node, ..]) => Operation::PoolAnswer(*node as usize, Err(NodeError::protocol()), None),
        _ => Operation::Unreadable(matches!(code, 0..=4 | 7 | 8 | 14 | 15)),
    }
}

/// The "vote" of a pool that was asked what it stores: the message is what the script said.
const POOL_FOUND: f64 = 2.0;

/// The vote of a pool: one of three answers, or an error of which the number tells whether anything
/// was sent.
fn pool_vote(vote: f64, code: &str, message: &str) -> Vote {
    match vote {
        1.0 => Ok(Answer::Granted),
        0.0 | POOL_FOUND => Ok(Answer::Taken),
        -1.0 => Ok(Answer::Absent),
        vote => {
            let fate = match code {
                _ if vote == -3.0 => Fate::Unsent,
                // A key of another type is not ours.
                "WRONGTYPE" => Fate::Denied,
                _ => Fate::Unknown,
            };
            Err(NodeError::new(code.to_owned(), message.to_owned()).with(fate))
        }
    }
}

/// JavaScript's milliseconds; Infinity is for ever. Whole ones stay whole, however many they are.
pub fn milliseconds(number: f64) -> Duration {
    if number == f64::INFINITY {
        return Duration::MAX;
    }
    let number = number.max(0.0);
    let whole = Duration::from_millis(number as u64);
    match number.fract() {
        0.0 => whole,
        part => whole + Duration::from_secs_f64(part / 1000.0),
    }
}

/// A moment or a length of time as JavaScript's milliseconds. Whole ones stay whole.
pub fn to_milliseconds(duration: Duration) -> f64 {
    duration.as_secs() as f64 * 1000.0 + f64::from(duration.subsec_nanos()) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_milliseconds_cross_as_they_are() {
        for number in [0.0, 1.0, 1001.0, 8000.0, 86_400_000.0, 900_719_925_474_099.0, 8e15] {
            assert_eq!(milliseconds(number).as_millis(), number as u128);
            assert_eq!(to_milliseconds(milliseconds(number)), number);
        }
    }

    #[test]
    fn a_part_of_a_millisecond_crosses_to_the_nanosecond() {
        assert_eq!(milliseconds(2.5), Duration::from_micros(2500));
        assert_eq!(to_milliseconds(Duration::from_micros(2500)), 2.5);
    }

    #[test]
    fn what_is_no_length_of_time_is_none() {
        assert_eq!(milliseconds(-1.0), Duration::ZERO);
        assert_eq!(milliseconds(f64::NAN), Duration::ZERO);
        assert_eq!(milliseconds(f64::INFINITY), Duration::MAX);
        assert!(milliseconds(f64::MAX) > Duration::from_secs(1 << 50));
    }

    /// An answer of a pool: its node, its vote, and the lengths of a code and a message.
    fn pool_answer(call: f64, lengths: [f64; 2]) -> Vec<f64> {
        vec![8.0, 12.0, call, 1.0, 0.0, -2.0, lengths[0], lengths[1]]
    }

    fn inspect(call: f64, length: f64) -> Vec<f64> {
        vec![6.0, 14.0, call, 1.0, 400.0, length]
    }

    fn read(records: &[Vec<f64>], text: &str) -> Vec<Record> {
        let numbers = records.concat();
        let mut reader = Reader::new(&numbers, text);
        std::iter::from_fn(|| reader.next_record()).collect()
    }

    #[test]
    fn records_behind_one_that_cannot_be_read_are_told_of() {
        let health = vec![5.0, 7.0, 3.0, 1.0, 400.0];
        let unknown = vec![4.0, 99.0, 4.0, 1.0];
        let of_another_version = vec![4.0, 2.0, 5.0, 1.0];
        let answer = vec![7.0, 6.0, 6.0, 1.0, 1.0, 0.0, 9.0];
        let records = [
            inspect(1.0, 4.0),
            unknown,
            inspect(2.0, 4.0),
            health,
            of_another_version,
            answer,
            pool_answer(7.0, [1.0, 2.0]),
        ];
        let read = read(&records, "name".repeat(9).as_str());
        assert_eq!(
            read.iter().map(|record| record.call).collect::<Vec<_>>(),
            [1, 4, 2, 3, 5, 6, 7]
        );
        let [first, unknown, second, health, old, answer, pool] = &read[..] else { panic!() };
        assert!(matches!(&first.operation, Operation::Inspect(_, key) if key == "name"));
        assert!(matches!(unknown.operation, Operation::Unreadable(false)));
        assert!(matches!(second.operation, Operation::Unreadable(true)), "another's name");
        assert!(matches!(health.operation, Operation::Health(_)), "it has no strings");
        assert!(matches!(old.operation, Operation::Unreadable(true)));
        assert!(matches!(answer.operation, Operation::Answer(None)));
        assert!(matches!(pool.operation, Operation::PoolAnswer(0, Err(_), None)));
    }

    #[test]
    fn a_string_that_is_cut_within_a_character_is_none() {
        for length in [1.0, 3.0, 100.0, f64::INFINITY] {
            let read = read(&[inspect(1.0, length), inspect(2.0, 1.0)], "éa");
            assert_eq!(read.len(), 2, "{length}");
            for record in read {
                let has_completion = record.operation.has_completion();
                let is_told = matches!(record.operation, Operation::Unreadable(true));
                assert!(has_completion && (is_told || length == 3.0), "{length}");
            }
        }
    }
}
