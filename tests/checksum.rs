//! The example `checksum` prints what the real `sha256sum` does, whatever is in the tree and whatever happens to workers.
//!
//! Belongs here: the example as a program, and the two parts of it that a tree of files hardly reaches.
//! Does not belong here: what the pool promises.
//!
//! Run with `cargo test`, or after `cargo build --examples`: a test alone does not build the examples.
#![cfg(unix)]

use std::{
    env::current_exe,
    error::Error,
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

#[path = "../examples/checksum/order.rs"]
mod order;
#[path = "../examples/checksum/walk.rs"]
mod walk;

type Done = Result<(), Box<dyn Error>>;

const MIB: usize = 1 << 20;

#[derive(Debug)]
struct Ran {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

/// The example, which cargo builds beside the tests.
fn checksum() -> Result<Command, Box<dyn Error>> {
    let test = current_exe()?;
    let program = test
        .ancestors()
        .nth(2)
        .ok_or("a test without a target folder")?
        .join("examples/checksum");
    if !program.exists() {
        return Err(format!("{program:?} is missing: run `cargo build --examples` first").into());
    }
    Ok(Command::new(program))
}

/// What `find | sort | sha256sum` say about the same roots.
fn reference(folder: &Path, roots: &[&OsStr]) -> Result<Vec<u8>, Box<dyn Error>> {
    let pipeline = r#"find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum"#;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", pipeline, "sh"])
        .args(roots)
        .current_dir(folder);
    Ok(run(&mut shell)?.stdout)
}

/// Runs to the end, or for a minute.
fn run(command: &mut Command) -> Result<Ran, Box<dyn Error>> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    watched(child, |child| {
        let output = child.wait_with_output()?;
        Ok(Ran {
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    })
}

/// Kills the child if `work` takes a minute, so that no test hangs.
fn watched<R>(
    child: Child,
    work: impl FnOnce(Child) -> Result<R, Box<dyn Error>>,
) -> Result<R, Box<dyn Error>> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (done, waiting) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late =
            waiting.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout);
        late && kill(pid, Signal::SIGKILL).is_ok()
    });
    let result = work(child);
    drop(done);
    if watchdog.join().map_err(|_| "the watchdog panicked")? {
        return Err("it took more than a minute and was killed".into());
    }
    result
}

#[track_caller]
fn same(output: &[u8], expected: &[u8]) {
    // Not `assert_eq!` on all of it: nobody can read that.
    for (line, (is, should)) in output
        .split(|&b| b == b'\n')
        .zip(expected.split(|&b| b == b'\n'))
        .enumerate()
    {
        assert_eq!(
            String::from_utf8_lossy(is),
            String::from_utf8_lossy(should),
            "line {line}"
        );
    }
    assert_eq!(output.len(), expected.len());
}

fn write(path: &Path, bytes: &[u8]) -> Done {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, bytes)?)
}

/// Bytes that no other seed gives.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Files of all kinds under names of all kinds, in the folders `tree` and `-dash`.
fn plant(folder: &Path) -> Done {
    let names: [&[u8]; 17] = [
        b"plain",
        b"-n",
        b"--",
        b"back\\slash",
        b"new\nline",
        b"carriage\rreturn",
        b"\\\n\r",
        b" space ",
        b"\xff\xfe\x80",
        b"target/x",
        b".git/x",
        b"a.c",
        b"a-b",
        b"a/b",
        b"a0",
        b"new\nline folder/\\/deep\xff",
        b"*?[]'\"$(x)",
    ];
    for (number, name) in names.iter().enumerate() {
        write(
            &folder.join("tree").join(OsStr::from_bytes(name)),
            &noise(number as u64, number * 1000),
        )?;
    }
    for size in [0, MIB - 1, MIB, MIB + 1, 5 * MIB + 77] {
        write(
            &folder.join(format!("tree/sizes/{size}")),
            &noise(size as u64, size),
        )?;
    }
    write(&folder.join("-dash/-file"), b"dash")?;

    let tree = folder.join("tree");
    mkfifo(&tree.join("pipe"), Mode::S_IRWXU)?;
    let _ = UnixListener::bind(tree.join("socket"))?;
    symlink("plain", tree.join("link to file"))?;
    symlink("a", tree.join("link to folder"))?;
    symlink(".", tree.join("a/loop"))?;
    symlink("nowhere", tree.join("broken"))?;
    Ok(fs::create_dir(tree.join("empty folder"))?)
}

#[test]
fn output_is_that_of_sha256sum_for_any_name_and_any_spelling_of_the_root() -> Done {
    let temp = TempDir::new()?;
    plant(temp.path())?;
    let absolute = temp.path().join("tree");
    let spellings: [&[&OsStr]; 9] = [
        &["tree".as_ref()],
        &["./tree/".as_ref()],
        &["tree//".as_ref()],
        &[".".as_ref()],
        &[absolute.as_os_str()],
        &["tree/plain".as_ref()],
        // Two roots at once, and one file in both of them.
        &[
            "tree/sizes".as_ref(),
            "tree/a.c".as_ref(),
            "tree/a".as_ref(),
            "tree/a/b".as_ref(),
        ],
        // A link that is named is followed no more than one that is found, unless its name goes on.
        &["tree/link to folder".as_ref()],
        &["tree/link to folder/".as_ref()],
    ];
    for roots in spellings {
        let ran = run(checksum()?
            .args(["--processes", "2"])
            .args(roots)
            .current_dir(&temp))?;
        same(&ran.stdout, &reference(temp.path(), roots)?);
        assert!(ran.status.success(), "{roots:?}: {}", ran.stderr);
        assert_eq!(ran.stderr, "");
    }
    let dash = run(checksum()?.args(["--", "-dash"]).current_dir(&temp))?;
    let expected = run(Command::new("sha256sum")
        .args(["--", "-dash/-file"])
        .current_dir(&temp))?;
    same(&dash.stdout, &expected.stdout);
    assert!(dash.status.success(), "{}", dash.stderr);
    Ok(())
}

#[test]
fn without_arguments_it_hashes_the_current_folder_but_target_and_git() -> Done {
    let temp = TempDir::new()?;
    plant(temp.path())?;
    let tree = temp.path().join("tree");
    let ran = run(checksum()?.current_dir(&tree))?;
    fs::remove_dir_all(tree.join("target"))?;
    fs::remove_dir_all(tree.join(".git"))?;
    same(&ran.stdout, &reference(&tree, &[".".as_ref()])?);
    assert!(ran.status.success(), "{}", ran.stderr);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_done() -> Done {
    let temp = TempDir::new()?;
    plant(temp.path())?;
    // A path longer than the system opens, which not even root can read: two halves, put together by a rename.
    let half: PathBuf = std::iter::repeat_n("d".repeat(200), 12).collect();
    let one = temp.path().join("tree/one").join(&half);
    let two = temp.path().join("two").join(&half);
    fs::create_dir_all(&one)?;
    write(&two.join("unreachable"), b"x")?;
    fs::rename(temp.path().join("two"), one.join("two"))?;

    let mut roots = vec!["no such folder", "tree"];
    let mut named = vec!["\"no such folder\": No such file", "File name too long"];
    if cfg!(target_os = "linux") {
        roots.push("/proc/self/mem");
        named.push("\"/proc/self/mem\": Input/output error");
    }
    let secret = temp.path().join("tree/secret");
    write(&secret, b"x")?;
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o000))?;
    // Root can read it all the same, and then it has a line.
    if File::open(&secret).is_err() {
        named.push("secret\": Permission denied");
    }
    let ran = run(checksum()?
        .args(["--processes", "2"])
        .args(&roots)
        .current_dir(&temp))?;
    let roots: Vec<&OsStr> = roots.iter().map(OsStr::new).collect();
    same(&ran.stdout, &reference(temp.path(), &roots)?);
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(ran.stderr.lines().count(), named.len(), "{}", ran.stderr);
    for what in named {
        assert!(ran.stderr.contains(what), "{what} in: {}", ran.stderr);
    }
    Ok(())
}

#[test]
fn a_file_that_vanishes_after_it_was_found_is_named_and_the_rest_is_done() -> Done {
    let temp = TempDir::new()?;
    // So many lines that the program cannot be done with them before somebody reads them.
    let padding = "x".repeat(150);
    for number in 0..3000 {
        fs::write(temp.path().join(format!("{number:04}{padding}")), b"")?;
    }
    let last = temp.path().join("last");
    fs::write(&last, b"")?;
    let expected = reference(temp.path(), &[temp.path().as_os_str()])?;

    let child = checksum()?
        .args(["--processes", "2"])
        .arg(temp.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (output, stderr, status) = watched(child, |mut child| {
        let mut stdout = BufReader::with_capacity(1, child.stdout.take().ok_or("no stdout")?);
        let mut output = Vec::new();
        stdout.read_until(b'\n', &mut output)?;
        // The folder has been read, the line is the first, and no more than fits the pipe and the buffers follows it.
        fs::remove_file(&last)?;
        stdout.into_inner().read_to_end(&mut output)?;
        let rest = child.wait_with_output()?;
        Ok((
            output,
            String::from_utf8_lossy(&rest.stderr).into_owned(),
            rest.status,
        ))
    })?;
    let all_but_the_last: Vec<u8> = expected
        .split_inclusive(|&b| b == b'\n')
        .take(3000)
        .flatten()
        .copied()
        .collect();
    same(&output, &all_but_the_last);
    assert!(stderr.contains("last\": No such file"), "{stderr}");
    assert_eq!(status.code(), Some(1));
    Ok(())
}

#[test]
fn files_that_change_meanwhile_are_named_and_one_that_grew_has_the_line_of_its_first_size() -> Done
{
    let temp = TempDir::new()?;
    let tree = temp.path().join("tree");
    let at = |name: &str| tree.join(name);
    let bytes = noise(1, 32 * MIB);
    for name in ["growing", "replaced", "rewritten", "shrinking"] {
        write(&at(name), &bytes)?;
    }
    write(&at("still"), b"still")?;

    let over = AtomicBool::new(false);
    let going = || !over.load(Ordering::Relaxed);
    let pause = || thread::sleep(Duration::from_millis(1));
    let ran = thread::scope(|scope| {
        let writers: [Box<dyn FnOnce() -> std::io::Result<()> + Send>; 4] = [
            Box::new(|| {
                let mut file = OpenOptions::new().append(true).open(at("growing"))?;
                while going() {
                    file.write_all(b"more and more")?;
                    pause();
                }
                Ok(())
            }),
            Box::new(|| {
                while going() {
                    File::create(temp.path().join("other"))?.set_len(32 * MIB as u64)?;
                    fs::rename(temp.path().join("other"), at("replaced"))?;
                    pause();
                }
                Ok(())
            }),
            Box::new(|| {
                while going() {
                    OpenOptions::new()
                        .write(true)
                        .open(at("rewritten"))?
                        .write_all(b"x")?;
                    pause();
                }
                Ok(())
            }),
            Box::new(|| {
                let file = OpenOptions::new().write(true).open(at("shrinking"))?;
                for size in (64..=32 * MIB as u64).rev().step_by(64) {
                    if going() {
                        file.set_len(size)?;
                        pause();
                    }
                }
                Ok(())
            }),
        ];
        let writers = writers.map(|writer| scope.spawn(writer));
        let ran =
            checksum().and_then(|mut program| run(program.args(["--processes", "2"]).arg(&tree)));
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        ran
    })?;

    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(ran.stderr.lines().count(), 4, "{}", ran.stderr);
    for said in [
        "replaced\": is replaced by another file again and again",
        "rewritten\": was written to while it was read; it has no line",
        "shrinking\": shrank from ",
    ] {
        assert!(ran.stderr.contains(said), "{said} in: {}", ran.stderr);
    }
    let (_, size) = ran
        .stderr
        .split_once("its line is that of its first ")
        .ok_or("nothing grew")?;
    let size = size.split(' ').next().ok_or("no size")?.parse()?;
    assert!(size >= 32 * MIB as u64, "{size}");
    let mut start = Vec::new();
    File::open(at("growing"))?
        .take(size)
        .read_to_end(&mut start)?;
    let mut lines = String::new();
    for (name, bytes) in [("growing", start.as_slice()), ("still", b"still")] {
        lines += &Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        lines += &format!("  {}\n", at(name).display());
    }
    same(&ran.stdout, lines.as_bytes());
    Ok(())
}

#[test]
fn killing_busy_workers_every_5_ms_changes_nothing() -> Done {
    let temp = TempDir::new()?;
    let block = noise(7, 4 * MIB);
    for (number, size) in [60 * MIB, 10 * MIB, 0, 1]
        .into_iter()
        .chain([10 * MIB; 9])
        .enumerate()
    {
        let mut file = File::create(temp.path().join(format!("large {number}")))?;
        for part in 0..size.div_ceil(block.len()) {
            // Else a range that is done twice, or in another's place, would not show.
            file.write_all(&[number as u8, part as u8])?;
            file.write_all(
                block
                    .get(..(size - part * block.len()).min(block.len()))
                    .unwrap_or_default(),
            )?;
        }
    }
    for number in 0..500_usize {
        write(
            &temp.path().join(format!("small/{number}")),
            &noise(number as u64, number * 200),
        )?;
    }
    let ran = run(checksum()?
        .args(["--processes", "2", "--kill-every", "5"])
        .arg(temp.path()))?;
    same(
        &ran.stdout,
        &reference(temp.path(), &[temp.path().as_os_str()])?,
    );
    assert!(ran.status.success(), "{}", ran.stderr);
    let hits = ran
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("kills_that_hit "));
    let hits: u32 = hits.ok_or("no kills_that_hit")?.parse()?;
    assert!(hits > 5, "{hits} kills hit, in: {}", ran.stderr);
    Ok(())
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() -> Done {
    let temp = TempDir::new()?;
    for number in 0..3000 {
        fs::write(temp.path().join(number.to_string()), b"")?;
    }
    let mut child = checksum()?
        .arg(temp.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let ended = watched(child, |child| Ok(child.wait_with_output()?))?;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    Ok(())
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() -> Done {
    for words in [
        &["--frobnicate"][..],
        &["-x"],
        &["--processes"],
        &["--processes", "0"],
        &["--kill-every", "x"],
    ] {
        let ran = run(checksum()?.args(words))?;
        assert_eq!(ran.status.code(), Some(2), "{words:?}");
        assert!(ran.stderr.contains("usage:"), "{words:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
    Ok(())
}

#[test]
fn its_self_test_passes() -> Done {
    let ran = run(checksum()?.arg("--self-test"))?;
    assert!(ran.status.success(), "{}", ran.stderr);
    Ok(())
}

#[test]
fn folders_larger_than_a_batch_are_walked_in_byte_order() -> Done {
    let temp = TempDir::new()?;
    let mut expected = Vec::new();
    // Names on both sides of the slash, where folders sort otherwise than by their bare names.
    let alphabet = ['!', '-', ',', '0', 'a', '\u{e9}'];
    for number in 0..400_usize {
        let mut name = temp.path().join("r").into_os_string();
        name.push("/");
        let mut rest = number * 7919;
        for _ in 0..1 + number % 4 {
            let letter = alphabet.get(rest % alphabet.len()).ok_or("no letter")?;
            name.push(letter.to_string());
            rest /= alphabet.len();
            if rest % 5 == 0 {
                name.push("/");
            }
        }
        name.push("f");
        if write(Path::new(&name), b"").is_ok() {
            expected.push(name);
        }
    }
    expected.sort();
    expected.dedup();
    assert!(expected.len() > 100, "{}", expected.len());
    for batch in [1, 2, 3, 7, 1000] {
        let walks = walk::Walks::new(vec![temp.path().join("r").into()], &[], batch);
        // A walk that goes round in circles must not take the test with it.
        let found = walks
            .take(expected.len() + 1)
            .collect::<Result<Vec<OsString>, _>>()
            .map_err(|(_, error)| error)?;
        assert_eq!(found, expected, "batch {batch}");
    }
    Ok(())
}

#[test]
fn lines_come_out_in_order_whatever_order_they_come_in() {
    let mut order = order::Order::default();
    let mut out = Vec::new();
    // 7 has no common factor with 1000, so this is every index once.
    for number in 0..1000_u64 {
        let index = number * 7 % 1000;
        order.finish(index, index.to_le_bytes().to_vec());
        out.extend(std::iter::from_fn(|| order.take()));
        assert_eq!(order.bytes() == 0, out.len() as u64 == number + 1);
    }
    assert_eq!(
        out,
        (0..1000_u64)
            .map(|index| index.to_le_bytes().to_vec())
            .collect::<Vec<_>>()
    );
}
