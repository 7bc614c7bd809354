//! Frames: four bytes of length, then a header, then a message.

use bytes::Bytes;

use crate::{
    api::Request,
    header::{RequestHeader, response_header_is_flexible},
    wire::{Decode, Encode, Malformed, Reader, Version, Writer},
};

pub use crate::wire::TooLong;

/// How many bytes the length of a frame takes.
pub const PREFIX_LEN: usize = 4;

/// A length prefix that no frame of this connection can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPrefix {
    /// The length is negative.
    Negative(i32),
    /// The length is above what the reader accepts.
    TooLarge {
        /// What the prefix says.
        len: usize,
        /// What the reader accepts.
        len_max: usize,
    },
    /// The bytes open a TLS alert or handshake record: the other side speaks TLS.
    Tls,
    /// The bytes open an HTTP answer.
    Http,
}

impl std::fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Negative(len) => write!(f, "a frame of negative length {len} came"),
            Self::TooLarge { len, len_max } => {
                write!(
                    f,
                    "a frame of {len} bytes came, above the limit of {len_max}"
                )
            }
            Self::Tls => f.write_str("the port speaks TLS, but was addressed in plaintext"),
            Self::Http => f.write_str("the port speaks HTTP, not Kafka's protocol"),
        }
    }
}

impl std::error::Error for BadPrefix {}

/// The length of the frame that `prefix` opens, at most `len_max` bytes.
///
/// # Errors
///
/// [`BadPrefix`] says what the other side seems to be instead (KIP-498 for TLS: read as a length,
/// an alert is about 352 MB).
pub fn body_len(prefix: [u8; PREFIX_LEN], len_max: usize) -> Result<usize, BadPrefix> {
    let len = i32::from_be_bytes(prefix);
    if let Ok(len) = usize::try_from(len)
        && len <= len_max
    {
        return Ok(len);
    }
    Err(match prefix {
        [0x15 | 0x16, 0x03, 0x00..=0x04, _] => BadPrefix::Tls,
        [b'H', b'T', b'T', b'P'] => BadPrefix::Http,
        _ => usize::try_from(len).map_or(BadPrefix::Negative(len), |len| BadPrefix::TooLarge {
            len,
            len_max,
        }),
    })
}

/// Encodes a request as a frame, its payloads by reference.
///
/// # Errors
///
/// [`TooLong`] when a field or the frame is longer than the protocol can express.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Vec<Bytes>, TooLong> {
    let version = R::version(version);
    let header = RequestHeader {
        api_key: R::KEY.number(),
        api_version: version.number,
        correlation_id,
        client_id: Some(client_id),
    };
    framed(|writer| {
        header.write(writer, version.flexible);
        request.write(writer, version);
    })
}

/// Encodes the answer to a request of type `R` as a frame, its payloads by reference.
///
/// # Errors
///
/// [`TooLong`] when a field or the frame is longer than the protocol can express.
pub fn encode_response<R: Request>(
    response: &R::Response<'_>,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Bytes>, TooLong> {
    let version = R::version(version);
    framed(|writer| {
        correlation_id.write(writer, version);
        if response_header_is_flexible(R::KEY, version) {
            writer.unsigned_varint(0);
        }
        response.write(writer, version);
    })
}

fn framed(write: impl FnOnce(&mut Writer)) -> Result<Vec<Bytes>, TooLong> {
    let mut writer = Writer::new();
    writer.bytes(&[0; PREFIX_LEN]);
    write(&mut writer);
    let len = writer.len().saturating_sub(PREFIX_LEN);
    let prefix = i32::try_from(len).map_err(|_| TooLong)?;
    writer.set_prefix(prefix.to_be_bytes());
    writer.finish()
}

/// The correlation id that opens the body of a response frame.
///
/// # Errors
///
/// [`Malformed`] when the frame is shorter than that.
pub fn correlation_id(body: &[u8]) -> Result<i32, Malformed> {
    let plain = Version {
        number: 0,
        flexible: false,
    };
    i32::read(&mut Reader::new(body), plain).map_err(|err| err.at("ResponseHeader.correlation_id"))
}

/// Decodes the body of the response frame that answers a request of type `R`.
///
/// Bytes after the message are accepted, as Kafka's own clients do.
///
/// # Errors
///
/// [`Malformed`] names the field that could not be read.
pub fn decode_response<R: Request>(
    body: &[u8],
    version: i16,
) -> Result<R::Response<'_>, Malformed> {
    let version = R::version(version);
    let mut reader = Reader::new(body);
    i32::read(&mut reader, version).map_err(|err| err.at("ResponseHeader.correlation_id"))?;
    if response_header_is_flexible(R::KEY, version) {
        reader
            .skip_tagged_fields()
            .map_err(|err| err.at("ResponseHeader tagged fields"))?;
    }
    R::Response::read(&mut reader, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_tells_what_the_other_side_speaks() {
        let cases = [
            ([0, 0, 0, 9], Ok(9)),
            (
                [0, 0, 4, 1],
                Err(BadPrefix::TooLarge {
                    len: 1025,
                    len_max: 1024,
                }),
            ),
            ([0xff, 0xff, 0xff, 0xff], Err(BadPrefix::Negative(-1))),
            ([0x15, 0x03, 0x03, 0x00], Err(BadPrefix::Tls)),
            ([0x15, 0x03, 0x01, 0x00], Err(BadPrefix::Tls)),
            (*b"HTTP", Err(BadPrefix::Http)),
        ];
        for (prefix, expected) in cases {
            assert_eq!(body_len(prefix, 1024), expected, "{prefix:?}");
        }
    }
}
