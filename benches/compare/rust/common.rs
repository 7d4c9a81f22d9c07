//! What the drivers in Rust share: their command line, what they print, and how much they measure.

#![allow(dead_code, reason = "each driver uses a part of it")]

use std::{
    error::Error,
    io::Read,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

pub const WORKERS: usize = 2;

/// `WORKLOAD NUMBER...`
pub struct Args {
    pub workload: String,
    pub numbers: Vec<f64>,
}

impl Args {
    pub fn parse() -> Outcome<Self> {
        let mut words = std::env::args().skip(1);
        let workload = words.next().ok_or("no workload")?;
        let numbers = words.map(|word| word.parse()).collect::<Result<_, _>>()?;
        Ok(Self { workload, numbers })
    }

    /// The first number.
    pub fn seconds(&self) -> f64 {
        self.numbers.first().copied().unwrap_or(0.1)
    }

    /// What follows the first number.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.numbers.iter().skip(1).map(|number| *number as usize)
    }

    /// How many tasks, and how long each takes.
    pub fn tasks(&self) -> Outcome<(usize, Duration)> {
        let [tasks, millis] = self.numbers[..] else {
            return Err("takes a number of tasks and of milliseconds".into());
        };
        Ok((tasks as usize, Duration::from_secs_f64(millis / 1e3)))
    }
}

pub fn say(key: &str, figure: f64) {
    println!("{key}\t{figure}");
}

pub fn cannot(key: &str, why: &str) {
    println!("{key}\t-\t{why}");
}

/// As many of something as take the time that was asked for: the peers differ by powers of ten.
pub struct Sizing {
    seconds: f64,
    next: usize,
    rate: f64,
    began: Instant,
}

impl Sizing {
    pub fn new(seconds: f64, first: usize) -> Self {
        Self {
            seconds,
            next: first,
            rate: 0.0,
            began: Instant::now(),
        }
    }

    /// How many to do now, or `None` when the last of them took long enough.
    pub fn begin(&mut self) -> Option<usize> {
        self.began = Instant::now();
        (self.next > 0).then_some(self.next)
    }

    /// They are done.
    pub fn end(&mut self) {
        let took = self.began.elapsed().as_secs_f64();
        self.rate = self.next as f64 / took;
        let factor = (1.2 * self.seconds / took).clamp(2.0, 10.0);
        self.next = if took >= self.seconds {
            0
        } else {
            (self.next as f64 * factor) as usize
        };
    }

    /// How many of the last ones were done in a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }
}

/// Times of single round trips.
pub struct RoundTrips {
    until: Instant,
    micros: Vec<f64>,
}

impl RoundTrips {
    pub fn new(seconds: f64) -> Self {
        Self {
            until: Instant::now() + Duration::from_secs_f64(seconds),
            micros: Vec::new(),
        }
    }

    pub fn go_on(&self) -> bool {
        Instant::now() < self.until
    }

    pub fn add(&mut self, began: Instant) {
        self.micros.push(began.elapsed().as_secs_f64() * 1e6);
    }

    pub fn say(mut self) {
        say("roundtrip", percentile(&mut self.micros, 0.5));
        say("roundtrip-p99", percentile(&mut self.micros, 0.99));
    }
}

pub fn percentile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = (figures.len() as f64 * share) as usize;
    figures[at.min(figures.len() - 1)]
}

/// No-ops and tasks that compute, which come at random moments, whatever has become of those before.
pub struct Arrivals {
    began: Instant,
    time: Duration,
    /// How many a second, and when the next one comes.
    kinds: [(f64, Duration); 2],
    random: u64,
    /// How long each of those that compute does.
    pub each: Duration,
}

impl Arrivals {
    pub fn new(args: &Args) -> Outcome<Self> {
        let [seconds, noops, computing, millis] = args.numbers[..] else {
            return Err("takes seconds, two numbers of tasks a second, and milliseconds".into());
        };
        let mut arrivals = Self {
            began: Instant::now(),
            time: Duration::from_secs_f64(seconds),
            kinds: [noops, computing].map(|rate| (rate, Duration::ZERO)),
            random: u64::from(std::process::id()),
            each: Duration::from_secs_f64(millis / 1e3),
        };
        arrivals.advance(0);
        arrivals.advance(1);
        Ok(arrivals)
    }

    pub fn go_on(&self) -> bool {
        self.began.elapsed() < self.time
    }

    /// Whether the next one that is due is a no-op.
    pub fn next(&mut self) -> Option<bool> {
        let kind = usize::from(self.kinds[1].1 < self.kinds[0].1);
        if self.kinds[kind].1 > self.began.elapsed().min(self.time) {
            return None;
        }
        self.advance(kind);
        Some(kind == 0)
    }

    fn advance(&mut self, kind: usize) {
        // splitmix64.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let share = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        let (rate, due) = &mut self.kinds[kind];
        *due += Duration::from_secs_f64(-share.max(1e-9).ln() / *rate);
    }
}

/// Milliseconds of the no-ops.
pub fn say_mix(mut millis: Vec<f64>) {
    say("mix", percentile(&mut millis, 0.99));
    say("mix-p50", percentile(&mut millis, 0.5));
}

/// aiomultiprocess's own, on four workers: milliseconds of each task, how many tasks for each that is in a worker at once.
pub const SETS: [(&[i64], usize); 3] = [(&[0], 50), (&[50], 50), (&[-2, 200, -2], 25)];
pub const AT_ONCE: [usize; 4] = [8, 16, 32, 64];
pub const OF_SETS: usize = 4;

/// `created` is when the pool was asked for; the runner says when it started this process.
pub fn say_start(created: Instant) -> Outcome {
    say("create", created.elapsed().as_secs_f64() * 1e3);
    let began: f64 = std::env::var("BEGAN")?.parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    say("start", (now - began) * 1e3);
    Ok(())
}

/// Tells the runner which processes to look at, and waits until it has.
pub fn idle(workers: impl IntoIterator<Item = u32>) -> Outcome {
    for pid in workers {
        println!("worker\t{pid}");
    }
    println!("ready\t0");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Computes for so long, not counting the time in which others do on the same CPU.
pub fn burn(time: Duration) {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let end = now() + time;
    while now() < end {}
}

/// How long a task may be without an answer before it is taken to have none, once its worker was killed.
pub const PATIENCE: Duration = Duration::from_secs(8);

pub fn kill(pid: u32) -> Outcome {
    let pid = rustix::process::Pid::from_raw(pid as i32).ok_or("not a process")?;
    Ok(rustix::process::kill_process(
        pid,
        rustix::process::Signal::KILL,
    )?)
}

/// What became of the tasks.
#[derive(Default)]
pub struct Crash {
    results: usize,
    errors: usize,
    unanswered: usize,
    /// From the kill to the first result of a process that was not there before.
    replaced: Option<Duration>,
}

impl Crash {
    pub fn result(&mut self, after: Duration, is_new: bool) {
        self.results += 1;
        if is_new {
            self.replaced = Some(self.replaced.map_or(after, |first| first.min(after)));
        }
    }

    pub fn error(&mut self) {
        self.errors += 1;
    }

    pub fn unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// `task` is how long the first of a new worker took by itself.
    pub fn say(&self, key: &str, task: Duration, if_never: &str) {
        say(&format!("{key}/results"), self.results as f64);
        say(&format!("{key}/errors"), self.errors as f64);
        say(&format!("{key}/unanswered"), self.unanswered as f64);
        let key = format!("{key}/serves");
        match self.replaced {
            Some(after) => say(&key, after.saturating_sub(task).as_secs_f64() * 1e3),
            None => cannot(&key, if_never),
        }
    }
}
