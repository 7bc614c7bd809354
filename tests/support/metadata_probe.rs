//! Asks one broker which brokers its cluster has, in bytes written by hand.
//!
//! Deliberately not this project's codec: the harness must not believe what the tests are to find out.
//! Metadata version 2, with a request header of version 1: `common/message/Metadata{Request,Response}.json`.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    time::Duration,
};

/// Bounds each step of the exchange, so that a frozen broker counts as one that does not answer.
const STEP_MAX: Duration = Duration::from_secs(2);

/// More than any small cluster's answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a broker says about its cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClusterView {
    pub(crate) cluster_id: String,
    /// The brokers that serve clients, in ascending order.
    pub(crate) node_ids: Vec<i32>,
}

/// Asks the broker on a loopback port; `None` when it does not answer, or not yet in full.
pub(crate) fn ask(port: u16) -> Option<ClusterView> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let mut stream = TcpStream::connect_timeout(&address.into(), STEP_MAX).ok()?;
    stream.set_read_timeout(Some(STEP_MAX)).ok()?;
    stream.set_write_timeout(Some(STEP_MAX)).ok()?;
    stream.write_all(&request()).ok()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let size = usize::try_from(u32::from_be_bytes(size)).ok()?;
    let mut answer = vec![0; size.min(ANSWER_BYTES_MAX)];
    stream.read_exact(&mut answer).ok()?;
    parse(&answer)
}

fn request() -> Vec<u8> {
    let mut body = vec![0, 3, 0, 2]; // API key 3, version 2
    body.extend(7_i32.to_be_bytes()); // correlation id
    body.extend((-1_i16).to_be_bytes()); // no client id
    body.extend(0_i32.to_be_bytes()); // of no topic
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn parse(mut answer: &[u8]) -> Option<ClusterView> {
    let input = &mut answer;
    let _correlation_id = int32(input)?;
    let mut node_ids = Vec::new();
    for _ in 0..int32(input)? {
        node_ids.push(int32(input)?);
        let _host = string(input)?;
        let _port = int32(input)?;
        let _rack = string(input)?;
    }
    node_ids.sort_unstable();
    let cluster_id = string(input)??;
    Some(ClusterView {
        cluster_id,
        node_ids,
    })
}

fn int32(input: &mut &[u8]) -> Option<i32> {
    let (bytes, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(i32::from_be_bytes(*bytes))
}

/// A nullable string: the outer `None` means the input ended.
fn string(input: &mut &[u8]) -> Option<Option<String>> {
    let (length, rest) = input.split_first_chunk()?;
    *input = rest;
    let Ok(length) = usize::try_from(i16::from_be_bytes(*length)) else {
        return Some(None);
    };
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(Some(String::from_utf8_lossy(bytes).into_owned()))
}
