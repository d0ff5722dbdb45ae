// Where the server is, for its own pages: it may be beneath a path of a proxy, like https://www.example.org/video.

/** The server's base URL, without a slash at its end. This module is at /web/base.js of it. */
export const BASE = new URL("..", import.meta.url).href.replace(/\/$/, "");
