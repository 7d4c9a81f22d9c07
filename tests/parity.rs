//! The table of `tests/parity/README.md` is complete, and every test that it names is there.

use std::{collections::BTreeSet, fs, path::Path};

const TABLE: &str = "tests/parity/README.md";

/// The chapters with how many tests aiomultiprocess 0.9.1 has of each.
const CHAPTERS: [(&str, usize); 3] = [("Pool", 12), ("Core", 18), ("Scheduler", 2)];

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// Every row of a chapter as its cells.
fn rows<'a>(text: &'a str, chapter: &str) -> Vec<Vec<&'a str>> {
    let heading = format!("## {chapter}\n");
    let (_, text) = text.split_once(&heading).expect("the chapter");
    let text = text.split("\n## ").next().unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// Everything between a pair of backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What is wrong with the name of a test, if anything is.
fn problem(holder: &str) -> Option<String> {
    let Some((file, test)) = holder.split_once("::") else {
        let stderr = holder.replace(".rs", ".stderr");
        let is_there = holder.starts_with("tests/ui/") && read(holder).is_some();
        return (!is_there || read(&stderr).is_none())
            .then(|| format!("{holder}: no program that does not compile"));
    };
    let Some(code) = read(file) else {
        return Some(format!("{file}: no such file"));
    };
    let declared = format!("#[test]\nfn {test}() {{");
    (!code.contains(&declared)).then(|| format!("{file}: no test {test}"))
}

#[test]
fn every_test_of_aiomultiprocess_has_a_row_and_every_row_a_test() {
    let text = read(TABLE).expect("the table");
    let mut names = BTreeSet::new();
    let mut problems = Vec::new();
    for (chapter, count) in CHAPTERS {
        let rows = rows(&text, chapter);
        assert_eq!(rows.len(), count, "rows of {chapter}");
        for row in rows {
            let [name, here, holders] = row[..] else {
                panic!("not three cells: {row:?}");
            };
            assert!(names.insert(name), "twice: {name}");
            assert!(name.starts_with("`test_") && !here.is_empty(), "{row:?}");
            let holders = quoted(holders);
            assert!(!holders.is_empty(), "{name} is held by nothing");
            problems.extend(holders.into_iter().filter_map(problem));
        }
    }
    assert_eq!(names.len(), 32);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_name_that_is_not_there_is_a_problem() {
    let here = "tests/parity.rs::a_name_that_is_not_there_is_a_problem";
    assert_eq!(problem(here), None);
    for wrong in [
        "tests/parity.rs::problem",
        "tests/parity.rs::no_such_test",
        "tests/no_such_file.rs::a_test",
        "tests/ui/no_such_program.rs",
        // No program of the compiler tests.
        "tests/parity.rs",
    ] {
        assert!(problem(wrong).is_some(), "{wrong}");
    }
}
