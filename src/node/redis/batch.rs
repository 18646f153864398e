//! What a link sends in one tick, and the replies to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::vec::IntoIter;

use redis::Value;
use redsync_engine::{NodeError, Verb};
use tokio::time::Instant;

use super::command::{self, fits, fits_many, write, write_deletion, write_many};
use super::connection::text;
use super::deletion::Deletion;
use super::known::KnownScripts;
use super::question::{Group, Introduction, Question};
use super::tracking::Step;

/// Requests in one command. A server does nothing else meanwhile: so many take it about as long as
/// fifty plain commands.
const MAX_RUN: usize = 128;

/// As many acquisitions where the server tells of changes: their script reads each name by itself, and Redis 7.0 notes
/// all names of the script at each read.
const MAX_GUARDED: usize = 16;

/// What gets one reply, or, for an introduction and for a question with ASKING, two.
pub enum Entry {
    One(Question),
    /// Questions of one verb in one command.
    Run(Vec<Question>),
    Group(Group),
    Introduction(Introduction),
    /// What makes the server tell of changes.
    Tracking(Step),
}

impl Entry {
    fn replies(&self) -> usize {
        match self {
            Self::One(question) if question.is_asking => 2,
            Self::One(_) | Self::Run(_) | Self::Group(_) | Self::Tracking(_) => 1,
            Self::Introduction(_) => 2,
        }
    }

    /// Can these be the replies to it?
    fn fits(&self, replies: &[Value]) -> bool {
        match (self, replies) {
            (Self::One(question), [.., reply]) => fits(question.verb, &question.request, reply),
            (Self::Run(questions), [reply]) => {
                questions.first().is_some_and(|it| fits_many(it.verb, questions.len(), reply))
            }
            (Self::Group(group), [reply]) => fits_many(group.verb, group.requests().len(), reply),
            (Self::Introduction(_), [pong, info]) => {
                matches!(pong, Value::SimpleString(_) | Value::ServerError(_))
                    && matches!(info, Value::ServerError(_)) | text(info).is_some()
            }
            (Self::Tracking(step), [reply]) => step.fits(reply),
            _ => false,
        }
    }

    pub fn fail(self, error: &NodeError) {
        match self {
            Self::One(question) => question.fail(error),
            Self::Run(questions) => questions.into_iter().for_each(|it| it.fail(error)),
            Self::Group(group) => group.into_questions().for_each(|it| it.fail(error)),
            Self::Introduction(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(Err(error.clone()));
            }
            Self::Tracking(_) => {}
        }
    }
}

/// One pipeline.
pub struct Batch {
    pub sent: Instant,
    entries: Vec<Entry>,
    /// Replies that it will get.
    expected: usize,
    replies: Vec<Value>,
}

impl Batch {
    /// Replies that it will get.
    pub fn expected(&self) -> usize {
        self.expected
    }

    /// The next reply.
    pub fn take(&mut self, reply: Value) {
        self.replies.push(reply);
    }

    pub fn is_complete(&self) -> bool {
        self.replies.len() == self.expected
    }

    /// The entries and their replies. Not if one cannot be the reply to its entry: one too few or too
    /// many puts every other in the wrong place, and none is believed.
    pub fn answered(self) -> Result<(Vec<Entry>, IntoIter<Value>), Self> {
        let mut rest = &self.replies[..];
        let all_fit = self.entries.iter().all(|entry| {
            let Some((replies, others)) = rest.split_at_checked(entry.replies()) else {
                return false;
            };
            rest = others;
            entry.fits(replies)
        });
        if all_fit { Ok((self.entries, self.replies.into_iter())) } else { Err(self) }
    }

    /// What it asks, in the order in which it was written.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Nobody will answer it any more.
    pub fn fail(self, error: &NodeError) {
        self.entries.into_iter().for_each(|entry| entry.fail(error));
    }
}

/// Questions of one verb that are put off, to be asked together.
#[derive(Default)]
struct Run {
    questions: Vec<Question>,
    keys: KeyFilter,
}

impl Run {
    fn may_hold_keys_of(&self, question: &Question) -> bool {
        !self.questions.is_empty() && self.keys.may_hold(question)
    }

    fn takes(&self, question: &Question, is_guarded: bool) -> bool {
        let goes_with = |first: &Question| go_together(first, question);
        let is_short = is_guarded && question.verb == Verb::Acquire;
        let most = if is_short { MAX_GUARDED } else { MAX_RUN };
        self.questions.len() < most && self.questions.first().is_none_or(goes_with)
    }

    fn add(&mut self, question: Question) {
        self.keys.add(&question);
        self.questions.push(question);
    }

    fn take(&mut self) -> Vec<Question> {
        self.keys.clear();
        mem::take(&mut self.questions)
    }
}

/// One for each verb that can run.
const RUNS: usize = 3;

/// Writes a batch.
///
/// Releases, extensions and acquisitions with fencing tokens are put off for as long as nothing else is asked
/// about their keys, and asked many at once: a script of a hundred locks costs the server a third of a hundred
/// scripts. Where the server releases without a script, only the others are.
pub struct Writer<'a> {
    output: &'a mut Vec<u8>,
    scripts: &'a KnownScripts,
    /// Whether the server takes several keys in one command.
    may_run: bool,
    is_of_cluster: bool,
    entries: Vec<Entry>,
    expected: usize,
    runs: [Run; RUNS],
}

impl<'a> Writer<'a> {
    pub fn new(
        output: &'a mut Vec<u8>,
        scripts: &'a KnownScripts,
        may_run: bool,
        is_of_cluster: bool,
    ) -> Self {
        let runs = Default::default();
        Self { output, scripts, may_run, is_of_cluster, entries: Vec::new(), expected: 0, runs }
    }

    /// How many replies it takes so far.
    pub fn expected(&self) -> usize {
        self.expected + self.runs.iter().filter(|run| !run.questions.is_empty()).count()
    }

    pub fn add(&mut self, question: Question) {
        for index in 0..RUNS {
            if self.runs[index].may_hold_keys_of(&question) {
                self.end_run(index);
            }
        }
        if !self.may_run || !can_run(&question) || self.deletion_for(&question).is_some() {
            return self.add_alone(question);
        }
        let index = match question.verb {
            Verb::Acquire => 0,
            Verb::Release => 1,
            _ => 2,
        };
        if !self.runs[index].takes(&question, self.scripts.is_guarded()) {
            self.end_run(index);
        }
        self.runs[index].add(question);
    }

    pub fn add_group(&mut self, mut group: Group) {
        while !group.requests().is_empty() {
            let some = group.split_off_first(MAX_RUN);
            let requests = some.requests().iter().map(|request| &**request);
            write_many(some.verb, requests, self.scripts, self.output);
            self.push(Entry::Group(some));
        }
    }

    pub fn introduce(&mut self, answer: Introduction) {
        self.output.extend(b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n");
        self.push(Entry::Introduction(answer));
    }

    pub fn track(&mut self, step: Step) {
        self.output.extend(step.command());
        self.push(Entry::Tracking(step));
    }

    fn add_alone(&mut self, mut question: Question) {
        if question.is_asking {
            self.output.extend(b"*1\r\n$6\r\nASKING\r\n");
        }
        let deletion = self.deletion_for(&question);
        let Question { verb, request, .. } = &question;
        match deletion {
            Some(deletion) => write_deletion(deletion, request, self.output),
            None => write(*verb, request, self.is_of_cluster, self.scripts, self.output),
        }
        question.is_deletion = deletion.is_some();
        self.push(Entry::One(question));
    }

    /// How the server does without a script what is asked: that costs it less than one script for all.
    fn deletion_for(&self, Question { verb, request, .. }: &Question) -> Option<Deletion> {
        let is_release = *verb == Verb::Release && command::can_run(*verb, request);
        self.scripts.deletion().filter(|_| is_release)
    }

    fn end_run(&mut self, index: usize) {
        let mut run = self.runs[index].take();
        match run.len() {
            0 => {}
            1 => run.drain(..).for_each(|question| self.add_alone(question)),
            _ => {
                let requests = run.iter().map(|question| &*question.request);
                write_many(run[0].verb, requests, self.scripts, self.output);
                self.push(Entry::Run(run));
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        self.expected += entry.replies();
        self.entries.push(entry);
    }

    /// What was written, if anything was.
    pub fn finish(mut self) -> Option<Batch> {
        (0..RUNS).for_each(|index| self.end_run(index));
        if self.entries.is_empty() {
            return None;
        }
        let replies = Vec::with_capacity(self.expected);
        Some(Batch {
            sent: Instant::now(),
            entries: self.entries,
            expected: self.expected,
            replies,
        })
    }
}

fn can_run(question: &Question) -> bool {
    let can_run = command::can_run(question.verb, &question.request);
    can_run && !question.is_alone && !question.is_asking
}

fn go_together(one: &Question, other: &Question) -> bool {
    let is_same_expiry = one.request.expiry == other.request.expiry;
    one.verb == other.verb && (one.verb == Verb::Release || is_same_expiry)
}

/// Which keys may be among those that were added. (A Bloom filter of one hash.)
#[derive(Default)]
struct KeyFilter([u64; KeyFilter::WORDS]);

impl KeyFilter {
    const WORDS: usize = 32;

    fn place(key: &str) -> (usize, u64) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish() as usize;
        (hash / 64 % Self::WORDS, 1 << (hash % 64))
    }

    fn add(&mut self, question: &Question) {
        for key in question.request.keys.iter() {
            let (word, bit) = Self::place(key);
            self.0[word] |= bit;
        }
    }

    fn may_hold(&self, question: &Question) -> bool {
        question.request.keys.iter().any(|key| {
            let (word, bit) = Self::place(key);
            self.0[word] & bit != 0
        })
    }

    fn clear(&mut self) {
        self.0 = Default::default();
    }
}
