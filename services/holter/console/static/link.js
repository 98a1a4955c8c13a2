// One WebSocket for the whole ward. Comes back by itself; says when it is silent.

import { session } from "./session.js";
import { parse } from "./wire.js";

const SILENT = 5000; // ms without a message: figures come each second
const LONGEST = 15000;
const UNAUTHORISED = 4401;

/** Calls `on.message(object)`, `on.batch(chunks)` and `on.state(name)`: connecting, live, lost, refused. */
export function connect(on) {
  let socket, timer, wait = 500, heard = 0, stopped = false;

  function open() {
    clearTimeout(timer);
    const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket = mine;
    heard = performance.now();
    mine.binaryType = "arraybuffer";
    mine.onopen = () => mine.send(JSON.stringify({ token: session.token }));
    mine.onmessage = ({ data }) => {
      if (mine !== socket) return;
      heard = performance.now();
      if (typeof data !== "string") {
        on.batch(parse(data));
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "hello") {
        wait = 500;
        on.state("live");
      }
      on.message(message);
    };
    mine.onclose = ({ code }) => {
      if (mine !== socket || stopped) return;
      if (code === UNAUTHORISED) on.state("refused");
      else again();
    };
  }

  function again() {
    on.state("lost");
    timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
    wait = Math.min(2 * wait, LONGEST);
  }

  setInterval(() => {
    if (socket && socket.readyState <= WebSocket.OPEN && performance.now() - heard > SILENT && !document.hidden) {
      const silent = socket;
      socket = null;
      silent.close();
      again();
    }
  }, 1000);
  addEventListener("online", () => { if (socket?.readyState !== WebSocket.OPEN) open(); });
  document.addEventListener("visibilitychange", () => { heard = performance.now(); });

  return {
    open() { stopped = false; on.state("connecting"); open(); },
    close() { stopped = true; clearTimeout(timer); const mine = socket; socket = null; mine?.close(); },
  };
}
