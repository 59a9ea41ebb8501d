use std::future::pending;

use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::net::mail::Mailing;
use crate::net::{Clock, threads};
use crate::play::Play;

/// Where else the alarms stand.
const LOG: &str = "`file view activelog syslog/CiscoSyslog` at the console";

/// Mails what the Certificate Monitors warn of while a cluster is served (EXP-01).
#[derive(Debug)]
pub(super) struct Post {
    mailing: Mailing,
    /// How many alarms were handed out.
    taken: usize,
    /// Mails on their way; a slow server holds nothing up but further mails.
    batch: Option<JoinHandle<String>>,
}

impl Post {
    pub(super) const fn new(mailing: Mailing) -> Post {
        Post { mailing, taken: 0, batch: None }
    }

    /// Waits until mails have left, and says so, or until there may be some.
    pub(super) async fn next(post: &mut Option<Post>, play: &Play, clock: Clock) -> Option<String> {
        let Some(post) = post else { return pending().await };
        if let Some(batch) = &mut post.batch {
            let told = batch.await.unwrap_or_else(|lost| format!("mails were lost: {lost}"));
            post.batch = None;
            return Some(told);
        }
        sleep_until(clock.instant_at(play.next_look(clock.now()))).await;
        None
    }

    /// Sends what is new, if nothing is on its way.
    pub(super) fn send(&mut self, play: &Play, clock: Clock) {
        if self.batch.is_some() {
            return;
        }
        // A copy that a delayed replication has taken away since is no longer among them.
        let new: Vec<String> = play.mails(clock.now()).into_iter().skip(self.taken).collect();
        if new.is_empty() {
            return;
        }
        self.taken += new.len();
        let mailing = self.mailing.clone();
        let send = move || mailing.send(&new, LOG).unwrap_or_else(|why| format!("warning: {why}"));
        self.batch = Some(tokio::spawn(async move {
            threads::apart("mail", send).await.unwrap_or_else(|why| format!("warning: {why}"))
        }));
    }
}
