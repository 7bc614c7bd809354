use super::*;

/// Patterns and what `java.util.regex` made of them; the file says how it was written.
const JAVA: &str = include_str!("../../../tests/fixtures/java_regex.tsv");

#[test]
fn patterns_mean_what_java_means_or_are_refused() {
    let mut lines = JAVA.lines().filter(|line| !line.starts_with("## "));
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let (mut compared, mut refused) = (0, 0);
    for line in lines {
        let (pattern, java) = line.split_once('\t').unwrap();
        let Ok(regex) = compile(&[pattern]) else {
            refused += usize::from(java != "refused");
            continue;
        };
        let matches = |name: &&str| {
            if regex.is_match(name).unwrap() {
                '1'
            } else {
                '0'
            }
        };
        let ours: String = names.iter().map(matches).collect();
        assert_eq!(ours, java, "{pattern} on {names:?}");
        compared += 1;
    }
    // Refusing everything would pass the comparison too.
    assert!(compared > 300, "only {compared} patterns compared");
    assert!(
        refused < compared,
        "{refused} patterns that Java accepts are refused"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn refusals_name_the_item_and_the_character() {
    let cases: [(&[&str], &str); 22] = [
        (&["ok", "a(b"], "item 2, character 2: group is not closed"),
        (
            &["a", "b", "c)"],
            "item 3, character 2: unmatched closing ')'",
        ),
        (
            &["x{1", "3}"],
            r"item 1, character 2: malformed repetition; a plain '{' is written '\{'",
        ),
        (&["*"], "item 1, character 1: '*' has nothing to repeat"),
        (
            &["é", "*.log"],
            "item 2, character 1: '*' has nothing to repeat",
        ),
        (&["a**"], "item 1, character 3: '*' repeats a repetition"),
        (&["ab["], "item 1, character 3: '[' is not closed"),
        (
            &["ab[z-a]"],
            "item 1, character 4: this is not a range of characters",
        ),
        (&["[a&&]"], "item 1, character 5: '&&' needs two sides"),
        (
            &["a\\"],
            "item 1, character 2: a backslash ends the pattern",
        ),
        (
            &["a\\yb"],
            r"item 1, character 2: \y is not an escape supported here",
        ),
        (
            &["(?x)a"],
            "item 1, character 3: the flag 'x' is not supported",
        ),
        (
            &["(?U)a"],
            "item 1, character 3: the flag 'U' is not supported",
        ),
        (
            &["(?P<a>b)"],
            "item 1, character 3: '(?P' is not a group Java knows",
        ),
        (
            &["\\p{L}"],
            r"item 1, character 1: \p{L} is not supported; write the characters, as [a-z]",
        ),
        (
            &["(a)\\2"],
            "item 1, character 4: refers to a group that does not exist",
        ),
        (
            &["(a\\1)"],
            "item 1, character 3: refers to a group that is still open",
        ),
        (
            &["(?i)(a)\\1"],
            "item 1, character 8: a back reference under the flag 'i' is not supported",
        ),
        (
            &["(?<=a+)b"],
            "item 1, character 6: '+' in a look-behind is not supported",
        ),
        (
            &["^*"],
            "item 1, character 2: '*' repeats something that has no length; remove it",
        ),
        (
            &["(ab)++"],
            "item 1, character 6: a possessive repetition of a group is not supported; write (?>(…)+)",
        ),
        (
            &["\\u12"],
            "item 1, character 1: 4 hexadecimal digits are needed here",
        ),
    ];
    for (items, expected) in cases {
        let error = compile(items).unwrap_err();
        assert_eq!(error.to_string(), expected, "{items:?}");
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
    for open in ["(", "[", "(?:", "(?="] {
        let error = compile(&[open.repeat(100_000)]).unwrap_err();
        assert!(error.problem.contains("nest deeper than 50"), "{error}");
    }
}

#[test]
fn a_count_beyond_all_bounds_is_refused() {
    for pattern in ["a{99999999999}", "a{2000000000}", "((a{1000}){1000}){1000}"] {
        assert!(compile(&[pattern]).is_err(), "{pattern}");
    }
}

proptest::proptest! {
    #[test]
    fn no_list_of_patterns_makes_the_translator_panic(
        items in proptest::collection::vec(r"[\[\](){}|?*+^$.&\-\\QEabiku0-9<>=!:,]{0,12}", 1..4)
    ) {
        if let Err(error) = compile(&items) {
            let length = items.get(error.item).map(|item| item.chars().count());
            proptest::prop_assert!(length.is_some_and(|length| error.character <= length + 1));
        }
    }
}
