//! What does not compile, and that the compiler's words say what to do.
//!
//! The texts are those of one compiler version; with another the programs are not tried. After a change on purpose:
//! `TRYBUILD=overwrite cargo test --test ui`, and read what was written.

use std::process::Command;

/// Whose words the `.stderr` files are.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_do_not_compile_and_are_explained() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    if !version.stdout.starts_with(COMPILER.as_bytes()) {
        eprintln!("not tried: the texts are those of {COMPILER}x");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
