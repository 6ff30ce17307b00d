//! `failover` of upstreams: who stands in for whom, never in a circle.

use super::Builder;
use super::layers::Layers;
use crate::config::diagnostic::{Id, suggest};
use crate::config::model::{Protocol, Upstream};
use crate::config::section::Section;

impl<'b> Builder<'b> {
    /// Finds the upstreams that stand in for others. Those are used.
    pub(super) fn failover(&mut self, upstreams: &mut [(&'b Section, Upstream)]) {
        let names: Vec<_> = upstreams
            .iter()
            .map(|(section, _)| section.name.as_str())
            .collect();
        let mut targets = Vec::with_capacity(names.len());
        for (section, _) in upstreams.iter() {
            let layers = Layers::of(section, None);
            let name = layers.text("failover");
            let target = name
                .as_ref()
                .and_then(|name| names.iter().position(|known| known == name));
            if let Some(name) = name
                && target.is_none()
            {
                let others = names.iter().copied().filter(|other| *other != section.name);
                let help = if names.len() < 2 {
                    "define it in a table `[upstreams.NAME]`".to_owned()
                } else {
                    suggest(&name, others)
                };
                let span = layers.span("failover");
                self.report(Id::UnknownUpstream, span, "no upstream has this name", help);
            }
            let target = target.filter(|at| {
                let astray = upstreams
                    .get(*at)
                    .and_then(|(_, upstream)| cannot_stand_in(upstream));
                if let Some(why) = astray {
                    self.report(
                        Id::ConflictingValues,
                        layers.span("failover"),
                        format!("requests cannot go on to that upstream: {why}"),
                        "name one that has endpoints and speaks HTTP",
                    );
                }
                astray.is_none()
            });
            targets.push(target);
        }
        for start in 0..targets.len() {
            let chain = chain(&targets, start);
            // A circle is told of once, at its first upstream in the file.
            if chain.last() == Some(&start)
                && chain.len() > 1
                && chain.iter().all(|at| start <= *at)
                && let Some((section, _)) = upstreams.get(start)
            {
                let path: Vec<_> = chain
                    .iter()
                    .filter_map(|at| names.get(*at))
                    .map(|name| format!("`{name}`"))
                    .collect();
                self.report(
                    Id::FailoverLoop,
                    Layers::of(section, None).span("failover"),
                    format!("`failover` leads in a circle: {}", path.join(" -> ")),
                    "remove one of them: somebody has to be the last",
                );
            }
        }
        for ((_, upstream), target) in upstreams.iter_mut().zip(targets) {
            upstream.failover = target;
        }
    }
}

/// Why an upstream cannot take the requests of another.
fn cannot_stand_in(upstream: &Upstream) -> Option<&'static str> {
    if upstream.forward.is_some() {
        Some("it has `forward`, and goes where callers say")
    } else if upstream.protocol == Protocol::Tcp {
        Some("it is a TCP upstream, and knows no requests")
    } else {
        None
    }
}

/// From one upstream to the next, until there is none or one comes again.
fn chain(targets: &[Option<usize>], start: usize) -> Vec<usize> {
    let mut chain = vec![start];
    let mut at = start;
    while let Some(next) = targets.get(at).copied().flatten() {
        let again = chain.contains(&next);
        chain.push(next);
        if again {
            break;
        }
        at = next;
    }
    chain
}
