//! Runs this program on a tree of nasty names and compares with the real `sha256sum`.

use std::{
    env::current_exe,
    error::Error,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::line;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Names that a program which prints paths gets wrong. A slash makes a folder.
const NAMES: &[&[u8]] = &[
    b"plain",
    b" spaces  everywhere ",
    b"-dash",
    b"--help",
    b"-",
    b"*",
    b"'quote\"",
    b"back\\slash",
    b"\\",
    b"new\nline",
    b"\n",
    b"carriage\rreturn",
    b"tab\tbell\x07delete\x7f",
    b"not UTF-8 \xff\xfe",
    b"\x80",
    "häßlich \u{1f980}".as_bytes(),
    // In byte order a folder comes where its slash is: after `a-b` and `a.c`, before `a0`.
    b"a-b",
    b"a.c",
    b"a/b",
    b"a/b.c",
    b"a0",
    b"new\nline folder/\xff/\\/deep",
    b".hidden/.file",
];

/// Sizes on both sides of where a block, a buffer or a range ends.
const SIZES: &[usize] = &[
    0,
    1,
    55,
    56,
    63,
    64,
    65,
    65_536,
    (1 << 20) - 1,
    1 << 20,
    (1 << 20) + 1,
    (9 << 20) + 3,
];

/// # Errors
/// Says where the output differs, or what went wrong on the way there.
pub(crate) fn run() -> Result<()> {
    let temp = TempDir::new()?;
    let root = temp.path().join("-tree");
    let paths = plant(&root)?;
    let expected = match sha256sum(&paths) {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            return Err(format!("sha256sum: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("self-test: no sha256sum here; comparing with one plain loop instead");
            in_one_go(&paths)?
        }
        Err(error) => return Err(error.into()),
    };

    let plain = checksum(&["--processes", "2"], &root)?;
    same("output", &plain.stdout, &expected)?;
    if !plain.status.success() {
        return Err(format!(
            "{}: {}",
            plain.status,
            String::from_utf8_lossy(&plain.stderr)
        )
        .into());
    }
    let killed = checksum(&["--processes", "2", "--kill-every", "5"], &root)?;
    same("output with --kill-every 5", &killed.stdout, &expected)?;

    // What is not there is named, and all the rest is done.
    let missing = Command::new(current_exe()?)
        .arg("--")
        .arg(root.join("none"))
        .arg(&root)
        .output()?;
    same("output beside a missing folder", &missing.stdout, &expected)?;
    if missing.status.code() != Some(1) || missing.stderr.is_empty() {
        return Err(format!("a missing folder: {}, {:?}", missing.status, missing.stderr).into());
    }
    println!(
        "self-test: {} files as sha256sum has them, also while workers are killed",
        paths.len()
    );
    Ok(())
}

/// Makes the tree. Returns the paths of its regular files in byte order.
fn plant(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (number, name) in NAMES.iter().enumerate() {
        let Some(name) = os_str(name) else { continue };
        paths.push((root.join(name), vec![b'x'; number]));
    }
    for &size in SIZES {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let noise = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 32) as u8
        });
        paths.push((
            root.join(format!("sizes/{size}")),
            noise.take(size).collect(),
        ));
    }
    let mut planted = Vec::new();
    for (path, bytes) in paths {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        match fs::write(&path, bytes) {
            Ok(()) => planted.push(path),
            // Some file systems do not take names of any bytes.
            Err(error) => println!("self-test: without {path:?}: {error}"),
        }
    }
    others(root)?;
    planted.sort_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    Ok(planted)
}

/// Adds what is no regular file and must not show.
#[cfg(unix)]
fn others(root: &Path) -> Result<()> {
    use std::os::unix::{fs::symlink, net::UnixListener};

    symlink("plain", root.join("link to a file"))?;
    symlink("a", root.join("link to a folder"))?;
    symlink("..", root.join("a/link to above"))?;
    symlink("nowhere", root.join("link to nothing"))?;
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU)?;
    // The socket's name stays when the listener goes. The path may be too long for one.
    let _ = UnixListener::bind(root.join("socket"));
    Ok(())
}

#[cfg(not(unix))]
fn others(_root: &Path) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn os_str(name: &[u8]) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(name.to_vec()))
}

#[cfg(not(unix))]
fn os_str(name: &[u8]) -> Option<OsString> {
    String::from_utf8(name.to_vec()).ok().map(OsString::from)
}

fn sha256sum(paths: &[PathBuf]) -> io::Result<Output> {
    Command::new("sha256sum").arg("--").args(paths).output()
}

fn in_one_go(paths: &[PathBuf]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for path in paths {
        let digest = Sha256::digest(fs::read(path)?);
        line::write(&mut lines, &digest.into(), path.as_os_str());
    }
    Ok(lines)
}

fn checksum(options: &[&str], root: &Path) -> io::Result<Output> {
    Command::new(current_exe()?)
        .args(options)
        .arg("--")
        .arg(root)
        .output()
}

fn same(what: &str, output: &[u8], expected: &[u8]) -> Result<()> {
    if output == expected {
        return Ok(());
    }
    let mut output = output.split(|&byte| byte == b'\n');
    let mut expected = expected.split(|&byte| byte == b'\n');
    loop {
        let (is, should) = (output.next(), expected.next());
        if is != should || is.is_none() {
            let text = |line: Option<&[u8]>| {
                line.map(String::from_utf8_lossy)
                    .map(|line| line.into_owned())
            };
            return Err(format!("{what}: {:?} instead of {:?}", text(is), text(should)).into());
        }
    }
}
