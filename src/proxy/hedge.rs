//! The attempts of a request at one upstream, one beside the other: the first answer wins.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use super::answer::Answer;
use super::attempt::{Call, attempt};
use super::error::{ProxyError, Side};
use super::retry::{self, Dispatch, ended};
use super::route::Hedge;
use crate::config::model::Mode;
use crate::net::Address;
use crate::resilience::breaker::State;
use crate::resilience::retry::Advice;
use crate::telemetry::metrics::Hedged;
use crate::time;
use crate::upstream::bulkhead::Slot;

type Outcome = Result<Answer, ProxyError>;

/// An attempt on its way, with the slot that a hedge takes beside the request's own.
struct Running<'a> {
    attempt: Pin<Box<dyn Future<Output = Outcome> + 'a>>,
    endpoint: Address,
    slot: Option<Slot>,
}

/// An attempt that has ended.
struct Finished {
    outcome: Outcome,
    endpoint: Address,
    slot: Option<Slot>,
}

/// Tries, and starts another attempt beside one that is late, or in place of one that failed. Those
/// that lose are dropped: cut short, as the breaker sees it.
///
/// # Cancel safety
///
/// Dropping the future cuts all attempts short.
pub(super) async fn hedged(call: &Call<'_, '_>, hedge: &Hedge, first: Dispatch) -> Outcome {
    let metrics = &call.route.upstream.metrics;
    let begun = first.2;
    let delay = hedge.delay.delay(begun);
    if delay.is_none() {
        metrics.hedged(Hedged::NoDelay);
    }
    let after = |now: Instant| delay.and_then(|delay| now.checked_add(delay));
    let mut left = hedge.settings.max_hedges;
    let mut due = after(begun);
    let mut used = vec![first.0.endpoint().address.clone()];
    let mut running = vec![start(call, first, None)];
    // The last failure: the answer, if nothing better follows.
    let mut failed = None;
    let mut now = begun;
    loop {
        let expiry = |now| match due {
            Some(due) if due <= now => Err(()),
            due => Ok(due),
        };
        let alarm = &call.caller.watch.alarm;
        let ended = alarm.race(now, pin!(any(&mut running)), expiry).await;
        now = time::now();
        if let Ok(ended) = ended {
            match next(call, &ended.outcome, now) {
                None => return won(call, hedge, ended, begun),
                // A limit of ours says nothing about the others.
                Some(Next::Skip) if !running.is_empty() => continue,
                Some(Next::Skip) if failed.is_some() => left = 0,
                Some(next) => {
                    match next {
                        Next::At(at) => due = Some(at),
                        Next::Never | Next::Skip => left = 0,
                    }
                    discard(failed.replace(ended.outcome));
                }
            }
        }
        if left > 0 && due.is_some_and(|due| due <= now) {
            left -= 1;
            due = after(now);
            match beside(call, hedge, &used, now) {
                Ok(None) => {}
                Ok(Some((dispatch, slot))) => {
                    metrics.hedged(Hedged::Sent);
                    used.push(dispatch.0.endpoint().address.clone());
                    running.push(start(call, dispatch, Some(slot)));
                }
                Err(skipped) => {
                    metrics.hedged(skipped);
                    if running.is_empty() {
                        left = 0;
                    }
                }
            }
        }
        if left == 0 {
            due = None;
        }
        if running.is_empty()
            && due.is_none()
            && let Some(outcome) = failed.take()
        {
            return outcome;
        }
    }
}

/// What follows an attempt that has failed.
enum Next {
    /// Another one, at once or when the upstream wants it.
    At(Instant),
    /// None: the upstream forbids it.
    Never,
    /// It was a limit of ours that ended it.
    Skip,
}

/// What follows an outcome; nothing where that is what the caller gets, whatever the others bring.
fn next(call: &Call<'_, '_>, outcome: &Outcome, now: Instant) -> Option<Next> {
    if let Err(error) = outcome
        && error.row().side == Side::Local
    {
        return Some(Next::Skip);
    }
    let settings = &call.route.retry.settings;
    settings.why(ended(call, outcome))?;
    Some(match retry::advice_of(call, outcome) {
        Advice::None => Next::At(now),
        Advice::After(wait) if wait <= settings.max_retry_after => {
            now.checked_add(wait).map_or(Next::Never, Next::At)
        }
        Advice::After(_) | Advice::Forbidden => Next::Never,
    })
}

fn discard(outcome: Option<Outcome>) {
    if let Some(Ok(answer)) = outcome {
        answer.discard();
    }
}

/// Goes the way of retries, and counts the hedges that there would have been.
pub(super) async fn observed(call: &Call<'_, '_>, hedge: &Hedge, first: Dispatch) -> Outcome {
    let mut started = first.2;
    let delay = hedge.delay.delay(started);
    let mut left = delay.map_or(0, |_| hedge.settings.max_hedges);
    let used = [first.0.endpoint().address.clone()];
    let mut attempts = Box::pin(retry::attempts(call, first));
    loop {
        let due = delay.filter(|_| left > 0);
        let due = due.and_then(|delay| started.checked_add(delay));
        let expiry = |now| match due {
            Some(due) if due <= now => Err(()),
            due => Ok(due),
        };
        let alarm = &call.caller.watch.alarm;
        if let Ok(outcome) = alarm.race(started, attempts.as_mut(), expiry).await {
            if let (Ok(answer), Some(took)) = (&outcome, call.exchange.first_byte.get())
                && answer.is_success(call.route)
            {
                hedge.delay.observe(took, time::now());
            }
            return outcome;
        }
        left -= 1;
        started = time::now();
        match beside(call, hedge, &used, started) {
            Ok(_) => call.route.upstream.metrics.would_hedge(),
            Err(skipped) => call.route.upstream.metrics.hedged(skipped),
        }
    }
}

fn start<'a>(call: &'a Call<'a, '_>, first: Dispatch, slot: Option<Slot>) -> Running<'a> {
    let (endpoint, permit, now) = first;
    Running {
        endpoint: endpoint.endpoint().address.clone(),
        attempt: Box::pin(attempt(call, endpoint, permit, now)),
        slot,
    }
}

/// The end of the first attempt that ends, which is taken out. Polls all of them each time.
async fn any(running: &mut Vec<Running<'_>>) -> Finished {
    poll_fn(|cx| {
        for index in 0..running.len() {
            let Some(one) = running.get_mut(index) else {
                break;
            };
            if let Poll::Ready(outcome) = one.attempt.as_mut().poll(cx) {
                let Running { endpoint, slot, .. } = running.swap_remove(index);
                return Poll::Ready(Finished {
                    outcome,
                    endpoint,
                    slot,
                });
            }
        }
        Poll::Pending
    })
    .await
}

/// Notes what was learnt for the delay of later hedges. Where a hedge won, that is how long the
/// first attempt had been late by then: without it, slow attempts would never be samples, and the
/// percentile would sink with every hedge.
fn won(call: &Call<'_, '_>, hedge: &Hedge, ended: Finished, begun: Instant) -> Outcome {
    call.exchange.answered(&ended.endpoint);
    if ended.slot.is_some() {
        call.exchange.hedged.set(true);
    }
    if let Ok(answer) = &ended.outcome {
        let now = time::now();
        let took = if ended.slot.is_some() {
            call.route.upstream.metrics.hedged(Hedged::Won);
            Some(now.saturating_duration_since(begun))
        } else {
            call.exchange.first_byte.get()
        };
        if let Some(took) = took
            && answer.is_success(call.route)
        {
            hedge.delay.observe(took, now);
        }
    }
    ended.outcome
}

/// What one more attempt needs, all of it without waiting, or why there is none; nothing where
/// hedges are only observed.
fn beside(
    call: &Call<'_, '_>,
    hedge: &Hedge,
    used: &[Address],
    now: Instant,
) -> Result<Option<(Dispatch, Slot)>, Hedged> {
    let Call { route, hash, .. } = call;
    let upstream = &route.upstream;
    {
        let outgoing = call.outgoing.borrow();
        if !(outgoing.is_idempotent() && outgoing.is_whole()) {
            return Err(Hedged::NotReplayable);
        }
    }
    let endpoint = upstream.pick(used, *hash, now);
    let endpoint = endpoint.filter(|endpoint| {
        hedge.settings.same_endpoint || !used.contains(&endpoint.endpoint().address)
    });
    let endpoint = endpoint.ok_or(Hedged::NoEndpoint)?;
    if !upstream.pool.has_room(&endpoint.endpoint().address) {
        return Err(Hedged::Pool);
    }
    let withdrawal = upstream.budget.withdraw(now).ok_or(Hedged::Budget)?;
    if hedge.mode == Mode::Observe {
        // What was withdrawn goes back at once: others may need it in earnest.
        return if upstream.bulkhead.has_room() {
            Ok(None)
        } else {
            Err(Hedged::Bulkhead)
        };
    }
    let class = route.class(call.outgoing.borrow().headers());
    let slot = upstream.bulkhead.enter_now(class);
    let slot = slot.ok_or(Hedged::Bulkhead)?;
    let permit = route.breaker.admit_beside(now);
    let permit = permit.map_err(|state| match state {
        State::HalfOpen => Hedged::HalfOpen,
        _ => Hedged::Breaker,
    })?;
    withdrawal.spend();
    Ok(Some(((endpoint, permit, now), slot)))
}
