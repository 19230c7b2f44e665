//! Alerts told by HTTP, in the format that Alertmanager sends (version 4): every receiver of its webhooks understands it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::Failure;
use crate::monitor::alert::{Alert, Change};
use crate::monitor::report::{AlertReport, timestamp};
use crate::monitor::rule::{Rule, span_text};

/// The longest that a receiver may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest that a receiver is left alone because it has asked for it.
const ASKED_MOST: Duration = Duration::from_secs(3600);

/// One change of one alert, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub firing: bool,
    /// Milliseconds since 1970.
    pub starts_at: i64,
    pub ends_at: Option<i64>,
}

/// Where alerts are told. The URL may hold a secret and is never shown.
pub struct Webhook {
    url: hyper::Uri,
    authorization: Option<String>,
    client: Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>,
    target: String,
}

/// A notice that was not taken.
pub struct Untaken {
    pub why: String,
    /// It is of no use to try again soon: somebody has to do something first.
    pub is_refused: bool,
    /// How long the receiver has asked to be left alone.
    pub wait: Option<Duration>,
}

/// Why a receiver did not take it.
enum Refusal {
    /// It may take it soon, or after so long, which it has asked for.
    Passing(String, Option<Duration>),
    /// Somebody has to do something first: its certificate is not trusted, or its address, path or password is another now. An alert that nobody has
    /// taken is kept until somebody does.
    Refused(String, Option<Duration>),
}

impl Notice {
    pub(super) fn new(rule: &Rule, alert: &Alert, change: Change, report: &AlertReport, target: &str) -> Self {
        let labels = rule.all_labels();
        let mut annotations = rule.annotations(alert.held, Some(target));
        let summary = || {
            let held = if rule.for_ms > 0 { format!(" for {}", span_text(rule.for_ms)) } else { String::new() };
            format!("{}{held}", rule.condition.text)
        };
        annotations.entry("summary".to_string()).or_insert_with(summary);
        let value = report.value.map_or("unknown".to_string(), |value| match report.unit {
            "ratio" => format!("{:.2} %", value * 100.0),
            "bytes" => format!("{:.1} MB", value / 1e6),
            "count" => value.to_string(),
            unit => format!("{value:.1} {unit}"),
        });
        annotations.insert("value".to_string(), value);
        if let Some(source) = report.source {
            annotations.insert("source".to_string(), source.to_string());
        }
        if let Some(about) = report.about {
            annotations.entry("about".to_string()).or_insert_with(|| about.to_string());
        }
        // An end that nobody saw is told as one.
        if let Some(reason) = &report.reason {
            annotations.insert("reason".to_string(), reason.clone());
        }
        Notice {
            labels,
            annotations,
            firing: change == Change::Fired,
            // When it fired, as Prometheus says it, not since when its condition held.
            starts_at: alert.fired_at.or(alert.active_at).unwrap_or_default(),
            ends_at: alert.resolved_at.filter(|_| change == Change::Resolved),
        }
    }

    /// What tells its alert from every other: its name, and the source that it is about.
    fn group(&self) -> BTreeMap<&str, &str> {
        ["alertname", "source"].into_iter().filter_map(|name| Some((name, self.labels.get(name)?.as_str()))).collect()
    }

    /// The same for people.
    pub fn title(&self) -> String {
        self.group().into_values().collect::<Vec<_>>().join(" ")
    }

    /// The document that Alertmanager would send for it.
    pub fn document(&self, target: &str) -> Value {
        let status = if self.firing { "firing" } else { "resolved" };
        let mut labels = self.labels.clone();
        labels.insert("instance".to_string(), target.to_string());
        let identity = labels.iter().map(|(name, value)| format!("{name}\u{ff}{value}\u{ff}")).collect::<String>();
        let group = self.group();
        let group_key: Vec<String> = group.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        json!({
            "version": "4",
            "groupKey": format!("{{}}:{{{}}}", group_key.join(", ")),
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "candlefish",
            "groupLabels": group,
            "commonLabels": labels,
            "commonAnnotations": self.annotations,
            "externalURL": "",
            "alerts": [{
                "status": status,
                "labels": labels,
                "annotations": self.annotations,
                "startsAt": timestamp(self.starts_at),
                // As Alertmanager has it for what has not ended.
                "endsAt": self.ends_at.map_or("0001-01-01T00:00:00Z".to_string(), timestamp),
                "generatorURL": "",
                "fingerprint": format!("{:016x}", xxh3_64(identity.as_bytes())),
            }],
        })
    }
}

impl Webhook {
    /// `http://…` or `https://…`; a user and a password in it are sent as HTTP Basic.
    pub fn new(url: &str, target: &str) -> Result<Self> {
        let bad = |why: &str| Failure::new("bad_webhook", format!("the address of the webhook cannot be used: {why}"));
        let uri: hyper::Uri = url.parse().map_err(|_| bad("it is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            bail!(bad("it begins neither with http:// nor with https://"));
        }
        let authority = uri.authority().map_or("", hyper::http::uri::Authority::as_str);
        let (authorization, uri) = match authority.rsplit_once('@') {
            None => (None, uri),
            Some((who, server)) => {
                let who = percent_encoding::percent_decode_str(who).decode_utf8_lossy().into_owned();
                let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
                let plain = format!("{}://{server}{path}", uri.scheme_str().unwrap_or("https"));
                let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, who);
                (Some(format!("Basic {encoded}")), plain.parse().map_err(|_| bad("it is no URL"))?)
            }
        };
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("read the trusted authorities")?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(hyper_util::rt::TokioExecutor::new()).build(connector);
        Ok(Webhook { url: uri, authorization, client, target: target.to_string() })
    }

    /// Sends one notice once, and waits for its answer not past `until`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn send(&self, notice: &Notice, until: Option<Instant>) -> Result<(), Untaken> {
        let limit = until.map_or(LIMIT, |until| until.saturating_duration_since(Instant::now()).min(LIMIT));
        self.post(notice, limit).await.map_err(|refusal| match refusal {
            Refusal::Passing(why, wait) => Untaken { why, is_refused: false, wait },
            Refusal::Refused(why, wait) => Untaken { why, is_refused: true, wait },
        })
    }

    async fn post(&self, notice: &Notice, limit: Duration) -> Result<(), Refusal> {
        let body = notice.document(&self.target).to_string();
        let mut request = hyper::Request::post(self.url.clone())
            .header("content-type", "application/json")
            .header("user-agent", concat!("candlefish/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(bytes::Bytes::from(body))).map_err(|error| Refusal::Refused(error.to_string(), None))?;
        let answer = tokio::time::timeout(limit, self.client.request(request)).await;
        let answer = match answer {
            Err(_) => return Err(Refusal::Passing(format!("no answer within {:.0} s", limit.as_secs_f64()), None)),
            Ok(Err(error)) => {
                let causes = || std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |error| error.source());
                let cause = causes().nth(1).map_or_else(|| error.to_string(), ToString::to_string);
                return Err(if causes().any(is_untrusted) { Refusal::Refused(cause, None) } else { Refusal::Passing(cause, None) });
            }
            Ok(Ok(answer)) => answer,
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = asked.and_then(|asked| wait_of(asked, jiff::Timestamp::now())).map(|wait| wait.min(ASKED_MOST));
        let asks = wait.map_or(String::new(), |wait| format!(" and asks to wait {} s", wait.as_secs()));
        let why = format!("it answered {status}{asks}");
        Err(match status.as_u16() {
            408 | 429 | 500..=599 => Refusal::Passing(why, wait),
            _ => Refusal::Refused(why, wait),
        })
    }
}

/// The receiver is not who it should be, or does not say so by a certificate that is trusted here.
fn is_untrusted(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    of_io.is_some_and(|inner| inner.is::<rustls::Error>())
}

/// What `Retry-After` says: seconds, or a date.
fn wait_of(asked: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = asked.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(asked.trim()).ok()?.timestamp();
    Some(Duration::from_secs((at.as_second() - now.as_second()).try_into().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_asks_to_wait_for_seconds_or_until_a_date() {
        let now = jiff::Timestamp::from_second(784_111_777 - 60).unwrap();
        let waits = ["120", " 0 ", "Sun, 06 Nov 1994 08:49:37 GMT", "Sat, 05 Nov 1994 08:49:37 GMT", "soon", "-1"];
        let seconds = waits.map(|asked| wait_of(asked, now).map(|wait| wait.as_secs()));
        assert_eq!(seconds, [Some(120), Some(0), Some(60), Some(0), None, None]);
    }
}
