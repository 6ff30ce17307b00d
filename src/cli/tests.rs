use clap::CommandFactory;

use super::probe::Place;
use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.command)
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn commands_are_understood() {
    let exec = parse("outrigger exec --config o.toml -- app --flag").unwrap();
    let Command::Exec { config, command } = exec else {
        panic!("{exec:?}");
    };
    assert_eq!(config.file, Path::new("o.toml"));
    assert_eq!(command, ["app", "--flag"]);

    let wait = parse("outrigger wait --timeout 250ms --url http://127.0.0.1:1").unwrap();
    let Command::Wait { target, timeout } = wait else {
        panic!("{wait:?}");
    };
    assert_eq!(timeout, Duration::from_millis(250));
    assert!(matches!(target.url, Some(Place::Http(url)) if url.port_u16() == Some(1)));
    let wait = parse("outrigger wait --url unix:/run/metrics.sock").unwrap();
    let Command::Wait { target, .. } = wait else {
        panic!("{wait:?}");
    };
    let Some(Place::Socket(socket)) = target.url else {
        panic!("{target:?}");
    };
    assert_eq!(socket.to_string(), "unix:/run/metrics.sock");
}

#[test]
fn mistakes_are_usage_errors() {
    for line in [
        "outrigger",
        "outrigger fly",
        "outrigger check",
        "outrigger check o.toml --format xml",
        "outrigger exec --config o.toml",
        "outrigger wait --timeout soon",
        "outrigger wait --url unix:run/metrics.sock",
        "outrigger demo --rate 0",
        "outrigger demo --script hang",
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.use_stderr(), "{line}");
    }
    assert!(!parse("outrigger --version").unwrap_err().use_stderr());
    assert!(!parse("outrigger help demo").unwrap_err().use_stderr());
}
