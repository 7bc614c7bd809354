//! What a flow's actions look like as requests, and what answers mean to it.
//!
//! Pure: functions of what is asked, of the names of partitions and of the decoded answer. They
//! never send, wait or retry, so that a simulator that speaks to a cluster in memory says and
//! understands the same as [`crate::runtime`] does over sockets.
//!
//! * [`names`]: how requests call partitions, and which partition an answer speaks of.
//! * [`records`]: Fetch and Produce.
//! * [`offsets`]: ListOffsets and OffsetForLeaderEpoch.
//! * [`producers`]: InitProducerId and DescribeProducers.
//! * [`transactions`]: what a transaction coordinator is asked.
//! * [`groups`]: consumer groups, and what they have committed.
//! * [`topics`]: what there is and how it is configured; creation.
//! * [`acls`]: who may do what.
//! * [`reading`] and [`writing`]: small compacted topics, whole.

pub mod acls;
pub mod groups;
pub mod names;
pub mod offsets;
pub mod producers;
pub mod reading;
pub mod records;
pub mod topics;
pub mod transactions;
pub mod writing;

use std::time::Duration;

use kmirror_protocol::ErrorCode;

pub use self::names::{Name, Named, Names};
use crate::flow::Failure;

/// A request, and what the connection must know to send it.
#[derive(Clone, Debug)]
pub struct Question<R> {
    /// The request.
    pub request: R,
    /// The highest version that can say it; `None` for any.
    pub version_max: Option<i16>,
    /// The longest answer in bytes that the asker has room for; `None` for what is usual.
    pub answer_len_max: Option<usize>,
}

impl<R> From<R> for Question<R> {
    fn from(request: R) -> Self {
        Self {
            request,
            version_max: None,
            answer_len_max: None,
        }
    }
}

/// An error code inside an answer, with the broker's words if there are any.
///
/// # Errors
///
/// [`Failure::Refused`] unless the code is `NONE`.
pub fn refusal(code: ErrorCode, message: Option<&str>) -> Result<(), Failure> {
    code.ok().map_err(|code| {
        let words = message.filter(|text| !text.is_empty()).map(String::from);
        Failure::Refused(code, words)
    })
}

/// A duration as the protocol has it, in milliseconds.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
