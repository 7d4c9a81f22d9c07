//! The example as a process, clients that post to it, and what can be asked of it.

use std::{
    cell::RefCell,
    env::current_exe,
    fs,
    future::Future,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use actix_web::rt::{spawn, task::JoinHandle, time};
use awc::{
    Client, Connector,
    http::{StatusCode, header::HeaderMap},
};
use bytes::Bytes;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longer than anything here takes, even when the machine is busy.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs a test; a hang is a failure.
#[track_caller]
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(async {
        time::timeout(WATCHDOG, test)
            .await
            .expect("the watchdog: the test hangs")
    })
}

/// The example, which cargo builds beside the tests.
fn program() -> PathBuf {
    let test = current_exe().expect("this program");
    let target = test.ancestors().nth(2).expect("a target folder");
    let program = target.join("examples/service");
    assert!(
        program.exists(),
        "{program:?} is missing: run `cargo build --features actix-web --examples` first"
    );
    program
}

/// Runs the example's own check to the end. Returns its exit code, stdout and stderr.
pub(crate) fn check(options: &[&str]) -> (Option<i32>, String, String) {
    let child = Command::new(program())
        .arg("--check")
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example");
    let process = child.id();
    let (done, waiting) = channel::<()>();
    let watchdog = thread::spawn(move || {
        if waiting.recv_timeout(WATCHDOG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid(process), Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("an end");
    drop(done);
    watchdog.join().expect("a watchdog");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).expect("a process id"))
}

pub(crate) fn signal(process: u32, signal: Signal) {
    kill(pid(process), signal).expect("a living process");
}

/// Waits until nothing is left of a process.
pub(crate) async fn is_gone(process: u32) {
    while kill(pid(process), None) != Err(Errno::ESRCH) {
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// What the example says when it has stopped and every accepted post was answered with its thumbnail.
pub(crate) fn last_word(done: u64) -> String {
    format!("stopped: {done} accepted, {done} done, 0 failed, 0 cancelled, 0 timed out, 0 lost")
}

/// What `/status` says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    pub(crate) waiting: usize,
    pub(crate) accepted: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) timed_out: u64,
    pub(crate) lost: u64,
    pub(crate) workers: Vec<Worker>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Worker {
    pub(crate) pid: Option<u32>,
    pub(crate) ready: bool,
    pub(crate) in_flight: usize,
    pub(crate) lost_before: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }
}

/// Posts images as browsers and programs do: over connections that are kept.
#[derive(Clone)]
pub(crate) struct Poster {
    client: Client,
    url: String,
}

impl Poster {
    /// `Err` when there was no answer: the connection was refused, or closed without a word.
    pub(crate) async fn post(&self, image: &Bytes) -> Result<Answer, String> {
        let request = self.client.post(&self.url).send_body(image.clone());
        let mut response = request.await.map_err(|error| format!("{error:?}"))?;
        let body = response.body().await;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: body.map_err(|error| format!("{error:?}"))?,
        })
    }
}

pub(crate) type Post = JoinHandle<Result<Answer, String>>;

/// The example as a process of its own, killed when this is dropped. Its workers notice.
pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
    poster: Poster,
    lines: RefCell<Receiver<String>>,
    directory: TempDir,
}

impl Service {
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, tempfile::tempdir().expect("a directory"))
    }

    /// No image is done until [`release`](Self::release).
    pub(crate) fn holding(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("go");
        let hold = ["--hold", file.to_str().expect("a path")];
        Self::start_with(&[options, &hold].concat(), directory)
    }

    fn start_with(options: &[&str], directory: TempDir) -> Self {
        let mut child = Command::new(program())
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = lines.recv_timeout(WATCHDOG).expect("the service starts");
        let address = first
            .strip_prefix("listening on http://")
            .expect("an address");
        let connector = Connector::new().limit(0).timeout(WATCHDOG);
        let client = Client::builder()
            .connector(connector)
            .timeout(WATCHDOG)
            .finish();
        Self {
            child,
            address: address.parse().expect("an address"),
            poster: Poster {
                client,
                url: format!("http://{address}/thumbnail"),
            },
            lines: RefCell::new(lines),
            directory,
        }
    }

    pub(crate) fn release(&self) {
        fs::write(self.directory.path().join("go"), b"").expect("a file");
    }

    pub(crate) fn client(&self) -> Poster {
        self.poster.clone()
    }

    pub(crate) async fn post(&self, image: &Bytes) -> Result<Answer, String> {
        self.poster.post(image).await
    }

    /// So many at once.
    pub(crate) fn posts(&self, count: usize, image: &Bytes) -> Vec<Post> {
        (0..count)
            .map(|_| {
                let (client, image) = (self.client(), image.clone());
                spawn(async move { client.post(&image).await })
            })
            .collect()
    }

    /// Goes on posting until nobody listens any more. Returns what was posted meanwhile.
    pub(crate) async fn post_until_refused(&self, image: &Bytes) -> Vec<Post> {
        let mut posts = Vec::new();
        while TcpStream::connect(self.address).await.is_ok() {
            posts.extend(self.posts(1, image));
            time::sleep(Duration::from_millis(1)).await;
        }
        posts.extend(self.posts(1, image));
        posts
    }

    pub(crate) async fn status(&self) -> Status {
        let request = self
            .poster
            .client
            .get(format!("http://{}/status", self.address));
        let mut response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.expect("a status")
    }

    /// Waits until something is true, which no event announces to a client.
    pub(crate) async fn until(&self, what: &str, check: impl Fn(&Status) -> bool) -> Status {
        let limit = Instant::now() + WATCHDOG / 2;
        loop {
            let status = self.status().await;
            if check(&status) {
                return status;
            }
            assert!(Instant::now() < limit, "never: {what}: {status:?}");
            time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A whole request on a connection of its own, whose answer nobody has read.
    pub(crate) async fn post_by_hand(&self, image: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let head = format!(
            "POST /thumbnail HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n",
            image.len()
        );
        stream.write_all(head.as_bytes()).await.expect("room");
        stream.write_all(image).await.expect("room");
        stream
    }

    /// The beginning of a request that the server has said it will take.
    pub(crate) async fn begin_by_hand(&self, image: &[u8], now: usize) -> Begun {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let head = format!(
            "POST /thumbnail HTTP/1.1\r\nHost: here\r\nConnection: close\r\nExpect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n",
            image.len()
        );
        stream.write_all(head.as_bytes()).await.expect("room");
        const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut go_on = [0; GO_ON.len()];
        stream.read_exact(&mut go_on).await.expect("an answer");
        assert_eq!(go_on, GO_ON);
        stream.write_all(&image[..now]).await.expect("room");
        Begun(stream)
    }

    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(pid(self.child.id()), signal).expect("a living service");
    }

    /// Waits for the end of the process. Returns its exit code and what the last line it wrote says of tasks: on a busy
    /// machine a worker may take longer to end than it is given.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, String) {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            time::sleep(Duration::from_millis(1)).await;
        };
        let lines = self.lines.borrow();
        let last = std::iter::from_fn(|| lines.recv_timeout(WATCHDOG).ok()).last();
        let last = last.unwrap_or_default();
        let of_tasks = last.split(';').next().unwrap_or_default();
        (status.code(), of_tasks.to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request that is under way.
pub(crate) struct Begun(TcpStream);

impl Begun {
    pub(crate) async fn send(&mut self, rest: &[u8]) {
        self.0.write_all(rest).await.expect("room");
    }

    pub(crate) async fn answer(mut self) -> Answer {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).await.expect("an answer");
        let bytes = Bytes::from(bytes);
        let end = bytes
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            headers.append(
                name.parse().expect("a name"),
                value.parse().expect("a value"),
            );
        }
        Answer {
            status: status.expect("a status").parse().expect("a status"),
            headers,
            body: bytes.slice(end + 4..),
        }
    }
}

/// The ways a client goes.
pub(crate) mod hang_up {
    use std::net::Shutdown;

    use tokio::net::TcpStream;

    /// Closes the direction to the server; the other stays open.
    pub(crate) fn by_fin(stream: TcpStream) -> TcpStream {
        let stream = stream.into_std().expect("a stream");
        stream.shutdown(Shutdown::Write).expect("an open stream");
        TcpStream::from_std(stream).expect("a stream")
    }

    /// With no time to linger, the kernel resets the connection.
    pub(crate) fn by_reset(stream: TcpStream) {
        stream.set_zero_linger().expect("an open stream");
        drop(stream);
    }
}
