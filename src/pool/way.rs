//! The ways to an endpoint: the other addresses of its host, of which the first to connect wins.
//!
//! Protects from a family of addresses that leads nowhere (RFC 8305): an address that does not
//! connect soon is not waited for. What won last is tried first the next time.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::net::Address;
use crate::time;

/// So long an attempt is alone before the next address is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How to reach an endpoint, beside its address.
#[derive(Clone, Debug, Default)]
pub struct Way {
    host: Arc<str>,
    alternates: Vec<Address>,
    won: Won,
}

/// Which family of addresses has won last for a host. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Won(Arc<AtomicU8>);

impl PartialEq for Way {
    fn eq(&self, other: &Self) -> bool {
        self.host == other.host && self.alternates == other.alternates
    }
}

impl Eq for Way {}

impl Way {
    /// To an address of `host`, which has these `alternates` of the other family.
    pub fn new(host: Arc<str>, alternates: Vec<Address>, won: Won) -> Self {
        Self {
            host,
            alternates,
            won,
        }
    }

    /// The host as configured: what a certificate is for.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Connects to `endpoint` or to one of its alternates, whichever is first.
    ///
    /// # Errors
    ///
    /// Says why the last of them could not be connected to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops all attempts.
    pub(super) async fn connect<T, F>(
        &self,
        endpoint: &Address,
        connect: impl Fn(Address) -> F,
    ) -> io::Result<T>
    where
        F: Future<Output = io::Result<T>>,
    {
        if self.alternates.is_empty() {
            return connect(endpoint.clone()).await;
        }
        let mut addresses = vec![endpoint.clone()];
        addresses.extend(self.alternates.iter().cloned());
        // Stable: only the family that has won comes before the other.
        let won = self.won.0.load(Relaxed);
        addresses.sort_by_key(|address| won != 0 && family(address) != won);
        let (address, stream) = race(addresses, connect).await?;
        self.won.0.store(family(&address), Relaxed);
        Ok(stream)
    }
}

fn family(address: &Address) -> u8 {
    match address.ip() {
        Some(address) if address.is_ipv6() => 6,
        Some(_) => 4,
        None => 0,
    }
}

async fn race<T, F>(
    addresses: Vec<Address>,
    connect: impl Fn(Address) -> F,
) -> io::Result<(Address, T)>
where
    F: Future<Output = io::Result<T>>,
{
    let mut running = FuturesUnordered::new();
    let mut left = addresses.into_iter();
    let mut failed = None;
    loop {
        if let Some(address) = left.next() {
            let work = connect(address.clone());
            running.push(async move { (address, work.await) });
        }
        let another = async {
            if left.len() > 0 {
                time::sleep(HEAD_START).await;
            } else {
                pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            biased;
            ended = running.next() => ended,
            () = another => continue,
        };
        match ended {
            Some((address, Ok(stream))) => return Ok((address, stream)),
            Some((_, Err(error))) => failed = Some(error),
            None => return Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u8) -> Address {
        ([10, 0, 0, n], 80).into()
    }

    fn v6(n: u16) -> Address {
        (std::net::IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]), 80).into()
    }

    /// Connects after so many milliseconds, or fails then.
    type Reach = (Address, u64, bool);

    /// The winner, when it had won, and when each was tried.
    async fn race_of(
        way: &Way,
        to: &Address,
        reach: &[Reach],
    ) -> (Option<Address>, u128, Vec<u128>) {
        let begun = time::now();
        let at = || time::now().saturating_duration_since(begun).as_millis();
        let tried = std::cell::RefCell::new(Vec::new());
        let won = way
            .connect(to, |address| {
                tried.borrow_mut().push(at());
                async {
                    let found = reach.iter().find(|(other, ..)| *other == address);
                    let (_, takes, connects) = found.unwrap();
                    time::sleep(Duration::from_millis(*takes)).await;
                    if *connects {
                        Ok(address)
                    } else {
                        Err(io::ErrorKind::ConnectionRefused.into())
                    }
                }
            })
            .await;
        (won.ok(), at(), tried.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_after_a_head_start_or_a_failure() {
        let way =
            |alternates: &[Address]| Way::new("u".into(), alternates.to_vec(), Won::default());
        // In time: the others are never tried.
        let reach = [(v6(1), 249, true), (v4(1), 0, true)];
        let won = race_of(&way(&[v4(1)]), &v6(1), &reach).await;
        assert_eq!(won, (Some(v6(1)), 249, vec![0]));
        // Late.
        let reach = [(v6(1), 60_000, true), (v4(1), 20, true)];
        let won = race_of(&way(&[v4(1)]), &v6(1), &reach).await;
        assert_eq!(won, (Some(v4(1)), 270, vec![0, 250]));
        // Refused: at once, and the next one after its own head start.
        let reach = [(v6(1), 10, false), (v4(1), 400, true), (v4(2), 0, true)];
        let won = race_of(&way(&[v4(1), v4(2)]), &v6(1), &reach).await;
        assert_eq!(won, (Some(v4(2)), 260, vec![0, 10, 260]));
        // All refused: the last says why.
        let reach = [(v6(1), 10, false), (v4(1), 400, false)];
        let won = race_of(&way(&[v4(1)]), &v6(1), &reach).await;
        assert_eq!(won, (None, 410, vec![0, 10]));
        // None beside it.
        let won = race_of(&way(&[]), &v6(1), &[(v6(1), 900, true)]).await;
        assert_eq!(won, (Some(v6(1)), 900, vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_won_is_tried_first_for_the_whole_host() {
        let won = Won::default();
        let one = Way::new("u".into(), vec![v4(1)], won.clone());
        let two = Way::new("u".into(), vec![v4(2)], won);
        let reach = [
            (v6(1), 60_000, true),
            (v6(2), 5, true),
            (v4(1), 5, true),
            (v4(2), 5, true),
        ];
        assert_eq!(race_of(&one, &v6(1), &reach).await.0, Some(v4(1)));
        assert_eq!(race_of(&two, &v6(2), &reach).await.0, Some(v4(2)));
    }
}
