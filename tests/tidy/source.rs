//! Reading Rust source as far as the rules need it: without its comments, texts and tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One file of the source.
pub(crate) struct Source {
    /// From the root of the package, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, literals and items for tests blanked out; lines stay where they are.
    pub(crate) code: String,
    /// It is compiled for tests only.
    pub(crate) for_tests: bool,
}

impl Source {
    /// The folder or file directly below `src` that it belongs to.
    pub(crate) fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or_default()
    }

    /// How many modules are above it and itself, the crate not counted.
    pub(crate) fn depth(&self) -> usize {
        let slashes = self.path.matches('/').count();
        slashes - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// `path:line` for a place in its code.
    pub(crate) fn at(&self, offset: usize) -> String {
        let before = self.code.get(..offset).unwrap_or_default();
        format!("{}:{}", self.path, before.matches('\n').count() + 1)
    }

    /// The places where a path or name begins, as a whole word that is not a later part of a path.
    pub(crate) fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(name).filter_map(move |(at, _)| {
            let before = self.code[..at].trim_end();
            let inside = self.code[..at].ends_with(is_word) || before.ends_with("::");
            let after = self.code[at + name.len()..].chars().next();
            let longer = name.ends_with(is_word) && after.is_some_and(is_word);
            (!inside && !longer).then_some(at)
        })
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The word at the start of `code`.
pub(crate) fn word(code: &str) -> &str {
    let end = code.find(|c| !is_word(c)).unwrap_or(code.len());
    &code[..end]
}

/// The first words of what follows `path::`: one, or those of a group in braces.
pub(crate) fn first_words(code: &str) -> Vec<&str> {
    let code = code.trim_start();
    let Some(group) = code.strip_prefix('{') else {
        return vec![word(code)];
    };
    let (mut depth, mut begins, mut found) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && is_word(c) => {
                found.push(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder of the package, in order.
pub(crate) fn rust_files(folder: &str) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let names = found.iter().map(|path| {
        let path = path.strip_prefix(root()).expect("below the root");
        path.to_string_lossy().replace('\\', "/")
    });
    names.collect()
}

/// All of `src`.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut test_modules: Vec<String> = Vec::new();
    for path in rust_files("src") {
        let text = read(&path);
        let mut code = blank(&text);
        let folder = match path
            .strip_suffix("/mod.rs")
            .or(path.strip_suffix("/lib.rs"))
        {
            Some(folder) => folder.to_owned(),
            None => path.trim_end_matches(".rs").to_owned(),
        };
        for name in blank_tests(&mut code) {
            test_modules.push(format!("{folder}/{name}"));
        }
        sources.push(Source {
            path,
            text,
            code,
            for_tests: false,
        });
    }
    for source in &mut sources {
        source.for_tests = test_modules.iter().any(|module| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
    sources
}

/// Replaces comments and the insides of literals by spaces.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after_word = code.ends_with(is_word);
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if c == '"' {
            quoted(rest)
        } else if c == '\'' {
            character(rest)
        } else if !after_word && c == 'r' && raw_hashes(&rest[1..]).is_some() {
            raw(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            let (gone, left) = rest.split_at(skipped);
            code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = left;
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            match rest.chars().next() {
                Some(c) => at += c.len_utf8(),
                None => return at,
            }
        }
    }
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        // What is escaped may be the quote itself.
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |end| end + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

fn raw_hashes(after_r: &str) -> Option<usize> {
    let hashes = after_r.bytes().take_while(|byte| *byte == b'#').count();
    after_r[hashes..].starts_with('"').then_some(hashes)
}

fn raw(text: &str) -> usize {
    let hashes = raw_hashes(&text[1..]).unwrap_or(0);
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    text[body..]
        .find(&end)
        .map_or(text.len(), |at| body + at + end.len())
}

/// Blanks every item that is compiled for tests only, and returns the modules among them that have files of their own.
fn blank_tests(code: &mut String) -> Vec<String> {
    let mut modules = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let at = from + found;
        let body = &code[at..];
        let condition = &body[..body.find(")]").unwrap_or(body.len())];
        let mut words = condition.split(|c| !is_word(c));
        if condition.contains("not(") || !words.any(|word| word == "test") {
            from = at + 1;
            continue;
        }
        let open = body.find('{').unwrap_or(body.len());
        let end = match body.find(';') {
            Some(semicolon) if semicolon < open => {
                let item = &body[..semicolon];
                if let Some((_, name)) = item.rsplit_once("mod ") {
                    modules.push(name.trim().to_owned());
                }
                semicolon + 1
            }
            _ => closing(body, open),
        };
        let blanked: String = body[..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        code.replace_range(at..at + end, &blanked);
        from = at + blanked.len();
    }
    modules
}

/// The place behind the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return open + at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a /* b /* c */ d */ e // f\n'g' \"h\\\"i\" r#\"j\"k\"# 'l: m '\\'' n";
    let code = blank(text);
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>(),
        ["a", "e", "'l:", "m", "n"]
    );
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn items_for_tests_are_no_code() {
    let mut code = "x #[cfg(all(test, unix))] mod a; y #[cfg(test)]\nmod b { fn c() { d } } z #[cfg(not(test))] e;".to_owned();
    assert_eq!(blank_tests(&mut code), ["a"]);
    let left: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(left, ["x", "y", "z", "#[cfg(not(test))]", "e;"]);
}

#[test]
fn groups_are_taken_apart() {
    assert_eq!(first_words("a::b;"), ["a"]);
    assert_eq!(first_words("{a::{b, c}, d, e as f};"), ["a", "d", "e"]);
}
