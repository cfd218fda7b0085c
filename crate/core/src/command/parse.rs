//! From a command line to a [`Request`].
//!
//! Options are cut out of the line wherever a token outside quotes and
//! brackets has an option's look; what remains, spelled exactly as typed, is
//! the expression. gdb's own option parser is not open to Python; this one
//! keeps its look.

use thiserror::Error;

use crate::events::Op;

use super::definition::{
    Command, Definition, Operand, OptionDefinition, OptionId, Value, definition, definitions,
};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The command.
    pub command: Command,
    /// The expressions as typed, or the names of files; empty for a command that takes
    /// neither.
    pub expressions: Vec<String>,
    /// Every option, with its default where it was not given.
    pub options: Options,
}

/// The options of all commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `-json`
    pub json: bool,
    /// `-type TYPE`
    pub type_name: Option<String>,
    /// `-limit N`, `-top N` and `-all`
    pub limit: Limit,
    /// `-range A:B`
    pub range: Option<BucketRange>,
    /// `-only KIND`
    pub only: Option<Only>,
    /// `-heat`
    pub heat: bool,
    /// `-key K`
    pub key: Option<String>,
    /// `-force`
    pub force: bool,
    /// `-allow-write`
    pub allow_write: bool,
    /// `-garbage`
    pub garbage: bool,
    /// `-quick`
    pub quick: bool,
    /// `-holders`
    pub holders: bool,
    /// `-min SIZE`, in bytes
    pub min: u64,
    /// `-op OP[,OP]`; empty for all
    pub ops: Vec<Op>,
    /// `-pprof FILE`
    pub pprof: Option<String>,
    /// `-sort`
    pub sort: Sort,
    /// `-type REGEX`
    pub pattern: Option<Pattern>,
    /// `-buckets`
    pub buckets: bool,
    /// `-density`
    pub density: bool,
    /// `-engine`
    pub engine: Engine,
    /// `-every N`
    pub every: Option<u64>,
    /// `-max N`
    pub max: Option<u64>,
    /// `-o FILE`
    pub output: Option<String>,
    /// The words of `-on`
    pub on: Vec<&'static str>,
    /// `-rate HZ`
    pub rate: Option<u64>,
    /// `-scan`
    pub scan: bool,
    /// `-stack DEPTH`
    pub stack: Option<u64>,
    /// `-snapshot FILE`, and so on
    pub snapshots: Vec<String>,
    /// `-events FILE`
    pub events: Vec<String>,
    /// `-ring FILE`
    pub rings: Vec<String>,
    /// `-trace FILE`
    pub traces: Vec<String>,
    /// `-heap FILE`
    pub heaps: Vec<String>,
    /// `-cpu FILE`
    pub cpus: Vec<String>,
}

/// The words of `-engine`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// As fits.
    #[default]
    Auto,
    /// Breakpoints.
    Break,
    /// The kernel's probes.
    Uprobe,
    /// Hardware watchpoints.
    Watch,
}

impl Engine {
    /// As the option spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Break => "break",
            Self::Uprobe => "uprobe",
            Self::Watch => "watch",
        }
    }

    fn of(word: &str) -> Self {
        [Self::Break, Self::Uprobe, Self::Watch]
            .into_iter()
            .find(|engine| engine.word() == word)
            .unwrap_or_default()
    }
}

impl Options {
    /// How many rows to list, `None` for all, when the setting `go-map limit`
    /// says `default` (`None`: unlimited). A JSON document and a range are
    /// whole unless `-limit` cuts them; `-heat` alone lists none.
    #[must_use]
    pub fn rows(&self, default: Option<u64>) -> Option<u64> {
        match self.limit {
            Limit::All => None,
            Limit::Count(count) => Some(count),
            Limit::Default if self.json => None,
            Limit::Default if self.heat => Some(0),
            Limit::Default if self.range.is_some() => None,
            Limit::Default => default,
        }
    }
}

/// How many rows to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Limit {
    /// Neither `-limit` nor `-all` was given.
    #[default]
    Default,
    /// `-limit N`, N at least 1.
    Count(u64),
    /// `-all`, `-limit 0` or `-limit unlimited`.
    All,
}

/// Buckets `first` up to, not including, `end`; `first < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRange {
    /// The first bucket of the walk that is wanted.
    pub first: u64,
    /// The first that is no more; `None`: to the end of the walk.
    pub end: Option<u64>,
}

impl BucketRange {
    /// Whether it holds the bucket at this position of the walk.
    #[must_use]
    pub fn contains(self, index: u64) -> bool {
        self.first <= index && self.end.is_none_or(|end| index < end)
    }
}

/// Which buckets to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Without a live slot.
    Empty,
    /// With 8 live slots.
    Full,
    /// Overflow buckets.
    Overflow,
    /// With a tombstone.
    Tombstone,
    /// Of the old array, during growth.
    Old,
}

impl Only {
    /// The word the option takes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Full => "full",
            Self::Overflow => "overflow",
            Self::Tombstone => "tombstone",
            Self::Old => "old",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [
            Self::Empty,
            Self::Full,
            Self::Overflow,
            Self::Tombstone,
            Self::Old,
        ]
        .into_iter()
        .find(|only| only.word() == word)
    }
}

/// By what maps are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// What a rebuild would give back, most first.
    #[default]
    Reclaimable,
    /// What they take, most first.
    Allocated,
    /// Entries, most first.
    Len,
    /// Hole density, highest first.
    Holes,
    /// Where their headers lie.
    Address,
}

impl Sort {
    /// The word the option takes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reclaimable => "reclaimable",
            Self::Allocated => "allocated",
            Self::Len => "len",
            Self::Holes => "holes",
            Self::Address => "address",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [
            Self::Reclaimable,
            Self::Allocated,
            Self::Len,
            Self::Holes,
            Self::Address,
        ]
        .into_iter()
        .find(|sort| sort.word() == word)
    }
}

/// A part of a type's name: as it stands, or as a regular expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Option<regex_lite::Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// # Errors
    /// Why `text` can be neither: brackets that do not pair, for example.
    fn new(text: &str) -> Result<Self, String> {
        let regex = match regex_lite::Regex::new(text) {
            Ok(regex) => Some(regex),
            // A type's own name, with a character that only a regex minds.
            Err(_) if text.contains("map[") => None,
            Err(error) => return Err(error.to_string()),
        };
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// As typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a part of `name` fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        name.contains(&self.text)
            || self
                .regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(name))
    }
}

/// A command line that cannot be followed; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// No command has this name.
    #[error("No command is called {0}.")]
    UnknownCommand(String),
    /// No option of the command has this name.
    #[error("{command} has no option {option}; {hint}")]
    UnknownOption {
        /// The command.
        command: &'static str,
        /// The option as typed.
        option: String,
        /// A sentence that helps on.
        hint: String,
    },
    /// The abbreviation fits more than one option.
    #[error("{option} is ambiguous: {}.", candidates.join(", "))]
    AmbiguousOption {
        /// The abbreviation as typed.
        option: String,
        /// The options it may mean.
        candidates: Vec<String>,
    },
    /// The option was given without its value.
    #[error("{option} needs a value: {option} {placeholder}{hint}.")]
    MissingValue {
        /// The option.
        option: String,
        /// Its value's name in help.
        placeholder: String,
        /// What to do when the value begins with a dash; may be empty.
        hint: &'static str,
    },
    /// A switch was given a value.
    #[error("{0} takes no value.")]
    UnexpectedValue(String),
    /// The value does not fit the option.
    #[error("{option} {found}: {expected}.")]
    BadValue {
        /// The option.
        option: String,
        /// The value as typed.
        found: String,
        /// What would fit.
        expected: String,
    },
    /// The option was given more than once.
    #[error("{0} is given twice.")]
    Repeated(String),
    /// Two options ask for different things.
    #[error("{first} and {second} contradict each other: {reason}.")]
    Contradiction {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// An option only means something beside another.
    #[error("{0} needs {1}.")]
    Alone(&'static str, &'static str),
    /// A quote is not closed.
    #[error("Unmatched {} quote.", if *(.0) == '\'' { "single" } else { "double" })]
    UnmatchedQuote(char),
    /// The command needs an expression.
    #[error("{0} needs an expression: {1}")]
    MissingExpression(&'static str, String),
    /// The command needs the name of a file.
    #[error("{0} needs the name of a file: {1}")]
    MissingFile(&'static str, String),
    /// The command takes fewer files.
    #[error("{0} compares two files at most: {1}")]
    TooManyFiles(&'static str, String),
    /// The command takes no expression.
    #[error("{0} takes no expression{1}")]
    UnexpectedExpression(&'static str, String),
}

/// Reads the argument of a command.
///
/// # Errors
///
/// A [`UsageError`] of one line for whatever cannot be followed.
pub fn parse(command: &str, argument: &str) -> Result<Request, UsageError> {
    let definition =
        definition(command).ok_or_else(|| UsageError::UnknownCommand(quoted(command)))?;
    parse_for(definition, argument)
}

fn parse_for(definition: &Definition, argument: &str) -> Result<Request, UsageError> {
    let mut options = Options::default();
    let mut given = Vec::new();
    let mut expression = Pieces::default();
    let mut at = 0;
    while let Some(token) = next_token(argument, at)? {
        at = token.end;
        match look(token.text) {
            Look::Expression => expression.extend(token),
            Look::End => {
                expression.rest(argument.get(token.end..).unwrap_or_default());
                break;
            }
            Look::Option { name, value } => {
                let option = resolve(definition, token.text, name)?;
                let again = matches!(option.value, Value::Flag | Value::Files);
                if given.contains(&option.id) && !again {
                    return Err(UsageError::Repeated(dashed(option)));
                }
                given.push(option.id);
                let value = match (option.value.placeholder(), value) {
                    (None, None) => String::new(),
                    (None, Some(_)) => return Err(UsageError::UnexpectedValue(dashed(option))),
                    (Some(_), Some(value)) => unquote(value),
                    (Some(placeholder), None) => {
                        let missing = |hint| UsageError::MissingValue {
                            option: dashed(option),
                            placeholder: placeholder.clone(),
                            hint,
                        };
                        let value = next_token(argument, at)?.ok_or_else(|| missing(""))?;
                        if !matches!(look(value.text), Look::Expression) {
                            return Err(missing("; quote a value that begins with a dash"));
                        }
                        at = value.end;
                        unquote(value.text)
                    }
                };
                apply(&mut options, option, &value)?;
            }
        }
    }
    contradictions(definition, &given)?;
    let expressions = expressions(definition, argument, expression, &mut options)?;
    Ok(Request {
        command: definition.command,
        expressions,
        options,
    })
}

/// A run of characters up to a space outside quotes and brackets.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

/// The first token at or after `from`; `None` when only spaces are left.
fn next_token(line: &str, from: usize) -> Result<Option<Token<'_>>, UsageError> {
    let rest = line.get(from..).unwrap_or_default();
    let Some(skipped) = rest.find(|c: char| !c.is_whitespace()) else {
        return Ok(None);
    };
    let start = from + skipped;
    let (end, open) = token_end(line, start);
    if let Some(quote) = open {
        return Err(UsageError::UnmatchedQuote(quote));
    }
    Ok(Some(Token {
        text: line.get(start..end).unwrap_or_default(),
        start,
        end,
    }))
}

/// Where the token that begins at `start` ends, and the quote still open there.
pub(super) fn token_end(line: &str, start: usize) -> (usize, Option<char>) {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (offset, c) in line.get(start..).unwrap_or_default().char_indices() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == open {
                quote = None;
            }
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => return (start + offset, None),
            _ => {}
        }
    }
    (line.len(), quote)
}

/// What a token is by its look alone.
pub(super) enum Look<'a> {
    /// `-name`, `--name`, `-name=value`.
    Option {
        /// The name, without dashes.
        name: &'a str,
        /// What follows `=`.
        value: Option<&'a str>,
    },
    /// `--`
    End,
    /// Anything else: `-1`, `-p.x`, `-`.
    Expression,
}

/// Sorts a token by its look. A dash and a word of letters is an option: as
/// an expression it would be the negative of a variable, which is no map.
pub(super) fn look(token: &str) -> Look<'_> {
    if token == "--" {
        return Look::End;
    }
    let Some(body) = token.strip_prefix("--").or_else(|| token.strip_prefix('-')) else {
        return Look::Expression;
    };
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let wordlike = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    // `-x==y` is a comparison.
    if wordlike && !value.is_some_and(|value| value.starts_with('=')) {
        Look::Option { name, value }
    } else {
        Look::Expression
    }
}

/// The option a name or an abbreviation means.
pub(super) fn resolve(
    definition: &Definition,
    typed: &str,
    name: &str,
) -> Result<&'static OptionDefinition, UsageError> {
    if let Some(exact) = definition.options.iter().find(|option| option.name == name) {
        return Ok(exact);
    }
    let mut fitting = definition
        .options
        .iter()
        .filter(|option| option.name.starts_with(name));
    match (fitting.next(), fitting.next()) {
        (Some(option), None) => Ok(option),
        (Some(_), Some(_)) => Err(UsageError::AmbiguousOption {
            option: quoted(typed),
            candidates: definition
                .options
                .iter()
                .filter(|option| option.name.starts_with(name))
                .map(dashed)
                .collect(),
        }),
        (None, _) => Err(UsageError::UnknownOption {
            command: definition.name,
            option: quoted(typed),
            hint: unknown_hint(definition, name),
        }),
    }
}

/// What to say of an option that does not exist.
fn unknown_hint(definition: &Definition, name: &str) -> String {
    let closest = definition
        .options
        .iter()
        .map(|option| (distance(option.name, name), option))
        .min_by_key(|(distance, _)| *distance);
    let escape = match definition.operand {
        Operand::None | Operand::File | Operand::Files => "",
        _ => "; if it is part of the expression, put -- before that",
    };
    if let Some((distance, option)) = closest
        && distance <= 1 + name.chars().count().min(option.name.len()) / 3
    {
        return format!("did you mean {}?", dashed(option));
    }
    let elsewhere = definitions().iter().find(|other| {
        other.name != definition.name && other.options.iter().any(|option| option.name == name)
    });
    if let Some(other) = elsewhere {
        return format!("it is one of {}{escape}.", other.name);
    }
    let names: Vec<String> = definition.options.iter().map(dashed).collect();
    format!("it has {}{escape}.", names.join(", "))
}

/// How many letters must be inserted, deleted, changed or swapped with their
/// neighbour to get from one word to the other.
fn distance(left: &str, right: &str) -> usize {
    // A word much longer than any option is unlike all of them; this bounds
    // the work for a hostile line.
    let right: Vec<char> = right.chars().take(64).collect();
    let left: Vec<char> = left.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (i, &l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut previous_r = None;
        for (j, &r) in right.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(l != r))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            if j > 0 && previous == Some(r) && previous_r == Some(l) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
            previous_r = Some(r);
        }
        previous = Some(l);
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

/// The value without its quotes; inside them a backslash keeps a quote or a
/// backslash. A value that only begins with a quote is left as it is.
pub(crate) fn unquote(text: &str) -> String {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return text.to_owned();
    };
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars().skip(1);
    while let Some(c) = rest.next() {
        if c == quote {
            // Something follows the closing quote: the quotes are the value's own.
            return if rest.next().is_none() {
                value
            } else {
                text.to_owned()
            };
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        match rest.next() {
            Some(next) if next == quote || next == '\\' => value.push(next),
            Some(next) => value.extend(['\\', next]),
            None => value.push('\\'),
        }
    }
    text.to_owned()
}

fn apply(options: &mut Options, option: &OptionDefinition, value: &str) -> Result<(), UsageError> {
    let bad = |expected: String| UsageError::BadValue {
        option: dashed(option),
        found: quoted(value),
        expected,
    };
    match option.id {
        OptionId::Json => options.json = true,
        OptionId::Heat => options.heat = true,
        OptionId::All => options.limit = Limit::All,
        OptionId::Type | OptionId::Key => {
            let value = value.to_owned();
            if option.id == OptionId::Key {
                // The empty string is a key like any other.
                options.key = Some(value);
            } else if value.trim().is_empty() {
                return Err(bad(
                    "a type is needed, map[string]int for example".to_owned()
                ));
            } else {
                options.type_name = Some(value);
            }
        }
        OptionId::Limit => {
            let unlimited = !value.is_empty() && "unlimited".starts_with(value);
            options.limit = match number(value) {
                Some(0) => Limit::All,
                Some(count) => Limit::Count(count),
                None if unlimited => Limit::All,
                None => {
                    return Err(bad("a number of rows or unlimited is needed".to_owned()));
                }
            };
        }
        OptionId::Range => options.range = Some(range(value).map_err(bad)?),
        OptionId::Only => options.only = Only::of(choice(option, value).map_err(bad)?),
        OptionId::Sort => {
            options.sort = Sort::of(choice(option, value).map_err(bad)?).unwrap_or_default();
        }
        OptionId::Force => options.force = true,
        OptionId::AllowWrite => options.allow_write = true,
        OptionId::Garbage => options.garbage = true,
        OptionId::Quick => options.quick = true,
        OptionId::Holders => options.holders = true,
        OptionId::Min => {
            options.min = bytes(value)
                .ok_or_else(|| bad("a size is needed: 4096, 64K, 1.5M, 2G".to_owned()))?;
        }
        OptionId::Ops => {
            let word = |word: &str| Op::ALL.into_iter().find(|op| op.word() == word.trim());
            let found: Option<Vec<Op>> = value.split(',').map(word).collect();
            options.ops = found.ok_or_else(|| {
                let known: Vec<&str> = Op::ALL.iter().map(|op| op.word()).collect();
                bad(format!("it is one of {}, or several", known.join(", ")))
            })?;
        }
        OptionId::Buckets => options.buckets = true,
        OptionId::Scan => options.scan = true,
        _ if value.is_empty()
            && (matches!(option.id, OptionId::Output | OptionId::Pprof)
                || option.value == Value::Files) =>
        {
            return Err(bad("the name of a file is needed".to_owned()));
        }
        // Naming no map means the same.
        OptionId::AllMaps => {}
        OptionId::Density => options.density = true,
        OptionId::Engine => options.engine = Engine::of(choice(option, value).map_err(bad)?),
        OptionId::On => {
            for word in value.split(',') {
                options.on.push(choice(option, word.trim()).map_err(bad)?);
            }
        }
        OptionId::Every => options.every = Some(positive(value).map_err(bad)?),
        OptionId::Max => options.max = Some(positive(value).map_err(bad)?),
        OptionId::Rate => options.rate = Some(positive(value).map_err(bad)?),
        OptionId::Stack => {
            let depth = number(value).filter(|depth| *depth <= STACK_MAX);
            options.stack =
                Some(depth.ok_or_else(|| bad(format!("0 to {STACK_MAX} calls are possible")))?);
        }
        OptionId::Snapshot => options.snapshots.push(value.to_owned()),
        OptionId::Events => options.events.push(value.to_owned()),
        OptionId::Ring => options.rings.push(value.to_owned()),
        OptionId::Trace => options.traces.push(value.to_owned()),
        OptionId::Heap => options.heaps.push(value.to_owned()),
        OptionId::Cpu => options.cpus.push(value.to_owned()),
        OptionId::Pprof => options.pprof = Some(value.to_owned()),
        OptionId::Output => options.output = Some(value.to_owned()),
        OptionId::Pattern if value.is_empty() => {
            return Err(bad("a part of a type's name is needed".to_owned()));
        }
        OptionId::Pattern => {
            options.pattern =
                Some(Pattern::new(value).map_err(|why| {
                    bad(format!("it is no regular expression ({})", one_line(&why)))
                })?);
        }
    }
    Ok(())
}

/// Calls of one stack that can be recorded.
const STACK_MAX: u64 = 512;

fn positive(value: &str) -> Result<u64, String> {
    number(value)
        .filter(|number| *number > 0)
        .ok_or_else(|| "a number above 0 is needed".to_owned())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The word of an option that `value` is, or abbreviates; an error says what would fit.
fn choice(option: &OptionDefinition, value: &str) -> Result<&'static str, String> {
    let (Value::Choice(words) | Value::Choices(words)) = option.value else {
        return Ok("");
    };
    if let Some(exact) = words.iter().find(|word| **word == value) {
        return Ok(exact);
    }
    let fitting: Vec<&'static str> = words
        .iter()
        .copied()
        .filter(|word| !value.is_empty() && word.starts_with(value))
        .collect();
    match fitting.as_slice() {
        [word] => Ok(word),
        [] => Err(format!("it is one of {}", words.join(", "))),
        several => Err(format!("ambiguous: {}", several.join(", "))),
    }
}

/// Reads `4096`, `64K`, `1.5MiB`: bytes. Units are those we print, multiples of 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    if text.starts_with("0x") || text.starts_with("0X") {
        return number(text);
    }
    let unit = text.get(digits.len()..)?.trim().to_ascii_uppercase();
    let shift = match unit.as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    let Some((whole, part)) = digits.split_once('.') else {
        return number(digits)?.checked_mul(1 << shift);
    };
    // Six decimals are more than anyone means; and keep the product exact.
    if part.is_empty() || part.len() > 6 || !part.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let part = part.parse::<u64>().ok()? * (1 << shift) / 10_u64.pow(part.len() as u32);
    number(whole)?.checked_mul(1 << shift)?.checked_add(part)
}

/// Reads `A:B`, `A:` or `:B`; an error says what would fit.
fn range(value: &str) -> Result<BucketRange, String> {
    const FORM: &str = "a range is A:B, A: or :B";
    let (first, end) = value.split_once(':').ok_or(FORM)?;
    if first.trim().is_empty() && end.trim().is_empty() {
        return Err(FORM.to_owned());
    }
    let bound = |text: &str, open: Option<u64>| match text.trim() {
        "" => Ok(open),
        text => number(text).map(Some).ok_or(FORM),
    };
    let first = bound(first, Some(0))?.unwrap_or(0);
    let end = bound(end, None)?;
    if end.is_some_and(|end| end <= first) {
        return Err("the range is empty, the second bound is not included".to_owned());
    }
    Ok(BucketRange { first, end })
}

/// Reads `1204`, `1,204` (as we print it), `1_204` (as Go writes it), `0x4b4`.
fn number(text: &str) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if radix == 10 && digits.contains(',') {
        let mut groups = digits.split(',');
        let first = groups.next()?;
        let grouped = matches!(first.len(), 1..=3) && groups.all(|group| group.len() == 3);
        if !grouped || digits.contains('_') {
            return None;
        }
    }
    // An underscore stands between two digits.
    if digits.split('_').any(str::is_empty) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    // from_str_radix would take a sign.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

fn contradictions(definition: &Definition, given: &[OptionId]) -> Result<(), UsageError> {
    let both = |a, b| given.contains(&a) && given.contains(&b);
    if both(OptionId::All, OptionId::Limit) {
        return Err(UsageError::Contradiction {
            first: "-all",
            second: match definition.command {
                Command::Diff | Command::Scan => "-top",
                _ => "-limit",
            },
            reason: "give one of them",
        });
    }
    if definition.command == Command::Snapshot {
        saved(given)?;
    }
    let (file, name) = match definition.command {
        Command::Scan => (OptionId::Pprof, "-pprof FILE"),
        _ => (OptionId::Output, "-o FILE"),
    };
    if given.contains(&OptionId::Force) && !given.contains(&file) {
        return Err(UsageError::Alone("-force", name));
    }
    for (option, name, reason) in [
        (
            OptionId::Holders,
            "-holders",
            "holders are found by following types",
        ),
        (
            OptionId::Pprof,
            "-pprof",
            "a profile names holders, and they are found by following types",
        ),
        (
            OptionId::Pattern,
            "-type",
            "most types are found by following them",
        ),
    ] {
        if both(OptionId::Quick, option) {
            return Err(UsageError::Contradiction {
                first: "-quick",
                second: name,
                reason,
            });
        }
    }
    if both(OptionId::All, OptionId::Range) {
        return Err(UsageError::Contradiction {
            first: "-all",
            second: "-range",
            reason: "a range is listed whole without -all",
        });
    }
    Ok(())
}

/// What contradicts itself among the options of `go-map-snapshot`.
fn saved(given: &[OptionId]) -> Result<(), UsageError> {
    if !given.contains(&OptionId::Output) {
        return Err(UsageError::Alone("go-map-snapshot", "a file: -o FILE"));
    }
    let all = given.contains(&OptionId::Scan);
    for (option, name, reason) in [
        (
            OptionId::Buckets,
            "-buckets",
            "the maps that a scan finds are not walked bucket by bucket",
        ),
        (OptionId::Type, "-type", "a scan finds the types itself"),
    ] {
        if all && given.contains(&option) {
            return Err(UsageError::Contradiction {
                first: "-scan",
                second: name,
                reason,
            });
        }
    }
    for (option, name) in [(OptionId::Quick, "-quick"), (OptionId::Holders, "-holders")] {
        if given.contains(&option) && !all {
            return Err(UsageError::Alone(name, "-scan"));
        }
    }
    Ok(())
}

/// The parts of the line that are no options.
#[derive(Debug, Default)]
struct Pieces {
    /// Byte ranges of the line; tokens with only spaces between them are one.
    spans: Vec<(usize, usize)>,
    /// What follows `--`.
    rest: String,
}

impl Pieces {
    fn extend(&mut self, token: Token<'_>) {
        self.spans.push((token.start, token.end));
    }

    fn rest(&mut self, rest: &str) {
        rest.trim().clone_into(&mut self.rest);
    }
}

fn expressions(
    definition: &Definition,
    line: &str,
    pieces: Pieces,
    options: &mut Options,
) -> Result<Vec<String>, UsageError> {
    // Spans with only spaces between them keep those spaces; where an option
    // was cut out, one space is left.
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in pieces.spans {
        match joined.last_mut() {
            Some((_, last))
                if line
                    .get(*last..start)
                    .is_some_and(|gap| gap.trim().is_empty()) =>
            {
                *last = end;
            }
            _ => joined.push((start, end)),
        }
    }
    let mut parts: Vec<&str> = joined
        .iter()
        .filter_map(|&(start, end)| line.get(start..end))
        .collect();
    if !pieces.rest.is_empty() {
        parts.push(&pieces.rest);
    }
    // An open bracket may have kept spaces at the end.
    let text = parts.join(" ").trim_end().to_owned();
    match (definition.operand, text.is_empty()) {
        (Operand::None | Operand::Optional | Operand::Any, true) => Ok(Vec::new()),
        (Operand::None, false) => {
            let word = text.split_whitespace().next().unwrap_or_default();
            if definition.command == Command::Trace {
                let what = "; it is followed by start, status, stop or report";
                return Err(UsageError::UnexpectedExpression(
                    definition.name,
                    what.to_owned(),
                ));
            }
            let meant = definitions()
                .iter()
                .find(|other| other.name.strip_prefix("go-map-") == Some(word))
                .map_or_else(
                    || {
                        format!(
                            ": for the map, see go-map-stats {}",
                            crate::report::sanitize(&text, false)
                        )
                    },
                    |other| format!("; did you mean {}?", other.name),
                );
            Err(UsageError::UnexpectedExpression(definition.name, meant))
        }
        // `go-map-layout -type T` asks the same as `go-map-layout T`.
        (Operand::OneOrType, true) => match options.type_name.take() {
            Some(name) => Ok(vec![name]),
            None => Err(UsageError::MissingExpression(
                definition.name,
                definition.usage(),
            )),
        },
        (Operand::File | Operand::Files, true) => {
            Err(UsageError::MissingFile(definition.name, definition.usage()))
        }
        (Operand::ManyOrAll, true) if options.scan => Ok(Vec::new()),
        (_, true) => Err(UsageError::MissingExpression(
            definition.name,
            definition.usage(),
        )),
        (Operand::ManyOrAll, false) if options.scan => Err(UsageError::UnexpectedExpression(
            definition.name,
            " beside -scan, which saves all maps".to_owned(),
        )),
        (Operand::File | Operand::Files, false) => {
            let files: Vec<String> = match definition.operand {
                Operand::File => vec![unquote(&text)],
                _ => split(&text)?.into_iter().map(unquote).collect(),
            };
            if files.iter().any(String::is_empty) {
                return Err(UsageError::MissingFile(definition.name, definition.usage()));
            }
            match files.len() {
                0..=2 => Ok(files),
                _ => Err(UsageError::TooManyFiles(
                    definition.name,
                    definition.usage(),
                )),
            }
        }
        (Operand::One | Operand::OneOrType | Operand::Optional, false) => Ok(vec![text]),
        (Operand::Many | Operand::ManyOrAll | Operand::Any, false) => {
            Ok(split(&text)?.into_iter().map(str::to_owned).collect())
        }
    }
}

/// The tokens of a line.
fn split(text: &str) -> Result<Vec<&str>, UsageError> {
    let mut list = Vec::new();
    let mut at = 0;
    while let Some(token) = next_token(text, at)? {
        at = token.end;
        list.push(token.text);
    }
    Ok(list)
}

pub(super) fn dashed(option: &OptionDefinition) -> String {
    format!("-{}", option.name)
}

/// What the user typed, fit for one line of a terminal.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown = String::new();
    for (position, c) in text.chars().enumerate() {
        if position == SHOWN {
            shown.push_str("...");
            break;
        }
        match c {
            // escape_debug would escape these too.
            '\'' | '"' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scan_is_chosen_and_ranked() {
        let of = |line: &str| ok("go-map-scan", line).options;
        let options = of("-type 'map[string]int' -min 1.5M -sort len -top 3 -garbage -holders");
        assert_eq!(options.min, 3 << 19);
        assert_eq!(options.sort, Sort::Len);
        assert_eq!(options.limit, Limit::Count(3));
        assert!(options.garbage && options.holders && !options.force);
        let pattern = options.pattern.unwrap();
        assert!(pattern.fits("map[string]int"));
        assert!(!pattern.fits("map[string]bool"));
        assert!(
            of("-type ^main.+Row$")
                .pattern
                .unwrap()
                .fits("main.Small[Row")
        );
        assert!(of("-type map[").pattern.unwrap().fits("map[int]int"));
        assert_eq!(
            of("-pprof a.pb.gz -force").pprof.as_deref(),
            Some("a.pb.gz")
        );
        assert_eq!(of("-s al").sort, Sort::Allocated);
        for (text, wanted) in [("0", 0), ("64K", 65536), ("1GiB", 1 << 30), ("4,096", 4096)] {
            assert_eq!(of(&format!("-min {text}")).min, wanted, "{text}");
        }
        for wrong in ["K", "-1", "1.K", "1.2.3M", "9999999999T", "5x", "''", "é"] {
            assert!(
                parse("go-map-scan", &format!("-min {wrong}")).is_err(),
                "{wrong}"
            );
        }
        for wrong in [
            "-force",
            "-all -top 3",
            "-type [a",
            "-type ''",
            "-pprof ''",
            "-sort a",
            "x",
        ] {
            assert!(parse("go-map-scan", wrong).is_err(), "{wrong}");
        }
    }

    fn ok(command: &str, line: &str) -> Request {
        match parse(command, line) {
            Ok(request) => request,
            Err(error) => panic!("{command} {line}: {error}"),
        }
    }

    fn buckets(line: &str) -> Options {
        ok("go-map-buckets", line).options
    }

    fn expression(line: &str) -> String {
        let request = ok("go-map-buckets", line);
        assert_eq!(request.expressions.len(), 1);
        request.expressions.concat()
    }

    fn error(command: &str, line: &str) -> String {
        match parse(command, line) {
            Ok(request) => panic!("{command} {line}: {request:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_snapshot_names_maps_or_takes_all() {
        let of = |line: &str| ok("go-map-snapshot", line);
        let request = of("main.a m[x - 1] -o 'a b.json' -buckets -force");
        assert_eq!(request.expressions, ["main.a", "m[x - 1]"]);
        assert_eq!(request.options.output.as_deref(), Some("a b.json"));
        assert!(request.options.buckets && request.options.force);
        let request = of("-scan -o a.json.gz -quick");
        assert!(request.expressions.is_empty() && request.options.scan);
        assert_eq!(
            error("go-map-snapshot", "main.a"),
            "go-map-snapshot needs a file: -o FILE."
        );
        for wrong in [
            "-o a",
            "-scan -o a main.a",
            "-scan -o a -buckets",
            "-scan -o a -type T",
            "m -o a -quick",
            "m -o a -holders",
            "-scan -quick -holders -o a",
            "m -o ''",
            "m -o a -o b",
        ] {
            assert!(parse("go-map-snapshot", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_diff_takes_one_file_or_two() {
        let of = |line: &str| ok("go-map-diff", line);
        assert_eq!(of("a.json").expressions, ["a.json"]);
        assert_eq!(of("'a b' -top 3 \"c\"").expressions, ["a b", "c"]);
        assert_eq!(of("-all -- -a").expressions, ["-a"]);
        assert_eq!(
            error("go-map-diff", "-json"),
            "go-map-diff needs the name of a file: go-map-diff [OPTION]... [--] A [B]"
        );
        assert!(error("go-map-diff", "a ''").contains("needs the name of a file"));
        assert!(error("go-map-diff", "a b c").contains("two files at most"));
        assert!(error("go-map-diff", "a -all -top 3").contains("-top"));
    }

    #[test]
    fn expressions_keep_their_spelling() {
        for line in [
            "main.cache",
            "*p",
            "$map",
            "m[a - 1]",
            "m[a -b]",
            "m[ a  -json ]",
            "a - 1",
            "-1",
            "-p.x",
            "x  +   -1",
            "'main.foo'",
            "'main.foo -json'",
            "f(\"x -json\")",
            "m[\"x \\\" -json\"]",
            "*(struct runtime.hmap *) 0xc000012120",
            "{1, -a}",
            "x -y.z",
            "-x==1",
        ] {
            assert_eq!(expression(line), line, "{line}");
        }
        assert_eq!(expression("  main.m  "), "main.m");
    }

    #[test]
    fn options_stand_before_after_and_amid() {
        for line in [
            "-json -limit 3 main.m",
            "main.m -json -limit 3",
            "-limit 3 main.m -json",
            "-limit 3 -json -- main.m",
            "--limit=3 --json main.m",
            "-li 3 -j main.m",
            "-limit \"3\" -json main.m",
        ] {
            let request = ok("go-map-buckets", line);
            assert_eq!(request.command, Command::Buckets);
            assert_eq!(request.expressions, ["main.m"], "{line}");
            assert!(request.options.json);
            assert_eq!(request.options.limit, Limit::Count(3));
        }
        assert_eq!(expression("a +  b -json + c"), "a +  b + c");
    }

    #[test]
    fn two_dashes_end_options() {
        assert_eq!(expression("-json -- -x"), "-x");
        assert_eq!(expression("-- a -json"), "a -json");
        assert_eq!(expression("a -- -b"), "a -b");
        let request = ok("go-map-buckets", "-- -json");
        assert!(!request.options.json);
        assert!(error("go-map-stats", "--").contains("needs an expression"));
    }

    #[test]
    fn abbreviations() {
        assert!(buckets("-j m").json);
        assert!(buckets("-h m").heat);
        assert_eq!(buckets("-a m").limit, Limit::All);
        assert_eq!(buckets("-o t m").only, Some(Only::Tombstone));
        assert_eq!(
            ok("go-map-entries", "-k 5 m").options.key.as_deref(),
            Some("5")
        );
    }

    #[test]
    fn ambiguity_lists_what_it_may_mean() {
        const TWO: &[OptionDefinition] = &[
            OptionDefinition {
                id: OptionId::All,
                name: "all",
                value: Value::Flag,
                help: "",
            },
            OptionDefinition {
                id: OptionId::Heat,
                name: "always",
                value: Value::Flag,
                help: "",
            },
        ];
        let mut test = *definition("go-map-stats").unwrap();
        test.options = TWO;
        let said = parse_for(&test, "-al m").unwrap_err().to_string();
        assert_eq!(said, "-al is ambiguous: -all, -always.");
        assert!(parse_for(&test, "-all m").is_ok());
        assert_eq!(
            error("go-map-buckets", "-only o m"),
            "-only o: ambiguous: overflow, old."
        );
    }

    #[test]
    fn several_expressions_are_split_at_spaces() {
        let mut test = *definition("go-map-stats").unwrap();
        test.operand = Operand::Many;
        let request = parse_for(&test, "a m[x - 1] -json 'c d'").unwrap();
        assert_eq!(request.expressions, ["a", "m[x - 1]", "'c d'"]);
    }

    #[test]
    fn unknown_options_are_named_with_a_way_on() {
        assert_eq!(
            error("go-map-stats", "m -jsno"),
            "go-map-stats has no option -jsno; did you mean -json?"
        );
        assert_eq!(
            error("go-map-buckets", "--limt 4 m"),
            "go-map-buckets has no option --limt; did you mean -limit?"
        );
        assert_eq!(
            error("go-map-stats", "m -heat"),
            "go-map-stats has no option -heat; it is one of go-map-buckets; \
             if it is part of the expression, put -- before that."
        );
        assert_eq!(
            error("go-map-stats", "a -offset"),
            "go-map-stats has no option -offset; it has -json, -type; \
             if it is part of the expression, put -- before that."
        );
        assert_eq!(
            error("go-map", "-nothing"),
            "go-map has no option -nothing; it has -json."
        );
    }

    #[test]
    fn values() {
        assert_eq!(
            buckets("0xc000 -type 'map[string]struct {}'")
                .type_name
                .as_deref(),
            Some("map[string]struct {}")
        );
        let key = |line: &str| ok("go-map-entries", line).options.key.unwrap();
        assert_eq!(key("m -key \"x y\""), "x y");
        assert_eq!(key("m -key 'it\\'s'"), "it's");
        assert_eq!(key("m -key '\"q\"'"), "\"q\"");
        assert_eq!(key("m -key {1, 2}"), "{1, 2}");
        assert_eq!(key("m -key \"a\"b"), "\"a\"b");
        assert_eq!(key("m -key -5"), "-5");
        assert_eq!(key("m -key ''"), "");
        assert_eq!(key("m -key 'a\\tb\\\\c'"), "a\\tb\\c");
        assert_eq!(key("m -key='-json'"), "-json");
        assert_eq!(
            error("go-map-entries", "m -key"),
            "-key needs a value: -key K."
        );
        assert_eq!(
            error("go-map-entries", "m -key -json"),
            "-key needs a value: -key K; quote a value that begins with a dash."
        );
        assert_eq!(error("go-map-stats", "m -json=1"), "-json takes no value.");
        assert_eq!(
            error("go-map-entries", "m -key 'x"),
            "Unmatched single quote."
        );
        assert_eq!(error("go-map-stats", "m[\"x]"), "Unmatched double quote.");
        assert!(error("go-map-stats", "m -type ''").starts_with("-type : a type is needed"));
    }

    #[test]
    fn numbers() {
        for (text, value) in [
            ("0", Some(0)),
            ("32", Some(32)),
            ("0x20", Some(32)),
            ("0XfF", Some(255)),
            ("131,072", Some(131_072)),
            ("1_000_000", Some(1_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("0x", None),
            ("1,2", None),
            ("1,0000", None),
            (",100", None),
            ("1__0", None),
            ("_1", None),
            ("+1", None),
            ("-1", None),
            ("1k", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(buckets("m").limit, Limit::Default);
        assert_eq!(buckets("m -limit 0").limit, Limit::All);
        assert_eq!(buckets("m -limit unl").limit, Limit::All);
        assert_eq!(
            error("go-map-buckets", "m -limit x"),
            "-limit x: a number of rows or unlimited is needed."
        );
        let rows = |line: &str| buckets(line).rows(Some(32));
        assert_eq!(rows("m"), Some(32));
        assert_eq!(rows("m -limit 4"), Some(4));
        assert_eq!(rows("m -all"), None);
        assert_eq!(rows("m -json"), None);
        assert_eq!(rows("m -json -limit 4"), Some(4));
        assert_eq!(rows("m -range 0:1000"), None);
        assert_eq!(rows("m -heat"), Some(0));
        assert_eq!(rows("m -heat -limit 4"), Some(4));
        assert_eq!(buckets("m").rows(None), None);
    }

    #[test]
    fn ranges() {
        let of = |line: &str| buckets(line).range.unwrap();
        assert_eq!(
            of("m -range 4:8"),
            BucketRange {
                first: 4,
                end: Some(8)
            }
        );
        assert_eq!(
            of("m -range 4:"),
            BucketRange {
                first: 4,
                end: None
            }
        );
        assert_eq!(
            of("m -range :8"),
            BucketRange {
                first: 0,
                end: Some(8)
            }
        );
        assert_eq!(
            of("-range 0x10:1,024 m"),
            BucketRange {
                first: 16,
                end: Some(1024)
            }
        );
        assert!(of("m -range 4:8").contains(4));
        assert!(!of("m -range 4:8").contains(8));
        assert!(of("m -range 4:").contains(u64::MAX));
        for bad in ["5", ":", "a:b", "1:2:3", "''", "-1:3"] {
            let said = error("go-map-buckets", &format!("m -range {bad}"));
            assert!(said.ends_with("a range is A:B, A: or :B."), "{said}");
        }
        for empty in ["8:4", "4:4", ":0"] {
            let said = error("go-map-buckets", &format!("m -range {empty}"));
            assert!(said.contains("the range is empty"), "{said}");
        }
    }

    #[test]
    fn contradictions() {
        assert_eq!(
            error("go-map-buckets", "m -all -limit 3"),
            "-all and -limit contradict each other: give one of them."
        );
        assert!(error("go-map-buckets", "m -range 1:2 -all").contains("contradict"));
        assert_eq!(
            error("go-map-buckets", "m -limit 3 -limit 4"),
            "-limit is given twice."
        );
        assert!(
            parse(
                "go-map-buckets",
                "m -json -json -range 1: -limit 3 -only full"
            )
            .is_ok()
        );
    }

    #[test]
    fn operands() {
        assert_eq!(
            error("go-map-stats", "-json"),
            "go-map-stats needs an expression: go-map-stats [OPTION]... [--] EXPR"
        );
        assert!(ok("go-map", "").expressions.is_empty());
        assert_eq!(
            error("go-map", "stats main.m"),
            "go-map takes no expression; did you mean go-map-stats?"
        );
        assert_eq!(
            error("go-map", "x"),
            "go-map takes no expression: for the map, see go-map-stats x"
        );
        assert_eq!(
            error("go-map-nothing\n", ""),
            "No command is called go-map-nothing\\n."
        );
        let request = ok("go-map-layout", "-type map[int]int");
        assert_eq!(request.expressions, ["map[int]int"]);
        assert_eq!(request.options.type_name, None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_in_one_line(line in any::<String>()) {
            for definition in definitions() {
                if let Err(error) = parse(definition.name, &line) {
                    let said = error.to_string();
                    prop_assert!(!said.chars().any(char::is_control), "{said}");
                }
            }
        }

        #[test]
        fn lines_near_the_grammar_do_not_panic(line in "[-=:'\"\\\\ \\[\\]a-jlmot0-9]{0,40}") {
            for definition in definitions() {
                let _ = parse(definition.name, &line);
            }
        }

        #[test]
        fn what_holds_no_dash_is_an_expression(line in "[a-z(][a-z0-9 .*+]{0,20}") {
            let request = parse("go-map-stats", &line).unwrap();
            prop_assert_eq!(request.expressions, vec![line.trim().to_owned()]);
        }
    }
}
