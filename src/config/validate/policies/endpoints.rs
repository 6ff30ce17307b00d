//! `balance` and `ejection`.

use super::super::Builder;
use super::super::layers::Layers;
use super::mode;
use crate::balance::{HashKey, Policy, Settings};
use crate::config::diagnostic::Id;
use crate::config::model::{Ejection, Upstream};
use crate::config::raw;
use crate::config::section::Section;
use crate::resilience::breaker::FULL_RATE;
use crate::resilience::ejection;

/// The keys that say what a ring hashes by.
const HASHED_BY: [&str; 2] = ["hash_header", "hash_cookie"];

impl<'b> Builder<'b> {
    pub(in super::super) fn balance(&mut self, owners: &[&'b Section]) -> Settings {
        let layers = self.policy("balance", &raw::BALANCE, owners);
        let policy = match layers.word("policy") {
            "peak_ewma" => Policy::PeakEwma {
                decay: layers.time("decay"),
            },
            "round_robin" => Policy::RoundRobin,
            "weighted" => Policy::Weighted,
            "ring_hash" => Policy::RingHash(self.hash_key(&layers)),
            _ => Policy::LeastInFlight,
        };
        if !matches!(policy, Policy::RingHash(_)) {
            let own: Vec<_> = HASHED_BY
                .into_iter()
                .filter(|key| layers.depth(key) == 0)
                .collect();
            for key in own {
                self.warn_unhashed(&layers, key);
            }
        }
        Settings {
            policy,
            slow_start: layers.duration("slow_start"),
        }
    }

    fn hash_key(&mut self, layers: &Layers<'b>) -> HashKey {
        let [header, cookie] = HASHED_BY.map(|key| layers.text_if_any(key));
        let [nearer, farther] = HASHED_BY.map(|key| layers.depth(key));
        match (header, cookie) {
            (Some(_), Some(_)) if nearer == farther => {
                self.report(
                    Id::ConflictingKeys,
                    layers.span("hash_cookie"),
                    "a ring hashes by either `hash_header` or `hash_cookie`",
                    "keep one of them",
                );
                HashKey::Header(String::new())
            }
            (Some(_), Some(cookie)) if farther < nearer => HashKey::Cookie(cookie),
            (Some(header), _) => HashKey::Header(header),
            (None, Some(cookie)) => HashKey::Cookie(cookie),
            (None, None) => {
                if !HASHED_BY.iter().any(|key| layers.is_broken(key)) {
                    self.report(
                        Id::MissingKey,
                        layers.span("policy"),
                        "`ring_hash` has nothing to hash by",
                        "add `hash_header = \"x-user\"` or `hash_cookie = \"session\"`",
                    );
                }
                HashKey::Header(String::new())
            }
        }
    }

    /// Warns of what `[defaults]` hashes by where no upstream has a ring.
    pub(in super::super) fn check_default_hash(&mut self, upstreams: &[(&'b Section, Upstream)]) {
        let is_hashed =
            |(_, upstream): &(_, Upstream)| matches!(upstream.balance.policy, Policy::RingHash(_));
        if !upstreams.iter().any(is_hashed) {
            let layers = self.policy("balance", &raw::BALANCE, &[]);
            for key in HASHED_BY {
                self.warn_unhashed(&layers, key);
            }
        }
    }

    fn warn_unhashed(&mut self, layers: &Layers<'b>, key: &str) {
        if layers.text_if_any(key).is_some() {
            self.report(
                Id::UnusedKey,
                layers.span(key),
                format!("`{key}` does nothing without `policy = \"ring_hash\"`"),
                "add that, or remove this",
            );
        }
    }

    pub(in super::super) fn ejection(&mut self, owners: &[&'b Section]) -> Ejection {
        let layers = self.policy("ejection", &raw::EJECTION, owners);
        let (eject_for, eject_for_max) = self.growing(
            &layers,
            ["eject_for", "eject_for_max"],
            "the time begins with `eject_for` and grows up to `eject_for_max`",
        );
        Ejection {
            mode: mode(&layers),
            settings: ejection::Settings {
                consecutive_failures: layers
                    .integer("consecutive_failures")
                    .and_then(|failures| u32::try_from(failures).ok()),
                failure_rate: layers.scaled_or_off("failure_rate", FULL_RATE),
                min_volume: layers.count32("min_volume"),
                min_endpoints: layers.count32("min_endpoints"),
                interval: layers.time("interval"),
                eject_for,
                eject_for_max,
                jitter: layers.time("jitter"),
                max_ejected: layers.scaled("max_ejected", FULL_RATE),
            },
        }
    }
}
