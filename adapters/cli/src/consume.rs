//! `tidegate consume`.
//!
//! # Theory of operation
//!
//! Two threads. The main one takes batches, formats, writes and acks; it may hang in a write for
//! as long as nobody reads stdout. The runtime's one worker drives the machine meanwhile, so that
//! commits, keep-alives and reconnects go on; it also prints notices and listens to signals.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tidegate::{AnyMachine, Backend, Handle, Notices, Runtime as _, StreamUrl, Tokio, drive, setup};
use tidegate_core::kafka::Pattern;
use tidegate_core::trace::Recorder;
use tidegate_core::{
    ConsumerError, ConsumerMode, ConsumerOptions, KafkaOptions, Message, Messages, StreamKey,
};
use tokio::time::Instant;

use crate::args::{self, Commit, Consume, Runtime};
use crate::fatal::Fatal;
use crate::output::Writer;
use crate::printer::{Enough, Printer};
use crate::progress::{self, Counters};
use crate::record;
use crate::screen::Screen;
use crate::stop::{CLOSE_WITHIN, Stop};

/// A fatal error at the start is one line: what is noticed before it waits for so long.
const NOTICES_WAIT: Duration = Duration::from_secs(2);

/// A write that takes so long after a signal is not waited for.
const HANGING_AFTER: Duration = Duration::from_secs(1);

pub(crate) fn run(consume: Consume) -> Result<(), Fatal> {
    let (url, options) = check(&consume);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(format_args!("can't start the runtime: {error}")))?;
    let done = runtime.block_on(start(&consume, &url, options));
    // Not waiting for a name look-up that nobody needs any more.
    runtime.shutdown_background();
    done
}

/// The URL and the options; ends the process where they can't be.
fn check(consume: &Consume) -> (StreamUrl, ConsumerOptions) {
    match consume.runtime {
        Runtime::Tokio => {}
        Runtime::AsyncStd => args::refuse("consume", "--runtime async-std: not in this build; use tokio"),
        Runtime::Smol => args::refuse("consume", "--runtime smol: not in this build; use tokio"),
    }
    let url: StreamUrl = match consume.url.parse() {
        Ok(url) => url,
        Err(error) => args::refuse("consume", format_args!("wrong URL: {error}")),
    };
    let kafka = match (url.backend(), consume.kafka.given().first()) {
        (Backend::Kafka, _) => consume.kafka.options().unwrap_or_else(|wrong| args::refuse("consume", wrong)),
        (_, None) => KafkaOptions::default(),
        (backend, Some(option)) => args::refuse(
            "consume",
            format_args!("{option} is for Kafka only: leave it out with a {backend}:// URL"),
        ),
    };
    let mut options = ConsumerOptions::new(consume.mode.mode())
        .auto_commit(consume.auto_commit())
        .claim(consume.claim())
        .kafka(kafka)
        .create(consume.create);
    if let Some(batch) = consume.batch {
        options = options.batch(usize::try_from(batch).unwrap_or(usize::MAX));
    }
    if let Some(group) = &consume.group {
        if consume.mode.mode() == ConsumerMode::RealTime {
            args::refuse("consume", "--group needs --mode load-balanced or --mode resumable");
        }
        options = options.group(group.as_str());
    }
    if let Some(consumer) = &consume.consumer {
        options = options.consumer(consumer.as_str());
    }
    if let Some(from) = consume.from {
        let start = from.start(url.backend());
        options = options.start(start.unwrap_or_else(|wrong| args::refuse("consume", wrong)));
    }
    for args::Shard { stream, shard } in &consume.shards {
        let stream = StreamKey::from(stream.as_str());
        let named = |name: &StreamKey| match url.backend() {
            Backend::Kafka if Pattern::is_one(name) => {
                Pattern::new(name).is_ok_and(|pattern| pattern.matches(&stream.to_string()))
            }
            _ => *name == stream,
        };
        if !url.streams().iter().any(named) {
            args::refuse(
                "consume",
                format_args!("--shard {stream}:{shard}: the URL doesn't name the stream {stream}"),
            );
        }
        options = options.shard(stream, *shard);
    }
    if let Err(error) = options.check() {
        args::refuse("consume", error);
    }
    (url, options)
}

async fn start(consume: &Consume, url: &StreamUrl, options: ConsumerOptions) -> Result<(), Fatal> {
    let stop =
        Stop::on_signals().map_err(|error| Fatal::new(format_args!("can't listen to signals: {error}")))?;
    let screen = Arc::new(Screen::new(consume.progress));
    let runtime = Tokio::current()?;
    let setup = setup(url, options, runtime.now())?;
    let machine = AnyMachine::new(url, setup.clone())?;
    let handle = match &consume.record {
        Some(path) => {
            let sink = record::sink(path, screen.clone())?;
            drive(runtime, Recorder::new(machine, url.backend().name(), &setup, sink), &setup.options)
        }
        None => drive(runtime, machine, &setup.options),
    };
    let counters = Arc::new(Counters::default());
    let (is_ready, ready) = tokio::sync::oneshot::channel();
    let notices = tokio::spawn(tell(handle.notices(), ready, screen.clone(), counters.clone()));
    let progress = consume
        .progress
        .then(|| tokio::spawn(progress::show(handle.clone(), counters.clone(), screen.clone())));

    let delayed = consume.commit == Commit::Delayed;
    let (has_printed, printed) = tokio::sync::oneshot::channel();
    tokio::spawn(rescue(handle.clone(), stop.clone(), printed, delayed, screen.clone()));

    let writer = Writer::new(consume.format, url.backend());
    let done = print(consume, writer, &handle, &stop, &counters, is_ready).await;
    let _ = has_printed.send(());

    // Messages that were taken count as acked with delayed, whether or not they were written.
    // Then no close is right: whoever comes next gets them again.
    let taken_is_lost =
        consume.commit == Commit::Delayed && !matches!(done, Ok(Some(end)) if end != Enough::BrokenPipe);
    let closed = match done {
        // It never got there, or is over.
        Ok(None) | Ok(Some(Enough::End)) => Ok(()),
        _ if taken_is_lost => Ok(()),
        _ => handle.close_within(CLOSE_WITHIN).await,
    };
    if let Some(progress) = progress {
        progress.abort();
        let _ = progress.await;
    }
    screen.clear();
    if taken_is_lost {
        if let Err(fatal) = &done {
            screen.line("error", fatal);
        }
        std::process::exit(i32::from(done.is_err()));
    }
    done?;
    let closed = closed.map_err(Fatal::from);
    // They end with the consumer.
    let _ = tokio::time::timeout(Duration::from_millis(200), notices).await;
    closed
}

/// Ends the command in order where the main thread can't, as it hangs in a write that nobody
/// reads: it is given a second after a signal.
async fn rescue(
    handle: Handle,
    stop: Arc<Stop>,
    printed: tokio::sync::oneshot::Receiver<()>,
    delayed: bool,
    screen: Arc<Screen>,
) {
    let hanging = async {
        stop.wait().await;
        tokio::time::sleep(HANGING_AFTER).await;
    };
    tokio::select! {
        biased;
        _ = printed => return,
        () = hanging => {}
    }
    screen.clear();
    screen.line("notice", "nobody reads stdout: what could not be written is not acked");
    // With delayed the close would ack what was taken, and that is not written.
    let within = CLOSE_WITHIN.saturating_sub(HANGING_AFTER);
    if !delayed && let Err(error) = handle.close_within(within).await {
        screen.line("error", Fatal::from(error));
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Prints messages until it is enough; `None` if a signal came before the consumer was ready.
async fn print(
    consume: &Consume,
    writer: Writer,
    handle: &Handle,
    stop: &Stop,
    counters: &Arc<Counters>,
    is_ready: tokio::sync::oneshot::Sender<()>,
) -> Result<Option<Enough>, Fatal> {
    tokio::select! {
        biased;
        () = stop.wait() => return Ok(None),
        ready = handle.ready() => ready?,
    }
    let _ = is_ready.send(());
    let delayed = consume.commit == Commit::Delayed;
    let options = (consume.work, delayed, consume.count);
    let mut printer = Printer::new(handle, stop, counters, writer, options);
    let mut last = Instant::now();
    loop {
        if printer.has_lines() {
            // Small batches go out together, as long as there are more.
            match at_once(take(handle, delayed)).await {
                None => {
                    if let Some(enough) = printer.flush()? {
                        return Ok(Some(enough));
                    }
                }
                Some(taken) => match printed(&mut printer, taken).await? {
                    Some(enough) => return Ok(Some(enough)),
                    None => last = Instant::now(),
                },
            }
            continue;
        }
        let idle = async {
            match consume.exit_idle {
                Some(idle) => tokio::time::sleep_until(last + idle).await,
                None => std::future::pending().await,
            }
        };
        let taken = tokio::select! {
            biased;
            () = stop.wait() => return Ok(Some(Enough::Stopped)),
            taken = take(handle, delayed) => taken,
            () = idle => return Ok(Some(Enough::Idle)),
        };
        if let Some(enough) = printed(&mut printer, taken).await? {
            return Ok(Some(enough));
        }
        last = Instant::now();
    }
}

enum Taken {
    Batch(Messages),
    One(Message),
}

/// What comes next; with delayed one at a time, as what was taken counts as acked.
async fn take(handle: &Handle, delayed: bool) -> Result<Option<Taken>, ConsumerError> {
    if delayed {
        Ok(handle.next().await?.map(Taken::One))
    } else {
        Ok(handle.next_batch().await?.map(Taken::Batch))
    }
}

async fn printed(
    printer: &mut Printer<'_>,
    taken: Result<Option<Taken>, ConsumerError>,
) -> Result<Option<Enough>, Fatal> {
    match taken {
        Ok(Some(Taken::Batch(messages))) => printer.batch(&messages).await,
        Ok(Some(Taken::One(message))) => printer.one(&message).await,
        Ok(None) => Ok(Some(printer.flush()?.unwrap_or(Enough::End))),
        Err(error) => {
            printer.flush()?;
            Err(error.into())
        }
    }
}

/// The future's output, if it has one without waiting.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Prints notices until the consumer ends; from when it is ready, or takes long to get there.
async fn tell(
    mut notices: Notices,
    ready: tokio::sync::oneshot::Receiver<()>,
    screen: Arc<Screen>,
    counters: Arc<Counters>,
) {
    tokio::select! {
        ready = ready => if ready.is_err() { return },
        () = tokio::time::sleep(NOTICES_WAIT) => {}
    }
    while let Some(notice) = notices.recv().await {
        let text = crate::fatal::one_line(notice);
        if let Ok(mut last) = counters.last_notice.lock() {
            last.clone_from(&text);
        }
        screen.line("notice", text);
    }
}
