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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{Future, ready};
    use std::pin::Pin;
    use std::rc::Rc;
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;
    use redsync_engine::{
        CancellationToken, Health, Keys, Mutex, Node, Options, Redsync, Reply, Request,
    };
    use tokio::runtime::Builder;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;
    use crate::clock::BootClock;

    const SHORT: Duration = Duration::from_secs(8);
    const LONG: Duration = Duration::from_secs(9);

    /// A node that keeps what it is asked.
    #[derive(Default)]
    struct Asked(RefCell<Vec<Question>>);

    impl Node for Asked {
        fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
            self.0.borrow_mut().push(Question::new(verb, request, reply));
        }

        fn health(&self, _: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
            Box::pin(ready(Health::down(NodeError::closed())))
        }

        fn close(&self) {}
    }

    /// What is asked about these names, and waits for its answer for as long as `test` runs.
    fn ask(calls: &[(Verb, &str, Duration)], test: impl FnOnce(Vec<Question>)) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let asked = Rc::new(Asked::default());
            let rng = Box::new(Xoshiro256PlusPlus::seed_from_u64(0));
            let redsync = Redsync::new(vec![asked.clone()], Rc::new(BootClock), rng);
            for &(verb, name, expiry) in calls {
                let fencing = verb == Verb::Acquire;
                let options = Options { expiry, fencing, ..Options::default() };
                let keys: Keys = Rc::new([name.into()]);
                let mutex = Mutex::new(redsync.clone(), keys, options);
                spawn_local(async move {
                    match verb {
                        Verb::Acquire => drop(mutex.try_lock(&CancellationToken::new()).await),
                        Verb::Release => drop(mutex.unlock("value".into()).await),
                        _ => drop(mutex.extend("value".into()).await),
                    }
                });
                yield_now().await;
            }
            let questions = asked.0.take();
            let verbs: Vec<_> = questions.iter().map(|question| question.verb).collect();
            assert_eq!(verbs.len(), calls.len(), "{verbs:?}");
            test(questions);
        });
    }

    /// So many that no two are alike to the filter, in each row of the longest run.
    fn names(count: usize) -> Vec<String> {
        let mut places = Vec::new();
        let names = (0..).map(|number| format!("name {number}"));
        let is_new = |name: &String| {
            if places.len() % MAX_RUN == 0 {
                places.clear();
            }
            let place = KeyFilter::place(name);
            let is_new = !places.contains(&place);
            if is_new {
                places.push(place);
            }
            is_new
        };
        names.filter(is_new).take(count).collect()
    }

    /// How many each command is about, and how many replies there will be.
    fn commands(batch: &Batch) -> (Vec<usize>, usize) {
        let count = |entry: &Entry| match entry {
            Entry::Run(questions) => questions.len(),
            _ => 1,
        };
        (batch.entries.iter().map(count).collect(), batch.expected)
    }

    /// All of that in one batch, for a server that can do so with several keys.
    fn batch(scripts: &KnownScripts, questions: Vec<Question>) -> Batch {
        let mut output = Vec::new();
        let mut writer = Writer::new(&mut output, scripts, true, false);
        questions.into_iter().for_each(|question| writer.add(question));
        let expected = writer.expected();
        let batch = writer.finish().expect("something was asked");
        assert_eq!(batch.expected(), expected);
        assert!(!output.is_empty());
        batch
    }

    #[test]
    fn one_command_is_about_no_more_than_a_server_is_to_do_at_once() {
        let names = names(300);
        for (verb, is_guarded, sizes) in [
            (Verb::Release, false, vec![128, 128, 44]),
            (Verb::Release, true, vec![128, 128, 44]),
            (Verb::Extend { recreate: false }, true, vec![128, 128, 44]),
            (Verb::Acquire, false, vec![128, 128, 44]),
            (Verb::Acquire, true, [vec![16; 18], vec![12]].concat()),
        ] {
            let calls: Vec<_> = names.iter().map(|name| (verb, &**name, SHORT)).collect();
            ask(&calls, |questions| {
                let scripts = KnownScripts::default();
                if is_guarded {
                    scripts.guard();
                }
                let batch = batch(&scripts, questions);
                assert_eq!(commands(&batch), (sizes.clone(), sizes.len()), "{verb:?}");
            });
        }
    }

    #[test]
    fn what_is_alike_goes_together_and_what_is_about_the_same_key_in_its_order() {
        let extend = Verb::Extend { recreate: false };
        let (release, acquire) = (Verb::Release, Verb::Acquire);
        for (calls, sizes) in [
            // A release has no expiry.
            (vec![(release, "a", SHORT), (release, "b", LONG)], vec![2]),
            (vec![(extend, "a", SHORT), (extend, "b", SHORT), (extend, "c", LONG)], vec![2, 1]),
            (
                vec![(extend, "a", SHORT), (acquire, "b", SHORT), (release, "c", SHORT)],
                vec![1, 1, 1],
            ),
            (vec![(release, "a", SHORT), (extend, "b", SHORT), (release, "c", SHORT)], vec![2, 1]),
            (vec![(release, "a", SHORT), (release, "b", SHORT), (extend, "a", SHORT)], vec![2, 1]),
            (vec![(extend, "a", SHORT), (release, "a", SHORT), (release, "b", SHORT)], vec![1, 2]),
        ] {
            ask(&calls, |questions| {
                let batch = batch(&KnownScripts::default(), questions);
                assert_eq!(commands(&batch), (sizes.clone(), sizes.len()), "{calls:?}");
            });
        }
    }

    #[test]
    fn a_server_that_takes_one_key_at_a_time_is_asked_so() {
        let calls = [(Verb::Release, "a", SHORT), (Verb::Release, "b", SHORT)];
        ask(&calls, |mut questions| {
            let (scripts, mut output) = (KnownScripts::default(), Vec::new());
            let mut writer = Writer::new(&mut output, &scripts, false, true);
            assert_eq!(writer.expected(), 0);
            questions[1].is_asking = true;
            questions.into_iter().for_each(|question| writer.add(question));
            assert_eq!(writer.expected(), 3);
            let batch = writer.finish().expect("something was asked");
            assert_eq!(commands(&batch), (vec![1, 1], 3));
            assert!(output.windows(6).any(|word| word == b"ASKING"));
        });
        let (scripts, mut output) = (KnownScripts::default(), Vec::new());
        assert!(Writer::new(&mut output, &scripts, true, false).finish().is_none());
    }

    #[test]
    fn who_is_sent_on_or_has_to_be_asked_alone_is() {
        let calls = ["a", "b", "c"].map(|name| (Verb::Release, name, SHORT));
        ask(&calls, |mut questions| {
            questions[0].is_asking = true;
            questions[1].is_alone = true;
            let (scripts, mut output) = (KnownScripts::default(), Vec::new());
            let mut writer = Writer::new(&mut output, &scripts, true, true);
            questions.into_iter().for_each(|question| writer.add(question));
            let batch = writer.finish().expect("something was asked");
            assert_eq!(commands(&batch), (vec![1, 1, 1], 4));
        });
    }

    #[test]
    fn what_a_server_releases_without_a_script_is_released_one_by_one() {
        let extend = Verb::Extend { recreate: false };
        let calls = [
            (Verb::Release, "a", SHORT),
            (Verb::Release, "b", SHORT),
            (extend, "c", SHORT),
            (extend, "d", SHORT),
        ];
        ask(&calls, |questions| {
            let scripts = KnownScripts::beside(Some(Deletion::DelIfEq));
            let batch = batch(&scripts, questions);
            assert_eq!(commands(&batch), (vec![1, 1, 2], 3));
            let is_deletion =
                |entry: &Entry| matches!(entry, Entry::One(question) if question.is_deletion);
            assert_eq!(batch.entries.iter().filter(|entry| is_deletion(entry)).count(), 2);
        });
    }

    #[test]
    fn one_reply_too_many_or_too_few_is_believed_for_none() {
        for (replies, is_believed) in
            [(vec![], false), (vec![1], false), (vec![1, 0], true), (vec![1, 0, 1], false)]
        {
            ask(&[(Verb::Release, "a", SHORT), (Verb::Release, "b", SHORT)], |mut questions| {
                questions.iter_mut().for_each(|question| question.is_alone = true);
                let mut batch = batch(&KnownScripts::default(), questions);
                for reply in &replies {
                    assert!(!batch.is_complete() || replies.len() > 2);
                    batch.take(Value::Int(*reply));
                }
                assert_eq!(batch.is_complete(), is_believed);
                if is_believed {
                    assert!(batch.answered().is_ok());
                }
            });
        }
        // The letters of a run: one for each, and none that it does not know.
        for (letters, is_believed) in [("10", true), ("-?", true), ("1", false), ("1x", false)] {
            ask(&[(Verb::Release, "a", SHORT), (Verb::Release, "b", SHORT)], |questions| {
                let mut batch = batch(&KnownScripts::default(), questions);
                batch.take(Value::BulkString(letters.into()));
                assert!(batch.is_complete());
                assert_eq!(batch.answered().is_ok(), is_believed, "{letters}");
            });
        }
    }

    #[test]
    fn a_filter_knows_what_was_added_and_forgets_it() {
        let names = names(3);
        let calls: Vec<_> = names.iter().map(|name| (Verb::Release, &**name, SHORT)).collect();
        ask(&calls, |questions| {
            let mut filter = KeyFilter::default();
            assert!(!filter.may_hold(&questions[0]));
            filter.add(&questions[0]);
            filter.add(&questions[1]);
            let held = questions.iter().map(|question| filter.may_hold(question));
            assert_eq!(held.collect::<Vec<_>>(), [true, true, false]);
            filter.clear();
            assert!(!filter.may_hold(&questions[0]));
        });
    }
}
