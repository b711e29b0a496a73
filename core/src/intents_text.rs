//! Reads a set of intents from what a person types.

use std::str::FromStr;

use crate::intents::{Intents, NAMED};

/// Why a text names no set of intents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIntentsError {
    /// The text holds no word.
    #[error("no intent is named; list some, or say `default`, `all` or `none`")]
    Empty,
    /// A word is neither an intent, a word for several, nor a number.
    #[error("there is no intent `{word}`; {}", advice(.suggestion))]
    Unknown {
        /// The word, cut after 64 characters.
        word: String,
        /// The intent or word that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A number sets bits that Discord does not define and would answer with close 4013.
    #[error("the number sets undefined intent bits ({bits:#x}); take them out, or use names")]
    Undefined {
        /// The undefined bits.
        bits: u64,
    },
}

/// Names that Discord has given up, for the intents that now cover them.
const OLD_NAMES: &[(&str, Intents)] = &[
    ("GUILD_BANS", Intents::GUILD_MODERATION),
    ("GUILD_EMOJIS", Intents::GUILD_EXPRESSIONS),
    ("GUILD_EMOJIS_AND_STICKERS", Intents::GUILD_EXPRESSIONS),
];

/// Words for several intents at once.
const WORDS: &[(&str, Intents)] = &[
    ("all", Intents::all()),
    ("default", Intents::non_privileged()),
    ("unprivileged", Intents::non_privileged()),
    ("privileged", Intents::privileged()),
    ("none", Intents::empty()),
];

/// The longest word for which a near match is looked for, in bytes.
const LONGEST_GUESS: usize = 64;

impl FromStr for Intents {
    type Err = ParseIntentsError;

    /// Reads a list whose members are separated by commas, bars or white space. Each is a name in
    /// any spelling (`GUILD_MESSAGES`, `guild-messages`, `GuildMessages`; old names too), one of
    /// the words `all`, `default` (which is `unprivileged`), `privileged` and `none`, or a number,
    /// decimal or with `0x`. The result is the union.
    fn from_str(text: &str) -> Result<Self, ParseIntentsError> {
        let mut set = None;
        let words = text.split(|c: char| c == ',' || c == '|' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            set = Some(set.unwrap_or(Self::empty()) | parse_word(word)?);
        }
        set.ok_or(ParseIntentsError::Empty)
    }
}

fn parse_word(word: &str) -> Result<Intents, ParseIntentsError> {
    if let Some(bits) = parse_number(word) {
        return Intents::from_bits(bits).ok_or_else(|| ParseIntentsError::Undefined {
            bits: Intents::from_bits_retain(bits)
                .difference(Intents::all())
                .bits(),
        });
    }
    let plain = plain(word);
    known()
        .find(|(name, _)| same(name, &plain))
        .map(|(_, intents)| intents)
        .ok_or_else(|| ParseIntentsError::Unknown {
            word: word.chars().take(64).collect(),
            suggestion: closest(&plain),
        })
}

/// `None` if the word is no number of 64 bits; it is then looked up as a name.
fn parse_number(word: &str) -> Option<u64> {
    let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((word, 10), |digits| (digits, 16));
    // from_str_radix would take a plus sign.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

fn known() -> impl Iterator<Item = (&'static str, Intents)> {
    NAMED.iter().chain(OLD_NAMES).chain(WORDS).copied()
}

/// The word without hyphens and underscores, in lower case.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn same(name: &str, plain_word: &str) -> bool {
    plain(name) == plain_word
}

/// A name that holds the word (`messages`), else the one that the fewest edits lead to, if they
/// are at most a third of the word.
fn closest(word: &str) -> Option<&'static str> {
    if word.len() < 3 || word.len() > LONGEST_GUESS {
        return None;
    }
    if let Some((name, _)) = known().find(|(name, _)| plain(name).contains(word)) {
        return Some(name);
    }
    let (edits, name) = known()
        .map(|(name, _)| (edit_distance(&plain(name), word), name))
        .min_by_key(|&(edits, _)| edits)?;
    (edits <= (word.len() / 3).max(1)).then_some(name)
}

/// Levenshtein's distance in bytes, one row at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn advice(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(
        || "use discord's names, such as GUILD_MESSAGES".to_owned(),
        |name| format!("did you mean {name}?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> u64 {
        text.parse::<Intents>().unwrap().bits()
    }

    #[test]
    fn any_spelling_and_separator_is_read() {
        for text in [
            "GUILDS,GUILD_MESSAGES",
            "guilds guild-messages",
            "Guilds | GuildMessages",
            "guilds,, guildmessages,",
            "GUILDS\n\tguild_messages",
            "0x201",
            "513",
            "1|0X200",
            "none,513",
        ] {
            assert_eq!(bits(text), 513, "{text}");
        }
    }

    #[test]
    fn old_names_and_group_words_are_read() {
        assert_eq!(bits("GUILD_BANS"), 4);
        assert_eq!(bits("guild-emojis"), 8);
        assert_eq!(bits("GuildEmojisAndStickers"), 8);
        assert_eq!(bits("all"), 53_608_447);
        assert_eq!(bits("Default"), 53_575_421);
        assert_eq!(bits("privileged"), 33_026);
        assert_eq!(bits("default,message-content"), 53_575_421 + 32_768);
        assert_eq!(bits("none"), 0);
        assert_eq!(bits("0"), 0);
    }

    #[test]
    fn every_present_name_is_read() {
        for (name, intents) in NAMED {
            assert_eq!(name.parse(), Ok(*intents));
        }
    }

    fn suggestion(word: &str) -> Option<&'static str> {
        match word.parse::<Intents>() {
            Err(ParseIntentsError::Unknown { suggestion, .. }) => suggestion,
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn an_unknown_word_is_named_with_a_suggestion() {
        assert_eq!(suggestion("GUILD_MESAGES"), Some("GUILD_MESSAGES"));
        assert_eq!(suggestion("gulids"), Some("GUILDS"));
        assert_eq!(suggestion("messages"), Some("GUILD_MESSAGES"));
        assert_eq!(suggestion("members"), Some("GUILD_MEMBERS"));
        assert_eq!(suggestion("content"), Some("MESSAGE_CONTENT"));
        assert_eq!(suggestion("everything"), None);
        // Two letters stand in too many names.
        assert_eq!(suggestion("ban"), Some("GUILD_BANS"));
        assert_eq!(suggestion("ba"), None);
        // Two of eight letters are right to miss, three are not.
        assert_eq!(suggestion("rivilegex"), Some("privileged"));
        assert_eq!(suggestion("ivilegex"), None);
        assert_eq!(suggestion("+1"), None);
        assert_eq!(suggestion(&"é".repeat(5000)), None);
        assert_eq!(
            "guilds,mesages".parse::<Intents>().unwrap_err().to_string(),
            "there is no intent `mesages`; use discord's names, such as GUILD_MESSAGES"
        );
        assert_eq!(
            "guild-mesages".parse::<Intents>().unwrap_err().to_string(),
            "there is no intent `guild-mesages`; did you mean GUILD_MESSAGES?"
        );
    }

    #[test]
    fn an_empty_list_and_undefined_bits_are_refused() {
        for text in ["", " ", ",|,"] {
            assert_eq!(text.parse::<Intents>(), Err(ParseIntentsError::Empty));
        }
        assert_eq!(
            "131073".parse::<Intents>(),
            Err(ParseIntentsError::Undefined { bits: 131_072 })
        );
        assert!("99999999999999999999".parse::<Intents>().is_err());
        assert!("0x".parse::<Intents>().is_err());
    }
}
