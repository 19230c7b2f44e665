//! The way to Redis: one connection for values, a deadline of its own for every call, and a breaker. While the link is down every call is refused
//! at once; whoever heals it ([`backplane`](super::backplane)) puts a connection in again, after making sure of the server's epoch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue, RedisResult, Value};
use tokio::sync::{Notify, Semaphore};

use crate::store::chance;
use crate::store::config::Announce;
use crate::store::declared::Tag;

/// Failures in a row after which Redis is given a rest, each of a call that began when the one before had failed: calls that were under way together
/// met the same stall, and say so once.
const FAILURES: u32 = 3;

/// And how long there was no answer. A shorter stall is none: a busy machine has them all the time.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a token lives that nobody bumps; entries live shorter.
pub(super) const TOKEN_MS: u64 = 48 * 3600 * 1000;

/// How long a lease lives; its holder makes it live on.
pub(super) const LEASE_MS: u64 = 2000;

/// So many leases are given back at a time; what is beyond that ends by itself.
const GIVEN_BACK: usize = 32;

/// The key of the names of a namespace's instances: whoever looks at the fleet need not search all of Redis for it.
pub(super) fn instances_key(namespace: &str) -> String {
    format!("{namespace}:i")
}

/// Where an instance of the namespace leaves its status.
pub(super) fn status_key(namespace: &str, instance: &str) -> String {
    format!("{namespace}:m:{instance}")
}

pub(super) struct Link {
    pub client: Client,
    namespace: String,
    /// The namespace among whose instances this one is named.
    announced_in: String,
    /// This instance's name in Redis.
    pub instance: String,
    /// The longest that a look takes.
    pub deadline: Duration,
    connection: RwLock<Option<MultiplexedConnection>>,
    /// The server's; entries of another one are not used.
    epoch: AtomicU64,
    silence: Mutex<Option<Silence>>,
    /// There is one: asked with every answer.
    is_silent: AtomicBool,
    /// Times that the breaker opened.
    pub opened: AtomicU64,
    /// Woken when the link goes down.
    pub down: Notify,
    giving_back: Arc<Semaphore>,
}

/// Calls that failed, and none between them that did not.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// When the first of them began.
    since: Instant,
    /// When the last that counts had failed.
    last: Instant,
    failures: u32,
}

impl Silence {
    /// With one more call that failed.
    fn and(silence: Option<Silence>, began: Instant, now: Instant) -> Silence {
        match silence {
            None => Silence { since: began, last: now, failures: 1 },
            Some(silence) if began >= silence.last => Silence { last: now, failures: silence.failures + 1, ..silence },
            Some(silence) => silence,
        }
    }

    fn is_loss(&self, now: Instant) -> bool {
        self.failures >= FAILURES && now.saturating_duration_since(self.since) >= PATIENCE
    }
}

/// Redis did not do it, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// Nothing was sent, or Redis refused it.
    NotDone,
    /// It was sent, and nobody heard what became of it.
    Unheard,
}

/// What a tag is, in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Absent,
    /// Somebody is writing.
    Pending,
    Is(u64),
}

/// A right to load, given back when it is dropped: however the load ends, and when its asker leaves midway.
pub(super) struct HeldLease {
    link: Arc<Link>,
    key: u128,
    who: u64,
    is_over: bool,
}

impl HeldLease {
    pub fn new(link: &Arc<Link>, key: u128, who: u64) -> Self {
        HeldLease { link: link.clone(), key, who, is_over: false }
    }

    /// It ended with an answer that was kept.
    pub fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.give_back(self.key, self.who);
        }
    }
}

/// Who loads, and under which tokens.
pub(super) enum Lease {
    Mine(Vec<Token>),
    Others(Vec<Token>),
    /// Somebody has kept an answer since this one looked.
    LookAgain,
}

/// What one look brings.
#[derive(Clone)]
pub(super) struct Look {
    pub value: Option<Bytes>,
    pub tokens: Vec<Token>,
    pub is_leased: bool,
}

impl Link {
    pub fn new(client: Client, namespace: &str, announce: Option<&Announce>, deadline: Duration) -> Self {
        let name = announce.map_or(String::new(), |announce| format!("{}-", announce.name));
        Link {
            client,
            namespace: namespace.to_string(),
            announced_in: announce.map_or(namespace, |announce| &announce.namespace).to_string(),
            instance: format!("{name}{:016x}", chance::token()),
            deadline,
            connection: RwLock::new(None),
            epoch: AtomicU64::new(0),
            silence: Mutex::new(None),
            is_silent: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            down: Notify::new(),
            giving_back: Arc::new(Semaphore::new(GIVEN_BACK)),
        }
    }

    pub fn key(&self, what: &str) -> String {
        [self.namespace.as_str(), ":", what].concat()
    }

    fn tag_key(&self, tag: &Tag) -> String {
        [self.namespace.as_str(), ":t:", &tag.text].concat()
    }

    fn tag_keys(&self, tags: &[Tag]) -> Vec<String> {
        tags.iter().map(|tag| self.tag_key(tag)).collect()
    }

    pub fn value_key(&self, key: u128) -> String {
        self.hex_key(":v:", key)
    }

    fn lease_key(&self, key: u128) -> String {
        self.hex_key(":l:", key)
    }

    fn hex_key(&self, what: &str, key: u128) -> String {
        let digit = |at: u32| char::from(b"0123456789abcdef"[(key >> (124 - 4 * at)) as usize & 15]);
        let mut text = String::with_capacity(self.namespace.len() + what.len() + 32);
        text.push_str(&self.namespace);
        text.push_str(what);
        text.extend((0..32).map(digit));
        text
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub fn is_up(&self) -> bool {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// To be called when this connection's server has said its epoch.
    pub fn connected(&self, connection: MultiplexedConnection, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
        self.answered();
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    pub fn disconnect(&self) {
        if self.connection.write().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            self.opened.fetch_add(1, Ordering::Relaxed);
            self.down.notify_one();
        }
    }

    fn connection(&self) -> Result<MultiplexedConnection, Unavailable> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Unavailable::NotDone)
    }

    fn answered(&self) {
        if self.is_silent.load(Ordering::Relaxed) {
            *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.is_silent.store(false, Ordering::Relaxed);
        }
    }

    /// A call that began then has failed: is that one too many?
    fn is_lost_with(&self, began: Instant) -> bool {
        let now = Instant::now();
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = Silence::and(*silence, began, now);
        *silence = Some(grown);
        self.is_silent.store(true, Ordering::Relaxed);
        grown.is_loss(now)
    }

    /// One command, within the deadline.
    async fn call<T: FromRedisValue>(&self, command: &Cmd, deadline: Duration) -> Result<T, Unavailable> {
        let mut connection = self.connection()?;
        let began = Instant::now();
        let answer: Option<RedisResult<T>> = tokio::time::timeout(deadline, command.query_async(&mut connection)).await.ok();
        match answer {
            Some(Ok(answer)) => {
                self.answered();
                Ok(answer)
            }
            failed => {
                let is_broken = matches!(&failed, Some(Err(error)) if error.is_connection_dropped() || error.is_io_error());
                if self.is_lost_with(began) || is_broken {
                    self.disconnect();
                }
                Err(if failed.is_none() || is_broken { Unavailable::Unheard } else { Unavailable::NotDone })
            }
        }
    }

    /// The value and the tokens of its tags, in one round trip; and whether somebody loads it, where that is asked.
    pub async fn look(&self, key: u128, tags: &[Tag], with_lease: bool) -> Result<Look, Unavailable> {
        let mut command = redis::cmd("MGET");
        command.arg(self.value_key(key));
        for tag in tags {
            command.arg(self.tag_key(tag));
        }
        if with_lease {
            command.arg(self.lease_key(key));
        }
        let mut values: Vec<Value> = self.call(&command, self.deadline).await?;
        let is_leased = with_lease && values.pop().is_some_and(|lease| lease != Value::Nil);
        let tokens = values.drain(1..).map(|value| token(&value)).collect();
        let value = match values.pop() {
            Some(Value::BulkString(value)) => Some(Bytes::from(value)),
            _ => None,
        };
        Ok(Look { value, tokens, is_leased })
    }

    /// Asks for the right to load, and for the tokens to load under. `seen`: the value that was found wanting.
    pub async fn lease(&self, key: u128, tags: &[Tag], who: u64, seen: Option<&Bytes>) -> Result<Lease, Unavailable> {
        let mut command = script(include_str!("scripts/lease.lua"), 3 + tags.len());
        command.arg(self.lease_key(key)).arg(self.key("q")).arg(self.value_key(key));
        command.arg(self.tag_keys(tags));
        // Its checksum is in there.
        let began = seen.map_or(&b""[..], |value| &value[..value.len().min(12)]);
        command.arg(format!("{who:016x}")).arg(LEASE_MS).arg(TOKEN_MS).arg(began);
        command.arg(new_tokens(tags.len()));
        let values: Vec<Value> = self.call(&command, self.deadline).await?;
        let tokens = values.iter().skip(1).map(token).collect();
        Ok(match values.first() {
            Some(Value::BulkString(word)) if word == b"L" => Lease::LookAgain,
            Some(Value::BulkString(word)) if word == b"1" => Lease::Mine(tokens),
            _ => Lease::Others(tokens),
        })
    }

    /// Gives a lease back beside whatever else goes on, as long as it could live. One command, which a Redis that is merely slow does after the lease
    /// itself, and again only where the connection breaks. How it goes says nothing to the breaker.
    pub fn give_back(self: &Arc<Self>, key: u128, who: u64) {
        // Dropped with its runtime, it ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Ok(place) = self.giving_back.clone().try_acquire_owned() else { return };
        let link = self.clone();
        runtime.spawn(async move {
            let command = link.keeping(key, b"", 1, who, &[], &[]);
            let given = async {
                let mut pause = Duration::from_millis(50);
                loop {
                    if let Ok(mut connection) = link.connection()
                        && command.query_async::<Value>(&mut connection).await.is_ok()
                    {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            };
            // What is not given back by then has ended.
            let _ = tokio::time::timeout(Duration::from_millis(LEASE_MS), given).await;
            drop(place);
        });
    }

    /// Makes the lease live on.
    pub async fn renew(&self, key: u128) {
        let mut command = redis::cmd("PEXPIRE");
        // Whether it did does not matter: a lease that ends early costs a second load, and no more.
        let _: Result<Value, Unavailable> = self.call(command.arg(self.lease_key(key)).arg(LEASE_MS), self.deadline).await;
    }

    /// Keeps a value if its tags are as they were, and gives the lease back; without a value only that. `life`: milliseconds.
    pub async fn keep(&self, key: u128, value: &[u8], life: u64, who: u64, tags: &[Tag], tokens: &[u64]) -> Result<bool, Unavailable> {
        self.call(&self.keeping(key, value, life, who, tags, tokens), self.deadline).await
    }

    fn keeping(&self, key: u128, value: &[u8], life: u64, who: u64, tags: &[Tag], tokens: &[u64]) -> Cmd {
        let mut command = script(include_str!("scripts/keep.lua"), 2 + tags.len());
        command.arg(self.value_key(key)).arg(self.lease_key(key));
        command.arg(self.tag_keys(tags));
        command.arg(value).arg(life.max(1)).arg(format!("{who:016x}"));
        command.arg(tokens.iter().map(|token| format!("{token:016x}")).collect::<Vec<_>>());
        command
    }

    /// The same without looking at the tags' tokens of before: the mistake that the fence prevents, for the checker.
    #[cfg(debug_assertions)]
    pub async fn keep_unfenced(&self, key: u128, value: &[u8], life: u64, tags: &[Tag]) -> Result<bool, Unavailable> {
        let look = self.look(key, tags, false).await?;
        let tokens =
            look.tokens.iter().filter_map(|token| if let Token::Is(token) = token { Some(*token) } else { None }).collect::<Vec<_>>();
        let value = crate::store::entry::Packed::unpack(key, Bytes::copy_from_slice(value), usize::MAX)
            .map(|packed| crate::store::entry::Packed { tokens: tokens.clone(), ..packed }.pack(key));
        self.keep(key, value.as_deref().unwrap_or_default(), life, 0, tags, &tokens).await
    }

    /// Before COMMIT: the tags are pending for this writer, for at most `limit`.
    pub async fn begin(&self, tags: &[Tag], writer: u64, limit: Duration) -> Result<(), Unavailable> {
        let mut command = script(include_str!("scripts/begin.lua"), 1 + tags.len());
        command.arg(self.key("n"));
        command.arg(self.tag_keys(tags));
        command.arg(format!("{writer:016x}")).arg(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)).arg(self.key("b"));
        command.arg(format!("- {}", told(tags)));
        self.call::<Value>(&command, self.deadline * 4).await.map(drop)
    }

    /// After COMMIT, or for an invalidation by itself: new tokens, and everybody is told. `once`: by this mark, for all who ask.
    /// Gives how many were told.
    pub async fn bump(&self, tags: &[Tag], writer: Option<u64>, once: Option<String>, ack: Option<&str>) -> Result<usize, Unavailable> {
        let mut command = script(include_str!("scripts/bump.lua"), 2 + tags.len());
        command.arg(self.key("n")).arg(once.map_or(String::new(), |mark| self.key(&format!("o:{mark}"))));
        command.arg(self.tag_keys(tags));
        command.arg(writer.map_or("-".to_string(), |writer| format!("{writer:016x}"))).arg(TOKEN_MS).arg(self.key("b"));
        command.arg(format!("{} {}", ack.unwrap_or("-"), told(tags)));
        command.arg(new_tokens(tags.len()));
        self.call(&command, self.deadline * 4).await
    }

    /// Tells everybody something that is not of tags: `G GLOB`, `A`. Gives how many were told.
    pub async fn tell(&self, ack: Option<&str>, what: &str) -> Result<usize, Unavailable> {
        let mut command = script(include_str!("scripts/tell.lua"), 1);
        command.arg(self.key("n")).arg(self.key("b")).arg(format!("{} {what}", ack.unwrap_or("-")));
        self.call(&command, self.deadline * 4).await
    }

    /// The keys under a pattern, a step at a time: where to go on (0: the end), and those found.
    pub async fn scan(&self, cursor: u64, pattern: &str) -> Result<(u64, Vec<Vec<u8>>), Unavailable> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(500);
        self.call(&command, Duration::from_secs(1)).await
    }

    /// The pattern of all keys that begin so; `glob` is one already.
    pub fn pattern(&self, glob: &str) -> String {
        format!("{}:{glob}", escaped(&self.namespace))
    }

    /// The text of a tag, of its key.
    pub fn tag_of_key<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.namespace)?.strip_prefix(":t:")
    }

    pub async fn unlink(&self, keys: &[Vec<u8>]) -> Result<u64, Unavailable> {
        let mut command = redis::cmd("UNLINK");
        command.arg(keys);
        self.call(&command, Duration::from_secs(1)).await
    }

    /// Asks to hear back, on this instance's own channel. False: the epoch is another one.
    pub async fn heartbeat(&self, sent: u64) -> Result<bool, Unavailable> {
        let mut command = script(include_str!("scripts/heartbeat.lua"), 2);
        command.arg(self.key("n")).arg(self.key("e")).arg(self.own_channel()).arg(sent);
        let epoch: String = self.call(&command, Duration::from_millis(500)).await?;
        Ok(u64::from_str_radix(&epoch, 16) == Ok(self.epoch()))
    }

    pub fn own_channel(&self) -> String {
        self.key(&format!("b:{}", self.instance))
    }

    /// Ends the server's epoch: every instance makes sure of a new one, and nothing of before is used.
    pub async fn end_epoch(&self) -> Result<(), Unavailable> {
        self.call::<Value>(redis::cmd("DEL").arg(self.key("e")), self.deadline * 4).await.map(|_| self.disconnect())
    }

    /// Says that this instance has done what was asked under this name.
    pub async fn acknowledge(&self, ack: &str) {
        let mut command = script("redis.call('INCR', KEYS[1]) return redis.call('PEXPIRE', KEYS[1], 10000)", 1);
        // Who asked counts those who said so, and no others.
        let _: Result<Value, Unavailable> = self.call(command.arg(self.key(&format!("a:{ack}"))), self.deadline * 4).await;
    }

    pub async fn acknowledged(&self, ack: &str) -> Result<usize, Unavailable> {
        let count: Option<usize> = self.call(redis::cmd("GET").arg(self.key(&format!("a:{ack}"))), self.deadline * 4).await?;
        Ok(count.unwrap_or(0))
    }

    /// What the live instances left of themselves.
    pub async fn statuses(&self) -> Result<Vec<String>, Unavailable> {
        let list = instances_key(&self.announced_in);
        let names: Vec<String> = self.call(redis::cmd("ZRANGE").arg(list).arg(0).arg(-1), Duration::from_secs(1)).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = names.iter().map(|name| status_key(&self.announced_in, name)).collect();
        let texts: Vec<Option<String>> = self.call(redis::cmd("MGET").arg(&keys), Duration::from_secs(1)).await?;
        Ok(texts.into_iter().flatten().collect())
    }

    /// Leaves a text for a short life, and this instance's name among those that leave one. Names that nobody renewed for an hour go.
    pub async fn publish_status(&self, text: &str, life: Duration) -> Result<(), Unavailable> {
        let mut command = redis::cmd("SET");
        command
            .arg(status_key(&self.announced_in, &self.instance))
            .arg(text)
            .arg("PX")
            .arg(u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1));
        self.call::<Value>(&command, self.deadline * 4).await?;
        let (names, now) = (instances_key(&self.announced_in), crate::store::entry::wall_ms());
        self.call::<Value>(redis::cmd("ZADD").arg(&names).arg(now).arg(&self.instance), self.deadline * 4).await?;
        let mut forget = redis::cmd("ZREMRANGEBYSCORE");
        forget.arg(&names).arg("-inf").arg(now.saturating_sub(3_600_000));
        self.call::<Value>(&forget, self.deadline * 4).await.map(drop)
    }
}

/// Makes sure of the epoch of this connection's server, before it is used for anything else.
pub(super) async fn epoch_of(connection: &mut MultiplexedConnection, keys: [String; 2]) -> RedisResult<u64> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim().to_string();
    if run_id.is_empty() {
        // Then nobody could tell when it was restarted, or another took its place.
        return Err((redis::ErrorKind::Client, "the server does not say which run it is").into());
    }
    let mut command = script(include_str!("scripts/epoch.lua"), 2);
    let epoch: String = command.arg(&keys).arg(run_id).arg(format!("{:016x}", chance::token())).query_async(connection).await?;
    Ok(u64::from_str_radix(&epoch, 16).unwrap_or_default())
}

fn new_tokens(count: usize) -> Vec<String> {
    (0..count).map(|_| format!("{:016x}", chance::token())).collect()
}

/// A script and the number of its keys. Redis keeps its compiled form.
fn script(text: &str, keys: usize) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys);
    command
}

fn token(value: &Value) -> Token {
    match value {
        Value::BulkString(text) if text.first() == Some(&b'P') => Token::Pending,
        Value::BulkString(text) => {
            let number = std::str::from_utf8(text).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            number.map_or(Token::Pending, Token::Is)
        }
        _ => Token::Absent,
    }
}

/// A text that matches itself alone, as a glob.
pub(super) fn escaped(text: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            glob.push('\\');
        }
        glob.push(character);
    }
    glob
}

/// Tags as a message: the hashes that instances know them by.
fn told(tags: &[Tag]) -> String {
    let mut text = "T".to_string();
    tags.iter().for_each(|tag| text.push_str(&format!(" {:x}", tag.hash)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_were_under_way_together_count_once_and_a_short_stall_is_no_loss() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let after = |calls: &[(u64, u64)]| {
            calls.iter().fold(None, |silence, (began, failed)| Some(Silence::and(silence, at(*began), at(*failed)))).unwrap()
        };
        // A hundred in flight when it stalled for 30 ms.
        let together: Vec<(u64, u64)> = (0..100).map(|call| (call / 10, 15 + call / 10)).collect();
        assert_eq!(after(&together).failures, 1);
        assert!(!after(&together).is_loss(at(500)));
        // One after another, but all of them within a moment.
        let quick = after(&[(0, 15), (15, 30), (30, 45), (45, 60)]);
        assert!(quick.failures == 4 && !quick.is_loss(at(60)) && quick.is_loss(at(100)));
        // Few calls, far apart, and none answered.
        assert!(after(&[(0, 60), (200, 260), (400, 460)]).is_loss(at(460)));
    }
}
