// What moves on our pages: parts that the server draws again, numbers on the cards, charts.
import { tick } from "./age.js";
import { ChartFigure } from "./figure.js";
import { listen } from "./live.js";
import { morph } from "./morph.js";

const parts = new Map([...document.querySelectorAll("[data-part]")].map((el) => [el.dataset.part, el]));
const charts = [...document.querySelectorAll("figure.chart")].map((el) => new ChartFigure(el));
const waiting = new Map();

// At most one request per subject and second, and always one after the last event.
function soon(key, act, ms = 400) {
  if (waiting.has(key)) return;
  waiting.set(key, setTimeout(() => (waiting.delete(key), act()), ms));
}

async function redraw(name) {
  const el = parts.get(name);
  if (!el) return;
  const answer = await fetch(`/parts/${name}/?${el.dataset.query || ""}`);
  if (answer.redirected) return location.reload(); // logged out
  if (!answer.ok) return;
  morph(el, await answer.text());
  tick(el);
}

function card(slug, said) {
  const el = document.querySelector(`.card[data-exchange="${CSS.escape(slug)}"]`);
  if (!el) return;
  if (!said || typeof said !== "object" || said.state !== el.dataset.state) return soon("cards", () => ["cards", "health", "activity"].forEach(redraw));
  for (const field of el.querySelectorAll("[data-f]")) {
    const value = said[field.dataset.f];
    if (value === undefined || value === null) continue;
    if ("at" in field.dataset) field.dataset.at = value;
    else field.textContent = field.dataset.f === "frames_per_s" ? Number(value).toFixed(1) : Math.round(Number(value));
  }
}

function wake(channel, said) {
  const [, kind, ...rest] = channel.split(":");
  if (kind === "exchange") return card(rest[0], said);
  for (const chart of charts) if (chart.hears(kind, rest)) chart.wake(kind, rest, said, soon);
}

function catchUp() {
  for (const name of parts.keys()) redraw(name);
  for (const chart of charts) chart.load();
}

const channels = ["exchanges:*", ...(parts.has("board") ? ["signals:*"] : []), ...charts.flatMap((c) => c.channels())];
// What is loaded after the stream has begun cannot miss what happens in between; without a stream, load anyway.
const anyway = setTimeout(catchUp, 3000);
listen(channels, {
  onSignal: () => soon("board", () => redraw("board")),
  onWake: wake,
  onHello: () => (clearTimeout(anyway), catchUp()),
});
// Without news the cards are looked at now and then: a host that died says nothing.
setInterval(() => document.hidden || redraw("cards"), 10000);
for (const [name, el] of parts) {
  if (el.dataset.every) setInterval(() => document.hidden || redraw(name), 1000 * Number(el.dataset.every));
}
tick();
setInterval(tick, 250);
