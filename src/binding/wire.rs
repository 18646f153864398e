//! The records that cross from JavaScript, and how they are read. `lib/calls.js` writes them.
//!
//! A record: the header, then what the operation needs. Strings stand, in the order of their lengths
//! in the record, in a text beside the records. Lengths are in UTF-8 bytes.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Delay, Extension, Keys, Kind, Options, Value, ValueSource};

use super::crossing::{Code, Flag, Header, Numbered, Operand};
use crate::node::pool::Said;

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
    /// Somebody listens for the loss of the lock of this value.
    Guard(MutexCall),
    /// A pool has answered: its index among the nodes, and what it says with a code and a message; `None`
    /// if that cannot be read. The call is the question.
    PoolAnswer(usize, Option<(Said, String, String)>),
    /// Sets a clock for tests so far ahead of the boot clock. The client is the clock.
    Advance(Duration),
    /// What does each node store under this key? Each is waited for so long.
    Inspect(Duration, String),
    /// Which keys of a node may be locks? It is waited for so long.
    Scan {
        limit: Duration,
        node: usize,
        pattern: String,
        from: String,
    },
    /// Extend, and keep the lock alive from then on. The call is the number of the lease.
    Adopt(MutexCall),
    /// No operation that is known here, or not with what it needs.
    Unreadable,
}

/// A call on a mutex.
pub struct MutexCall {
    /// But for what is to be asked of JavaScript.
    pub options: Options,
    pub ask_delay: bool,
    pub ask_value: bool,
    /// "" for none.
    pub value: Value,
    /// Keep what is acquired alive; the call is the number of the lease.
    pub extension: Option<Extension>,
    /// When the lock to be watched is over, on the boot clock; until when one that is released keeps others off.
    pub until: Duration,
    pub keys: Keys,
}

/// One record.
pub struct Record {
    pub call: u32,
    pub client: u32,
    pub operation: Operation,
    /// Whether somebody waits for a completion of the call.
    pub is_awaited: bool,
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
        let length = *self.numbers.get(Header::Length as usize)? as usize;
        let (record, rest) = self.numbers.split_at_checked(length)?;
        self.numbers = rest;
        let (header, operands) = record.split_at_checked(Header::Operands as usize)?;
        let code = Code::from_number(header[Header::Operation as usize]);
        let operation = code.and_then(|code| self.operation(code, operands)).unwrap_or_else(|| {
            // Where the strings of what follows begin is not known any more: no name may be taken
            // for another. Whoever waits is told.
            self.text = "";
            match (code, operands) {
                (Some(Code::Answer), _) => Operation::Answer(None),
                (Some(Code::PoolAnswer), [node, ..]) => Operation::PoolAnswer(*node as usize, None),
                _ => Operation::Unreadable,
            }
        });
        Some(Record {
            call: header[Header::Call as usize] as u32,
            client: header[Header::Client as usize] as u32,
            operation,
            is_awaited: code.is_some_and(Code::has_completion),
        })
    }

    fn operation(&mut self, code: Code, operands: &[f64]) -> Option<Operation> {
        Some(match code {
            Code::Lock => Operation::Lock(self.mutex_call(operands)?),
            Code::TryLock => Operation::TryLock(self.mutex_call(operands)?),
            Code::Unlock => Operation::Unlock(self.mutex_call(operands)?),
            Code::Extend => Operation::Extend(self.mutex_call(operands)?),
            Code::Valid => Operation::Valid(self.mutex_call(operands)?),
            Code::Cancel => Operation::Cancel,
            Code::Answer => {
                let [is_good, number, length] = operands else { return None };
                let text = self.string(*length)?.to_owned();
                Operation::Answer((*is_good != 0.0).then_some((*number, text)))
            }
            Code::Health => Operation::Health(milliseconds(*operands.first()?)),
            Code::Ready => Operation::Ready(milliseconds(*operands.first()?)),
            Code::Close => Operation::Close,
            Code::Watch => Operation::Watch(self.mutex_call(operands)?),
            Code::LetExpire => Operation::LetExpire(self.mutex_call(operands)?),
            Code::Guard => Operation::Guard(self.mutex_call(operands)?),
            Code::PoolAnswer => {
                let [node, said, code, message] = operands else { return None };
                let said = Said::from_number(*said)?;
                let (code, message) = (self.string(*code)?, self.string(*message)?);
                let answer = (said, code.to_owned(), message.to_owned());
                Operation::PoolAnswer(*node as usize, Some(answer))
            }
            Code::Advance => Operation::Advance(milliseconds(*operands.first()?)),
            Code::Inspect => {
                let [limit, key] = operands else { return None };
                Operation::Inspect(milliseconds(*limit), self.string(*key)?.to_owned())
            }
            Code::Scan => {
                let [limit, node, pattern, from] = operands else { return None };
                let (limit, node) = (milliseconds(*limit), *node as usize);
                let pattern = self.string(*pattern)?.to_owned();
                let from = self.string(*from)?.to_owned();
                Operation::Scan { limit, node, pattern, from }
            }
            Code::Adopt => Operation::Adopt(self.mutex_call(operands)?),
        })
    }

    fn mutex_call(&mut self, operands: &[f64]) -> Option<MutexCall> {
        let (operands, keys) = operands.split_at_checked(Operand::Keys as usize)?;
        let number = |operand: Operand| operands[operand as usize];
        let time = |operand: Operand| milliseconds(number(operand));
        let flag = |flag: Flag| number(Operand::Flags) as u32 & flag as u32 != 0;
        let delay = if flag(Flag::RandomDelay) {
            Delay::Random
        } else {
            Delay::Fixed(time(Operand::Delay))
        };
        let kind = match (flag(Flag::Read), flag(Flag::Write)) {
            (true, _) => Kind::Read,
            (_, true) => {
                let sign = delay.life_of_sign(time(Operand::Expiry));
                Kind::Write { sign, renews: false }
            }
            _ => Kind::Mutex,
        };
        let permits = (number(Operand::Permits) as u16).max(1);
        // The scripts of readers and writers know one name, and each permit is a lock of one key.
        if (kind != Kind::Mutex || permits > 1) && keys.len() != 1 {
            return None;
        }
        let options = Options {
            kind,
            fencing: flag(Flag::Fencing),
            permits,
            quarantine: (number(Operand::Quarantine) > 0.0).then(|| time(Operand::Quarantine)),
            expiry: time(Operand::Expiry),
            // Infinity becomes u64::MAX.
            tries: number(Operand::Tries) as u64,
            wait: time(Operand::Wait),
            delay,
            drift_factor: number(Operand::DriftFactor),
            timeout_factor: number(Operand::TimeoutFactor),
            values: ValueSource::Random,
            fail_fast: flag(Flag::FailFast),
            shuffle: flag(Flag::Shuffle),
            recreate_on_extend: flag(Flag::RecreateOnExtend),
        };
        Some(MutexCall {
            options,
            ask_delay: flag(Flag::AskDelay),
            ask_value: flag(Flag::AskValue),
            extension: (number(Operand::Interval) > 0.0).then(|| Extension {
                interval: time(Operand::Interval),
                max_hold: time(Operand::MaxHold),
                max_stall: time(Operand::MaxStall),
            }),
            until: time(Operand::Until),
            value: self.string(number(Operand::Value))?.into(),
            keys: self.keys(keys)?,
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

    fn record(code: Code, call: u32, operands: &[f64]) -> Vec<f64> {
        let length = Header::Operands as usize + operands.len();
        let header = [length as f64, code.number().into(), call.into(), 1.0];
        [&header, operands].concat()
    }

    fn inspect(call: u32, length: f64) -> Vec<f64> {
        record(Code::Inspect, call, &[400.0, length])
    }

    fn read(records: &[Vec<f64>], text: &str) -> Vec<Record> {
        let numbers = records.concat();
        let mut reader = Reader::new(&numbers, text);
        std::iter::from_fn(|| reader.next_record()).collect()
    }

    #[test]
    fn records_behind_one_that_cannot_be_read_are_told_of() {
        let unknown = vec![4.0, 99.0, 4.0, 1.0];
        let of_another_version = record(Code::Unlock, 5, &[]);
        let failed = Said::Failed.number().into();
        let records = [
            inspect(1, 4.0),
            unknown,
            inspect(2, 4.0),
            record(Code::Health, 3, &[400.0]),
            of_another_version,
            record(Code::Answer, 6, &[1.0, 0.0, 9.0]),
            record(Code::PoolAnswer, 7, &[0.0, failed, 1.0, 2.0]),
        ];
        let read = read(&records, "name".repeat(9).as_str());
        assert_eq!(
            read.iter().map(|record| (record.call, record.is_awaited)).collect::<Vec<_>>(),
            [(1, true), (4, false), (2, true), (3, true), (5, true), (6, false), (7, false)]
        );
        let [first, unknown, second, health, old, answer, pool] = &read[..] else { panic!() };
        assert!(matches!(&first.operation, Operation::Inspect(_, key) if key == "name"));
        assert!(matches!(unknown.operation, Operation::Unreadable));
        assert!(matches!(second.operation, Operation::Unreadable), "another's name");
        assert!(matches!(health.operation, Operation::Health(_)), "it has no strings");
        assert!(matches!(old.operation, Operation::Unreadable));
        assert!(matches!(answer.operation, Operation::Answer(None)));
        assert!(matches!(pool.operation, Operation::PoolAnswer(0, None)));
    }

    #[test]
    fn a_string_that_is_cut_within_a_character_is_none() {
        for length in [1.0, 3.0, 100.0, f64::INFINITY] {
            let read = read(&[inspect(1, length), inspect(2, 1.0)], "éa");
            assert_eq!(read.len(), 2, "{length}");
            for record in read {
                let is_refused = matches!(record.operation, Operation::Unreadable);
                assert!(record.is_awaited && (is_refused || length == 3.0), "{length}");
            }
        }
    }

    #[test]
    fn a_number_that_is_no_operation_is_taken_for_none() {
        for code in [-1.0, 0.5, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
            let [record] = &read(&[vec![4.0, code, 1.0, 1.0]], "")[..] else { panic!() };
            assert!(matches!(record.operation, Operation::Unreadable) && !record.is_awaited);
        }
    }
}
