//! kmirror replicates Kafka clusters: one static binary in place of MirrorMaker 2.
//!
//! # The house
//!
//! ```text
//! main, cli ──▶ runtime ──▶ cluster ───────────────────▶ protocol     an arrow reads "imports"
//!    │             ├──────▶ flow ──▶ offsets, policy ──▶ protocol
//!    │             ├──────▶ config ──▶ policy
//!    └──▶ observe, demo ──▶ sandbox ───────────────────▶ protocol
//! ```
//!
//! * [`flow`] decides: one flow from a source to a target as state machines. Events and time go in,
//!   actions come out. It never waits, connects or reads a clock, so every decision can be tested
//!   in virtual time.
//! * [`cluster`] talks: one Kafka cluster, its connections, its metadata. It knows nothing of
//!   replication.
//! * [`runtime`] joins the two, and owns tasks and the clock.
//! * [`policy`] says which topics are copied under which names, [`offsets`] how positions are
//!   written, [`config`] reads MirrorMaker 2's file.
//! * `kmirror_protocol` turns bytes into messages and record batches, and back.
//! * [`sandbox`] is a Kafka cluster in memory, for [`demo`] and tests. Nothing on the replication
//!   path knows it.
//!
//! **Invariant: `flow` and `cluster` never import each other.** A test reads the sources and holds
//! every room to its border.
//!
//! # The way of a record
//!
//! ```text
//! source socket
//!   └▶ one frame in a pooled buffer                             cluster::pool
//!        └▶ FetchResponse; its record blobs are slices of it    protocol::messages
//!             └▶ per batch a decision on its 61-byte header     flow::batch
//!                  └▶ Produce: a skeleton, patched headers,     protocol::records, wire::Writer
//!                     and the same slices, in one gather write  cluster::channel
//!                       └▶ acknowledgement ▶ position           flow::partition, flow::positions
//! ```
//!
//! Nothing on this way copies a payload or looks at a record. A batch that cannot pass as it is
//! (holes from compaction, a position inside it) is built anew, and counted.
//!
//! # Not obvious
//!
//! * A target partition takes one batch per request, and at most five may be in flight: a broker
//!   recognises a resend only among the last five of a producer id. Until the first acknowledgement
//!   only one is in flight, because a broker takes any first sequence number.
//! * A batch keeps its sequence number and its bytes until it is acknowledged; a resend with other
//!   boundaries would not be recognised.
//! * The checksum of a forwarded batch is adjusted for its new header, never computed from the
//!   payload: damage on the way stays visible to the target.
//! * Positions move only on acknowledgements, and are stored in MirrorMaker 2's own format.

pub mod cli;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod flow;
#[cfg(test)]
mod fuzzing;
pub mod observe;
pub mod offsets;
pub mod policy;
pub mod runtime;
pub mod sandbox;
