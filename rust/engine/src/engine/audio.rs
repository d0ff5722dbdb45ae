//! The start of the threads for sound.

use super::{Engine, EngineError};
use crate::audio::{AudioPool, AudioWorker};

impl Engine {
    /// Starts them; what they may do is shared out among them.
    pub(super) fn start_audio_threads(&mut self) -> Result<(), EngineError> {
        let threads = self.layout.audio().len();
        let limits = self.config.limits;
        for number in 0..threads {
            // What cannot be shared out evenly goes to the first ones.
            let share = |whole: usize| whole / threads + usize::from(number < whole % threads);
            let shards = self.layout.shards as u16;
            let pool = AudioPool::new(shards, share(limits.transcodes), share(limits.mixed_legs));
            let (seat, links) = self.seat();
            let worker = AudioWorker::new(seat.index, self.epoch, pool, links).map_err(seat.failed())?;
            self.spawn(seat, move || worker.run())?;
        }
        Ok(())
    }
}
