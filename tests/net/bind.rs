//! Binding: addresses that are taken or not ours, and both families side by side.

use waystation::net::error::Fault;
use waystation::net::{Bound, Error};

#[test]
fn an_address_that_is_taken_is_named() {
    let first = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let taken = Bound::tcp(first.address()).unwrap_err();
    assert!(matches!(taken, Error::AddressInUse { .. }), "{taken}");
    assert!(taken.is_retryable() && taken.fault() == Fault::Operator);
    let elsewhere = Bound::tcp("203.0.113.77:0".parse().unwrap()).unwrap_err();
    assert!(matches!(elsewhere, Error::AddressForeign { .. }), "{elsewhere}");
    let told = elsewhere.to_string();
    assert!(told.contains("203.0.113.77:0") && told.contains("[listen]") && !told.contains("os error"), "{told}");
    // Both families side by side on one port.
    let v4 = Bound::tcp("0.0.0.0:0".parse().unwrap()).unwrap();
    Bound::tcp(format!("[::]:{}", v4.address().port()).parse().unwrap()).unwrap();
}
