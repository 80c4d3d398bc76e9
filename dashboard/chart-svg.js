// The trend drawn plainly, for a page that was put up without npm. The same picture, less to touch.

import { scaleTop } from "./chart.js";
import { minuteTime, number } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 34;
const BOTTOM = 22;
const TOP = 6;

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
    const index = Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT)) * this.#columns.length);
    return index >= 0 && index < this.#columns.length ? index : null;
  }

  #paint() {
    const [width, height] = [this.#root.clientWidth, this.#root.clientHeight];
    if (!width || !height || !this.#columns.length) return;
    const bottom = height - BOTTOM;
    const top = scaleTop(this.#columns);
    const step = (width - LEFT) / this.#columns.length;
    const y = (value) => TOP + ((top - value) / (2 * top)) * (bottom - TOP);
    const parts = [hatching()];
    for (const value of [top / 2, -top / 2]) {
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }));
      parts.push(shape("text", { x: LEFT - 6, y: y(value) + 4, class: "right" }, number(Math.abs(value))));
    }
    let hatched = 0;
    this.#columns.forEach((column, i) => {
      const x = LEFT + i * step;
      if (!column.isWhole) {
        hatched++;
        parts.push(shape("rect", { class: "gap", x, y: TOP, width: step, height: bottom - TOP, fill: "url(#hatch)" }));
      }
      for (const direction of ["in", "out"]) {
        if (!column[direction]) continue;
        const end = y(direction === "in" ? column[direction] : -column[direction]);
        const look = column.isProvisional ? `${direction} lighter` : direction;
        parts.push(shape("rect", { class: look, x: x + 1, y: Math.min(end, y(0)), width: Math.max(1, step * 0.72), height: Math.abs(end - y(0)) }));
      }
      if (column.startMs % 900_000 === 0) parts.push(shape("text", { class: "centre", x, y: height - 6 }, minuteTime(column.startMs)));
    });
    parts.push(shape("line", { class: "axis", x1: LEFT, x2: width, y1: y(0), y2: y(0) }));
    this.#root.dataset.hatched = String(hatched);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(...parts);
  }
}

function hatching() {
  const pattern = shape("pattern", { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(shape("line", { class: "stripe", x1: 0, x2: 0, y1: 0, y2: 7 }));
  return pattern;
}
