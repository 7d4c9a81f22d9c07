//! What the hostile worker does wrong, and what its host has to make of it.

use std::{io::Write, thread::sleep, time::Duration};

use actix_multiprocess::LossCause;

use crate::{
    host::{self, Stage, Story},
    hostile::{HELD, Held, Hostile, connect},
    wire::{
        ControlFromWorker, ControlToWorker, Outcome, Panic, StartConfig, WorkerFrame, frame, hello,
    },
};

/// What the hostile worker does wrong, by when.
#[derive(Clone, Copy)]
pub(crate) enum Wrong {
    /// Between its two connections.
    Connecting(fn(&StartConfig)),
    /// Instead of its offer.
    Offering(fn(&mut Hostile)),
    /// Instead of getting ready.
    Ready(fn(&mut Hostile)),
    /// With [`HELD`] tasks that it holds.
    Serving(fn(&mut Hostile)),
}

/// What its host has to make of it.
#[derive(Clone, Copy)]
pub(crate) enum Right {
    /// Goes on with a worker that connects, after it has refused a connection for this reason.
    Refuses(&'static str),
    /// Starts another, for this reason.
    StartsAnother(&'static str),
    /// Ends it for this reason; so many of the tasks that it held have their result.
    Ends(&'static str, usize),
    /// Something else.
    Else(fn(Stage) -> Story),
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// For the host to lose its patience.
    pub(crate) waits: bool,
    pub(crate) wrong: Wrong,
    pub(crate) right: Right,
}

pub(crate) fn named(name: &str) -> Option<Case> {
    all().into_iter().find(|case| case.name == name)
}

use Right::{Else, Ends, Refuses, StartsAnother};
use Wrong::{Connecting, Offering, Ready, Serving};

/// More than a frame may have.
const TOO_LONG: [u8; 4] = [0xFF; 4];

/// The limit of a value in these pools, and somewhat less.
const MOST: u64 = 900 * 1024;

/// A control frame.
fn said(frame_: &ControlFromWorker) -> Vec<u8> {
    frame(frame_, &[])
}

fn pong(running: Option<(u64, u64)>) -> Vec<u8> {
    said(&ControlFromWorker::Pong { nonce: 1, running })
}

/// Of a panic that says so many bytes.
fn last_words(ticket: Option<u64>, bytes: usize) -> Vec<u8> {
    let panic = Panic {
        kind: "panic",
        message: "!".repeat(bytes),
        rest: [0; 5],
    };
    said(&ControlFromWorker::LastWords { ticket, panic })
}

fn given_back(ticket: u64) -> Vec<u8> {
    said(&ControlFromWorker::Revoked {
        ticket,
        given_back: true,
    })
}

/// Says that a cancelled task holds its loop, so that the host asks for the others back.
fn wait_for_revoke(it: &mut Hostile) {
    while !matches!(it.asked(), ControlToWorker::Ping { .. }) {}
    it.control(&pong(Some((it.held[0].ticket, 10_000_000))), 1);
    while !matches!(it.asked(), ControlToWorker::Revoke { .. }) {}
}

/// A third connection.
fn intrude(config: &StartConfig, words: &[u8]) {
    let mut third = connect(&config.place);
    third.write_all(words).expect("a host that listens");
    // Open as long as this process lives.
    std::mem::forget(third);
}

pub(crate) fn all() -> Vec<Case> {
    let case = |name, wrong, right| Case {
        name,
        waits: false,
        wrong,
        right,
    };
    let mut cases = vec![
        case(
            "used_token",
            Connecting(|config| intrude(config, &hello(1, &config.token))),
            Refuses("used before"),
        ),
        case(
            "token_with_one_wrong_bit",
            Connecting(|config| {
                let mut token = config.token;
                token[31] ^= 1;
                intrude(config, &hello(0, &token));
            }),
            Refuses("token is wrong"),
        ),
        case(
            "offer_of_4_gib",
            Offering(|it| it.raw(&TOO_LONG)),
            StartsAnother("a frame of 4294967295 bytes"),
        ),
        case(
            "offer_of_garbage",
            Offering(|it| it.raw(&[8, 0, 0, 0, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5])),
            StartsAnother("unreadable frame"),
        ),
        case(
            "ready_before_the_offer",
            Offering(|it| it.say(&WorkerFrame::Ready)),
            StartsAnother("not an offer"),
        ),
        case(
            "offer_of_another_process",
            Offering(|it| {
                it.offer.pid += 1;
                it.say(&WorkerFrame::Offer(it.offer.clone()));
            }),
            StartsAnother("instead of worker"),
        ),
        case(
            "offer_in_another_protocol",
            Offering(|it| {
                it.offer.protocol = 999;
                it.say(&WorkerFrame::Offer(it.offer.clone()));
            }),
            StartsAnother("999"),
        ),
        case(
            "offer_without_tasks",
            Offering(|it| {
                it.offer.tasks.clear();
                it.say(&WorkerFrame::Offer(it.offer.clone()));
            }),
            StartsAnother("echo"),
        ),
        case(
            "offer_of_too_many_tasks",
            Offering(|it| {
                let own = std::mem::take(&mut it.offer.tasks);
                it.offer.tasks = vec![(String::new(), 0); 250_000];
                it.offer.tasks.extend(own);
                it.say(&WorkerFrame::Offer(it.offer.clone()));
            }),
            StartsAnother("task"),
        ),
        case(
            "offer_of_too_many_descriptors",
            Offering(|it| {
                it.offer.inherited = (0..100_000)
                    .map(|number| String::from_utf8_lossy(&letters(number)).into_owned())
                    .collect();
                it.say(&WorkerFrame::Offer(it.offer.clone()));
                it.say(&WorkerFrame::Ready);
            }),
            Else(host::keeps_little_of_the_offer),
        ),
        case(
            "offers_without_end",
            Offering(|it| {
                let offer = WorkerFrame::Offer(it.offer.clone());
                it.flood(&offer);
            }),
            StartsAnother("neither got ready nor failed"),
        ),
        case(
            "unreadable_failure",
            Offering(|it| {
                it.say(&WorkerFrame::Offer(it.offer.clone()));
                it.say_with(&WorkerFrame::Failed { init_args: None }, &[0xFF; 64]);
            }),
            StartsAnother("unreadable"),
        ),
        case(
            "no_offer",
            Offering(|_| {}),
            Else(host::has_a_time_limit_on_starts),
        ),
        case(
            "garbage_with_ready",
            Ready(|it| {
                it.wait_for_go();
                let both = [frame(&WorkerFrame::Ready, &[]), TOO_LONG.to_vec()];
                it.raw(&both.concat());
            }),
            Else(host::ends_it_when_it_is_ready),
        ),
        case(
            "result_for_an_unknown_ticket",
            Serving(|it| it.tell(u64::MAX, Outcome::Done, &[0])),
            Ends("not sent", 0),
        ),
        case(
            "result_for_ticket_0",
            Serving(|it| it.tell(0, Outcome::Done, &[0])),
            Ends("not sent", 0),
        ),
        case(
            "result_for_an_unsent_ticket",
            Serving(|it| it.tell(it.last + 1, Outcome::Done, &[0])),
            Ends("not sent", 0),
        ),
        case(
            // Its neighbour has had twenty more tasks than it.
            "result_for_a_ticket_of_the_other_worker",
            Serving(|it| it.tell(it.last + 10, Outcome::Done, &[0])),
            Ends("not sent", 0),
        ),
        case(
            "result_for_a_settled_ticket",
            Serving(|it| {
                it.settle(1);
                it.settle(1);
            }),
            Ends("had ended", 1),
        ),
        case(
            "result_for_a_ticket_settled_long_ago",
            Serving(|it| it.tell(1, Outcome::Done, &[0])),
            Ends("had ended", 0),
        ),
        case(
            "cancels_what_nobody_cancelled",
            Serving(|it| {
                let ticket = it.held[1].ticket;
                it.tell(ticket, Outcome::Cancelled { started: true }, &[]);
            }),
            Ends("nobody had cancelled", 0),
        ),
        case(
            "lets_a_task_expire_that_has_no_limit",
            Serving(|it| {
                let ticket = it.held[1].ticket;
                it.tell(ticket, Outcome::Expired, &[]);
            }),
            Ends("nobody had cancelled", 0),
        ),
        case(
            "start_of_an_unsent_ticket",
            Serving(|it| {
                let ticket = it.last + 1;
                it.say(&WorkerFrame::Started { ticket });
            }),
            Ends("not sent", 0),
        ),
        case(
            "start_of_a_started_ticket",
            Serving(|it| {
                let ticket = it.held[0].ticket;
                it.say(&WorkerFrame::Started { ticket });
            }),
            Ends("second start", 0),
        ),
        case(
            "pace_of_an_unknown_name",
            Serving(|it| {
                it.say(&WorkerFrame::Pace { name: 5, nanos: 1 });
            }),
            Ends("task name 5", 0),
        ),
        case(
            "quiet_of_an_unknown_name",
            Serving(|it| {
                it.say(&WorkerFrame::Quiet {
                    name: 5,
                    quiet: true,
                });
            }),
            Ends("task name 5", 0),
        ),
        case(
            "slow_poll_of_an_unknown_name",
            Serving(|it| {
                it.say(&WorkerFrame::SlowPoll {
                    name: 5,
                    micros: 1,
                    ended: false,
                });
            }),
            Ends("task name 5", 0),
        ),
        case(
            "flood_of_slow_polls",
            Serving(|it| {
                it.flood(&WorkerFrame::SlowPoll {
                    name: 0,
                    micros: u64::MAX,
                    ended: true,
                });
            }),
            Ends("a flood of slow polls", 0),
        ),
        case(
            "frame_of_4_gib",
            Serving(|it| it.raw(&[TOO_LONG.as_slice(), &[0; 4096]].concat())),
            Ends("a frame of 4294967295 bytes", 0),
        ),
        case(
            "empty_frame",
            Serving(|it| it.raw(&[0; 4])),
            Ends("unreadable frame", 0),
        ),
        case(
            "garbage",
            Serving(|it| it.raw(&[0xA5; 4096])),
            Ends("a frame of 2779096485 bytes", 0),
        ),
        case(
            "garbage_in_one_breath_with_a_result",
            Serving(|it| {
                let Held { ticket, body } = &it.held[1];
                let header = WorkerFrame::Result {
                    ticket: *ticket,
                    outcome: Outcome::Done,
                    attachments: Vec::new(),
                    rest: 0,
                };
                it.raw(&[frame(&header, body), vec![0xA5; 64]].concat());
            }),
            Ends("a frame of 2779096485 bytes", 1),
        ),
        case(
            "garbage_in_a_frame",
            Serving(|it| it.raw(&[&[64, 0, 0, 0][..], &[0xA5; 64]].concat())),
            Ends("unreadable frame", 0),
        ),
        case(
            "offer_when_serving",
            Serving(|it| it.say(&WorkerFrame::Offer(it.offer.clone()))),
            Ends("not due", 0),
        ),
        case(
            "item_that_nobody_asked_for",
            Serving(|it| {
                let ticket = it.held[0].ticket;
                it.say(&WorkerFrame::Item { ticket });
            }),
            Ends("not due", 0),
        ),
        case(
            "lag_that_nobody_asked_for",
            Serving(|it| it.say(&WorkerFrame::Lag { micros: 1 })),
            Ends("not due", 0),
        ),
        case(
            "progress_that_nobody_asked_for",
            Serving(|it| {
                it.say(&WorkerFrame::Progress {
                    ticket: it.held[0].ticket,
                    done: 1,
                    total: 2,
                });
            }),
            Ends("not due", 0),
        ),
        case(
            "value_of_2_60_bytes",
            Serving(|it| it.announce(1, 1 << 60)),
            Ends("TooLarge", 0),
        ),
        case(
            "value_of_2_64_bytes",
            Serving(|it| it.announce(1, u64::MAX)),
            Ends("TooLarge", 0),
        ),
        case(
            "values_announced_and_never_sent",
            Serving(|it| {
                for index in 0..HELD {
                    it.announce(index, MOST);
                }
                it.flood(&WorkerFrame::Quiet {
                    name: 0,
                    quiet: true,
                });
            }),
            Ends("flood", 0),
        ),
        case(
            "values_sent_up_to_the_last_byte",
            Serving(|it| {
                for index in 0..HELD {
                    it.announce(index, MOST);
                }
                for held in 0..HELD {
                    let ticket = it.held[held].ticket;
                    it.say_with(&WorkerFrame::Part { ticket }, &[0; 256 * 1024]);
                    it.say_with(&WorkerFrame::Part { ticket }, &[0; 256 * 1024]);
                    it.say_with(&WorkerFrame::Part { ticket }, &[0; 256 * 1024]);
                    it.say_with(&WorkerFrame::Part { ticket }, &[0; 132 * 1024 - 1]);
                }
                it.flood(&WorkerFrame::Quiet {
                    name: 0,
                    quiet: true,
                });
            }),
            Ends("flood", 0),
        ),
        case(
            "value_announced_twice",
            Serving(|it| {
                it.announce(1, MOST);
                it.announce(1, MOST);
            }),
            Ends("Overrun", 0),
        ),
        case(
            // Or what came of the first would stay for as long as the worker does.
            "whole_value_for_an_announced_one",
            Serving(|it| {
                it.announce(1, MOST);
                let ticket = it.held[1].ticket;
                it.say_with(&WorkerFrame::Part { ticket }, &[0; 256 * 1024]);
                it.settle(1);
            }),
            Ends("Overrun", 0),
        ),
        case(
            "value_longer_than_announced",
            Serving(|it| {
                it.announce(1, 10);
                let ticket = it.held[1].ticket;
                it.say_with(&WorkerFrame::Part { ticket }, &[0; 11]);
            }),
            Ends("Overrun", 0),
        ),
        case(
            "parts_without_bytes",
            Serving(|it| {
                it.announce(1, 10);
                let ticket = it.held[1].ticket;
                it.flood(&WorkerFrame::Part { ticket });
            }),
            Ends("Overrun", 0),
        ),
        case(
            "parts_of_unannounced_values",
            Serving(|it| {
                for held in 0..HELD {
                    let ticket = it.held[held].ticket;
                    it.say_with(&WorkerFrame::Part { ticket }, &[0; 200 * 1024]);
                }
            }),
            Ends("Unannounced", 0),
        ),
        case(
            "value_for_a_settled_ticket",
            Serving(|it| {
                it.settle(1);
                it.announce(1, MOST);
            }),
            Ends("had ended", 1),
        ),
        case(
            "attachments_longer_than_the_value",
            Serving(|it| attach(it, vec![10])),
            Ends("Lengths", 0),
        ),
        case(
            "attachments_of_32_gib",
            Serving(|it| attach(it, vec![u32::MAX; 8])),
            Ends("Lengths", 0),
        ),
        case(
            "a_hundred_thousand_empty_attachments",
            Serving(|it| attach(it, vec![0; 100_000])),
            Ends("Lengths", 0),
        ),
        case(
            "unreadable_panic",
            Serving(|it| it.tell(it.held[1].ticket, Outcome::Panicked, &[0xFF; 64])),
            Ends("unreadable panic", 0),
        ),
        case(
            "panic_with_half_a_million_sources",
            Serving(|it| {
                // Kind, message, the number of the sources, each an empty text, and the end is missing.
                let mut panic = vec![0, 0, 0xA0, 0xC2, 0x1E];
                panic.resize(500_000, 0);
                it.tell(it.held[1].ticket, Outcome::Panicked, &panic);
            }),
            Ends("unreadable panic", 0),
        ),
        case(
            "unreadable_codec_error",
            Serving(|it| it.tell(it.held[1].ticket, Outcome::Codec, &[0xFF; 64])),
            Ends("unreadable error", 0),
        ),
        case(
            "results_of_which_there_is_another_number",
            Serving(|it| {
                let results = WorkerFrame::Results {
                    ticket: it.held[0].ticket,
                    results: 3,
                };
                it.say_with(&results, &[1, 0, 7, 0, 0]);
            }),
            Ends("3 values in 5 bytes", 0),
        ),
        case(
            "results_of_which_one_is_cut_off",
            Serving(|it| {
                let results = WorkerFrame::Results {
                    ticket: it.held[0].ticket,
                    results: 2,
                };
                it.say_with(&results, &[1, 0, 7, 2, 0, 1]);
            }),
            Ends("2 values in 6 bytes", 0),
        ),
        case(
            "results_of_tasks_that_were_never_sent",
            Serving(|it| {
                let results = WorkerFrame::Results {
                    ticket: it.last + 1,
                    results: 2,
                };
                it.say_with(&results, &[0, 0, 0, 0]);
            }),
            Ends("which was not sent", 0),
        ),
        case(
            "flood_of_no_results",
            Serving(|it| {
                it.flood(&WorkerFrame::Results {
                    ticket: it.held[0].ticket,
                    results: 0,
                });
            }),
            Ends("0 values in 0 bytes", 0),
        ),
        case(
            "results_beyond_the_last_ticket",
            Serving(|it| {
                let results = WorkerFrame::Results {
                    ticket: u64::MAX,
                    results: 2,
                };
                it.say_with(&results, &[0, 0, 0, 0]);
            }),
            Ends("which was not sent", 0),
        ),
        case(
            "flood_of_pace",
            Serving(|it| it.flood(&WorkerFrame::Pace { name: 0, nanos: 1 })),
            Ends("flood", 0),
        ),
        case(
            "flood_of_quiet",
            Serving(|it| {
                it.flood(&WorkerFrame::Quiet {
                    name: 0,
                    quiet: true,
                });
            }),
            Ends("flood", 0),
        ),
        case(
            "flood_of_starts",
            Serving(|it| {
                let ticket = it.held[0].ticket;
                it.flood_at_once(&frame(&WorkerFrame::Started { ticket }, &[]));
            }),
            Else(host::ends_it_after_a_flood_of_starts),
        ),
        case(
            // Two dozen bytes each, and a hundred times that in memory.
            "flood_of_panics",
            Serving(|it| {
                let header = WorkerFrame::Result {
                    ticket: it.held[1].ticket,
                    outcome: Outcome::Panicked,
                    attachments: Vec::new(),
                    rest: 0,
                };
                // No kind, no message, sixteen sources without a text, and nothing else.
                let panic = [&[0, 0, 16][..], &[0; 16], &[0; 4]].concat();
                it.flood_at_once(&frame(&header, &panic));
            }),
            Else(host::ends_it_after_a_flood_of_panics),
        ),
        case(
            "flood_of_signals",
            Serving(|it| {
                let signalled = said(&ControlFromWorker::Signalled { signal: 15 });
                it.control(&signalled.repeat(10_000), 1_000);
            }),
            Ends("reports of signals", 0),
        ),
        case(
            // Once is enough for anybody.
            "last_words_without_end",
            Serving(|it| it.control(&last_words(None, 0).repeat(100), 100)),
            Ends("last words", 0),
        ),
        case(
            // None of its tasks is to blame for what it says of another's.
            "last_words_of_a_task_it_does_not_have",
            Serving(|it| {
                it.control(&last_words(Some(u64::MAX), 60_000), 1);
                std::process::abort();
            }),
            Else(|stage| Box::pin(host::dies(stage, LossCause::Panicked))),
        ),
        case(
            "last_words_of_one_that_exits",
            Serving(|it| {
                it.control(&last_words(None, 10), 1);
                std::process::exit(3);
            }),
            Else(|stage| Box::pin(host::dies(stage, LossCause::Exited))),
        ),
        case(
            "flood_of_pongs",
            Serving(|it| it.control(&pong(None).repeat(10_000), 1_000)),
            Ends("answers to what was not asked", 0),
        ),
        case(
            "pongs_that_make_the_host_ask",
            Serving(|it| {
                // It is asked once what its loop does, and reads nothing more.
                while !matches!(it.asked(), ControlToWorker::Ping { .. }) {}
                let held = pong(Some((it.held[0].ticket, 10_000_000)));
                it.control(&held.repeat(10_000), 1_000);
            }),
            Else(host::asks_no_more_than_it_is_answered),
        ),
        case(
            "task_given_back_with_half_its_value_there",
            Serving(|it| {
                it.announce(1, MOST);
                wait_for_revoke(it);
                it.control(&given_back(it.held[1].ticket), 1);
            }),
            Else(host::takes_no_task_back_that_has_a_value),
        ),
        case(
            // It would be polled a second time elsewhere.
            "task_given_back_that_has_started",
            Serving(|it| {
                wait_for_revoke(it);
                it.control(&given_back(it.held[2].ticket), 1);
            }),
            Else(host::takes_no_task_back_that_has_started),
        ),
        case(
            "result_of_a_task_given_back",
            Serving(|it| {
                wait_for_revoke(it);
                it.control(&given_back(it.held[1].ticket), 1);
                // It has been heard when the next question comes.
                while !matches!(it.asked(), ControlToWorker::Ping { .. }) {}
                it.settle(1);
            }),
            Else(host::takes_no_result_of_a_task_given_back),
        ),
        case(
            "task_given_back_unasked",
            Serving(|it| it.control(&given_back(it.held[1].ticket), 1)),
            Ends("answers to what was not asked", 0),
        ),
        case(
            "garbage_on_control",
            Serving(|it| it.control(&[0xA5; 64], 1)),
            Ends("a control frame of 2779096485 bytes", 0),
        ),
        case(
            "garbage_in_a_control_frame",
            Serving(|it| it.control(&[4, 0, 0, 0, 0xA5, 0xA5, 0xA5, 0xA5], 1)),
            Ends("unreadable control frame", 0),
        ),
        case(
            "closes_its_data_connection",
            Serving(|it| {
                let _ = it.data.shutdown(std::net::Shutdown::Both);
                it.stay();
            }),
            Ends("closed its data connection", 0),
        ),
        case(
            "closes_its_data_connection_for_reading",
            Serving(|it| {
                let _ = it.data.shutdown(std::net::Shutdown::Read);
                for index in 0..HELD {
                    it.settle(index);
                }
                it.stay();
            }),
            Else(host::ends_it_when_it_takes_no_task),
        ),
        case(
            "closes_its_control_connection",
            Serving(|it| {
                it.control = None;
                for index in 0..HELD {
                    it.settle(index);
                }
            }),
            Else(host::goes_on_without_control),
        ),
        case(
            "output_without_a_bottom",
            Serving(|_| {}),
            Else(host::refuses_deep_outputs),
        ),
        case(
            "output_of_2_60_units",
            Serving(|_| {}),
            Else(host::refuses_long_outputs),
        ),
        case(
            "never_reads_what_is_cancelled",
            Ready(|it| it.say(&WorkerFrame::Ready)),
            Else(host::kills_it_for_its_cancelled_tasks),
        ),
        case(
            "never_reads_and_is_stopped",
            Ready(|it| it.say(&WorkerFrame::Ready)),
            Else(host::kills_it_when_the_pool_stops),
        ),
        case(
            "flood_of_output",
            Serving(|it| {
                for index in 0..HELD {
                    it.settle(index);
                }
                std::thread::spawn(|| {
                    let line = [b'x'; 64 * 1024];
                    while std::io::stderr().write_all(&line).is_ok() {}
                });
            }),
            Else(host::goes_on_with_a_flood_of_output),
        ),
    ];
    let waits = |name, wrong, right| Case {
        name,
        waits: true,
        wrong,
        right,
    };
    cases.extend([
        waits(
            "half_a_frame",
            Serving(|it| {
                it.raw(&[100, 0, 0, 0, 3, 1]);
                it.stay();
            }),
            Ends("not complete", 0),
        ),
        waits(
            "half_a_prefix",
            Serving(|it| {
                it.raw(&[100, 0]);
                it.stay();
            }),
            Ends("not complete", 0),
        ),
        waits(
            "one_byte_a_second",
            Serving(|it| {
                let header = WorkerFrame::Result {
                    ticket: it.held[1].ticket,
                    outcome: Outcome::Done,
                    attachments: Vec::new(),
                    rest: 0,
                };
                for byte in frame(&header, &[0; 40]) {
                    it.raw(&[byte]);
                    sleep(Duration::from_secs(1));
                }
            }),
            Ends("not complete", 0),
        ),
        waits(
            "half_a_frame_with_ready",
            Ready(|it| {
                it.wait_for_go();
                let half = vec![100, 0, 0, 0, 3, 1];
                it.raw(&[frame(&WorkerFrame::Ready, &[]), half].concat());
            }),
            Else(host::ends_it_when_it_is_ready),
        ),
    ]);
    cases
}

/// Three letters, different for every number below 26 to the power of 4.
fn letters(number: u32) -> [u8; 4] {
    [0, 1, 2, 3].map(|place| b'a' + u8::try_from(number / 26_u32.pow(place) % 26).unwrap_or(0))
}

fn attach(it: &mut Hostile, attachments: Vec<u32>) {
    let header = WorkerFrame::Result {
        ticket: it.held[1].ticket,
        outcome: Outcome::Done,
        attachments,
        rest: 0,
    };
    it.say_with(&header, &[0]);
}
