// Whether media still comes, and by which way: one that is gone without a word shows itself by silence, seconds before the
// browser says so.

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

/** A session is away, over whose server the media of this connection may go, too: if so, it comes back sooner. A way by UDP
 * without a relay the server brings back by itself; any other the page has to open again, and for that needs the session. */
export async function hurryBack(session, peer) {
  const report = await peer?.stats();
  if (report && !goesDirectly(report)) session.hurry();
}

function goesDirectly(report) {
  const items = [...report.values()];
  const chosen = items.map(({ selectedCandidatePairId }) => selectedCandidatePairId);
  // Firefox has no such member of the transport, but one of its own in the pair.
  const pair = items.find(({ type, id, selected }) => type === "candidate-pair" && (selected || chosen.includes(id)));
  const { candidateType, protocol } = report.get(pair?.localCandidateId) ?? {};
  return protocol === "udp" && candidateType !== "relay";
}
