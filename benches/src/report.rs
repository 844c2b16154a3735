//! The report: the machine, then one markdown table per section.

use std::fmt;
use std::process::Command;

/// One table with a title and remarks below it. Further sections (the machine alone, cost by size) are
/// further values of this type: columns are free.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Heading of the section.
    pub title: String,
    /// Headings of the columns; the first is left-aligned, the others right-aligned.
    pub columns: Vec<String>,
    /// Cells, row by row. A short row is filled up with empty cells.
    pub rows: Vec<Vec<String>>,
    /// Remarks, one line each.
    pub remarks: Vec<String>,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.columns.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(2)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (column, width) in widths.iter().enumerate() {
                let cell = cells.get(column).map_or("", String::as_str);
                match column {
                    0 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")
        };
        writeln!(f, "### {}\n", self.title)?;
        line(f, &self.columns)?;
        for (column, width) in widths.iter().enumerate() {
            let dashes = "-".repeat(width - 1);
            match column {
                0 => write!(f, "| {dashes}- ")?,
                _ => write!(f, "| {dashes}: ")?,
            }
        }
        writeln!(f, "|")?;
        for row in &self.rows {
            line(f, row)?;
        }
        if !self.remarks.is_empty() {
            writeln!(f)?;
        }
        for remark in &self.remarks {
            writeln!(f, "- {remark}")?;
        }
        Ok(())
    }
}

/// What the numbers were measured on, in one line; `broker` is its name and version.
pub fn machine(broker: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    let rustc =
        Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let rustc = String::from_utf8_lossy(&rustc);
    let rustc = rustc.split_whitespace().nth(1).unwrap_or("?");
    format!(
        "Machine: {cores} cores, {}, Linux {}, {broker} on loopback, rustc {rustc}, load {load} at the start.",
        model.unwrap_or("unknown CPU").trim(),
        kernel.trim()
    )
}

/// `1234567.8` as `1,234,568`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        let grouped = [0.0, 999.4, 1000.0, 1_234_567.8].map(thousands);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,568"]);
    }

    #[test]
    fn prints_an_aligned_table_with_short_rows_filled() {
        let section = Section {
            title: "sizes".into(),
            columns: ["who", "msgs/s"].map(String::from).to_vec(),
            rows: vec![vec!["floor".into(), "1,000".into()], vec!["x".into()]],
            remarks: vec!["a remark".into()],
        };
        let expected = "### sizes\n\n| who   | msgs/s |\n| ----- | -----: |\n| floor |  1,000 |\n| x     |        |\n\n- a remark\n";
        assert_eq!(section.to_string(), expected);
    }

    #[test]
    fn the_machine_has_a_line() {
        let line = machine("a broker 1.0");
        assert!(line.contains("a broker 1.0") && line.contains("Linux"));
    }
}
