//! Every bound of a machine, in one place.

use std::time::Duration;

use crate::error::Error;

/// The limits of one consumer. Each has a default that suits a service on an ordinary machine,
/// and together the defaults keep a consumer under about 16 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Messages that wait for the application before the broker is asked for no more. Default
    /// 4,096; reached to within what was already asked for (at most 2 × `batch` of each shard). A
    /// quarter more, or one batch, may wait in the handle.
    pub lane_records_max: usize,
    /// Bytes that wait for the application before nothing more is read from the network; read
    /// again at half. Default 4 MiB; reached to within one read.
    pub lane_bytes_max: usize,
    /// Messages that the application holds un-acked, or that wait to be committed, before no
    /// more are asked for. Default 1,048,576, each about 17 bytes; on Kafka, where offsets follow
    /// each other, less than one.
    pub unacked_max: usize,
    /// Requests whose outcome is still open. Default 1,024.
    pub requests_max: usize,
    /// Notices that wait for the driver; the oldest go first. Default 1,024.
    pub notices_max: usize,
    /// Streams and shards read by one consumer. Default 65,536.
    pub shards_max: usize,
    /// Connections of one consumer. Default 1,024; Redis needs two.
    pub connections_max: usize,
    /// Most acks in one commit command. Default 1,000.
    pub commit_messages_max: usize,
    /// Commit commands without an answer on one connection. Default 16.
    pub commits_in_flight_max: usize,
    /// Bytes that wait to be written on one connection before no more commands are queued on
    /// it. Default 1 MiB; reached to within one command.
    pub outgoing_bytes_max: usize,
    /// Most messages claimed by one command. Default 100.
    pub claim_messages_max: usize,
    /// A connection that isn't established by then has failed. Default 5 s.
    pub connect_timeout: Duration,
    /// A command that isn't answered by then ends its connection. Default 10 s; a read that may
    /// block has `block` more.
    pub response_timeout: Duration,
    /// How long one read waits at the broker. Default 5 s: also how late a broker that went
    /// silently is noticed, less `response_timeout`.
    pub block: Duration,
    /// First wait after a second failure in a row; the first retry comes at once. Default
    /// 100 ms, doubled each time, with jitter.
    pub retry_min: Duration,
    /// Longest wait between two tries. Default 5 s.
    pub retry_max: Duration,
    /// Deepest nesting of a reply. Default 16.
    pub reply_depth_max: usize,
    /// Longest line of a reply in bytes. Default 64 KiB.
    pub reply_line_max: usize,
    /// Longest value of a reply in bytes. Default 512 MiB, as Redis's proto-max-bulk-len.
    pub reply_bulk_max: usize,
    /// Most elements of one aggregate of a reply. Default 4,194,304.
    pub reply_elements_max: usize,
    /// Longest reply in bytes; of a read or a claim, whose entries are handed on as they come,
    /// the longest entry. Default 1 GiB.
    pub reply_bytes_max: usize,
}

impl Limits {
    /// Whether anything could go on within them.
    ///
    /// # Errors
    /// [`Error::Options`], naming the limit that is zero.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [
            ("lane_records_max", self.lane_records_max),
            ("lane_bytes_max", self.lane_bytes_max),
            ("unacked_max", self.unacked_max),
            ("requests_max", self.requests_max),
            ("notices_max", self.notices_max),
            ("shards_max", self.shards_max),
            ("connections_max", self.connections_max),
            ("commit_messages_max", self.commit_messages_max),
            ("commits_in_flight_max", self.commits_in_flight_max),
            ("outgoing_bytes_max", self.outgoing_bytes_max),
            ("claim_messages_max", self.claim_messages_max),
            ("reply_depth_max", self.reply_depth_max),
            ("reply_line_max", self.reply_line_max),
            ("reply_bulk_max", self.reply_bulk_max),
            ("reply_elements_max", self.reply_elements_max),
            ("reply_bytes_max", self.reply_bytes_max),
        ];
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
            ("block", self.block),
            ("retry_min", self.retry_min),
            ("retry_max", self.retry_max),
        ];
        let zero_count = counts.iter().find(|(_, count)| *count == 0).map(|(name, _)| name);
        let zero_time = times.iter().find(|(_, time)| time.is_zero()).map(|(name, _)| name);
        match zero_count.or(zero_time) {
            Some(name) => Err(Error::Options(format!("limits.{name} is zero: nothing could go on").into())),
            None => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lane_records_max: 4_096,
            lane_bytes_max: 4 << 20,
            unacked_max: 1 << 20,
            requests_max: 1_024,
            notices_max: 1_024,
            shards_max: 65_536,
            connections_max: 1_024,
            commit_messages_max: 1_000,
            commits_in_flight_max: 16,
            outgoing_bytes_max: 1 << 20,
            claim_messages_max: 100,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(10),
            block: Duration::from_secs(5),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            reply_depth_max: 16,
            reply_line_max: 64 << 10,
            reply_bulk_max: 512 << 20,
            reply_elements_max: 4 << 20,
            reply_bytes_max: 1 << 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        assert_eq!(Limits::default().check(), Ok(()));
        let nothing_fits = Limits { lane_bytes_max: 0, ..Limits::default() };
        let no_time = Limits { block: Duration::ZERO, ..Limits::default() };
        for (limits, name) in [(nothing_fits, "limits.lane_bytes_max"), (no_time, "limits.block")] {
            let said = limits.check().map_err(|error| error.to_string());
            assert!(said.as_ref().is_err_and(|said| said.contains(name)), "{said:?}");
        }
    }
}
