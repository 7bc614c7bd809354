use std::collections::HashSet;

use super::*;

#[test]
fn every_default_is_a_value_of_its_kind() {
    for setting in all().filter(|setting| !setting.default.is_empty()) {
        let problem = setting.kind.problem_with(setting.default);
        assert_eq!(problem, None, "{}", setting.name);
    }
}

#[test]
fn no_name_is_given_twice_in_one_scope() {
    let mut seen = HashSet::new();
    for setting in all() {
        for scope in setting.scopes {
            let name = setting.name;
            assert!(
                seen.insert((name, format!("{scope:?}"))),
                "{name} in {scope:?}"
            );
        }
    }
}

#[test]
fn every_old_name_leads_to_a_setting() {
    for setting in all() {
        if let Status::Renamed(new) = setting.status {
            let scope = setting.scopes[0];
            assert!(find(new, scope).is_some(), "{new}");
        }
    }
}

#[test]
fn values_are_checked_by_kind() {
    let cases = [
        (Kind::Bool, "TRUE", true),
        (Kind::Bool, " false ", true),
        (Kind::Bool, "yes", false),
        (Kind::Bool, "", false),
        (Kind::Number(-1, 9), "-1", true),
        (Kind::Number(-1, 9), "+9", true),
        (Kind::Number(-1, 9), "10", false),
        (Kind::Number(-1, 9), "1.0", false),
        (Kind::Number(-1, 9), "99999999999999999999", false),
        (Kind::Millis(0, i64::MAX), "9223372036854775807", true),
        (Kind::Millis(0, i64::MAX), "5s", false),
        (Kind::Seconds(0, 5), "-1", false),
        (Kind::Fraction, "0.8", true),
        (Kind::Fraction, "x", false),
        (Kind::OneOf(&["a", "b"]), "b", true),
        (Kind::OneOf(&["a", "b"]), "B", false),
        (Kind::OneOfAnyCase(&["a", "b"]), "B", true),
        (Kind::Text, "", true),
    ];
    for (kind, value, is_right) in cases {
        assert_eq!(
            kind.problem_with(value).is_none(),
            is_right,
            "{kind:?} {value}"
        );
    }
}

#[test]
fn a_kind_says_what_it_takes() {
    let cases = [
        (Kind::Bool, "true or false"),
        (Kind::Number(1, 64), "a whole number from 1 to 64"),
        (
            Kind::Millis(0, i64::MAX),
            "a number of milliseconds, at least 0",
        ),
        (Kind::OneOf(&["x", "y"]), "x or y"),
    ];
    for (kind, expected) in cases {
        assert_eq!(kind.to_string(), expected);
    }
}

#[test]
fn an_exact_name_hides_its_family() {
    let names = |name| named(name).iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names("offset.storage.topic"), ["offset.storage.topic"]);
    assert_eq!(names("offset.storage.segment.bytes"), ["offset.storage.*"]);
    assert_eq!(names("config.providers"), ["config.providers"]);
    assert_eq!(names("config.providers.file.class"), ["config.providers.*"]);
    assert_eq!(names("offset.storage."), Vec::<&str>::new());
}

#[test]
fn the_table_has_a_row_for_every_setting() {
    let table = table_markdown();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), all().count() + 2);
    let columns = |line: &str| line.replace(r"\|", "").matches('|').count();
    for line in &lines {
        assert_eq!(columns(line), 6, "{line}");
    }
    let row = "| `offset.flush.interval.ms` | `B.offset.flush.interval.ms` | \
               a number of milliseconds, at least 1 |  | \
               Old form of kmirror.positions.interval.ms |";
    assert!(lines.contains(&row), "{table}");
}
