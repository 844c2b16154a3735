//! Requests and answers of any kind.

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::wire::{self, Request, read_response, write_request};

macro_rules! asks {
    ($($name:ident $request:ident;)*) => {
        /// A request, with its version.
        #[derive(Clone, Debug)]
        pub enum Ask { $($name(i16, wire::$request)),* }

        /// An answer.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Answer { $($name(<wire::$request as Request>::Response)),* }

        impl Ask {
            /// Its name and its version.
            pub fn title(&self) -> (&'static str, i16) {
                match self { $(Self::$name(version, _) => (stringify!($name), *version)),* }
            }

            /// Its bytes, with the length before them.
            pub fn bytes(&self, correlation: i32) -> BytesMut {
                let mut bytes = BytesMut::new();
                match self {
                    $(Self::$name(version, request) => {
                        write_request(&mut bytes, correlation, "dialogue", *version, request).unwrap();
                    })*
                }
                bytes
            }

            /// The answer to it.
            pub fn read(&self, frame: Bytes) -> Answer {
                match self {
                    $(Self::$name(version, _) => {
                        Answer::$name(read_response::<wire::$request>(frame, *version).unwrap())
                    })*
                }
            }
        }
    };
}

asks! {
    FindCoordinator FindCoordinatorRequest;
    JoinGroup JoinGroupRequest;
    SyncGroup SyncGroupRequest;
    Heartbeat HeartbeatRequest;
    LeaveGroup LeaveGroupRequest;
    ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest;
    OffsetCommit OffsetCommitRequest;
    OffsetFetch OffsetFetchRequest;
    ListOffsets ListOffsetsRequest;
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest;
    Fetch FetchRequest;
    Produce ProduceRequest;
}
