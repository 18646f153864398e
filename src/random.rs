//! The operating system's random number generator, read in blocks.

use std::convert::Infallible;

use rand::rngs::{SysError, SysRng};
use rand::{TryCryptoRng, TryRng};

/// A system call makes this many bytes: 32 ownership values.
const BLOCK: usize = 512;

/// Hands out the bytes of the operating system's generator, and each of them once.
pub struct OsRandom {
    block: [u8; BLOCK],
    used: usize,
}

impl OsRandom {
    /// Reads the first block, so that a system without a generator is an error here and now.
    pub fn new() -> Result<Self, SysError> {
        let mut block = [0; BLOCK];
        SysRng.try_fill_bytes(&mut block)?;
        Ok(Self { block, used: 0 })
    }
}

impl TryRng for OsRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, wanted: &mut [u8]) -> Result<(), Infallible> {
        for part in wanted.chunks_mut(BLOCK) {
            if self.used + part.len() > BLOCK {
                // It has worked in `new`. If it ever stops, no value can be made: the call that
                // needs one must end, for a predictable value would be no proof of ownership.
                SysRng
                    .try_fill_bytes(&mut self.block)
                    .expect("the system's random generator works");
                self.used = 0;
            }
            let bytes = &mut self.block[self.used..self.used + part.len()];
            part.copy_from_slice(bytes);
            bytes.fill(0);
            self.used += part.len();
        }
        Ok(())
    }
}

impl TryCryptoRng for OsRandom {}
