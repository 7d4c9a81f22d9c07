//! A pool that is told what to do by a file or by the environment.
#![cfg(target_os = "linux")]

mod process_support;

use std::time::Duration;

use actix::System;
use actix_multiprocess::{Launcher, Pool, PoolConfig, StartError, WhenFull, WorkerSpec, testing};
use serde::Deserialize;
use tracing::Level;

use process_support::{Host, Warnings, host, run, say, task};

/// The settings of a program that has a pool.
#[derive(Deserialize)]
struct Settings {
    pool: PoolConfig,
}

task! {
    Answer {} -> u32, |_this, _cx| 42
}

async fn start(config: PoolConfig) -> Pool {
    Pool::builder(testing::in_process(WorkerSpec::new().task::<Answer>()))
        .config(config)
        .start()
        .await
        .expect("a pool")
}

#[test]
fn the_sample_of_the_readme_is_every_knob_at_its_default() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("```toml\n[pool]\n").expect("a sample");
    let (sample, _) = rest.split_once("```").expect("its end");
    let settings: Settings = toml::from_str(&format!("[pool]\n{sample}")).expect("settings");
    assert_eq!(settings.pool, PoolConfig::default());
    let knobs = toml::Table::try_from(PoolConfig::default()).expect("a table");
    for knob in knobs.keys() {
        assert!(
            sample.contains(&format!("\n{knob} =")) || sample.starts_with(knob),
            "{knob}"
        );
    }
}

#[test]
fn a_status_tells_what_was_made_of_the_automatic_knobs() {
    run(async {
        let pool = start(PoolConfig::default()).await;
        let config = pool.status().await.config;
        let processes = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(config.processes, Some(processes));
        assert_eq!(config.queue_limit, Some(1024 * processes));
        let text = config.to_string();
        let budget = format!("\"budget\":{}", (2 * processes).max(5));
        assert!(
            text.contains(&budget) && text.contains("\"stdout\":\"inherit\""),
            "{text}"
        );
        // What it says can be said to the next one.
        let again: PoolConfig = serde_json::from_str(&text).expect("a configuration");
        assert_eq!(again, config);
        pool.stop().await;
    });
}

#[test]
fn what_is_set_after_a_configuration_wins() {
    run(async {
        let mut config = PoolConfig::default();
        config.processes = Some(3);
        config.grace = Duration::from_secs(9);
        let pool = Pool::builder(testing::in_process(WorkerSpec::new()))
            .grace(Duration::from_secs(1))
            .config(config)
            .processes(2)
            .start()
            .await
            .expect("a pool");
        let status = pool.status().await;
        assert_eq!(status.slots.len(), 2);
        assert_eq!(status.config.grace, Duration::from_secs(9));
        pool.stop().await;
    });
}

#[test]
fn the_environment_of_a_program_configures_its_pool() {
    let mut host = Host::start_with("reads_its_environment", &[], |command| {
        command
            .env("THUMBS_PROCESSES", "3")
            .env("THUMBS_WHEN_FULL", "wait")
            .env("THUMBS_CANCEL_GRACE", "250ms");
    });
    let line = host.expect("log");
    for said in [
        "pool starts",
        r#""processes":3"#,
        r#""cancel_grace":"250ms""#,
    ] {
        assert!(line.contains(said), "{line}");
    }
    host.succeed();
}

async fn reads_its_environment() {
    let log = Warnings::and_down_to(Level::INFO);
    let lines = log.lines();
    tracing::subscriber::set_global_default(log).expect("the first");
    let config = PoolConfig::from_env("THUMBS").expect("a configuration");
    let pool = start(config).await;
    let status = pool.status().await;
    assert_eq!(status.slots.len(), 3);
    assert_eq!(status.config.when_full, WhenFull::Wait);
    assert_eq!(pool.submit(Answer {}).await.expect("an answer"), 42);
    pool.stop().await;
    let lines = lines.lock().expect("a lock");
    let starts: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("pool starts"))
        .collect();
    assert_eq!(starts.len(), 1, "{lines:?}");
    // What was left to the pool as well.
    assert_eq!(status.config.queue_limit, Some(3 * 1024));
    assert!(starts[0].contains(r#""queue_limit":3072"#), "{}", starts[0]);
    say("log", starts[0]);
}

#[test]
fn workers_in_the_host_refuse_a_launcher() {
    run(async {
        let started = Pool::builder(testing::in_process(WorkerSpec::new()))
            .launcher(Launcher::own_image())
            .start()
            .await;
        let Err(StartError::Config(error)) = started else {
            panic!("{started:?}");
        };
        assert_eq!(
            error.to_string(),
            "these workers run in the host, so there is nothing to launch; leave `launcher` out"
        );
    });
}

#[test]
fn host_process() {
    host(|scenario, _| match scenario {
        "reads_its_environment" => System::new().block_on(reads_its_environment()),
        _ => panic!("no scenario: {scenario}"),
    });
}
