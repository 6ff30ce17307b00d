//! One upstream for tests of what reads views.

use super::*;
use crate::resilience::breaker::{Counts, State, View};
use crate::resilience::fault::{Action, Settings};

/// An upstream with two breakers and one endpoint, all optional policies off.
pub(crate) fn plain() -> UpstreamView {
    UpstreamView {
        name: "search".into(),
        in_flight: 3,
        max_requests: 64,
        effective_max_requests: 64,
        queued: 1,
        max_queued: 32,
        would_have: WouldHave {
            queued: 7,
            refused: 4,
        },
        would_reorder: 0,
        classes: Vec::new(),
        adaptive: None,
        rate_limit: None,
        budget: BudgetView::default(),
        connections_active: 3,
        connections_idle: 5,
        max_connections: 64,
        endpoints: vec![EndpointView {
            address: "[::1]:8080".parse().unwrap(),
            in_flight: 2,
            weight: 1,
            ejected_for: None,
            latency: None,
        }],
        ejection: None,
        faults: Vec::new(),
        breakers: vec![
            breaker(None, State::Closed),
            breaker(Some("edge/v2"), State::HalfOpen),
        ],
        targets: None,
    }
}

/// The same with every policy at work, and a second endpoint that is ejected.
pub(crate) fn full() -> UpstreamView {
    let mut view = plain();
    view.effective_max_requests = 12;
    view.would_reorder = 2;
    view.classes = vec![class("live", 9), class("batch", 3)];
    view.adaptive = Some(AdaptiveView {
        mode: Mode::Enforce,
        limit: 12,
        min: 10,
        baseline: Some(Duration::from_millis(20)),
        latency: Some(Duration::from_micros(31_250)),
        samples: 900,
        drops: 8,
    });
    view.rate_limit = Some(RateLimitView {
        mode: Mode::Observe,
        tokens: -1.5,
        rejected: 6,
        delayed: 5,
        would_reject: 4,
    });
    view.budget = BudgetView { balance: -2500 };
    view.endpoints.push(EndpointView {
        address: "127.0.0.1:8080".parse().unwrap(),
        in_flight: 0,
        weight: 3,
        ejected_for: Some(Duration::from_secs(21)),
        latency: Some(Duration::from_micros(1500)),
    });
    view.ejection = Some(EjectionView {
        mode: Mode::Enforce,
        consecutive: 4,
        failure_rate: 1,
        would_eject: 7,
        panics: 2,
    });
    view.faults = vec![
        fault(1, Action::Delay(Duration::from_millis(300))),
        fault(2, Action::Abort(503)),
        fault(3, Action::Delay(Duration::from_secs(2))),
    ];
    view
}

/// One whose callers name the host: they have named two.
pub(crate) fn forwarding() -> UpstreamView {
    let target = |target: &str, idle, refused, state| TargetView {
        target: Target::parse(target, None).unwrap(),
        idle,
        refused,
        view: UpstreamView {
            breakers: vec![breaker(None, state)],
            ..plain()
        },
    };
    let mut view = plain();
    view.name = "out".into();
    (view.endpoints, view.breakers) = (Vec::new(), Vec::new());
    let idle = Some(Duration::from_secs(9));
    view.add(vec![
        target("a.test:443", None, None, State::Open),
        target("b.test:80", idle, Some("metadata"), State::Closed),
    ]);
    view
}

/// A breaker with failures in its window.
pub(crate) fn breaker(route: Option<&str>, state: State) -> BreakerView {
    BreakerView {
        route: route.map(Into::into),
        mode: Mode::Enforce,
        view: View {
            state,
            counts: Counts {
                calls: 40,
                failed: 10,
                slow: 30,
                overdue: 3,
            },
            failure_rate: Some(0.25),
            slow_rate: None,
            opens: 2,
            open_remaining: Duration::ZERO,
            probes_left: 0,
            override_remaining: None,
            transitions: 5,
            last: None,
        },
    }
}

fn class(name: &str, reserved: usize) -> ClassView {
    ClassView {
        name: name.into(),
        reserved,
        in_flight: 2,
        queued: 1,
        rejected: 5,
    }
}

fn fault(id: u64, action: Action) -> FaultView {
    FaultView {
        id,
        settings: Settings {
            action,
            share: 12_500,
            methods: vec!["GET".to_owned()],
            path_prefix: Some("/v2".to_owned()),
            header: Some(("x-game-day".to_owned(), "yes".to_owned())),
            counted: false,
        },
        remaining: Duration::from_secs(240),
        hits: 17,
    }
}
