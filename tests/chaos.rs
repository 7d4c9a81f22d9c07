//! Everything that can go wrong, at random and at once: every task settles exactly once, with a reason that is true.
//!
//! Belongs here: the run and its account. Does not belong here: what the tasks do (`toil`), what goes wrong (`faults`).
//!
//! By itself this is the short form; `ACTIX_MP_CHAOS_SEED`, `ACTIX_MP_CHAOS_FAULTS` (of each kind), `ACTIX_MP_CHAOS_TASKS` and
//! `ACTIX_MP_CHAOS_KINDS` make another; `tests/chaos/RESULTS.md` has the long one. A seed repeats the choices, not the moments at which they meet.
#![cfg(target_os = "linux")]

#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/random.rs"]
mod random;
#[path = "chaos/toil.rs"]
mod toil;

mod common;
mod measure;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix_multiprocess::{
    Pool, PoolBuilder, Restart, WhenFull, Workers,
    testing::{assert_clean, faulty},
    worker_entry,
};
use faults::{KINDS, Tally};
use measure::{alone, setting};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use random::Random;
use toil::{Deed, Toil, spec, starts};

worker_entry!(spec(), PathBuf);

/// Tasks that have not settled at once.
const CALLERS: u64 = 96;

fn builder(workers: Workers<PathBuf>, dir: &Path) -> PoolBuilder {
    let ms = Duration::from_millis;
    Pool::builder(workers)
        .init_args(dir.to_owned())
        .processes(4)
        .concurrency(8)
        .when_full(WhenFull::Wait)
        .restart(Restart::default().budget(None).backoff(ms(1), ms(20)))
        .start_timeout(ms(1000))
        .cancel_grace(ms(200))
        .grace(ms(200))
        .heartbeat(ms(100))
        .stalled_after(ms(500))
        .kill_stalled(true)
}

/// What has come of the tasks, in a word each.
#[derive(Debug, Default)]
struct Account {
    begun: Cell<u64>,
    words: RefCell<BTreeMap<&'static str, u64>>,
    /// Those that may start once only.
    once: RefCell<HashSet<u64>>,
    odd: RefCell<Vec<String>>,
}

/// Submits one task after the other until it is over.
async fn call(pool: Pool, account: Rc<Account>, tally: Arc<Tally>, mut random: Random, most: u64) {
    while !(tally.is_over() && account.begun.get() >= most) {
        let index = account.begun.get();
        account.begun.set(index + 1);
        let toil = Toil::new(index, &mut random);
        let idempotent = random.below(2) == 0;
        if !idempotent {
            account.once.borrow_mut().insert(index);
        }
        let cancelled = random.below(50) == 0;
        let handle = pool.submit(toil.submit(idempotent));
        if cancelled {
            tokio::time::sleep(Duration::from_micros(random.below(2000))).await;
            handle.cancel();
        }
        let settled = handle.await;
        if settled.is_ok() && toil.deed == Deed::Flood {
            tally.add("stderr");
        }
        match toil.judge(idempotent, cancelled, settled) {
            Ok(word) => *account.words.borrow_mut().entry(word).or_default() += 1,
            Err(odd) => account.odd.borrow_mut().push(odd),
        }
    }
}

/// A standard error that is read now and then only.
fn full_pipe() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    nix::unistd::dup2_stderr(writer).expect("another standard error");
    // What a test has to say is not for that.
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while reader.read(&mut bytes).is_ok_and(|read| read > 0) {
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}

/// A pool to which everything happens, `each` of every kind and more, over so many tasks.
async fn one_host(seed: u64, each: u64, tasks: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 512.min(soft), hard).expect("a limit");
    full_pipe();
    let dir = tempfile::tempdir().expect("a directory");
    let mut random = Random(seed);
    let tally = Arc::new(Tally::default());
    let account = Rc::new(Account::default());
    // Somewhat more than are asked for, as not each may take effect.
    let most = each + each / 10;
    let workers = faulty(workers(), faults::plan(&tally, random.split(), most));
    let pool = builder(workers, dir.path()).start().await.expect("a pool");
    let began = Instant::now();
    let mut drivers = vec![
        actix::spawn(faults::kills(
            pool.clone(),
            Arc::clone(&tally),
            random.split(),
            most,
        )),
        actix::spawn(faults::stops(
            pool.clone(),
            Arc::clone(&tally),
            random.split(),
            most,
        )),
        actix::spawn(faults::descriptors(
            Arc::clone(&tally),
            random.split(),
            most,
        )),
    ];
    let listening = actix::spawn(faults::listen(pool.clone(), Arc::clone(&tally)));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (account, tally) = (Rc::clone(&account), Arc::clone(&tally));
        callers.push(actix::spawn(call(
            pool.clone(),
            account,
            tally,
            random.split(),
            tasks,
        )));
    }
    let wanted = |kind: &&&str| faults::is_wanted(kind);
    while KINDS
        .iter()
        .filter(wanted)
        .any(|kind| tally.of(kind) < each)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(
            account.odd.borrow().len() < 10_000,
            "nothing makes sense any more"
        );
    }
    tally.over.store(true, Ordering::Relaxed);
    for task in drivers.drain(..).chain(callers) {
        task.await.expect("no panic");
    }
    let status = pool.status().await;
    let (counts, odd) = (tally.counts(), account.odd.take());
    println!(
        "seed {seed}: {} tasks in {:.1?}",
        account.begun.get(),
        began.elapsed()
    );
    println!("faults: {counts:?}");
    println!("tasks: {:?}, {} garbled", account.words.borrow(), odd.len());
    println!("pool: {:?}", status.counts);
    // What a truncated frame leaves makes no sense, or another: at most of what its worker had.
    let garbled = tally.of("truncate") * 16;
    assert!(
        odd.len() as u64 <= garbled,
        "{:#?}",
        &odd[..odd.len().min(20)]
    );
    let known: u64 = account.words.borrow().values().sum();
    assert_eq!(known + odd.len() as u64, account.begun.get());
    for (index, starts) in starts(dir.path()) {
        let once = account.once.borrow().contains(&index);
        // Truncated frames can make any start of one, and of any report that it has not started.
        let garbled = || starts.iter().any(|(_, life)| tally.is_garbled(*life));
        assert!(
            starts.len() == 1 || !once || garbled(),
            "task {index} has started as {starts:?}, in workers with which this went wrong: {:#?}",
            starts
                .iter()
                .map(|(_, life)| tally.notes(*life))
                .collect::<Vec<_>>()
        );
    }
    assert_eq!(status.counts.accepted, account.begun.get());
    assert_clean(&pool);
    println!("no violation");
    pool.drain(Duration::from_secs(10)).await;
    listening.abort();
}

#[test]
fn every_task_settles_once_whatever_goes_wrong() {
    let seed = setting("ACTIX_MP_CHAOS_SEED", u64::from(std::process::id()));
    let each = setting("ACTIX_MP_CHAOS_FAULTS", 5);
    let tasks = setting("ACTIX_MP_CHAOS_TASKS", 2000);
    alone(
        "every_task_settles_once_whatever_goes_wrong",
        Duration::from_secs(120 + 4 * each + tasks / 200),
        one_host(seed, each, tasks),
    );
}

const HOST: &str = "ACTIX_MP_CHAOS_HOST";

/// In a process that was started as a host, serves until it is killed.
#[test]
fn host_process() {
    let Some(dir) = std::env::var_os(HOST) else {
        return;
    };
    actix::System::new().block_on(async {
        let pool = builder(workers(), Path::new(&dir)).processes(2);
        let pool = pool.start().await.expect("a pool");
        let mut handles = Vec::new();
        for (index, deed) in (0..).zip([Deed::Spin, Deed::Wait, Deed::Sleep, Deed::Compute]) {
            let micros = 1000;
            handles.push(pool.submit(Toil {
                index,
                micros,
                deed,
            }));
        }
        let slots = pool.status().await.slots;
        let pids: Vec<String> = (slots.iter().filter_map(|slot| slot.pid))
            .map(|pid| pid.to_string())
            .collect();
        println!("\n@pids {}", pids.join(" "));
        // It is killed before.
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

#[test]
fn workers_of_hosts_that_are_killed_at_any_moment_end() {
    let each = setting("ACTIX_MP_CHAOS_FAULTS", 5);
    let seed = setting("ACTIX_MP_CHAOS_SEED", u64::from(std::process::id()));
    let mut random = Random(seed);
    let mut killed = 0;
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..each {
        let mut host = Command::new(std::env::current_exe().expect("this program"))
            .args(["host_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(HOST, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a host");
        let stdout = host.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let pids = lines.find_map(|line| line.strip_prefix("@pids ").map(str::to_owned));
        let pids = pids.expect("its workers");
        std::thread::sleep(Duration::from_millis(random.below(30)));
        host.kill().expect("a host");
        host.wait().expect("a host");
        let until = Instant::now() + Duration::from_secs(10);
        // A process of another's that has the number by now is not one of this program's.
        let own = std::env::current_exe().expect("this program");
        let lives = |pid: &&str| {
            let path = fs::read_link(format!("/proc/{pid}/exe"));
            path.is_ok_and(|path| path == own)
        };
        while pids.split(' ').any(|pid| lives(&pid)) {
            assert!(
                Instant::now() < until,
                "workers of a killed host live: {pids}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        killed += 1;
    }
    println!("seed {seed}: {killed} hosts killed");
}
