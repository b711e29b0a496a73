//! Whatever order chunks come in, with duplicates and those of others among them: each collection completes
//! exactly once, with its own members.

mod desk;

use desk::{Desk, GUILD};
use proptest::prelude::*;
use shardwright_core::{GuildMembersRequest, UserId};

/// The n-th member in a chunk of a batch of a request.
fn member(request: usize, batch: usize, chunk: u32, n: u64) -> u64 {
    (request as u64 + 1) * 1_000_000 + batch as u64 * 10_000 + u64::from(chunk) * 100 + n
}

/// A request of so many batches; the members in each chunk of each of them.
fn request() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let chunks = proptest::collection::vec(0..3_u64, 1..5);
    proptest::collection::vec(chunks, 1..4)
}

#[derive(Clone, Debug)]
enum Said {
    /// The chunk of a batch of a request.
    Chunk(usize, usize, u32),
    Foreign(u8),
    Other,
}

/// Some requests, and what the gateway says: every chunk at least once.
fn play() -> impl Strategy<Value = (Vec<Vec<Vec<u64>>>, Vec<Said>)> {
    proptest::collection::vec(request(), 1..5).prop_flat_map(|requests| {
        let mut all = Vec::new();
        for (r, batches) in requests.iter().enumerate() {
            for (b, chunks) in batches.iter().enumerate() {
                for chunk in 0..chunks.len() {
                    all.push(Said::Chunk(r, b, u32::try_from(chunk).unwrap()));
                }
            }
        }
        let twice = proptest::sample::subsequence(all.clone(), 0..=all.len());
        let others = proptest::collection::vec(
            prop_oneof![any::<u8>().prop_map(Said::Foreign), Just(Said::Other)],
            0..5,
        );
        let said = (twice, others).prop_flat_map(move |(twice, others)| {
            let mut said = all.clone();
            said.extend(twice);
            said.extend(others);
            Just(said).prop_shuffle()
        });
        (Just(requests), said)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_completes_once_with_its_own_members((requests, said) in play()) {
        let mut desk = Desk::up();
        // Where the batches of each request stand among all that was asked.
        let mut places = Vec::new();
        for (id, batches) in requests.iter().enumerate() {
            let ids = (0..batches.len() as u64 * 100).map(|n| UserId::new(n + 1));
            places.push(desk.asked.len());
            desk.ask(id as u64, GuildMembersRequest::by_ids(GUILD, ids));
        }
        let mut missing: Vec<Vec<Vec<bool>>> = requests
            .iter()
            .map(|batches| batches.iter().map(|chunks| vec![true; chunks.len()]).collect())
            .collect();
        for said in said {
            match said {
                Said::Chunk(r, b, index) => {
                    let chunks = &requests[r][b];
                    let members: Vec<u64> = (0..chunks[index as usize])
                        .map(|n| member(r, b, index, n))
                        .collect();
                    desk.chunk(places[r] + b, index, chunks.len() as u32, &members);
                    missing[r][b][index as usize] = false;
                }
                Said::Foreign(n) => {
                    let nonce = format!("{n:x}.1.0");
                    desk.event("GUILD_MEMBERS_CHUNK", &desk::chunk(&nonce, 0, 1, &[7]));
                }
                Said::Other => desk.event("MESSAGE_CREATE", "{}"),
            }
            let complete = missing.iter().filter(|r| !r.iter().flatten().any(|m| *m)).count();
            prop_assert_eq!(desk.done.len(), complete, "neither late nor early");
        }
        for (r, batches) in requests.iter().enumerate() {
            let expected: Vec<u64> = batches
                .iter()
                .enumerate()
                .flat_map(|(b, chunks)| {
                    chunks.iter().enumerate().flat_map(move |(c, members)| {
                        (0..*members).map(move |n| member(r, b, c as u32, n))
                    })
                })
                .collect();
            prop_assert_eq!(desk.members_of(r as u64), expected);
        }
        desk.assert_free();
    }
}
