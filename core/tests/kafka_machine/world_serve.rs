//! Each request to who answers it.

use bytes::Bytes;
use tidegate_core::ConnId;
use tidegate_core::kafka::wire::*;

use super::super::model::part;
use super::World;

impl World {
    pub(super) fn serve(&mut self, conn: ConnId, frame: Bytes) {
        let header = request_header(&frame).unwrap();
        let version = header.request_api_version;
        let node = self.conns[&conn].node;
        match header.request_api_key {
            ApiVersionsRequest::KEY => {
                self.answer::<ApiVersionsRequest>(conn, frame, |cluster, _| cluster.api_versions());
            }
            MetadataRequest::KEY => {
                self.answer::<MetadataRequest>(conn, frame, |cluster, request| {
                    cluster.metadata(version, request)
                });
            }
            FindCoordinatorRequest::KEY => {
                self.answer::<FindCoordinatorRequest>(conn, frame, |cluster, request| {
                    cluster.find_coordinator(version, request)
                })
            }
            ListOffsetsRequest::KEY => self.answer::<ListOffsetsRequest>(conn, frame, |cluster, request| {
                cluster.list_offsets(node, request)
            }),
            OffsetForLeaderEpochRequest::KEY => {
                self.answer::<OffsetForLeaderEpochRequest>(conn, frame, |cluster, request| {
                    cluster.epoch_ends(node, request)
                });
            }
            OffsetCommitRequest::KEY => {
                let (_, request) = read_request::<OffsetCommitRequest>(frame.clone()).unwrap();
                self.check_commit(&request);
                self.answer::<OffsetCommitRequest>(conn, frame, |cluster, request| cluster.commit(request));
            }
            OffsetFetchRequest::KEY => self.answer::<OffsetFetchRequest>(conn, frame, |cluster, request| {
                cluster.committed(version, request)
            }),
            JoinGroupRequest::KEY => {
                self.answer::<JoinGroupRequest>(conn, frame, |cluster, request| {
                    cluster.join(version, request)
                });
            }
            SyncGroupRequest::KEY => {
                self.answer::<SyncGroupRequest>(conn, frame, |cluster, request| cluster.sync(request));
            }
            HeartbeatRequest::KEY => {
                self.answer::<HeartbeatRequest>(conn, frame, |cluster, request| cluster.heartbeat(request));
            }
            LeaveGroupRequest::KEY => {
                self.answer::<LeaveGroupRequest>(conn, frame, |cluster, request| {
                    cluster.leave(version, request)
                });
            }
            ConsumerGroupHeartbeatRequest::KEY => {
                self.answer::<ConsumerGroupHeartbeatRequest>(conn, frame, |cluster, request| {
                    cluster.group_heartbeat(request)
                });
            }
            FetchRequest::KEY => self.serve_fetch(conn, frame),
            other => panic!("the API {other} is not one that a consumer needs"),
        }
    }

    /// G and K lines about commits: nothing un-acked is passed, none goes back, none of a
    /// partition that isn't ours.
    fn check_commit(&mut self, request: &OffsetCommitRequest) {
        if self.chaos {
            return;
        }
        for topic in &request.topics {
            // One that was deleted a moment ago is refused.
            let Some(name) = self.cluster.name_of(&topic.name, topic.topic_id) else { continue };
            for offset in &topic.partitions {
                let part = part(&name, offset.partition_index);
                let least = self.unacked.get(&part).and_then(|offsets| offsets.first());
                let passed = least.is_some_and(|least| offset.committed_offset > *least);
                assert!(!passed, "the commit {offset:?} of {part:?} passes {least:?}, which is un-acked");
                let Some((epoch, _)) = self.assigned.get(&part) else {
                    // Handed over before the application took notice of it.
                    continue;
                };
                let before = self.committed.insert((part.clone(), *epoch), offset.committed_offset);
                assert!(
                    before <= Some(offset.committed_offset),
                    "the commit of {part:?} goes back: {before:?}"
                );
            }
        }
    }
}
