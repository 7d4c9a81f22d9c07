//! 2,000 pages from a slow server, many at a time in each of two processes: `cargo run --release --example fetch`.
//!
//! What to look at: `Fetch::run` only awaits, so one worker process has 64 requests under way on its one event loop, all
//! through one client in the worker's state; `map` is lazy and gives the pages in the order of their addresses, as they
//! come in. Every answer takes the server 1 to 20 ms. Each page is compared; any difference ends with status 1.

use std::{
    collections::BTreeMap,
    error::Error,
    num::Wrapping,
    process::ExitCode,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use actix_multiprocess::{Pool, RemoteError, Task, TaskContext, WorkerSpec};
use actix_web::{App, HttpServer, rt::time::sleep, web};
use awc::Client;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

const PAGES: u32 = 2_000;
const PROCESSES: usize = 2;
const CONCURRENCY: usize = 64;

#[derive(Serialize, Deserialize)]
struct Fetch {
    url: String,
}

#[derive(Serialize, Deserialize)]
struct Page {
    status: u16,
    body: String,
    /// Which process fetched it.
    pid: u32,
}

impl Task for Fetch {
    const NAME: &'static str = "fetch";
    type Output = Page;
    type Error = RemoteError;
    type State = Rc<Client>;

    async fn run(self, cx: TaskContext<Rc<Client>>) -> Result<Page, RemoteError> {
        // Any error that `?` meets comes back as a `RemoteError`, with its chain of causes.
        let mut response = cx.state().get(self.url).send().await?;
        let body = response.body().await?;
        Ok(Page {
            status: response.status().as_u16(),
            body: String::from_utf8(body.to_vec())?,
            pid: cx.worker().pid,
        })
    }
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new()
        .state(|| async { Ok(Client::default()) })
        .task::<Fetch>()
        .init();

    let base = serve()?;
    let pool = Pool::builder(workers)
        .processes(PROCESSES)
        .concurrency(CONCURRENCY)
        .wait_all()
        .start()
        .await?;

    let began = Instant::now();
    let urls = (0..PAGES).map(move |id| Fetch {
        url: format!("{base}/page/{id}"),
    });
    let mut pages = pool.map(urls).window(4 * PROCESSES * CONCURRENCY);
    let (mut bytes, mut wrong, mut id) = (0, 0, 0);
    let mut by_process = BTreeMap::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) if page.status == 200 && page.body == text(id) => {
                bytes += page.body.len();
                *by_process.entry(page.pid).or_insert(0_u32) += 1;
            }
            Ok(page) => {
                wrong += 1;
                eprintln!("page {id}: status {}, {:?}", page.status, page.body);
            }
            Err(error) => {
                wrong += 1;
                eprintln!("page {id}: {error}");
            }
        }
        id += 1;
    }
    let took = began.elapsed();
    pool.stop().await;

    let waited: Duration = (0..PAGES).map(delay).sum();
    println!("{id} pages, {bytes} bytes, {wrong} wrong, in {took:.2?} for {waited:.1?} of waiting");
    for (pid, count) in &by_process {
        println!("  process {pid}: {count} pages");
    }
    let complete = wrong == 0 && id == PAGES && !by_process.contains_key(&std::process::id());
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Starts the server on a thread of its own, at a port that is free. Returns its address.
fn serve() -> Result<String, Box<dyn Error>> {
    let (bound, address) = mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(|| App::new().route("/page/{id}", web::get().to(page)))
                .workers(1)
                .disable_signals()
                .bind(("127.0.0.1", 0));
            let (addresses, server) = match server {
                Ok(server) => (Ok(server.addrs()), Some(server)),
                Err(error) => (Err(error), None),
            };
            // The receiver waits for exactly this and is there.
            let _ = bound.send(addresses);
            match server {
                Some(server) => server.run().await,
                None => Ok(()),
            }
        })
    });
    let addresses = address.recv()??;
    let address = addresses.first().ok_or("the server is bound to nothing")?;
    Ok(format!("http://{address}"))
}

async fn page(id: web::Path<u32>) -> String {
    sleep(delay(*id)).await;
    text(*id)
}

/// What is on a page: 60 bytes to 4 KiB that no other page has.
fn text(id: u32) -> String {
    let lines = 1 + random(id) / 7 % 64;
    (0..lines)
        .map(|line| {
            format!(
                "page {id:>6}, line {line:>3}: {:>32x}\n",
                random(id ^ line << 16)
            )
        })
        .collect()
}

/// 1 to 20 ms.
fn delay(id: u32) -> Duration {
    Duration::from_millis(u64::from(1 + random(id) % 20))
}

/// The same number for the same page every time.
fn random(id: u32) -> u32 {
    let mut mixed = Wrapping(id) * Wrapping(0x9e37_79b1);
    mixed ^= mixed >> 15;
    mixed *= 0x85eb_ca77;
    (mixed ^ (mixed >> 13)).0
}
