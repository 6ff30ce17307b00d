mod table;

use std::net::Ipv6Addr;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::config;
use crate::resilience::breaker::Operation;
use crate::telemetry::metrics::Metrics;
use crate::time;

/// Targets of an upstream with these settings, as the proxy makes them.
struct Bench {
    upstream: Arc<Upstream>,
    forward: Arc<Forward<()>>,
    followed: UnboundedReceiver<Following>,
    now: Instant,
}

fn bench(settings: &str) -> Bench {
    let text = format!("[upstreams.out]\nlisten = '127.0.0.1:0'\nforward = {{ {settings} }}\n");
    let config = config::parse("test.toml", &text).unwrap();
    let built = crate::app::build(&config, 1, &Metrics::new(1).unwrap()).unwrap();
    let settings = config.upstreams[0].forward.clone().unwrap();
    let (follow, followed) = unbounded_channel();
    // One upstream is as good as another here; each target has an own copy.
    let text = "[upstreams.out]\nlisten = '127.0.0.1:0'\nendpoints = ['http://192.0.2.1:80']";
    let own = config::parse("test.toml", text).unwrap();
    let make = move |_: &Target| Made {
        upstream: crate::app::build(&own, 1, &Metrics::new(1).unwrap())
            .unwrap()
            .upstreams
            .remove(0),
        ways: (),
    };
    Bench {
        upstream: Arc::clone(&built.upstreams[0]),
        forward: Forward::new(&settings, Box::new(make), follow),
        followed,
        now: time::now(),
    }
}

impl Bench {
    fn find(&self, target: &str) -> Result<Arc<Destination<()>>, Denied> {
        let target = Target::parse(target, None).unwrap();
        self.forward.find(&target, self.now)
    }

    fn denied(&self, target: &str) -> Option<Denied> {
        self.find(target).err()
    }

    fn known(&self) -> Vec<String> {
        let views = self.forward.view(self.now).into_iter();
        views.map(|view| view.target.to_string()).collect()
    }
}

#[test]
fn what_may_be_named_is_decided_before_anything_is_made() {
    let bench = bench("allow = ['*.test', '10.0.0.0/8', '127.0.0.1:*', 'localhost', '[::1]']");
    for (target, denied) in [
        ("a.test:443", None),
        ("10.1.2.3:80", None),
        ("a.test:22", Some(Denied::Target)),
        ("a.example:443", Some(Denied::Target)),
        ("11.1.2.3:80", Some(Denied::Target)),
        ("127.0.0.1:9000", Some(Denied::Address("loopback"))),
        ("localhost:80", Some(Denied::Address("loopback"))),
        ("[::1]:80", Some(Denied::Address("loopback"))),
    ] {
        assert_eq!(bench.denied(target), denied, "{target}");
    }
    assert_eq!(bench.known(), ["a.test:443", "10.1.2.3:80"]);
}

#[test]
fn addresses_can_be_allowed() {
    let bench = bench("allow = ['*:*'], allow_addresses = ['127.0.0.0/8']");
    let found = bench.find("localhost:9000").unwrap();
    assert_eq!(found.outlook(), Outlook::Tried);
    let endpoints = found.upstream.view(bench.now).endpoints;
    assert_eq!(endpoints[0].address.to_string(), "127.0.0.1:9000");
    let metadata = Some(Denied::Address("metadata"));
    assert_eq!(bench.denied("169.254.169.254:80"), metadata);
}

#[test]
fn a_target_is_made_once_and_its_name_followed_while_it_is_known() {
    let mut bench = bench("allow = ['*.test'], idle_timeout = '1s'");
    let first = bench.find("a.test:443").unwrap();
    let again = bench.find("A.test.:443").unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(first.outlook(), Outlook::Pending);
    assert!(!Arc::ptr_eq(&first, &bench.find("a.test:80").unwrap()));
    let mut following = bench.followed.try_recv().unwrap();
    drop((first, again));
    assert_eq!(
        following.gone.try_recv(),
        Err(oneshot::error::TryRecvError::Empty)
    );
    bench.now += Duration::from_secs(1);
    bench.forward.reap(bench.now);
    assert_eq!(
        following.gone.try_recv(),
        Err(oneshot::error::TryRecvError::Closed)
    );
    assert_eq!(bench.known(), [""; 0]);
}

#[test]
fn what_is_in_use_is_kept_and_the_rest_makes_room() {
    let mut bench = bench("allow = ['*.test'], max_targets = 2");
    let first = bench.find("a.test:443").unwrap();
    bench.now += Duration::from_secs(1);
    let _ = bench.find("b.test:443").unwrap();
    let third = bench.find("c.test:443").unwrap();
    assert_eq!(bench.known(), ["a.test:443", "c.test:443"]);
    assert_eq!(bench.denied("d.test:443"), Some(Denied::TooMany));
    drop((first, third));
    // A look at the table is no use of what is in it.
    let _views = bench.forward.view(bench.now);
    assert_eq!(bench.denied("d.test:443"), None);
    assert_eq!(bench.known(), ["c.test:443", "d.test:443"]);
}

#[test]
fn a_target_with_an_open_breaker_is_forgotten_last() {
    let mut bench = bench("allow = ['*.test'], max_targets = 2");
    let doubt = |bench: &Bench, name| {
        let found = bench.find(name).unwrap();
        let breaker = Arc::clone(found.upstream.breakers().next().unwrap().1);
        breaker.operate(Operation::Trip, bench.now).unwrap();
    };
    doubt(&bench, "a.test:443");
    for name in ["b.test:443", "c.test:443"] {
        bench.now += Duration::from_secs(1);
        let _ = bench.find(name).unwrap();
        assert_eq!(bench.known(), ["a.test:443", name]);
    }
    // Where all are in doubt, it is as among the others.
    doubt(&bench, "c.test:443");
    bench.now += Duration::from_secs(1);
    let _ = bench.find("d.test:443").unwrap();
    assert_eq!(bench.known(), ["c.test:443", "d.test:443"]);
}

#[test]
fn a_target_is_found_by_its_name_and_has_what_its_upstream_has() {
    let bench = bench("allow = ['*.test']");
    let found = bench.find("a.test:443").unwrap();
    let by_name = |name| Targets::upstream(&*bench.forward, name);
    assert!(Arc::ptr_eq(
        &by_name("a.test:443").unwrap(),
        &found.upstream
    ));
    assert!(by_name("b.test:443").is_none());
    assert!(by_name("a.test").is_none());
    assert_eq!(bench.upstream.breakers().count(), 0);
}

#[test]
fn an_answer_is_sifted_at_each_resolution() {
    let bench = bench("allow = ['*:*']");
    let found = bench.find("a.test:80").unwrap();
    let resolution = &found.resolution;
    let endpoints = || {
        let view = found.upstream.view(bench.now).endpoints.into_iter();
        view.map(|endpoint| endpoint.address.to_string())
            .collect::<Vec<_>>()
    };
    let good = IpAddr::from([10, 0, 0, 1]);
    let metadata = IpAddr::from([169, 254, 169, 254]);
    let mapped = IpAddr::V6(Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]));
    resolution.found_for_test(vec![good, metadata, mapped]);
    assert_eq!(found.outlook(), Outlook::Tried);
    assert_eq!(endpoints(), ["10.0.0.1:80"]);
    resolution.found_for_test(vec![metadata]);
    assert_eq!(found.outlook(), Outlook::Refused("metadata"));
    assert_eq!(endpoints(), [""; 0]);
    resolution.found_for_test(vec![good]);
    assert_eq!(found.outlook(), Outlook::Tried);
    assert_eq!(endpoints(), ["10.0.0.1:80"]);
}

#[test]
fn the_way_back_to_us_is_closed() {
    let here = |text: &str| text.parse::<SocketAddr>().unwrap();
    let gate = Gate::default();
    assert_eq!(gate.refuses(here("10.0.0.1:3128")), None);
    gate.set_own(&[here("10.0.0.1:3128"), here("0.0.0.0:9100")]);
    assert_eq!(gate.refuses(here("10.0.0.1:3128")), Some("own_listener"));
    assert_eq!(
        gate.refuses(here("[::ffff:10.0.0.1]:3128")),
        Some("own_listener")
    );
    assert_eq!(gate.refuses(here("10.0.0.1:3129")), None);
    // Of a documentation network, so not an address of this host.
    assert_eq!(gate.refuses(here("192.0.2.1:9100")), None);
    let loopback = "127.0.0.1".parse().unwrap();
    let open = |networks: &[&str]| {
        let exceptions = networks.iter().map(|text| text.parse().unwrap());
        Gate::new(AddressGuard {
            exceptions: exceptions.collect(),
        })
    };
    let allowed = open(&["127.0.0.0/8"]);
    allowed.set_own(&[here("0.0.0.0:9100")]);
    assert_eq!(allowed.refuses(SocketAddr::new(loopback, 9100)), None);
    assert!(super::gate::is_here(loopback));
}
