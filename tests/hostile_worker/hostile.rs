//! The hostile worker: correct up to where its case says what it does wrong.

use std::{
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crate::{
    cases::{Case, Wrong},
    common_hostile::{block_until, put},
    tasks::NAMES,
    wire::{
        ControlToWorker, HostFrame, Offer, Outcome, Place, StartConfig, WorkerFrame, frame, hello,
        parse,
    },
};

/// How many tasks it keeps: as many as it is given at once.
pub(crate) const HELD: usize = 4;

/// A task that it keeps.
pub(crate) struct Held {
    pub(crate) ticket: u64,
    pub(crate) body: Vec<u8>,
}

/// A worker to be told what to do wrong.
pub(crate) struct Hostile {
    pub(crate) data: UnixStream,
    pub(crate) control: Option<UnixStream>,
    pub(crate) held: Vec<Held>,
    /// The last ticket that it was sent.
    pub(crate) last: u64,
    pub(crate) offer: Offer,
    dir: PathBuf,
}

/// Is the hostile worker of a case. Never returns.
pub(crate) fn enter(case: &Case, dir: &Path) -> ! {
    // It cannot be talked into ending.
    for signal in [
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .expect("a signal to ignore");
    }
    // But it ends with its host, and a test that has lost it does not leave it behind.
    let host = std::os::unix::process::parent_id();
    std::thread::spawn(move || {
        for _ in 0..600 {
            std::thread::sleep(Duration::from_millis(100));
            if std::os::unix::process::parent_id() != host {
                break;
            }
        }
        std::process::exit(71);
    });
    let config = config();
    let about = format!("{} {}", config.slot, std::process::id());
    std::fs::write(dir.join("about.new"), about).expect("a file of the test");
    std::fs::rename(dir.join("about.new"), dir.join("about")).expect("a file of the test");
    let mut control = connect(&config.place);
    control
        .write_all(&hello(1, &config.token))
        .expect("a host that listens");
    if let Wrong::Connecting(act) = case.wrong {
        wait_for_go(dir);
        act(&config);
    }
    let mut data = connect(&config.place);
    data.write_all(&hello(0, &config.token))
        .expect("a host that listens");
    let mut hostile = Hostile {
        data,
        control: Some(control),
        held: Vec::new(),
        last: 0,
        offer: Offer {
            protocol: 1,
            pid: std::process::id(),
            tasks: NAMES.iter().map(|name| ((*name).to_owned(), 0)).collect(),
            inherited: Vec::new(),
        },
        dir: dir.to_owned(),
    };
    match case.wrong {
        Wrong::Offering(act) => {
            wait_for_go(dir);
            act(&mut hostile);
            hostile.stay();
        }
        Wrong::Ready(act) => {
            hostile.offer();
            act(&mut hostile);
            hostile.stay();
        }
        Wrong::Connecting(_) => {
            hostile.offer();
            hostile.say(&WorkerFrame::Ready);
            hostile.serve(None)
        }
        Wrong::Serving(act) => {
            hostile.offer();
            hostile.say(&WorkerFrame::Ready);
            hostile.serve(Some(act))
        }
    }
}

fn config() -> StartConfig {
    let mut stdin = std::io::stdin().lock();
    let mut prefix = [0; 4];
    stdin
        .read_exact(&mut prefix)
        .expect("a start configuration");
    let mut bytes = vec![0; u32::from_le_bytes(prefix) as usize];
    stdin.read_exact(&mut bytes).expect("a start configuration");
    postcard::from_bytes(&bytes).expect("a start configuration")
}

pub(crate) fn connect(place: &Place) -> UnixStream {
    match place {
        Place::Path(path) => UnixStream::connect(std::ffi::OsStr::from_bytes(path)),
        Place::Name(name) => panic!("the pool was given a directory and listens at {name}"),
    }
    .expect("a host that listens")
}

fn wait_for_go(dir: &Path) {
    put(dir, "waits");
    block_until(|| dir.join("go").exists());
}

impl Hostile {
    /// Offers what it has and reads the answer.
    fn offer(&mut self) {
        self.say(&WorkerFrame::Offer(self.offer.clone()));
        let welcome = self.read().expect("an answer to the offer");
        assert!(matches!(parse(&welcome).0, HostFrame::Welcome(_)));
    }

    /// Serves like an honest worker until it holds enough to do wrong.
    fn serve(&mut self, act: Option<fn(&mut Self)>) -> ! {
        let mut act = act;
        while let Some(bytes) = self.read() {
            let (header, tail) = parse(&bytes);
            let (first, name, bodies) = match header {
                HostFrame::Task { ticket, name, .. } => (ticket, name, vec![tail]),
                HostFrame::Tasks { ticket, name, .. } => (ticket, name, values(tail)),
                _ => continue,
            };
            for (ticket, body) in (first..).zip(bodies) {
                self.comes(ticket, name, body.to_vec(), act.is_some());
            }
            if self.held.len() == HELD
                && let Some(act) = act.take()
            {
                // Two have started; one of those may run again.
                for index in [0, 2] {
                    let ticket = self.held[index].ticket;
                    self.say(&WorkerFrame::Started { ticket });
                }
                std::fs::write(self.dir.join("last"), self.last.to_string())
                    .expect("a file of the test");
                wait_for_go(&self.dir);
                act(self);
            }
        }
        self.stay()
    }

    /// A task comes: with `holds` those that can be held are.
    fn comes(&mut self, ticket: u64, name: u16, body: Vec<u8>, holds: bool) {
        self.last = ticket;
        match NAMES[usize::from(name)] {
            "hold" if holds => self.held.push(Held { ticket, body }),
            "echo" | "hold" => self.tell(ticket, Outcome::Done, &body),
            "nest" => {
                // Each level a sequence of one, the last of none.
                let mut deep = vec![1; 100_000];
                deep.push(0);
                self.tell(ticket, Outcome::Done, &deep);
            }
            "units" => {
                let many = postcard::to_stdvec(&(1_u64 << 60)).expect("a number");
                self.tell(ticket, Outcome::Done, &many);
            }
            _ => {}
        }
    }

    /// Waits until its host is there to see what it does.
    pub(crate) fn wait_for_go(&self) {
        wait_for_go(&self.dir);
    }

    /// Lives on, but for the thread that watches its host.
    pub(crate) fn stay(&self) -> ! {
        loop {
            std::thread::park();
        }
    }

    /// Says any bytes. A host that has had enough of it is what the case is about, so that is no error.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.data.write_all(bytes);
    }

    pub(crate) fn say(&mut self, header: &WorkerFrame) {
        self.raw(&frame(header, &[]));
    }

    pub(crate) fn say_with(&mut self, header: &WorkerFrame, tail: &[u8]) {
        self.raw(&frame(header, tail));
    }

    /// Says the same as often as the host listens, a megabyte at a time.
    pub(crate) fn flood(&mut self, header: &WorkerFrame) {
        let one = frame(header, &[]);
        let many = one.repeat((1 << 20) / one.len());
        while self.data.write_all(&many).is_ok() {}
    }

    /// Says the same, and so that the host has much of it to read at once: when its buffer has grown and it is busy.
    pub(crate) fn flood_at_once(&mut self, one: &[u8]) {
        let quiet = WorkerFrame::Quiet {
            name: 0,
            quiet: true,
        };
        self.say_with(&quiet, &vec![0; 500 * 1024]);
        // As the host does with its side; the system may grant less.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&self.data, 4 << 20);
        put(&self.dir, "prepared");
        block_until(|| self.dir.join("busy").exists());
        let many = one.repeat((1 << 20) / one.len());
        self.data.set_nonblocking(true).expect("a socket");
        let written = self.data.write(&many).unwrap_or(0);
        self.data.set_nonblocking(false).expect("a socket");
        put(&self.dir, "flooded");
        self.raw(&many[written..]);
        while self.data.write_all(&many).is_ok() {}
    }

    /// A whole result.
    pub(crate) fn tell(&mut self, ticket: u64, outcome: Outcome, value: &[u8]) {
        let header = WorkerFrame::Result {
            ticket,
            outcome,
            attachments: Vec::new(),
            rest: 0,
        };
        self.say_with(&header, value);
    }

    /// The right result of a task that it holds.
    pub(crate) fn settle(&mut self, index: usize) {
        let Held { ticket, body } = &self.held[index];
        let (ticket, body) = (*ticket, body.clone());
        self.tell(ticket, Outcome::Done, &body);
    }

    /// The beginning of a result of a task that it holds.
    pub(crate) fn announce(&mut self, index: usize, rest: u64) {
        let header = WorkerFrame::Result {
            ticket: self.held[index].ticket,
            outcome: Outcome::Done,
            attachments: Vec::new(),
            rest,
        };
        self.say_with(&header, b"begun");
    }

    /// Says any bytes on the control connection, `times` times or until nobody listens.
    pub(crate) fn control(&mut self, bytes: &[u8], times: usize) {
        let mut control = self.control.as_ref().expect("a control connection");
        for _ in 0..times {
            if control.write_all(bytes).is_err() {
                return;
            }
        }
    }

    /// The next that the host says on the control connection.
    pub(crate) fn asked(&mut self) -> ControlToWorker {
        let control = self.control.as_mut().expect("a control connection");
        let bytes = read_frame(control).expect("a host that asks");
        parse(&bytes).0
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        read_frame(&mut self.data)
    }
}

/// `None` at the end of the connection.
fn read_frame(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(prefix) as usize];
    from.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// The bodies of tasks that came together, each with its length in front.
fn values(mut tail: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    while let Some((length, rest)) = tail.split_first_chunk() {
        let (value, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)));
        values.push(value);
        tail = rest;
    }
    values
}
