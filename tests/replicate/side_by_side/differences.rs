//! What may differ between the two, and where the README says so.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use super::view::View;

/// A difference that users are told of.
struct Difference {
    /// The first cell of its row in the README's table.
    readme: &'static str,
    is_it: fn(&Row<'_>) -> bool,
}

/// One thing that both were asked for.
struct Row<'a> {
    what: &'a str,
    mirror_maker: Option<&'a str>,
    kmirror: Option<&'a str>,
}

impl Row<'_> {
    fn is_about(&self, what: &str) -> bool {
        self.what.starts_with(what)
    }

    fn is_only_mirror_makers(&self) -> bool {
        self.kmirror.is_none()
    }

    fn is_only_kmirrors(&self) -> bool {
        self.mirror_maker.is_none()
    }

    /// Both say something.
    fn both(&self) -> Option<(&str, &str)> {
        Some((self.mirror_maker?, self.kmirror?))
    }
}

/// Whether kmirror is further, by the offset that both begin with.
fn is_ahead((mirror_maker, kmirror): (&str, &str)) -> bool {
    let offset = |text: &str| text.split(' ').next().unwrap().parse::<i64>().unwrap();
    offset(mirror_maker) < offset(kmirror)
}

/// Every difference that there may be; a row is looked up from the top.
const DIFFERENCES: [Difference; 7] = [
    Difference {
        readme: "internal topics",
        is_it: |row| {
            let connects = [
                "topic mm2-configs.",
                "topic mm2-status.",
                "topic on the source mm2-",
            ];
            connects.iter().any(|what| row.is_about(what)) && row.is_only_mirror_makers()
                || row.is_about("topic kmirror-state.A.internal") && row.is_only_kmirrors()
        },
    },
    Difference {
        readme: "reads",
        is_it: |row| {
            let ways = [
                "A.transacted-0",
                "offset sync transacted-0",
                "\"transacted\"}]",
            ];
            ways.iter().any(|way| row.what.ends_with(way)) && row.both().is_some()
        },
    },
    Difference {
        readme: "positions stored",
        is_it: |row| {
            let others = ["MirrorCheckpointConnector", "MirrorHeartbeatConnector"];
            others
                .iter()
                .any(|name| row.is_about(&format!("position [\"{name}\"")))
                && row.is_only_mirror_makers()
        },
    },
    Difference {
        readme: "groups on partitions without records",
        is_it: |row| {
            let is_group = row.is_about("checkpoint ") || row.is_about("group ");
            is_group && row.what.contains(" A.empty-") && row.is_only_kmirrors()
        },
    },
    Difference {
        readme: "offset syncs",
        is_it: |row| row.is_about("offset sync ") && row.both().is_some_and(is_ahead),
    },
    Difference {
        readme: "places of groups",
        is_it: |row| {
            // It tells nothing of a group below the first offset sync of a partition that it has kept.
            let is_exact = row.kmirror.is_some_and(|it| it.ends_with("(0 again)"));
            row.is_about("checkpoint ") && is_exact
        },
    },
    Difference {
        readme: "places of groups",
        is_it: |row| {
            let is_ahead = row.both().is_some_and(is_ahead);
            row.is_about("group ") && (is_ahead || row.is_only_kmirrors())
        },
    },
];

/// Both, line by line, with the reason where they differ; fails on what has none.
pub(super) fn compare(mirror_maker: &View, kmirror: &View) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let all: BTreeSet<&String> = mirror_maker.keys().chain(kmirror.keys()).collect();
    let mut table =
        String::from("| what | MirrorMaker 2 | kmirror | in the README |\n|---|---|---|---|\n");
    let mut unexplained = 0;
    for what in all {
        let row = Row {
            what,
            mirror_maker: mirror_maker.get(what).map(String::as_str),
            kmirror: kmirror.get(what).map(String::as_str),
        };
        let reason = if row.mirror_maker == row.kmirror {
            ""
        } else if let Some(difference) = DIFFERENCES.iter().find(|it| (it.is_it)(&row)) {
            let cell = difference.readme;
            assert!(
                readme.contains(&format!("\n| {cell} |")),
                "the README has no row {cell:?}"
            );
            cell
        } else {
            unexplained += 1;
            "NOT EXPLAINED"
        };
        let cell = |text: Option<&str>| String::from(text.unwrap_or("-"));
        let cells = (cell(row.mirror_maker), cell(row.kmirror));
        writeln!(table, "| {what} | {} | {} | {reason} |", cells.0, cells.1).unwrap();
    }
    assert_eq!(unexplained, 0, "differences without a reason\n{table}");
    table
}
