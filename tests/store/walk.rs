//! A long random walk of the store beside a plain model: a map from names to bytes.

use std::collections::HashMap;

use super::*;

#[derive(Clone, Debug)]
struct Kept {
    bytes: Bytes,
    pinned: bool,
}

/// The model: what each content is held as, and which names point to it.
#[derive(Debug, Default)]
struct Model {
    held: HashMap<u64, Kept>,
    names: HashMap<Name, u64>,
}

impl Model {
    fn drop_content(&mut self, content: u64) {
        self.held.remove(&content);
        self.names.retain(|_, to| *to != content);
    }
}

async fn walk(seed: u64, steps: u64) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let small = Config { max_size: 400 << 10, open_payloads: 8, ..config(dir.path()) };
    let open = || Store::open(small.clone(), Arc::new(RealDisk), clock.clone()).unwrap().0;
    let mut store = open();
    let mut dice = Dice::new(seed);
    let mut model = Model::default();
    for step in 0..steps {
        clock.forward(61_000);
        let content = dice.roll(12);
        let name = url(&dice.roll(16).to_string());
        let body = bytes(content, 1000 + 3000 * content as usize);
        let blake3 = blake3_of(&body);
        match dice.roll(20) {
            0..8 => {
                let expected = (dice.roll(2) == 0).then_some(Authority::Catalog);
                match publish(&store, &name, &body, expected).await {
                    Ok(found) => {
                        assert_eq!(served(&found), body);
                        let pinned = model.held.get(&content).is_some_and(|kept| kept.pinned);
                        model.held.insert(content, Kept { bytes: body, pinned });
                        model.names.insert(name.clone(), content);
                    }
                    // Full of pinned and proven ones: then nothing new, and nothing lost.
                    Err(Error::Full { .. }) => {
                        store.draft(&name).await.unwrap().unwrap().discard().await.unwrap();
                    }
                    Err(error) => panic!("step {step}: {error}"),
                }
            }
            8..10 => match store.remove(blake3).await {
                Ok(()) => {
                    assert!(model.held.contains_key(&content), "step {step}: removed what was not there");
                    model.drop_content(content);
                }
                Err(Error::Gone) => {}
                Err(error) => panic!("step {step}: {error}"),
            },
            10..12 => {
                let pinned = store.pin(blake3, "walk").await;
                if let Some(kept) = model.held.get_mut(&content) {
                    kept.pinned |= pinned.is_ok();
                }
            }
            12 => {
                let unpinned = store.unpin(blake3).await;
                if let Some(kept) = model.held.get_mut(&content) {
                    kept.pinned &= unpinned.is_err();
                }
            }
            13 => drop(store.evict_step(dice.roll(100 << 10)).await.unwrap()),
            14 => {
                store.close().await.unwrap();
                store = open();
            }
            15 => {
                drop(store);
                store = open();
            }
            16 => {
                store.forget(&name).await.unwrap();
                model.names.remove(&name);
            }
            _ => drop(store.find(&name).await.unwrap()),
        }
        // Eviction may take what is not pinned, and nothing else may go or change.
        let held: Vec<_> = store.list(None, 100).await.unwrap();
        let ids: Vec<_> = held.iter().map(|listed| listed.payload.digests.blake3).collect();
        let lost: Vec<_> =
            model.held.iter().filter(|(_, kept)| !ids.contains(&blake3_of(&kept.bytes))).map(|(c, _)| *c).collect();
        for content in lost {
            assert!(!model.held[&content].pinned, "step {step}: a pinned payload went");
            model.drop_content(content);
        }
        assert_eq!(ids.len(), model.held.len(), "step {step}: something came from nowhere");
        let space = store.space().await.unwrap();
        assert!(space.payloads + space.drafts <= small.max_size, "step {step}: {space:?}");
        for at in 0..16 {
            let name = url(&at.to_string());
            let found = store.find(&name).await.unwrap().map(|found| served(&found));
            let wanted = model.names.get(&name).map(|content| model.held[content].bytes.clone());
            assert!(found == wanted, "step {step}: {name} is not what the model says");
        }
    }
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn a_random_walk_agrees_with_a_plain_model() {
    for seed in 0..3 {
        walk(seed, 150).await;
    }
}
