//! From groups to interactions: settles whose child everybody is.
//!
//! A group without conflict is one interaction. A conflicted one is taken apart: its chains are
//! sorted so that those which say most come first; each chain joins the one interaction it fits,
//! or starts one of its own if it fits none, or, where it fits several, is *ambiguous*. This goes
//! from the deepest level up, because the chains of a group are its entries' and its children's.
//! The result depends on the set of chains only.
//!
//! A group with very many different chains (one-byte ids, or somebody's malice) is compared by
//! ids cut to the narrowest width, where sorting alone tells what covers what: no quadratic work.

use std::cmp::Reverse;
use std::collections::HashMap;

use selvedge_entry::Direction;
use selvedge_identity::StackId;

use crate::builder::{self, TreeBuilder};
use crate::chain::{self, Chain};
use crate::skeleton::NONE;

/// An interaction that shares its group with others.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) group: u32,
    pub(crate) chain: Chain,
    /// Its entries, in no order.
    pub(crate) entries: Vec<u32>,
    /// Which of several interactions its entries are of cannot be told.
    pub(crate) ambiguous: bool,
}

/// Interactions by number: a group's own number, then those of the leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolved {
    /// The parent of each, [`NONE`] where it is not known.
    pub(crate) parents: Vec<u32>,
    pub(crate) leaves: Vec<Leaf>,
    /// Those whose parent is one of several.
    pub(crate) candidates: HashMap<u32, Vec<u32>>,
}

/// The parent of a group that was taken apart and so is no interaction itself.
pub(crate) const DEAD: u32 = u32::MAX - 1;

/// So many candidates are named: more say nothing more, and somebody might send a million.
pub(crate) const CANDIDATES: usize = 64;

/// More different chains than this in one group are compared by cut ids.
const MANY: usize = 64;

/// Settles all parents that identifiers tell.
pub(crate) fn resolve(builder: &TreeBuilder) -> Resolved {
    let groups = &builder.skeleton.groups;
    let mut resolved = Resolved {
        parents: groups.iter().map(|group| group.parent).collect(),
        ..Resolved::default()
    };
    if !builder.skeleton.conflicted.is_empty() {
        Splitting::new(builder, &mut resolved).run();
    }
    resolved
}

struct Splitting<'a> {
    builder: &'a TreeBuilder,
    resolved: &'a mut Resolved,
    /// The interactions whose chains point into a conflicted group.
    children: HashMap<u32, Vec<u32>>,
}

impl<'a> Splitting<'a> {
    fn new(builder: &'a TreeBuilder, resolved: &'a mut Resolved) -> Self {
        let conflicted = &builder.skeleton.conflicted;
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (group, number) in builder.skeleton.groups.iter().zip(0..) {
            if conflicted.contains(&group.parent) && !conflicted.contains(&number) {
                children.entry(group.parent).or_default().push(number);
            }
        }
        Self {
            builder,
            resolved,
            children,
        }
    }

    fn run(mut self) {
        let groups = &self.builder.skeleton.groups;
        let conflicted = self.builder.skeleton.conflicted.iter();
        let mut conflicted: Vec<u32> = conflicted.copied().collect();
        conflicted.sort_by_key(|&number| {
            let chain = &groups[number as usize].chain;
            (Reverse(chain.level()), chain.own_bits())
        });
        for group in conflicted {
            self.split(group);
        }
    }

    fn split(&mut self, group: u32) {
        self.resolved.parents[group as usize] = DEAD;
        let mut entries: Vec<(Chain, u32)> = self.entries(group);
        let children = self.children.remove(&group).unwrap_or_default();
        let mut mentions: Vec<(Chain, u32)> = children
            .into_iter()
            .map(|child| (self.chain(child)[1..].iter().copied().collect(), child))
            .collect();

        let mut distinct: Vec<Chain> = entries
            .iter()
            .chain(&mentions)
            .map(|(c, _)| c.clone())
            .collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() > MANY {
            let narrowest = distinct
                .iter()
                .flatten()
                .map(StackId::width)
                .min()
                .unwrap_or(8);
            let cut = |chain: &mut Chain| chain.iter_mut().for_each(|id| *id = id.cut(narrowest));
            distinct.iter_mut().for_each(cut);
            entries.iter_mut().for_each(|(chain, _)| cut(chain));
            mentions.iter_mut().for_each(|(chain, _)| cut(chain));
            distinct.sort_unstable();
            distinct.dedup();
        }
        let clusters = if distinct.len() > MANY {
            longest(distinct)
        } else {
            greedy(distinct)
        };
        let first = self.resolved.parents.len() as u32;
        for chain in &clusters.chains {
            self.push(group, chain.clone(), false);
        }
        let mut ambiguous: HashMap<Chain, u32> = HashMap::new();
        for (chain, entry) in entries {
            let fitting = clusters.fitting(&chain);
            let number = match fitting[..] {
                [one] => first + one,
                _ => *ambiguous.entry(chain.clone()).or_insert_with(|| {
                    let number = self.push(group, chain, true);
                    let fitting = fitting.iter().map(|at| first + at).collect();
                    self.resolved.candidates.insert(number, fitting);
                    number
                }),
            };
            let leaf = number as usize - self.builder.skeleton.groups.len();
            self.resolved.leaves[leaf].entries.push(entry);
        }
        for (chain, child) in mentions {
            match clusters.fitting(&chain)[..] {
                [one] => self.resolved.parents[child as usize] = first + one,
                ref several => {
                    self.resolved.parents[child as usize] = NONE;
                    let several = several.iter().map(|at| first + at).collect();
                    self.resolved.candidates.insert(child, several);
                }
            }
        }
    }

    /// Adds an interaction; its parent is settled now, or when the parent's group is taken apart.
    fn push(&mut self, group: u32, chain: Chain, ambiguous: bool) -> u32 {
        let number = self.resolved.parents.len() as u32;
        let skeleton = &self.builder.skeleton;
        let level = skeleton.groups[group as usize].chain.level();
        let mut parent = NONE;
        if !ambiguous && let Some(id) = chain.get(1) {
            parent = skeleton.find(level - 1, id.to_bits()).unwrap_or(NONE);
            if parent != NONE && skeleton.conflicted.contains(&parent) {
                self.children.entry(parent).or_default().push(number);
                parent = NONE;
            }
        }
        self.resolved.parents.push(parent);
        self.resolved.leaves.push(Leaf {
            group,
            chain,
            entries: Vec::new(),
            ambiguous,
        });
        number
    }

    fn chain(&self, number: u32) -> Chain {
        let groups = &self.builder.skeleton.groups;
        match groups.get(number as usize) {
            Some(group) => group.chain.unpack(),
            None => self.resolved.leaves[number as usize - groups.len()]
                .chain
                .clone(),
        }
    }

    fn entries(&self, group: u32) -> Vec<(Chain, u32)> {
        let group = &self.builder.skeleton.groups[group as usize];
        [Direction::Inbound, Direction::Outbound, Direction::Internal]
            .into_iter()
            .flat_map(|side| self.builder.list(group.heads[side as usize]))
            .map(|number| {
                let observation = self.builder.observation(number);
                (
                    builder::chain(observation, group.chain.level()).unpack(),
                    number,
                )
            })
            .collect()
    }
}

/// The interactions of a group, each by all that is known of its chain.
struct Clusters {
    chains: Vec<Chain>,
    /// `chains` are sorted and of one width.
    sorted: bool,
}

impl Clusters {
    /// Those that a chain fits.
    fn fitting(&self, chain: &Chain) -> Vec<u32> {
        let all = self.chains.iter().enumerate();
        if !self.sorted {
            let fitting = all.filter(|(_, known)| chain::fits(known, chain));
            return fitting.map(|(at, _)| at as u32).take(CANDIDATES).collect();
        }
        let from = self.chains.partition_point(|known| known < chain);
        let more = self.chains[from..].iter();
        let more = more.take_while(|known| known.starts_with(chain));
        (from as u32..)
            .take(more.take(CANDIDATES).count())
            .collect()
    }
}

/// Chains of any widths, few: those that know most of their own id, then the longest, lead.
fn greedy(mut distinct: Vec<Chain>) -> Clusters {
    distinct.sort_by_key(|chain| {
        let widths: u32 = chain.iter().map(|id| u32::from(id.width())).sum();
        Reverse((chain[0].width(), chain.len(), widths))
    });
    let mut chains: Vec<Chain> = Vec::new();
    for chain in distinct {
        let mut fitting = chains.iter_mut().filter(|known| chain::fits(known, &chain));
        match (fitting.next(), fitting.next()) {
            (None, _) => chains.push(chain),
            (Some(one), None) => chain::unite(one, &chain),
            (Some(_), Some(_)) => {}
        }
    }
    Clusters {
        chains,
        sorted: false,
    }
}

/// Chains of one width, sorted: a chain that the next one goes on from says nothing of its own.
fn longest(distinct: Vec<Chain>) -> Clusters {
    let covered = |at: usize| {
        distinct
            .get(at + 1)
            .is_some_and(|next| next.starts_with(&distinct[at]))
    };
    let chains = (0..distinct.len())
        .filter(|&at| !covered(at))
        .map(|at| distinct[at].clone())
        .collect();
    Clusters {
        chains,
        sorted: true,
    }
}
