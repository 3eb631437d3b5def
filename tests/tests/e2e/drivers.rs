//! tokio-postgres: the extended protocol, parameters and results in binary, over a table under the
//! policy and the same table without one.

use crate::shared::{assert_same, clinic, create_schema, create_unprotected_twin, database};
use std::time::{Duration, SystemTime};
use tokio_postgres::types::{Json, Type};
use tokio_postgres::{Client, Row};
use trefoil_tests::endpoint::Endpoint;

/// What a program does with the clinic; everything that it sees goes into the transcript.
async fn program(endpoint: &Endpoint, table: &str) -> String {
    let mut client = endpoint.connect().await.unwrap();
    let mut transcript = Vec::new();

    let insert = client
        .prepare(&format!(
            "INSERT INTO {table} (id, name, ssn, mrn, visits, account, grade, insured, photo, seen, notes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id, ssn, seen"
        ))
        .await
        .unwrap();
    transcript.push(format!("{:?}", insert.params()));
    for number in 100..130_i32 {
        let seen = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let name = (number % 3 > 0).then(|| format!("Name {number} äöü"));
        let rows = client
            .query(
                &insert,
                &[
                    &number,
                    &name,
                    &format!("ssn-{number}"),
                    &format!("m{number}"),
                    &(number % 4),
                    &(i64::from(number) << 33),
                    &-7_i16,
                    &(number % 2 == 0),
                    &vec![0_u8, 255, 7],
                    &seen,
                    &Json(serde_json::json!({"n": number, "list": [1, "two", null]})),
                ],
            )
            .await
            .unwrap();
        transcript.extend(rows.iter().map(|row| {
            format!("{} {} {:?}", row.get::<_, i32>(0), row.get::<_, String>(1), row.get::<_, SystemTime>(2))
        }));
    }

    let show = |row: &Row| {
        format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            row.get::<_, i32>("id"),
            row.get::<_, Option<String>>("name"),
            row.get::<_, Option<i32>>("visits"),
            row.get::<_, Option<i64>>("account"),
            row.get::<_, Option<i16>>("grade"),
            row.get::<_, Option<bool>>("insured"),
            row.get::<_, Option<Vec<u8>>>("photo"),
            row.get::<_, Option<SystemTime>>("seen"),
            row.get::<_, Option<Json<serde_json::Value>>>("notes").map(|json| json.0),
        )
    };
    let rows =
        client.query(&format!("SELECT * FROM {table} WHERE id >= 100 ORDER BY id"), &[]).await.unwrap();
    transcript.extend(rows.iter().map(show));
    let types: Vec<_> = rows[0].columns().iter().map(|column| column.type_().clone()).collect();
    transcript.push(format!("{types:?}"));

    let by_ssn =
        client.prepare(&format!("SELECT id FROM {table} WHERE ssn = $1 OR account = $2")).await.unwrap();
    assert_eq!(by_ssn.params(), [Type::TEXT, Type::INT8]);
    for number in [100, 111, 999] {
        let ids = client.query(&by_ssn, &[&format!("ssn-{number}"), &(128_i64 << 33)]).await.unwrap();
        let mut ids: Vec<i32> = ids.iter().map(|row| row.get(0)).collect();
        ids.sort_unstable();
        transcript.push(format!("{ids:?}"));
    }

    transactions(&mut client, table, &mut transcript).await;
    pipelined(&client, table, &mut transcript).await;
    transcript.join("\n")
}

async fn transactions(client: &mut Client, table: &str, transcript: &mut Vec<String>) {
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute(&format!("UPDATE {table} SET name = $1 WHERE ssn = $2"), &[&"undone", &"ssn-100"])
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let changed = transaction
        .execute(&format!("UPDATE {table} SET name = $1 WHERE visits = $2"), &[&"done", &1_i32])
        .await;
    transcript.push(format!("{}", changed.unwrap()));
    let portal = transaction
        .bind(&format!("SELECT id, name FROM {table} WHERE id >= 100 ORDER BY id"), &[])
        .await
        .unwrap();
    for size in [1, 7, 0] {
        let rows = transaction.query_portal(&portal, size).await.unwrap();
        transcript.extend(rows.iter().map(|row| format!("{:?}", row.get::<_, Option<String>>(1))));
    }
    transaction.commit().await.unwrap();
    let failed =
        client.execute(&format!("INSERT INTO {table} (id, ssn) VALUES (100, 'x')"), &[]).await.unwrap_err();
    transcript.push(format!("{:?}", failed.code()));
}

/// Several statements under way on one connection at once.
async fn pipelined(client: &Client, table: &str, transcript: &mut Vec<String>) {
    let select = client.prepare(&format!("SELECT ssn, name FROM {table} WHERE id = $1")).await.unwrap();
    let ask = |number: i32| {
        let select = &select;
        async move { client.query_one(select, &[&number]).await.unwrap().get::<_, String>(0) }
    };
    let answers = tokio::join!(ask(101), ask(102), ask(103), ask(104), ask(105));
    transcript.push(format!("{answers:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_cannot_tell_the_difference() {
    let made = tokio::task::spawn_blocking(|| {
        let plain = database();
        create_schema(&plain.direct);
        let unprotected = database();
        create_unprotected_twin(&unprotected.alice);
        (plain, unprotected, clinic())
    });
    let (plain, unprotected, protected) = made.await.unwrap();
    let expected = program(&plain.direct, "patients").await;
    assert!(expected.lines().count() > 90);
    assert_same(&program(&protected.alice, "patients").await, &expected);
    assert_same(&program(&unprotected.alice, "people").await, &expected);
}
