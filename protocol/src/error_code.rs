//! Error codes as data: a number that survives, a name, and whether Kafka calls it retriable.

use crate::wire::{Decode, Encode, Malformed, Reader, Version, Writer};

/// The error code of an answer; 0 is success, and codes of newer brokers survive unnamed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($($code:literal $name:ident $retriable:literal,)+) => {
        #[expect(missing_docs, reason = "each is an error by Kafka's own name")]
        impl ErrorCode {
            $(pub const $name: Self = Self($code);)+

            /// Every code that has a name.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Kafka's name for the code, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some(stringify!($name)),)+ _ => None }
            }

            /// Whether Kafka's clients may send the same request again; false for unknown codes.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self.0 { $($code => $retriable,)+ _ => false }
            }
        }
    };
}

// Source: org.apache.kafka.common.protocol.Errors and the RetriableException hierarchy.
error_codes! {
    -1 UNKNOWN_SERVER_ERROR false,
    0 NONE false,
    1 OFFSET_OUT_OF_RANGE false,
    2 CORRUPT_MESSAGE true,
    3 UNKNOWN_TOPIC_OR_PARTITION true,
    35 UNSUPPORTED_VERSION false,
}

impl ErrorCode {
    /// Whether the code is 0.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// The code as an error, or success.
    ///
    /// # Errors
    ///
    /// The code itself, unless it is 0.
    pub const fn ok(self) -> Result<(), Self> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

impl std::error::Error for ErrorCode {}

impl Decode<'_> for ErrorCode {
    const MIN_LEN: usize = 2;

    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Malformed> {
        i16::read(reader, version).map(Self)
    }
}

impl Encode for ErrorCode {
    fn write(&self, writer: &mut Writer, version: Version) {
        self.0.write(writer, version);
    }
}
