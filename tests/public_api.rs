//! The public names of the crate are those that were agreed on in `tests/public-api.txt`.
//!
//! After a change on purpose: `UPDATE_PUBLIC_API=1 cargo test --all-features --test public_api`, and read what changed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const AGREED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public-api.txt");

/// What the line of its `impl` says already.
const IMPLIED: [&str; 7] = [
    "StructuralPartialEq for ",
    "::clone(&self) -> ",
    "::deserialize<",
    "::eq(&self, ",
    "::fmt(&self, ",
    "::hash<__H",
    "::serialize<",
];

/// Whether a line says something of its own. What the prelude repeats is said where it comes from.
fn says_something(line: &str) -> bool {
    let repeats = line.split_once("::prelude::").is_some_and(|(_, name)| {
        let inside = name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        inside.starts_with("::")
    });
    !repeats && !IMPLIED.iter().any(|implied| line.contains(implied))
}

/// One line for each public thing, in groups.
fn listed(api: &public_api::PublicApi) -> String {
    let lines: Vec<String> = api.items().map(|item| format!("{item}\n")).collect();
    let (mut seen, mut kept) = (BTreeSet::new(), Vec::new());
    // From the end, because the prelude comes first and has the traits of its names with it.
    for line in lines.iter().rev() {
        if says_something(line) && seen.insert(line) {
            kept.push(line.as_str());
        }
    }
    kept.reverse();
    kept.concat()
}

/// Has rustdoc describe the crate with all features. The first time this compiles the dependencies once more: in a
/// directory of its own, because the usual one may be locked by the cargo that runs this test.
fn describe() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests");
    let directory = directory.join("public-api");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let rustdoc = Command::new(cargo)
        .args(["rustdoc", "--locked", "--lib", "--all-features"])
        .arg("--target-dir")
        .arg(&directory)
        .args(["--", "-Zunstable-options", "--output-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // What rustdoc writes for programs is not stable yet, and this is all that keeps a stable one from it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTDOCFLAGS")
        .output()
        .expect("cargo");
    let tell = String::from_utf8_lossy(&rustdoc.stderr);
    assert!(rustdoc.status.success(), "rustdoc failed:\n{tell}");
    directory.join("doc/actix_multiprocess.json")
}

/// What only `these` has, each on a line that begins with `sign`.
fn only<'a>(these: &'a [&str], those: &[&'a str], sign: char) -> impl Iterator<Item = String> + 'a {
    let those: BTreeSet<&str> = those.iter().copied().collect();
    let only = these.iter().filter(move |line| !those.contains(**line));
    only.map(move |line| format!("{sign} {line}\n"))
}

#[test]
fn public_names_are_those_that_were_agreed_on() {
    let described = public_api::Builder::from_rustdoc_json(describe())
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build();
    let api = match described {
        Ok(api) => api,
        Err(error) => {
            let other =
                "NOT RUN: this rustdoc describes crates in another form than `public-api` reads";
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{other}: {error}"
            );
            eprintln!("{other}: {error}");
            return;
        }
    };
    let text = listed(&api);
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(AGREED, &text).expect("the file");
        return;
    }
    let agreed = fs::read_to_string(AGREED).expect("the names that were agreed on");
    let (is, was): (Vec<&str>, Vec<&str>) = (text.lines().collect(), agreed.lines().collect());
    let changed: String = only(&was, &is, '-').chain(only(&is, &was, '+')).collect();
    assert!(
        is == was,
        "the public names have changed; the head of this file says what to do:\n{changed}"
    );
}
