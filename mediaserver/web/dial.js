// A WebSocket to whichever of several servers answers first: the next one is tried before the one before has failed, for
// one that is gone without a word would be waited for in vain.

const NEXT_AFTER_MS = 700;
const GIVE_UP_MS = 5000;

/** `targets` are {server, url} in the order to try them; `done` gets {socket, server}, or null when nobody answers.
 * Returns what ends it. */
export function dial(targets, done) {
  const sockets = new Set();
  const waiting = [...targets];
  let timer = 0;
  let over = false;

  const finish = (found) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    clearTimeout(end);
    for (const socket of sockets) {
      if (socket === found?.socket) continue;
      socket.onopen = socket.onclose = null;
      socket.close();
    }
    done(found);
  };
  const next = () => {
    clearTimeout(timer);
    const target = waiting.shift();
    if (!target) return;
    const socket = new WebSocket(target.url);
    sockets.add(socket);
    socket.onopen = () => finish({ socket, server: target.server });
    socket.onclose = () => {
      sockets.delete(socket);
      if (waiting.length) next();
      else if (!sockets.size) finish(null);
    };
    if (waiting.length) timer = setTimeout(next, NEXT_AFTER_MS);
  };
  const end = setTimeout(() => finish(null), GIVE_UP_MS);
  next();
  return () => {
    done = () => {};
    finish(null);
  };
}

/** Not everybody tries the same server first. */
export function shuffled(servers) {
  const marked = servers.map((server) => [Math.random(), server]);
  return marked.sort(([one], [other]) => one - other).map(([, server]) => server);
}
