//! Several profiles of one program: what grew, what is made again and again.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde::Serialize;

use super::explain::Explained;
use super::maps::{Attribution, Figures, Place, Site};
use super::model::different;

/// A site is said to churn if it allocated this many times what it has in use,
const CHURN_TIMES: i64 = 20;
/// and at least these bytes.
const CHURN_BYTES: i64 = 1 << 20;
/// Profiles it takes to call growth steady.
const STEADY: usize = 3;

/// A call site over several profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Its figures in each profile; zeros where it does not appear.
    pub figures: Vec<Figures>,
    /// The last less the first.
    pub growth: Figures,
    /// `inuse_objects` rose from each profile to the next, of three and more. That is a rule,
    /// and no proof of a leak.
    pub steady: bool,
}

/// Whether a site allocates far more than it keeps: 20 times what is in use, and at least
/// 1 MiB.
#[must_use]
pub fn churns(figures: &Figures) -> bool {
    figures.alloc_bytes >= CHURN_BYTES
        && figures.alloc_bytes / CHURN_TIMES >= figures.inuse_bytes.max(0)
}

fn untyped(place: &Place) -> Place {
    Place {
        map_type: None,
        ..place.clone()
    }
}

/// Why profiles cannot be compared: what is not known of one may be all that differs.
#[must_use]
pub fn incomparable(series: &[&Explained]) -> Option<String> {
    let profiles = series.iter().map(|one| (&*one.name, &one.profile));
    if let Some(reason) = different(profiles) {
        return Some(format!("They are not compared: {reason}."));
    }
    let open = series.iter().find(|one| {
        let Attribution { maps, unknown, .. } = &one.attribution;
        // A hundredth of the maps hides no growth worth a row.
        let hides = |unknown: i64, maps: i64| unknown.unsigned_abs() > maps.unsigned_abs() / 100;
        hides(unknown.inuse_bytes, maps.inuse_bytes) || hides(unknown.alloc_bytes, maps.alloc_bytes)
    })?;
    Some(format!(
        "They are not compared: of {} it is not known whether {} bytes in use ({} allocated) are \
         of maps.",
        open.name, open.attribution.unknown.inuse_bytes, open.attribution.unknown.alloc_bytes
    ))
}

/// The sites of heap profiles in the order of time, those that grew most first. Evidence may
/// differ from profile to profile; a site is where it is, with its type.
#[must_use]
pub fn trends(profiles: &[&Attribution]) -> Vec<Trend> {
    // A line without a type in one profile is one row with its types in the others.
    let mut types: HashMap<Place, HashSet<Option<Rc<str>>>> = HashMap::new();
    for site in profiles.iter().flat_map(|profile| &profile.sites) {
        types
            .entry(untyped(&site.place))
            .or_default()
            .insert(site.place.map_type.clone());
    }
    let row = |place: &Place| -> Place {
        let mut key = untyped(place);
        let known = types.get(&key);
        if known.is_some_and(|known| known.contains(&None)) {
            let mut named = known.into_iter().flatten().flatten();
            if let (Some(one), None) = (named.next(), named.next()) {
                key.map_type = Some(Rc::clone(one));
            }
            return key;
        }
        place.clone()
    };
    let mut places: HashSet<Place> = HashSet::new();
    let figures: Vec<HashMap<Place, Figures>> = profiles
        .iter()
        .map(|profile| {
            let mut by_place: HashMap<Place, Figures> = HashMap::new();
            for Site { place, figures, .. } in &profile.sites {
                let key = row(place);
                places.insert(key.clone());
                by_place.entry(key).or_default().add(*figures);
            }
            by_place
        })
        .collect();
    let mut trends: Vec<Trend> = places
        .into_iter()
        .map(|place| {
            let figures: Vec<Figures> = figures
                .iter()
                .map(|known| known.get(&place).copied().unwrap_or_default())
                .collect();
            let growth = match (figures.first(), figures.last()) {
                (Some(first), Some(last)) => last.less(*first),
                _ => Figures::default(),
            };
            let rises = figures.windows(2).all(|pair| match pair {
                [before, after] => after.inuse_objects > before.inuse_objects,
                _ => false,
            });
            Trend {
                place,
                growth,
                steady: figures.len() >= STEADY && rises,
                figures,
            }
        })
        .collect();
    trends.sort_by(|a, b| {
        let key = |trend: &Trend| (trend.growth.inuse_bytes, trend.growth.alloc_bytes);
        key(b).cmp(&key(a)).then_with(|| a.place.cmp(&b.place))
    });
    trends
}

#[cfg(test)]
mod tests {
    use super::super::maps::Evidence;
    use super::super::model::{Kind, Origin};
    use super::*;

    fn attribution(rows: &[(&str, i64)]) -> Attribution {
        let sites = rows.iter().map(|(function, objects)| {
            Site::plain(
                Place {
                    function: Rc::from(*function),
                    file: Rc::from("/src/main.go"),
                    line: 1,
                    map_type: None,
                },
                Evidence::Call,
                Figures {
                    alloc_objects: 2 * objects,
                    alloc_bytes: 200 * objects,
                    inuse_objects: *objects,
                    inuse_bytes: 100 * objects,
                },
            )
        });
        Attribution::plain(Kind::Heap, Origin::Proto, sites.collect())
    }

    #[test]
    fn only_what_rises_in_each_of_three_is_steady() {
        let all = [
            attribution(&[("a", 1), ("b", 5), ("d", 1)]),
            attribution(&[("a", 2), ("b", 5), ("c", 1), ("d", 3)]),
            attribution(&[("a", 3), ("b", 9), ("c", 2), ("d", 2)]),
        ];
        let found = trends(&all.iter().collect::<Vec<_>>());
        let steady: Vec<(&str, bool, i64)> = found
            .iter()
            .map(|t| (&*t.place.function, t.steady, t.growth.inuse_bytes))
            .collect();
        // One that is not in the first profile has none there.
        assert_eq!(
            steady,
            [
                ("b", false, 400),
                ("a", true, 200),
                ("c", true, 200),
                ("d", false, 100)
            ]
        );
        let two = trends(&all.iter().take(2).collect::<Vec<_>>());
        assert!(two.iter().all(|trend| !trend.steady));
    }

    #[test]
    fn a_line_without_a_type_is_one_row_with_its_type() {
        let without = attribution(&[("a", 3)]);
        let mut with = attribution(&[("a", 5)]);
        with.sites[0].place.map_type = Some("map[int]int".into());
        let found = trends(&[&with, &without]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].growth.inuse_bytes, -200);
        assert_eq!(found[0].place.map_type.as_deref(), Some("map[int]int"));
    }

    fn explained(name: &str, program: &str, unknown: i64) -> Explained {
        let mut attribution = attribution(&[("a", 10)]);
        attribution.maps.inuse_bytes = 1000;
        attribution.unknown.inuse_bytes = unknown;
        let mut profile = crate::pprof::parse(name, b"heap profile: 0: 0 [0: 0] @ heap/1\n");
        if let Ok(profile) = &mut profile {
            profile.program = Some(program.into());
        }
        Explained {
            name: name.to_owned(),
            profile: profile.unwrap(),
            attribution,
            program: None,
        }
    }

    #[test]
    fn what_is_not_known_is_not_compared() {
        let whole = explained("a", "/bin/one", 0);
        let open = explained("b", "/bin/one", 900);
        let other = explained("c", "/bin/two", 0);
        assert_eq!(incomparable(&[&whole, &whole]), None);
        assert!(incomparable(&[&whole, &open]).unwrap().contains("of b "));
        assert!(
            incomparable(&[&whole, &other])
                .unwrap()
                .contains("/bin/two")
        );
    }

    #[test]
    fn churn_is_a_matter_of_figures() {
        let figures = |alloc_bytes, inuse_bytes| Figures {
            alloc_bytes,
            inuse_bytes,
            ..Figures::default()
        };
        assert!(churns(&figures(20 << 20, 1 << 20)));
        assert!(churns(&figures(1 << 20, 0)));
        assert!(churns(&figures(1 << 20, -5)));
        assert!(!churns(&figures(19 << 20, 1 << 20)));
        assert!(!churns(&figures(1 << 19, 0)));
    }
}
