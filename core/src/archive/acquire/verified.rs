//! Release files that this process has verified.
//!
//! The same file with the same keys gives the same answer, and a program that makes one root after
//! the other asks for it each time. Keys expire, though: an answer counts for an hour.

use crate::archive::checksum::Sha256;
use crate::archive::date;
use crate::archive::release::Release;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For how long an answer counts, seconds.
const LASTS: i64 = 3600;
/// Suites of one program at one time: a Release file takes half a megabyte.
const MOST: usize = 32;

struct Answer {
    /// Names file and keys.
    question: Sha256,
    release: Arc<Release>,
    /// Seconds since the epoch.
    at: i64,
}

static ANSWERS: Mutex<VecDeque<Answer>> = Mutex::new(VecDeque::new());

fn answers() -> MutexGuard<'static, VecDeque<Answer>> {
    // Nothing that can panic leaves it half changed.
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The Release file that was verified as the answer to `question`.
pub(super) fn recall(question: Sha256) -> Option<Arc<Release>> {
    let now = date::now();
    let answers = answers();
    let answer = answers.iter().find(|answer| answer.question == question)?;
    (answer.at..answer.at + LASTS).contains(&now).then(|| answer.release.clone())
}

/// Keeps an answer; the oldest one goes where there are too many.
pub(super) fn remember(question: Sha256, release: &Arc<Release>) {
    let mut answers = answers();
    answers.retain(|answer| answer.question != question);
    answers.push_back(Answer { question, release: release.clone(), at: date::now() });
    if answers.len() > MOST {
        answers.pop_front();
    }
}
