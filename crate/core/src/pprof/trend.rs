//! Several profiles of one program: what grew, what is made again and again.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::maps::{Attribution, Figures, Place, Site};

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

/// The sites of heap profiles in the order of time, those that grew most first. Evidence may
/// differ from profile to profile; a site is where it is, with its type.
#[must_use]
pub fn trends(profiles: &[&Attribution]) -> Vec<Trend> {
    let mut places: HashSet<&Place> = HashSet::new();
    for profile in profiles {
        places.extend(profile.sites.iter().map(|site| &site.place));
    }
    let figures: Vec<HashMap<&Place, Figures>> = profiles
        .iter()
        .map(|profile| {
            let mut by_place: HashMap<&Place, Figures> = HashMap::new();
            for Site { place, figures, .. } in &profile.sites {
                by_place.entry(place).or_default().add(*figures);
            }
            by_place
        })
        .collect();
    let mut trends: Vec<Trend> = places
        .into_iter()
        .map(|place| {
            let figures: Vec<Figures> = figures
                .iter()
                .map(|known| known.get(place).copied().unwrap_or_default())
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
                place: place.clone(),
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
    use std::rc::Rc;

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
