//! Asks a broker what it serves: `cargo run --example broker_versions -- localhost:9092`.

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::TcpStream,
};

use kmirror_protocol::{ApiKey, ErrorCode, api::IMPLEMENTED, frame, messages::ApiVersionsRequest};

/// The largest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args()
        .nth(1)
        .ok_or("usage: broker_versions HOST:PORT")?;
    let mut stream = TcpStream::connect(address)?;
    let request = ApiVersionsRequest {
        client_software_name: "broker-versions",
        client_software_version: env!("CARGO_PKG_VERSION"),
        ..ApiVersionsRequest::default()
    };
    for piece in frame::encode_request(&request, 3, 1, "broker-versions")? {
        stream.write_all(&piece)?;
    }

    let mut prefix = [0; frame::PREFIX_LEN];
    stream.read_exact(&mut prefix)?;
    let mut body = vec![0; frame::body_len(prefix, ANSWER_LEN_MAX)?];
    stream.read_exact(&mut body)?;
    let answer = frame::decode_response::<ApiVersionsRequest<'_>>(&body, 3)?;
    if answer.error_code != ErrorCode::NONE {
        return Err(answer.error_code.to_string().into());
    }

    println!("{:30} {:>8} {:>8}", "API", "broker", "crate");
    for served in &answer.api_keys {
        let Some(key) = ApiKey::from_number(served.api_key) else {
            println!(
                "{:30} {:>3}–{:<3}",
                served.api_key, served.min_version, served.max_version
            );
            continue;
        };
        let ours = IMPLEMENTED.iter().find(|api| api.key == key);
        let ours = ours.map_or_else(String::new, |api| {
            format!("{:>3}–{:<3}", api.versions.start(), api.versions.end())
        });
        println!(
            "{:30} {:>3}–{:<3} {ours}",
            key.name(),
            served.min_version,
            served.max_version
        );
    }
    Ok(())
}
