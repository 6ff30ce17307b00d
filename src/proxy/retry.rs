//! The attempts of a request at one upstream, one after the other.

use std::time::Instant;

use super::advice::advice;
use super::answer::Answer;
use super::attempt::{Call, attempt};
use super::error::ProxyError;
use crate::config::model::Mode;
use crate::net::Address;
use crate::resilience::retry::{Advice, Denied, Ended, Next, Plan, Sendable, Why};
use crate::upstream::breaker::Permit;
use crate::upstream::budget::Withdrawal;
use crate::upstream::endpoint::InFlight;
use crate::{rng, time};

/// An attempt that may go out.
pub(super) type Dispatch = (InFlight, Permit, Instant);

/// Where retries stand, once there was a reason for one.
struct Retries {
    plan: Plan,
    tried: Vec<Address>,
}

/// Tries, and tries again where that is safe, promising and paid for. What the last attempt brought
/// is the outcome.
pub(super) async fn attempts(call: &Call<'_, '_>, first: Dispatch) -> Result<Answer, ProxyError> {
    let mut retries = None;
    let (mut endpoint, mut permit, mut now) = first;
    loop {
        let outcome = attempt(call, endpoint, permit, now).await;
        let ended = ended(call, &outcome);
        let Some(why) = call.route.retry.settings.why(ended) else {
            return outcome;
        };
        // The outcome in hand lives until the next attempt may go out: it may be the last word.
        match Box::pin(again(call, &outcome, (ended, why), &mut retries)).await {
            None => return outcome,
            Some(next) => (endpoint, permit, now) = next,
        }
        if let Ok(answer) = outcome {
            answer.discard();
        }
    }
}

/// How an attempt ended, as far as another one is concerned.
pub(super) fn ended(call: &Call<'_, '_>, outcome: &Result<Answer, ProxyError>) -> Ended {
    match outcome {
        Ok(answer) => answer.ended(call.exchange.grpc),
        Err(error) => error.ended(),
    }
}

/// What the upstream says about trying again.
pub(super) fn advice_of(call: &Call<'_, '_>, outcome: &Result<Answer, ProxyError>) -> Advice {
    let headers = outcome.as_ref().ok().and_then(Answer::headers);
    headers.map_or(Advice::None, |headers| advice(headers, call.exchange.grpc))
}

/// Waits for the time of the next attempt, if there is to be one. All that could forbid it is asked
/// before the wait; what can change meanwhile, again after it.
async fn again(
    call: &Call<'_, '_>,
    outcome: &Result<Answer, ProxyError>,
    (ended, why): (Ended, Why),
    retries: &mut Option<Retries>,
) -> Option<Dispatch> {
    let Call {
        route, deadline, ..
    } = call;
    let upstream = &route.upstream;
    if route.retry.mode == Mode::Off || route.retry.settings.retries == 0 {
        return None;
    }
    let Retries { plan, tried } = retries.get_or_insert_with(|| Retries {
        plan: Plan::new(rng::u64()),
        tried: Vec::new(),
    });
    tried.extend(call.exchange.endpoint());
    let now = time::now();
    let resend = {
        let outgoing = call.outgoing.borrow();
        Sendable {
            idempotent: outgoing.is_idempotent(),
            replayable: outgoing.is_here(),
        }
    };
    let advice = advice_of(call, outcome);
    let settings = &route.retry.settings;
    let delay = match plan.next(settings, ended, resend, advice, deadline.remaining(now)) {
        Next::Deliver => return None,
        Next::Denied(denied) => return deny(call, denied),
        Next::After { delay, .. } => delay,
    };
    if !route.breaker.would_admit(now) {
        return deny(call, Denied::Breaker);
    }
    let Some(withdrawal) = upstream.budget.withdraw(now) else {
        return deny(call, Denied::Budget);
    };
    if route.retry.mode == Mode::Observe {
        // Its withdrawal goes back with it: others may need it in earnest.
        upstream.metrics.would_retry();
        return None;
    }
    let alarm = &call.caller.watch.alarm;
    alarm.until(now, now.checked_add(delay)?).await;
    if !call.outgoing.borrow().is_here() {
        // The attempt in hand read on meanwhile, beyond what is kept.
        return deny(call, Denied::Committed);
    }
    dispatch(call, tried, why, withdrawal)
}

/// The wait is over: is the breaker still of the same mind?
fn dispatch(
    call: &Call<'_, '_>,
    tried: &[Address],
    why: Why,
    withdrawal: Withdrawal,
) -> Option<Dispatch> {
    let upstream = &call.route.upstream;
    let now = time::now();
    let endpoint = upstream.pick(tried, call.hash, now)?;
    withdrawal.spend();
    let Ok(permit) = call.route.breaker.admit(now) else {
        return deny(call, Denied::Breaker);
    };
    upstream.metrics.retried(why);
    Some((endpoint, permit, now))
}

fn deny(call: &Call<'_, '_>, denied: Denied) -> Option<Dispatch> {
    call.route.upstream.metrics.retry_denied(denied);
    None
}
