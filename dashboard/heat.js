// One camera's heat-map of the last day, drawn over its picture while somebody wants it.

import { setText } from "./dom.js";

// The server gets a new map every five minutes or so.
const REFRESH_MS = 60_000;

/** Fetches a camera's map for as long as its button is pressed. */
export class HeatMap {
  #button;
  #note;
  #ask;
  #onChange;
  #camera = "";
  #timer = 0;
  #grids = [];

  /** `ask` answers a path with JSON or null; `onChange` is called when there is something else to draw. */
  constructor({ button, note, ask, onChange }) {
    this.#button = button;
    this.#note = note;
    this.#ask = ask;
    this.#onChange = onChange;
    button.addEventListener("click", () => this.#set(!this.#isOn));
  }

  /** Takes the camera's id. */
  update(camera) {
    this.#camera = camera.id;
  }

  /** Stops asking. */
  close() {
    clearTimeout(this.#timer);
    this.#grids = [];
    this.#button.setAttribute("aria-pressed", "false");
  }

  /** Draws the map over a picture of this size; nothing if it is not wanted. */
  draw(pen, width, height) {
    const most = Math.max(0, ...this.#grids.flatMap((grid) => grid.presence_ms));
    for (const { columns, rows, cells, presence_ms: presence } of this.#grids) {
      const [wide, high] = [width / columns, height / rows];
      cells.forEach((cell, i) => {
        // The root, because a queue that stands for minutes would make all walking invisible.
        const share = Math.sqrt(presence[i] / most);
        pen.fillStyle = `hsl(${55 - 50 * share} 100% 55% / ${0.15 + 0.5 * share})`;
        pen.fillRect((cell % columns) * wide, Math.floor(cell / columns) * high, wide, high);
      });
    }
  }

  get #isOn() {
    return this.#button.getAttribute("aria-pressed") === "true";
  }

  #set(isOn) {
    this.close();
    setText(this.#note, "");
    this.#button.setAttribute("aria-pressed", String(isOn));
    this.#onChange();
    if (isOn) this.#load();
  }

  async #load() {
    const body = await this.#ask(`v1/heat?last=24h&camera=${encodeURIComponent(this.#camera)}`);
    if (!this.#isOn) return;
    if (body) this.#grids = summed(body.classes);
    setText(this.#note, this.#grids.length ? "Where anybody was, last 24 h" : "No heat-map of the last 24 h yet");
    this.#onChange();
    this.#timer = setTimeout(() => this.#load(), REFRESH_MS);
  }
}

// All classes together, per size of grid.
function summed(layers) {
  const grids = new Map();
  for (const layer of layers) {
    const key = `${layer.columns}x${layer.rows}`;
    if (!grids.has(key)) grids.set(key, { columns: layer.columns, rows: layer.rows, sums: new Map() });
    const { sums } = grids.get(key);
    layer.cells.forEach((cell, i) => sums.set(cell, (sums.get(cell) ?? 0) + layer.presence_ms[i]));
  }
  return [...grids.values()].map(({ columns, rows, sums }) => ({
    columns,
    rows,
    cells: [...sums.keys()],
    presence_ms: [...sums.values()],
  }));
}
