//! The ownership value: who holds the key.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use base64::engine::{Engine, general_purpose::STANDARD};
use rand::Rng;

use crate::token::{IN_VALUE, Token};

/// Behind the random part of the value of a permit: `RANDOM#p=2`.
const PERMIT: &str = "#p=";

/// Length of a random value: 16 bytes, in base64 with padding.
const ENCODED_LENGTH: usize = 24;

/// What a node stores under the lock's key: only who knows it may extend or release the lock.
///
/// Its `Debug` output hides the value, for it must not reach a log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Rc<str>);

impl Value {
    /// 16 random bytes in base64, as go-redsync's `genValue` makes them.
    pub fn random(rng: &mut dyn Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        let mut text = String::with_capacity(ENCODED_LENGTH);
        STANDARD.encode_string(bytes, &mut text);
        Self(text.into())
    }
}

impl Value {
    /// The same with a fencing token behind it.
    pub(crate) fn with_token(&self, token: Token) -> Self {
        Self(format!("{}{IN_VALUE}{token}", self.0).into())
    }

    /// The same with a permit behind it, counted from 0. The first one is that of a mutex, and needs no mark.
    pub(crate) fn with_permit(&self, permit: usize) -> Self {
        match permit {
            0 => self.clone(),
            _ => Self(format!("{}{PERMIT}{}", self.0, permit + 1).into()),
        }
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
