//! The engine thread: one for the process, with a current-thread runtime, started by the first client that needs it.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;

use super::host::{Host, Message};
use super::spin::spin;

static THREAD: Mutex<Option<UnboundedSender<Message>>> = Mutex::new(None);

/// An environment is gone. If there is no thread, it has nothing there.
pub fn send_if_started(message: Message) {
    if let Some(sender) = &*THREAD.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = sender.send(message);
    }
}

/// Sends to the engine thread, which is started if there is none.
pub fn send(message: Message) -> io::Result<()> {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = match &mut *thread {
        Some(sender) => sender,
        none => none.insert(start()?),
    };
    // The receiver lives as long as the thread, and that as long as the process.
    let _ = sender.send(message);
    Ok(())
}

fn start() -> io::Result<UnboundedSender<Message>> {
    let (sender, receiver) = unbounded_channel();
    thread::Builder::new().name("redsync".to_owned()).spawn(move || {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(async move {
                let host = Host::default();
                spawn_local(spin(host.load.clone()));
                // As a task among the others: the root future is polled out of turn.
                let _ = spawn_local(serve(host, receiver)).await;
            }),
            // Without a runtime the receiver is dropped here, and every call is told "closed".
            Err(_) => refuse_all(receiver),
        }
    })?;
    Ok(sender)
}

async fn serve(mut host: Host, mut messages: UnboundedReceiver<Message>) {
    while let Some(message) = messages.recv().await {
        host.handle(message);
    }
}

/// Tells every call that there is no engine.
fn refuse_all(mut messages: UnboundedReceiver<Message>) {
    let mut host = Host::default();
    while let Some(message) = messages.blocking_recv() {
        // Where nothing is opened, every call is one of a client that is closed.
        if let Message::Calls { .. } = message {
            host.handle(message);
        }
    }
}
