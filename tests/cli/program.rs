//! The program as a whole: help, the demo, a run and its end, how it is linked.

use std::{env, fs};

use rustix::process::Signal;

use super::{kmirror, kmirror_with};
use crate::support::{
    golden::assert_golden,
    kmirror::Kmirror,
    sandbox::{LOAD, Pair},
};

#[test]
fn it_knows_its_version() {
    let expected = format!("kmirror {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(kmirror(&["--version"]).report(), (0, expected.as_str()));
}

#[test]
fn help_is_what_was_agreed() {
    let mut text = String::new();
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["offsets", "list", "--help"],
        &["offsets", "reset", "--help"],
        &["demo", "--help"],
        &["sandbox", "--help"],
    ] {
        let output = kmirror(arguments);
        let (code, help) = output.report();
        assert_eq!(code, 0);
        text.push_str(&format!("$ kmirror {}\n{help}\n", arguments.join(" ")));
    }
    assert_golden("tests/fixtures/cli/help.txt", &text);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        &[][..],
        &["replicate"],
        &["run"],
        &["run", "a.properties", "b.properties"],
        &["check", "a.properties", "--clusters"],
        &["demo", "--seconds", "-1"],
        &["sandbox", "--port", "65536"],
        &["sandbox", "--brokers", "0"],
        &["sandbox", "--profile", "kafka-0.8"],
        &["sandbox", "--user", "alice"],
        &["--log", "loud", "demo"],
        &["run", "a.properties", "--offline"],
    ] {
        let output = kmirror(arguments);
        assert_eq!(output.code, 64, "{arguments:?}");
        assert_eq!(output.stdout, "", "{arguments:?}");
        assert_ne!(output.stderr, "", "{arguments:?}");
    }
}

#[test]
fn the_demo_ends_verified() {
    let output = kmirror(&["demo", "--seconds", "1"]);
    let (code, text) = output.report();
    assert_eq!(code, 0, "{text}");
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("verified: 10") && last.contains(" records in 5 topics"),
        "{last}"
    );
    assert_golden("tests/fixtures/cli/demo.txt", &without_figures(text));
}

/// The demo's output with `#` for every number, and without what depends on speed: the lines of
/// progress, and which records are the newest.
fn without_figures(text: &str) -> String {
    let is_progress = |line: &str| line.split_whitespace().nth(1) == Some("s");
    let mut masked = String::new();
    for line in text.lines().filter(|line| !is_progress(line)) {
        if line.starts_with("    offset ") {
            let is_record = line.contains("key customer-") && line.contains(r#"value {"id":"#);
            assert!(is_record, "{line}");
            masked.push_str("    offset, time, key, value\n");
        } else {
            masked.push_str(&without_numbers(&line.replace("127.0.0.1:", "loopback:")));
            masked.push('\n');
        }
    }
    masked
}

/// A line with `#` for every number, whatever its width.
fn without_numbers(line: &str) -> String {
    let mut masked = String::new();
    let mut is_inside = false;
    for character in line.chars() {
        let is_number = character.is_ascii_digit() || (is_inside && character == ',');
        if is_number && !is_inside {
            let is_padded = masked.ends_with(' ');
            masked.truncate(masked.trim_end_matches(' ').len());
            masked.push_str(if is_padded { " #" } else { "#" });
        } else if !is_number {
            masked.push(character);
        }
        is_inside = is_number;
    }
    masked
}

#[tokio::test]
async fn a_run_copies_until_it_is_told_to_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let pair = Pair::start(1).await;
        pair.source.create_topic("t", 1, &[]).await;
        pair.source.produce(("t", 0), LOAD, 0, 50).await;
        let mut run = Kmirror::run(&pair.properties(""));
        pair.wait_for_copy("t").await;
        run.signal(signal);
        let ended = tokio::task::spawn_blocking(move || run.wait());
        let (status, log) = ended.await.unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        for line in [
            "starts 1 flow\n",
            "created topic A.t with 1 partition ",
            " INFO stopped\n",
        ] {
            assert!(log.contains(line), "{line:?} in\n{log}");
        }
        assert_eq!(pair.target.read("A.t").await, pair.source.read("t").await);
        let positions = pair.target.read("mm2-offsets.A.internal").await;
        let last = positions.last().unwrap().value.clone().unwrap();
        assert_eq!(String::from_utf8(last).unwrap(), r#"{"offset":49}"#);
    }
}

#[tokio::test]
async fn a_run_between_one_cluster_and_itself_is_refused() {
    let pair = Pair::start(1).await;
    let bootstrap = pair.source.server.bootstrap();
    let properties = pair.properties(&format!("B.bootstrap.servers = {bootstrap}"));
    let output = kmirror_with(&properties, &["run"]).await;
    assert_eq!(output.code, 78, "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("source and target are the same cluster (source-cluster)")
    );
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let pair = Pair::start(1).await;
    let secrets = "A.sasl.jaas.config = org.example.Login required username=\"u\" \\\n  \
                   password=\"hunter2-a\";\n\
                   B.ssl.keystore.password = hunter2-b\n\
                   ssl.key.password = hunter2-c\n\
                   A->B.source.consumer.sasl.jaas.config = x password='hunter2-d';\n\
                   A.sasl.jaas.confg = Login password=\"hunter2-e\";\n\
                   B.sasl.jaas.config = Login required\npassword=\"hunter2-f\";\n";
    let right = pair.properties(secrets);
    let mut outputs = vec![
        kmirror_with(&right, &["--log", "trace", "check"]).await,
        kmirror_with(&right, &["check", "--offline"]).await,
    ];
    for output in &outputs {
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    }
    let wrong = format!("{right}kmirror.memory.bytes = little\nsecurity.protocol = SASL_SSL\n");
    outputs.push(kmirror_with(&wrong, &["check"]).await);
    outputs.push(kmirror_with(&wrong, &["run"]).await);
    assert_eq!(outputs[3].code, 78);
    for output in outputs {
        assert!(output.stdout.len() + output.stderr.len() > 100);
        assert!(!output.stdout.contains("hunter2"), "{}", output.stdout);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }

    pair.source.create_topic("t", 1, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, 50).await;
    let run = Kmirror::run_with(&right, &["--log", "trace"]);
    pair.wait_for_copy("t").await;
    let (status, log) = tokio::task::spawn_blocking(|| run.stop()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("sasl.jaas.config") && !log.contains("hunter2"),
        "{log}"
    );
}

#[test]
fn the_release_is_linked_statically() {
    let config = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.cargo/config.toml"));
    let config = config.unwrap();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let flags =
            format!("[target.{target}]\nrustflags = [\"-C\", \"target-feature=+crt-static\"]");
        assert!(config.contains(&flags), "{flags}");
    }
    // `RUSTFLAGS` takes the place of the file's flags.
    let is_overridden = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if cfg!(all(target_os = "linux", target_env = "gnu")) && !is_overridden {
        let binary = fs::read(env!("CARGO_BIN_EXE_kmirror")).unwrap();
        assert!(!has_interpreter(&binary), "it asks for a dynamic loader");
    }
}

/// Whether a 64-bit little-endian ELF file names a dynamic loader: a program header of type
/// `PT_INTERP`.
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let at = |offset: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&elf[offset..offset + len]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let (table, entry_len, count) = (at(0x20, 8), at(0x36, 2), at(0x38, 2));
    assert!(count > 0, "an executable has program headers");
    (0..count).any(|index| at(table + index * entry_len, 4) == PT_INTERP as usize)
}
