//! The words that a person types and the schedule that types them for a script.

use std::time::Duration;

use super::moody::Mood;

/// What may be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The moody upstream behaves like this from now on.
    Mood(Mood),
    /// Show what may be typed.
    Help,
    /// End.
    Quit,
}

impl Word {
    /// Reads one word, whatever its case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = text.trim().to_ascii_lowercase();
        match word.as_str() {
            "help" | "?" => Ok(Self::Help),
            "quit" | "exit" | "q" => Ok(Self::Quit),
            _ => Mood::parse(&word)
                .map(Self::Mood)
                .ok_or_else(|| format!("`{word}` is none of ok, slow, fail, hang, help, quit")),
        }
    }
}

/// Words with the time since the start at which each is due, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<(Duration, Word)>);

impl Script {
    /// Reads a schedule such as `3s hang; 15s ok`: times count from the start and must not fall.
    pub fn parse(
        text: &str,
        duration: impl Fn(&str) -> Result<Duration, String>,
    ) -> Result<Self, String> {
        let mut steps: Vec<(Duration, Word)> = Vec::new();
        for step in text.split(';').map(str::trim).filter(|s| !s.is_empty()) {
            let (time, word) = step
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("`{step}` is not a time and a word, such as `3s hang`"))?;
            let time = duration(time)?;
            if steps.last().is_some_and(|(before, _)| *before > time) {
                return Err(format!("`{step}` comes before the step in front of it"));
            }
            steps.push((time, Word::parse(word)?));
        }
        Ok(Self(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        let seconds = |text: &str| {
            let number = text.strip_suffix('s').ok_or("no unit")?;
            let number = number.parse().map_err(|_| "no number")?;
            Ok(Duration::from_secs(number))
        };
        Script::parse(text, seconds)
    }

    #[test]
    fn a_schedule_is_times_and_words() {
        let at = Duration::from_secs;
        let script = parse(" 3s hang;15s  OK ; 20s quit; ").unwrap();
        let expected = vec![
            (at(3), Word::Mood(Mood::Hang)),
            (at(15), Word::Mood(Mood::Ok)),
            (at(20), Word::Quit),
        ];
        assert_eq!(script, Script(expected));
        assert_eq!(parse("").unwrap(), Script::default());
    }

    #[test]
    fn a_wrong_schedule_is_explained() {
        for (text, part) in [
            ("hang", "not a time and a word"),
            ("3s sulk", "`sulk` is none of"),
            ("3 hang", "no unit"),
            ("3s hang; 2s ok", "`2s ok` comes before"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
