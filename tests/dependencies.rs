//! What this crate brings along stays small.
//!
//! Counted where it is tested; the trees of other platforms are no larger.
#![cfg(target_os = "linux")]

use std::{collections::BTreeSet, process::Command};

/// Crates that a program compiles for this one with default features, those for building included.
const BUDGET: usize = 75;

#[test]
fn the_default_tree_is_within_its_budget() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--prefix=none"])
        .args(["--edges=normal,build", "--format={p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let tell = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "cargo tree failed: {tell}");
    let listed = String::from_utf8(tree.stdout).expect("names");
    // A crate is listed once for each that needs it, with marks after its version.
    let crates: BTreeSet<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().take(2).collect())
        .filter(|name: &Vec<&str>| name.first() != Some(&env!("CARGO_PKG_NAME")))
        .collect();
    assert!(crates.len() > 20, "the tree was not understood:\n{listed}");
    let names: Vec<String> = crates.iter().map(|name| name.join(" ")).collect();
    assert!(
        crates.len() <= BUDGET,
        "{} crates, {BUDGET} are the budget:\n  {}",
        crates.len(),
        names.join("\n  ")
    );
}
