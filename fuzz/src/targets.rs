//! What the fuzzers of `fuzz/` drive, each a function that takes any bytes and panics where they have
//! found something. See [CONTRIBUTING](../CONTRIBUTING.md).

pub use crate::binding::fuzz::{nodes, records};
pub use crate::node::redis::fuzz::{errors, link, replies};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Mutations of the seeds of each target: many enough to find a mistake, few enough for every test
    /// run. `npm run fuzz` looks further.
    const MUTATIONS: u64 = 2000;

    /// What has flooded or hung a parser.
    const PIECES: [&[u8]; 14] = [
        b":99999999999999999999\r\n",
        b"$2000000000\r\n",
        b"$65536\r\n",
        b"*1000000000\r\n",
        b"*-1\r\n",
        b"%-1\r\n",
        b"=8\r\ntxt:text\r\n",
        b">2\r\n+invalidate\r\n",
        b"-MOVED 1 :1\r\n",
        b"-NOSCRIPT x\r\n",
        b"\r",
        b"\n",
        b"\xff\xfe",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];

    /// Far more bytes than a link may read.
    const FLOOD: usize = 1 << 20;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| fs::read(file).unwrap()).collect()
    }

    fn mutate(bytes: &mut Vec<u8>, rng: &mut Xoshiro256PlusPlus) {
        for _ in 0..rng.random_range(1..5) {
            let at = rng.random_range(0..=bytes.len());
            match rng.random_range(0..5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, rng.random()),
                2 if at < bytes.len() => bytes[at] = rng.random(),
                3 if at < bytes.len() => bytes.drain(at..=at).for_each(drop),
                _ => {
                    let piece = PIECES[rng.random_range(0..PIECES.len())];
                    let times = if rng.random_ratio(1, 400) { FLOOD / piece.len() } else { 1 };
                    bytes.splice(at..at, piece.repeat(times));
                }
            }
        }
    }

    fn resident() -> usize {
        let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
        pages.unwrap_or_default() * 4096
    }

    fn fuzz(name: &str, target: fn(&[u8])) {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| target(seed));
        let before = resident();
        for seed in 0..MUTATIONS {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut input = seeds[rng.random_range(0..seeds.len())].clone();
            mutate(&mut input, &mut rng);
            target(&input);
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 20, "{name}: resident memory has grown by {grown} bytes");
    }

    // One test, for the memory is that of the process.
    #[test]
    fn nothing_is_found_near_the_seeds() {
        fuzz("replies", replies);
        fuzz("errors", errors);
        fuzz("link", link);
        fuzz("records", records);
        fuzz("nodes", nodes);
    }
}
