//! A proxy whose disk is full: it says so, and carries out afterwards what it could not.

use crate::process::Place;
use crate::tenant::{Tenant, outcome};
use std::time::{Duration, Instant};
use trefoil_keys::command::Operation;

#[test]
fn while_the_store_cannot_be_written_health_says_so_and_no_command_counts() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(1, "alice")), "applied");
    assert_eq!(proxy.get("/health").status.as_u16(), 200);

    proxy.leave_room(Some(0));
    let withdrawal = tenant.sign(&tenant.command(2, Operation::Withdraw { sub: "alice".to_owned() }));
    let answer = proxy.post("/v1/commands", withdrawal.as_str()).unwrap();
    assert_eq!((answer.status.as_u16(), answer.problem().unwrap().code.as_str()), (503, "store"));
    let health = proxy.get("/health");
    assert_eq!(health.status.as_u16(), 503);
    let reasons = health.text().unwrap();
    assert!(reasons.contains("commands wait") && reasons.contains("File too large"), "{reasons}");

    proxy.leave_room(None);
    let end = Instant::now() + Duration::from_secs(20);
    while proxy.get("/health").status.as_u16() != 200 {
        assert!(Instant::now() < end, "{}", place.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(outcome(&proxy, &tenant, &withdrawal), "applied");
    assert_eq!(proxy.status().seq, 2);
    drop(proxy);
    assert_eq!(place.start().status().seq, 2);
}
