//! Observers beside a load: each fetches one page of HTTP again and again, as Prometheus and an open web page do.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::Agent;
use url::Url;

use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::load::{Phase, Stage, join_all, spawn_small};

/// Time from the beginning of one fetch to that of the next.
const EVERY: Duration = Duration::from_secs(1);
/// How long a fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(60);
/// How long an observer sleeps before it looks whether the load has ended.
const NAP: Duration = Duration::from_millis(20);
/// Maximum length of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// `http://[USER:PASSWORD@]HOST:PORT/PATH?QUERY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    url: String,
    /// The value of the header `Authorization`.
    login: Option<String>,
}

impl FromStr for Observed {
    type Err = String;

    fn from_str(text: &str) -> Result<Observed, String> {
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.scheme() != "http" {
            return Err("expected http://[USER:PASSWORD@]HOST:PORT/PATH".to_owned());
        }
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = url.password().map(|password| {
            let login = format!("{}:{}", decoded(url.username()), decoded(password));
            format!("Basic {}", BASE64_STANDARD.encode(login))
        });
        // A URL with a host takes a login, and so it loses one.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| "it has no host".to_owned())?;
        Ok(Observed {
            url: url.into(),
            login,
        })
    }
}

impl Display for Observed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Observed {
    /// Fetches the page, and returns its length in bytes.
    fn fetch(&self, agent: &Agent) -> Result<u64, BenchError> {
        let failed = |error: ureq::Error| BenchError::Unexpected(format!("{self}: {error}"));
        let mut request = agent.get(&self.url);
        if let Some(login) = &self.login {
            request = request.header("Authorization", login);
        }
        let mut answer = request.call().map_err(failed)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        Ok(body.read_to_vec().map_err(failed)?.len() as u64)
    }
}

/// What observers have seen.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    /// Of each fetch, from the request to the last byte.
    pub(crate) latencies: Latencies,
    pub(crate) bytes: u64,
}

/// Observers at work.
pub(crate) struct Observers {
    stage: Arc<Stage>,
    threads: Vec<JoinHandle<Result<Observations, BenchError>>>,
}

impl Observers {
    /// Starts a thread for each page.
    pub(crate) fn start(pages: &[Observed]) -> Result<Observers, BenchError> {
        let stage = Arc::new(Stage::new(0));
        let start = |page: &Observed| {
            let (page, stage) = (page.clone(), stage.clone());
            spawn_small("observer", move || observe(&page, &stage))
        };
        let threads = pages.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Observers { stage, threads })
    }

    /// Ends them.
    ///
    /// # Errors
    /// When a fetch has failed.
    pub(crate) fn stop(self) -> Result<Observations, BenchError> {
        self.stage.enter(Phase::End);
        let mut all = Observations::default();
        for one in join_all(self.threads)? {
            all.latencies.merge(&one.latencies);
            all.bytes += one.bytes;
        }
        Ok(all)
    }
}

fn observe(page: &Observed, stage: &Stage) -> Result<Observations, BenchError> {
    let config = Agent::config_builder().timeout_global(Some(FETCH_MAX));
    let agent = Agent::new_with_config(config.build());
    let mut seen = Observations::default();
    let mut next = Instant::now();
    while stage.phase() < Phase::End {
        if Instant::now() < next {
            std::thread::sleep(NAP);
            continue;
        }
        let begun = Instant::now();
        seen.bytes += page.fetch(&agent)?;
        seen.latencies.record(begun.elapsed());
        next += EVERY;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_login_or_none() {
        let page: Observed = "http://guest:p%40ss@127.0.0.1:15672/api/queues?page=1"
            .parse()
            .unwrap();
        assert_eq!(page.to_string(), "http://127.0.0.1:15672/api/queues?page=1");
        let login = BASE64_STANDARD.encode("guest:p@ss");
        assert_eq!(page.login, Some(format!("Basic {login}")));
        let page: Observed = "http://127.0.0.1:15692/metrics".parse().unwrap();
        assert_eq!(page.login, None);
        for text in ["127.0.0.1:15692", "https://h/metrics", "file:///metrics"] {
            assert!(text.parse::<Observed>().is_err(), "{text}");
        }
    }
}
