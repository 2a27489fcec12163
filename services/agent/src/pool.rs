//! Which scrape loops a pool starts, ends and lets go on. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// What a loop does at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// It scrapes.
    Scraping,
    /// Its target is gone; it waits to write stale markers.
    Retiring,
}

/// What a pool does with one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Starts a loop.
    Start(u128),
    /// Lets a retiring loop scrape again.
    Resume(u128),
    /// Lets a loop retire: discovery does not know its target any more.
    Retire(u128),
    /// Ends a loop at once and without stale markers: another agent goes on with the target.
    Leave(u128),
}

/// The steps from the loops that run to the targets that there are: `wanted` says for each whether it is this
/// agent's own. Steps that end something come first, so that nothing is scraped twice.
pub(crate) fn plan(running: &BTreeMap<u128, Stage>, wanted: &BTreeMap<u128, bool>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut resumed = Vec::new();
    let mut going_on = BTreeSet::new();
    for (id, stage) in running {
        match (wanted.get(id), stage) {
            (Some(true), Stage::Scraping) => {}
            (Some(true), Stage::Retiring) => resumed.push(Step::Resume(*id)),
            (Some(false), _) => steps.push(Step::Leave(*id)),
            (None, Stage::Scraping) => steps.push(Step::Retire(*id)),
            (None, Stage::Retiring) => {}
        }
        going_on.insert(*id);
    }
    let new = wanted.iter().filter(|(id, own)| **own && !going_on.contains(id));
    steps.extend(resumed);
    steps.extend(new.map(|(id, _)| Step::Start(*id)));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_follow_targets_and_owners() {
        let running = BTreeMap::from([
            (1, Stage::Scraping), // stays
            (2, Stage::Scraping), // gone
            (3, Stage::Scraping), // another agent's
            (4, Stage::Retiring), // back
            (5, Stage::Retiring), // still gone
            (6, Stage::Retiring), // back at another agent
        ]);
        let wanted =
            BTreeMap::from([(1, true), (3, false), (4, true), (6, false), (7, true), (8, false)]);
        let steps =
            [Step::Retire(2), Step::Leave(3), Step::Leave(6), Step::Resume(4), Step::Start(7)];
        assert_eq!(plan(&running, &wanted), steps);
        assert!(plan(&BTreeMap::new(), &BTreeMap::new()).is_empty());
    }
}
