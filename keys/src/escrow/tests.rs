//! Sets as a whole, through their printed form.

use super::{Date, Endpoint, EscrowError, Payload, Problem, Sheet, SheetError, Terms, recover, split};
use crate::secret::TenantKey;
use crate::signing::{SigningKey, VerifyingKey};
use crate::tls::Fingerprint;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, proptest};
use std::collections::BTreeMap;

const DATE: Date = Date { year: 2031, month: 2, day: 3 };

fn terms(threshold: u8, sheets: u8) -> Terms {
    Terms { threshold, sheets, date: DATE }
}

fn payload() -> Payload {
    Payload {
        tenant: "clinic".to_owned(),
        application: "clinic-app".to_owned(),
        keys: BTreeMap::from([
            (("main".to_owned(), 1), TenantKey::generate()),
            (("billing".to_owned(), 3), TenantKey::generate()),
        ]),
        signing_key: SigningKey::generate().unwrap(),
        receipt_key: VerifyingKey::from_bytes([7; 32]),
        proxy: Some(Endpoint {
            url: "https://proxy.example:6434".to_owned(),
            fingerprint: Fingerprint::from_bytes([9; 32]),
        }),
    }
}

fn is_same(one: &Payload, other: &Payload) -> bool {
    one.tenant == other.tenant
        && one.application == other.application
        && one.keys == other.keys
        && one.signing_key.seed() == other.signing_key.seed()
        && one.receipt_key == other.receipt_key
        && one.proxy == other.proxy
}

fn printed(payload: &Payload, threshold: u8, sheets: u8) -> Vec<String> {
    split(payload, terms(threshold, sheets))
        .unwrap()
        .iter()
        .map(|sheet| sheet.to_text().to_string())
        .collect()
}

fn read(texts: &[&str]) -> Vec<Sheet> {
    texts.iter().map(|text| Sheet::parse(text).unwrap()).collect()
}

/// What `recover` says to texts that are each right in themselves.
fn refusal(texts: &[&str]) -> EscrowError {
    recover(&read(texts)).err().unwrap()
}

/// The numbered lines, with their numbers.
fn numbered(text: &str) -> impl Iterator<Item = (u8, &str)> {
    text.lines().filter_map(|line| Some((line.get(..3)?.trim().parse().ok()?, line)))
}

/// Without the lines that are the same on all sheets.
fn own_lines(text: &str) -> String {
    numbered(text).filter(|(number, _)| *number <= 2).map(|(_, line)| format!("{line}\n")).collect()
}

/// The lines that are the same on all sheets.
fn common_lines(text: &str) -> String {
    numbered(text).filter(|(number, _)| *number > 2).map(|(_, line)| format!("{line}\n")).collect()
}

/// The same share and payload under other terms, with all checksums right: what a forger prints.
fn forged(sheet: &str, change: impl FnOnce(&mut Sheet)) -> String {
    let mut sheet = Sheet::parse(sheet).unwrap();
    change(&mut sheet);
    sheet.common = None;
    sheet.to_text().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_sheets_that_are_enough_give_everything_back(
        (threshold, count, numbers) in (2..=7_u8, 0..=5_u8).prop_flat_map(|(threshold, more)| {
            let all: Vec<usize> = (0..usize::from(threshold + more)).collect();
            let enough = usize::from(threshold)..=all.len();
            (Just(threshold), Just(threshold + more), prop::sample::subsequence(all, enough).prop_shuffle())
        }),
    ) {
        let payload = payload();
        let texts = printed(&payload, threshold, count);
        let chosen: Vec<&str> = numbers.iter().map(|n| texts[*n].as_str()).collect();
        assert!(is_same(&recover(&read(&chosen)).unwrap(), &payload));
        let needed = usize::from(threshold);
        let too_few = EscrowError::TooFew { given: needed - 1, needed: threshold };
        assert_eq!(refusal(&chosen[..needed - 1]), too_few);
    }

    #[test]
    fn payloads_of_all_shapes_there_and_back(
        tenant in "[^\\p{C}]{1,60}",
        application in "[^\\p{C}]{1,60}",
        names in prop::collection::btree_map(("[a-z]{1,20}", any::<u8>()), any::<[u8; 32]>(), 0..4),
        url in prop::option::of("https://[a-z]{0,200}"),
        bytes in any::<[u8; 32]>(),
    ) {
        let payload = Payload {
            tenant,
            application,
            keys: names.into_iter().map(|(name, key)| (name, TenantKey::from_bytes(key.into()))).collect(),
            signing_key: SigningKey::from_seed(bytes.into()).unwrap(),
            receipt_key: VerifyingKey::from_bytes(bytes.map(|byte| !byte)),
            proxy: url.map(|url| Endpoint { url, fingerprint: Fingerprint::from_bytes(bytes) }),
        };
        let texts = printed(&payload, 2, 3);
        assert!(is_same(&recover(&read(&[&texts[2], &texts[0]])).unwrap(), &payload));
    }
}

#[test]
fn a_sheet_says_what_it_is_and_nothing_of_the_keys() {
    let payload = payload();
    let text = printed(&payload, 3, 5)[1].clone();
    let sheet = Sheet::parse(&text).unwrap();
    assert_eq!((sheet.number(), sheet.terms(), sheet.tenant()), (2, terms(3, 5), Some("clinic")));
    let set = sheet.set().to_string();
    for fact in ["clinic", "2 of 5", "2031-02-03", "Any 3 of the 5", set.as_str()] {
        assert!(text.contains(fact), "{fact}");
    }
    assert!(!text.contains("clinic-app") && !text.contains("proxy.example"));
    assert!(text.lines().all(|line| line.len() <= 72), "{text}");
}

/// Every character of every line, replaced by every other.
#[test]
fn every_wrong_character_is_found_and_its_line_named() {
    let text = printed(&payload(), 2, 2)[0].clone();
    let alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut changed_lines = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let number: Option<u8> = line.get(..3).and_then(|number| number.trim().parse().ok());
        if let Some(number) = number {
            changed_lines += 1;
            for (place, old) in line.char_indices().skip(3).filter(|(_, c)| c.is_alphanumeric()) {
                for new in alphabet.chars().filter(|new| *new != old) {
                    let mut changed = text.clone();
                    changed.replace_range(offset + place..=offset + place, new.encode_utf8(&mut [0; 4]));
                    let error = Sheet::parse(&changed).err();
                    assert_eq!(error, Some(SheetError::Lines(vec![(number, Problem::Checksum)])));
                }
            }
        }
        offset += line.len();
    }
    assert_eq!(changed_lines, Sheet::parse(&text).unwrap().last_line());
}

#[test]
fn all_wrong_lines_are_told_at_once() {
    let text = printed(&payload(), 2, 2)[0].clone();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let place = |lines: &[String], number: &str| lines.iter().position(|l| l.starts_with(number)).unwrap();
    let (four, six) = (place(&lines, "  4 "), place(&lines, "  6 "));
    lines[four].pop();
    let five = lines.remove(four + 1);
    lines.push(lines[six - 1].clone());
    let error = Sheet::parse(&lines.join("\n")).err().unwrap();
    let expected = [(4, Problem::Length(45)), (5, Problem::Missing), (6, Problem::Twice)];
    assert_eq!(error, SheetError::Lines(expected.to_vec()));
    assert!(error.to_string().starts_with("line 4 has 45 letters"), "{error}");

    // Numbers that were swapped.
    let swapped = text.replacen("  5 ", "  X ", 1).replacen("  6 ", "  5 ", 1).replacen("  X ", "  6 ", 1);
    let expected = [(5, Problem::Checksum), (6, Problem::Checksum)];
    assert_eq!(Sheet::parse(&swapped).err(), Some(SheetError::Lines(expected.to_vec())));
    let one_more = format!("{text}\n200 {}", &five[4..]);
    assert_eq!(Sheet::parse(&one_more).err(), Some(SheetError::Lines(vec![(200, Problem::Extra)])));
}

#[test]
fn lines_of_another_sheet_do_not_pass() {
    let (set, other) = (printed(&payload(), 2, 3), printed(&payload(), 2, 3));
    let line = |text: &str, number: &str| text.lines().find(|l| l.starts_with(number)).unwrap().to_owned();
    let with = |number: &str, source: &str| set[0].replace(&line(&set[0], number), &line(source, number));
    let wrong = |number| Some(SheetError::Lines(vec![(number, Problem::Checksum)]));
    assert_eq!(Sheet::parse(&with("  2 ", &set[1])).err(), wrong(2));
    assert_eq!(Sheet::parse(&with("  5 ", &other[0])).err(), wrong(5));
    assert!(Sheet::parse(&with("  5 ", &set[1])).is_ok(), "the same on all sheets of a set");
    // Nothing fits a line 1 of another set or sheet.
    assert!(matches!(Sheet::parse(&with("  1 ", &other[0])).err(), Some(SheetError::Lines(_))));
    assert_eq!(Sheet::parse(&with("  1 ", &set[1])).err(), wrong(2));
}

#[test]
fn the_common_lines_of_one_sheet_are_enough() {
    let payload = payload();
    let texts = printed(&payload, 3, 5);
    let short = [own_lines(&texts[4]), own_lines(&texts[1])];
    let sheets = read(&[&short[0], &texts[2], &short[1]]);
    assert!(is_same(&recover(&sheets).unwrap(), &payload));
    let third = own_lines(&texts[0]);
    assert_eq!(refusal(&[&short[0], &short[1], &third]), EscrowError::NoPayload(sheets[0].last_line()));
}

#[test]
fn sheets_that_do_not_belong_together_are_told_apart() {
    let payload = payload();
    let (set, other) = (printed(&payload, 2, 3), printed(&payload, 2, 3));
    assert!(matches!(
        refusal(&[&set[0], &other[1]]),
        EscrowError::OtherSet { number: 2, first: 1, set, first_set, .. } if set != first_set
    ));
    assert_eq!(refusal(&[&set[0], &set[0]]), EscrowError::Duplicate(1));
    assert_eq!(refusal(&[&set[1], &set[0], &own_lines(&set[1])]), EscrowError::Duplicate(2));
    assert_eq!(recover(&[]).err(), Some(EscrowError::NoSheets));
}

#[test]
fn an_altered_share_never_gives_a_key() {
    let texts = printed(&payload(), 2, 3);
    for bit in 0..256 {
        let altered = forged(&texts[1], |sheet| sheet.share.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8));
        assert_eq!(refusal(&[&texts[0], &altered]), EscrowError::Altered);
        // Nor does one sheet more than is needed make up for it.
        assert_eq!(refusal(&[&texts[0], &altered, &texts[2]]), EscrowError::Altered);
    }
    let renumbered = forged(&texts[1], |sheet| sheet.number = 3);
    assert_eq!(refusal(&[&texts[0], &renumbered]), EscrowError::Altered);
}

#[test]
fn altered_terms_never_give_a_key() {
    let texts = printed(&payload(), 3, 5);
    let lowered = |text| forged(text, |sheet| sheet.terms.threshold = 2);
    let (one, two) = (lowered(&texts[0]), lowered(&texts[1]));
    let set = Sheet::parse(&texts[2]).unwrap().set();
    assert_eq!(refusal(&[&texts[2], &one, &two]), EscrowError::Contradiction { number: 1, first: 3, set });
    assert_eq!(refusal(&[&one, &two]), EscrowError::NoPayload(Sheet::parse(&texts[2]).unwrap().last_line()));
    // With the common lines the set's own name does not fit any more.
    let common = common_lines(&texts[0]);
    assert_eq!(Sheet::parse(&format!("{one}{common}")).err(), Some(SheetError::Malformed));
}

#[test]
fn a_payload_that_was_altered_is_refused_even_under_its_own_set_id() {
    let original = split(&payload(), terms(2, 2)).unwrap();
    let mut common = original[0].common.clone().unwrap();
    let bytes = common.sealed.len();
    for place in [0, bytes / 2, bytes - 1] {
        common.sealed[place] ^= 1;
        let shares = original.iter().map(|sheet| sheet.share.duplicate()).collect();
        let forged = super::sheet::make_set(terms(2, 2), &common, shares).ok().unwrap();
        assert_eq!(recover(&forged).err(), Some(EscrowError::Altered));
        common.sealed[place] ^= 1;
    }
    common.tenant = "clinix".to_owned();
    let shares = original.iter().map(|sheet| sheet.share.duplicate()).collect();
    let forged = super::sheet::make_set(terms(2, 2), &common, shares).ok().unwrap();
    assert_eq!(recover(&forged).err(), Some(EscrowError::Altered));
}

#[test]
fn impossible_sets_are_not_made() {
    for (threshold, sheets) in [(0, 3), (1, 3), (4, 3), (2, 1), (0, 0)] {
        let error = split(&payload(), terms(threshold, sheets)).err();
        assert_eq!(error, Some(EscrowError::Terms { threshold, sheets }));
    }
    let long = Payload { application: "a".repeat(256), ..payload() };
    assert_eq!(split(&long, terms(2, 2)).err(), Some(EscrowError::TooLong));
    let keys = (0..200_u8).map(|epoch| (("main".to_owned(), epoch), TenantKey::generate())).collect();
    let many = Payload { keys, ..payload() };
    assert_eq!(split(&many, terms(2, 2)).err(), Some(EscrowError::TooLong));
}

#[test]
fn other_versions_and_other_texts_are_no_sheets() {
    assert_eq!(Sheet::parse("").err(), Some(SheetError::NotASheet));
    assert_eq!(Sheet::parse("Dear colleague,\n2 of these\n").err(), Some(SheetError::NotASheet));
    let mut later = String::new();
    super::line::print(1, &[], &[2; 25], &mut later);
    assert_eq!(Sheet::parse(&later).err(), Some(SheetError::Version(2)));
    let mut impossible = String::new();
    super::line::print(1, &[], &[1; 25], &mut impossible);
    assert_eq!(Sheet::parse(&impossible).err(), Some(SheetError::Malformed));
}

#[test]
fn sets_of_the_same_payload_have_nothing_in_common() {
    let payload = payload();
    let (one, other) = (printed(&payload, 2, 2), printed(&payload, 2, 2));
    let (one, other) = (numbered(&one[0]).map(|(_, line)| line), numbered(&other[0]).map(|(_, line)| line));
    let pairs: Vec<_> = one.zip(other).collect();
    assert!(pairs.len() > 5 && pairs.iter().all(|(one, other)| one != other));
}

/// Paper outlives programs: what was printed once stays readable. The keys of these sheets are no secret.
#[test]
fn sheets_that_were_printed_earlier_stay_readable() {
    let sheets = read(&[
        include_str!("../../tests/vectors/escrow-1-of-3.txt"),
        include_str!("../../tests/vectors/escrow-3-of-3.txt"),
    ]);
    let expected = fixed_payload();
    assert!(is_same(&recover(&sheets).unwrap(), &expected));
    assert_eq!(sheets[1].terms(), terms(2, 3));
}

fn fixed_payload() -> Payload {
    let key = |byte| TenantKey::from_bytes([byte; 32].into());
    Payload {
        keys: BTreeMap::from([(("billing".to_owned(), 3), key(3)), (("main".to_owned(), 1), key(1))]),
        signing_key: SigningKey::from_seed([5; 32].into()).unwrap(),
        ..payload()
    }
}
