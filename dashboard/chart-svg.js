// The trend drawn plainly, for a page that was put up without npm. The same picture, less to touch.

import { scaleTop } from "./chart.js";
import { minuteTime, number } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
// In rem: room for the numbers on the left, the times at the bottom, half a number at the top.
const LEFT_REM = 2.2;
const BOTTOM_REM = 1.4;
const TOP_REM = 0.4;
const QUARTER_MS = 900_000;
const rem = () => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);

function shape(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text) element.textContent = text;
  return element;
}

/** A chart in an element; the element's size rules. */
export class SvgChart {
  #root;
  #svg;
  #columns = [];

  constructor(root, onHover) {
    this.#root = root;
    root.dataset.drawnBy = "svg";
    this.#svg = shape("svg", { class: "plain", "aria-hidden": "true" });
    root.append(this.#svg);
    new ResizeObserver(() => this.#paint()).observe(root);
    root.addEventListener("pointermove", (event) => onHover(this.#hovered(event)));
    root.addEventListener("pointerleave", () => onHover(null));
  }

  /** Takes the columns, oldest first. */
  draw(columns) {
    this.#columns = columns;
    this.#paint();
  }

  #hovered(event) {
    const box = this.#root.getBoundingClientRect();
    const left = LEFT_REM * rem();
    const index = Math.floor(((event.clientX - box.left - left) / (box.width - left)) * this.#columns.length);
    return index >= 0 && index < this.#columns.length ? index : null;
  }

  #paint() {
    const [width, height] = [this.#root.clientWidth, this.#root.clientHeight];
    if (!width || !height || !this.#columns.length) return;
    const size = rem();
    const [left, top, bottom] = [LEFT_REM * size, TOP_REM * size, height - BOTTOM_REM * size];
    const most = scaleTop(this.#columns);
    const view = { width, height, left, top, bottom, most, step: (width - left) / this.#columns.length };
    view.y = (value) => top + ((most - value) / (2 * most)) * (bottom - top);
    const columns = this.#columns.flatMap((column, i) => drawColumn(view, column, left + i * view.step));
    this.#root.dataset.hatched = String(columns.filter((part) => part.classList.contains("gap")).length);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(hatching(), ...drawGrid(view), ...columns);
  }
}

function drawGrid({ left, width, most, y }) {
  const parts = [shape("line", { class: "axis", x1: left, x2: width, y1: y(0), y2: y(0) })];
  for (const value of [most / 2, -most / 2]) {
    parts.push(shape("line", { class: "grid", x1: left, x2: width, y1: y(value), y2: y(value) }));
    parts.push(shape("text", { x: left - 6, y: y(value) + 4, class: "right" }, number(Math.abs(value))));
  }
  return parts;
}

function drawColumn({ top, bottom, height, step, y }, column, x) {
  const parts = [];
  const gap = column.coverage > 0 ? "gap partly" : "gap";
  if (!column.isWhole && !column.isBefore) parts.push(shape("rect", { class: gap, x, y: top, width: step, height: bottom - top, fill: "url(#hatch)" }));
  for (const direction of ["in", "out"]) {
    if (!column[direction]) continue;
    const end = y(direction === "in" ? column[direction] : -column[direction]);
    const look = column.isProvisional ? `${direction} lighter` : direction;
    parts.push(shape("rect", { class: look, x: x + 1, y: Math.min(end, y(0)), width: Math.max(1, step * 0.72), height: Math.abs(end - y(0)) }));
  }
  if (column.startMs % QUARTER_MS === 0) parts.push(shape("text", { class: "centre", x, y: height - 6 }, minuteTime(column.startMs)));
  return parts;
}

function hatching() {
  const pattern = shape("pattern", { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(shape("line", { class: "stripe", x1: 0, x2: 0, y1: 0, y2: 7 }));
  return pattern;
}
