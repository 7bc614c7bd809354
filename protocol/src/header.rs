//! Request and response headers.
//!
//! A request header is version 2 for flexible versions of an API, else version 1; a response
//! header is version 1 or 0 by the same rule, but always 0 for ApiVersions, whose answer must be
//! readable before the versions are known (KIP-511).

use crate::{
    api::ApiKey,
    wire::{Decode, Encode, Malformed, Reader, Version, Writer},
};

/// What precedes every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API, which need not be one that this crate knows.
    pub api_key: i16,
    /// The version of the API.
    pub api_version: i16,
    /// Chosen by the client, returned in the response.
    pub correlation_id: i32,
    /// Who asks; shown in a broker's logs, metrics and quotas.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads everything but the tagged fields, whose presence only the API can tell.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the bytes are not a request header.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let plain = Version {
            number: 1,
            flexible: false,
        };
        let field = |err: Malformed| err.at("RequestHeader");
        Ok(Self {
            api_key: i16::read(reader, plain).map_err(field)?,
            api_version: i16::read(reader, plain).map_err(field)?,
            correlation_id: i32::read(reader, plain).map_err(field)?,
            client_id: Option::<&str>::read(reader, plain).map_err(field)?,
        })
    }

    /// Appends the header; a `flexible` one ends with an empty section of tagged fields.
    pub fn write(&self, writer: &mut Writer, flexible: bool) {
        let plain = Version {
            number: 1,
            flexible: false,
        };
        self.api_key.write(writer, plain);
        self.api_version.write(writer, plain);
        self.correlation_id.write(writer, plain);
        self.client_id.write(writer, plain);
        if flexible {
            writer.unsigned_varint(0);
        }
    }
}

/// Whether the response header of an API version carries tagged fields.
#[must_use]
pub fn response_header_is_flexible(api_key: ApiKey, version: Version) -> bool {
    version.flexible && api_key != ApiKey::ApiVersions
}
