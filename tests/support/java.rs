//! Java processes for the tests: Apache Kafka's jars by Maven coordinates, and JVMs that never outlive a test.
//!
//! Maven and `javac` run once per target directory, then every JVM is started directly. Everything lies below
//! `tmp/kafka` of the target directory: `lib` (jars), `classes` (the programs of `tests/kafka`), `runs/<pid>` (logs and
//! data of one test process, removed by a later one).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process, test_kill_process},
};

use super::{
    external::{self, run},
    wait_for,
};

/// For short lives on few processors.
const FAST_START: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// How long a process may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(60);

/// How much of a log a failure shows.
const LOG_TAIL_LINES: usize = 40;

/// The jars and compiled programs, ready to run.
pub(crate) struct Installation {
    root: PathBuf,
    class_path: String,
}

impl Installation {
    /// Answers the installation, made on first use, or says loudly why the calling test is skipped.
    ///
    /// Panics instead of skipping when `KMIRROR_REQUIRE_KAFKA` is 1.
    pub(crate) fn or_skip() -> Option<&'static Self> {
        static INSTALLATION: OnceLock<Result<Installation, String>> = OnceLock::new();
        match INSTALLATION.get_or_init(Self::make) {
            Ok(installation) => Some(installation),
            Err(reason) => {
                external::skip(reason, "KMIRROR_REQUIRE_KAFKA");
                None
            }
        }
    }

    /// A new empty directory for this run, named for people.
    pub(crate) fn run_dir(&self, name: &str) -> PathBuf {
        let dir = self
            .root
            .join("runs")
            .join(std::process::id().to_string())
            .join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Fails with the reason when Java, Maven or the jars are out of reach; panics when our own programs do not compile.
    fn make() -> Result<Self, String> {
        run(Command::new("java").arg("-version"))?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka");
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
        fs::create_dir_all(root.join("runs")).unwrap();
        let lock = File::create(root.join("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();

        remove_finished_runs(&root.join("runs"));
        copy_jars(&sources.join("pom.xml"), &root.join("lib"))?;
        let jars = root.join("lib").join("*").display().to_string();
        compile(&sources, &jars, &root.join("classes"))?;
        // The jars come first: a shared archive fits every class path that begins like its own.
        let class_path = format!("{jars}:{}", root.join("classes").display());
        let installation = Self { root, class_path };
        installation.share_classes(&jars)?;
        Ok(installation)
    }

    /// Makes an archive of parsed classes, which nearly halves the time every JVM takes to start, unless there is one.
    fn share_classes(&self, jars: &str) -> Result<(), String> {
        let archive = self.shared_archive();
        if archive.exists() {
            return Ok(());
        }
        let (list, made) = (
            archive.with_extension("list"),
            archive.with_extension("made"),
        );
        let dir = self.run_dir("rehearsal");
        run(Command::new("java")
            .arg(format!("-XX:DumpLoadedClassList={}", list.display()))
            .args(FAST_START)
            .args(["-cp", &self.class_path, "Rehearsal"])
            .arg(dir))?;
        run(Command::new("java")
            .arg("-Xshare:dump")
            .arg(format!("-XX:SharedClassListFile={}", list.display()))
            .arg(format!("-XX:SharedArchiveFile={}", made.display()))
            .args(FAST_START)
            .args(["-cp", jars]))?;
        fs::rename(made, archive).unwrap();
        Ok(())
    }

    /// Java goes on without an archive that is missing or does not fit.
    fn shared_archive(&self) -> PathBuf {
        self.root.join("lib/kafka.jsa")
    }
}

/// Copies the jars `pom` names into `lib`, unless the same file has been carried out before.
fn copy_jars(pom: &Path, lib: &Path) -> Result<(), String> {
    let wanted = fs::read(pom).unwrap();
    let done = lib.join("pom.xml");
    if fs::read(&done).is_ok_and(|carried_out| carried_out == wanted) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(lib);
    run(Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-f",
        ])
        .arg(pom)
        .arg(format!("-DoutputDirectory={}", lib.display())))?;
    fs::write(done, wanted).unwrap();
    Ok(())
}

/// Compiles the programs into `classes`, unless the same text has been compiled before.
fn compile(sources: &Path, jars: &str, classes: &Path) -> Result<(), String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "java")
        })
        .collect();
    files.sort();
    let wanted: Vec<u8> = files
        .iter()
        .flat_map(|file| fs::read(file).unwrap())
        .collect();
    let done = classes.join("sources");
    if fs::read(&done).is_ok_and(|compiled| compiled == wanted) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(classes);
    run(Command::new("javac").arg("-version"))?;
    run(Command::new("javac")
        .args(["-Werror", "-Xlint:all,-classfile", "-proc:none"])
        .args(["-cp", jars, "-d"])
        .arg(classes)
        .args(files))
    .unwrap();
    fs::write(done, wanted).unwrap();
    Ok(())
}

/// Removes what test processes that have ended left behind.
fn remove_finished_runs(runs: &Path) {
    for entry in fs::read_dir(runs).unwrap() {
        let path = entry.unwrap().path();
        let pid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
            .and_then(Pid::from_raw);
        if pid.is_none_or(|pid| test_kill_process(pid).is_err()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// What a [`Jvm`] runs.
pub(crate) struct JvmOptions<'a> {
    pub(crate) class: &'a str,
    pub(crate) arguments: Vec<String>,
    pub(crate) heap_mib: u32,
    /// "INFO" or another level of log4j2.
    pub(crate) log_level: &'a str,
    /// Where standard error goes, and standard output unless piped; appended to.
    pub(crate) log: PathBuf,
    /// Whether the test talks to it through [`Jvm::pipes`].
    pub(crate) piped: bool,
}

/// A Java process. It ends with this value, and at the latest with the test process.
pub(crate) struct Jvm {
    child: Child,
    log: PathBuf,
}

impl Jvm {
    pub(crate) fn start(installation: &Installation, options: JvmOptions<'_>) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&options.log)
            .unwrap();
        let log4j2 = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/log4j2.properties");
        let mut command = Command::new("java");
        command
            .arg(format!("-Xmx{}m", options.heap_mib))
            .args(FAST_START)
            .arg(format!(
                "-XX:SharedArchiveFile={}",
                installation.shared_archive().display()
            ))
            .arg(format!("-Dlog4j2.configurationFile={log4j2}"))
            .arg(format!("-Dkmirror.log.level={}", options.log_level))
            .args(["-cp", &installation.class_path]);
        if options.piped {
            command.stdout(Stdio::piped());
        } else {
            command
                .arg("UntilStdinCloses")
                .stdout(log.try_clone().unwrap());
        }
        let child = command
            .arg(options.class)
            .args(options.arguments)
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            log: options.log,
        }
    }

    /// Standard input and output of a piped process. Dropping the first ends it.
    pub(crate) fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        (
            self.child.stdin.take().unwrap(),
            self.child.stdout.take().unwrap(),
        )
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether every thread is stopped, which takes a moment after SIGSTOP.
    pub(crate) fn is_frozen(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut states = tasks.map(|task| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            // The name may hold blanks and brackets; the state follows its closing bracket.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
            state.flatten().is_none_or(|state| state == 'T')
        });
        states.all(|is_stopped| is_stopped)
    }

    /// Sends a signal; [`Signal::STOP`] and [`Signal::CONT`] freeze and thaw the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets the process shut down in order and waits for that.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let ended = wait_for(STOP_MAX, || self.has_ended().then_some(()));
        assert!(ended.is_some(), "process {} does not stop", self.child.id());
    }

    /// The last lines the process wrote.
    pub(crate) fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LOG_TAIL_LINES);
        format!(
            "{}:\n{}",
            self.log.display(),
            lines.split_at(from).1.join("\n")
        )
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the end of {}", self.log_tail());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
