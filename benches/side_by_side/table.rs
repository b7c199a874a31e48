//! What was measured, as a table in Markdown.

use crate::process::Measured;

#[derive(Debug, Default)]
pub struct Table {
    /// To be shown as a rate, records.
    records: Option<u64>,
    lines: Vec<String>,
}

impl Table {
    pub fn new() -> Table {
        Table::default()
    }

    /// Shows how many of `records` went in a second.
    pub fn with_rate(records: u64) -> Table {
        Table { records: Some(records), lines: Vec::new() }
    }

    pub fn add(&mut self, what: &str, measured: &Measured, against: Option<(&str, &Measured)>) {
        let Measured { seconds, processor_seconds, peak, .. } = measured;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let megabytes = *peak as f64 / 1e6;
        let ratios = against.map_or_else(
            || " |".to_owned(),
            |(name, other)| {
                #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                let memory = *peak as f64 / other.peak as f64;
                format!("{:.2} x {name} | {memory:.2} x {name}", seconds / other.seconds)
            },
        );
        let digits = if *seconds < 0.1 { 3 } else { 2 };
        let rate = self.records.map_or_else(String::new, |records| {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let rate = records as f64 / seconds;
            format!(" {rate:.0} |")
        });
        self.lines.push(format!(
            "| {what} | {seconds:.digits$} s | {processor_seconds:.2} s | {megabytes:.0} MB |{rate} {ratios} |"
        ));
    }

    pub fn print(&self) {
        let (rate, rule) =
            if self.records.is_some() { (" records a second |", "---|") } else { ("", "") };
        println!("\n| what | time | processor | peak memory |{rate} time, ratio | memory, ratio |");
        println!("|---|---|---|---|{rule}---|---|");
        for line in &self.lines {
            println!("{line}");
        }
        println!();
    }
}
