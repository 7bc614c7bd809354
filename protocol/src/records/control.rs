//! Control records: how a broker ends a transaction in the log (KIP-98), and what controllers note
//! in theirs (KIP-595, KIP-630, KIP-853).
//!
//! Brokers alone may write them, and no consumer sees them. Source: `ControlRecordType` and
//! `EndTransactionMarker`.

use crate::wire::{Malformed, Reader, Why};

/// What the key of a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's open transaction is void.
    Abort,
    /// The producer's open transaction is valid.
    Commit,
    /// A new leader of the controllers' log.
    LeaderChange,
    /// The beginning of a snapshot.
    SnapshotHeader,
    /// The end of a snapshot.
    SnapshotFooter,
    /// The version of the controllers' protocol.
    KRaftVersion,
    /// The set of controllers.
    KRaftVoters,
    /// Newer than this program; to be ignored.
    Other(i16),
}

impl ControlType {
    /// Reads the key of a control record. A newer version reads as version 0, which it extends.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the key is too short or its version negative.
    pub fn parse(key: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(key);
        version(&mut reader).map_err(|fault| fault.at("ControlRecordType.version"))?;
        Ok(match i16::from_be_bytes(reader.array()?) {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            id => Self::Other(id),
        })
    }

    /// The key of a control record of this type, version 0.
    #[must_use]
    pub const fn key(self) -> [u8; 4] {
        let id = match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Other(id) => id,
        };
        let [high, low] = id.to_be_bytes();
        [0, 0, high, low]
    }
}

/// The value of a commit or abort marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Version of the value; newer ones extend older ones.
    pub version: i16,
    /// Epoch of the transaction coordinator that wrote the marker.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads the value of a commit or abort marker.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the value is too short or its version negative.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(value);
        let version = version(&mut reader).map_err(|fault| fault.at("EndTxnMarker.version"))?;
        let coordinator_epoch = i32::from_be_bytes(reader.array()?);
        Ok(Self {
            version,
            coordinator_epoch,
        })
    }

    /// The value as a broker writes it.
    #[must_use]
    pub const fn value(self) -> [u8; 6] {
        let [v0, v1] = self.version.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }
}

fn version(reader: &mut Reader<'_>) -> Result<i16, Malformed> {
    let version = i16::from_be_bytes(reader.array()?);
    if version < 0 {
        return Err(Malformed::new(Why::OutOfRange));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_survive_and_newer_versions_are_read_as_the_oldest() {
        for (control, key) in [
            (ControlType::Abort, [0, 0, 0, 0]),
            (ControlType::Commit, [0, 0, 0, 1]),
            (ControlType::LeaderChange, [0, 0, 0, 2]),
            (ControlType::SnapshotHeader, [0, 0, 0, 3]),
            (ControlType::SnapshotFooter, [0, 0, 0, 4]),
            (ControlType::KRaftVersion, [0, 0, 0, 5]),
            (ControlType::KRaftVoters, [0, 0, 0, 6]),
            (ControlType::Other(7), [0, 0, 0, 7]),
            (ControlType::Other(-1), [0, 0, 0xff, 0xff]),
        ] {
            assert_eq!(control.key(), key);
            assert_eq!(ControlType::parse(&key), Ok(control));
        }
        assert_eq!(
            ControlType::parse(&[0, 9, 0, 1, 5, 5]),
            Ok(ControlType::Commit)
        );
        let marker = EndTxnMarker {
            version: 0,
            coordinator_epoch: 0x0102_0304,
        };
        assert_eq!(marker.value(), [0, 0, 1, 2, 3, 4]);
        assert_eq!(EndTxnMarker::parse(&marker.value()), Ok(marker));
    }

    #[test]
    fn short_keys_and_negative_versions_are_refused() {
        assert!(ControlType::parse(&[0, 0, 0]).is_err());
        assert!(ControlType::parse(&[0xff, 0xff, 0, 1]).is_err());
        assert!(EndTxnMarker::parse(&[0, 0, 0, 0, 1]).is_err());
        assert!(EndTxnMarker::parse(&[0x80, 0, 0, 0, 0, 1]).is_err());
    }
}
