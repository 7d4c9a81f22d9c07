//! The rules of this repository that no compiler knows, each as a test that reads the source.
//!
//! A rule that has to give way gets an exception with its reason in the table of its test, and an exception that nothing
//! needs any more fails too.

#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, first_words, is_word, read, root, rust_files, sources, word};

/// Fails with all findings at once.
#[track_caller]
fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// Exceptions of a rule, each to be used at least once.
struct Exceptions<K: 'static> {
    table: &'static [(K, &'static str)],
    used: BTreeSet<usize>,
}

impl<K: std::fmt::Debug> Exceptions<K> {
    fn new(table: &'static [(K, &'static str)]) -> Self {
        Self {
            table,
            used: BTreeSet::new(),
        }
    }

    fn cover(&mut self, is_it: impl Fn(&K) -> bool) -> bool {
        let found = self.table.iter().position(|(case, _)| is_it(case));
        self.used.extend(found);
        found.is_some()
    }

    #[track_caller]
    fn all_used(&self) {
        let idle: Vec<String> = (0..self.table.len())
            .filter(|index| !self.used.contains(index))
            .map(|index| format!("{:?}", self.table[index].0))
            .collect();
        none("exceptions that nothing needs any more", &idle);
    }
}

// --- layers -----------------------------------------------------------------------------------------------------------

const LAYERS: [&[&str]; 4] = [
    &["wire", "sched", "error", "task", "observe", "config"],
    &["ipc"],
    &["supervisor", "worker"],
    &["pool", "spec", "testing", "web", "docs", "prelude", "lib"],
];

/// Edges within a layer.
const SIDEWAYS: &[((&str, &str), &str)] = &[
    (
        ("error", "task"),
        "an error names its task, slot and worker",
    ),
    (
        ("task", "error"),
        "a context carries panics over from blocking threads; hooks are told of errors",
    ),
    (
        ("wire", "error"),
        "a codec says what it could not read in the crate's own error",
    ),
    (
        ("sched", "error"),
        "whether a task had started is decided there and told by errors",
    ),
    (("sched", "task"), "names of tasks and slots"),
    (
        ("observe", "error"),
        "an event carries the report of a lost worker",
    ),
    (("observe", "task"), "names of slots and workers"),
    (
        ("observe", "config"),
        "a status tells what the pool was told",
    ),
    (
        ("config", "error"),
        "what cannot be read is said in the crate's own error",
    ),
    (
        ("pool", "spec"),
        "a pool is built from the workers that a spec became",
    ),
    (
        ("testing", "spec"),
        "workers in test binaries and in memory",
    ),
    (("testing", "pool"), "what a test asserts of a pool"),
    (("web", "pool"), "the error of a map is an answer, too"),
    (("prelude", "lib"), "it re-exports public names"),
    (
        ("testing", "lib"),
        "its macro names what it needs as a crate outside does",
    ),
    (("lib", "pool"), "the list of public names"),
    (("lib", "spec"), "the list of public names"),
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Every `crate::..`, and every `super::..` that leads out of the folder, with the module it leads to.
fn edges(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in source.find("crate::") {
        for target in first_words(&source.code[at + "crate::".len()..]) {
            found.push((at, target.to_owned()));
        }
    }
    for at in source.find("super::") {
        let path = &source.code[at..];
        let ups = path.split("::").take_while(|part| part.trim() == "super");
        if ups.count() >= source.depth() {
            found.push((at, "lib".to_owned()));
        }
    }
    if source.module() == "lib" {
        for at in source.find("pub use ") {
            for target in first_words(&source.code[at + "pub use ".len()..]) {
                found.push((at, target.to_owned()));
            }
        }
    }
    found
}

#[test]
fn modules_use_only_what_is_below_them() {
    let mut sideways = Exceptions::new(SIDEWAYS);
    let mut wrong = Vec::new();
    for source in sources() {
        let from = source.module();
        let Some(layer_from) = layer(from) else {
            wrong.push(format!("{}: `{from}` is in no layer", source.path));
            continue;
        };
        // Tests may put together what they need.
        let edges = if source.for_tests {
            Vec::new()
        } else {
            edges(&source)
        };
        for (at, target) in edges {
            // A public name instead of a module: it is reached through lib.rs.
            let to = match layer(&target) {
                Some(_) => target.as_str(),
                None => "lib",
            };
            let down = layer(to).is_some_and(|layer_to| layer_to < layer_from);
            if from != to && !down && !sideways.cover(|edge| *edge == (from, to)) {
                wrong.push(format!("{}: {from} uses {target}", source.at(at)));
            }
        }
    }
    none("an edge that goes up or sideways", &wrong);
    sideways.all_used();
}

/// What plain values do not know.
const NOT_IN_VALUES: [&str; 14] = [
    "actix::",
    "actix_rt::",
    "tokio::",
    "interprocess::",
    "rustix::",
    "signal_hook::",
    "getrandom::",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
];

const VALUES_KNOW: &[((&str, &str), &str)] = &[
    (
        ("src/task/context.rs", "tokio::"),
        "`tokio::task::spawn_blocking` is what `TaskContext::block` means; an executor handed in would be more code for no use",
    ),
    (
        ("src/task/context.rs", "Instant::now"),
        "what is left of a task's time is asked by the task itself, whenever it likes",
    ),
];

#[test]
fn plain_values_know_no_actor_socket_process_or_clock() {
    let mut known = Exceptions::new(VALUES_KNOW);
    let mut wrong = Vec::new();
    for source in sources() {
        if layer(source.module()) != Some(0) || source.for_tests {
            continue;
        }
        for path in NOT_IN_VALUES {
            for at in source.find(path) {
                if !known.cover(|case| *case == (source.path.as_str(), path)) {
                    wrong.push(format!("{}: {path}", source.at(at)));
                }
            }
        }
        for (at, _) in source.code.match_indices(".elapsed()") {
            wrong.push(format!("{}: .elapsed()", source.at(at)));
        }
        // `use std::{fs, ..}`
        for at in source.find("std::") {
            for name in first_words(&source.code[at + "std::".len()..]) {
                if ["fs", "net", "os", "process", "env"].contains(&name) {
                    wrong.push(format!("{}: std::{name}", source.at(at)));
                }
            }
        }
    }
    none("something of the outside in a plain value", &wrong);
    known.all_used();
}

/// Fails where a name is used outside of the files that begin so.
#[track_caller]
fn only_in(name: &str, homes: &[&str]) {
    let mut wrong = Vec::new();
    for source in sources() {
        if !homes.iter().any(|home| source.path.starts_with(home)) && !source.for_tests {
            wrong.extend(source.find(name).map(|at| source.at(at)));
        }
    }
    none(&format!("`{name}` is named outside of {homes:?}"), &wrong);
}

#[test]
fn only_the_codec_names_postcard() {
    only_in("postcard", &["src/wire/codec.rs"]);
}

#[test]
fn only_ipc_names_interprocess() {
    only_in("interprocess", &["src/ipc/"]);
}

#[test]
fn only_the_supervisor_starts_processes() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.path.starts_with("src/supervisor/") {
            continue;
        }
        for (at, _) in source.code.match_indices("process::") {
            let words = first_words(&source.code[at + "process::".len()..]);
            if words
                .iter()
                .any(|word| ["Command", "Child", "Stdio"].contains(word))
            {
                wrong.push(source.at(at));
            }
        }
        for name in ["Command::new", "CommandExt", "tokio::process", "fork"] {
            wrong.extend(source.find(name).map(|at| source.at(at)));
        }
    }
    none("a process is started outside of supervisor/", &wrong);
}

// --- how files look ---------------------------------------------------------------------------------------------------

#[test]
fn every_file_begins_with_what_it_is_for() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        for path in rust_files(folder) {
            // The programs of the compiler tests are what they say.
            if !path.starts_with("tests/ui/") && !read(&path).starts_with("//! ") {
                wrong.push(path);
            }
        }
    }
    none("no `//!` at the start", &wrong);
    let mut wrong = Vec::new();
    for source in sources() {
        let header = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let header = header.collect::<Vec<_>>().join(" ");
        let says = header.contains("Belongs here:") && header.contains("oes not belong here:");
        if !says && !source.for_tests && source.path != "src/lib.rs" {
            wrong.push(source.path);
        }
    }
    none(
        "a header that does not say what belongs there and what does not",
        &wrong,
    );
}

/// A file over 350 lines is asked whether two roles share it.
const LONG: &[(&str, &str)] = &[];

#[test]
fn a_file_is_no_longer_than_350_lines() {
    let mut long = Exceptions::new(LONG);
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > 350 && !long.cover(|path| *path == source.path) {
            wrong.push(format!("{}: {lines} lines", source.path));
        }
    }
    none("a file that two roles may share", &wrong);
    long.all_used();
}

#[test]
fn the_library_neither_panics_nor_silences_lints() {
    const NEVER: [&str; 9] = [
        ".unwrap()",
        ".expect(",
        "panic!",
        "todo!",
        "unimplemented!",
        "unreachable!",
        "dbg!",
        "#[allow(",
        "#![allow(",
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        if source.for_tests || source.module() == "testing" {
            continue;
        }
        for name in NEVER {
            for (at, _) in source.code.match_indices(name) {
                wrong.push(format!("{}: {name}", source.at(at)));
            }
        }
    }
    none("no library code does this", &wrong);
}

// --- what the papers say ----------------------------------------------------------------------------------------------

/// Everything between a pair of backticks, with its line.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(line, text)| {
        let inside = text.split('`').enumerate().filter(|(n, _)| n % 2 == 1);
        inside.map(move |(_, word)| (line + 1, word))
    })
}

fn is_file_of_ours(name: &str) -> bool {
    let folder = ["src/", "tests/", "examples/", "benches/"]
        .iter()
        .any(|folder| name.starts_with(folder));
    folder && name.ends_with(".rs") && name.chars().all(|c| is_word(c) || "/.-".contains(c))
}

#[test]
fn every_file_that_is_named_exists() {
    let mut wrong = Vec::new();
    let papers = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned);
    for path in papers.into_iter().chain(rust_files("src")) {
        let text = read(&path);
        for (line, name) in quoted(&text) {
            if is_file_of_ours(name) && !root().join(name).is_file() {
                wrong.push(format!("{path}:{line}: {name}"));
            }
        }
    }
    none("a file that is not there", &wrong);
}

/// Without the feature such a test does not compile, which is seen only where somebody builds without it.
#[test]
fn tests_that_need_a_feature_say_so() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).expect("a manifest");
    let declared = manifest["test"].as_array().expect("tests");
    let declared: Vec<&str> = declared
        .iter()
        .filter(|test| test.get("required-features").is_some())
        .filter_map(|test| test["name"].as_str())
        .collect();
    let mut wrong = Vec::new();
    for path in rust_files("tests") {
        let name = path.trim_start_matches("tests/").trim_end_matches(".rs");
        // Of a folder the binary is named.
        let name = match name.split_once('/') {
            Some((folder, _)) if root().join("tests").join(folder).join("main.rs").is_file() => {
                folder
            }
            _ => name,
        };
        let text = read(&path);
        let needs = text.contains("worker_entry!(") || text.contains("testing::");
        // Some of a file may do without; and this file names them, too.
        let parted = text.contains("feature = \"test-util\"") || name == "tidy";
        if needs && !parted && !name.contains('/') && !declared.contains(&name) {
            wrong.push(path.clone());
        }
    }
    none("a test without `required-features` in Cargo.toml", &wrong);
}

/// What the patches of `tests/mutants` take out is there to be taken out, or `git apply` refuses them much later.
#[test]
fn the_mutants_fit_the_code() {
    let Ok(dir) = std::fs::read_dir(root().join("tests/mutants")) else {
        // They are not in the package.
        return;
    };
    let mut wrong = Vec::new();
    for patch in dir.map(|entry| entry.expect("an entry").path()) {
        if patch.extension().is_none_or(|kind| kind != "patch") {
            continue;
        }
        let text = std::fs::read_to_string(&patch).expect("a patch");
        let (mut code, mut before) = (String::new(), String::new());
        for line in text.lines().chain(["@@"]) {
            if line.starts_with("@@") || line.starts_with("--- a/") {
                if !code.contains(&std::mem::take(&mut before)) {
                    wrong.push(format!("{}: not in the file", patch.display()));
                }
                if let Some(path) = line.strip_prefix("--- a/") {
                    code = format!("\n{}", read(path));
                }
                before.push('\n');
            } else if let Some(rest) = line.strip_prefix([' ', '-']) {
                before += rest;
                before.push('\n');
            }
        }
    }
    none("a mutant that does not apply", &wrong);
}

/// Whether a file has a test of this name, or a harness of its own that knows a case of this name.
fn declares(code: &str, name: &str) -> bool {
    let test = code.match_indices("fn ").any(|(at, _)| {
        let attributes = code[..at].rsplit(['}', ';']).next().unwrap_or_default();
        word(&code[at + "fn ".len()..]) == name && attributes.contains("test]")
    });
    test || code.contains(&format!("\"{name}\""))
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let text = read("ARCHITECTURE.md");
    let mut wrong = Vec::new();
    let mut holders = 0;
    for (number, line) in (1..).zip(text.lines()) {
        // Written as `tests/file.rs`::`name_of_the_test`.
        let pairs: Vec<(&str, &str)> = line
            .match_indices("`::`")
            .filter_map(|(at, separator)| {
                let file = line[..at].rsplit('`').next()?;
                let name = line[at + separator.len()..].split('`').next()?;
                Some((file, name))
            })
            .collect();
        if line.contains("held by") && pairs.is_empty() && !line.contains("not yet held by") {
            wrong.push(format!("ARCHITECTURE.md:{number}: held by nothing"));
        }
        for (file, name) in pairs {
            holders += 1;
            let Ok(code) = std::fs::read_to_string(root().join(file)) else {
                wrong.push(format!("ARCHITECTURE.md:{number}: no file {file}"));
                continue;
            };
            if !declares(&code, name) {
                wrong.push(format!(
                    "ARCHITECTURE.md:{number}: no test {name} in {file}"
                ));
            }
        }
    }
    none("a guarantee without its test", &wrong);
    assert!(holders > 20, "the guarantees were not found");
    for guarantee in 1..=10 {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{guarantee}. ")));
        assert!(line.is_some(), "guarantee {guarantee} is missing");
    }
}

#[test]
fn the_code_map_names_every_file() {
    let text = read("ARCHITECTURE.md");
    let named: BTreeSet<&str> = quoted(&text).map(|(_, name)| name).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.for_tests && !named.contains(source.path.as_str()) {
            wrong.push(source.path);
        }
    }
    none("a file that the code map does not name", &wrong);
}

#[test]
fn the_readme_lists_every_example() {
    let text = read("README.md");
    let mut wrong = Vec::new();
    for path in rust_files("examples") {
        let name = path.trim_start_matches("examples/");
        let name = match name.split_once('/') {
            Some((name, "main.rs")) => name,
            Some(_) => continue,
            None => name.trim_end_matches(".rs"),
        };
        if !text.contains(&format!("--example {name}")) {
            wrong.push(path);
        }
    }
    none(
        "an example that the README does not tell how to run",
        &wrong,
    );
}

#[test]
fn the_contract_uses_every_public_name() {
    let contract = read("tests/contract.rs");
    let used: BTreeSet<&str> = contract.split(|c| !is_word(c)).collect();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for source in sources() {
        if source.for_tests {
            continue;
        }
        if source.module() == "lib" {
            for at in source.find("pub use ") {
                let list = &source.code[at..];
                let list = &list[..list.find(';').unwrap_or(list.len())];
                let listed = list
                    .split(|c| !is_word(c))
                    .filter(|name| name.starts_with(char::is_uppercase) && !name.is_empty());
                names.extend(listed.map(|name| (name.to_owned(), source.at(at))));
            }
        }
        for keyword in ["pub fn ", "pub async fn ", "pub const fn "] {
            for at in source.find(keyword) {
                let hidden = source
                    .text
                    .lines()
                    .nth(line_of(&source, at).saturating_sub(2));
                if hidden.is_some_and(|line| line.contains("doc(hidden)")) {
                    continue;
                }
                let name = word(&source.code[at + keyword.len()..]).to_owned();
                names.insert(name, source.at(at));
            }
        }
    }
    assert!(names.len() > 100, "the public names were not found");
    let missing = names
        .iter()
        .filter(|(name, _)| !used.contains(name.as_str()));
    let missing: Vec<String> = missing.map(|(name, at)| format!("{at}: {name}")).collect();
    none(
        "a public name that tests/contract.rs does not use",
        &missing,
    );
}

fn line_of(source: &Source, offset: usize) -> usize {
    source.code[..offset].matches('\n').count() + 1
}
