//! `balance` and `ejection`.

use super::super::Builder;
use super::super::layers::Layers;
use crate::balance::{HashKey, Policy, Settings};
use crate::config::diagnostic::Id;
use crate::config::model::Ejection;
use crate::config::raw;
use crate::config::section::Section;
use crate::resilience::{WHOLE, ejection};

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
        self.check_needs(&layers, "policy");
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

    pub(in super::super) fn ejection(&mut self, owners: &[&'b Section]) -> Ejection {
        let layers = self.policy("ejection", &raw::EJECTION, owners);
        let (eject_for, eject_for_max) = self.growing(
            &layers,
            ["eject_for", "eject_for_max"],
            "the time begins with `eject_for` and grows up to `eject_for_max`",
        );
        Ejection {
            mode: self.mode(&layers, "ejection"),
            settings: ejection::Settings {
                consecutive_failures: layers
                    .integer("consecutive_failures")
                    .and_then(|failures| u32::try_from(failures).ok()),
                failure_rate: layers.scaled_or_off("failure_rate", WHOLE),
                min_volume: layers.count32("min_volume"),
                min_endpoints: layers.count32("min_endpoints"),
                interval: layers.time("interval"),
                eject_for,
                eject_for_max,
                jitter: layers.time("jitter"),
                max_ejected: layers.scaled("max_ejected", WHOLE),
            },
        }
    }
}
