//! The real engine between two in-memory clusters, over TCP and in one process: quick, no Java.

mod acls;
mod faults;
mod idempotence;
mod questions;
mod starts;
mod topics;
mod transactional;
