//! What `rate_limit`, `priority` and `adaptive` become.

use outrigger::config::model::{Class, Mode};
use outrigger::resilience::adaptive::Algorithm;
use outrigger::resilience::rate_limit;

use super::model::{everything, route};
use super::policies::{a, ms, routed};

#[test]
fn a_burst_follows_the_rate() {
    let settings = |lines, tables| a(lines, tables).rate_limit.unwrap().settings;
    let limit = &everything().upstreams[0].rate_limit.clone().unwrap();
    assert_eq!(
        limit.settings,
        rate_limit::Settings {
            rate: 600,
            per: ms(60_000),
            burst: 600,
            max_wait: ms(20),
        }
    );
    let tables = "[defaults.rate_limit]\nrate = 5\nburst = 9";
    assert_eq!(settings("", tables).burst, 9);
    assert_eq!(settings("rate_limit.rate = 50", tables).burst, 9);
}

#[test]
fn classes_are_those_of_the_nearest_table() {
    let config = everything();
    let class = |name: &str, share| Class {
        name: name.into(),
        share,
    };
    let payments = config.upstreams[0].priority.as_ref().unwrap();
    assert_eq!(payments.classes, [class("live", 50_000), class("batch", 0)]);
    assert_eq!(payments.header.as_deref(), Some("x-class"));
    assert_eq!(payments.default, 1);
    let search = config.upstreams[1].priority.as_ref().unwrap();
    assert_eq!(
        search.classes,
        [class("urgent", 30_000), class("bulk", 10_000)]
    );
    // `default` is inherited, and gives way.
    assert_eq!((search.default, &search.header), (0, &payments.header));
    assert_eq!(route(&config, "shared", "by-address").class, Some(0));
    assert_eq!(route(&config, "shared", "search#3").class, Some(1));
    assert_eq!(route(&config, "shared", "search").class, None);
}

#[test]
fn shares_never_exceed_the_whole() {
    let shares = |lines: &str| -> Vec<_> {
        let priority = a(&format!("[upstreams.a.priority.classes]\n{lines}"), "").priority;
        let classes = priority.unwrap().classes;
        classes.iter().map(|class| class.share).collect()
    };
    let sixths = "a.share = 0.1666666\nb.share = 0.1666666\nc.share = 0.1666666\n\
                  d.share = 0.1666666\ne.share = 0.1666666\nf.share = 0.1666666";
    assert_eq!(
        shares(sixths),
        [16_667, 16_667, 16_667, 16_667, 16_667, 16_665]
    );
    let tenths: Vec<_> = (0..10)
        .map(|name| format!("{name}.share = 0.1\n"))
        .collect();
    assert_eq!(shares(&tenths.concat()), [10_000; 10]);
}

#[test]
fn a_class_outlives_the_priority_that_is_switched_off() {
    let classes = "[defaults.priority]\nclasses.live = {}";
    let class = ", class = \"live\"";
    assert_eq!(routed("", class, classes).class, Some(0));
    assert_eq!(routed("priority = false", class, classes).class, None);
    assert_eq!(routed("priority = false", class, "").class, None);
}

#[test]
fn inherited_bounds_of_the_adaptive_limit_give_way() {
    let bounds = |lines, tables| {
        let settings = a(lines, tables).adaptive.unwrap().settings;
        (settings.min, settings.initial, settings.max)
    };
    assert_eq!(bounds("adaptive.max = 8", ""), (8, 8, 8));
    assert_eq!(bounds("adaptive.min = 40", ""), (40, 40, 500));
    assert_eq!(
        bounds("adaptive.max = 30", "[defaults.adaptive]\ninitial = 50"),
        (10, 30, 30)
    );
    let adaptive = everything().upstreams[0].adaptive.clone().unwrap();
    assert_eq!(adaptive.mode, Mode::Enforce);
    assert_eq!(
        adaptive.settings.algorithm,
        Algorithm::Aimd {
            backoff: 0.5,
            timeout: ms(1_000),
        }
    );
}
