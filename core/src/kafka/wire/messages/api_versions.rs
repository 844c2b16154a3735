//! Which APIs and versions a broker has (KIP-35, KIP-511, KIP-584).

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks which APIs and versions a broker has; the first request on a connection.
    request ApiVersionsRequest = 18, versions "0-4", flexible "3+", response ApiVersionsResponse {
        /// The client's name, of letters, digits, dots and dashes (KIP-511).
        client_software_name: String = "3+", ignorable true;
        /// The client's version, of the same.
        client_software_version: String = "3+", ignorable true;
    }
}

wire! {
    /// The APIs and versions of a broker. With error 35 it is in version 0, whatever was asked.
    response ApiVersionsResponse, versions "0-4", flexible "3+" {
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// What the broker has.
        api_keys: Vec<ApiVersionsResponseApiVersion> = "0+";
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// Features that the broker can have.
        supported_features: Vec<ApiVersionsResponseSupportedFeatureKey> = "3+", tag 0, ignorable true;
        /// Grows with each change of the finalized features; -1: not known.
        finalized_features_epoch: i64 = "3+", tag 1, ignorable true, default -1;
        /// Features that the cluster agreed on; only with an epoch of 0 or more.
        finalized_features: Vec<ApiVersionsResponseFinalizedFeatureKey> = "3+", tag 2, ignorable true;
        /// Whether a migration from ZooKeeper can go on.
        zk_migration_ready: bool = "3+", tag 3, ignorable true;
    }
}

wire! {
    /// The versions of one API.
    structure ApiVersionsResponseApiVersion as "ApiVersion" {
        /// One of [`api_key`](crate::kafka::wire::api_key), or one that is newer.
        api_key: i16 = "0+";
        /// The first version.
        min_version: i16 = "0+";
        /// The last version.
        max_version: i16 = "0+";
    }
}

wire! {
    /// A feature that the broker can have, with its versions.
    structure ApiVersionsResponseSupportedFeatureKey as "SupportedFeatureKey" {
        /// The feature's name.
        name: String = "3+";
        /// The first version.
        min_version: i16 = "3+";
        /// The last version.
        max_version: i16 = "3+";
    }
}

wire! {
    /// A feature that the whole cluster agreed on.
    structure ApiVersionsResponseFinalizedFeatureKey as "FinalizedFeatureKey" {
        /// The feature's name.
        name: String = "3+";
        /// The highest level.
        max_version_level: i16 = "3+";
        /// The lowest level.
        min_version_level: i16 = "3+";
    }
}
