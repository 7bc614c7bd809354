//! Values that config providers give: where they count, and that nobody is shown them.

use super::{
    super::{
        providers::{Outside, PathKind},
        reader,
        settings::{self, Kind, Scope, Setting, Status},
    },
    *,
};
use std::io;

/// The variable `S`, and nothing else.
struct Variable<'a>(&'a str);

impl Outside for Variable<'_> {
    fn kind(&self, _: &Path) -> Option<PathKind> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "S").then(|| self.0.to_owned())
    }
}

const PROVIDERS: &str = "\
    config.providers = env, file\n\
    config.providers.env.class = org.apache.kafka.common.config.provider.EnvVarConfigProvider\n\
    config.providers.file.class = org.apache.kafka.common.config.provider.FileConfigProvider\n";

/// What is tested starts in line 4.
fn parse_with(text: &str, variable: &str) -> Outcome {
    let text = format!("{PROVIDERS}{text}");
    let options = ParseOptions::default();
    reader::read("f", text.as_bytes(), &options, &Variable(variable))
}

/// Two clusters and a flow in lines 4 to 8; what is tested starts in line 9.
fn flow_with(text: &str, variable: &str) -> Outcome {
    let text = format!(
        "clusters = a, b\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n\
         a->b.enabled = true\nkmirror.delivery = transactional\n{text}"
    );
    parse_with(&text, variable)
}

#[test]
fn what_a_provider_gives_counts_wherever_it_is_referred_to() {
    let flow_of = |text: &str, variable| flow_with(text, variable).unwrap().0.flows.remove(0);
    let factor = |key: &str| flow_of(&format!("{key} = ${{env:S}}"), "7");
    assert_eq!(factor("replication.factor").replication_factor, Some(7));
    assert_eq!(
        factor("a->b.replication.factor").replication_factor,
        Some(7)
    );
    let offsets = factor("b.offset.storage.replication.factor").offsets_topic;
    assert_eq!(offsets.replication_factor, Some(7));
    let bytes = factor("a.consumer.fetch.max.bytes").fetch.bytes_max;
    assert_eq!(bytes, 7);
    let topics = flow_of("topics = x, ${env:S}", "y, z.*")
        .topic_filter
        .include;
    assert_eq!(
        ["x", "y", "zz", "$"].map(|it| topics.matches(it)),
        [true, true, true, false].map(Ok)
    );

    let memory = flow_with("kmirror.memory.bytes = ${env:S}", " 2000000 ").unwrap();
    assert_eq!(memory.0.limits.memory_bytes, 2_000_000);
    let (config, _) = flow_with("a.bootstrap.servers = h:1,${env:S}", "i:2,j:3").unwrap();
    let servers: Vec<String> = config.clusters[0]
        .bootstrap
        .iter()
        .map(HostPort::to_string)
        .collect();
    assert_eq!(servers, ["h:1", "i:2", "j:3"]);
    assert_eq!(config.clusters[0].bootstrap_shown, "h:1,${env:S}");

    let switched =
        |value| flow_with("a->b.enabled = ${env:S}", value).map(|(config, _)| config.flows.len());
    assert_eq!(switched("true").unwrap(), 1);
    let off = lines(&switched("false").unwrap_err().errors);
    assert_eq!(off, ["f: no flow is enabled; write a->b.enabled = true"]);
}

#[test]
fn an_alias_may_come_out_of_a_provider_if_it_is_no_secret() {
    let text = "clusters = ${env:S}\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n\
                a->b.enabled = true";
    let (config, _) = parse_with(text, "a, b").unwrap();
    assert_eq!(config.flows[0].target, "b");
    let cases = [
        (
            "a, b, hunter2",
            "item 3 of the value of ${env:S} is an alias that no key has; \
                           write keys for it, such as A.bootstrap.servers",
        ),
        (
            "a, hunter2!, b",
            "item 2 of the value of ${env:S} cannot be an alias; \
                            use letters, digits, '.', '_' and '-'",
        ),
        (
            "a, b, a",
            "the alias item 3 of the value of ${env:S} is listed twice",
        ),
    ];
    for (variable, problem) in cases {
        let expected = format!("f:4: clusters: {problem}");
        assert_eq!(errors(parse_with(text, variable)), [expected]);
    }
}

#[test]
fn errors_name_the_reference_and_not_the_value() {
    let cases = [
        (
            "replication.factor = ${env:S}",
            "hunter2",
            "the value of ${env:S} must be a whole number from -1 to 32767",
        ),
        (
            "replication.factor = 1${env:S}",
            "hunter2 # x",
            "the value of 1${env:S} must be a whole number from -1 to 32767",
        ),
        (
            "a.bootstrap.servers = a:1, ${env:S}",
            "h:2, hunter2",
            "item 3 of the value of a:1, ${env:S} has no port; write host:port",
        ),
        (
            "topics = a, ${env:S}",
            "b, (hunter2{",
            "item 3 of the value of a, ${env:S} is not understood at its character 9",
        ),
        (
            "groups.exclude = ${env:S}",
            "(?x)hunter2",
            "item 1 of the value of ${env:S} is not understood at its character 3",
        ),
        (
            "security.protocol = ${env:S}",
            "hunter2",
            "the value of ${env:S} must be PLAINTEXT or SSL or SASL_PLAINTEXT or SASL_SSL",
        ),
        (
            "replication.policy.separator = ${env:S}",
            "hunter2:",
            "the value of ${env:S} cannot stand in a topic name; \
          use letters, digits, '.', '_' or '-', and no blank after them",
        ),
        (
            "replication.policy.separator = ${env:S}",
            "a",
            "the alias \"a\" contains the separator the value of ${env:S}; \
          rename the alias or set replication.policy.separator",
        ),
    ];
    for (line, variable, problem) in cases {
        let key = line.split(" =").next().unwrap();
        let expected = format!("f:9: {key}: {problem}");
        assert_eq!(errors(flow_with(line, variable)), [expected]);
    }
    let slow = "kmirror.positions.interval.ms = ${env:S}";
    assert_eq!(
        errors(flow_with(slow, "41771")),
        [
            "f: a transaction lasts until positions are stored, the value of ${env:S}; \
          make it at least twice as long as kmirror.positions.interval.ms"
        ]
    );
}

#[test]
fn a_provider_that_fails_is_the_only_error_of_its_line() {
    let problem = "${file:/x:k}: cannot read /x: permission denied";
    for key in [
        "replication.factor",
        "a.bootstrap.servers",
        "topics.exclude",
        "clusters",
    ] {
        let expected = format!("f:9: {key}: {problem}");
        assert_eq!(
            errors(flow_with(&format!("{key} = ${{file:/x:k}}"), "")),
            [expected]
        );
    }
    // What the file refers to of a refused provider is no mistake of its own.
    let refused = "config.providers.env.class = x\nreplication.factor = ${env:S}";
    assert_eq!(errors(flow_with(refused, "x")).len(), 1);
    // One without a class is none: the text is taken as it stands.
    let mute = "config.providers = e\nreplication.factor = ${e:S}";
    assert_eq!(errors(flow_with(mute, "x")).len(), 1);
    // Kafka resolves whatever is in the file, needed or not.
    let unused = format!("f:9: unknown: {problem}");
    assert_eq!(errors(flow_with("unknown = ${file:/x:k}", "")), [unused]);
}

#[test]
fn a_finding_has_one_line_whatever_it_quotes() {
    let text = "a\\nb = ${env:S}\nreplication.factor = ${env:S}${x:\\n}";
    let told = flow_with(text, "1").unwrap_err();
    let told: Vec<String> = told.findings().iter().map(ToString::to_string).collect();
    let starts = [
        r"f:9: a\nb: is not a setting",
        r"f:10: replication.factor: a reference stays",
        r"f:10: replication.factor: the value of ${env:S}${x:\n} must be",
    ];
    for (line, start) in told.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(
        told.len() == 3 && told.iter().all(|it| it.lines().count() == 1),
        "{told:?}"
    );
}

#[test]
fn comments_are_looked_for_in_the_file_only() {
    let (_, notices) = flow_with("a->b.topics = ${env:S}", "a # b").unwrap();
    assert_eq!(lines(&notices), Vec::<String>::new());
    let (_, notices) = flow_with("a->b.topics = ${env:S} # b", "a").unwrap();
    assert_eq!(notices.len(), 1);
}

#[test]
fn providers_hold_for_the_whole_file() {
    let (_, notices) = flow_with(
        "a->b.config.providers = vault\nb.config.providers.x.class = y",
        "",
    )
    .unwrap();
    assert_eq!(
        lines(&notices),
        [
            "f:9: a->b.config.providers: has no effect in this place; write config.providers",
            "f:10: b.config.providers.x.class: has no effect in this place; \
             write config.providers.x.class",
        ]
    );
}

/// Settings whose values a [`Config`] must hold, and shows in `Debug` output.
const TYPED: [&str; 14] = [
    "topics",
    "topics.exclude",
    "topics.blacklist",
    "groups",
    "groups.exclude",
    "groups.blacklist",
    "config.properties.exclude",
    "config.properties.blacklist",
    "replication.policy.separator",
    "bootstrap.servers",
    "client.id",
    "offset.storage.topic",
    "offset.storage.*",
    "kmirror.transactional.id",
];

/// Every key under which a setting works, with the scope that it then has.
fn keys(setting: Setting) -> Vec<(String, Scope)> {
    let name = setting.name.replace('*', "x");
    let mut keys = Vec::new();
    for &scope in setting.scopes {
        for form in scope.written(&name).split(", ") {
            let form = form.replace("A->B.", "a->b.").replace("A.", "a.");
            let form = form.replace("B.", "b.").replace("X.", "b.");
            keys.push((form, scope));
        }
    }
    keys
}

/// Values to keep secret: right ones and wrong ones of a kind.
fn secrets(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Number(..) | Kind::Millis(..) | Kind::Seconds(..) | Kind::Bytes(..) => {
            &["4177177", "4177", "hunter2 # 4177"]
        }
        Kind::Servers => &["hunter2:4177", "host:9092, hunter2"],
        Kind::Patterns => &["hunter2", "x, (hunter2{4177"],
        _ => &["hunter2", "hunter2 \" ' ;\n${env:S}"],
    }
}

/// Everything that is said of a file, and the `Debug` output of what is read from it.
fn told(outcome: &Outcome) -> (String, String) {
    match outcome {
        Ok((config, notices)) => {
            let shown = config.clusters.iter().map(|it| &*it.bootstrap_shown);
            let shown: String = shown.collect();
            let told = format!("{}{shown}{notices:?}", config.effective);
            (told, format!("{config:?}"))
        }
        Err(mistakes) => (
            format!("{:?}", mistakes.findings()),
            format!("{mistakes:?}"),
        ),
    }
}

#[test]
fn what_a_provider_gives_is_never_shown_whatever_the_setting() {
    let (mut accepted, mut refused) = (0, 0);
    for setting in settings::all() {
        for (key, _) in keys(setting) {
            for secret in secrets(setting.kind) {
                let outcome = flow_with(&format!("{key} = ${{env:S}}"), secret);
                let (told, debug) = told(&outcome);
                assert!(
                    !told.contains("hunter2") && !told.contains("4177"),
                    "{key} {told}"
                );
                let is_typed = TYPED.contains(&setting.name) && outcome.is_ok();
                assert!(is_typed || !debug.contains("hunter2"), "{key} {debug}");
                accepted += usize::from(told.contains("${env:S}") && outcome.is_ok());
                refused += usize::from(told.contains("the value of ${env:S}"));
            }
        }
    }
    // What is said where something is said does name the reference.
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}

#[test]
fn every_setting_that_has_an_effect_is_shown_with_its_place() {
    let is_shown = |setting: &Setting| match setting.status {
        Status::Implemented => !setting.name.starts_with("config.providers"),
        Status::Renamed(_) => true,
        _ => false,
    };
    let mut seen = 0;
    for setting in settings::all().filter(is_shown) {
        // Old names have no default of their own.
        let value = match (setting.name, setting.default) {
            ("clusters", _) => "a, b".to_owned(),
            ("bootstrap.servers", _) => "a:1".to_owned(),
            ("enabled", _) => "true".to_owned(),
            ("kmirror.start.topics", _) => "t=latest".to_owned(),
            (_, "") => "1000".to_owned(),
            (_, default) => default.replace(r"\\", r"\"),
        };
        for (key, scope) in keys(setting) {
            // The worker's replication policy is not asked, and what every cluster has wins.
            let is_flows = setting.scopes.contains(&Scope::Flow);
            let is_beaten = key == "bootstrap.servers" || key == "enabled";
            if is_beaten || (scope == Scope::WorkerShared && is_flows && key != setting.name) {
                continue;
            }
            let (config, _) = flow_with(&format!("{key} = ${{env:S}}"), &value).unwrap();
            let shown = config.effective.sections.iter().flat_map(|it| &it.settings);
            let is_here = |it: &&Shown| it.origin.as_ref().is_some_and(|it| it.line == 9);
            let found: Vec<&Shown> = shown.filter(is_here).collect();
            assert!(!found.is_empty(), "{key}\n{}", config.effective);
            let value = match setting.kind {
                Kind::Secret => "[hidden] with ${env:S}",
                _ => "${env:S}",
            };
            for shown in found {
                assert_eq!(
                    (&*shown.value, &shown.origin.as_ref().unwrap().key),
                    (value, &key)
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn the_defaults_shown_are_those_that_hold() {
    let base = "clusters = a, b\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n\
                a->b.enabled = true\n";
    let (config, _) = parse(base).unwrap();
    let mut explicit = base.to_owned();
    for section in &config.effective.sections {
        for shown in section.settings.iter().filter(|it| it.origin.is_none()) {
            if shown.value == "(none)" {
                continue;
            }
            let setting = settings::named(&shown.name)
                .into_iter()
                .find(|it| it.status == Status::Implemented);
            let scope = setting.unwrap().scopes[0];
            let prefix = match (section.title.as_str(), scope) {
                ("flow a->b", Scope::Consumer) => "a->b.source.consumer.",
                ("flow a->b", Scope::WorkerShared) => "b.",
                ("flow a->b", _) => "a->b.",
                ("heartbeats b->a", _) => "b->a.",
                ("cluster a", _) => "a.",
                ("cluster b", _) => "b.",
                _ => "",
            };
            let value = shown.value.replace('\\', r"\\");
            explicit.push_str(&format!("{prefix}{} = {value}\n", shown.name));
        }
    }
    let (same, _) = parse(&explicit).unwrap();
    let parts = |config: &Config| {
        let Config {
            clusters,
            flows,
            heartbeats,
            limits,
            ..
        } = config;
        format!("{clusters:?} {flows:?} {heartbeats:?} {limits:?}")
    };
    assert_eq!(parts(&same), parts(&config));
    let defaults = same.effective.sections.iter().flat_map(|it| &it.settings);
    let is_of_security = |name: &str| name.starts_with("ssl.") || name.starts_with("sasl.");
    let defaults = defaults.filter(|it| it.origin.is_none() && !is_of_security(&it.name));
    assert_eq!(
        defaults.count(),
        2,
        "only config.providers, kmirror.start.topics and what makes connections safe have none\n{}",
        same.effective
    );
}
