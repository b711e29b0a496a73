//! Which shard: its number, and the total that the number is relative to.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::ids::GuildId;

/// One shard of a layout: a number below the layout's total.
///
/// The total belongs to the id. Two layouts may run side by side while a bot re-shards, and
/// shard 3 of 16 serves other guilds than shard 3 of 32. On the wire it is the pair
/// `[number, total]`, which is also what it displays as and what serde writes; an impossible
/// pair is refused on reading. Ids sort by layout first, then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    // Compared first, so that the shards of one layout stay together.
    total: u32,
    number: u32,
}

/// Why a pair of numbers names no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardIdError {
    /// The total is zero.
    #[error("a layout has at least one shard; give a total of 1 or more")]
    NoShards,
    /// The number is not below the total.
    #[error("there is no shard {number} of {total}; numbers run from 0 to {last}", last = .total - 1)]
    OutOfRange {
        /// The number asked for.
        number: u32,
        /// The total of the layout, at least 1.
        total: u32,
    },
}

impl ShardId {
    /// The only shard of a bot that is not sharded: `[0, 1]`.
    pub const SINGLE: Self = Self {
        total: 1,
        number: 0,
    };

    /// Shard `number`, counted from zero, of `total`.
    ///
    /// # Errors
    /// The total is zero, or the number is not below it.
    pub const fn new(number: u32, total: u32) -> Result<Self, ShardIdError> {
        if total == 0 {
            return Err(ShardIdError::NoShards);
        }
        if number >= total {
            return Err(ShardIdError::OutOfRange { number, total });
        }
        Ok(Self { total, number })
    }

    /// The shard that gets a guild's events in a layout of `total` shards: the upper 42 bits of
    /// the id, which are its time stamp, modulo the total (Discord's rule).
    ///
    /// # Errors
    /// The total is zero.
    pub fn for_guild(guild: GuildId, total: u32) -> Result<Self, ShardIdError> {
        if total == 0 {
            return Err(ShardIdError::NoShards);
        }
        let number = (guild.get() >> 22) % u64::from(total);
        // A remainder of a u32 fits a u32.
        Ok(Self {
            total,
            number: number as u32,
        })
    }

    /// The number, from zero.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// How many shards the layout has, at least one.
    pub const fn total(self) -> u32 {
        self.total
    }

    /// Whether this shard gets the guild's events.
    pub fn owns(self, guild: GuildId) -> bool {
        Self::for_guild(guild, self.total) == Ok(self)
    }

    /// The identify bucket: shards of one bucket identify one after the other, those of
    /// different buckets at the same time. `max_concurrency` comes from
    /// [`SessionStartLimit`](crate::SessionStartLimit); 0 counts as 1.
    pub const fn bucket(self, max_concurrency: u32) -> u32 {
        match max_concurrency {
            0 => 0,
            buckets => self.number % buckets,
        }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.number, self.total)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardId{self}")
    }
}

impl Serialize for ShardId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.number, self.total).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShardId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, total) = <(u32, u32)>::deserialize(deserializer)?;
        Self::new(number, total).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_pairs_are_refused() {
        assert_eq!(ShardId::new(0, 0), Err(ShardIdError::NoShards));
        assert_eq!(
            ShardId::new(16, 16),
            Err(ShardIdError::OutOfRange {
                number: 16,
                total: 16
            })
        );
        assert_eq!(
            ShardId::new(16, 16).unwrap_err().to_string(),
            "there is no shard 16 of 16; numbers run from 0 to 15"
        );
        assert_eq!(
            ShardId::for_guild(GuildId::new(1), 0),
            Err(ShardIdError::NoShards)
        );
        let shard = ShardId::new(3, 16).unwrap();
        assert_eq!((shard.number(), shard.total()), (3, 16));
        assert_eq!(ShardId::new(0, 1), Ok(ShardId::SINGLE));
    }

    #[test]
    fn a_guild_belongs_to_the_shifted_id_modulo_the_total() {
        // 41771983423143937 >> 22 = 9959216934; modulo 16 = 6, modulo 10 = 4.
        let guild = GuildId::new(41_771_983_423_143_937);
        assert_eq!(ShardId::for_guild(guild, 16).unwrap().number(), 6);
        assert_eq!(ShardId::for_guild(guild, 10).unwrap().number(), 4);
        assert!(ShardId::new(6, 16).unwrap().owns(guild));
        assert!(!ShardId::new(4, 16).unwrap().owns(guild));
        // The top bit set: 2^63 >> 22 = 2^41, and 2^41 modulo 3 = 2. A signed shift would differ.
        let late = GuildId::new(1 << 63);
        assert_eq!(ShardId::for_guild(late, 3).unwrap().number(), 2);
        // The low 22 bits do not matter.
        let low = GuildId::new((1 << 22) - 1);
        assert_eq!(ShardId::for_guild(low, 7).unwrap().number(), 0);
    }

    #[test]
    fn in_every_layout_each_guild_belongs_to_one_shard() {
        for total in [4, 8, 1000] {
            for number in 0..2000_u64 {
                // Spread over all 64 bits, the highest too.
                let guild = GuildId::new(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let shards = (0..total).map(|number| ShardId::new(number, total).unwrap());
                let owners: Vec<_> = shards.filter(|shard| shard.owns(guild)).collect();
                assert_eq!(owners, [ShardId::for_guild(guild, total).unwrap()]);
            }
        }
        assert!(ShardId::for_guild(GuildId::new(1), 0).is_err());
    }

    #[test]
    fn buckets_wrap_around_and_zero_counts_as_one() {
        let shard = ShardId::new(35, 64).unwrap();
        assert_eq!(shard.bucket(16), 3);
        assert_eq!(shard.bucket(1), 0);
        assert_eq!(shard.bucket(0), 0);
    }

    #[test]
    fn the_wire_form_is_the_pair() {
        let shard = ShardId::new(3, 16).unwrap();
        assert_eq!(serde_json::to_string(&shard).unwrap(), "[3,16]");
        assert_eq!(serde_json::from_str::<ShardId>("[3, 16]").unwrap(), shard);
        assert_eq!(shard.to_string(), "[3, 16]");
        assert_eq!(format!("{shard:?}"), "ShardId[3, 16]");
        for text in ["[16,16]", "[0,0]", "[-1,2]", "[0]", "[0,1,2]", "null"] {
            assert!(serde_json::from_str::<ShardId>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_sort_by_layout_then_number() {
        let id = |number, total| ShardId::new(number, total).unwrap();
        let mut ids = [id(0, 2), id(1, 2), id(0, 1)];
        ids.sort();
        assert_eq!(ids, [id(0, 1), id(0, 2), id(1, 2)]);
    }
}
