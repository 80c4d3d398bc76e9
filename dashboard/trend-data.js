// The last hour, minute by minute: what the server said when asked, advanced by the live feed. No document, no network.

import { keyOf } from "./model.js";

export const MINUTE_MS = 60_000;
const HOUR_MINUTES = 60;
// The least share of a minute that must have been watched to call its count whole; the server draws the same line.
const WHOLE_COVERAGE = 0.95;

/** Remembers one hour of counts and coverage. */
export class TrendData {
  #minutes = new Map();
  #coverage = new Map();
  #panes = new Map();
  #panesFromMs = Infinity;
  #toMs = 0;

  /**
   * Takes the answers of the server.
   * @param hour Counts by minute, grouped by camera, line and direction.
   * @param recent The same of the last minutes by pane: what live panes will replace.
   */
  load(hour, recent) {
    this.#minutes = new Map();
    this.#coverage = new Map();
    this.#panes = new Map();
    for (const series of hour.series) this.#fill(this.#minutes, hour, series);
    for (const camera of hour.cameras) {
      hour.start_ms.forEach((startMs, i) => {
        const of = { coverage: camera.coverage[i] ?? 0, isProvisional: camera.status[i] === "provisional" };
        this.#coverage.set(keyOf(camera.camera, startMs), of);
      });
    }
    for (const series of recent.series) this.#fill(this.#panes, recent, series);
    // A minute that the panes know only in part belongs to the minutes' answer.
    this.#panesFromMs = Math.ceil(recent.from_ms / MINUTE_MS) * MINUTE_MS;
    this.#toMs = hour.to_ms;
  }

  /** Takes a live pane. Returns false if it lies before what is kept by pane: then the server must be asked again. */
  feed(pane) {
    if (pane.start_ms < this.#panesFromMs) return false;
    const key = keyOf(keyOf(pane.camera, pane.line), pane.start_ms);
    this.#panes.set(key, { camera: pane.camera, line: pane.line, startMs: pane.start_ms, in: pane.in, out: pane.out });
    return true;
  }

  /**
   * Makes the columns of the chart.
   * @param nowMs The server's time.
   * @param lines The lines to sum up: [{camera, line}].
   * @returns {{startMs: number, in: number|null, out: number|null, coverage: number, isProvisional: boolean, isWhole: boolean}[]}
   */
  columns(nowMs, lines) {
    const lastMs = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
    const sums = this.#sums(lines);
    const cameras = [...new Set(lines.map((line) => line.camera))];
    const columns = [];
    for (let back = HOUR_MINUTES - 1; back >= 0; back--) {
      const startMs = lastMs - back * MINUTE_MS;
      columns.push(column(startMs, sums.get(startMs), this.#watched(startMs, cameras)));
    }
    return columns;
  }

  /** Forgets what is older than an hour, so that a page left open for weeks stays small. */
  forget(nowMs) {
    const beforeMs = nowMs - (HOUR_MINUTES + 2) * MINUTE_MS;
    for (const [key, pane] of this.#panes) if (pane.startMs < beforeMs) this.#panes.delete(key);
  }

  #fill(into, answer, series) {
    answer.start_ms.forEach((startMs, i) => {
      const n = series.n[i];
      if (n === null || n === undefined) return;
      const key = keyOf(keyOf(series.camera, series.line), startMs);
      const cell = into.get(key) ?? { camera: series.camera, line: series.line, startMs, in: 0, out: 0 };
      cell[series.direction] += n;
      into.set(key, cell);
    });
  }

  #sums(lines) {
    const wanted = new Set(lines.map((line) => keyOf(line.camera, line.line)));
    const sums = new Map();
    const add = (cell) => {
      if (!wanted.has(keyOf(cell.camera, cell.line))) return;
      const startMs = Math.floor(cell.startMs / MINUTE_MS) * MINUTE_MS;
      const sum = sums.get(startMs) ?? { in: 0, out: 0 };
      sum.in += cell.in;
      sum.out += cell.out;
      sums.set(startMs, sum);
    };
    for (const cell of this.#minutes.values()) if (cell.startMs < this.#panesFromMs) add(cell);
    for (const cell of this.#panes.values()) if (cell.startMs >= this.#panesFromMs) add(cell);
    return sums;
  }

  // Several cameras together are watched as much as the mean of them.
  #watched(startMs, cameras) {
    if (!cameras.length) return { coverage: 0, isProvisional: false };
    let coverage = 0;
    let isProvisional = false;
    for (const camera of cameras) {
      const known = this.#coverage.get(keyOf(camera, startMs));
      coverage += known?.coverage ?? 0;
      isProvisional ||= known ? known.isProvisional : startMs + MINUTE_MS > this.#toMs;
    }
    return { coverage: coverage / cameras.length, isProvisional };
  }
}

function column(startMs, sum, { coverage, isProvisional }) {
  const isBlank = !sum && coverage === 0 && !isProvisional;
  return {
    startMs,
    in: isBlank ? null : (sum?.in ?? 0),
    out: isBlank ? null : (sum?.out ?? 0),
    coverage,
    isProvisional,
    isWhole: isProvisional || coverage >= WHOLE_COVERAGE,
  };
}
