// The trend's panel: asks for the last hour, follows the live panes, and has the chart drawn.

import { makeChart } from "./chart.js";
import { byId, oncePerFrame, setHidden, setNumber, setText } from "./dom.js";
import { minuteTime, number, share } from "./format.js";
import { keyOf } from "./model.js";
import { MINUTE_MS, TrendData } from "./trend-data.js";

// Coverage has no live news of its own, and what arrives late changes the past: ask again now and then.
const ASK_EVERY_MS = 15_000;
// Late panes come in crowds: one question answers them all.
const ASK_AFTER_LATE_MS = 2_000;
const HOUR = "v1/counts?last=60m&interval=1m&group_by=camera,line,direction";
const RECENT = "v1/counts?last=5m&interval=10s&group_by=camera,line,direction";

/** Keeps the trend in step with the server. */
export class TrendPanel {
  #data = new TrendData();
  #chart = null;
  #columns = [];
  #hovered = null;
  #lines = [];
  #hasData = false;
  #isAsking = false;
  #meanwhile = [];
  #lateTimer = 0;
  #askedMs = 0;
  #nowMs;
  #ask;
  #drawSoon = oncePerFrame(() => this.#draw());
  #select = byId("trend-line");
  #details = byId("trend-details");

  /** @param ask Gets a path and resolves to its JSON, or null. @param nowMs Tells the server's time. */
  constructor(ask, nowMs) {
    this.#ask = ask;
    this.#nowMs = nowMs;
    this.#select.addEventListener("change", () => this.#drawSoon());
    this.#details.addEventListener("toggle", () => this.#drawSoon());
    makeChart(byId("chart"), (index) => this.#hover(index)).then(({ chart, isPlain }) => {
      this.#chart = chart;
      if (isPlain) {
        setText(byId("chart-note"), "A plain chart: this page was put up without npm, which brings the better one.");
        setHidden(byId("chart-note"), false);
      }
      this.#drawSoon();
    });
  }

  /** Takes the cameras and lines that can be chosen. */
  setLines(model) {
    const lines = [];
    for (const camera of model.cameras.values()) {
      for (const line of camera.lines) lines.push({ camera: camera.id, line: line.name, title: line.name, of: camera.camera });
    }
    const isSame = lines.length === this.#lines.length && lines.every((line, i) => keyOf(line.camera, line.line) === keyOf(this.#lines[i].camera, this.#lines[i].line));
    if (isSame) return;
    this.#lines = lines;
    const chosen = this.#select.value;
    const several = model.cameras.size > 1;
    const options = lines.map((line) => new Option(several ? `${line.of}: ${line.title}` : line.title, keyOf(line.camera, line.line)));
    this.#select.replaceChildren(new Option("All lines", ""), ...options);
    if (options.some((option) => option.value === chosen)) this.#select.value = chosen;
    this.#drawSoon();
  }

  /** Takes live panes. */
  feed(panes) {
    if (this.#isAsking) this.#meanwhile.push(...panes);
    const isLate = panes.some((pane) => !this.#data.feed(pane));
    if (isLate && !this.#lateTimer) this.#lateTimer = setTimeout(() => this.reload(), ASK_AFTER_LATE_MS);
    this.#drawSoon();
  }

  /** Asks again if it is time; called every second. */
  tick() {
    if (performance.now() - this.#askedMs > ASK_EVERY_MS) this.reload();
    this.#data.forget(this.#nowMs());
    this.#drawSoon();
  }

  /** Asks the server for the hour. What comes live meanwhile is newer than its answer. */
  async reload() {
    if (this.#isAsking) return;
    clearTimeout(this.#lateTimer);
    this.#lateTimer = 0;
    this.#isAsking = true;
    this.#askedMs = performance.now();
    this.#meanwhile = [];
    try {
      const [hour, recent] = await Promise.all([this.#ask(HOUR), this.#ask(RECENT)]);
      if (!hour || !recent) return;
      this.#data.load(hour, recent);
      for (const pane of this.#meanwhile) this.#data.feed(pane);
      this.#hasData = true;
      this.#drawSoon();
    } finally {
      this.#isAsking = false;
    }
  }

  #draw() {
    if (!this.#hasData) return;
    const chosen = this.#lines.filter((line) => !this.#select.value || this.#select.value === keyOf(line.camera, line.line));
    const columns = this.#data.columns(this.#nowMs(), chosen);
    const text = JSON.stringify(columns);
    if (text !== JSON.stringify(this.#columns) || !this.#chart?.hasDrawn) {
      this.#columns = columns;
      this.#chart?.draw(columns);
      if (this.#chart) this.#chart.hasDrawn = true;
    }
    this.#write();
  }

  #write() {
    const sum = (direction) => this.#columns.reduce((total, column) => total + (column[direction] ?? 0), 0);
    setNumber(byId("trend-in"), number(sum("in")));
    setNumber(byId("trend-out"), number(sum("out")));
    const known = this.#columns.filter((column) => !column.isBefore);
    const whole = known.filter((column) => column.isWhole).length;
    const hovered = this.#columns[this.#hovered];
    const summary = `${number(whole)} of ${number(known.length)} minutes fully watched`;
    setText(byId("trend-readout"), hovered ? readout(hovered) : summary);
    if (this.#details.open) this.#writeTable();
  }

  #writeTable() {
    const rows = this.#columns.toReversed().map((column) => {
      const row = document.createElement("tr");
      for (const text of [minuteTime(column.startMs), count(column.in), count(column.out), watched(column)]) row.insertCell().textContent = text;
      return row;
    });
    byId("trend-rows").replaceChildren(...rows);
  }

  #hover(index) {
    this.#hovered = index;
    if (this.#columns.length) this.#write();
  }
}

const count = (n) => (n === null ? "–" : number(n));

function watched(column) {
  if (column.isBefore) return "no camera yet";
  return column.isProvisional ? "still counting" : share(column.coverage);
}

function readout(column) {
  const span = `${minuteTime(column.startMs)} to ${minuteTime(column.startMs + MINUTE_MS)}`;
  if (column.isBefore) return `${span} · no camera yet`;
  if (column.in === null) return `${span} · not watched`;
  const state = column.isProvisional ? "still counting" : `watched ${share(column.coverage)}`;
  return `${span} · ▲ ${number(column.in)} · ▼ ${number(column.out)} · ${state}`;
}
