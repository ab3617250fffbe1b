// The event stream of one page: reconnects, resumes by id, and says when it is silent.
import { setClock, span } from "./age.js";

const SILENT_MS = 4000; // two missed heartbeats
const RETRY_MS = 1000;

export function listen(channels, { onSignal, onWake, onHello }) {
  const banner = document.querySelector("[data-stale]");
  let source, lastId = "", heardAt = performance.now();

  function heard() {
    heardAt = performance.now();
  }

  function open() {
    const resume = lastId ? `&last_event_id=${encodeURIComponent(lastId)}` : "";
    const mine = new EventSource(`/api/v1/stream?channels=${encodeURIComponent([...channels, "heartbeat"].join(","))}${resume}`);
    source = mine;
    const on = (name, act) =>
      mine.addEventListener(name, (event) => {
        heard();
        if (event.lastEventId) lastId = event.lastEventId;
        act(event.data ? JSON.parse(event.data) : {});
      });
    on("hello", ({ now_ms }) => {
      setClock(now_ms);
      onHello();
    });
    on("heartbeat", ({ now_ms }) => setClock(now_ms));
    on("signal", onSignal);
    on("wake", ({ channel, data }) => onWake(channel, data));
    on("gap", onHello);
    on("dropped", () => again(mine));
    mine.onerror = () => again(mine);
  }

  function again(mine) {
    mine.close();
    if (mine !== source) return;
    source = null;
    setTimeout(open, RETRY_MS);
  }

  setInterval(() => {
    const silent = performance.now() - heardAt;
    const isStale = silent > SILENT_MS;
    document.body.classList.toggle("stale", isStale);
    banner.hidden = !isStale;
    banner.querySelector("[data-stale-for]").textContent = span(silent);
    // A connection that looks open and says nothing is replaced, too.
    if (isStale && source && silent > 3 * SILENT_MS) again(source);
  }, 250);
  addEventListener("pagehide", () => source && source.close());
  addEventListener("pageshow", (event) => event.persisted && !source && open());
  open();
}
