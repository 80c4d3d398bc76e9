// One camera's panel: its picture, its lines with today's numbers, and how well it was watched.

import { setHidden, setNumber, setText, stamp } from "./dom.js";
import { decimal, number, share, since } from "./format.js";
import { GateList } from "./gates.js";
import { sidesInwards } from "./geometry.js";
import { HeatMap } from "./heat.js";
import { keyOf } from "./model.js";
import { Picture } from "./picture.js";

// Below this the bar takes the colour of trouble; the server calls such a count incomplete.
const WHOLE_COVERAGE = 0.95;

/** Keeps one panel in step with one camera. */
export class CameraPanel {
  #parts;
  #picture;
  #heat;
  #gates;
  #rows = new Map();

  /** `ask` answers a path with JSON, or null if the server can't now. */
  constructor(ask) {
    const { root, parts } = stamp("camera-template");
    this.root = root;
    this.#parts = parts;
    this.#gates = new GateList(parts.gates);
    this.#heat = new HeatMap({ button: parts.heat, note: parts["heat-note"], ask, onChange: () => this.#picture.repaint() });
    this.#picture = new Picture({ canvas: parts.canvas, note: parts.note, frame: parts.frame, heat: this.#heat });
  }

  /** Shows what the model knows of the camera. */
  render(camera, model, nowMs) {
    const parts = this.#parts;
    this.root.dataset.camera = camera.id;
    this.root.dataset.state = camera.state;
    setText(parts.name, camera.camera);
    setText(parts["state-text"], stateText(camera, nowMs));
    setHidden(parts.synthetic, !camera.synthetic);
    this.#renderLines(camera, model);
    this.#gates.render(camera, model);
    this.#renderHealth(camera);
    this.#heat.update(camera);
    this.#picture.update(camera);
  }

  /** Lets a line light up. */
  flash(line, direction) {
    this.#picture.flash(line, direction);
  }

  /** Removes the panel and all that works for it. */
  close() {
    this.#heat.close();
    this.#picture.close();
    this.root.remove();
  }

  #renderLines(camera, model) {
    const names = new Set(camera.lines.map((line) => line.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.root.remove();
      this.#rows.delete(name);
    }
    for (const line of camera.lines) {
      let row = this.#rows.get(line.name);
      if (!row) {
        row = stamp("line-template");
        row.root.dataset.line = line.name;
        this.#rows.set(line.name, row);
        this.#parts.lines.append(row.root);
      }
      renderLine(row.parts, line, model.lines.get(keyOf(camera.id, line.name)));
      renderDoubts(row.parts.doubts, doubtsOf(camera, line.name));
    }
  }

  #renderHealth(camera) {
    const { meter, fill, coverage, speed } = this.#parts;
    const part = Math.min(1, Math.max(0, camera.coverage ?? 0));
    const scale = `scaleX(${part.toFixed(4)})`;
    if (fill.style.transform !== scale) fill.style.transform = scale;
    meter.classList.toggle("is-low", part < WHOLE_COVERAGE);
    meter.setAttribute("aria-valuenow", String(Math.round(part * 100)));
    setText(coverage, `${share(part)} watched, last 5 min`);
    const words = [];
    if (camera.state === "ok") {
      if (camera.fps) words.push(`${decimal(camera.fps)} fps`);
      if (camera.latency_ms) words.push(`${number(camera.latency_ms)} ms`);
    }
    if (camera.model) words.push(camera.model);
    if (camera.backlog) words.push(`${number(camera.backlog)} events to catch up`);
    setText(speed, words.join(" · "));
  }
}

function renderLine(parts, line, counts) {
  setText(parts.name, line.name);
  const [from, to] = sidesInwards(line);
  setText(parts.sides, from || to ? `in: ${from || "…"} → ${to || "…"}` : "");
  for (const direction of ["in", "out"]) {
    setNumber(parts[direction], counts ? number(counts.today[direction]) : "–");
    setText(parts[`last-${direction}`], counts ? `${number(counts.last_minute[direction])} last min` : "");
  }
}

/** Returns the sentences that speak against a line, in the order in which they came up. */
function doubtsOf(camera, line) {
  return Object.values(camera.doubts ?? {})
    .filter((doubt) => doubt.line === line)
    .map((doubt) => doubt.says);
}

function renderDoubts(list, sentences) {
  setHidden(list, sentences.length === 0);
  const said = [...list.children].map((item) => item.textContent);
  if (said.join("\n") === sentences.join("\n")) return;
  list.replaceChildren(
    ...sentences.map((sentence) => {
      const item = document.createElement("li");
      item.textContent = sentence;
      return item;
    }),
  );
}

function stateText(camera, nowMs) {
  switch (camera.state) {
    case "ok":
      return camera.reason ? `Watching; ${camera.reason}` : "Watching";
    case "blind":
      return camera.reason ? `Blind: ${camera.reason}` : "Blind";
    case "offline":
      return camera.last_seen_ms ? `Offline since ${since(camera.last_seen_ms, nowMs)}` : "Offline";
    default:
      return "Starting";
  }
}
