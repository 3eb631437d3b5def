//! How many prepared statements and portals a session may have open, by the protocol and by SQL, and how
//! much of the proxy's memory they may keep together. Beyond that they are refused as PostgreSQL refuses
//! what is beyond a limit of its own.

use super::names::{Names, Object};
use super::state::State;
use crate::error::{ClientError, sqlstate};
use crate::sql::{Naming, Plan};

impl State {
    /// Refuses a Parse of what finds no room.
    pub(super) fn room_for_statement(
        &self,
        name: &[u8],
        plan: &Plan,
        parameters: usize,
    ) -> Result<(), ClientError> {
        if name.is_empty() || self.statements.get(name).is_some() {
            // It takes the place of the one before, or fails at the server.
            return Ok(());
        }
        self.statements_fit(1, plan.size() + parameters * size_of::<u32>())
    }

    /// Refuses a Bind of what finds no room.
    pub(super) fn room_for_portal(&self, name: &[u8], plan: &Plan) -> Result<(), ClientError> {
        if name.is_empty() || self.portals.get(name).is_some() {
            return Ok(());
        }
        self.portals_fit(1, plan.size())
    }

    /// Refuses a text that prepares or declares what finds no room.
    pub(super) fn room_for_names(&self, plan: &Plan) -> Result<(), ClientError> {
        let (mut prepared, mut declared) = ((0, 0), (0, 0));
        for naming in plan.statements.iter().filter_map(|statement| statement.naming.as_ref()) {
            let (sum, plan) = match naming {
                Naming::Prepare { plan, .. } => (&mut prepared, plan),
                Naming::Declare { plan, .. } => (&mut declared, plan),
                _ => continue,
            };
            *sum = (sum.0 + 1, sum.1 + plan.size());
        }
        if prepared.0 > 0 {
            self.statements_fit(prepared.0, prepared.1)?;
        }
        if declared.0 > 0 {
            self.portals_fit(declared.0, declared.1)?;
        }
        Ok(())
    }

    fn statements_fit(&self, more: usize, bytes: usize) -> Result<(), ClientError> {
        let most = (self.environment.max_statements, self.environment.max_message);
        if fit(&self.statements, (more, bytes), most) {
            return Ok(());
        }
        Err(ClientError::new(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "too many prepared statements in this session",
            "DEALLOCATE what is not needed any more, or raise max_statements in the proxy's configuration; large \
             ones count by max_message as well.",
        ))
    }

    fn portals_fit(&self, more: usize, bytes: usize) -> Result<(), ClientError> {
        let most = (self.environment.max_portals, self.environment.max_message);
        if fit(&self.portals, (more, bytes), most) {
            return Ok(());
        }
        Err(ClientError::new(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "too many cursors and portals in this session",
            "CLOSE what is not needed any more, or raise max_portals in the proxy's configuration; large ones \
             count by max_message as well.",
        ))
    }
}

fn fit<T: Object>(names: &Names<T>, more: (usize, usize), most: (usize, usize)) -> bool {
    names.len() + more.0 <= most.0 && names.bytes() + more.1 <= most.1
}
