//! Several environments beside the one engine thread, as their event loops are, each of a thread of its own. What must hold:
//! each call gets one completion, whoever is to drain is woken, and ThreadSanitizer sees no race (`npm run test:memory`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{env, thread};

use super::crossing::{self, Code, Flag, Header, Numbered, Outcome};
use super::host::{Message, NodeAddress};
use super::outbox::Outbox;
use super::thread::{send, send_if_started};

const ENVIRONMENTS: u32 = 4;
const CALLS: u32 = 48;
/// Few enough that the calls wait for each other, also across environments.
const NAMES: u32 = 5;
/// Fewer than are ready at once.
const COMPLETIONS_PER_DRAIN: usize = 16;
/// Far more than a call takes on any machine.
const NEVER: Duration = Duration::from_secs(120);

static NEXT_CLIENT: AtomicU32 = AtomicU32::new(1);

struct Environment {
    client: u32,
    outbox: Arc<Outbox>,
    woken: Receiver<()>,
    numbers: Vec<f64>,
    text: String,
    next_call: u32,
    /// The calls that are under way, and what their locks are called.
    calls: HashMap<u32, (Code, String)>,
    /// What is looked after, until its end is told.
    leases: HashMap<u32, String>,
}

impl Environment {
    fn new() -> Self {
        let (wake, woken) = channel();
        // It may be gone when it is woken: then nobody is to be told.
        let outbox = Arc::new(Outbox::new(Box::new(move || {
            let _ = wake.send(());
        })));
        let client = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed);
        let memory = |name: &str| NodeAddress::Memory { name: Some(name.to_owned()), clock: None };
        let nodes = ["a", "b", "c"].map(memory).into();
        send(Message::Open { client, outbox: outbox.clone(), nodes, owner: None })
            .expect("it starts");
        Self {
            client,
            outbox,
            woken,
            numbers: Vec::new(),
            text: String::new(),
            next_call: 1,
            calls: HashMap::new(),
            leases: HashMap::new(),
        }
    }

    fn record(&mut self, code: Code, call: u32, operands: &[f64]) {
        let length = Header::Operands as usize + operands.len();
        let header = [length as f64, code.number().into(), call.into(), self.client.into()];
        self.numbers.extend(header);
        self.numbers.extend(operands);
    }

    fn new_call(&mut self, code: Code, name: &str) -> u32 {
        let call = self.next_call;
        self.next_call += 1;
        if code.has_completion() {
            self.calls.insert(call, (code, name.to_owned()));
        }
        call
    }

    fn ask(&mut self, code: Code, call: u32, name: &str, value: &str) {
        let (expiry, tries, delay, interval) = (60_000.0, 1e6, 1.0, 2.0);
        let flags = [0, Flag::Shuffle as u32, Flag::FailFast as u32][call as usize % 3];
        let (interval, max_hold) =
            if call.is_multiple_of(2) { (interval, f64::INFINITY) } else { (0.0, 0.0) };
        let [value_length, name_length] = [value, name].map(|text| text.len() as f64);
        let operands = [
            expiry,
            tries,
            f64::INFINITY,
            delay,
            0.01,
            0.5,
            flags.into(),
            interval,
            max_hold,
            60_000.0,
            0.0,
            0.0,
            1.0,
            value_length,
            name_length,
        ];
        self.record(code, call, &operands);
        self.text += value;
        self.text += name;
    }

    fn submit(&mut self) {
        self.outbox.turn();
        let (outbox, numbers) = (self.outbox.clone(), std::mem::take(&mut self.numbers));
        send(Message::Calls { outbox, numbers, text: std::mem::take(&mut self.text) })
            .expect("it runs");
    }

    /// Waits until it is woken, and hears all that there is. Gives how much that was.
    fn turn(&mut self) -> usize {
        self.woken.recv_timeout(NEVER).expect("the event loop is woken");
        let mut all = 0;
        loop {
            let size = crossing::Completion::Next as usize;
            let mut records =
                [0.0; 1 + COMPLETIONS_PER_DRAIN * crossing::Completion::Next as usize];
            let mut text = &*self.outbox.drain(&mut records);
            let count = records[0] as usize;
            for completion in records[1..].chunks_exact(size).take(count) {
                let length = completion[crossing::Completion::Text as usize] as usize;
                let (own, rest) = text.split_at(length);
                text = rest;
                let outcome = completion[crossing::Completion::Outcome as usize];
                let outcome = Outcome::from_number(outcome).expect("an outcome");
                self.hear(completion[crossing::Completion::Call as usize] as u32, outcome, own);
            }
            assert_eq!(text, "", "nobody's text");
            all += count;
            if count < COMPLETIONS_PER_DRAIN {
                self.submit();
                return all;
            }
        }
    }

    fn hear(&mut self, call: u32, outcome: Outcome, text: &str) {
        match outcome {
            Outcome::Report | Outcome::LoggedIn => {}
            Outcome::Lost | Outcome::Ended | Outcome::Dropped => {
                assert!(self.leases.remove(&call).is_some(), "{call} ends twice");
                assert_eq!(self.outbox.until(call), 0.0, "{call} is over");
            }
            _ => {
                let (code, name) = self.calls.remove(&call).expect("one completion");
                match (code, outcome) {
                    (Code::Lock, Outcome::Held) => self.use_lock(call, &name, text),
                    (Code::Lock, Outcome::Cancelled) | (Code::Extend, Outcome::Held) => {}
                    (Code::Valid | Code::Unlock | Code::Close | Code::Ready, Outcome::Done) => {}
                    _ => panic!("{call} ends with {} {text}", outcome.number()),
                }
            }
        }
    }

    /// What one does with a lock: all of it crosses in one turn.
    fn use_lock(&mut self, lease: u32, name: &str, value: &str) {
        let is_kept = lease.is_multiple_of(2);
        if is_kept {
            self.leases.insert(lease, name.to_owned());
            assert!(self.outbox.until(lease) > 0.0, "{lease} is looked after");
            self.ask(Code::Guard, lease, name, value);
        }
        for code in [Code::Extend, Code::Valid, Code::Unlock] {
            let call = self.new_call(code, name);
            self.ask(code, call, name, value);
        }
        if is_kept && lease.is_multiple_of(4) {
            self.outbox.take_until(lease);
        }
    }

    /// One who waits for his calls, and closes; or one that is gone in the middle of them.
    fn live(mut self, number: u32, stays: bool) {
        for i in 0..CALLS {
            // What one that is gone holds is free when it expires: nobody is to wait for that.
            let whose = if stays { 0 } else { self.client };
            let name = format!("é{whose}:{}", (i + number) % NAMES);
            let call = self.new_call(Code::Lock, &name);
            self.ask(Code::Lock, call, &name, "");
            if i % 8 == 7 {
                self.record(Code::Cancel, call, &[]);
                self.submit();
            }
        }
        self.submit();
        let mut heard = 0;
        while !self.calls.is_empty() || !self.leases.is_empty() {
            heard += self.turn();
            if !stays && heard > CALLS as usize / 2 {
                return send_if_started(Message::Gone { outbox: self.outbox });
            }
        }
        let close = self.new_call(Code::Close, "");
        self.record(Code::Close, close, &[]);
        self.submit();
        while !self.calls.is_empty() {
            self.turn();
        }
    }
}

#[test]
fn every_environment_is_told_what_it_is_to_know() {
    let rounds = env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10);
    let environments: Vec<_> = (0..ENVIRONMENTS)
        .map(|number| {
            thread::spawn(move || {
                for round in 0..rounds {
                    Environment::new().live(number, (round + number) % 3 != 0);
                }
            })
        })
        .collect();
    for environment in environments {
        environment.join().unwrap();
    }
}
