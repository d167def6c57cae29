//! A plain-text table whose columns line up.

use std::io::{self, Write};

/// The width that tables are made for, characters.
const WIDTH: usize = 120;
/// What a flexible column is never cut below, characters.
const MIN_FLEXIBLE: usize = 12;

/// A column.
pub(super) struct Column {
    /// The header.
    pub(super) title: &'static str,
    /// Whether cells are on the left or the right.
    pub(super) align: Align,
}

/// Where a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
    /// Words that are cut where the table would be too wide.
    Flexible,
}

/// Prints the rows below their titles; every row has a cell for each column.
pub(super) fn print(out: &mut dyn Write, columns: &[Column], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(column.title.len())
        })
        .collect();
    let total =
        |widths: &[usize], gap: usize| widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1);
    // Narrow the gaps first, then cut.
    let gap = if total(&widths, 2) <= WIDTH { 2 } else { 1 };
    for (index, column) in columns.iter().enumerate() {
        let excess = total(&widths, gap).saturating_sub(WIDTH);
        if let Some(width) = widths.get_mut(index)
            && column.align == Align::Flexible
        {
            *width = width.saturating_sub(excess).max(MIN_FLEXIBLE.min(*width));
        }
    }
    let titles: Vec<_> = columns.iter().map(|column| column.title.to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
            let cell = cut(cell, *width);
            match column.align {
                Align::Right => line.push_str(&format!("{cell:>width$}")),
                Align::Left | Align::Flexible => line.push_str(&format!("{cell:<width$}")),
            }
            line.push_str(&" ".repeat(gap));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The text, with its end cut off where it is longer than `width` characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rows: &[Vec<String>]) -> String {
        let columns = [
            Column { title: "NAME", align: Align::Flexible },
            Column { title: "N", align: Align::Right },
            Column { title: "WORD", align: Align::Left },
        ];
        let mut out = Vec::new();
        print(&mut out, &columns, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn row(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn words_are_on_the_left_and_numbers_on_the_right() {
        assert_eq!(
            printed(&[row(["a", "100", "x"]), row(["abcdef", "2", "-"])]),
            "NAME      N  WORD\na       100  x\nabcdef    2  -\n"
        );
    }

    #[test]
    fn a_flexible_column_is_cut_to_keep_the_width() {
        let long = "é".repeat(300);
        let text = printed(&[row([&long, "1", "x"])]);
        assert!(text.contains("é… 1 x"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
