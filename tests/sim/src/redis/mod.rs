//! Model Redis.
