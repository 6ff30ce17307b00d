//! Reads the Prometheus text format, as far as the tests ask for it.

/// One line of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// Every sample of an exposition.
pub(crate) fn parse(text: &str) -> Vec<Sample> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}")))
        .collect()
}

/// The sum of the samples of this name that carry all these labels; 0 where there is none, as a
/// counter that was never touched may be absent.
pub(crate) fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let carries = |sample: &&Sample| {
        let has = |label: &(&str, &str)| {
            sample
                .labels
                .iter()
                .any(|(name, value)| (name.as_str(), value.as_str()) == *label)
        };
        sample.name == name && labels.iter().all(has)
    };
    samples
        .iter()
        .filter(carries)
        .fold(0.0, |sum, sample| sum + sample.value)
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let labels = labels
        .split("\",")
        .filter(|label| !label.is_empty())
        .map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
    Some(Sample {
        name: name.to_owned(),
        labels: labels.collect::<Option<_>>()?,
        value: value.parse().ok()?,
    })
}
