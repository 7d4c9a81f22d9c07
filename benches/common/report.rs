//! Figures of several rounds, and the table of their medians.

/// What a figure counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Micros,
    Millis,
    /// Tasks or messages.
    PerSecond,
    /// 10^6 bytes, those of both directions.
    MegabytesPerSecond,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let digits = match value {
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        match self {
            Self::PerSecond => format!("{:.3}", value / 1e6),
            _ => format!("{value:.digits$}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::PerSecond => "M/s",
            Self::MegabytesPerSecond => "MB/s",
        }
    }
}

/// How far the product may be from the baseline.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    None,
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: Unit,
    bar: Bar,
    /// Product and baseline, one pair for each round.
    rounds: Vec<(f64, f64)>,
}

/// The rows of one benchmark, in the order of their first figures.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds the figures of one round to a row.
    pub(crate) fn add(&mut self, name: &str, unit: Unit, bar: Bar, product: f64, bare: f64) {
        let figures = (product, bare);
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.rounds.push(figures),
            None => self.rows.push(Row {
                name: name.to_owned(),
                unit,
                bar,
                rounds: vec![figures],
            }),
        }
    }

    /// Prints the medians with (smallest–largest); the ratio is the median of the rounds' own.
    pub(crate) fn print(&self) {
        println!("| what | ratio | product | bare | bar |");
        println!("| --- | --- | --- | --- | --- |");
        for row in &self.rows {
            let ratio = Spread::of(row.rounds.iter().map(|(product, bare)| product / bare));
            let product = Spread::of(row.rounds.iter().map(|(product, _)| *product));
            let bare = Spread::of(row.rounds.iter().map(|(_, bare)| *bare));
            let bar = match row.bar {
                Bar::None => "–".to_owned(),
                Bar::AtMost(limit) => verdict("≤", limit, ratio.median <= limit),
                Bar::AtLeast(limit) => verdict("≥", limit, ratio.median >= limit),
            };
            println!(
                "| {} | **{:.2}** ({:.2}–{:.2}) | {} | {} | {bar} |",
                row.name,
                ratio.median,
                ratio.least,
                ratio.most,
                product.show(row.unit),
                bare.show(row.unit),
            );
        }
    }
}

fn verdict(sign: &str, limit: f64, met: bool) -> String {
    format!("{sign} {limit}, {}", if met { "met" } else { "missed" })
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        Self {
            median: percentile(&mut values, 0.5),
            least: percentile(&mut values, 0.0),
            most: percentile(&mut values, 1.0),
        }
    }

    fn show(&self, unit: Unit) -> String {
        format!(
            "{} {} ({}–{})",
            unit.show(self.median),
            unit.name(),
            unit.show(self.least),
            unit.show(self.most)
        )
    }
}

/// The value below which that share of the values lies; sorts them.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}
