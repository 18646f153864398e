//! Whatever crosses from JavaScript is read or refused: nothing panics, and nothing is read twice.

use super::addon::{NodeSpec, Place, TlsSpec};
use super::host::NodeAddress;
use super::outbox::write_votes;
use super::wire::{MutexCall, Operation, Reader};
use crate::node::pool::vote_of;

/// Numbers that JavaScript may well pass.
const NUMBERS: [f64; 16] = [
    -3.0,
    -2.0,
    -1.0,
    0.0,
    0.5,
    9.0,
    12.0,
    14.0,
    17.0,
    100.0,
    65_535.0,
    4_294_967_296.0,
    f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// Takes the number at the front: a small one in one byte, any in nine.
fn number(bytes: &mut &[u8]) -> Option<f64> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    match first {
        0..=0xdf => Some(first.into()),
        0xe0..=0xef => Some(NUMBERS[usize::from(first & 0xf)]),
        _ => {
            let (number, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(f64::from_le_bytes(*number))
        }
    }
}

/// Records: how many numbers, the numbers, and then the text.
pub fn records(input: &[u8]) {
    let Some((&count, mut bytes)) = input.split_first() else { return };
    let numbers: Vec<f64> = (0..count).map_while(|_| number(&mut bytes)).collect();
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::new(&numbers, &text);
    let mut read = 0;
    while let Some(record) = reader.next_record() {
        read += match record.operation {
            Operation::Lock(call)
            | Operation::TryLock(call)
            | Operation::Unlock(call)
            | Operation::Extend(call)
            | Operation::Valid(call)
            | Operation::Watch(call)
            | Operation::LetExpire(call)
            | Operation::Guard(call)
            | Operation::Adopt(call) => texts(&call),
            Operation::Answer(Some((_, text))) | Operation::Inspect(_, text) => text.len(),
            Operation::Scan { pattern, from, .. } => pattern.len() + from.len(),
            Operation::PoolAnswer(_, Some((said, code, message))) => {
                let length = code.len() + message.len();
                let (vote, _) = vote_of(said, code, message);
                assert!(write_votes(&mut String::new(), &[Some(vote)]).is_ok());
                length
            }
            _ => 0,
        };
        assert!(read <= text.len(), "{read} bytes read of {}", text.len());
    }
}

fn texts(call: &MutexCall) -> usize {
    call.value.len() + call.keys.iter().map(|key| key.len()).sum::<usize>()
}

/// Nodes: their options, each ended by a zero byte. One without TLS has no `ca`.
pub fn nodes(input: &[u8]) {
    let mut numbers = input;
    let Some(port) = number(&mut numbers) else { return };
    let Some(timeout) = number(&mut numbers) else { return };
    let text = String::from_utf8_lossy(numbers);
    let mut fields = text.split('\0').map(str::to_owned);
    let mut next = || fields.next().filter(|field| !field.is_empty());
    let kind = next().unwrap_or_default();
    let (host, path, master_name) = (next(), next(), next());
    let (ca, cert, key, servername) = (next(), next(), next(), next());
    let seeds = fields.map(|host| Place { host, port: port as u16 }).collect();
    let address = NodeAddress::try_from(NodeSpec {
        kind,
        name: host.clone(),
        clock: Some(port as u32),
        ahead: Some(timeout),
        host,
        port: Some(port as u16),
        path,
        seeds: Some(seeds),
        master_name,
        password: Some("secret".to_owned()),
        sentinel_password: Some("secret".to_owned()),
        db: Some(port as u32),
        connect_timeout: Some(timeout),
        // Without a `ca` it is the system's, which takes long to read.
        tls: ca.map(|ca| TlsSpec { ca: Some(ca), fingerprint256: None, cert, key, servername }),
        ..NodeSpec::default()
    });
    if let Ok(address) = address {
        assert!(address.identity() == address.identity());
    }
}
