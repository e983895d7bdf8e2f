//! Accounts, sessions and tokens, as far as the index promises something of them.

use std::sync::Arc;

use super::*;
use crate::base::disk::RealDisk;
use crate::base::time::{SystemClock, Timestamp};
use crate::model::access::{Grants, Reach, Role};
use crate::store::Store;
use crate::store::config::Config;

pub(super) fn open(dir: &std::path::Path) -> Store {
    Store::open(Config::small(dir), Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

fn account(name: &str, role: Role) -> Account {
    Account {
        name: name.into(),
        role,
        reach: Reach::Everywhere,
        password: Hashed { salt: [1; 16], hash: [2; 32], cost: (8, 1, 1) },
        made: ("root".into(), Timestamp::from_ms(1)),
        password_at: Timestamp::from_ms(1),
        seen_at: None,
    }
}

fn session(account: &str, at: u64) -> Session {
    let at = Timestamp::from_ms(at);
    Session { account: account.into(), made_at: at, used_at: at, proved_at: at, from: "::1".into() }
}

fn token(account: &str) -> Token {
    Token {
        id: format!("of-{account}"),
        name: "script".into(),
        account: account.into(),
        role: Role::Operator,
        reach: Reach::Everywhere,
        grants: Grants::read(["*:read"]).unwrap(),
        made_at: Timestamp::from_ms(1),
        until: Timestamp::from_ms(9),
        used_at: None,
    }
}

#[tokio::test]
async fn somebody_who_can_mend_everything_is_always_left() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = open(dir.path()).accounts();
    assert!(accounts.is_empty().await.unwrap());
    assert!(accounts.add(account("olga", Role::Operator), false).await.is_err(), "nobody is an administrator");
    assert!(accounts.is_empty().await.unwrap());
    accounts.add(account("anna", Role::Administrator), true).await.unwrap();
    assert!(accounts.add(account("eve", Role::Administrator), true).await.is_err(), "the first was made already");
    accounts.add(account("olga", Role::Operator), false).await.unwrap();
    assert!(accounts.add(account("olga", Role::Auditor), false).await.is_err());
    for refused in [
        accounts.remove("anna").await,
        accounts.put(account("anna", Role::Auditor)).await,
        accounts.put(Account { reach: Reach::Groups([].into()), ..account("anna", Role::Administrator) }).await,
    ] {
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(accounts.one("anna").await.unwrap(), Some(account("anna", Role::Administrator)), "as it was");
    accounts.put(account("olga", Role::Administrator)).await.unwrap();
    accounts.remove("anna").await.unwrap();
    assert!(matches!(accounts.remove("anna").await, Err(Error::Gone)));
    assert_eq!(accounts.all().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_hangs_on_an_account_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = open(dir.path()).accounts();
    let zero = Timestamp::from_ms(0);
    accounts.add(account("anna", Role::Administrator), true).await.unwrap();
    accounts.add(account("olga", Role::Operator), false).await.unwrap();
    accounts.begin([1; 32], session("anna", 5), [2; 32], zero, zero).await.unwrap();
    accounts.begin([2; 32], session("olga", 6), [2; 32], zero, zero).await.unwrap();
    assert!(accounts.begin([3; 32], session("nobody", 6), [2; 32], zero, zero).await.is_err());
    let late = accounts.begin([3; 32], session("olga", 6), [7; 32], zero, zero).await;
    assert!(matches!(late, Err(Error::Gone)), "the password changed while it was checked");
    assert_eq!(accounts.one("olga").await.unwrap().unwrap().seen_at, Some(Timestamp::from_ms(6)));
    accounts.put_token([4; 32], token("olga")).await.unwrap();
    assert!(matches!(accounts.put_token([5; 32], token("nobody")).await, Err(Error::Gone)));
    accounts.use_token([4; 32], Timestamp::from_ms(7)).await.unwrap();
    let (known, owner) = accounts.token([4; 32]).await.unwrap().unwrap();
    assert_eq!((known.used_at, owner.name.as_str()), (Some(Timestamp::from_ms(7)), "olga"));

    let mut other = accounts.one("anna").await.unwrap().unwrap();
    other.role = Role::Administrator;
    accounts.put(other.clone()).await.unwrap();
    assert!(accounts.session([1; 32]).await.unwrap().is_some(), "the same password");
    other.password.hash = [9; 32];
    accounts.put(other).await.unwrap();
    assert!(accounts.session([1; 32]).await.unwrap().is_none(), "another password");
    assert!(accounts.session([2; 32]).await.unwrap().is_some(), "another account");
    accounts.remove("olga").await.unwrap();
    assert!(accounts.session([2; 32]).await.unwrap().is_none());
    assert!(accounts.token([4; 32]).await.unwrap().is_none() && accounts.tokens().await.unwrap().is_empty());
    accounts.touch([2; 32], session("olga", 8)).await.unwrap();
    assert!(accounts.session([2; 32]).await.unwrap().is_none(), "what has ended does not come back");
}

#[tokio::test]
async fn one_account_has_so_many_sessions_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = open(dir.path()).accounts();
    accounts.add(account("anna", Role::Administrator), true).await.unwrap();
    let zero = Timestamp::from_ms(0);
    for number in 0..25_u8 {
        let at = u64::from(number) + 10;
        accounts.begin([number; 32], session("anna", at), [2; 32], zero, zero).await.unwrap();
    }
    for number in 0..25_u8 {
        let is_there = accounts.session([number; 32]).await.unwrap().is_some();
        assert_eq!(is_there, number >= 5, "{number}");
    }
    accounts.begin([99; 32], session("anna", 99), [2; 32], Timestamp::from_ms(30), zero).await.unwrap();
    assert!(accounts.session([19; 32]).await.unwrap().is_none() && accounts.session([20; 32]).await.unwrap().is_some());
    accounts.end([20; 32]).await.unwrap();
    assert!(accounts.session([20; 32]).await.unwrap().is_none());
}
