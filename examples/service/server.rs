//! The routes, the server around them, and when it is to stop.

use std::{future::Future, io, net::SocketAddr};

use actix_multiprocess::{Blob, Pool, SlotState};
use actix_web::{App, HttpResponse, HttpServer, Result, dev::Server, web};
use serde::Serialize;

use crate::thumbnail::Thumbnail;

/// The most that a client may upload. actix-web answers 413 to more.
pub(crate) const MAX_BODY: usize = 10 << 20;

/// The image is passed on as it came: nothing that a stranger made is looked at in this process.
async fn thumbnail(pool: web::Data<Pool>, image: web::Bytes) -> Result<HttpResponse> {
    let image = Blob::from(image);
    let png = pool.submit(Thumbnail { image }).await?;
    Ok(HttpResponse::Ok()
        .content_type("image/png")
        .body(png.into_bytes()))
}

/// What a monitor wants to know.
#[derive(Serialize)]
struct Report {
    waiting: usize,
    with_workers: usize,
    accepted: u64,
    done: u64,
    failed: u64,
    cancelled: u64,
    timed_out: u64,
    lost: u64,
    workers: Vec<Worker>,
}

#[derive(Serialize)]
struct Worker {
    pid: Option<u32>,
    ready: bool,
    in_flight: usize,
    lost_before: u64,
}

async fn status(pool: web::Data<Pool>) -> web::Json<Report> {
    let status = pool.status().await;
    let workers = status.slots.iter().map(|slot| Worker {
        pid: slot.pid,
        ready: slot.state == SlotState::Ready,
        in_flight: slot.in_flight,
        lost_before: slot.restarts,
    });
    web::Json(Report {
        waiting: status.queued,
        with_workers: status.in_flight,
        accepted: status.counts.accepted,
        done: status.counts.done,
        failed: status.counts.failed,
        cancelled: status.counts.cancelled,
        timed_out: status.counts.timed_out,
        lost: status.counts.lost,
        workers: workers.collect(),
    })
}

/// Binds the address; the server serves when it is polled.
pub(crate) fn bind(pool: &Pool, listen: &str) -> io::Result<(Server, SocketAddr)> {
    let pool = web::Data::new(pool.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&pool))
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .route("/thumbnail", web::post().to(thumbnail))
            .route("/status", web::get().to(status))
    })
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(5)
    .bind(listen)?;
    let address = *server
        .addrs()
        .first()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((server.run(), address))
}

/// What says that the service is to stop; it is listened for from here on.
#[cfg(unix)]
pub(crate) fn signal() -> io::Result<impl Future<Output = ()>> {
    use actix_web::rt::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
pub(crate) fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = actix_web::rt::signal::ctrl_c().await;
    })
}
