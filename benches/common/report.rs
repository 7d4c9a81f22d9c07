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
    Bytes,
    /// 2^20 bytes.
    Mebibytes,
    Count,
    /// How many times something else.
    Times,
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
            Self::Times => format!("{value:.3}"),
            Self::Count => format!("{value:.0}"),
            _ => format!("{value:.digits$}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::PerSecond => "M/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Bytes => "bytes",
            Self::Mebibytes => "MiB",
            Self::Count | Self::Times => "",
        }
    }
}

/// How far the product may be from the baseline, or a figure that has none from 0.
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
    /// One for each round.
    product: Vec<f64>,
    /// As many, or none if the row stands by itself.
    bare: Vec<f64>,
}

/// The rows of one benchmark, in the order of their first figures.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the product is compared with.
    baseline: &'static str,
    rows: Vec<Row>,
}

impl Default for Table {
    fn default() -> Self {
        Self::against("bare")
    }
}

impl Table {
    pub(crate) fn against(baseline: &'static str) -> Self {
        Self {
            baseline,
            rows: Vec::new(),
        }
    }

    /// Adds the figures of one round to a row.
    pub(crate) fn add(&mut self, name: &str, unit: Unit, bar: Bar, product: f64, bare: f64) {
        let row = self.row(name, unit, bar);
        row.product.push(product);
        row.bare.push(bare);
    }

    /// Adds the figure of one round to a row that is compared with nothing: its bar is of the figure itself.
    pub(crate) fn add_alone(&mut self, name: &str, unit: Unit, bar: Bar, figure: f64) {
        self.row(name, unit, bar).product.push(figure);
    }

    fn row(&mut self, name: &str, unit: Unit, bar: Bar) -> &mut Row {
        let known = self.rows.iter().position(|row| row.name == name);
        let index = known.unwrap_or(self.rows.len());
        if known.is_none() {
            self.rows.push(Row {
                name: name.to_owned(),
                unit,
                bar,
                product: Vec::new(),
                bare: Vec::new(),
            });
        }
        &mut self.rows[index]
    }

    /// Prints the medians with (smallest–largest); the ratio is the median of the rounds' own. Rows that stand by
    /// themselves come after the others.
    pub(crate) fn print(&self) {
        let (alone, compared): (Vec<&Row>, Vec<&Row>) =
            self.rows.iter().partition(|row| row.bare.is_empty());
        if !compared.is_empty() {
            println!("| what | ratio | product | {} | bar |", self.baseline);
            println!("| --- | --- | --- | --- | --- |");
        }
        for row in &compared {
            let ratios = row.product.iter().zip(&row.bare);
            let ratio = Spread::of(ratios.map(|(product, bare)| product / bare));
            println!(
                "| {} | **{:.2}** ({:.2}–{:.2}) | {} | {} | {} |",
                row.name,
                ratio.median,
                ratio.least,
                ratio.most,
                Spread::of(row.product.iter().copied()).show(row.unit),
                Spread::of(row.bare.iter().copied()).show(row.unit),
                row.bar.verdict(ratio.median, |limit| limit.to_string()),
            );
        }
        if !alone.is_empty() {
            let apart = if compared.is_empty() { "" } else { "\n" };
            println!("{apart}| what | median | bar |\n| --- | --- | --- |");
        }
        for row in &alone {
            let figure = Spread::of(row.product.iter().copied());
            println!(
                "| {} | {} | {} |",
                row.name,
                figure.show(row.unit),
                row.bar.verdict(figure.median, |limit| {
                    let limit = format!("{} {}", row.unit.show(limit), row.unit.name());
                    limit.trim_end().to_owned()
                }),
            );
        }
    }
}

impl Bar {
    fn verdict(self, median: f64, show: impl Fn(f64) -> String) -> String {
        let (sign, limit, met) = match self {
            Self::None => return "–".to_owned(),
            Self::AtMost(limit) => ('≤', limit, median <= limit),
            Self::AtLeast(limit) => ('≥', limit, median >= limit),
        };
        let met = if met { "met" } else { "missed" };
        format!("{sign} {}, {met}", show(limit))
    }
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
        let median = format!("{} {}", unit.show(self.median), unit.name());
        let (least, most) = (unit.show(self.least), unit.show(self.most));
        format!("{} ({least}–{most})", median.trim_end())
    }
}

/// The value below which that share of the values lies; sorts them.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}
