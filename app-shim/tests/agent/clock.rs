//! A computer whose clock is off, and a share that is not accepted: told in words.

use crate::agent::Agent;
use crate::curl::curl;
use crate::origin::Origin;

const PAGE: &str = "-HAccept: text/html,application/xhtml+xml,*/*;q=0.8";

#[test]
fn a_clock_that_is_off_is_told_once() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    curl(&[&agent.url("/")]);
    origin.behave(|manners| manners.clock = -180);
    for _ in 0..3 {
        assert_eq!(curl(&[&agent.url("/")]).body, "here");
    }
    agent.says("your computer's clock is 3 minutes ahead of the application's; set it right");
    origin.behave(|manners| manners.clock = 7200);
    curl(&[&agent.url("/")]);
    agent.says("your computer's clock is 2 hours behind the application's");
    origin.behave(|manners| manners.clock = 0);
    curl(&[&agent.url("/")]);
    agent.says("your computer's clock is right now");
    assert_eq!(agent.log().matches("your computer's clock").count(), 3);
}

#[test]
fn a_share_that_is_not_accepted_is_explained() {
    let origin = Origin::start();
    let agent = Agent::start_with(&origin, "[[rule]]\npath = '/open'\nscope = 'none'");
    let (expired, rejected) = ("Trefoil error=\"share-expired\"", "Trefoil error=\"share-rejected\"");
    for (challenge, code, clock, says) in [
        (expired, "share-expired", -180, "your computer's clock is 3 minutes ahead of the application's"),
        (rejected, "share-rejected", 180, "your computer's clock is 3 minutes behind the application's"),
        (expired, "share-expired", 0, "had expired when it arrived"),
        (rejected, "share-rejected", 0, "your share was not accepted"),
    ] {
        origin.behave(|manners| (manners.challenge, manners.clock) = (Some(challenge), clock));
        let answer = curl(&[&agent.url("/")]);
        answer.is_problem(401, code);
        assert!(answer.body.contains(says), "{}", answer.body);
        let page = curl(&[PAGE, &agent.url("/")]);
        assert_eq!((page.status, page.field("content-type")), (401, Some("text/html; charset=utf-8")));
        let sentence = says[..1].to_uppercase() + &says[1..];
        assert!(page.body.contains(&sentence) || page.body.contains(says), "{}", page.body);
        assert!(!page.body.contains("eyJ") && page.field("cache-control") == Some("no-store"));
    }
    // The application's own refusals are its own.
    origin.behave(|manners| (manners.challenge, manners.clock) = (Some("Basic realm=\"x\""), 0));
    assert_eq!(curl(&[&agent.url("/")]).body, "here");
    origin.behave(|manners| manners.challenge = Some(expired));
    assert_eq!(curl(&[&agent.url("/open")]).body, "here");
}
