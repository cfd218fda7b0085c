//! A profile with its executable: found, held against it, and said what is of maps.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::maps::{Attribution, attribute};
use super::model::{Kind, Origin, Profile};
use super::program::{Program, symbolize};
use crate::binary::Binary;

/// Executables by their paths, each opened once.
#[derive(Debug, Default)]
pub struct Programs {
    known: HashMap<PathBuf, Result<Rc<Program>, String>>,
}

impl Programs {
    fn get(&mut self, path: &Path) -> Result<Rc<Program>, String> {
        let open = || {
            // A profile may name anything; a pipe would never be opened.
            let regular = std::fs::metadata(path).is_ok_and(|data| data.is_file());
            if !regular {
                return Err(format!("there is no file {}", path.display()));
            }
            let binary = Binary::open(path).map_err(|error| error.to_string())?;
            if !binary.is_go() {
                return Err(format!("{} is not a Go program", path.display()));
            }
            Program::open(Rc::new(binary)).map(Rc::new)
        };
        self.known
            .entry(path.to_owned())
            .or_insert_with(open)
            .clone()
    }
}

impl Programs {
    /// The executable at `path`, and what to subtract from the addresses of `profile` for its
    /// own.
    ///
    /// # Errors
    /// When it cannot be used, or is another program's: a sentence.
    pub fn of_profile(
        &mut self,
        path: &Path,
        profile: &Profile,
    ) -> Result<(Rc<Program>, u64), String> {
        let program = self.get(path)?;
        let bias = program.bias(profile)?;
        Ok((program, bias))
    }
}

/// A profile, and what of it is of maps.
#[derive(Debug)]
pub struct Explained {
    /// The file, as typed.
    pub name: String,
    /// The profile, with all names that could be had.
    pub profile: Profile,
    /// What of it is of maps.
    pub attribution: Attribution,
    /// The executable that was used.
    pub program: Option<Rc<Program>>,
}

/// Says what of `profile` is of maps. `exe` is the executable, or else the one that the
/// profile names, if it is there and fits.
///
/// # Errors
/// When `exe` cannot be used, or is another program: a sentence.
pub fn explain(
    name: &str,
    mut profile: Profile,
    exe: Option<&Path>,
    programs: &mut Programs,
) -> Result<Explained, String> {
    let named = profile.program.as_deref().map(PathBuf::from);
    let wanted = exe.map(Path::to_owned).or(named);
    let mut note = None;
    let mut found = None;
    let needs = profile.kind == Kind::Heap || profile.origin == Origin::Text;
    if let Some(path) = wanted.filter(|_| needs) {
        let opened = programs.get(&path).and_then(|program| {
            let bias = program.bias(&profile)?;
            Ok((program, bias))
        });
        match opened {
            Ok(opened) => found = Some(opened),
            Err(reason) if exe.is_some() => return Err(format!("{name}: {reason}")),
            Err(reason) => {
                note = Some(format!(
                    "The executable is not used: {reason}. -exe EXE names another."
                ));
            }
        }
    } else if needs {
        note = Some("It does not tell the executable: -exe EXE names it.".to_owned());
    }
    if let Some((program, bias)) = &found {
        symbolize(&mut profile, program, *bias);
    }
    let mut attribution = attribute(
        &profile,
        found.as_ref().map(|(program, bias)| (&**program, *bias)),
    );
    if let Some(note) = note {
        attribution.notes.insert(0, note);
    }
    Ok(Explained {
        name: name.to_owned(),
        profile,
        attribution,
        program: found.map(|(program, _)| program),
    })
}

/// Says what of several profiles is of maps. Those that name no executable, as texts, get the
/// one that another names, if it fits.
///
/// # Errors
/// As [`explain`].
pub fn explain_all(
    profiles: Vec<(String, Profile)>,
    exe: Option<&Path>,
    programs: &mut Programs,
) -> Result<Vec<Explained>, String> {
    with_executables(profiles, exe, programs, &mut explain)
}

/// What becomes of a profile with its name and executable.
type Take<'t, T> =
    &'t mut dyn FnMut(&str, Profile, Option<&Path>, &mut Programs) -> Result<T, String>;

/// Hands each profile with its name to `take`, with the executable to hold it against: `exe`,
/// or, where none is named and the profile names none itself, as texts, the one that another
/// of them names, if it fits. `None` stands for the one that it names itself.
///
/// # Errors
/// What `take` returned.
pub(super) fn with_executables<T>(
    profiles: Vec<(String, Profile)>,
    exe: Option<&Path>,
    programs: &mut Programs,
    take: Take<'_, T>,
) -> Result<Vec<T>, String> {
    let named = profiles
        .iter()
        .find_map(|(_, profile)| profile.program.as_deref().map(PathBuf::from));
    let mut found = Vec::new();
    for (name, profile) in profiles {
        let mut own = exe.map(Path::to_owned);
        if own.is_none() && profile.program.is_none() {
            own = named
                .clone()
                .filter(|path| programs.of_profile(path, &profile).is_ok());
        }
        found.push(take(&name, profile, own.as_deref(), programs)?);
    }
    Ok(found)
}
