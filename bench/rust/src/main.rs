//! Locks without a library and without Node.js: what is left is Redis, redis-rs and the network.
//!
//! Does what the lines on its standard input say, like `bench/worker.js`, which documents them.
//! Each lock is a SET NX PX, each release an EVALSHA, on all nodes at once; every node gets one
//! pipeline per tick of a current-thread runtime. With `--fail-fast` the votes of a quorum are
//! enough.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Script, Value, cmd};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::Notify;
use tokio::task::spawn_local;

type Failure = Box<dyn std::error::Error>;

const EXPIRY_MS: u32 = 8000;
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0";

/// The votes on one command.
struct Tally {
    missing: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Tally {
    fn new(needed: usize) -> Rc<Self> {
        Rc::new(Self { missing: Cell::new(needed), waker: RefCell::default() })
    }

    /// Nobody else wants these keys, so any other reply is a mistake of this program.
    fn count(&self, reply: &Value) {
        assert!(matches!(reply, Value::Okay | Value::Int(1)), "not granted: {reply:?}");
        self.missing.set(self.missing.get().saturating_sub(1));
        if self.missing.get() == 0
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    async fn decided(&self) {
        poll_fn(|context| {
            if self.missing.get() == 0 {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// One server, and the commands for its next pipeline.
struct Node {
    connection: MultiplexedConnection,
    commands: RefCell<Vec<(Cmd, Rc<Tally>)>>,
    work: Notify,
}

impl Node {
    async fn connect(url: &str) -> Result<Rc<Self>, Failure> {
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(8192);
        let client = Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        cmd("SCRIPT").arg("LOAD").arg(RELEASE).exec_async(&mut connection).await?;
        let node =
            Rc::new(Self { connection, commands: RefCell::default(), work: Notify::default() });
        spawn_local(node.clone().serve());
        Ok(node)
    }

    fn ask(&self, command: Cmd, tally: Rc<Tally>) {
        self.commands.borrow_mut().push((command, tally));
        self.work.notify_one();
    }

    async fn serve(self: Rc<Self>) {
        loop {
            self.work.notified().await;
            let mut pipeline = Pipeline::new();
            let mut tallies = Vec::new();
            for (command, tally) in self.commands.take() {
                pipeline.add_command(command);
                tallies.push(tally);
            }
            // What was asked while this task was already on its way to run has been sent with it.
            if tallies.is_empty() {
                continue;
            }
            let mut connection = self.connection.clone();
            spawn_local(async move {
                let replies = connection.send_packed_commands(&pipeline, 0, tallies.len()).await;
                for (tally, reply) in tallies.iter().zip(replies.expect("the server answers")) {
                    tally.count(&reply);
                }
            });
        }
    }
}

/// What to lock on, and how many votes a lock needs.
struct Limit {
    nodes: Vec<Rc<Node>>,
    quorum: usize,
    release: String,
    made: Cell<u64>,
}

impl Limit {
    async fn connect(urls: &[&str], is_fail_fast: bool) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for url in urls {
            nodes.push(Node::connect(url).await?);
        }
        let quorum = if is_fail_fast { nodes.len() / 2 + 1 } else { nodes.len() };
        let release = Script::new(RELEASE).get_hash().to_owned();
        Ok(Self { nodes, quorum, release, made: Cell::new(0) })
    }

    async fn poll(&self, votes: usize, command: impl Fn() -> Cmd) {
        let tally = Tally::new(votes);
        for node in &self.nodes {
            node.ask(command(), tally.clone());
        }
        tally.decided().await;
    }

    async fn lock(&self, votes: usize, key: &str, value: &str) {
        self.poll(votes, || {
            let mut set = cmd("SET");
            set.arg(key).arg(value).arg("NX").arg("PX").arg(EXPIRY_MS);
            set
        })
        .await;
    }

    async fn unlock(&self, votes: usize, key: &str, value: &str) {
        self.poll(votes, || {
            let mut release = cmd("EVALSHA");
            release.arg(&self.release).arg(1).arg(key).arg(value);
            release
        })
        .await;
    }

    async fn cycle(&self, votes: usize) {
        let number = self.made.replace(self.made.get() + 1);
        let (key, value) = (format!("bench:{number}"), format!("{number:024}"));
        self.lock(votes, &key, &value).await;
        self.unlock(votes, &key, &value).await;
    }

    /// One of the cycles at once. Its times are taken only when it is the only one.
    async fn repeat(&self, running: &Cell<bool>, times: Option<&RefCell<Vec<Duration>>>) -> u64 {
        let mut cycles = 0;
        while running.get() {
            let before = times.map(|_| Instant::now());
            self.cycle(self.quorum).await;
            if let (Some(before), Some(times)) = (before, times) {
                times.borrow_mut().push(before.elapsed());
            }
            cycles += 1;
        }
        cycles
    }
}

/// One round, as a line of JSON: times in microseconds.
async fn run(limit: Rc<Limit>, in_flight: usize, duration: Duration) -> String {
    let running = Rc::new(Cell::new(true));
    let times = (in_flight == 1).then(|| Rc::new(RefCell::new(Vec::new())));
    let (start, cpu_before) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (limit, running, times) = (limit.clone(), running.clone(), times.clone());
            spawn_local(async move { limit.repeat(&running, times.as_deref()).await })
        })
        .collect();
    tokio::time::sleep(duration).await;
    running.set(false);
    let mut cycles = 0;
    for worker in workers {
        cycles += worker.await.expect("no cycle panics");
    }
    let elapsed = micros(start.elapsed());
    let spent = cpu_before.zip(cpu()).map(|(before, after)| after - before);
    let spent = spent.map_or("null".to_owned(), |spent| spent.to_string());
    // Replies come in order: with these, those that fail-fast did not wait for have come too.
    limit.cycle(limit.nodes.len()).await;
    let latency = times.map_or(String::new(), |times| percentiles(&mut times.borrow_mut()));
    format!(r#"{{"cycles":{cycles},"elapsed":{elapsed},"processCpu":{spent}{latency}}}"#)
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let percentile =
        |percent: usize| micros(times[(times.len() * percent / 100).min(times.len() - 1)]);
    format!(r#","p50":{},"p99":{}"#, percentile(50), percentile(99))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Processor time of this thread, the only one, in microseconds; `None` where there is no /proc.
fn cpu() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1000.0)
}

/// Answers one line.
fn answer(
    runtime: &LocalRuntime,
    limit: &mut Option<Rc<Limit>>,
    line: &str,
) -> Result<String, Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    if let ["connect", urls @ ..] = &words[..] {
        let is_fail_fast = std::env::args().any(|argument| argument == "--fail-fast");
        *limit = Some(Rc::new(runtime.block_on(Limit::connect(urls, is_fail_fast))?));
        return Ok("{}".into());
    }
    let limit = limit.clone().ok_or("not connected")?;
    let all = limit.nodes.len();
    match &words[..] {
        ["hold", key] => runtime.block_on(limit.lock(all, key, "held")),
        ["release", key] => runtime.block_on(limit.unlock(all, key, "held")),
        ["run", in_flight, milliseconds] => {
            let duration = Duration::from_millis(milliseconds.parse()?);
            return Ok(runtime.block_on(run(limit, in_flight.parse()?, duration)));
        }
        _ => return Err(format!("what is {line:?}?").into()),
    }
    Ok("{}".into())
}

fn main() -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let mut limit = None;
    for line in io::stdin().lock().lines() {
        let answer = answer(&runtime, &mut limit, &line?)?;
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}
