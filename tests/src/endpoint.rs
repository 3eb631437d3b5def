//! Where a client connects, and as whom.

use crate::Result;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A PostgreSQL server, or a program that stands in front of one.
#[derive(Clone)]
pub struct Endpoint {
    /// Always a loopback address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database role.
    pub user: String,
    /// Its password: random, made for one throwaway cluster.
    pub password: String,
    /// Database.
    pub database: String,
}

impl Endpoint {
    /// The same server and role, another port: a proxy in front of it.
    #[must_use]
    pub fn through(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The same, another database.
    #[must_use]
    pub fn database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// As a connection URI.
    pub fn url(&self) -> String {
        format!("postgresql://{}:{}@{}:{}/{}", self.user, self.password, self.host, self.port, self.database)
    }

    /// Connects; the connection runs as a task of the calling runtime.
    pub async fn connect(&self) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        // Its end, good or bad, shows on the client.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Runs a text by the simple protocol from synchronous code, and returns all rows' columns as text.
    pub fn run(&self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        // On a thread of its own, so that it also works below an async runtime.
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async { Ok(rows(&self.connect().await?.simple_query(text).await?)) })
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The rows among the answers to a simple query, as text.
pub fn rows(answers: &[SimpleQueryMessage]) -> Vec<Vec<Option<String>>> {
    answers
        .iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect()
}
