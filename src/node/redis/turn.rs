//! The turn of a question that is with a server of a cluster: see `slot.rs`.

/// How a turn ends.
pub enum End {
    /// The server has sent the question on.
    SentOn,
    /// The question is not with the server any more, whatever has become of it.
    Settled {
        /// The server may have had it.
        has_left: bool,
    },
}

/// What a question has that is with a server. It ends with the question.
pub struct Turn {
    /// Where the question stood in the line of its slot.
    pub number: u64,
    has_left: bool,
    /// Called once.
    end: Option<Box<dyn FnOnce(End)>>,
}

impl Turn {
    pub fn new(number: u64, end: impl FnOnce(End) + 'static) -> Self {
        Self { number, has_left: false, end: Some(Box::new(end)) }
    }

    /// The server may have it from now on.
    pub fn has_left(&mut self) {
        self.has_left = true;
    }

    /// The server has sent it on. Gives where it stood.
    pub fn sent_on(mut self) -> u64 {
        self.finish(End::SentOn);
        self.number
    }

    fn finish(&mut self, how: End) {
        if let Some(end) = self.end.take() {
            end(how);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.finish(End::Settled { has_left: self.has_left });
    }
}
