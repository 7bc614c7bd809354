//! Values and rules as people write them.

use super::*;

fn parse(text: &str) -> Result<StartAt, String> {
    StartAt::parse(text, &StartAt::Latest)
}

#[test]
fn every_form_is_read_and_shown() {
    let group = |group: &str| StartAt::Group {
        group: Arc::from(group),
        otherwise: Box::new(StartAt::Latest),
    };
    let time = StartAt::Timestamp;
    let cases = [
        ("earliest", StartAt::Earliest, "earliest"),
        (" Latest ", StartAt::Latest, "latest"),
        ("offset:0", StartAt::Offset(0), "offset:0"),
        ("1200", StartAt::Offset(1200), "offset:1200"),
        ("group:a:b", group("a:b"), "group:a:b"),
        ("group: g ", group("g"), "group:g"),
        ("timestamp:0", time(0), "timestamp:1970-01-01T00:00:00Z"),
        (
            "timestamp:1772344800123",
            time(1_772_344_800_123),
            "timestamp:2026-03-01T06:00:00.123Z",
        ),
        (
            "2026-03-01T06:00:00Z",
            time(1_772_344_800_000),
            "timestamp:2026-03-01T06:00:00Z",
        ),
        (
            "timestamp:2026-03-01 07:00+01:00",
            time(1_772_344_800_000),
            "timestamp:2026-03-01T06:00:00Z",
        ),
        (
            "timestamp:2026-02-28T23:30:00.5-0630",
            time(1_772_344_800_500),
            "timestamp:2026-03-01T06:00:00.500Z",
        ),
        (
            "timestamp:2024-02-29",
            time(1_709_164_800_000),
            "timestamp:2024-02-29T00:00:00Z",
        ),
        (
            "timestamp:2000-12-31T23:59:59.999999Z",
            time(978_307_199_999),
            "timestamp:2000-12-31T23:59:59.999Z",
        ),
        (
            "timestamp:9999-12-31T00:00z",
            time(253_402_214_400_000),
            "timestamp:9999-12-31T00:00:00Z",
        ),
    ];
    for (text, expected, shown) in cases {
        assert_eq!(parse(text).as_ref(), Ok(&expected), "{text}");
        assert_eq!(expected.to_string(), shown, "{text}");
        assert_eq!(parse(shown), Ok(expected), "{shown}");
    }
    let far = StartAt::Timestamp(i64::MAX);
    assert_eq!(parse(&far.to_string()), Ok(far));
}

#[test]
fn what_is_not_understood_is_refused_with_a_way_out() {
    let cases = [
        ("", "must be earliest"),
        ("newest", "must be earliest"),
        ("-1", "must be earliest"),
        ("timestap:1", "must be earliest"),
        ("offset:-1", "must be offset:N"),
        ("offset:", "must be offset:N"),
        ("offset:+1", "must be offset:N"),
        ("99999999999999999999", "must be offset:N"),
        ("group:", "names no group"),
        ("timestamp:", "must be a time"),
        ("timestamp:yesterday", "must be a time"),
        ("timestamp:2026-02-29", "must be a time"),
        ("timestamp:2026-13-01", "must be a time"),
        ("timestamp:1969-12-31", "must be a time"),
        ("timestamp:1970-01-01T00:00+01:00", "must be a time"),
        ("timestamp:2026-03-01T24:00", "must be a time"),
        ("timestamp:2026-03-01T06", "must be a time"),
        ("timestamp:2026-03-01T06:00:00.Z", "must be a time"),
        ("timestamp:2026-03-01T06:00+1", "must be a time"),
        ("timestamp:2026-3-1", "must be a time"),
        ("2026-03-01T06:00:00Zulu", "must be a time"),
    ];
    for (text, problem) in cases {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(problem), "{text}: {error}");
    }
}

#[test]
fn a_rule_names_topics_and_perhaps_one_partition() {
    let cases = [
        ("orders=latest", Ok(("orders", None, "latest"))),
        ("a.b : 3 = offset:7", Ok(("a.b", Some(3), "offset:7"))),
        (
            "(?:a|b).*=timestamp:2026-03-01T06:00Z",
            Ok(("(?:a|b).*", None, "timestamp:2026-03-01T06:00Z")),
        ),
        ("orders=group:a=b", Ok(("orders", None, "group:a=b"))),
        ("orders", Err("has no '='")),
        ("=latest", Err("names no topic before the '='")),
        (":1=latest", Err("names no topic before the '='")),
        (
            "a:9999999999=latest",
            Err("has too large a partition number"),
        ),
    ];
    for (item, expected) in cases {
        assert_eq!(split_rule(item), expected, "{item}");
    }
}

#[test]
fn the_first_rule_that_matches_holds() {
    let rule = |pattern: &str, partition, at| TopicStart {
        topics: NameFilter::new(&[pattern]).unwrap(),
        partition,
        at,
    };
    let rules = StartRules {
        default: StartAt::Latest,
        topics: vec![
            rule("orders", Some(1), StartAt::Offset(5)),
            rule("orders", None, StartAt::Offset(9)),
            rule("o.*", None, StartAt::Earliest),
        ],
    };
    let cases = [
        ("orders", 1, StartAt::Offset(5)),
        ("orders", 0, StartAt::Offset(9)),
        ("others", 1, StartAt::Earliest),
        ("orders2", 1, StartAt::Earliest),
        ("customers", 1, StartAt::Latest),
        // What cannot be decided is copied whole.
        ("new\nline", 0, StartAt::Earliest),
    ];
    for (topic, partition, expected) in cases {
        assert_eq!(rules.of(topic, partition), &expected, "{topic}-{partition}");
    }
}
