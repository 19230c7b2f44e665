//! The watch over HTTP: a page to look at, metrics for Prometheus, the status for programs. Nothing here asks a database: it serves the last sample.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::model::Failure;
use crate::monitor::Monitor;
use crate::monitor::exposition::exposition;
use crate::monitor::report::Status;
use crate::monitor::seats;

/// One file: no other is asked for, from here or from anywhere.
const PAGE: &str = include_str!("page.html");

/// The page runs its own script, and talks to nobody but us.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Asks for the token, in a browser that has none.
const PROMPT: &str = include_str!("token.html");

/// The prompt sends its one field here, and runs nothing.
const PROMPT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What who asks has to know; never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// # Errors
    /// It is shorter than 16 characters, or has others than those of a header in it.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.len() < 16
            || !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'&' | b'#' | b'%' | b'+'))
        {
            let failure =
                Failure::new("bad_token", "the token is shorter than 16 characters, or holds others than letters, digits and plain signs");
            bail!(failure.hint("Make one: openssl rand -hex 24 > token"));
        }
        Ok(Token(text.to_string()))
    }

    /// Takes as long for a wrong one as for the right one.
    fn is(&self, given: &str) -> bool {
        let differs = self.0.bytes().zip(given.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
        given.len() == self.0.len() && differs == 0
    }
}

/// The last sample, ready to be given out.
#[derive(Default)]
struct Served {
    status: String,
    history: String,
    metrics: String,
    /// When it was taken, and when the next one is due at the latest.
    due: Option<(Instant, Duration)>,
}

#[derive(Clone)]
struct Shared {
    served: Arc<RwLock<Served>>,
    token: Option<Token>,
}

/// Listens until it is dropped.
pub struct Server {
    shared: Shared,
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// `address`: `127.0.0.1:9187`, `:9187` or `9187` (loopback both), `0.0.0.0:9187` with a token.
    ///
    /// # Errors
    /// Others than this machine could ask and there is no token; somebody else listens there.
    pub async fn listen(address: &str, token: Option<Token>) -> Result<Self> {
        let text = match address.strip_prefix(':').unwrap_or(address) {
            port if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
            _ => address.to_string(),
        };
        let wrong =
            || Failure::new("bad_address", format!("{address:?} is no address to listen at")).hint("Write 127.0.0.1:9187, or a port.");
        let socket: SocketAddr = tokio::net::lookup_host(&text).await.ok().and_then(|mut found| found.next()).ok_or_else(wrong)?;
        if !socket.ip().is_loopback() && token.is_none() {
            let failure = Failure::new("token_needed", format!("{socket} can be reached from other machines, and there is no token"));
            bail!(failure.hint("Give one with --token-file FILE, or listen at 127.0.0.1."));
        }
        let listener = tokio::net::TcpListener::bind(socket).await.with_context(|| format!("listen at {socket}"))?;
        let address = listener.local_addr().context("ask where it listens")?;
        let shared = Shared { served: Arc::default(), token };
        let app = Router::new()
            .route(PAGES[0], get(page))
            .route(PAGES[1], get(metrics))
            .route(PAGES[2], get(status))
            .route(PAGES[3], get(history))
            .layer(from_fn_with_state(shared.clone(), admit))
            .route("/token", post(enter))
            .route("/healthz", get(health))
            .with_state(shared.clone());
        let app = app.layer(from_fn(in_time));
        Ok(Server { shared, address, task: tokio::spawn(seats::serve(listener, app)) })
    }

    /// Takes the newest in the place of the one before.
    pub fn publish(&self, status: &Status, monitor: &Monitor, interval: Duration) {
        let document = with_head(status);
        let history = json!({ "points": monitor.history() }).to_string();
        let metrics = monitor.last().map_or(String::new(), |sample| exposition(sample, status));
        let mut served = self.shared.served.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *served = Served { status: document, history, metrics, due: Some((Instant::now(), interval * 3 + Duration::from_secs(10))) };
    }
}

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

async fn in_time(request: Request, next: Next) -> Response {
    let late = || (StatusCode::REQUEST_TIMEOUT, "it took too long\n").into_response();
    tokio::time::timeout(ANSWER_LIMIT, next.run(request)).await.unwrap_or_else(|_| late())
}

/// The status as a document.
fn with_head(status: &Status) -> String {
    let mut document = json!({ "schema_version": 1, "candlefish_version": env!("CARGO_PKG_VERSION") });
    if let (Value::Object(document), Ok(Value::Object(body))) = (&mut document, serde_json::to_value(status)) {
        document.extend(body);
    }
    document.to_string()
}

/// Who may ask: with a token whoever knows it; without one, this machine, by its own name (a page elsewhere can make a browser ask by another).
async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let refused = |status: StatusCode, why: &'static str| (status, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response();
    let Some(token) = &shared.token else {
        if !is_named_loopback(headers) {
            return refused(StatusCode::FORBIDDEN, "ask by localhost or 127.0.0.1, or give the monitor a token\n");
        }
        return next.run(request).await;
    };
    let name = cookie_name(headers);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookie = text(header::COOKIE)
        .and_then(|cookies| cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(name.as_str())?.strip_prefix('=')));
    let query = request.uri().query().and_then(written_token);
    if ![bearer, cookie, query.as_deref()].into_iter().flatten().any(|given| token.is(given)) {
        let is_browser = text(header::ACCEPT).is_some_and(|accepted| accepted.contains("text/html"));
        if request.uri().path() == "/" && is_browser {
            return prompt(if query.is_some() { WRONG } else { "" });
        }
        return refused(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer …, or once /?token=…\n");
    }
    // Only to a page of ours: a path may name another host (//host/).
    match PAGES.into_iter().find(|page| *page == request.uri().path()) {
        Some(page) if query.as_deref().is_some_and(|given| token.is(given)) => kept(&name, token, page),
        _ => next.run(request).await,
    }
}

/// What wants the token.
const PAGES: [&str; 4] = ["/", "/metrics", "/api/v1/status", "/api/v1/history"];

const WRONG: &str = "<p class=\"bad\" role=\"alert\">That is not the token.</p>";

fn prompt(said: &'static str) -> Response {
    let text = PROMPT.replace("<!-- said -->", said);
    (StatusCode::UNAUTHORIZED, document("text/html; charset=utf-8", PROMPT_POLICY, text)).into_response()
}

/// What the prompt sends.
async fn enter(State(shared): State<Shared>, headers: HeaderMap, form: String) -> Response {
    match (&shared.token, written_token(&form)) {
        (None, _) => StatusCode::NOT_FOUND.into_response(),
        (Some(token), Some(given)) if token.is(given.trim()) => kept(&cookie_name(&headers), token, "/"),
        _ => prompt(WRONG),
    }
}

/// `token=…` among pairs, as browsers write them.
fn written_token(pairs: &str) -> Option<String> {
    let written = pairs.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    percent_encoding::percent_decode_str(written).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The browser keeps the token, and the address no longer shows it. It comes with links from elsewhere too: nothing here can be changed by one.
fn kept(name: &str, token: &Token, path: &str) -> Response {
    let cookie = format!("{name}={}; HttpOnly; SameSite=Lax; Path=/", token.0);
    (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, path.to_string())]).into_response()
}

/// Browsers give a host's cookies to each of its ports: two monitors on one host have two names.
fn cookie_name(headers: &HeaderMap) -> String {
    format!("candlefish-{}", asked(headers).and_then(|(_, port)| port).unwrap_or("80"))
}

/// Host and port as whoever asks has them.
fn asked(headers: &HeaderMap) -> Option<(&str, Option<&str>)> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let with_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    Some(with_port.map_or((host, None), |(name, port)| (name, Some(port))))
}

fn is_named_loopback(headers: &HeaderMap) -> bool {
    let Some((name, _)) = asked(headers) else { return false };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn given(kind: &'static str, text: String) -> Response {
    document(kind, POLICY, text)
}

fn document(kind: &'static str, policy: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Body::from(text)).into_response()
}

async fn page() -> Response {
    given("text/html; charset=utf-8", PAGE.to_string())
}

async fn metrics(State(shared): State<Shared>) -> Response {
    part(&shared, "text/plain; version=0.0.4; charset=utf-8", |served| served.metrics.clone())
}

async fn status(State(shared): State<Shared>) -> Response {
    part(&shared, "application/json", |served| served.status.clone())
}

async fn history(State(shared): State<Shared>) -> Response {
    part(&shared, "application/json", |served| served.history.clone())
}

fn part(shared: &Shared, kind: &'static str, of: fn(&Served) -> String) -> Response {
    let served = shared.served.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    if served.due.is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the first sample is being taken\n").into_response();
    }
    given(kind, of(&served))
}

/// 200 as long as samples come; whether what they say is good is another question.
async fn health(State(shared): State<Shared>) -> Response {
    let served = shared.served.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    match served.due {
        Some((at, limit)) if at.elapsed() <= limit => "ok\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "no sample was taken for too long\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_are_loopback() {
        let asks = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_named_loopback(&headers)
        };
        assert!(asks("localhost:9187") && asks("127.0.0.1") && asks("[::1]:80") && asks("127.1.2.3:1"));
        assert!(!asks("evil.example:9187") && !asks("localhost.evil.example") && !asks("10.0.0.1:9187"));
    }

    #[test]
    fn a_token_is_long_and_compared_whole() {
        assert!(Token::new("short").is_err() && Token::new("0123456789abcdef;").is_err());
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef") && !token.is("0123456789abcdeX") && !token.is("0123456789abcdef0") && !token.is(""));
    }

    #[test]
    fn the_page_asks_nobody_else() {
        assert!(!PROMPT.contains("http") && !PROMPT.contains("src="));
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("src=") && !PAGE.contains("@import"));
    }
}
