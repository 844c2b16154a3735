//! A broker of captured bytes: says what a real one says before the first fetch, and then gives out the
//! records that were captured from one, answer by answer.

use bytes::{Bytes, BytesMut};
use tidegate_benches::Failure;
use tidegate_core::kafka::wire::*;

/// What everything is called and numbered here.
const TOPIC: &str = "captured";
const TOPIC_ID: Uuid = Uuid([7; 16]);
const HOST: &str = "captured";
const BROKER: i32 = 1;
const SESSION: i32 = 5;

/// Records of one answer to a Fetch request, and the offset that it asked for.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) from: i64,
    pub(crate) records: Bytes,
}

/// See the [module](self).
pub(crate) struct Model<'a> {
    captured: &'a [Captured],
    next: usize,
}

impl<'a> Model<'a> {
    pub(crate) fn new(captured: &'a [Captured]) -> Self {
        Self { captured, next: 0 }
    }

    pub(crate) fn topic() -> &'static str {
        TOPIC
    }

    /// Answers a request; with nothing, where there is nothing more to fetch.
    pub(crate) fn answer(&mut self, frame: Bytes, out: &mut BytesMut) -> Result<(), Failure> {
        match request_header(&frame)?.request_api_key {
            ApiVersionsRequest::KEY => reply::<ApiVersionsRequest>(frame, out, |_| Ok(versions())),
            MetadataRequest::KEY => reply::<MetadataRequest>(frame, out, |_| Ok(metadata())),
            FindCoordinatorRequest::KEY => reply::<FindCoordinatorRequest>(frame, out, coordinator),
            ConsumerGroupHeartbeatRequest::KEY => {
                reply::<ConsumerGroupHeartbeatRequest>(frame, out, |request| Ok(heartbeat(&request)))
            }
            OffsetFetchRequest::KEY => {
                reply::<OffsetFetchRequest>(frame, out, |request| Ok(offsets(request)))
            }
            OffsetCommitRequest::KEY => {
                reply::<OffsetCommitRequest>(frame, out, |request| Ok(committed(request)))
            }
            FetchRequest::KEY => {
                let Some(captured) = self.captured.get(self.next) else { return Ok(()) };
                self.next += 1;
                reply::<FetchRequest>(frame, out, |request| fetched(&request, captured))
            }
            key => Err(format!("the machine asked for API {key}").into()),
        }
    }
}

fn reply<R: Request>(
    frame: Bytes,
    out: &mut BytesMut,
    answer: impl FnOnce(R) -> Result<R::Response, Failure>,
) -> Result<(), Failure> {
    let (header, request) = read_request::<R>(frame)?;
    let response = answer(request)?;
    Ok(write_response::<R>(out, header.correlation_id, header.request_api_version, &response)?)
}

fn versions() -> ApiVersionsResponse {
    fn of<R: Request>() -> ApiVersionsResponseApiVersion {
        let (min_version, max_version) = (*R::VERSIONS.start(), *R::VERSIONS.end());
        ApiVersionsResponseApiVersion { api_key: R::KEY, min_version, max_version }
    }
    let api_keys = vec![
        of::<ApiVersionsRequest>(),
        of::<MetadataRequest>(),
        of::<FindCoordinatorRequest>(),
        of::<ConsumerGroupHeartbeatRequest>(),
        of::<OffsetFetchRequest>(),
        of::<OffsetCommitRequest>(),
        of::<FetchRequest>(),
    ];
    ApiVersionsResponse { api_keys, ..Default::default() }
}

fn metadata() -> MetadataResponse {
    let partition =
        MetadataResponsePartition { leader_id: BROKER, replica_nodes: vec![BROKER], ..Default::default() };
    let topic = MetadataResponseTopic {
        name: Some(TOPIC.to_owned()),
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let broker =
        MetadataResponseBroker { node_id: BROKER, host: HOST.to_owned(), port: 1, ..Default::default() };
    MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() }
}

fn coordinator(request: FindCoordinatorRequest) -> Result<FindCoordinatorResponse, Failure> {
    let key = request.coordinator_keys.into_iter().next().ok_or("a coordinator of nothing")?;
    let one = FindCoordinatorResponseCoordinator {
        key,
        node_id: BROKER,
        host: HOST.to_owned(),
        port: 1,
        ..Default::default()
    };
    Ok(FindCoordinatorResponse { coordinators: vec![one], ..Default::default() })
}

fn heartbeat(request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let partitions =
        ConsumerGroupHeartbeatResponseTopicPartitions { topic_id: TOPIC_ID, partitions: vec![0] };
    let assignment = ConsumerGroupHeartbeatResponseAssignment { topic_partitions: vec![partitions] };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(request.member_id.clone()),
        member_epoch: 1,
        heartbeat_interval_ms: 5_000,
        assignment: (request.member_epoch == 0).then_some(assignment),
        ..Default::default()
    }
}

fn offsets(request: OffsetFetchRequest) -> OffsetFetchResponse {
    let partition = OffsetFetchResponsePartitions { committed_leader_epoch: -1, ..Default::default() };
    let topic =
        OffsetFetchResponseTopics { name: TOPIC.to_owned(), topic_id: TOPIC_ID, partitions: vec![partition] };
    let groups = request.groups.into_iter().map(|group| OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics: vec![topic.clone()],
        ..Default::default()
    });
    OffsetFetchResponse { groups: groups.collect(), ..Default::default() }
}

fn committed(request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                ..Default::default()
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn fetched(request: &FetchRequest, captured: &Captured) -> Result<FetchResponse, Failure> {
    let asked = request.topics.iter().flat_map(|topic| &topic.partitions).next();
    let from = asked.map(|partition| partition.fetch_offset);
    if from != Some(captured.from) {
        return Err(format!("the machine asked for {from:?} where {} is next", captured.from).into());
    }
    let data = FetchResponsePartitionData {
        high_watermark: i64::MAX,
        records: Some(captured.records.clone()),
        ..Default::default()
    };
    let topic = FetchResponseTopic { topic_id: TOPIC_ID, partitions: vec![data], ..Default::default() };
    Ok(FetchResponse { session_id: SESSION, responses: vec![topic], ..Default::default() })
}
