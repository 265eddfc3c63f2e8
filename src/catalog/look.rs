//! How is noted what has come of a look at whole frames, beside others who meet damage in them meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::damage::Knowledge;
use super::health::DamageRecord;
use super::records::{ShardAddress, ShardOwner, ShardPlace};
use super::writer::CatalogWriter;
use crate::error::{CatalogError, CatalogTable};
use crate::units::{ShardIndex, to_u64};

/// Frames that somebody has looked at, all of each, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The frames that were read.
    pub read: &'a [ShardPlace],
    /// Those that are damaged.
    pub damage: &'a [DamageRecord],
    /// What was known of them before they were looked at. Where something else is known by now, somebody has met damage
    /// meanwhile, maybe behind the look: that adds up, and nothing is forgotten.
    pub before: &'a [DamageRecord],
}

/// Of which frames something is known when a look is noted: a row of damage has the address at which its shard lies.
enum KnownByNow {
    Only(BTreeSet<ShardAddress>),
    Anything,
}

impl KnownByNow {
    fn may_have(&self, address: ShardAddress) -> bool {
        match self {
            Self::Only(addresses) => addresses.contains(&address),
            Self::Anything => true,
        }
    }
}

impl CatalogWriter {
    /// Notes what has come of a look at frames: damage, and damage that is none any more. Returns of how many shards the damage is
    /// news, and how many are whole that were known to be damaged.
    ///
    /// # Errors
    /// As for [`Self::record_damage`].
    ///
    /// # Panics
    /// As [`Self::record_damage`].
    pub fn record_look(&mut self, look: &Look<'_>) -> Result<(u64, u64), CatalogError> {
        let known = self.known_by_now(look.read)?;
        let met = self.met_meanwhile(look, &known)?;
        let (added, replaced): (Vec<DamageRecord>, Vec<DamageRecord>) =
            (look.damage.iter().cloned()).partition(|damage| met.contains(&damage.address));
        let bad: BTreeSet<ShardAddress> = look.damage.iter().map(|damage| damage.address).collect();
        let whole: Vec<(ShardOwner, ShardIndex, ShardAddress)> = (look.read.iter())
            .map(|place| (place.owner, place.shard, place.address()))
            .filter(|(_, _, address)| known.may_have(*address))
            .filter(|(_, _, address)| !bad.contains(address) && !met.contains(address))
            .collect();
        let news = self.record_damage(&replaced, Knowledge::Whole)?;
        let news = news + self.record_damage(&added, Knowledge::Part)?;
        Ok((news, self.clear_damage(&whole)?))
    }

    /// Finds out which frames need no look at what is known of them.
    fn known_by_now(&self, read: &[ShardPlace]) -> Result<KnownByNow, CatalogError> {
        let rows = self.row_counts()?.get(CatalogTable::Damage);
        // Each frame would be looked up twice, with its block: so many rows are read faster.
        if rows > 2 * to_u64(read.len()) {
            return Ok(KnownByNow::Anything);
        }
        let mut addresses = BTreeSet::new();
        if rows > 0 {
            self.for_each_damage(|damage| {
                addresses.insert(damage.address);
            })?;
        }
        Ok(KnownByNow::Only(addresses))
    }

    /// Returns the frames of which something else is known than before somebody looked at them.
    fn met_meanwhile(
        &self,
        look: &Look<'_>,
        known: &KnownByNow,
    ) -> Result<BTreeSet<ShardAddress>, CatalogError> {
        let mut met = BTreeSet::new();
        let before: BTreeMap<ShardAddress, &DamageRecord> = look
            .before
            .iter()
            .map(|damage| (damage.address, damage))
            .collect();
        for place in look.read.iter().filter(|place| known.may_have(place.address())) {
            let address = place.address();
            let Some(block) = self.block_at(place.owner, place.shard, address)? else {
                continue;
            };
            let now = self.damage_of_shard(block.id, place.shard)?;
            let now = now.filter(|now| now.address == address);
            if now.is_some_and(|now| before.get(&address) != Some(&&now)) {
                met.insert(address);
            }
        }
        Ok(met)
    }
}
