// How old things are, by the server's clock: every element with data-at ticks.
let offset = 0; // server minus browser, ms

export const serverNow = () => Date.now() + offset;

export function setClock(nowMs) {
  offset = nowMs - Date.now();
}

export function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.floor(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

export function tick(root = document) {
  for (const el of root.querySelectorAll("[data-at]")) {
    const at = Number(el.dataset.at);
    const text = at ? span(serverNow() - at) : "–";
    if (el.textContent !== text) el.textContent = text;
    if (el.dataset.fresh) el.classList.toggle("old", !at || serverNow() - at > Number(el.dataset.fresh));
  }
  for (const el of root.querySelectorAll("[data-span]")) el.textContent = span(Number(el.dataset.span));
}
