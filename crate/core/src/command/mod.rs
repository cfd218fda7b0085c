//! What the user types: one definition per command and option, from which the
//! parser, `help`, completion and the README's table are made.
//!
//! Nothing here knows gdb or a target: a command line becomes a [`Request`] or
//! a [`UsageError`] of one line.

mod complete;
mod definition;
mod help;
mod parse;

pub use complete::complete;
pub use definition::{
    Command, Definition, Example, Operand, OptionDefinition, OptionId, Value, definition,
    definitions,
};
pub use help::{help_text, markdown_table};
pub(crate) use parse::unquote;
pub use parse::{
    BucketRange, Engine, Limit, Only, Options, Pattern, Request, Sort, UsageError, parse,
};
