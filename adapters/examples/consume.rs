//! A member of a group: takes messages, acks them, and leaves on Ctrl-C or after so many.
//!
//! `cargo run -p tidegate --example consume -- redis://localhost/orders GROUP [COUNT]`

use std::time::Instant;

use tidegate::{ConsumerError, ConsumerMode, ConsumerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "redis://localhost/orders".into());
    let group = args.next().unwrap_or_else(|| "billing".into());
    let count: u64 = args.next().map_or(Ok(u64::MAX), |count| count.parse())?;

    let options = ConsumerOptions::new(ConsumerMode::LoadBalanced).group(group);
    let consumer = tidegate::connect(&url, options).await?;
    let mut notices = consumer.notices();
    tokio::spawn(async move {
        while let Some(notice) = notices.recv().await {
            eprintln!("{notice}");
        }
    });

    let started = Instant::now();
    let work = async {
        let (mut messages, mut bytes) = (0, 0);
        while messages < count {
            let Some(message) = consumer.next().await? else { break };
            bytes += message.payload().map_or(0, <[u8]>::len);
            messages += 1;
            consumer.ack(&message);
        }
        eprintln!("{messages} messages, {bytes} bytes in {:?}", started.elapsed());
        Ok::<_, ConsumerError>(())
    };
    tokio::select! {
        done = work => done?,
        stop = tokio::signal::ctrl_c() => stop?,
    }
    consumer.close().await?;
    eprintln!("{:?}", consumer.stats().await);
    Ok(())
}
