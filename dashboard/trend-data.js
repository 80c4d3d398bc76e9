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
  #paneCoverage = new Map();
  #panesFromMs = Infinity;
  #paneMs = 10_000;

  /**
   * Takes the answers of the server.
   * @param hour Counts by minute, grouped by camera, line and direction.
   * @param recent The same of the last minutes by pane: what live panes will replace.
   */
  load(hour, recent) {
    this.#minutes = new Map();
    this.#panes = new Map();
    for (const series of hour.series) this.#fill(this.#minutes, hour, series);
    this.#coverage = coverageOf(hour);
    this.#paneCoverage = coverageOf(recent);
    this.#paneMs = recent.interval_s * 1000;
    for (const series of recent.series) this.#fill(this.#panes, recent, series);
    // A minute that the panes know only in part belongs to the minutes' answer.
    this.#panesFromMs = Math.ceil(recent.from_ms / MINUTE_MS) * MINUTE_MS;
  }

  /** Takes a live pane. Returns false if it lies before what is kept by pane: then the server must be asked again. */
  feed(pane) {
    if (pane.start_ms < this.#panesFromMs) return false;
    const key = keyOf(keyOf(pane.camera, pane.line), pane.start_ms);
    this.#panes.set(key, { camera: pane.camera, line: pane.line, startMs: pane.start_ms, in: pane.in, out: pane.out });
    const watched = { startMs: pane.start_ms, coverage: pane.coverage, isProvisional: pane.status === "provisional" };
    this.#paneCoverage.set(keyOf(pane.camera, pane.start_ms), watched);
    return true;
  }

  /**
   * Makes the columns of the chart.
   * @param nowMs The server's time.
   * @param lines The lines to sum up: [{camera, line}].
   * @returns {{startMs: number, in: number|null, out: number|null, coverage: number, isProvisional: boolean, isBefore: boolean, isWhole: boolean}[]}
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
    for (const kept of [this.#panes, this.#paneCoverage]) {
      for (const [key, pane] of kept) if (pane.startMs < beforeMs) kept.delete(key);
    }
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

  // Several cameras together are watched as much as the mean of those that were there.
  #watched(startMs, cameras) {
    const each = cameras.map((camera) => this.#watchedBy(camera, startMs)).filter((one) => !one.isBefore);
    return {
      coverage: each.length ? each.reduce((sum, one) => sum + one.coverage, 0) / each.length : 0,
      isProvisional: each.some((one) => one.isProvisional),
      isBefore: each.length === 0,
    };
  }

  // What a minute's settled panes say; those still to come are taken to be as good, until the server says otherwise.
  #watchedBy(camera, startMs) {
    if (startMs < this.#panesFromMs) return this.#coverage.get(keyOf(camera, startMs)) ?? { coverage: 0, isProvisional: false };
    let [settled, coverage, all, before] = [0, 0, 0, 0];
    for (let at = startMs; at < startMs + MINUTE_MS; at += this.#paneMs) {
      all++;
      const pane = this.#paneCoverage.get(keyOf(camera, at));
      if (pane?.isBefore) before++;
      if (!pane || pane.isProvisional || pane.isBefore) continue;
      settled++;
      coverage += pane.coverage;
    }
    return { coverage: settled ? coverage / settled : 1, isProvisional: settled + before < all, isBefore: before === all };
  }
}

function coverageOf(answer) {
  const found = new Map();
  for (const camera of answer.cameras) {
    answer.start_ms.forEach((startMs, i) => {
      const status = camera.status[i];
      // "none": before the camera was ever heard of. Nobody was blind then.
      const watched = { startMs, coverage: camera.coverage[i] ?? 0, isProvisional: status === "provisional", isBefore: status === "none" };
      found.set(keyOf(camera.camera, startMs), watched);
    });
  }
  return found;
}

function column(startMs, sum, { coverage, isProvisional, isBefore }) {
  const isBlank = !sum && coverage === 0;
  return {
    startMs,
    in: isBlank ? null : (sum?.in ?? 0),
    out: isBlank ? null : (sum?.out ?? 0),
    coverage,
    isProvisional,
    isBefore,
    isWhole: coverage >= WHOLE_COVERAGE,
  };
}
