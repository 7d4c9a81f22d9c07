//! What is written is read back, and what is wrong is named.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use crate::{
    config::{
        Affinity, Concurrency, KillPolicy, OnExhausted, Output, PoolConfig, ProcessLimits, Restart,
        Retry, Stdio, TaskOptions, WhenFull,
    },
    error::ConfigError,
};

fn from_env(variables: &[(&str, &str)]) -> Result<PoolConfig, ConfigError> {
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    PoolConfig::from_variables("POOL", variables)
}

/// One with nothing at its default.
fn unusual() -> PoolConfig {
    PoolConfig {
        processes: Some(3),
        concurrency: Concurrency::Adaptive { max: 5 },
        queue_limit: Some(7),
        queue_bytes: 3 << 30,
        result_bytes: 1000,
        when_full: WhenFull::Wait,
        restart: Restart::default()
            .budget(None)
            .period(Duration::from_secs(90))
            .backoff(Duration::from_micros(1), Duration::from_nanos(1_000_001)),
        on_exhausted: OnExhausted::Escalate,
        timeout: Some(Duration::from_secs(30)),
        queue_timeout: Some(Duration::from_millis(1500)),
        run_timeout: Some(Duration::from_secs(120)),
        kill: KillPolicy::Always,
        heartbeat: Duration::from_millis(250),
        stalled_after: Duration::from_secs(60),
        kill_stalled: true,
        memory_soft: Some(300 << 20),
        memory_hard: Some(1 << 30),
        memory_total: Some(3 << 30),
        limits: ProcessLimits::default()
            .nice(-5)
            .affinity(Affinity::Cpus(vec![0, 1, 2, 8]))
            .oom_score_adj(-300)
            .address_space(4 << 30)
            .cpu_time(Duration::from_secs(60))
            .core_file(0)
            .file_size(1 << 20)
            .open_files(256)
            .processes(100),
        max_attempts: 1,
        retry: Retry::default()
            .failed_attempts(7)
            .memory_attempts(8)
            .backoff(Duration::from_millis(1), Duration::from_secs(2)),
        max_tasks: Some(1000),
        max_age: Some(Duration::from_secs(3600)),
        jitter: 25,
        retire_timeout: Duration::from_secs(5),
        start_timeout: Duration::from_secs(61),
        max_frame_bytes: 5 << 10,
        io_arbiters: 3,
        cancel_grace: Duration::ZERO,
        grace: Duration::from_millis(1500),
        stdio: Stdio::default()
            .stdout(Output::Null)
            .stderr(Output::Inherit),
        tasks: BTreeMap::from([(
            "big_one".to_owned(),
            TaskOptions::default()
                .max_running(2)
                .timeout(Duration::from_secs(3600))
                .queue_timeout(Duration::from_secs(2))
                .run_timeout(Duration::from_secs(3)),
        )]),
        socket_dir: Some("/run/thumbs".into()),
    }
}

#[test]
fn the_default_is_written_as_people_read_it() {
    let text = PoolConfig::default().to_string();
    let expected = concat!(
        r#"{"processes":"auto","concurrency":16,"queue_limit":"auto","queue_bytes":"256MiB","result_bytes":"256MiB","#,
        r#""when_full":"reject","#,
        r#""restart":{"budget":"auto","period":"10s","backoff_min":"100ms","backoff_max":"30s"},"#,
        r#""on_exhausted":"open-circuit","timeout":"unlimited","queue_timeout":"unlimited","run_timeout":"unlimited","kill":"on-timeout","#,
        r#""heartbeat":"1s","stalled_after":"10s","kill_stalled":false,"memory_soft":"unlimited","memory_hard":"unlimited","memory_total":"unlimited","#,
        r#""limits":{"nice":0,"affinity":"inherit","oom_score_adj":"inherit","address_space":"inherit","cpu_time":"inherit","#,
        r#""core_file":"inherit","file_size":"inherit","open_files":"inherit","processes":"inherit"},"max_attempts":3,"#,
        r#""retry":{"failed_attempts":3,"memory_attempts":3,"backoff_min":"100ms","backoff_max":"10s"},"max_tasks":"unlimited","max_age":"unlimited","jitter":"10%","retire_timeout":"1m","#,
        r#""start_timeout":"30s","max_frame_bytes":"64MiB","io_arbiters":0,"cancel_grace":"1s","grace":"3s","#,
        r#""stdio":{"stdout":"auto","stderr":"relay"},"tasks":{},"socket_dir":"auto"}"#,
    );
    assert_eq!(text, expected);
}

#[test]
fn what_is_written_is_read_back_as_the_same() {
    for config in [PoolConfig::default(), unusual()] {
        let text = config.to_string();
        let back: PoolConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(back, config, "{text}");
    }
    assert_eq!(
        serde_json::from_str::<PoolConfig>("{}").unwrap(),
        PoolConfig::default()
    );
}

#[test]
fn every_knob_can_come_from_the_environment() {
    let config = from_env(&[
        ("POOL_PROCESSES", "3"),
        ("POOL_CONCURRENCY", " adaptive:5 "),
        ("POOL_QUEUE_LIMIT", "7"),
        ("POOL_QUEUE_BYTES", "3GiB"),
        ("POOL_RESULT_BYTES", "1000"),
        ("POOL_WHEN_FULL", "wait"),
        ("POOL_RESTART_BUDGET", "unlimited"),
        ("POOL_RESTART_PERIOD", "1m 30s"),
        ("POOL_RESTART_BACKOFF_MIN", "1us"),
        ("POOL_RESTART_BACKOFF_MAX", "1000001ns"),
        ("POOL_ON_EXHAUSTED", "escalate"),
        ("POOL_TIMEOUT", "30s"),
        ("POOL_QUEUE_TIMEOUT", "1500ms"),
        ("POOL_RUN_TIMEOUT", "2m"),
        ("POOL_KILL", "always"),
        ("POOL_HEARTBEAT", "250ms"),
        ("POOL_STALLED_AFTER", "1m"),
        ("POOL_KILL_STALLED", "true"),
        ("POOL_MEMORY_SOFT", "300MiB"),
        ("POOL_MEMORY_HARD", "1GiB"),
        ("POOL_MEMORY_TOTAL", "3GiB"),
        ("POOL_LIMITS_NICE", "-5"),
        ("POOL_LIMITS_AFFINITY", "0-2, 8"),
        ("POOL_LIMITS_OOM_SCORE_ADJ", "-300"),
        ("POOL_LIMITS_ADDRESS_SPACE", "4GiB"),
        ("POOL_LIMITS_CPU_TIME", "1m"),
        ("POOL_LIMITS_CORE_FILE", "0B"),
        ("POOL_LIMITS_FILE_SIZE", "1MiB"),
        ("POOL_LIMITS_OPEN_FILES", "256"),
        ("POOL_LIMITS_PROCESSES", "100"),
        ("POOL_MAX_ATTEMPTS", "1"),
        ("POOL_RETRY_FAILED_ATTEMPTS", "7"),
        ("POOL_RETRY_MEMORY_ATTEMPTS", "8"),
        ("POOL_RETRY_BACKOFF_MIN", "1ms"),
        ("POOL_RETRY_BACKOFF_MAX", "2s"),
        ("POOL_MAX_TASKS", "1000"),
        ("POOL_MAX_AGE", "1h"),
        ("POOL_JITTER", "25%"),
        ("POOL_RETIRE_TIMEOUT", "5s"),
        ("POOL_START_TIMEOUT", "61s"),
        ("POOL_MAX_FRAME_BYTES", "5KiB"),
        ("POOL_IO_ARBITERS", "3"),
        ("POOL_CANCEL_GRACE", "0s"),
        ("POOL_GRACE", "1500ms"),
        ("POOL_STDIO_STDOUT", "null"),
        ("POOL_STDIO_STDERR", "inherit"),
        ("POOL_TASKS_BIG_ONE_MAX_RUNNING", "2"),
        ("POOL_TASKS_BIG_ONE_TIMEOUT", "1h"),
        ("POOL_TASKS_BIG_ONE_QUEUE_TIMEOUT", "2s"),
        ("POOL_TASKS_BIG_ONE_RUN_TIMEOUT", "3s"),
        ("POOL_SOCKET_DIR", "/run/thumbs"),
        // Other programs' own.
        ("POOLS", "5"),
        ("SPOOL_DIR", "/var"),
    ]);
    assert_eq!(config, Ok(unusual()));
}

#[test]
fn what_the_environment_leaves_open_has_its_default() {
    let config = from_env(&[
        ("POOL_PROCESSES", "auto"),
        ("POOL_GRACE", ""),
        ("POOL_RESTART_BUDGET", "auto"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(config, Ok(PoolConfig::default()));
}

#[test]
fn a_bad_variable_is_named_with_what_is_wrong() {
    let cases = [
        (
            ("POOL_GRACE", "5"),
            r#"the environment variable `POOL_GRACE`: "5" is not a duration such as "5s": "#,
        ),
        (
            ("POOL_QUEUE_BYTES", "64 parsecs"),
            r#"the environment variable `POOL_QUEUE_BYTES`: "64 parsecs" is not a number of bytes such as "64MiB": "#,
        ),
        (
            ("POOL_PROCESSES", "many"),
            r#"the environment variable `POOL_PROCESSES`: "many" is not a number: invalid digit found in string; or write "auto""#,
        ),
        (
            ("POOL_PROCESSES", "-1"),
            r#"the environment variable `POOL_PROCESSES`: "-1" is not a number: invalid digit found in string; or write "auto""#,
        ),
        (
            ("POOL_MAX_ATTEMPTS", "4294967296"),
            r#"the environment variable `POOL_MAX_ATTEMPTS`: "4294967296" is not a number: it is too large"#,
        ),
        (
            ("POOL_WHEN_FULL", "panic"),
            "the environment variable `POOL_WHEN_FULL`: unknown variant `panic`, expected `reject` or `wait`",
        ),
        (
            ("POOL_STDIO_STDOUT", "tee"),
            r#"the environment variable `POOL_STDIO_STDOUT`: "tee" is not an output: unknown variant `tee`, expected one of `inherit`, `null`, `lines`, `relay`; or write "auto""#,
        ),
        (
            ("POOL_CONCURENCY", "1"),
            "the environment variable `POOL_CONCURENCY`: unknown field `concurency`, expected one of `processes`, ",
        ),
        (
            ("POOL_RESTART_BUGDET", "1"),
            "the environment variable `POOL_RESTART_BUGDET`: unknown field `bugdet`, expected one of `budget`, ",
        ),
        (
            ("POOL_RESTART", "1"),
            "the environment variable `POOL_RESTART`: invalid type: string \"1\", expected struct Restart",
        ),
    ];
    for (variable, expected) in cases {
        let error = from_env(&[("POOL_CONCURRENCY", "2"), variable]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_value_in_a_file_is_refused_with_what_would_be_right() {
    for (text, expected) in [
        (
            r#"{ "grace": 5 }"#,
            r#"invalid value: integer `5`, expected a duration such as "5s""#,
        ),
        (
            r#"{ "processes": -1 }"#,
            "invalid value: integer `-1`, expected a number",
        ),
        (
            r#"{ "procesess": 1 }"#,
            "unknown field `procesess`, expected one of ",
        ),
    ] {
        let error = serde_json::from_str::<PoolConfig>(text).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let variables = [(OsString::from("POOL_GRACE"), OsString::from_vec(vec![0xff]))];
    let error = PoolConfig::from_variables("POOL", variables).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment variable `POOL_GRACE`: it is no UTF-8"
    );
}
