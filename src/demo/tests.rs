use super::*;

fn demo_config() -> Config {
    config::parse("demo.toml", CONFIG).unwrap()
}

#[test]
fn the_embedded_configuration_is_what_the_demo_expects() {
    let config = demo_config();
    let names = |names: Vec<&Arc<str>>| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    let listeners = names(config.listeners.iter().map(|l| &l.name).collect());
    let upstreams = names(config.upstreams.iter().map(|u| &u.name).collect());
    assert_eq!(listeners, [STEADY, MOODY]);
    assert_eq!(upstreams, [STEADY, MOODY]);
    assert!(config.admin.is_some());
    assert!(config.metrics.is_some());
}

#[test]
fn ports_move_together_or_all_go_free() {
    let mut config = demo_config();
    move_ports(&mut config, 18_001);
    let ports = |config: &Config| -> Vec<Option<u16>> {
        let listeners = config.listeners.iter().map(|l| l.address.port());
        listeners.collect()
    };
    assert_eq!(ports(&config), [Some(18_001), Some(18_002)]);
    assert_ne!(config.admin.as_ref().unwrap().port(), Some(0));

    move_ports(&mut config, 0);
    assert_eq!(ports(&config), [Some(0), Some(0)]);
    assert_eq!(config.admin.unwrap().port(), Some(0));
    assert_eq!(config.metrics.unwrap().port(), Some(0));
    let zero = |u: &config::model::Upstream| {
        let address = &u.endpoints[0].address;
        matches!(address, EndpointAddress::Name { port: 0, .. })
    };
    assert!(config.upstreams.iter().all(zero));
}

#[test]
fn a_port_in_use_is_exchanged() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = demo_config();
    move_ports(&mut config, 0);
    config.listeners[0].address = taken.local_addr().unwrap().into();
    find_ports(&mut config);
    assert_eq!(config.listeners[0].address.port(), Some(0));
}
