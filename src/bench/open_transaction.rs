//! A script's transaction through the data layer: opened by one statement of the script, ended by another, and between them the script goes on.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::store::{Store, StoreError, Transaction, TransactionOptions};

pub struct OpenTransaction {
    pub transaction: Transaction,
    /// The store's own course of the transaction: it waits to be told how to end.
    course: Course,
    /// True: COMMIT.
    end: oneshot::Sender<bool>,
}

type Course = Pin<Box<dyn Future<Output = Result<(), Ended>> + Send>>;

/// How a transaction ended that was not committed.
enum Ended {
    RolledBack,
    Failed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Ended::Failed(error)
    }
}

impl OpenTransaction {
    /// Takes a connection of the pool, and keeps it to the end. Tried once: a script's statements are its own to repeat.
    pub async fn begin(store: Store, options: TransactionOptions) -> Result<Self, StoreError> {
        let (hand, handed) = oneshot::channel();
        let (end, ending) = oneshot::channel();
        let once = Mutex::new(Some((hand, ending)));
        let mut course: Course = Box::pin(async move {
            let work = |transaction: Transaction| {
                let once = once.lock().unwrap_or_else(PoisonError::into_inner).take();
                async move {
                    let Some((hand, ending)) = once else { return Err(Ended::RolledBack) };
                    // Whoever began it may be gone; then the end is, too.
                    let _ = hand.send(transaction);
                    if ending.await == Ok(true) { Ok(()) } else { Err(Ended::RolledBack) }
                }
            };
            store.transaction(TransactionOptions { retries: Some(0), ..options }, work).await.map(drop)
        });
        let began = tokio::select! {
            biased;
            ended = &mut course => Err(ended),
            transaction = handed => Ok(transaction),
        };
        match began {
            Ok(Ok(transaction)) => Ok(OpenTransaction { transaction, course, end }),
            Err(Err(Ended::Failed(error))) => Err(error),
            Ok(Err(_)) | Err(_) => unreachable!("it is handed over before it waits for its end"),
        }
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        self.ended(true).await
    }

    /// What cannot be rolled back ends with its connection.
    pub async fn roll_back(self) {
        let _ = self.ended(false).await;
    }

    async fn ended(self, commit: bool) -> Result<(), StoreError> {
        // The course waits for this, and for nothing else.
        let _ = self.end.send(commit);
        match self.course.await {
            Ok(()) | Err(Ended::RolledBack) => Ok(()),
            Err(Ended::Failed(error)) => Err(error),
        }
    }
}
