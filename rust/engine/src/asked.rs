//! Who asked for what: what the answer to a command names.

use crate::command::Command;
use crate::event::Event;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    id: u64,
    request: Option<u64>,
    command: &'static str,
}

impl Asked {
    /// By this command.
    pub(crate) fn by(command: &Command) -> Asked {
        Asked { id: command.id, request: command.request, command: command.action.name() }
    }

    /// What is told of it: that it was done where somebody waits for that, or why it was not, in any case.
    pub(crate) fn answer(self, result: Result<(), impl Into<String>>) -> Option<Event> {
        let Asked { id, request, command } = self;
        match result {
            Ok(()) => request.map(|request| Event::CommandDone { request }),
            Err(reason) => Some(Event::CommandFailed { request, id, command, reason: reason.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Action;

    #[test]
    fn who_waits_is_told_and_a_refusal_is_told_in_any_case() {
        let asked = |request| Asked::by(&Command { id: 7, request, action: Action::Ping });
        let (done, refused) = (Ok::<(), &str>(()), Err("limit"));
        assert_eq!(asked(Some(3)).answer(done), Some(Event::CommandDone { request: 3 }));
        assert_eq!(asked(None).answer(done), None);
        for request in [Some(3), None] {
            let failed = Event::CommandFailed { request, id: 7, command: "ping", reason: "limit".to_owned() };
            assert_eq!(asked(request).answer(refused), Some(failed));
        }
    }
}
