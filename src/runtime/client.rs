//! What puts questions to one cluster, and tells the time while it waits for answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::Request;

pub use super::convert::decoded;
use super::{
    convert::{failure, options, unreached},
    exchange::Question,
    now_ms,
};
use crate::{
    cluster::{Answer, Cluster, Lane, Metadata, To, Topics},
    flow::Failure,
};

/// One cluster as questions see it: [`Cluster`], or in a simulation what stands for it, so that the
/// same questions are asked in the same order there.
///
/// A clone is the same cluster. Nothing is sent twice: what a failure means is the asker's business.
pub trait Client: Clone {
    /// Asks on a control connection, once.
    ///
    /// # Errors
    ///
    /// Why there is no answer. That there was no connection is not told apart from one that broke.
    fn ask<R: Request>(
        &self,
        to: To,
        question: Question<R>,
    ) -> impl Future<Output = Result<Answer<R>, Failure>>;

    /// Asks a broker on a connection of its own kind, once.
    ///
    /// # Errors
    ///
    /// Why there is no answer; [`Failure::Unreached`] when the request has certainly not been sent.
    fn ask_on<R: Request>(
        &self,
        node: i32,
        lane: Lane,
        question: Question<R>,
    ) -> impl Future<Output = Result<Answer<R>, Failure>>;

    /// Asks for brokers, topics and leaders, and takes in what is said; what is known then.
    ///
    /// # Errors
    ///
    /// Why there is no answer. What was known stays as it was.
    fn refresh(&self, topics: Topics) -> impl Future<Output = Result<Arc<Metadata>, Failure>>;

    /// What is known of brokers, topics and leaders.
    fn metadata(&self) -> Arc<Metadata>;

    /// The level of the transaction protocol (`transaction.version`) that a broker offered when it
    /// was connected to.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    fn transaction_version(&self, node: i32) -> impl Future<Output = Result<i16, Failure>>;

    /// How long an answer is waited for.
    fn request_timeout(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// The time.
    fn now(&self) -> Instant;

    /// The time in milliseconds since 1970.
    fn wall_ms(&self) -> i64;
}

impl Client for Cluster {
    async fn ask<R: Request>(&self, to: To, question: Question<R>) -> Result<Answer<R>, Failure> {
        let options = options(&question);
        let answer = self.request_with(to, &question.request, options).await;
        answer.map_err(|error| failure(&error))
    }

    async fn ask_on<R: Request>(
        &self,
        node: i32,
        lane: Lane,
        question: Question<R>,
    ) -> Result<Answer<R>, Failure> {
        let options = options(&question);
        let connection = self.broker(node, lane).await;
        let connection = connection.map_err(|error| unreached(&error))?;
        let answer = async { connection.send_with(&question.request, options)?.await };
        answer.await.map_err(|error| failure(&error))
    }

    async fn refresh(&self, topics: Topics) -> Result<Arc<Metadata>, Failure> {
        let metadata = self.refresh_metadata(topics).await;
        metadata.map_err(|error| failure(&error))
    }

    fn metadata(&self) -> Arc<Metadata> {
        Self::metadata(self)
    }

    async fn transaction_version(&self, node: i32) -> Result<i16, Failure> {
        let connection = self.broker(node, Lane::Control).await;
        let connection = connection.map_err(|error| unreached(&error))?;
        Ok(connection.ranges().transaction_version())
    }

    fn request_timeout(&self) -> Duration {
        Self::request_timeout(self)
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_ms(&self) -> i64 {
        now_ms()
    }
}
