// One market: its price, its chart, its indicator, each with its age.
import { Chart } from "./chart.js";
import { span, tick } from "./age.js";

const BARS = 100;

export class ChartFigure {
  constructor(el) {
    this.el = el;
    ({ exchange: this.exchange, symbol: this.symbol, timeframe: this.timeframe } = el.dataset);
    this.market = `${this.exchange}:${this.symbol}`;
    this.chart = new Chart(el.querySelector("canvas"), (bar) => this.describe(bar));
  }

  channels() {
    const { market, timeframe } = this;
    return [`candle:${market}:${timeframe}`, `candle:close:${market}:${timeframe}`, `indicator:${market}:${timeframe}:macdv`];
  }

  part = (name) => this.el.querySelector(`[data-c="${name}"]`);

  hears(kind, rest) {
    const [exchange, symbol] = rest[0] === "close" ? rest.slice(1) : rest;
    return exchange === this.exchange && symbol === this.symbol;
  }

  wake(kind, rest, said, soon) {
    if (kind === "candle" && rest[0] !== "close" && said && said.close !== undefined) return this.form(said);
    // All charts close their bars in the same second: spread their requests a little.
    soon(this.market, () => this.load(), 300 + Math.random() * 700);
  }

  async load() {
    const at = `${this.exchange}/${this.symbol}?timeframe=${this.timeframe}&limit=${BARS}`;
    const answers = await Promise.all([fetch(`/api/v1/candles/${at}`), fetch(`/api/v1/indicators/${at}&type=macdv`)]);
    if (!answers.every((a) => a.ok)) return;
    const [candles, macdv] = await Promise.all(answers.map((a) => a.json()));
    this.candles = candles.candles;
    this.isEmpty(!this.candles.length && !candles.forming);
    this.chart.set(this.candles, macdv.rows);
    this.reading(macdv);
    if (candles.forming) this.form(candles.forming);
    else if (this.candles.length) this.price(this.candles.at(-1).close, this.candles.at(-1).open_time + 300000);
  }

  isEmpty(yes) {
    this.part("empty").hidden = !yes;
    this.el.classList.toggle("is-empty", yes);
  }

  form(candle) {
    this.isEmpty(false);
    const at = Number(candle.updated_ms || candle.open_time);
    this.chart.form({ ...candle, open_time: Number(candle.open_time) });
    this.price(candle.close, at);
  }

  price(text, at) {
    this.part("price").textContent = text;
    const first = Number(this.candles?.[0]?.open);
    if (first) {
      const percent = (100 * (Number(text) - first)) / first;
      const change = this.part("change");
      change.className = percent < 0 ? "dir down" : "dir up";
      change.textContent = `${percent < 0 ? "▼" : "▲"} ${Math.abs(percent).toFixed(2)} %`;
      change.title = `since the first bar shown`;
    }
    this.part("age").dataset.at = at;
    this.chart.canvas.setAttribute("aria-label", `${this.symbol} at ${this.exchange}: ${this.chart.bars.length} bars, last ${text}`);
  }

  reading({ latest, age_ms, now_ms }) {
    const el = this.part("macdv");
    if (!latest || latest.macdv === null) {
      el.textContent = `MACD-V – ${latest?.reason || "not enough bars yet"}`;
      return;
    }
    const n = (value) => (value === null ? "–" : value.toFixed(1));
    const trust = latest.converged ? "" : " · ◌ still converging";
    el.textContent = `MACD-V ${n(latest.macdv)} · signal ${n(latest.signal)} · ${latest.hist < 0 ? "▼" : "▲"} ${n(latest.hist)} · ${latest.stage || "–"}${trust} · `;
    const age = Object.assign(document.createElement("span"), { className: "age" });
    age.dataset.at = now_ms - age_ms;
    el.append(age, " ago");
    tick(el);
  }

  describe(bar) {
    this.part("bar").textContent = bar
      ? `${new Date(bar.open_time).toISOString().slice(5, 16).replace("T", " ")} · O ${bar.open} H ${bar.high} L ${bar.low} C ${bar.close} · vol ${bar.volume} · ` +
        (bar.final ? `${bar.trades ?? "?"} trades · ${bar.source} · ${bar.quality}${bar.revision ? ` · revision ${bar.revision}` : ""}${bar.synthetic ? ` · ${bar.reason}` : ""}` : "forming")
      : "";
  }
}
