//! From a URL to a consumer that reads, on tokio.

use tidegate_core::{ConsumerError, ConsumerOptions, Machine, Setup};

use crate::any::{AnyMachine, setup};
use crate::handle::{Handle, drive};
use crate::runtime::Runtime as _;
use crate::tokio::Tokio;
use crate::url::StreamUrl;

/// A consumer of the streams that `url` names (see [`StreamUrl`]), on the tokio runtime that the
/// caller is in. Returns once it reads.
///
/// What the URL says takes the place of what `options` say. A Kafka URL may name topics by pattern,
/// such as `kafka://localhost/^orders-.*`; where none matches yet, it returns as well.
///
/// Cancel-safe: dropped, the consumer is closed in the background.
///
/// ```no_run
/// # async fn example() -> Result<(), tidegate::ConsumerError> {
/// use tidegate::{ConsumerMode, ConsumerOptions};
///
/// let options = ConsumerOptions::new(ConsumerMode::LoadBalanced).group("billing");
/// let consumer = tidegate::connect("redis://localhost/orders", options).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Options`](crate::Error::Options) for a URL or options that can't be;
/// [`Error::Connect`](crate::Error::Connect), [`Error::Login`](crate::Error::Login) and the others
/// of [`Error`](crate::Error) for what the server does not let be. Once it reads, such things are
/// waited out and told by [notices](Handle::notices).
pub async fn connect(url: &str, options: ConsumerOptions) -> Result<Handle, ConsumerError> {
    connect_with(url, options, |machine, _| machine).await
}

/// As [`connect`], with a machine around the machine: `wrap` gets the machine and what it was
/// made from, and returns what is driven.
///
/// ```no_run
/// # async fn example() -> Result<(), tidegate::ConsumerError> {
/// use tidegate_core::trace::Recorder;
///
/// let options = tidegate::ConsumerOptions::default();
/// let consumer = tidegate::connect_with("redis://localhost/orders", options, |machine, setup| {
///     Recorder::new(machine, "redis", setup, |line: &str| eprint!("{line}"))
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`connect`].
pub async fn connect_with<M>(
    url: &str,
    options: ConsumerOptions,
    wrap: impl FnOnce(AnyMachine, &Setup) -> M,
) -> Result<Handle, ConsumerError>
where
    M: Machine + Send + 'static,
{
    let url: StreamUrl = url.parse()?;
    let runtime = Tokio::current()?;
    let setup = setup(&url, options, runtime.now())?;
    let machine = AnyMachine::new(&url, setup.clone())?;
    let machine = wrap(machine, &setup);
    let handle = drive(runtime, machine, &setup.options);
    handle.ready().await?;
    Ok(handle)
}
