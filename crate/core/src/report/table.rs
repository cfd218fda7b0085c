//! Columns that line up.

use super::style::{Line, Role, Style, display_width};

/// Spaces between two columns.
const GAP: usize = 2;

/// Which end of a column its cells keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Which end its cells keep to.
    pub align: Align,
    /// What its cells are.
    pub role: Role,
    /// Its width in columns of the terminal; grows with [`Table::fit`].
    pub width: usize,
}

impl Column {
    /// A column as wide as its heading.
    #[must_use]
    pub fn new(title: &'static str, align: Align, role: Role) -> Self {
        Self {
            title,
            align,
            role,
            width: display_width(title),
        }
    }

    /// The column with room for a text of this width.
    #[must_use]
    pub fn at_least(mut self, width: usize) -> Self {
        self.width = self.width.max(width);
        self
    }
}

/// Columns with fixed widths, so that rows can be written one by one; the
/// last one takes what is left of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Left to right.
    pub columns: Vec<Column>,
    /// Spaces before the first.
    pub indent: usize,
}

impl Table {
    /// A table of these columns, indented by two.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, indent: 2 }
    }

    /// Widens the columns to hold these cells whole.
    pub fn fit<S: AsRef<str>>(&mut self, cells: &[S]) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.width = column.width.max(display_width(cell.as_ref()));
        }
    }

    /// Columns of the terminal that a full row takes.
    #[must_use]
    pub fn width(&self) -> usize {
        let gaps = self.columns.len().saturating_sub(1) * GAP;
        self.indent
            + gaps
            + self
                .columns
                .iter()
                .map(|column| column.width)
                .sum::<usize>()
    }

    /// The headings.
    #[must_use]
    pub fn head(&self, style: &Style) -> Line {
        let titles: Vec<Line> = self
            .columns
            .iter()
            .map(|column| Line::new(style).with(Role::Metadata, column.title))
            .collect();
        self.lay(style, &titles)
    }

    /// A row of plain cells in the roles of their columns.
    #[must_use]
    pub fn row<S: AsRef<str>>(&self, style: &Style, cells: &[S]) -> Line {
        let cells: Vec<Line> = self
            .columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| Line::new(style).with(column.role, cell.as_ref()))
            .collect();
        self.lay(style, &cells)
    }

    /// A row of cells with roles of their own. A cell too wide for its column
    /// is cut; the last one only at the end of the line.
    #[must_use]
    pub fn lay(&self, style: &Style, cells: &[Line]) -> Line {
        let mut line = Line::new(style);
        line.space(self.indent);
        let last = self.columns.len().min(cells.len()).saturating_sub(1);
        for (position, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if position > 0 {
                line.space(GAP);
            }
            let cell = if position == last && column.align == Align::Left {
                cell.clone()
            } else {
                cell.cut(column.width)
            };
            let padding = column.width.saturating_sub(cell.width());
            if column.align == Align::Right {
                line.space(padding);
            }
            line.append(&cell);
            if column.align == Align::Left && position != last {
                line.space(padding);
            }
        }
        line.cut(style.columns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{ASCII, PLAIN};

    fn texts(table: &Table, rows: &[[&str; 3]], style: &Style) -> String {
        let mut text = String::new();
        table.head(style).render(style, &mut text);
        for row in rows {
            table.row(style, row).render(style, &mut text);
        }
        text
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(vec![
            Column::new("n", Align::Right, Role::Plain),
            Column::new("name", Align::Left, Role::Title),
            Column::new("note", Align::Left, Role::Plain),
        ]);
        let rows = [["1", "世界", "a"], ["1,024", "b", "cd"]];
        for row in &rows {
            table.fit(row);
        }
        assert_eq!(table.width(), 2 + 5 + 2 + 4 + 2 + 4);
        assert_eq!(
            texts(&table, &rows, &PLAIN),
            "      n  name  note\n      1  世界  a\n  1,024  b     cd\n"
        );
    }

    #[test]
    fn a_wide_cell_is_cut_and_the_last_is_elastic() {
        let table = Table::new(vec![
            Column::new("n", Align::Right, Role::Plain),
            Column::new("name", Align::Left, Role::Plain),
            Column::new("rest", Align::Left, Role::Plain),
        ]);
        let rows = [["1", "abcdefgh", "a long text in the last column"]];
        let narrow = Style { width: 24, ..ASCII };
        assert_eq!(
            texts(&table, &rows, &narrow),
            "  n  name  rest\n  1  a...  a long tex...\n"
        );
    }
}
