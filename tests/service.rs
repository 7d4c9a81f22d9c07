//! The example `service` does over HTTP what it says, whoever hangs up, dies or stops.
//!
//! Belongs here: the example as a program, driven by clients of its own. Does not belong here: what the pool promises.
//!
//! Run with `cargo test --features actix-web`, or after `cargo build --features actix-web --examples`: a test alone does not
//! build the examples.
#![cfg(unix)]

#[path = "service/harness.rs"]
mod harness;
#[path = "../examples/service/sample.rs"]
mod sample;

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::rt::{spawn, task::JoinHandle};
use awc::http::StatusCode;
use bytes::Bytes;
use futures_util::future::join_all;
use image::ImageFormat::{Jpeg, Png};
use nix::sys::signal::Signal;

use harness::{Answer, Service, check, hang_up, run};

/// What a thumbnail of the samples measures.
const SMALL: (u32, u32) = (128, 96);

fn png() -> Bytes {
    sample::halves(400, 300, Png).expect("an image").into()
}

fn jpeg() -> Bytes {
    sample::halves(800, 600, Jpeg).expect("an image").into()
}

#[track_caller]
fn is_thumbnail(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("image/png"));
    sample::look(&answer.body, SMALL.0, SMALL.1).expect("a thumbnail");
}

/// What each came to.
async fn finished<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let ended = join_all(tasks).await.into_iter();
    ended.map(|task| task.expect("no panic")).collect()
}

// --- answers ----------------------------------------------------------------------------------------------------------

#[test]
fn every_client_gets_the_thumbnail_of_its_own_image() {
    run(async {
        let service = Service::start(&["--processes", "2"]);
        let tall = Bytes::from(sample::halves(30, 600, Png).expect("an image"));
        let images = [png(), jpeg(), tall];
        let clients = (0..16).map(|client| {
            let (service, images) = (&service, &images);
            async move {
                for post in 0..12 {
                    let kind = (client + post) % images.len();
                    let answer = service.post(&images[kind]).await.expect("an answer");
                    match kind {
                        2 => sample::look(&answer.body, 6, 128).expect("a thumbnail"),
                        _ => is_thumbnail(&answer),
                    }
                }
            }
        });
        join_all(clients).await;
        let status = service.status().await;
        assert_eq!((status.accepted, status.done), (16 * 12, 16 * 12));
    });
}

#[test]
fn broken_image_is_422_and_says_so() {
    run(async {
        let service = Service::start(&["--processes", "1"]);
        let (png, jpeg) = (png(), jpeg());
        let mut broken = vec![Bytes::new(), "no image".into(), "\u{7f}ELF".into()];
        for image in [&png, &jpeg] {
            broken.extend([3, 64, image.len() / 2].map(|end| image.slice(..end)));
        }
        // All of its pixels are there, but who knows?
        broken.push(jpeg.slice(..jpeg.len() - 2));
        for broken in broken {
            let answer = service.post(&broken).await.expect("an answer");
            assert_eq!(
                answer.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{answer:?}"
            );
            assert!(
                answer.text().starts_with("this is no PNG or JPEG image: "),
                "{answer:?}"
            );
        }
        is_thumbnail(&service.post(&png).await.expect("an answer"));
        is_thumbnail(&service.post(&jpeg).await.expect("an answer"));
    });
}

#[test]
fn too_many_bytes_are_413_and_reach_no_worker() {
    run(async {
        let service = Service::start(&["--processes", "1"]);
        let answer = service.post(&Bytes::from(vec![0; (10 << 20) + 1])).await;
        assert_eq!(
            answer.expect("an answer").status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
        assert_eq!(service.status().await.accepted, 0);
    });
}

#[test]
fn too_many_pixels_are_413_however_small_the_file() {
    run(async {
        let service = Service::start(&["--processes", "1"]);
        let bomb = Bytes::from(sample::bomb().expect("an image"));
        assert!(bomb.len() < 1 << 20, "{} bytes are no bomb", bomb.len());
        let answer = service.post(&bomb).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
        assert_eq!(service.status().await.failed, 1);
    });
}

#[test]
fn full_queue_is_503_with_retry_after_and_the_others_get_theirs() {
    const POSTS: u64 = 20;
    run(async {
        let service = Service::holding(&[
            "--processes",
            "1",
            "--concurrency",
            "1",
            "--queue-limit",
            "4",
        ]);
        let refused = Rc::new(Cell::new(0));
        let image = png();
        let posts: Vec<_> = (0..POSTS)
            .map(|_| {
                let (client, refused, image) =
                    (service.client(), Rc::clone(&refused), image.clone());
                spawn(async move {
                    let answer = client.post(&image).await.expect("an answer");
                    if answer.status != StatusCode::OK {
                        refused.set(refused.get() + 1);
                    }
                    answer
                })
            })
            .collect();
        let status = service
            .until("every post is accepted or refused", |status| {
                status.accepted + refused.get() == POSTS
            })
            .await;
        // One runs, four wait; what else the worker was sent in advance counts as waiting.
        assert!((4..=6).contains(&status.accepted), "{status:?}");

        service.release();
        let mut done = 0;
        for answer in finished(posts).await {
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                assert_eq!(answer.text(), "Service Unavailable");
            } else {
                is_thumbnail(&answer);
                done += 1;
            }
        }
        assert_eq!(done, status.accepted);
    });
}

#[test]
fn image_that_takes_too_long_is_504_and_its_worker_goes_on() {
    run(async {
        let service =
            Service::holding(&["--processes", "1", "--concurrency", "1", "--timeout", "400"]);
        let before = service.status().await;
        let image = png();
        // One with the worker, one that waits.
        for answer in finished(service.posts(2, &image)).await {
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{answer:?}");
            assert_eq!(answer.text(), "Gateway Timeout");
        }
        service.release();
        is_thumbnail(&service.post(&image).await.expect("an answer"));
        let status = service.status().await;
        assert_eq!((status.timed_out, status.done), (2, 1), "{status:?}");
        assert_eq!(status.workers[0].pid, before.workers[0].pid);
    });
}

// --- hanging up -------------------------------------------------------------------------------------------------------

/// One post is with the worker, one waits; both clients go.
async fn hanging_up_cancels(how: impl Fn(tokio::net::TcpStream) -> Option<tokio::net::TcpStream>) {
    let service = Service::holding(&["--processes", "1", "--concurrency", "1"]);
    let running = service.post_by_hand(&png()).await;
    let before = service
        .until("the worker has the first", |status| {
            status.workers[0].in_flight == 1
        })
        .await;
    let waiting = service.post_by_hand(&png()).await;
    service
        .until("the second is accepted", |status| status.accepted == 2)
        .await;

    // What is returned stays open: only the client's direction is closed.
    let _half = (how(running), how(waiting));
    // In flight is what the worker has not reported the end of.
    let after = service
        .until("both are cancelled", |status| {
            status.cancelled == 2 && status.waiting == 0 && status.workers[0].in_flight == 0
        })
        .await;
    // The same worker: it has given the work up and was not killed for it.
    assert_eq!(after.workers, before_without_work(&before.workers));
    service.release();
    is_thumbnail(&service.post(&png()).await.expect("an answer"));
    assert_eq!(service.status().await.done, 1);
}

fn before_without_work(workers: &[harness::Worker]) -> Vec<harness::Worker> {
    let idle = |worker: &harness::Worker| harness::Worker {
        in_flight: 0,
        ..worker.clone()
    };
    workers.iter().map(idle).collect()
}

#[test]
fn fin_of_a_client_that_still_reads_cancels_in_the_worker() {
    run(hanging_up_cancels(|stream| Some(hang_up::by_fin(stream))));
}

#[test]
fn close_cancels_in_the_worker() {
    run(hanging_up_cancels(|stream| {
        drop(stream);
        None
    }));
}

#[test]
fn reset_cancels_in_the_worker() {
    run(hanging_up_cancels(|stream| {
        hang_up::by_reset(stream);
        None
    }));
}

// --- the end of a worker ----------------------------------------------------------------------------------------------

#[test]
fn killed_worker_costs_no_more_answers_than_it_had_running() {
    const CONCURRENCY: usize = 2;
    run(async {
        let service = Service::holding(&["--processes", "2", "--concurrency", "2"]);
        let posts = service.posts(64, &png());
        let status = service
            .until("all are accepted and both workers are busy", |status| {
                status.accepted == 64
                    && status
                        .workers
                        .iter()
                        .all(|worker| worker.in_flight >= CONCURRENCY)
            })
            .await;
        harness::signal(status.workers[0].pid.expect("a worker"), Signal::SIGKILL);
        let status = service
            .until("it is replaced", |status| {
                status.workers[0].lost_before == 1 && status.workers[0].ready
            })
            .await;
        service.release();
        let lost = count_lost(finished(posts).await);
        assert!(lost <= CONCURRENCY, "{lost} answers are lost");
        assert_eq!(lost as u64, status.lost);
    });
}

#[test]
fn workers_killed_under_load_cost_no_more_answers_than_they_had_running() {
    const KILLS: usize = 4;
    const CONCURRENCY: usize = 2;
    run(async {
        let service = Service::start(&["--processes", "2", "--concurrency", "2"]);
        let going = Rc::new(Cell::new(true));
        let image = jpeg();
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (client, going, image) = (service.client(), Rc::clone(&going), image.clone());
                spawn(async move {
                    let mut answers = Vec::new();
                    while going.get() {
                        answers.push(client.post(&image).await);
                    }
                    answers
                })
            })
            .collect();
        for kill in 1..=KILLS {
            let status = service
                .until("a worker is busy", |status| {
                    status
                        .workers
                        .iter()
                        .any(|worker| worker.ready && worker.in_flight >= CONCURRENCY)
                })
                .await;
            let busy = status
                .workers
                .iter()
                .max_by_key(|worker| worker.in_flight * usize::from(worker.ready));
            harness::signal(
                busy.and_then(|worker| worker.pid).expect("a worker"),
                Signal::SIGKILL,
            );
            service
                .until("it is replaced", |status| {
                    let lost: u64 = status.workers.iter().map(|worker| worker.lost_before).sum();
                    lost == kill as u64 && status.workers.iter().all(|worker| worker.ready)
                })
                .await;
        }
        going.set(false);
        let answers = finished(clients).await.concat();
        let total = answers.len();
        let lost = count_lost(answers);
        assert!(
            lost <= KILLS * CONCURRENCY,
            "{lost} of {total} answers are lost"
        );
        let status = service.status().await;
        assert_eq!(lost as u64, status.lost);
        assert_eq!(total as u64, status.accepted);
    });
}

/// Every answer is a thumbnail, or a 500 that says nothing: how many of these there are.
#[track_caller]
fn count_lost(answers: Vec<Result<Answer, String>>) -> usize {
    let mut lost = 0;
    for answer in answers {
        let answer = answer.expect("an answer");
        if answer.status == StatusCode::INTERNAL_SERVER_ERROR {
            assert_eq!(answer.text(), "Internal Server Error");
            lost += 1;
        } else {
            is_thumbnail(&answer);
        }
    }
    lost
}

// --- stopping ---------------------------------------------------------------------------------------------------------

#[test]
fn sigterm_to_the_group_with_64_posts_in_flight_loses_none_of_them() {
    run(async {
        let mut service = Service::holding(&["--processes", "2"]);
        let posts = service.posts(64, &png());
        // This one has been let in when its client has sent no more than half of its image.
        let slow = png();
        let mut slow_post = service.begin_by_hand(&slow, slow.len() / 2).await;
        let status = service
            .until("all are accepted", |status| status.accepted == 64)
            .await;
        assert_eq!(status.done, 0);

        let signalled = Instant::now();
        service.signal_group(Signal::SIGTERM);
        for worker in &status.workers {
            // As systemd does: they are in groups of their own.
            harness::signal(worker.pid.expect("a worker"), Signal::SIGTERM);
        }
        let late = service.post_until_refused(&png()).await;
        slow_post.send(&slow[slow.len() / 2..]).await;
        service.release();

        for answer in finished(posts).await {
            is_thumbnail(&answer.expect("an answer"));
        }
        is_thumbnail(&slow_post.answer().await);
        let mut done = 65;
        for answer in finished(late).await {
            match answer {
                Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {}
                // It came before the signal was heard.
                Ok(answer) => {
                    is_thumbnail(&answer);
                    done += 1;
                }
                Err(_refused) => {}
            }
        }
        let status_and_last_word = service.ended().await;
        assert!(
            signalled.elapsed() < Duration::from_secs(10),
            "{:?}",
            signalled.elapsed()
        );
        assert_eq!(status_and_last_word, (Some(0), harness::last_word(done)));
        for worker in status.workers {
            harness::is_gone(worker.pid.expect("a worker")).await;
        }
    });
}

async fn loses_no_answer_under_load(signal: Signal) {
    let mut service = Service::start(&["--processes", "2"]);
    let image = png();
    // Each goes on until it is turned away, and counts its thumbnails.
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (client, image) = (service.client(), image.clone());
            spawn(async move {
                let mut done = 0_u64;
                loop {
                    match client.post(&image).await {
                        Ok(answer) if answer.status == StatusCode::OK => {
                            is_thumbnail(&answer);
                            done += 1;
                        }
                        Ok(answer) => {
                            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
                            return done;
                        }
                        Err(_refused) => return done,
                    }
                }
            })
        })
        .collect();
    service
        .until("the load runs", |status| status.done >= 100)
        .await;
    let signalled = Instant::now();
    service.signal_group(signal);
    let done = finished(clients).await.iter().sum();
    assert_eq!(service.ended().await, (Some(0), harness::last_word(done)));
    assert!(
        signalled.elapsed() < Duration::from_secs(10),
        "{:?}",
        signalled.elapsed()
    );
}

#[test]
fn sigterm_under_load_loses_no_answer_of_what_was_accepted() {
    run(loses_no_answer_under_load(Signal::SIGTERM));
}

#[test]
fn ctrl_c_under_load_loses_no_answer_of_what_was_accepted() {
    run(loses_no_answer_under_load(Signal::SIGINT));
}

/// What clients are told whose connections live to say so: that the pool has closed, if their task waited; and that it came to
/// nothing, if it ran.
fn no_results<E: std::fmt::Debug>(answers: &[Result<Answer, E>]) {
    let statuses = answers.iter().flatten().map(|answer| answer.status);
    let ran = statuses
        .filter(|status| *status != StatusCode::SERVICE_UNAVAILABLE)
        .inspect(|status| assert_eq!(*status, StatusCode::INTERNAL_SERVER_ERROR, "{answers:?}"));
    assert!(ran.count() <= 1, "{answers:?}");
}

#[test]
fn sigterm_ends_the_service_in_10_s_also_when_an_image_takes_for_ever() {
    run(async {
        let mut service = Service::holding(&["--processes", "1", "--concurrency", "1"]);
        let posts = service.posts(2, &png());
        let status = service
            .until("both are accepted", |status| status.accepted == 2)
            .await;
        let signalled = Instant::now();
        service.signal_group(Signal::SIGTERM);
        let (code, _) = service.ended().await;
        assert_eq!(code, Some(0));
        assert!(
            signalled.elapsed() < Duration::from_secs(10),
            "{:?}",
            signalled.elapsed()
        );
        no_results(&finished(posts).await);
        harness::is_gone(status.workers[0].pid.expect("a worker")).await;
    });
}

#[test]
fn sigterm_ends_the_service_in_10_s_also_when_a_worker_is_stopped() {
    run(async {
        let mut service = Service::holding(&["--processes", "1", "--concurrency", "1"]);
        let posts = service.posts(2, &png());
        let status = service
            .until("both are accepted", |status| status.accepted == 2)
            .await;
        let worker = status.workers[0].pid.expect("a worker");
        harness::signal(worker, Signal::SIGSTOP);
        let signalled = Instant::now();
        service.signal_group(Signal::SIGTERM);
        let (code, _) = service.ended().await;
        assert_eq!(code, Some(0));
        assert!(
            signalled.elapsed() < Duration::from_secs(10),
            "{:?}",
            signalled.elapsed()
        );
        no_results(&finished(posts).await);
        harness::is_gone(worker).await;
    });
}

// --- its own check ----------------------------------------------------------------------------------------------------

#[test]
fn its_check_passes() {
    let (code, out, err) = check(&[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("9 answers are right"), "{out}");
}

#[test]
fn its_check_finds_thumbnails_of_the_wrong_size() {
    let (code, out, err) = check(&["--wrong"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(err.contains("127x95 instead of 128x96 pixels"), "{err}");
    assert!(err.contains("2 of 9 answers were wrong"), "{err}");
}
