//! Reads a database's catalog over the proxy's own connection: relations with their columns, what they
//! depend on, and the texts of functions, as of one snapshot.

use super::reach::{self, Dependencies, Function};
use crate::policy::catalog::{Catalog, Column, Holds, Kind, Reach, Relation};
use crate::policy::types::{Type, TypeKind, Types};
use crate::policy::{Policy, QualifiedName, inheritance};
use crate::sql;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::{Client, Error, IsolationLevel, Row, Transaction};

/// Tables, views, sequences, foreign and partitioned tables; those of sessions and TOAST left out.
const RELATIONS: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND n.nspname !~ '^pg_(toast|temp_|toast_temp_)'";

const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::text, a.attnum, a.atttypid
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    ORDER BY a.attrelid, a.attnum";

const RULE_RELATIONS: &str = "
    SELECT r.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class";

const RULE_FUNCTIONS: &str = "
    SELECT r.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)";

const PARENTS: &str = "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits";

/// Columns by whose order or values a table is partitioned: bounds are literals, which stand in clear.
const BOUND_COLUMNS: &str = "
    SELECT partrelid, pg_catalog.unnest(partattrs) FROM pg_catalog.pg_partitioned_table WHERE partstrat IN ('l', 'r')";

const FUNCTION_PARTS: &str = "
    SELECT objid, refobjid FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      AND refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass";

/// Relations that run something of their own when they are written to.
const RULED: &str = "
    SELECT ev_class FROM pg_catalog.pg_rewrite WHERE ev_type <> '1'
    UNION SELECT tgrelid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal";

/// Every name in a definition is qualified where the path is empty.
const EMPTY_PATH: &str = "SET LOCAL search_path = ''";

const DEFINITIONS: &str = "
    SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c
    WHERE c.relkind IN ('v', 'm') AND c.oid = ANY ($1)";

/// Functions in C have no text; `pg_get_functiondef` does not take aggregates.
const FUNCTIONS: &str = "
    SELECT p.oid, n.nspname::text, p.proname::text,
      CASE WHEN p.prokind <> 'a' AND l.lanname NOT IN ('c', 'internal')
        THEN pg_catalog.pg_get_functiondef(p.oid) END,
      p.provolatile = 'v'
    FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')";

/// What calls functions without their names: operators, and types by their casts and by a domain's CHECK.
/// Functions in C, which extensions bring, are left out: theirs are the operators of ordinary types.
const CALLERS: &str = "
    SELECT made.oid, made.name::text, p.oid
    FROM (
      SELECT o.oid, o.oprname AS name, o.oprcode::pg_catalog.oid AS called FROM pg_catalog.pg_operator o
      UNION ALL SELECT t.oid, t.typname, c.castfunc
        FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
      UNION ALL SELECT t.oid, t.typname, d.refobjid
        FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t ON t.oid = c.contypid
          JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
              AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    ) made
      JOIN pg_catalog.pg_proc p ON p.oid = made.called
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND l.lanname NOT IN ('c', 'internal')";

/// Enums and domains, with the labels of the first and what the second are over.
const TYPES: &str = "
    SELECT t.oid, n.nspname::text, t.typname::text, t.typarray, t.typtype = 'e', t.typbasetype, t.typtypmod,
      t.typnotnull,
      EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'),
      ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid
        ORDER BY e.enumsortorder)
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e') AND n.nspname NOT IN ('pg_catalog', 'information_schema')";

const NOT_NULL: &str = "
    SELECT n.nspname::text, c.relname::text, a.attname::text
    FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')";

/// Reads the catalog of the database that `client` is connected to.
pub(super) async fn catalog(client: &mut Client, policy: &Policy) -> Result<Catalog, Error> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let own = resolved(&transaction, policy).await?.map(Arc::new);
    let policy = own.as_deref().unwrap_or(policy);
    let mut relations = relations(&transaction).await?;
    let mut functions = if policy.is_empty() { Vec::new() } else { functions(&transaction, policy).await? };
    let mut dependencies =
        if policy.is_empty() { Dependencies::default() } else { dependencies(&transaction).await? };
    if !policy.is_empty() {
        for row in transaction.query(CALLERS, &[]).await? {
            let (oid, name) = (row.try_get(0)?, row.try_get(1)?);
            dependencies.function_parts.push((oid, row.try_get(2)?));
            functions.push(Function { oid, name, definition: String::new(), volatile: false });
        }
    }
    let bound_columns = transaction.query(BOUND_COLUMNS, &[]).await?;
    for row in bound_columns {
        let (oid, number): (u32, i16) = (row.try_get(0)?, row.try_get(1)?);
        let Some(relation) = relations.get_mut(&oid) else { continue };
        let cells = relation.cells(policy).into_owned();
        let column = relation.columns.iter_mut().flatten().find(|column| column.number == number);
        if let Some(column) = column.filter(|column| cells.contains_key(&column.name)) {
            column.holds = Holds::Computed;
        }
    }
    inheritance::follow(&mut relations, &dependencies.parents, policy);
    let reaching = {
        let names = relations.iter().map(|(oid, relation)| (*oid, relation.name.name.as_str())).collect();
        let protected = relations
            .values()
            .filter(|relation| relation.reach == Reach::Followed || policy.table(&relation.name).is_some())
            .map(|relation| relation.oid);
        let protected_names = policy.tables().map(|(name, _)| name.name.clone());
        reach::compute(protected, protected_names, &names, &functions, &dependencies)
    };
    for oid in &reaching.relations {
        let ruled = |on: &(u32, u32)| on.0 == *oid && reaching.relations.contains(&on.1);
        if let Some(relation) = relations.get_mut(oid)
            && policy.table(&relation.name).is_none()
            && (relation.reach == Reach::None || dependencies.rule_relations.iter().any(ruled))
        {
            relation.reach = Reach::Protected;
        }
    }
    let mut definitions = Vec::new();
    if relations.values().any(|relation| relation.reach == Reach::Protected && relation.kind != Kind::Table) {
        mark_ruled(&transaction, &mut relations, &dependencies).await?;
        // What a function does in a view is not followed.
        let followed: Vec<u32> = reaching.relations.difference(&reaching.by_function).copied().collect();
        transaction.batch_execute(EMPTY_PATH).await?;
        for row in transaction.query(DEFINITIONS, &[&followed]).await? {
            if let Some(definition) = row.try_get(1)? {
                definitions.push((row.try_get(0)?, definition));
            }
        }
    }
    transaction.commit().await?;
    let views = relations.values().filter(|relation| relation.kind != Kind::Table);
    let views = views.map(|view| (view.oid, view.name.name.clone())).collect();
    let own_functions = reach::volatile(functions, &views, &dependencies);
    let catalog = Catalog::new(relations.into_values(), reaching.functions)
        .with_own_functions(own_functions)
        .with_policy(own.clone());
    Ok(sql::follow_views(policy, catalog, definitions))
}

/// Marks the views that have rules or triggers, or are over one that has.
async fn mark_ruled(
    transaction: &Transaction<'_>,
    relations: &mut HashMap<u32, Relation>,
    dependencies: &Dependencies,
) -> Result<(), Error> {
    let mut ruled: Vec<u32> =
        transaction.query(RULED, &[]).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    while let Some(oid) = ruled.pop() {
        let Some(relation) = relations.get_mut(&oid) else { continue };
        if relation.kind == (Kind::View { rules: false }) {
            relation.kind = Kind::View { rules: true };
            let over = dependencies.rule_relations.iter().filter(|(_, on)| *on == oid);
            ruled.extend(over.map(|(view, _)| *view));
        }
    }
    Ok(())
}

/// The policy with its named types as the database has them; `None` if it names none.
async fn resolved(transaction: &Transaction<'_>, policy: &Policy) -> Result<Option<Policy>, Error> {
    if !policy.columns().iter().any(|column| column.logical.is_named()) {
        return Ok(None);
    }
    let mut types = Vec::new();
    for row in transaction.query(TYPES, &[]).await? {
        let kind = if row.try_get(4)? {
            TypeKind::Enum(row.try_get(9)?)
        } else {
            TypeKind::Domain {
                base: row.try_get(5)?,
                typmod: row.try_get(6)?,
                not_null: row.try_get(7)?,
                checked: row.try_get(8)?,
            }
        };
        let name = QualifiedName { schema: row.try_get(1)?, name: row.try_get(2)? };
        types.push(Type { name, oid: row.try_get(0)?, array_oid: row.try_get(3)?, kind });
    }
    let mut not_null = HashSet::new();
    for row in transaction.query(NOT_NULL, &[]).await? {
        let table = QualifiedName { schema: row.try_get(0)?, name: row.try_get(1)? };
        not_null.insert((table, row.try_get::<_, String>(2)?));
    }
    Ok(policy
        .resolved(&Types::new(types), |table, column| not_null.contains(&(table.clone(), column.to_owned()))))
}

async fn relations(transaction: &Transaction<'_>) -> Result<HashMap<u32, Relation>, Error> {
    let mut relations = HashMap::new();
    for row in transaction.query(RELATIONS, &[]).await? {
        let oid = row.try_get(0)?;
        let name = QualifiedName { schema: row.try_get(1)?, name: row.try_get(2)? };
        let kind = match row.try_get(3)? {
            "v" => Kind::View { rules: false },
            "m" => Kind::MaterializedView,
            _ => Kind::Table,
        };
        let columns = Some(Vec::new());
        let over = Vec::new();
        relations.insert(oid, Relation { name, oid, columns, reach: Reach::None, kind, over });
    }
    for row in transaction.query(COLUMNS, &[]).await? {
        let oid: u32 = row.try_get(0)?;
        if let Some(columns) = relations.get_mut(&oid).and_then(|relation| relation.columns.as_mut()) {
            columns.push(Column {
                name: row.try_get(1)?,
                number: row.try_get(2)?,
                type_oid: row.try_get(3)?,
                holds: Holds::Own,
            });
        }
    }
    Ok(relations)
}

/// What the policy allows counts as reaching nothing.
async fn functions(transaction: &Transaction<'_>, policy: &Policy) -> Result<Vec<Function>, Error> {
    let rows = transaction.query(FUNCTIONS, &[]).await?;
    rows.iter()
        .map(|row| {
            let name = QualifiedName { schema: row.try_get(1)?, name: row.try_get(2)? };
            let definition: Option<String> = row.try_get(3)?;
            let definition = definition.filter(|_| !policy.allows_function(&name)).unwrap_or_default();
            Ok(Function { oid: row.try_get(0)?, name: name.name, definition, volatile: row.try_get(4)? })
        })
        .collect()
}

async fn dependencies(transaction: &Transaction<'_>) -> Result<Dependencies, Error> {
    Ok(Dependencies {
        rule_relations: pairs(transaction.query(RULE_RELATIONS, &[]).await?)?,
        rule_functions: pairs(transaction.query(RULE_FUNCTIONS, &[]).await?)?,
        parents: pairs(transaction.query(PARENTS, &[]).await?)?,
        function_parts: pairs(transaction.query(FUNCTION_PARTS, &[]).await?)?,
    })
}

fn pairs(rows: Vec<Row>) -> Result<Vec<(u32, u32)>, Error> {
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
