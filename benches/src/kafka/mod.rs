//! What the Kafka benchmark's parent, floor and producer speak: requests over one blocking socket, through
//! tidegate's own wire module, and batches of records to fill topics with.

pub mod produce;
pub mod records;
pub mod wire;
