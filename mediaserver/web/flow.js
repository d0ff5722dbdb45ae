// Whether media still comes: a way that is gone without a word shows itself by silence, seconds before the browser says so.

const LOOK_MS = 250;
const SILENT_MS = 1000;

/** Calls `silent` once whenever nothing has come any more for a moment, after something had. Returns what ends it. */
export function watchFlow(connection, silent) {
  let newest = 0;
  let changedAt = 0;
  let told = true;
  const timer = setInterval(() => {
    const stamps = connection.getReceivers().flatMap((receiver) =>
      (receiver.getSynchronizationSources?.() ?? []).map(({ timestamp }) => timestamp));
    const latest = Math.max(0, ...stamps);
    const now = performance.now();
    if (latest > newest) {
      newest = latest;
      changedAt = now;
      told = false;
    } else if (!told && now - changedAt > SILENT_MS) {
      told = true;
      silent();
    }
  }, LOOK_MS);
  return () => clearInterval(timer);
}
