//! One setting: its value at the connection's start, in the session, and in the transaction.

/// A value that was set; an empty text is one, too.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Value {
    Text(String),
    Unclear,
}

/// What holds now.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Current<'a> {
    /// Nothing, or an empty text.
    Unset,
    Text(&'a str),
    Unclear,
}

/// `None` where a value is: the one before it.
#[derive(Default)]
pub(super) struct Setting {
    startup: Option<Value>,
    session: Option<Value>,
    /// What `session` was before the running transaction changed it.
    before: Option<Option<Value>>,
    /// Set by `SET LOCAL`; an inner `None` uncovers the startup value.
    local: Option<Option<Value>>,
    /// Set after the same request had ended a transaction: whether that undid it is not known.
    after_end: bool,
    /// Changed since there is a savepoint.
    after_savepoint: bool,
}

impl Setting {
    pub(super) fn begins(&mut self, value: Option<Value>) {
        self.startup = value;
    }

    pub(super) fn set(&mut self, value: Option<Value>, local: bool, after_end: bool, after_savepoint: bool) {
        let value = if after_end { Some(Value::Unclear) } else { value };
        self.after_end |= after_end;
        self.after_savepoint |= after_savepoint;
        if local {
            self.local = Some(value);
        } else {
            let before = std::mem::replace(&mut self.session, value);
            self.before.get_or_insert(before);
            self.local = None;
        }
    }

    pub(super) fn current(&self) -> Current<'_> {
        let set = match &self.local {
            Some(local) => local.as_ref(),
            None => self.session.as_ref(),
        };
        match set.or(self.startup.as_ref()) {
            None => Current::Unset,
            Some(Value::Text(text)) if text.is_empty() => Current::Unset,
            Some(Value::Text(text)) => Current::Text(text),
            Some(Value::Unclear) => Current::Unclear,
        }
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.before.is_some() || self.local.is_some()
    }

    /// The transaction has come to stay.
    pub(super) fn keep(&mut self) {
        if self.after_end {
            return self.lose_if_unsettled();
        }
        (self.local, self.before, self.after_savepoint) = (None, None, false);
    }

    /// The transaction was rolled back.
    pub(super) fn undo(&mut self) {
        if self.after_end {
            return self.lose_if_unsettled();
        }
        if let Some(before) = self.before.take() {
            self.session = before;
        }
        (self.local, self.after_savepoint) = (None, false);
    }

    /// It may have any value.
    pub(super) fn lose(&mut self) {
        *self = Self { startup: self.startup.take(), session: Some(Value::Unclear), ..Self::default() };
    }

    pub(super) fn lose_if_unsettled(&mut self) {
        if self.is_unsettled() {
            self.lose();
        }
    }

    /// The transaction goes on from one of its savepoints.
    pub(super) fn lose_if_after_savepoint(&mut self) {
        if !self.after_savepoint {
            return;
        }
        if self.before.is_some() {
            self.session = Some(Value::Unclear);
        }
        if let Some(local) = &mut self.local {
            *local = Some(Value::Unclear);
        }
    }
}
