//! How instances hear of each other's invalidations: Redis's pub/sub, in order, with a count of messages and a heartbeat that shows how far one has
//! heard. Whatever may have been missed (a gap, a reconnection, another server) ends the instance's epoch: nothing of before is used.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use globset::GlobMatcher;
use redis::Msg;
use redis::aio::MultiplexedConnection;

use crate::store::l1::L1;
use crate::store::outbox::Outbox;
use crate::store::redis_link::{Link, epoch_of};
use crate::store::validity::{Validity, now_ms};

const BEAT: Duration = Duration::from_millis(150);
/// Silence after which the connection is given up.
const SILENCE: Duration = Duration::from_millis(1000);
/// Between tries to connect, and for each.
const PAUSE: Duration = Duration::from_millis(100);
const TRY: Duration = Duration::from_millis(500);

pub(super) struct Backplane {
    pub link: Arc<Link>,
    pub validity: Arc<Validity>,
    pub l1: Arc<L1>,
    pub outbox: Arc<Outbox>,
}

impl Backplane {
    /// Connects, hears, and connects again, for ever.
    pub async fn run(self) {
        loop {
            // What went wrong shows in the link's state; there is nobody here to tell.
            let _why = self.hear().await;
            self.link.disconnect();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hear(&self) -> Result<()> {
        let connect = async {
            let (connection, epoch) = self.reach().await?;
            let mut hearing = self.link.client.get_async_pubsub().await?;
            hearing.subscribe(&[self.link.key("b"), self.link.own_channel()]).await?;
            Ok::<_, redis::RedisError>((connection, epoch, hearing))
        };
        let (connection, epoch, hearing) = tokio::time::timeout(TRY, connect).await.context("connect to Redis")??;
        // From here on everything is heard; of what was before, nobody knows.
        self.validity.invalidate_all();
        self.link.connected(connection, epoch);
        self.outbox.tell_what_is_left(&self.link).await;
        let mut messages = hearing.into_on_message();
        let mut last: Option<u64> = None;
        let mut heard = tokio::time::Instant::now();
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut again: Option<BoxFuture<'_, Result<()>>> = None;
        loop {
            let back = async {
                match &mut again {
                    Some(again) => again.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                message = messages.next() => {
                    heard = self.handle(&message.context("Redis hung up")?, &mut last)?.unwrap_or(heard);
                }
                back = back => {
                    back?;
                    again = None;
                }
                () = self.link.down.notified() => {
                    if !self.link.is_up() {
                        again = Some(self.connect_again(epoch).boxed());
                    }
                }
                _ = beat.tick() => {
                    if heard.elapsed() > SILENCE {
                        bail!("nothing was heard");
                    }
                    let link = self.link.clone();
                    tokio::spawn(async move {
                        // An epoch that is gone was lost with the rest, or evicted: it is made again with the connection.
                        if link.heartbeat(now_ms()).await == Ok(false) {
                            link.disconnect();
                        }
                    });
                }
            }
        }
    }

    async fn reach(&self) -> redis::RedisResult<(MultiplexedConnection, u64)> {
        let config = redis::AsyncConnectionConfig::new().set_connection_timeout(Some(TRY)).set_response_timeout(None);
        let mut connection = self.link.client.get_multiplexed_async_connection_with_config(&config).await?;
        let epoch = epoch_of(&mut connection, [self.link.key("e"), self.link.key("q")]).await?;
        Ok((connection, epoch))
    }

    /// The connection for values was given up, and the one that hears was not: it has missed nothing as long as no heartbeat shows a gap, so what is in
    /// memory stays good. Until a heartbeat comes through again nothing is proved by it. An error where the server is another, or empty.
    async fn connect_again(&self, epoch: u64) -> Result<()> {
        let (connection, now) = loop {
            tokio::time::sleep(PAUSE).await;
            if let Ok(Ok(reached)) = tokio::time::timeout(TRY, self.reach()).await {
                break reached;
            }
        };
        if now != epoch {
            bail!("another epoch began");
        }
        self.link.connected(connection, epoch);
        self.outbox.tell_what_is_left(&self.link).await;
        Ok(())
    }

    /// `H SENT COUNT`, on this instance's own channel; or `COUNT ACK T HASH…`, `COUNT ACK G GLOB`, `COUNT ACK A`. Gives when a heartbeat was heard.
    fn handle(&self, message: &Msg, last: &mut Option<u64>) -> Result<Option<tokio::time::Instant>> {
        let text = std::str::from_utf8(message.get_payload_bytes()).context("a message that is no text")?;
        if let Some(beat) = text.strip_prefix("H ") {
            let (sent, count) = beat.split_once(' ').context("half a heartbeat")?;
            let (sent, count): (u64, u64) = (sent.parse()?, count.parse()?);
            if last.is_some_and(|last| last != count) {
                self.validity.invalidate_all();
            }
            *last = Some(count);
            self.validity.heard_until(sent);
            return Ok(Some(tokio::time::Instant::now()));
        }
        let mut parts = text.splitn(4, ' ');
        let count: u64 = parts.next().unwrap_or_default().parse().context("a message without its number")?;
        let ack = parts.next().unwrap_or("-");
        if last.is_some_and(|last| last + 1 != count) {
            self.validity.invalidate_all();
        }
        *last = Some(count);
        match (parts.next(), parts.next()) {
            (Some("T"), hashes) => {
                for hash in hashes.unwrap_or_default().split(' ').filter(|hash| !hash.is_empty()) {
                    self.validity.invalidate(u64::from_str_radix(hash, 16)?);
                }
            }
            (Some("G"), Some(glob)) => match matcher(glob) {
                Ok(glob) => forget_glob(&self.validity, &self.l1, &glob),
                Err(_) => self.validity.invalidate_all(),
            },
            // All, and whatever a newer version may say.
            _ => {
                self.validity.invalidate_all();
                self.l1.clear();
            }
        }
        if ack != "-" {
            let (link, ack) = (self.link.clone(), ack.to_string());
            tokio::spawn(async move { link.acknowledge(&ack).await });
        }
        Ok(None)
    }
}

/// Takes away what matches, and what is being loaded meanwhile.
pub(super) fn forget_glob(validity: &Validity, l1: &L1, glob: &GlobMatcher) {
    validity.begin_glob();
    l1.remove_glob(glob);
}

/// A glob as Redis means it: `*`, `?`, `[abc]`, `[^a]`, a backslash takes the next character as it is.
pub(super) fn matcher(glob: &str) -> Result<GlobMatcher> {
    // Redis negates with ^ only, and has no braces.
    let mut text = String::with_capacity(glob.len());
    let mut characters = glob.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                text.push('\\');
                text.extend(characters.next());
            }
            '{' | '}' => text.extend(['\\', character]),
            character => text.push(character),
        }
    }
    let glob = globset::GlobBuilder::new(&text).literal_separator(false).backslash_escape(true).empty_alternates(true).build()?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_means_what_redis_means() {
        let matches = |glob: &str, text: &str| matcher(glob).unwrap().is_match(text);
        assert!(matches("user:7:*", "user:7:a/b") && !matches("user:7:*", "user:71"));
        assert!(matches("user:?", "user:1") && !matches("user:?", "user:12"));
        assert!(matches("user:[12]", "user:1") && matches("user:[^1]", "user:2") && !matches("user:[^1]", "user:1"));
        assert!(matches(r"user:\*", "user:*") && !matches(r"user:\*", "user:1"));
        assert!(matches("a{b,c}", "a{b,c}") && !matches("a{b,c}", "ab"));
        assert!(!matches("user:session:1", "user:session:123"), "a glob is anchored");
        assert!(matcher("user:[").is_err());
    }
}
