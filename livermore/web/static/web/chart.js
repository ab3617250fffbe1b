// Candles above, MACD-V below, on one canvas. Rising bars are hollow and falling ones filled, so that
// direction does not hang on colour; synthetic bars are a dash, gapped ones are underlined.
const SPLIT = 0.68; // share of the height for the candles
const PAD = { top: 6, bottom: 14, right: 58 };

export class Chart {
  constructor(canvas, onBar) {
    this.canvas = canvas;
    this.onBar = onBar;
    this.closed = [];
    this.bars = [];
    this.rows = new Map();
    this.picked = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    document.addEventListener("themechange", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointermove", (e) => this.pick(this.indexAt(e.offsetX)));
    canvas.addEventListener("pointerleave", () => this.pick(null));
    canvas.addEventListener("blur", () => this.pick(null));
    canvas.addEventListener("keydown", (e) => this.key(e));
  }

  set(closed, rows) {
    this.closed = closed.map(numeric);
    this.bars = [...this.closed];
    this.rows = new Map(rows.map((r) => [r.open_time, r]));
    this.draw();
  }

  form(candle) {
    const last = this.closed.at(-1);
    if (last && candle.open_time <= last.open_time) return; // closed meanwhile
    this.bars = [...this.closed, numeric({ ...candle, final: false })];
    this.draw();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.bars.length) return;
    event.preventDefault();
    const from = this.picked ?? this.bars.length - (step < 0 ? 0 : 1);
    this.pick(Math.min(this.bars.length - 1, Math.max(0, from + step)));
  }

  pick(index) {
    if (index === this.picked) return;
    this.picked = index;
    this.onBar(index === null ? null : this.bars[index]);
    this.draw();
  }

  indexAt(x) {
    const index = Math.floor(x / this.step);
    return index >= 0 && index < this.bars.length ? index : null;
  }

  draw() {
    if (this.waits) return;
    this.waits = requestAnimationFrame(() => {
      this.waits = 0;
      this.paint();
    });
  }

  paint() {
    const { canvas } = this;
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const g = canvas.getContext("2d");
    g.scale(scale, scale);
    g.font = "11px system-ui, sans-serif";
    if (!this.bars.length || !width) return;
    const style = getComputedStyle(canvas);
    this.ink = (name) => style.getPropertyValue(`--${name}`);
    this.plotWidth = width - PAD.right;
    this.step = this.plotWidth / this.bars.length;
    const middle = height * SPLIT;
    this.candles(g, PAD.top, middle - 8);
    this.macdv(g, middle + 8, height - PAD.bottom);
    this.times(g, height);
  }

  candles(g, top, bottom) {
    const y = axis(Math.min(...this.bars.map((b) => b.l)), Math.max(...this.bars.map((b) => b.h)), top, bottom);
    this.levels(g, y, y.ticks, precise);
    const body = Math.max(1, this.step * 0.7);
    this.bars.forEach((bar, i) => {
      const x = (i + 0.5) * this.step, isUp = bar.c >= bar.o;
      g.strokeStyle = g.fillStyle = this.ink(bar.synthetic ? "faint" : isUp ? "up" : "down");
      if (i === this.picked) stripe(g, this.ink("stripe"), x, this.step, top, bottom);
      line(g, x, y(bar.h), x, y(bar.l));
      const at = Math.min(y(bar.o), y(bar.c)), tall = Math.max(1, Math.abs(y(bar.o) - y(bar.c)));
      if (isUp && tall > 2 && body > 3) {
        g.clearRect(x - body / 2, at, body, tall);
        g.strokeRect(x - body / 2 + 0.5, at + 0.5, body - 1, tall - 1);
      } else g.fillRect(x - body / 2, at, body, tall);
      if (bar.quality === "gapped") g.fillRect(x - body / 2, bottom + 2, body, 2);
    });
    const last = this.bars.at(-1);
    g.setLineDash([2, 3]);
    g.strokeStyle = this.ink("accent");
    line(g, 0, y(last.c), this.plotWidth, y(last.c));
    g.setLineDash([]);
  }

  macdv(g, top, bottom) {
    const rows = this.bars.map((b) => this.rows.get(b.open_time));
    const known = rows.flatMap((r) => (r ? [r.macdv, r.signal, r.hist] : [])).filter((v) => v !== null && v !== undefined);
    const most = Math.max(50, ...known.map(Math.abs));
    const y = axis(-most, most, top, bottom);
    this.levels(g, y, [0, most > 150 ? 150 : 50, most > 150 ? -150 : -50], (v) => v.toFixed(0));
    rows.forEach((row, i) => {
      if (!row || row.hist === null) return;
      g.fillStyle = this.ink(row.hist >= 0 ? "up" : "down");
      g.globalAlpha = 0.45;
      g.fillRect((i + 0.15) * this.step, Math.min(y(0), y(row.hist)), Math.max(1, this.step * 0.7), Math.abs(y(0) - y(row.hist)));
      g.globalAlpha = 1;
    });
    this.curve(g, rows, "macdv", y, "accent", []);
    this.curve(g, rows, "signal", y, "text", [3, 2]);
  }

  curve(g, rows, name, y, ink, dash) {
    g.strokeStyle = this.ink(ink);
    g.setLineDash(dash);
    g.beginPath();
    let isDown = false;
    rows.forEach((row, i) => {
      if (!row || row[name] === null) return (isDown = false);
      g[isDown ? "lineTo" : "moveTo"]((i + 0.5) * this.step, y(row[name]));
      isDown = true;
    });
    g.stroke();
    g.setLineDash([]);
  }

  levels(g, y, values, text) {
    for (const value of values) {
      g.strokeStyle = this.ink("line");
      line(g, 0, y(value), this.plotWidth, y(value));
      g.fillStyle = this.ink("muted");
      g.fillText(text(value), this.plotWidth + 5, y(value) + 4);
    }
  }

  times(g, height) {
    g.fillStyle = this.ink("muted");
    const every = Math.ceil(this.bars.length / Math.max(2, Math.floor(this.plotWidth / 90)));
    for (let i = 0; i < this.bars.length - every / 2; i += every)
      g.fillText(new Date(this.bars[i].open_time).toISOString().slice(11, 16), i * this.step, height - 2);
  }
}

const numeric = (c) => ({ ...c, o: +c.open, h: +c.high, l: +c.low, c: +c.close });

function axis(low, high, top, bottom) {
  const room = high - low || Math.abs(high) * 0.01 || 1;
  const y = (value) => Math.round(bottom - ((value - low) / room) * (bottom - top)) + 0.5;
  y.ticks = [low + room * 0.1, low + room * 0.5, low + room * 0.9];
  return y;
}

function precise(value) {
  const digits = Math.max(0, Math.min(10, 5 - Math.floor(Math.log10(Math.abs(value) || 1)) - 1));
  return value.toFixed(digits);
}

function line(g, x1, y1, x2, y2) {
  g.beginPath();
  g.moveTo(x1, y1);
  g.lineTo(x2, y2);
  g.stroke();
}

function stripe(g, ink, x, step, top, bottom) {
  const before = g.fillStyle;
  g.fillStyle = ink;
  g.fillRect(x - step / 2, top, step, bottom - top);
  g.fillStyle = before;
}
