//! The clinic's data: varied and believable, the same in each run, about nobody.

/// The schema, as an application would write it: nothing in it knows of Trefoil.
pub(crate) const SCHEMA: &str = "
CREATE TABLE patients (
    id int PRIMARY KEY, ward text, name text NOT NULL, ssn text UNIQUE, born date, phone varchar(20),
    insurance int8, balance numeric(10,2), allergies jsonb);
CREATE TABLE visits (
    id int PRIMARY KEY, patient_ssn text, ward text, diagnosis text, seen timestamptz);
";

/// How many patients there are.
pub(crate) const PATIENTS: u32 = 120;

const GIVEN: [&str; 24] = [
    "Anna",
    "Björn",
    "Chiara",
    "Dmitri",
    "Élodie",
    "Fatima",
    "Goran",
    "Hedda",
    "Ibrahim",
    "Jana",
    "Kofi",
    "Lucía",
    "Matteo",
    "Nadia",
    "Oskar",
    "Priya",
    "Quentin",
    "Rosa",
    "Sören",
    "Tomoko",
    "Uwe",
    "Valentina",
    "Wei",
    "Zoë",
];
const FAMILY: [&str; 19] = [
    "Weber",
    "Ødegård",
    "Rossi",
    "Volkov",
    "Lefèvre",
    "Haddad",
    "Petrović",
    "Lindqvist",
    "Demir",
    "Nováková",
    "Mensah",
    "García",
    "Bianchi",
    "Schneider",
    "O'Hara",
    "Patel",
    "Dubois",
    "Tanaka",
    "Müller-Lüdenscheidt",
];
const WARDS: [&str; 5] = ["Cardiology", "Maternity", "Emergency", "Oncology", "Paediatrics"];
const ALLERGIES: [&str; 6] = ["penicillin", "latex", "peanuts", "pollen", "iodine", "wasp venom"];
const DIAGNOSES: [&str; 11] = [
    "Distal radius fracture",
    "Essential hypertension",
    "Type 2 diabetes",
    "Acute appendicitis",
    "Migraine with aura",
    "Atrial fibrillation",
    "Seasonal influenza",
    "Gestational diabetes",
    "Contact dermatitis",
    "Concussion",
    "Community-acquired pneumonia",
];

/// One row of a table, as text; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

fn pick<'a>(list: &[&'a str], number: u32) -> &'a str {
    let index = usize::try_from(number).unwrap_or(0) % list.len();
    list.get(index).copied().unwrap_or_default()
}

/// Well mixed bits of a number: the data look random and never change.
fn mixed(number: u32, salt: u32) -> u32 {
    let mut bits = number.wrapping_mul(0x9e37_79b9) ^ salt.wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ bits >> 16).wrapping_mul(0x7feb_352d);
    bits = (bits ^ bits >> 15).wrapping_mul(0x846c_a68b);
    bits ^ bits >> 16
}

/// The social security number of a patient.
pub(crate) fn ssn(patient: u32) -> String {
    format!(
        "{:03}-{:02}-{:04}",
        100 + mixed(patient, 1) % 800,
        10 + mixed(patient, 2) % 90,
        1000 + patient * 71
    )
}

/// The rows of `patients`.
pub(crate) fn patients() -> Vec<Row> {
    (1..=PATIENTS).map(patient).collect()
}

fn patient(number: u32) -> Row {
    let bits = |salt| mixed(number, salt);
    let born = format!("{}-{:02}-{:02}", 1931 + bits(3) % 93, 1 + bits(4) % 12, 1 + bits(5) % 28);
    let phone = (bits(6) % 8 > 0).then(|| format!("+49 {} {:07}", 151 + bits(7) % 20, bits(8) % 10_000_000));
    let sign = if bits(10) % 5 == 0 { "-" } else { "" };
    let allergies = match bits(11) % 4 {
        0 => None,
        1 => Some("[]".to_owned()),
        _ => {
            Some(format!("[\"{}\", \"{}\"]", pick(&ALLERGIES, bits(12)), pick(&ALLERGIES, bits(12) / 6 + 1)))
        }
    };
    vec![
        Some(number.to_string()),
        Some(pick(&WARDS, bits(13)).to_owned()),
        Some(format!("{} {}", pick(&GIVEN, bits(14)), pick(&FAMILY, bits(15)))),
        Some(ssn(number)),
        Some(born),
        phone,
        Some((80_000_000_000_u64 + u64::from(bits(9))).to_string()),
        Some(format!("{sign}{}.{:02}", bits(16) % 4000, bits(17) % 100)),
        allergies,
    ]
}

/// The rows of `visits`: up to three for each patient.
pub(crate) fn visits() -> Vec<Row> {
    let of_one = |patient: u32| (0..mixed(patient, 20) % 4).map(move |turn| (patient, turn));
    let visits = (1..=PATIENTS).flat_map(of_one).zip(1..);
    let row = |((patient, turn), number): ((u32, u32), u32)| {
        let bits = |salt| mixed(patient * 4 + turn, salt);
        let seen = format!(
            "2024-{:02}-{:02} {:02}:{:02}:00+00",
            1 + bits(21) % 12,
            1 + bits(22) % 28,
            7 + bits(23) % 12,
            bits(24) % 60
        );
        let values =
            [ssn(patient), pick(&WARDS, bits(25)).to_owned(), pick(&DIAGNOSES, bits(26)).to_owned(), seen];
        std::iter::once(number.to_string()).chain(values).map(Some).collect()
    };
    visits.map(row).collect()
}
