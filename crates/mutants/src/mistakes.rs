//! The mistakes, each one or two lines of the engine: what is right there, and what stands in its place.

/// A file of the engine, a line that it has once, and what is put there.
type Line = (&'static str, &'static str, &'static str);

/// A mistake that somebody could make.
pub struct Mistake {
    /// What it is called.
    pub name: &'static str,
    /// What it breaks: the names of violations, each of which the simulation has to find.
    pub breaks: &'static [&'static str],
    /// A file of the engine, what it has once, and what is put there: `WRONG` is true while the mistake is made.
    pub lines: &'static [Line],
}

/// What nodes do that count, in the two mistakes about that.
#[rustfmt::skip]
const ANY_TOKEN: Line = ("fencing.rs",
                "        let (token, window) = (token.get(), self.window.as_micros() as u64);\n",
                "        if WRONG {\n            return None;\n        }\n        let (token, window) = (token.get(), self.window.as_micros() as u64);\n");
#[rustfmt::skip]
const COUNT_STORED: Line = ("memory.rs",
                "                self.insert(&fence_key(key), &token.to_string(), expires);",
                "                let token = if WRONG { Token::new(last + 1).unwrap() } else { token };\n                self.insert(&fence_key(key), &token.to_string(), expires);");
#[rustfmt::skip]
const COUNT_TOLD: Line = ("memory.rs",
                "            (Verb::Acquire, Whose::Nobodys) => match self.refusal(request, at) {\n",
                "            (Verb::Acquire, Whose::Nobodys) if WRONG && request.token.is_some() => {\n                self.refusal(request, at);\n                detail = self.counted(request);\n                self.put(request, expires)\n            }\n            (Verb::Acquire, Whose::Nobodys) => match self.refusal(request, at) {\n");

/// All of them.
#[rustfmt::skip]
pub const MISTAKES: &[Mistake] = &[
    // Drift is not deducted from the validity.
    Mistake {
        name: "DriftIgnored",
        breaks: &["Unprotected"],
        lines: &[
            ("validity.rs",
                "expiry.mul_f64(drift_factor) + CLOCK_GRANULARITY\n",
                "if WRONG { Duration::ZERO } else { expiry.mul_f64(drift_factor) + CLOCK_GRANULARITY }\n"),
        ],
    },
    // Who is told "taken" by a client that may have asked twice takes the value for another's.
    Mistake {
        name: "RepetitionIgnored",
        breaks: &["Leftover"],
        lines: &[
            ("acquire.rs",
                "members[node].may_repeat()",
                "!WRONG && members[node].may_repeat()"),
        ],
    },
    // A reader whose life is short makes that of the mark short, whoever else reads.
    Mistake {
        name: "MarkShortened",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("readers.rs",
                "let last = readers.values().max().copied().unwrap_or_default();",
                "let last = readers.values().max().copied().filter(|_| !WRONG).unwrap_or_default();"),
        ],
    },
    // An extension in quarantine stores the lock again.
    Mistake {
        name: "RecreatedInQuarantine",
        breaks: &["Exclusion"],
        lines: &[
            ("node.rs",
                "Verb::Extend { recreate: true } => Ok(",
                "Verb::Extend { recreate: true } if !WRONG => Ok("),
        ],
    },
    // The validity is counted from the answers and not from the question.
    Mistake {
        name: "LateClock",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("acquire.rs",
                "let until = validity::until(start,",
                "let until = validity::until(if WRONG { now } else { start },"),
        ],
    },
    // That of an extension is counted from the answers.
    Mistake {
        name: "LateClockOfExtension",
        breaks: &["Unprotected"],
        lines: &[
            ("mutex.rs",
                "let until = validity::until(start,",
                "let until = validity::until(if WRONG { self.redsync.now() } else { start },"),
        ],
    },
    // An extension is believed that came too late.
    Mistake {
        name: "ExtensionUnchecked",
        breaks: &["Stale"],
        lines: &[
            ("mutex.rs",
                "votes.granted() && self.redsync.now() < until",
                "votes.granted() && (WRONG || self.redsync.now() < until)"),
        ],
    },
    // N / 2 votes decide.
    Mistake {
        name: "HalfQuorum",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("quorum.rs",
                "        self.size / 2 + 1\n",
                "        if WRONG { (self.size / 2).max(1) } else { self.size / 2 + 1 }\n"),
        ],
    },
    // A node that stores our value since an earlier attempt counts as a vote.
    Mistake {
        name: "StaleVote",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("memory.rs",
                "(Verb::Acquire, _) => Answer::Taken,",
                "(Verb::Acquire, Whose::Ours) if WRONG => Answer::Granted,\n            (Verb::Acquire, _) => Answer::Taken,"),
            ("acquire.rs",
                "        let granting = votes.granting();\n",
                "        if WRONG && !is_last {\n            return;\n        }\n        let granting = votes.granting();\n"),
        ],
    },
    // A quorum is enough, also when the lock is over already.
    Mistake {
        name: "UntilUnchecked",
        breaks: &["Stale"],
        lines: &[
            ("acquire.rs",
                "votes.granted() && now < until {",
                "votes.granted() && (now < until || WRONG) {"),
        ],
    },
    // An extension sets the life of a key to less than it was.
    Mistake {
        name: "ShorteningExtension",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("memory.rs",
                "expires.max(so_far));",
                "if WRONG { expires } else { expires.max(so_far) });"),
        ],
    },
    // A call that is cancelled releases nothing.
    Mistake {
        name: "CallersRelease",
        breaks: &["Leftover"],
        lines: &[
            ("acquire.rs",
                "        let Some(votes) = voted else {\n",
                "        let Some(votes) = voted else {\n            if WRONG {\n                return Err(Error::Cancelled);\n            }\n"),
        ],
    },
    // A call that is cancelled stays in line.
    Mistake {
        name: "KeptHead",
        breaks: &["Unserved"],
        lines: &[
            ("acquire.rs",
                "            if let Some(settled) = settled {\n",
                "            if let Some(settled) = settled {\n                if WRONG && settled == Err(Error::Cancelled) {\n                    std::mem::forget(place);\n                }\n"),
        ],
    },
    // Whoever leaves the line does not wake the next one.
    Mistake {
        name: "LeaveWakesNobody",
        breaks: &["Unserved"],
        lines: &[
            ("line.rs",
                "if was_head {",
                "if was_head && !WRONG {"),
        ],
    },
    // Whoever is the head stays it, also while it waits for its caller or when it cannot have the lock.
    Mistake {
        name: "HeadKeepsTurn",
        breaks: &["Unserved"],
        lines: &[
            ("line.rs",
                "        let present = self.present.borrow();\n        let preferred",
                "        if WRONG {\n            return;\n        }\n        let present = self.present.borrow();\n        let preferred"),
            ("place.rs",
                "    pub(crate) fn step_out(&self) {\n",
                "    pub(crate) fn step_out(&self) {\n        if WRONG {\n            return;\n        }\n"),
        ],
    },
    // Whoever came last is the head.
    Mistake {
        name: "LastComeFirst",
        breaks: &["Overtaken"],
        lines: &[
            ("line.rs",
                "        let first = || self.present",
                "        if WRONG {\n            return self.present.borrow().last_key_value().map(|(ticket, _)| *ticket);\n        }\n        let first = || self.present"),
        ],
    },
    // Closing waits for calls, and not for the releases behind their backs.
    Mistake {
        name: "CloseDoesNotWait",
        breaks: &["Leftover"],
        lines: &[
            ("cleanup.rs",
                "let busy = self.nodes.busy();",
                "let busy = (!WRONG).then(|| self.nodes.busy());"),
        ],
    },
    // An extension by the holder can shorten his lease.
    Mistake {
        name: "LeaseShortened",
        breaks: &["LossUntrue"],
        lines: &[
            ("lease.rs",
                "self.until.set(self.until.get().max(until));",
                "self.until.set(if WRONG { until } else { self.until.get().max(until) });"),
        ],
    },
    // One extension that failed, and the lock is told lost.
    Mistake {
        name: "LossToldEarly",
        breaks: &["LossUntrue"],
        lines: &[
            ("leases.rs",
                "let is_lost = votes.taken() || votes.lost();",
                "let is_lost = votes.taken() || votes.lost() || WRONG;"),
        ],
    },
    // A lease is extended when three intervals have passed.
    Mistake {
        name: "LateExtension",
        breaks: &["NotKept"],
        lines: &[
            ("lease.rs",
                "        Self { interval, hold_until:",
                "        let interval = if WRONG { interval * 3 } else { interval };\n        Self { interval, hold_until:"),
        ],
    },
    // The first of two leases of one lock is not replaced.
    Mistake {
        name: "LeasedTwice",
        breaks: &["LossToldWrongly"],
        lines: &[
            ("leases.rs",
                "        self.end(&hold.request.keys, &hold.request.value);\n",
                "        if !WRONG {\n            self.end(&hold.request.keys, &hold.request.value);\n        }\n"),
        ],
    },
    // A script about several names that was refused is taken to have stored nothing.
    Mistake {
        name: "HalfwayForgotten",
        breaks: &["Leftover"],
        lines: &[
            ("round.rs",
                "Fate::Refused | Fate::Denied => !is_all_or_nothing,",
                "Fate::Refused | Fate::Denied => !is_all_or_nothing && !WRONG,"),
        ],
    },
    // Who was asked in the second part of an attempt is forgotten.
    Mistake {
        name: "AskedForgotten",
        breaks: &["Leftover"],
        lines: &[
            ("round.rs",
                "        asked.extend_from_slice(&others.asked);\n",
                "        if !WRONG {\n            asked.extend_from_slice(&others.asked);\n        }\n"),
        ],
    },
    // A release is told to have been one, whatever the nodes have said.
    Mistake {
        name: "UnlockUnchecked",
        breaks: &["Misreported"],
        lines: &[
            ("mutex.rs",
                "votes if votes.granted() && verb == Verb::Release => {",
                "votes if votes.granted() && verb == Verb::Release || WRONG => {"),
        ],
    },
    // A lock is told to be stored, whatever the nodes have said.
    Mistake {
        name: "ValidUnchecked",
        breaks: &["Misreported"],
        lines: &[
            ("mutex.rs",
                "        if votes.granted() {\n            Ok(true)",
                "        if votes.granted() || WRONG {\n            Ok(true)"),
        ],
    },
    // What a lost lock had stored again on a minority is left there.
    Mistake {
        name: "MinorityLeft",
        breaks: &["Leftover"],
        lines: &[
            ("mutex.rs",
                "        } else if self.options.recreate_on_extend {\n",
                "        } else if self.options.recreate_on_extend && !WRONG {\n"),
        ],
    },
    // A node grants any fencing token.
    Mistake {
        name: "TokenUnchecked",
        breaks: &["TokenOrder"],
        lines: &[
            ("fencing.rs",
                "            Some(Bound::Above(Token::nearest(last)))\n",
                "            (!WRONG).then(|| Bound::Above(Token::nearest(last)))\n"),
        ],
    },
    // A node grants the token that it has granted last once more.
    Mistake {
        name: "EqualToken",
        breaks: &["TokenOrder"],
        lines: &[
            ("fencing.rs",
                "        } else if token <= last {",
                "        } else if token < last || token == last && !WRONG {"),
        ],
    },
    // The nodes count, and a holder has the greatest of the counts of his quorum.
    Mistake {
        name: "NaiveMaximum",
        breaks: &["TokenOrder"],
        lines: &[
            ANY_TOKEN,
            COUNT_STORED,
            COUNT_TOLD,
            ("memory.rs",
                "    /// What is stored under the keys of a request.\n",
                "    fn counted(&self, request: &Request) -> Option<Detail> {\n        let last = self.entries.get(&*fence_key(request.keys.first()?))?;\n        Some(Detail::Bound(Bound::Above(Token::new(last.value.parse().ok()?)?)))\n    }\n\n    /// What is stored under the keys of a request.\n"),
            ("acquire.rs",
                "            let (value, token) = (request.value.clone(), request.token);\n",
                "            let (value, token) = (request.value.clone(), request.token);\n            let token = if WRONG { greatest(&votes).or(token) } else { token };\n"),
            ("round.rs",
                "    /// How many more have to grant for a quorum; `None` if none have to, or so many cannot.\n",
                "    pub(crate) fn all_details(&self) -> &[(usize, Detail)] {\n        &self.details\n    }\n\n    /// How many more have to grant for a quorum; `None` if none have to, or so many cannot.\n"),
            ("acquire.rs",
                "fn manner(place: &Place) -> Manner {",
                "fn greatest(votes: &Votes<'_>) -> Option<crate::token::Token> {\n    let of = |detail: &(usize, crate::vote::Detail)| match &detail.1 {\n        crate::vote::Detail::Bound(crate::vote::Bound::Above(token)) => Some(*token),\n        _ => None,\n    };\n    votes.all_details().iter().filter_map(of).max()\n}\n\nfn manner(place: &Place) -> Manner {"),
        ],
    },
    // The same, by the functions of that, and it is written back to the nodes, whatever they have counted meanwhile.
    Mistake {
        name: "UnconditionalWriteBack",
        breaks: &["TokenOrder"],
        lines: &[
            ANY_TOKEN,
            COUNT_STORED,
            COUNT_TOLD,
            ("memory.rs",
                "            (Verb::Inspect, whose) => {",
                "            (Verb::Owner, _) if WRONG && request.token.is_some() => {\n                for (key, token) in request.keys.iter().zip(request.token) {\n                    self.insert(&fence_key(key), &token.to_string(), at.now + self.window.memory);\n                }\n                Answer::Granted\n            }\n            (Verb::Inspect, whose) => {"),
            ("acquire.rs",
                "            let (value, token) = (request.value.clone(), request.token);\n",
                "            let (value, token) = (request.value.clone(), request.token);\n            let token = if WRONG { greatest(&votes).or(token) } else { token };\n            if WRONG && token.is_some() {\n                let mut back = self.request(value.clone());\n                Rc::get_mut(&mut back).unwrap().token = token;\n                let written = self.ask(Verb::Owner, &back).votes().await;\n                if !written.granted() || self.redsync.now() >= until {\n                    self.give_up(place, &request, &votes, is_last).await;\n                    return Err(Error::not_acquired(false, Vec::new(), number));\n                }\n            }\n"),
        ],
    },
    // The lock is stored with one command, and its token with another, later one.
    Mistake {
        name: "TwoCommands",
        breaks: &["TokenOrder"],
        lines: &[
            ("memory.rs",
                "        if refusal.is_none() {\n",
                "        if refusal.is_none() && !WRONG {\n"),
            ("memory.rs",
                "            (Verb::Release, whose) => {\n",
                "            (Verb::Release, whose) => {\n                if let (true, Some(token)) = (WRONG, request.value.token()) {\n                    for key in request.keys.iter() {\n                        self.insert(&fence_key(key), &token.to_string(), at.now + self.window.memory);\n                    }\n                }\n"),
        ],
    },
    // A node forgets the last token while what it may grant then can be less.
    Mistake {
        name: "TokenForgottenEarly",
        breaks: &["TokenOrder"],
        lines: &[
            ("memory.rs",
                "            let expires = at.now + self.window.memory;\n",
                "            let expires = at.now + self.window.memory / if WRONG { 8 } else { 1 };\n"),
        ],
    },
    // A node grants tokens however far behind its clock.
    Mistake {
        name: "NoLeastToken",
        breaks: &["TokenOrder"],
        lines: &[
            ("fencing.rs",
                "        if token <= now.saturating_sub(window) {",
                "        if token <= now.saturating_sub(window) && !WRONG {"),
        ],
    },
    // A node grants tokens however far ahead of its clock.
    Mistake {
        name: "NoGreatestToken",
        breaks: &["TokenOrder"],
        lines: &[
            ("fencing.rs",
                "        } else if token > (now + window).max(last + 1) {",
                "        } else if token > (now + window).max(last + 1) && !WRONG {"),
        ],
    },
    // Whoever returns early takes the first nodes that want another fencing token for all.
    Mistake {
        name: "FirstBoundDecides",
        breaks: &["FailedThoughFree"],
        lines: &[
            ("tally.rs",
                "        Bound::of_most(&self.details.borrow()).len()\n",
                "        if WRONG { 0 } else { Bound::of_most(&self.details.borrow()).len() }\n"),
        ],
    },
    // A semaphore has one permit more than it should have.
    Mistake {
        name: "OneMorePermit",
        breaks: &["TooMany"],
        lines: &[
            ("mutex.rs",
                "        Self { redsync, keys, options, seen",
                "        let more = u16::from(WRONG && options.permits > 1);\n        let options = Options { permits: options.permits + more, ..options };\n        Self { redsync, keys, options, seen"),
        ],
    },
    // A release asks for the first permit, whichever it is that is held.
    Mistake {
        name: "PermitIgnoredAtRelease",
        breaks: &["Leftover", "NeedlessFailure"],
        lines: &[
            ("mutex.rs",
                "        self.redsync.leases.end(&request.keys, &request.value);\n",
                "        self.redsync.leases.end(&request.keys, &request.value);\n        let request = if WRONG { Rc::new(Request { keys: self.keys.clone(), value: request.value.clone(), ..*request }) } else { request };\n"),
        ],
    },
    // What an extension asks for is the first permit.
    Mistake {
        name: "PermitIgnoredAtExtension",
        breaks: &["NeedlessFailure"],
        lines: &[
            ("mutex.rs",
                "        let request = self.request(value);\n        let start = self.redsync.now();\n",
                "        let request = self.request(value);\n        let request = if WRONG { Rc::new(Request { keys: self.keys.clone(), value: request.value.clone(), ..*request }) } else { request };\n        let start = self.redsync.now();\n"),
        ],
    },
    // Whoever does not get the permit that he has picked looks for no other.
    Mistake {
        name: "OnePermitTried",
        breaks: &["FailedThoughFree"],
        lines: &[
            ("acquire.rs",
                "        attempt.looks && self.options.permits > 1\n",
                "        attempt.looks && self.options.permits > 1 && !WRONG\n"),
        ],
    },
    // Whoever looks takes a permit for free that one node has free.
    Mistake {
        name: "FreeOnOneNode",
        breaks: &["FailedThoughFree"],
        lines: &[
            ("look.rs",
                "            if free.is_none() && votes.is_free() {",
                "            if free.is_none() && (votes.is_free() || WRONG) {"),
        ],
    },
    // The head of a line watches one permit, whichever others there are.
    Mistake {
        name: "OnePermitWatched",
        breaks: &["Unserved"],
        lines: &[
            ("queue.rs",
                "        for index in nodes.order_from_any(permits.len()) {",
                "        for index in nodes.order_from_any(permits.len()).filter(|index| !WRONG || *index == 0) {"),
        ],
    },
    // The release of one reader deletes the mark, while others read.
    Mistake {
        name: "MarkDeleted",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("readers.rs",
                "            None => self.delete(key),\n",
                "            None => self.delete(key),\n            Some(_) if WRONG => self.delete(key),\n"),
        ],
    },
    // An extension lets a reader read for longer, and leaves the life of the mark.
    Mistake {
        name: "MarkNotExtended",
        breaks: &["Unprotected", "Exclusion"],
        lines: &[
            ("readers.rs",
                "        if ends >= last {\n",
                "        if ends >= last && !(WRONG && is_marked) {\n"),
        ],
    },
    // A call waits for longer than it was to.
    Mistake {
        name: "WaitIgnored",
        breaks: &["Stuck"],
        lines: &[
            ("acquire.rs",
                "            let next = deadline.min(Instant::now() + pause);\n",
                "            let next = if WRONG { Instant::now() + pause } else { deadline.min(Instant::now() + pause) };\n"),
        ],
    },
    // A reader gets in whatever sign there is.
    Mistake {
        name: "SignIgnored",
        breaks: &["Starved"],
        lines: &[
            ("readers.rs",
                "            (Verb::Acquire, _) if self.entries.contains_key(&*sign_key(key)) => Answer::Taken,",
                "            (Verb::Acquire, _) if self.entries.contains_key(&*sign_key(key)) && !WRONG => Answer::Taken,"),
        ],
    },
    // A reader gets in beside a writer.
    Mistake {
        name: "WriterIgnored",
        breaks: &["Exclusion"],
        lines: &[
            ("readers.rs",
                "            Some(_) => Stands::Shut,\n",
                "            Some(_) => if WRONG { Stands::Before } else { Stands::Shut },\n"),
        ],
    },
    // A call that ends without the lock leaves its signs.
    Mistake {
        name: "SignsLeft",
        breaks: &["Leftover"],
        lines: &[
            ("acquire.rs",
                "        if self.options.kind.sign().is_none() {\n",
                "        if self.options.kind.sign().is_none() || WRONG {\n"),
        ],
    },
    // A writer who reads from now on leaves his sign.
    Mistake {
        name: "SignOfReaderLeft",
        breaks: &["Leftover"],
        lines: &[
            ("readers.rs",
                "        if matches!(verb, Verb::Extend { .. }) && !matches!(stands, Stands::Within) {",
                "        if matches!(verb, Verb::Extend { .. }) && !matches!(stands, Stands::Within) && !WRONG {"),
        ],
    },
    // A lock that is to keep others off for the rest of a time is deleted.
    Mistake {
        name: "NoRest",
        breaks: &["Unprotected"],
        lines: &[
            ("mutex.rs",
                "        if rest.is_zero() || value.is_empty() {\n",
                "        if rest.is_zero() || value.is_empty() || WRONG {\n"),
        ],
    },
    // It is kept for so long as the clock of the client shows it.
    Mistake {
        name: "RestByOneClock",
        breaks: &["Unprotected"],
        lines: &[
            ("validity.rs",
                "    let life = time.div_f64(1.0 - drift_factor) + CLOCK_GRANULARITY;\n",
                "    let life = if WRONG { time } else { time.div_f64(1.0 - drift_factor) + CLOCK_GRANULARITY };\n"),
        ],
    },
    // A server that may have forgotten locks votes again too early.
    Mistake {
        name: "QuarantineTooShort",
        breaks: &["Exclusion"],
        lines: &[
            ("validity.rs",
                "    expiry + expiry.mul_f64(drift_factor) + Duration::from_secs(1)\n",
                "    if WRONG {\n        return expiry / 4;\n    }\n    expiry + expiry.mul_f64(drift_factor) + Duration::from_secs(1)\n"),
        ],
    },
];
