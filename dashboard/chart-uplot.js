// The trend drawn by uPlot: bars up for in, bars down for out, hatching where nobody watched.

import uPlot from "./vendor/uPlot.esm.js";

import { scaleTop } from "./chart.js";
import { minuteTime, number, timezone } from "./format.js";

// All of the page is sized in rem, and a wall has large ones.
const rem = () => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
const font = () => `${Math.round(0.6875 * rem())}px system-ui, sans-serif`;

/** A chart in an element; the element's size rules. */
export class UplotChart {
  #plot;
  #root;
  #columns = [];
  #top = 4;
  #resizer;

  constructor(root, onHover) {
    this.#root = root;
    root.dataset.drawnBy = "uplot";
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("./vendor/uPlot.min.css", import.meta.url).href;
    document.head.append(sheet);
    this.#plot = new uPlot(this.#options(onHover), [[0], [null], [null], [null], [null]], root);
    this.#resizer = new ResizeObserver(() => this.#fit());
    this.#resizer.observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plot.redraw());
  }

  /** Takes the columns, oldest first. */
  draw(columns) {
    this.#columns = columns;
    this.#top = scaleTop(columns);
    const pick = (direction, sign, isProvisional) =>
      columns.map((column) => (column.isProvisional === isProvisional && column[direction] ? sign * column[direction] : null));
    this.#plot.setData([
      columns.map((column) => column.startMs / 1000),
      pick("in", 1, false),
      pick("in", 1, true),
      pick("out", -1, false),
      pick("out", -1, true),
    ]);
  }

  #options(onHover) {
    const colour = (name) => () => getComputedStyle(this.#root).getPropertyValue(name).trim();
    const bars = uPlot.paths.bars({ align: 1, size: [0.72, 60] });
    const series = (name) => ({ paths: bars, fill: colour(name), width: 0, points: { show: false } });
    const axis = { stroke: colour("--quiet"), font: font(), ticks: { show: false } };
    return {
      ...this.#size(),
      padding: [0.5 * rem(), rem(), 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { range: () => this.#span() },
        y: { range: () => [-this.#top, this.#top] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 1.4 * rem(), space: 4.6 * rem(), values: (_, ticks) => this.#times(ticks) },
        {
          ...axis,
          size: 2.2 * rem(),
          space: 2 * rem(),
          grid: { stroke: colour("--hairline"), width: 1 },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000],
          values: (_, ticks) => ticks.map((tick) => number(Math.abs(tick))),
        },
      ],
      series: [{}, series("--in"), series("--in-light"), series("--out"), series("--out-light")],
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), timezone()),
      hooks: {
        drawClear: [(plot) => this.#hatch(plot, colour("--hatch")())],
        draw: [(plot) => drawZero(plot, colour("--axis")())],
        setCursor: [(plot) => onHover(this.#hovered(plot))],
      },
    };
  }

  // The pointer's column is the bar it is in, not the nearest left edge.
  #hovered(plot) {
    if (!(plot.cursor.left >= 0) || !this.#columns.length) return null;
    const index = Math.floor((plot.posToVal(plot.cursor.left, "x") * 1000 - this.#columns[0].startMs) / 60_000);
    return index >= 0 && index < this.#columns.length ? index : null;
  }

  // A time at the very end would be cut off by the edge.
  #times(ticks) {
    const [from, to] = this.#span();
    return ticks.map((s) => (s > to - (to - from) * 0.06 ? null : minuteTime(s * 1000)));
  }

  #span() {
    const first = (this.#columns[0]?.startMs ?? 0) / 1000;
    return [first, first + 60 * Math.max(1, this.#columns.length)];
  }

  // Lighter where only some of the cameras watched, or only part of the minute.
  #hatch(plot, colour) {
    const gaps = this.#columns.filter((column) => !column.isWhole && !column.isBefore);
    this.#root.dataset.hatched = String(gaps.length);
    hatchColumns(plot, colour, gaps.filter((column) => column.coverage === 0), 1);
    hatchColumns(plot, colour, gaps.filter((column) => column.coverage > 0), 0.5);
  }

  #size() {
    return { width: Math.max(120, this.#root.clientWidth), height: Math.max(120, this.#root.clientHeight) };
  }

  #fit() {
    const size = this.#size();
    if (size.width !== this.#plot.width || size.height !== this.#plot.height) this.#plot.setSize(size);
  }
}

function hatchColumns(plot, colour, columns, strength) {
  if (!columns.length) return;
  const pen = plot.ctx;
  const { left, top, width, height } = plot.bbox;
  pen.save();
  pen.beginPath();
  for (const column of columns) {
    const from = plot.valToPos(column.startMs / 1000, "x", true);
    const to = plot.valToPos(column.startMs / 1000 + 60, "x", true);
    pen.rect(from, top, to - from, height);
  }
  pen.clip();
  pen.beginPath();
  const step = 0.44 * rem() * devicePixelRatio;
  for (let x = left - height; x < left + width; x += step) {
    pen.moveTo(x, top + height);
    pen.lineTo(x + height, top);
  }
  pen.globalAlpha = strength;
  pen.strokeStyle = colour;
  pen.lineWidth = 0.09 * rem() * devicePixelRatio;
  pen.stroke();
  pen.restore();
}

function drawZero(plot, colour) {
  const y = Math.round(plot.valToPos(0, "y", true));
  plot.ctx.fillStyle = colour;
  plot.ctx.fillRect(plot.bbox.left, y, plot.bbox.width, Math.max(1, devicePixelRatio));
}
