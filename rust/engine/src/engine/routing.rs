//! Commands on their way to the threads that own what they are about.

use serde_bytes::ByteBuf;

use mediaserver_proto::ice::UfragKey;

use super::{Engine, EngineError};
use crate::command::{Action, ClipTrack, Command, read_batch, shard_of};
use crate::event::Event;
use crate::inbox::Inbox;
use crate::link::LinkOwner;
use crate::media::read_clip;

impl Engine {
    /// Hands a batch of commands to the threads. When it cannot be read, none of it counts.
    pub fn submit(&mut self, batch: &[u8]) -> Result<(), EngineError> {
        let commands = read_batch(batch)?;
        if self.threads.is_empty() {
            return Err(EngineError::State("the engine is not running"));
        }
        for command in commands {
            self.route(command);
        }
        self.wake_fed();
        Ok(())
    }

    fn route(&mut self, command: Command) {
        let Command { id, request, action } = command;
        match action {
            Action::LoadClip { tracks } => self.load_clip(id, request, tracks),
            Action::UnloadClip => {
                self.clips.remove(&id);
                self.broadcast(request, |request| Inbox::UnloadClip { id, request });
            }
            Action::Play { ids, clip, repeat } => {
                self.scatter(id, request, ids, |ids| Action::Play { ids, clip, repeat });
            }
            Action::StopPlaying { ids } => self.scatter(id, request, ids, |ids| Action::StopPlaying { ids }),
            Action::SetUfragKey { key_id, key } => self.set_ufrag_key(id, request, key_id, &key),
            Action::SetTurnSecrets { .. }
            | Action::SetTurnUsers { .. }
            | Action::SetTurnLimits { .. }
            | Action::DrainTurn { .. } => {
                self.push(self.layout.relay(), Command { id, request, action });
            }
            Action::SetSharedTls(_) | Action::SetConnectionLimits(_) => {
                self.push(self.layout.streams(), Command { id, request, action })
            }
            // Links belong to none of these threads.
            action if LinkOwner::takes(&action) => {
                let name = action.name();
                if let Err(reason) = self.links.command(id, request, action) {
                    self.refuse(id, request, name, &reason);
                }
            }
            action => self.push(Some(shard_of(id)), Command { id, request, action }),
        }
    }

    fn load_clip(&mut self, id: u64, request: Option<u64>, tracks: Vec<ClipTrack>) {
        let bytes: usize = tracks.iter().flat_map(|track| &track.packets).map(|packet| packet.payload.len()).sum();
        if self.clips.values().sum::<usize>() + bytes > self.config.limits.clip_bytes {
            return self.refuse(id, request, "load_clip", "limit clip_bytes");
        }
        match read_clip(id, tracks) {
            Ok(clip) => {
                self.clips.insert(id, bytes);
                self.broadcast(request, |request| Inbox::LoadClip { request, clip: clip.clone() });
            }
            Err(reason) => self.refuse(id, request, "load_clip", reason),
        }
    }

    /// A shard signs by another key from now on, and everybody knows what it signs.
    fn set_ufrag_key(&mut self, id: u64, request: Option<u64>, key_id: u8, key: &ByteBuf) {
        let name = "set_ufrag_key";
        let Ok(secret) = key.as_slice().try_into() else {
            return self.refuse(id, request, name, "invalid key: it must have 32 bytes");
        };
        let shard = shard_of(id);
        if shard >= self.layout.shards {
            return self.refuse(id, request, name, "there is no such shard");
        }
        let key = Box::new(UfragKey::new(self.config.core_id as u16, key_id, secret));
        self.keys.add((*key).clone());
        if !self.threads[shard].feed(Inbox::SetUfragKey { id, request, key }) {
            self.refuse(id, request, name, "limit commands waiting");
        }
    }

    /// One command about objects of several shards becomes one for each; the last one answers.
    fn scatter(&mut self, id: u64, request: Option<u64>, mut ids: Vec<u64>, action: impl Fn(Vec<u64>) -> Action) {
        let name = action(Vec::new()).name();
        if ids.is_empty() {
            return self.refuse(id, request, name, "invalid ids");
        }
        while let Some(&first) = ids.first() {
            let (these, rest): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(|&id| shard_of(id) == shard_of(first));
            let request = request.filter(|_| rest.is_empty());
            self.push(Some(shard_of(first)), Command { id, request, action: action(these) });
            ids = rest;
        }
    }

    /// Something for all shards, of which the first one answers.
    fn broadcast(&mut self, request: Option<u64>, item: impl Fn(Option<u64>) -> Inbox) {
        for (shard, thread) in self.threads.iter_mut().take(self.layout.shards).enumerate() {
            // One with so much to do answers nothing; the control plane's own timeout does then.
            thread.feed(item(request.filter(|_| shard == 0)));
        }
    }

    /// A command for the thread with this index.
    fn push(&mut self, to: Option<usize>, command: Command) {
        let (id, request, name) = (command.id, command.request, command.action.name());
        let Some(thread) = to.and_then(|to| self.threads.get_mut(to)) else {
            return self.refuse(id, request, name, "there is no such shard");
        };
        if !thread.feed(Inbox::Command(command)) {
            self.refuse(id, request, name, "limit commands waiting");
        }
    }

    fn refuse(&self, id: u64, request: Option<u64>, command: &'static str, reason: &str) {
        self.event_sender.tell(Event::CommandFailed { request, id, command, reason: reason.to_owned() });
    }
}
