//! What happens by the clock: reports, feedback, keyframe commands, digits and clips.

use super::media_transport::MediaTransport;
use super::{Output, Router, RouterEvent, TimerKey};
use crate::codec::MediaKind;
use crate::pacer::Class;
use crate::rtcp::report_block::MAX_BLOCKS;
use crate::rtcp::{ReportBlock, WallClock, fir, nack, pli, receiver_report, sdes, sender_report};
use crate::rtp::Ssrc;
use crate::sfu::keyframe::Want;
use crate::sfu::nack_generator::MOST_IN_MESSAGE;
use crate::sfu::up_layer::UpLayer;
use crate::time::Time;
use std::cmp::Reverse;
use std::time::Duration;

/// A compound is handed over when it has grown beyond this, in bytes.
const COMPOUND_LIMIT: usize = 900;
/// Reports leave together with those that are due within this time: each would else wake the shard for itself.
const REPORTS_EARLY: Duration = Duration::from_millis(20);

impl Router {
    /// Does what is due. `wall` is the wall clock, for sender reports.
    pub fn handle_timeout(&mut self, wall: &WallClock, now: Time, output: &mut impl Output) {
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if at > now && !self.is_nearly_due(key, at, now) {
                return;
            }
            self.timers.pop();
            match key {
                TimerKey::Play(serial) => self.run_play(serial, now, output),
                TimerKey::Egress(key) => {
                    if let Some(transport) =
                        self.transports.get_mut(key).filter(|transport| transport.egress_armed == at)
                    {
                        transport.egress_armed = Time::FAR_FUTURE;
                        self.run_egress(key, now, output);
                    }
                }
                TimerKey::Transport(key) => {
                    // An entry that was overtaken by an earlier one, or whose transport is gone, is not meant.
                    if self.transports.get(key).is_some_and(|transport| transport.armed == at) {
                        self.run_transport(key, wall, now, output);
                    }
                }
            }
        }
    }

    /// Whether a transport only waits for its next report, which may as well leave now that we are awake: its time is a
    /// random one anyway (RFC 3550 §6.3.1).
    fn is_nearly_due(&self, key: TimerKey, at: Time, now: Time) -> bool {
        let TimerKey::Transport(key) = key else { return false };
        let reports =
            |transport: &MediaTransport| transport.armed == at && transport.reports.poll_timeout() == Some(at);
        at <= now + REPORTS_EARLY && self.transports.get(key).is_some_and(reports)
    }

    fn run_transport(&mut self, key: usize, wall: &WallClock, now: Time, output: &mut impl Output) {
        self.transports[key].armed = Time::FAR_FUTURE;
        self.send_digits(key, now, output);
        for index in 0..self.transports[key].ups.len() {
            let up = self.transports[key].ups[index];
            self.tick_layers(up, now);
            self.tick_wanted(up, now);
            self.tick_speech(up, now);
            self.command_keyframes(key, up, now, output);
        }
        self.send_nacks(key, now, output);
        self.send_feedback(key, now, output);
        self.send_asked(key, now, output);
        let video = self.transports[key].ups.iter().any(|&up| self.ups[up].track.config().kind == MediaKind::Video)
            || self.transports[key].downs.iter().any(|&down| self.downs[down].track.config().kind == MediaKind::Video);
        if self.transports[key].reports.poll(now + REPORTS_EARLY, video) {
            self.send_reports(key, wall, now, output);
            self.allocate_by_limit(key, now);
        }
        let transport = &self.transports[key];
        let ups = transport.ups.iter().filter_map(|&up| self.ups[up].poll_timeout());
        let downs = transport.downs.iter().filter_map(|&down| self.downs[down].track.poll_timeout());
        let nacks = transport.streams.iter().filter_map(|stream| stream.nacks.as_ref()?.poll_timeout());
        let own = transport
            .feedback
            .as_ref()
            .and_then(|feedback| feedback.poll_timeout())
            .into_iter()
            .chain(transport.reports.poll_timeout());
        let asked = transport.asked.poll_timeout();
        if let Some(next) = ups.chain(downs).chain(nacks).chain(own).chain(asked).min() {
            self.arm(key, next);
        }
    }

    fn tick_speech(&mut self, up: usize, now: Time) {
        let track = &mut self.ups[up].track;
        let id = track.config().id;
        if let Some(loudness) = track.speech_mut().and_then(|speech| speech.handle_timeout(now)) {
            self.emit(RouterEvent::SpeechChanged { up: id, loudness });
        }
    }

    fn send_digits(&mut self, key: usize, now: Time, output: &mut impl Output) {
        let transport = &mut self.transports[key];
        for &down in &transport.downs {
            let track = &mut self.downs[down].track;
            while track.poll_timeout().is_some_and(|at| at <= now) {
                if let Some(rewrite) = track.poll_dtmf(now) {
                    transport.egress.send(Class::Audio, &rewrite, None, now, output);
                }
            }
        }
        if !transport.downs.is_empty() {
            transport.reports.start(now);
        }
    }

    fn command_keyframes(&mut self, key: usize, up: usize, now: Time, output: &mut impl Output) {
        for index in 0..self.ups[up].track.layers().len() {
            let track = &mut self.ups[up].track;
            let (id, open, feedback) = (track.config().id, track.gates().is_open(), track.payloads().feedback());
            let layer = &mut track.layers_mut()[index];
            let Some(media) = layer.ssrc().filter(|_| open) else {
                // A source that has not begun begins with a keyframe; one behind a gate is asked when that opens.
                layer.keyframes.cancel();
                continue;
            };
            let Some(command) = layer.keyframes.poll(now) else { continue };
            if !feedback.nack_pli && !feedback.ccm_fir {
                if command.suits_signalling() {
                    self.emit(RouterEvent::KeyframeNeeded { up: id });
                }
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            let sender = self.begin_feedback(key, &mut scratch);
            if feedback.nack_pli {
                pli::write(&mut scratch, sender, media);
            } else {
                fir::write(&mut scratch, sender, media, command.number);
            }
            output.rtcp(self.transports[key].config.id, &scratch);
            self.scratch = scratch;
        }
    }

    /// Asks for what is missing of pictures that somebody receives.
    fn send_nacks(&mut self, key: usize, now: Time, output: &mut impl Output) {
        for index in 0..self.transports[key].streams.len() {
            let transport = &mut self.transports[key];
            let round_trip = transport.round_trip;
            let stream = &mut transport.streams[index];
            let Some(nacks) = stream.nacks.as_mut().filter(|nacks| nacks.poll_timeout().is_some_and(|at| at <= now))
            else {
                continue;
            };
            let (up, layer, media) = (stream.up, stream.layer, stream.receive.ssrc());
            let track = &self.ups[up].track;
            let id = track.config().id;
            let current = track.layers().get(usize::from(layer)).and_then(UpLayer::ssrc);
            let received = self.sources.contains_key(&id) || !self.ups[up].remote.is_empty();
            if !received || !track.gates().is_open() || current != Some(media) {
                nacks.reset();
                continue;
            }
            let mut sequences = [0; MOST_IN_MESSAGE];
            let due = nacks.poll(now, round_trip, &mut sequences);
            stream.nacked += due.first as u64;
            if due.gave_up {
                self.ask_source(up, layer, Want::Loss, now);
            }
            if due.count > 0 {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                let sender = self.begin_feedback(key, &mut scratch);
                nack::write(&mut scratch, sender, media, &sequences[..due.count]);
                output.rtcp(self.transports[key].config.id, &scratch);
                self.scratch = scratch;
            }
        }
    }

    /// Begins a feedback message; returns who sends it.
    pub(super) fn begin_feedback(&self, key: usize, out: &mut Vec<u8>) -> Ssrc {
        let sender = self.sender_ssrc(key);
        if !self.transports[key].config.reduced_size {
            // RFC 3550 §6.1: without RFC 5506 every datagram begins with a report and names its sender.
            receiver_report::write(out, sender, &[]);
            sdes::write_cname(out, &[(sender, self.cname(key))]);
        }
        sender
    }

    fn send_feedback(&mut self, key: usize, now: Time, output: &mut impl Output) {
        let sender = self.sender_ssrc(key);
        loop {
            self.scratch.clear();
            let feedback = self.transports[key].feedback.as_mut();
            if !feedback.is_some_and(|feedback| feedback.write(sender, now, &mut self.scratch)) {
                return;
            }
            output.rtcp(self.transports[key].config.id, &self.scratch);
        }
    }

    /// One compound: a sender report of each down track that has sent, or an empty receiver report; the blocks about
    /// what we receive in the first; then the source descriptions. Begins a new compound when one grows too long.
    fn send_reports(&mut self, key: usize, wall: &WallClock, now: Time, output: &mut impl Output) {
        let mut blocks = [ReportBlock::default(); MAX_BLOCKS];
        let mut count = 0;
        let transport = &mut self.transports[key];
        for stream in transport.streams.iter_mut().filter(|stream| stream.receive.has_news()).take(MAX_BLOCKS) {
            blocks[count] = stream.receive.report(now);
            count += 1;
        }
        let id = transport.config.id;
        let mut blocks = &blocks[..count];
        self.scratch.clear();
        for &down in &self.transports[key].downs {
            let track = &self.downs[down].track;
            let Some(info) = track.sender_info(now, wall) else { continue };
            sender_report::write(&mut self.scratch, &info, blocks);
            sdes::write_cname(&mut self.scratch, &[(info.ssrc, &track.config().cname)]);
            blocks = &[];
            if self.scratch.len() > COMPOUND_LIMIT {
                output.rtcp(id, &self.scratch);
                self.scratch.clear();
            }
        }
        if !blocks.is_empty() {
            let sender = self.sender_ssrc(key);
            receiver_report::write(&mut self.scratch, sender, blocks);
            sdes::write_cname(&mut self.scratch, &[(sender, &self.transports[key].config.cname)]);
        }
        if !self.scratch.is_empty() {
            output.rtcp(id, &self.scratch);
        }
    }

    /// The SSRC that we report with: that of a down track, which the peer knows, or one of the transport's own.
    fn sender_ssrc(&self, key: usize) -> Ssrc {
        let transport = &self.transports[key];
        let down = transport.downs.first().map(|&down| self.downs[down].track.config().ssrc);
        down.unwrap_or(transport.config.rtcp_ssrc)
    }

    fn cname(&self, key: usize) -> &str {
        let transport = &self.transports[key];
        transport.downs.first().map_or(&transport.config.cname, |&down| &self.downs[down].track.config().cname)
    }
}
