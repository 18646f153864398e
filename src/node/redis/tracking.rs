//! How a link gets its server to tell of changes to the keys that it has read.
//! <https://redis.io/docs/latest/develop/reference/client-side-caching/>
//!
//! The server tells on the link itself, so that it is known to tell for as long as it answers there, and leaves out
//! what the link has changed itself (NOLOOP). What it changes it has to read again: see `prolong-guarded.lua`.

use std::cell::Cell;

use redis::Value;

/// The first version that leaves out what a script changes, and has PEXPIRE GT.
const FIRST_MAJOR: u32 = 7;

/// What the server is asked for, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// RESP3, in which it may speak unasked.
    Hello,
    Track,
}

impl Step {
    pub fn command(self) -> &'static [u8] {
        match self {
            Self::Hello => b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n",
            Self::Track => b"*4\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n$6\r\nNOLOOP\r\n",
        }
    }

    /// Can this be the reply to it?
    pub fn fits(self, reply: &Value) -> bool {
        match (self, reply) {
            (_, Value::ServerError(_))
            | (Self::Hello, Value::Map(_))
            | (Self::Track, Value::Okay) => true,
            (Self::Hello | Self::Track, _) => false,
        }
    }
}

/// How far a connection is with it.
#[derive(Default)]
pub struct Tracking {
    /// Those that were asked for.
    asked: Cell<Option<Step>>,
    /// The one to ask for next, behind the first.
    next: Cell<Option<Step>>,
}

impl Tracking {
    /// What to ask for now.
    pub fn take_next(&self) -> Option<Step> {
        let next = match self.asked.get() {
            None => Some(Step::Hello),
            Some(_) => self.next.take(),
        };
        self.asked.set(next.or(self.asked.get()));
        next
    }

    /// Is there something to ask for?
    pub fn has_next(&self) -> bool {
        self.asked.get().is_none() || self.next.get().is_some()
    }

    /// The server has answered. Does it tell from here on? One that refuses is asked again on the next connection.
    pub fn answered(&self, step: Step, reply: &Value) -> bool {
        match step {
            Step::Hello => {
                self.next.set(is_able(reply).then_some(Step::Track));
                false
            }
            Step::Track => *reply == Value::Okay,
        }
    }
}

/// Does the version in this greeting do?
fn is_able(greeting: &Value) -> bool {
    let Value::Map(fields) = greeting else { return false };
    let text = |value: &Value| match value {
        Value::BulkString(text) => String::from_utf8_lossy(text).into_owned(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    };
    let version = fields.iter().find(|(name, _)| text(name) == "version");
    let version = version.map(|(_, version)| text(version)).unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= FIRST_MAJOR)
}

/// The keys that a message of the server calls changed; `None` stands for all keys.
pub fn changed_keys(data: Vec<Value>) -> Option<impl Iterator<Item = String>> {
    let Some(Value::Array(keys)) = data.into_iter().next() else { return None };
    Some(keys.into_iter().filter_map(|key| match key {
        Value::BulkString(key) => String::from_utf8(key).ok(),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(version: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        Value::Map(vec![(text("server"), text("redis")), (text("version"), text(version))])
    }

    #[test]
    fn asks_a_server_that_is_new_enough() {
        for (version, is_enough) in
            [("7.0.15", true), ("10.1", true), ("6.2.14", false), ("df-1.2", false), ("", false)]
        {
            let tracking = Tracking::default();
            assert_eq!(tracking.take_next(), Some(Step::Hello));
            assert!(!tracking.has_next(), "one after the other");
            assert!(!tracking.answered(Step::Hello, &greeting(version)));
            assert_eq!(tracking.has_next(), is_enough, "{version:?}");
            assert_eq!(tracking.take_next(), is_enough.then_some(Step::Track));
            assert_eq!(tracking.take_next(), None);
        }
    }
}
