//! How the demo looks: a pair of lines a second within 100 columns, colour only on a terminal.
//!
//! Text in, text out: nothing here is measured, decided or printed.

use std::fmt::Write;
use std::time::Duration;

use super::moody::Mood;
use super::stats::Tally;
use crate::resilience::breaker::{State, Transition, View};

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Time since the start, on the first line of a pair.
    pub time: Option<Duration>,
    /// The upstream's name.
    pub upstream: &'a str,
    /// Its mood, where it has moods.
    pub mood: Option<Mood>,
    /// What happened in the last second.
    pub tally: Tally,
    /// p50 and p99 of the last seconds.
    pub recent: Option<(Duration, Duration)>,
    /// Its breaker.
    pub breaker: Option<&'a View>,
    /// Its slots in use.
    pub in_flight: usize,
}

/// Renders; knows whether colour is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether states are coloured.
    pub colour: bool,
}

impl Style {
    /// The heading of the table.
    pub fn heading(self) -> String {
        let line = format!(
            "{:>6}  {:<12}{:>8}{:>7}{:>9}{:>13}{:>9}{:>9}  {:<14}{:>9}",
            "time",
            "upstream",
            "calls/s",
            "ok/s",
            "failed/s",
            "local 503/s",
            "p50",
            "p99",
            "breaker",
            "in flight"
        );
        self.paint("1", &line)
    }

    /// One line of the table.
    pub fn line(self, line: &Line<'_>) -> String {
        let time = line.time.map_or_else(String::new, clock);
        let upstream = match line.mood {
            Some(mood) => format!("{} ({})", line.upstream, mood.as_str()),
            None => line.upstream.to_owned(),
        };
        let latency = |value: Option<Duration>| value.map_or_else(|| "-".to_owned(), brief);
        let Tally {
            begun,
            ok,
            failed,
            local,
            ..
        } = line.tally;
        // Padded before it is painted: a colour code has no width.
        let breaker = format!(
            "{:<14}",
            line.breaker.map_or_else(|| "-".to_owned(), breaker)
        );
        let breaker = match line.breaker {
            Some(view) => self.paint(colour(view.state), &breaker),
            None => breaker,
        };
        format!(
            "{time:>6}  {upstream:<12}{begun:>8}{ok:>7}{failed:>9}{local:>13}{:>9}{:>9}  \
             {breaker}{:>9}",
            latency(line.recent.map(|(p50, _)| p50)),
            latency(line.recent.map(|(_, p99)| p99)),
            line.in_flight,
        )
    }

    /// A change of mood.
    pub fn mood(self, time: Duration, upstream: &str, mood: Mood) -> String {
        let what = match mood {
            Mood::Ok => "answers well again",
            Mood::Slow => "takes 3 s per call from now on",
            Mood::Fail => "answers 500 from now on",
            Mood::Hang => "hangs for 30 s per call from now on",
        };
        let mood = self.paint("1", mood.as_str());
        format!("{:>6}  -- {mood}: {upstream} {what}", clock(time))
    }

    /// A change of state of a breaker, and how long after the change of mood it came.
    pub fn transition(
        self,
        time: Duration,
        upstream: &str,
        transition: &Transition,
        after: Option<(Duration, Mood)>,
    ) -> String {
        let mut line = format!(
            "{:>6}  >> breaker of {upstream}: {} -> {}, {}",
            clock(time),
            transition.from.as_str(),
            self.paint(colour(transition.to), transition.to.as_str()),
            transition.cause.as_str(),
        );
        if let Some((after, mood)) = after {
            let _ = write!(line, ", {} after `{}`", brief(after), mood.as_str());
        }
        if let Some(wait) = transition.open_wait {
            let _ = write!(line, "; probes in {}", brief(wait));
        }
        line
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn breaker(view: &View) -> String {
    let state = view.state.as_str();
    match view.state {
        State::Open => format!("{state}, {}", brief(view.open_remaining)),
        State::HalfOpen => format!("{state}, {}", view.probes_left),
        _ => state.to_owned(),
    }
}

/// Green, red, yellow; an operator's override in blue.
const fn colour(state: State) -> &'static str {
    match state {
        State::Closed => "32",
        State::Open => "31",
        State::HalfOpen => "33",
        State::MetricsOnly | State::Disabled | State::ForcedOpen => "34",
    }
}

/// A time since the start in whole seconds.
fn clock(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// A duration in three digits or so.
pub fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let millis = seconds * 1e3;
    if seconds >= 10.0 {
        format!("{seconds:.1} s")
    } else if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if millis >= 100.0 {
        format!("{millis:.0} ms")
    } else if millis >= 1.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.2} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::breaker::{Cause, Counts};

    const PLAIN: Style = Style { colour: false };

    fn view(state: State) -> View {
        View {
            state,
            counts: Counts::default(),
            failure_rate: None,
            slow_rate: None,
            opens: 1,
            open_remaining: Duration::from_millis(4_210),
            probes_left: 2,
            override_remaining: None,
            transitions: 1,
            last: None,
        }
    }

    fn line(breaker: Option<&View>) -> Line<'_> {
        Line {
            time: Some(Duration::from_secs(12)),
            upstream: "moody",
            mood: Some(Mood::Hang),
            tally: Tally {
                begun: 30,
                ok: 1,
                failed: 2,
                local: 27,
                skipped: 0,
            },
            recent: Some((Duration::from_micros(420), Duration::from_millis(5_003))),
            breaker,
            in_flight: 31,
        }
    }

    #[test]
    fn lines_stand_under_their_heading() {
        let heading = PLAIN.heading();
        assert!(heading.len() <= 100, "{}", heading.len());
        for state in State::ALL {
            let view = view(state);
            let plain = PLAIN.line(&line(Some(&view)));
            assert_eq!(plain.len(), heading.len(), "{plain}");
            assert!(!plain.contains('\x1b'));
            let coloured = Style { colour: true }.line(&line(Some(&view)));
            assert!(coloured.contains("\x1b["));
        }
        let plain = PLAIN.line(&line(None));
        assert_eq!(plain.len(), heading.len(), "{plain}");
        assert!(plain.contains("0.42 ms   5.00 s"), "{plain}");
    }

    #[test]
    fn a_transition_says_why_and_how_soon() {
        let transition = Transition {
            from: State::Closed,
            to: State::Open,
            cause: Cause::Overdue,
            counts: Counts::default(),
            open_wait: Some(Duration::from_secs(5)),
        };
        let after = Some((Duration::from_millis(3_170), Mood::Hang));
        let text = PLAIN.transition(Duration::from_secs(6), "moody", &transition, after);
        assert_eq!(
            text,
            "   6 s  >> breaker of moody: closed -> open, overdue, 3.17 s after `hang`; \
             probes in 5.00 s"
        );
        assert!(text.len() <= 100);
    }

    #[test]
    fn durations_are_brief() {
        for (micros, text) in [
            (0, "0.00 ms"),
            (420, "0.42 ms"),
            (9_940, "9.9 ms"),
            (250_000, "250 ms"),
            (3_170_000, "3.17 s"),
            (30_000_000, "30.0 s"),
        ] {
            assert_eq!(brief(Duration::from_micros(micros)), text);
        }
    }
}
