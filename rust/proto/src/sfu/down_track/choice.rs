//! Which layer of its source a down track is given, and what is worth telling of it.

use super::{Allocation, CLIP_SOURCE, DownTrack, Source};
use crate::codec::{Codec, MediaKind};
use crate::sfu::layers::{Choice, LayerTable};
use crate::sfu::target::Target;
use crate::time::Time;

impl DownTrack {
    /// Takes the most that the receiver shall get. [`DownTrack::choose`] comes next.
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
        self.bound();
    }

    /// Takes what the allocation of bandwidth grants. [`DownTrack::choose`] comes next.
    pub fn set_allocation(&mut self, allocation: Allocation) {
        self.allocation = allocation;
        self.bound();
    }

    fn bound(&mut self) {
        if self.is_paused() && self.playing.is_none() {
            self.source = None;
            self.news = true;
        }
        let max_temporal = self.target.max_temporal.min(self.allocation.max_temporal);
        self.temporal.set_target(max_temporal);
        self.vp9_filter.set_temporal(max_temporal);
        self.dependency_filter.set_temporal(max_temporal);
    }

    fn is_paused(&self) -> bool {
        self.target.paused || self.allocation.paused
    }

    /// Chooses among the layers of its source; true when it goes over to another one.
    pub fn choose(&mut self, table: &LayerTable) -> bool {
        let target = Target { paused: self.is_paused(), ..self.target_for(table) };
        let choice = match table.choose(&target, self.allocation.max_spatial) {
            // A picture with one layer only may be still for long.
            Choice::Silent if !table.is_layered() => Choice::Layer(0),
            choice => choice,
        };
        self.news |= self.choice != choice;
        let before = std::mem::replace(&mut self.choice, choice);
        match choice {
            Choice::Layer(layer) => {
                // Also after a pause or a decoder's limit, which took the source away.
                let changes = self.wanted != layer || !matches!(before, Choice::Layer(_));
                (self.wanted, self.one_stream) = (layer, table.is_one_stream());
                let limit = table.spatial_limit(layer, &target, self.allocation.max_spatial);
                let spatial = if self.one_stream { layer } else { 0 };
                self.vp9_filter.set_spatial(spatial, limit);
                let limit = if self.dependency_id.is_some() { limit } else { spatial };
                self.dependency_filter.set_spatial(spatial, limit);
                changes
            }
            // What was silent may go on where it stopped.
            Choice::Silent => false,
            Choice::TooLarge | Choice::Paused => {
                self.freezes.rest();
                if self.playing.is_none() {
                    self.source = None;
                }
                false
            }
        }
    }

    /// The most that it shall get of a source with these layers. Where descriptors tell them apart and the receiver is sent
    /// none, it cannot tell where the frame of a layer ends: Chromium takes the last frame of a picture for all of it and
    /// decodes nothing. It gets the lowest layer that lives.
    pub fn target_for(&self, table: &LayerTable) -> Target {
        let unreadable = table.is_described() && self.dependency_id.is_none();
        Target { max_spatial: if unreadable { 0 } else { self.target.max_spatial }, ..self.target }
    }

    /// What it was found to be given, or why nothing.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// Index of the stream that it is given, or waits for: that of the layer, or 0 where all layers lie inside one
    /// stream. `None` when it is given nothing.
    pub fn wanted_stream(&self) -> Option<u8> {
        let stream = if self.one_stream { 0 } else { self.wanted };
        matches!(self.choice, Choice::Layer(_) | Choice::Silent).then_some(stream)
    }

    /// Index of the layer that flows; inside one stream it is known when its first picture is over.
    pub fn layer(&self) -> Option<u8> {
        let source = self.source.filter(|source| source.up != CLIP_SOURCE)?;
        if self.one_stream {
            return self.spatial().map(|spatial| spatial.min(self.wanted));
        }
        Some(source.layer)
    }

    /// The layer inside the stream that flows; `None` until a whole picture was sent.
    fn spatial(&self) -> Option<u8> {
        match self.stats.codec {
            Some(Codec::Av1 { .. }) => self.dependency_filter.spatial(),
            _ => self.vp9_filter.spatial(),
        }
    }

    /// Whether the layer inside the stream that is wanted can be entered at a keyframe only.
    fn awaits_upper_layer(&self) -> bool {
        match self.stats.codec {
            Some(Codec::Av1 { .. }) => self.dependency_filter.awaits_keyframe(),
            _ => self.vp9_filter.awaits_keyframe(),
        }
    }

    /// Whether something flows.
    pub fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Highest temporal layer that flows; `None` where the stream has none.
    pub fn temporal(&self) -> Option<u8> {
        match self.stats.codec {
            Some(Codec::Vp9 { .. }) => self.vp9_filter.temporal(),
            Some(Codec::Av1 { .. }) => self.dependency_filter.temporal(),
            _ => self.temporal.highest(),
        }
    }

    /// Whether [`DownTrack::take_news`] may have something to tell.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// What is worth telling: another layer flows, or none, and why. Of a source that is not `layered` only that
    /// nothing can flow, and that it does again.
    pub fn take_news(&mut self, layered: bool) -> Option<Choice> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        let (up, choice) = match (self.choice, self.source) {
            (Choice::Layer(_), Some(source)) if source.up != CLIP_SOURCE => (source.up, Choice::Layer(self.layer()?)),
            (Choice::Layer(_), _) => return None,
            (choice, _) => (self.told.map_or(CLIP_SOURCE, |(up, _)| up), choice),
        };
        let flowed = self.told.is_none_or(|(_, choice)| matches!(choice, Choice::Layer(_)));
        let plain = !layered && flowed && matches!(choice, Choice::Layer(_));
        let changed = self.told.replace((up, choice)) != Some((up, choice));
        (changed && !plain).then_some(choice)
    }

    /// The most that the receiver shall get.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Index of the stream of its subscribed source whose keyframe it waits for.
    pub fn awaited_stream(&self) -> Option<u8> {
        if self.config.kind != MediaKind::Video || !self.active || self.playing.is_some() {
            return None;
        }
        let waits = |source: Source, stream: u8| source.layer != stream || self.awaits_upper_layer();
        self.wanted_stream().filter(|&stream| self.source.is_none_or(|source| waits(source, stream)))
    }

    /// Whether it could start with the last group of pictures of a stream (by its index), begun at `capture`.
    pub fn may_start_at(&self, stream: u8, capture: Time) -> bool {
        self.source.is_none() && self.awaited_stream() == Some(stream) && self.timestamp.precedes(capture)
    }
}
