//! `kmirror sandbox`: a cluster for anybody's clients.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use kmirror::{
    cluster::{Cluster, ClusterOptions, To, Topics},
    demo::load::produce,
    runtime::topic_reader,
};
use kmirror_protocol::messages::{FetchRequest, MetadataRequest, metadata::MetadataRequestTopic};
use rustix::process::{Pid, Signal, kill_process};

use super::kmirror;
use crate::support::{kmirror::wait_until, sandbox::LOAD};

/// For one request to a process of this machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `kmirror sandbox`; killed with this value at the latest.
struct Sandbox {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The first line it printed.
    welcome: String,
}

impl Sandbox {
    /// Starts it on free ports and waits for its first line.
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kmirror"))
            .args(["sandbox", "--port", "0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut welcome = String::new();
        stdout.read_line(&mut welcome).unwrap();
        Self {
            child,
            stdout,
            welcome,
        }
    }

    /// The addresses in the first line.
    fn addresses(&self) -> Vec<SocketAddr> {
        let words = self.welcome.split(' ');
        let bootstrap = words.skip_while(|word| *word != "at").nth(1).unwrap();
        bootstrap.split(',').map(|it| it.parse().unwrap()).collect()
    }

    fn client(&self) -> Cluster {
        let addresses = self.addresses().into_iter();
        let bootstrap = addresses.map(|it| (it.ip().to_string(), it.port()));
        Cluster::new(ClusterOptions::new("sandbox", bootstrap.collect()))
    }

    /// The exit code after a signal.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        wait_until("its end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a topic's metadata as a producer does: error code and how many partitions.
async fn ask_for(client: &Cluster, topic: &str) -> (i16, usize) {
    let request = MetadataRequest {
        topics: Some(
            [MetadataRequestTopic {
                name: Some(topic),
                ..Default::default()
            }]
            .into(),
        ),
        ..Default::default()
    };
    let answer = client.request(To::Any, &request).await.unwrap();
    let answer = answer.decode().unwrap();
    let found = answer.topics.first().unwrap();
    (found.error_code.0, found.partitions.len())
}

#[tokio::test]
async fn a_topic_is_there_when_it_is_asked_for_again() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut sandbox = Sandbox::start(&["--brokers", "3", "--partitions", "4"]);
        assert_eq!(sandbox.addresses().len(), 3);
        let mut line = String::new();
        sandbox.stdout.read_line(&mut line).unwrap();
        assert!(
            line.starts_with("Try: echo hello | kcat -P -b 127.0.0.1:"),
            "{line}"
        );
        let client = sandbox.client();
        assert_eq!(ask_for(&client, "t").await, (3, 0));
        assert_eq!(ask_for(&client, "t").await, (0, 4));

        client.refresh_metadata(Topics::All).await.unwrap();
        let batch = LOAD.batch(0, 10).unwrap();
        let count = usize::try_from(batch.header.record_count).unwrap();
        let produced = produce(&client, "t", 3, batch, REQUEST_TIMEOUT).await;
        assert_eq!(produced.unwrap(), Ok(0));
        let records = topic_reader::read_all(&client, "t").await.unwrap();
        assert_eq!(records.len(), count);
        assert_eq!(sandbox.end(signal), Some(0), "{signal:?}");
    }
}

#[tokio::test]
async fn topics_are_not_made_up_where_that_is_switched_off() {
    let sandbox = Sandbox::start(&["--no-auto-create"]);
    let client = sandbox.client();
    for _ in 0..2 {
        assert_eq!(ask_for(&client, "t").await, (3, 0));
    }
}

#[tokio::test]
async fn a_profile_decides_which_versions_are_served() {
    for (profile, fetch) in [("event-hubs", 6), ("redpanda", 11), ("kafka-4.3", 17)] {
        let sandbox = Sandbox::start(&["--profile", profile]);
        assert!(sandbox.welcome.contains(profile), "{}", sandbox.welcome);
        let client = sandbox.client();
        client.refresh_metadata(Topics::All).await.unwrap();
        assert_eq!(
            client.supports::<FetchRequest<'_>>(),
            Some(fetch),
            "{profile}"
        );
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let output = kmirror(&["sandbox", "--port", &address.port().to_string()]);
    assert_eq!((output.code, output.stdout.as_str()), (75, ""));
    let expected = format!(
        "kmirror: cannot listen on {address}: Address already in use (os error 98); \
         choose others with --port, or free ones with --port 0\n"
    );
    assert_eq!(output.stderr, expected);
}
