//! The ownership value: who holds the key.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use base64::engine::{Engine, general_purpose::STANDARD};
use rand::Rng;

use crate::token::{IN_VALUE, Token};

/// Behind the random part of the value of a permit: `RANDOM#p=2`.
const PERMIT: &str = "#p=";

/// Behind all else of a random value, for people: `RANDOM#o=OWNER@SINCE`.
const OWNER: &str = "#o=";

/// Length of the random part: 16 bytes, in base64 with padding.
const ENCODED_LENGTH: usize = 24;

/// Digits, lower case, of the time in a value: milliseconds since 1970.
const RADIX: u64 = 36;

/// So many of them hold any time.
const LONGEST_TIME: usize = 13;

/// What a node stores under the lock's key: only who knows it may extend or release the lock.
///
/// Its `Debug` output hides the value, for it must not reach a log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Rc<str>);

impl Value {
    /// 16 random bytes in base64, as go-redsync's `genValue` makes them.
    pub fn random(rng: &mut dyn Rng) -> Self {
        Self(random(rng, 0).into())
    }

    /// The same with an owner behind it, and the time since 1970.
    pub(crate) fn random_of(owner: &Owner, now: Duration, rng: &mut dyn Rng) -> Self {
        let mut digits = [0; LONGEST_TIME];
        let time = in_digits(now.as_millis() as u64, &mut digits);
        let mut text = random(rng, owner.0.len() + time.len());
        text.push_str(&owner.0);
        text.push_str(time);
        Self(text.into())
    }
}

/// The random part, with room for so much behind it.
fn random(rng: &mut dyn Rng, room: usize) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    let mut text = String::with_capacity(ENCODED_LENGTH + room);
    STANDARD.encode_string(bytes, &mut text);
    text
}

fn in_digits(mut number: u64, digits: &mut [u8; LONGEST_TIME]) -> &str {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % RADIX) as usize];
        number /= RADIX;
        if number == 0 {
            break;
        }
    }
    str::from_utf8(&digits[first..]).unwrap_or_default()
}

/// Who makes random values, as people are told: what stands between their random part and the time.
pub(crate) struct Owner(Box<str>);

impl Owner {
    pub(crate) fn new(name: &str) -> Self {
        Self(format!("{OWNER}{name}@").into())
    }
}

impl Value {
    /// The same with a fencing token behind its random part.
    pub(crate) fn with_token(&self, token: Token) -> Self {
        self.with(IN_VALUE, token.get())
    }

    /// The same with a permit behind its random part, counted from 0. The first one is that of a mutex, and needs no
    /// mark.
    pub(crate) fn with_permit(&self, permit: usize) -> Self {
        match permit {
            0 => self.clone(),
            _ => self.with(PERMIT, permit as u64 + 1),
        }
    }

    /// What is read from a value stands first: whoever knows nothing of owners finds it, too.
    fn with(&self, mark: &str, number: u64) -> Self {
        let (random, owner) = self.0.split_at(self.0.find('#').unwrap_or(self.0.len()));
        Self(format!("{random}{mark}{number}{owner}").into())
    }

    /// Which permit it holds, of so many, counted from 0.
    pub(crate) fn permit(&self, permits: u16) -> usize {
        if permits <= 1 {
            return 0;
        }
        let permit = self.mark(PERMIT).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        let permit = permit.and_then(|digits| digits.parse::<u16>().ok());
        usize::from(permit.filter(|permit| (1..=permits).contains(permit)).unwrap_or(1)) - 1
    }

    /// The fencing token that it carries.
    pub fn token(&self) -> Option<Token> {
        Token::new(self.mark(IN_VALUE)?.parse().ok()?)
    }

    /// What stands behind the random part and this.
    fn mark(&self, mark: &str) -> Option<&str> {
        let behind = &self.0[self.0.find('#')?..];
        behind.strip_prefix(mark)?.split('#').next()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Deref for Value {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}
