use std::{cell::Cell, io};

use super::{super::properties::parse, *};

const FILE: &str = "org.apache.kafka.common.config.provider.FileConfigProvider";
const DIRECTORY: &str = "org.apache.kafka.common.config.provider.DirectoryConfigProvider";
const ENVIRONMENT: &str = "org.apache.kafka.common.config.provider.EnvVarConfigProvider";

/// Some files, directories and variables.
struct Fake {
    reads: Cell<usize>,
}

impl Fake {
    fn new() -> Self {
        Self {
            reads: Cell::new(0),
        }
    }

    fn content(path: &Path) -> Option<&'static [u8]> {
        Some(match path.to_str()? {
            "/s/a.properties" => {
                "user = alice\nuser: bob\npw=a\\tb \na\\:b=c\ne=\u{e9}\u{20ac}\nref=${env:USER}\nnone"
                    .as_bytes()
            }
            "/s/latin.properties" => b"k = \xe9",
            "/s/bad.properties" => b"k = v\nl = \\u12",
            "/s/d/pw" => b"two\nlines\n",
            "/s/d/latin" => b"\xe9",
            "/sx/a.properties" => b"user = eve",
            _ => return None,
        })
    }
}

impl Outside for Fake {
    fn kind(&self, path: &Path) -> Option<PathKind> {
        match path.to_str()? {
            "/" | "/s" | "/sx" | "/s/d" | "/s/d/sub" | "/s/closed" => Some(PathKind::Directory),
            "/s/d/pipe" => Some(PathKind::Other),
            "/s/d/unreadable" => Some(PathKind::File),
            _ => Self::content(path).map(|_| PathKind::File),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.reads.set(self.reads.get() + 1);
        let content = Self::content(path).map(<[u8]>::to_vec);
        content.ok_or_else(|| io::Error::other("it is broken"))
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        if path == Path::new("/s/closed") {
            return Err(io::Error::other("it is closed"));
        }
        let names = ["pw", "latin", "sub", "pipe", "unreadable"];
        Ok(names.map(str::to_owned).to_vec())
    }

    fn variable(&self, name: &str) -> Option<String> {
        Some(match name {
            "USER" => "carol".to_owned(),
            "EMPTY" => String::new(),
            "REFERENCE" => "${env:USER}".to_owned(),
            _ => return None,
        })
    }
}

/// The last value of a file, and what is reported of the file, without the file's name.
fn resolved(text: &str, outside: &Fake) -> (String, Vec<String>) {
    let mut entries = parse(text.as_bytes()).unwrap().entries;
    let mut report = Report::new("f");
    resolve(&mut entries, outside, &mut report);
    let told: Vec<String> = match report.finish() {
        Ok(notices) => notices.iter().map(ToString::to_string).collect(),
        Err(mistakes) => {
            let findings = mistakes.findings();
            findings.iter().map(ToString::to_string).collect()
        }
    };
    let told = told
        .iter()
        .map(|told| told.trim_start_matches("f:").to_owned());
    (entries.last().unwrap().value.clone(), told.collect())
}

/// One provider of each class, lines 1 to 4, `more`, and `k = <value>` in line 9.
fn with(more: [&str; 4], value: &str) -> (String, Vec<String>) {
    let text = format!(
        "config.providers = file , dir,env\nconfig.providers.file.class = {FILE}\n\
         config.providers.dir.class = {DIRECTORY}\nconfig.providers.env.class = {ENVIRONMENT}\n\
         {}\nk = {value}",
        more.join("\n")
    );
    resolved(&text, &Fake::new())
}

fn value(value: &str) -> (String, Vec<String>) {
    with([""; 4], value)
}

#[test]
fn a_reference_is_replaced_by_what_its_provider_gives() {
    // Checked with ConfigTransformer and its providers of Kafka 4.3.1 on the same files.
    let cases = [
        // A file is a properties file in UTF-8: the last of equal keys, escapes, trailing blanks.
        ("${file:/s/a.properties:user}", "bob"),
        ("${file:/s/a.properties:pw}", "a\tb "),
        ("${file:/s/a.properties:a:b}", "c"),
        ("${file:/s/a.properties:e}", "\u{e9}\u{20ac}"),
        ("${file:/s/a.properties:none}", ""),
        // A file in a directory is the value as it is.
        ("${dir:/s/d:pw}", "two\nlines\n"),
        ("${env:USER}", "carol"),
        ("${env::USER}", "carol"),
        ("${env:EMPTY}", ""),
        // Several, with text around them.
        (
            "x=\"${env:USER}\" ${file:/s/a.properties:user}${env:USER};",
            "x=\"carol\" bobcarol;",
        ),
        // None in another, and none in what comes out.
        ("${env:REFERENCE}", "${env:USER}"),
        ("${file:/s/a.properties:ref}", "${env:USER}"),
        // No reference at all.
        ("${USER} $USER", "${USER} $USER"),
    ];
    for (written, expected) in cases {
        assert_eq!(value(written), (expected.to_owned(), vec![]), "{written}");
    }
}

#[test]
fn what_no_provider_knows_stays_as_it_is_with_a_notice() {
    let cases = [
        (
            "${file:/s/a.properties:usr}",
            "the file does not have this key",
        ),
        ("${file:user}", "it has no path; write ${provider:path:key}"),
        ("${dir:pw}", "it has no path; write ${provider:path:key}"),
        ("${dir:/nowhere:pw}", "its path is not a directory"),
        ("${dir:/s/a.properties:pw}", "its path is not a directory"),
        ("${dir:/s/d:pass}", "the directory does not have this file"),
        ("${dir:/s/d:sub}", "the directory does not have this file"),
        ("${dir:/s/d:pipe}", "the directory does not have this file"),
        (
            "${dir:/s/d:../a.properties}",
            "the directory does not have this file",
        ),
        ("${env:USR}", "the variable is not set"),
    ];
    for (written, reason) in cases {
        let notice = format!("9: k: {written} stays as it is: {reason}");
        assert_eq!(value(written), (written.to_owned(), vec![notice]));
    }
    // Of several, the others are replaced.
    let (found, told) = value("${env:USR} ${env:USER}");
    assert_eq!((found.as_str(), told.len()), ("${env:USR} carol", 1));
}

#[test]
fn an_unknown_provider_may_be_no_reference_and_is_not_shown() {
    let notice = "9: k: a reference stays as it is: its provider is not in config.providers; \
                  config.providers has dir, env, file";
    let written = "hunter2${vault:a:b}";
    assert_eq!(
        value(written),
        (written.to_owned(), vec![notice.to_owned()])
    );
    let (found, told) = resolved("k = ${env:USER}", &Fake::new());
    let notice = "1: k: a reference stays as it is: its provider is not in config.providers; \
                  set config.providers if it is meant to be one";
    assert_eq!(
        (found.as_str(), told),
        ("${env:USER}", vec![notice.to_owned()])
    );
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let cases = [
        ("${file:/nowhere:k}", "cannot read /nowhere: it is broken"),
        (
            "${file:/s/latin.properties:k}",
            "/s/latin.properties is not UTF-8",
        ),
        (
            "${file:/s/bad.properties:k}",
            r"/s/bad.properties:2: \u must be followed by four hexadecimal digits",
        ),
        ("${dir:/s/closed:k}", "cannot list /s/closed: it is closed"),
        (
            "${dir:/s/d:unreadable}",
            "cannot read /s/d/unreadable: it is broken",
        ),
        ("${dir:/s/d:latin}", "/s/d/latin is not UTF-8"),
        ("${env:/s:USER}", "a variable has no path before its name"),
    ];
    for (written, problem) in cases {
        let error = format!("9: k: {written}: {problem}");
        assert_eq!(value(written), (written.to_owned(), vec![error]));
    }
}

#[test]
fn allowed_paths_bound_what_is_read() {
    let allowed = |paths: &str, written: &str| {
        let file = format!("config.providers.file.param.allowed.paths = {paths}");
        let dir = format!("config.providers.dir.param.allowed.paths = {paths}");
        with([&file, &dir, "", ""], written)
    };
    let cases = [
        ("/s", "${file:/s/a.properties:user}", Some("bob")),
        ("/s/d/../", "${file:/s/a.properties:user}", Some("bob")),
        (
            "/s/a.properties",
            "${file:/s/a.properties:user}",
            Some("bob"),
        ),
        ("/sx,/s", "${file:/s/./d/../a.properties:user}", Some("bob")),
        ("/s,", "${dir:/s/d:pw}", Some("two\nlines\n")),
        ("", "${file:/sx/a.properties:user}", Some("eve")),
        ("/s", "${file:/sx/a.properties:user}", None),
        ("/s", "${file:/s/../sx/a.properties:user}", None),
        ("/s/d", "${file:/s/d/../a.properties:user}", None),
        ("/s", "${file:a.properties:user}", None),
        ("/sx", "${dir:/s/d:pw}", None),
    ];
    for (paths, written, expected) in cases {
        let (found, told) = allowed(paths, written);
        assert_eq!(found, expected.unwrap_or(written), "{paths} {written}");
        let notice =
            format!("9: k: {written} stays as it is: allowed.paths does not have its path");
        let notices = if expected.is_none() {
            vec![notice]
        } else {
            vec![]
        };
        assert_eq!(told, notices, "{paths} {written}");
    }

    let hint = "write absolute paths that exist, with commas and no blanks between them";
    for (paths, problem) in [
        ("s", "\"s\" is not an absolute path"),
        ("/s, /sx", "\" /sx\" is not an absolute path"),
        ("/s,,/sx", "\"\" is not an absolute path"),
        ("/nowhere", "\"/nowhere\" does not exist"),
    ] {
        let (_, told) = allowed(paths, "${file:/s/a.properties:user}");
        let key = |name: &str| format!("config.providers.{name}.param.allowed.paths");
        let error = |line: u8, name| format!("{line}: {}: {problem}; {hint}", key(name));
        assert_eq!(told, [error(5, "file"), error(6, "dir")], "{paths}");
    }
}

#[test]
fn the_allowlist_matches_whole_names_of_variables() {
    let allowed = |pattern: &str| {
        let line = format!("config.providers.env.param.allowlist.pattern = {pattern}");
        with([&line, "", "", ""], "${env:USER}")
    };
    for pattern in ["USER", "US.*", "HOME|USER", "(?i)user"] {
        assert_eq!(allowed(pattern), ("carol".to_owned(), vec![]), "{pattern}");
    }
    for pattern in ["USE", "SER", "user", ""] {
        let (found, told) = allowed(pattern);
        let notice =
            "9: k: ${env:USER} stays as it is: allowlist.pattern does not match the variable";
        assert_eq!(
            (found.as_str(), told),
            ("${env:USER}", vec![notice.to_owned()])
        );
    }
    let (_, told) = allowed("US(ER");
    let start = "5: config.providers.env.param.allowlist.pattern: item 1, character 3: ";
    assert!(told.len() == 1 && told[0].starts_with(start), "{told:?}");
}

#[test]
fn a_java_class_is_refused_with_what_can_be_done() {
    for class in ["com.example.Vault", "FileConfigProvider", "", "file"] {
        let text = format!(
            "config.providers = vault\nconfig.providers.vault.class = {class}\n\
             config.providers.vault.param.token = hunter2\nk = ${{vault:a:b}}"
        );
        let error = format!(
            "2: config.providers.vault.class: the config provider {class:?} is not known, and Java \
             classes cannot be loaded; have the values put into a file, a directory or the \
             environment, and use {FILE}, DirectoryConfigProvider or EnvVarConfigProvider"
        );
        let expected = ("${vault:a:b}".to_owned(), vec![error]);
        assert_eq!(resolved(&text, &Fake::new()), expected);
    }
}

#[test]
fn settings_of_providers_that_have_no_effect_get_a_notice() {
    let text = format!(
        "config.providers = f, g,\nconfig.providers.f.class = {FILE}\n\
         config.providers.f.param.allowed.path = /s\nconfig.providers.f.params.allowed.paths = /s\n\
         config.providers.f.param.allowlist.pattern = x\nconfig.providers.env.class = {ENVIRONMENT}\n\
         k = ${{g:x}}"
    );
    let unknown = "has no effect: the provider does not know it; \
                   its parameter is config.providers.f.param.allowed.paths";
    let expected = [
        format!(
            "1: config.providers: \"g\" has no class: references to it stay as they are; \
             write config.providers.g.class = {FILE}"
        ),
        "1: config.providers: a name is empty; remove the comma".to_owned(),
        format!("3: config.providers.f.param.allowed.path: {unknown}"),
        format!("4: config.providers.f.params.allowed.paths: {unknown}"),
        format!("5: config.providers.f.param.allowlist.pattern: {unknown}"),
        "6: config.providers.env.class: has no effect: its provider is not in config.providers; \
         config.providers has f, g"
            .to_owned(),
    ];
    assert_eq!(
        resolved(&text, &Fake::new()),
        ("${g:x}".to_owned(), expected.to_vec())
    );
}

#[test]
fn one_provider_may_begin_as_another() {
    let text = format!(
        "config.providers = e, e.f\nconfig.providers.e.class = {ENVIRONMENT}\n\
         config.providers.e.f.class = {FILE}\nconfig.providers.e.f.param.allowed.paths = /s\n\
         k = ${{e:USER}} ${{e.f:/s/a.properties:user}}"
    );
    assert_eq!(
        resolved(&text, &Fake::new()),
        ("carol bob".to_owned(), vec![])
    );
}

#[test]
fn no_provider_is_configured_by_another() {
    let line = "config.providers.env.param.allowlist.pattern = ${env:USER}";
    let (found, told) = with([line, "", "", ""], "${env:carol}");
    assert_eq!(found, "${env:carol}");
    assert_eq!(told.len(), 1, "{told:?}");
    let more = [
        "config.providers.file.param.allowed.paths = ${env:USER}",
        "",
        "",
        "",
    ];
    let (_, told) = with(more, "v");
    let start = "5: config.providers.file.param.allowed.paths: \"${env:USER}\" is not an absolute";
    assert!(told.len() == 1 && told[0].starts_with(start), "{told:?}");
}

#[test]
fn a_file_is_read_once() {
    let text = format!(
        "config.providers = f\nconfig.providers.f.class = {FILE}\n\
         j = ${{f:/s/a.properties:pw}}\nk = ${{f:/s/a.properties:user}}"
    );
    let outside = Fake::new();
    assert_eq!(resolved(&text, &outside).0, "bob");
    assert_eq!(outside.reads.get(), 1);
}

#[test]
fn the_system_has_files_directories_and_variables() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("file"), b"\xe9").unwrap();
    std::os::unix::fs::symlink("file", at("link")).unwrap();
    let kinds = [dir.path(), &at("file"), &at("link"), &at("none")].map(|it| System.kind(it));
    let (file, directory) = (Some(PathKind::File), Some(PathKind::Directory));
    assert_eq!(kinds, [directory, file, file, None]);
    assert_eq!(System.kind(Path::new("/dev/null")), Some(PathKind::Other));
    assert_eq!(System.read(&at("link")).unwrap(), b"\xe9");
    assert!(System.read(&at("none")).is_err() && System.names(&at("file")).is_err());
    let mut names = System.names(dir.path()).unwrap();
    names.sort();
    assert_eq!(names, ["file", "link"]);
    assert_eq!(System.variable("PATH"), std::env::var("PATH").ok());
    assert_eq!(
        ["", "=", "a\0b"].map(|it| System.variable(it)),
        [const { None }; 3]
    );
}
