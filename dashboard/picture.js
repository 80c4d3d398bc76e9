// One camera's picture: the newest frame with boxes, lines, arrows, side names and zones on one canvas.

import { oncePerFrame, prefersCalm, setHidden, setText } from "./dom.js";
import { along, inwards, middle, rightOf, sidesInwards } from "./geometry.js";

const FLASH_MS = 900;
// Longer than the server holds a request open: a picture of this age is no longer "now".
const OLD_AFTER_MS = 6_000;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 10_000;
// Browsers open six connections to one server. Two stay free for the live feed and for questions.
const FETCHES_AT_ONCE = 4;
const IN = "#58b4ff";
const OUT = "#ffab4a";
const INK = "rgba(9, 14, 19, 0.78)";
// Where along a line its sides may be named: away from its own name (0.12) and its arrow (0.5), best first.
const SIDE_SHARES = [0.84, 0.94, 0.74, 0.3, 0.22];

class Gate {
  #free = FETCHES_AT_ONCE;
  #queue = [];

  async enter() {
    if (this.#free > 0) this.#free--;
    else await new Promise((resolve) => this.#queue.push(resolve));
  }

  leave() {
    const next = this.#queue.shift();
    if (next) next();
    else this.#free++;
  }
}

const gate = new Gate();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Draws one camera for as long as its panel lives. */
export class Picture {
  #canvas;
  #note;
  #frame;
  #heat;
  #camera = null;
  #bitmap = null;
  #tracks = [];
  #shownMs = performance.now();
  #capturedMs = 0;
  #index = 0;
  #flashes = new Map();
  #isVisible = false;
  #isRunning = false;
  #isClosed = false;
  #paintSoon = oncePerFrame(() => this.#paint());
  #resizer;
  #watcher;
  #wake = () => this.#run();

  constructor({ canvas, note, frame, heat }) {
    this.#canvas = canvas;
    this.#note = note;
    this.#frame = frame;
    this.#heat = heat;
    this.#resizer = new ResizeObserver(() => this.#paintSoon());
    this.#resizer.observe(frame);
    this.#watcher = new IntersectionObserver(([entry]) => {
      this.#isVisible = entry.isIntersecting;
      this.#run();
    });
    this.#watcher.observe(frame);
    document.addEventListener("visibilitychange", this.#wake);
  }

  /** Takes the camera's newest description. */
  update(camera) {
    this.#camera = camera;
    const ratio = String((camera.width || 16) / (camera.height || 9));
    if (this.#frame.style.getPropertyValue("--ratio") !== ratio) this.#frame.style.setProperty("--ratio", ratio);
    this.#describe();
    this.#run();
    this.#paintSoon();
  }

  /** Lets a line light up in the colour of a direction. */
  flash(line, direction) {
    this.#flashes.set(line, { direction, atMs: performance.now() });
    this.#canvas.dataset.lastFlash = `${line} ${direction}`;
    this.#paintSoon();
  }

  /** Draws anew what lies over the picture. */
  repaint() {
    this.#paintSoon();
  }

  /** Stops asking for pictures and lets go of the last one. */
  close() {
    this.#isClosed = true;
    this.#resizer.disconnect();
    this.#watcher.disconnect();
    document.removeEventListener("visibilitychange", this.#wake);
    this.#bitmap?.close();
    this.#bitmap = null;
  }

  get #wants() {
    return !this.#isClosed && this.#isVisible && Boolean(this.#camera?.preview) && document.visibilityState === "visible";
  }

  // Asks for the next picture while somebody looks. The server answers when there is one.
  async #run() {
    if (this.#isRunning || !this.#wants) return;
    this.#isRunning = true;
    let retryMs = RETRY_FIRST_MS;
    while (this.#wants) {
      const isFine = await this.#next();
      this.#describe();
      if (isFine) retryMs = RETRY_FIRST_MS;
      else {
        await pause(Math.random() * retryMs);
        retryMs = Math.min(RETRY_MOST_MS, retryMs * 2);
      }
    }
    this.#isRunning = false;
  }

  async #next() {
    await gate.enter();
    try {
      const path = this.#camera.id.split("/").map(encodeURIComponent).join("/");
      const reply = await fetch(`v1/cameras/${path}/preview?after=${this.#index}`, { cache: "no-store" });
      if (reply.status === 204) {
        // No newer one: the camera rests, or its agent has begun to number its frames anew.
        this.#index = 0;
        return true;
      }
      if (!reply.ok) return false;
      await this.#show(new Uint8Array(await reply.arrayBuffer()));
      return true;
    } catch {
      // The network's or a torn picture's fault, both over with the next picture. The live feed says if it lasts.
      this.#index = 0;
      return false;
    } finally {
      gate.leave();
    }
  }

  async #show(bytes) {
    const end = bytes.indexOf(10);
    const about = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    const bitmap = await createImageBitmap(new Blob([bytes.subarray(end + 1)], { type: "image/jpeg" }));
    if (this.#isClosed) {
      bitmap.close();
      return;
    }
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#index = about.index;
    this.#tracks = about.tracks ?? [];
    if (about.captured_at_ms !== this.#capturedMs) this.#shownMs = performance.now();
    this.#capturedMs = about.captured_at_ms;
    this.#canvas.dataset.frames = String(Number(this.#canvas.dataset.frames ?? 0) + 1);
    this.#paintSoon();
  }

  // Says in words what is seen, also to those who cannot see it.
  #describe() {
    const camera = this.#camera;
    if (!camera) return;
    const isOld = performance.now() - this.#shownMs > OLD_AFTER_MS;
    let note = "";
    if (camera.state === "blind") note = `Blind: ${camera.reason || "nothing can be seen"}`;
    else if (camera.state === "offline") note = "Offline";
    else if (!camera.preview) note = "Pictures stay on the device";
    else if (isOld) note = "No picture right now";
    setHidden(this.#note, !note);
    setText(this.#note, note);
    this.#frame.classList.toggle("is-dark", ["blind", "offline"].includes(camera.state));
    const names = camera.lines.map((line) => {
      const [from, to] = sidesInwards(line);
      return from || to ? `${line.name}: in is from ${from} to ${to}` : line.name;
    });
    const label = `${camera.camera}. Lines: ${names.join("; ") || "none"}`;
    if (this.#canvas.getAttribute("aria-label") !== label) this.#canvas.setAttribute("aria-label", label);
  }

  #paint() {
    if (!this.#camera || this.#isClosed) return;
    const box = this.#frame.getBoundingClientRect();
    const sharp = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.round(box.width * sharp), Math.round(box.height * sharp)];
    if (!width || !height) return;
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const pen = this.#canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    if (this.#bitmap && this.#camera.preview) pen.drawImage(this.#bitmap, 0, 0, width, height);
    else ground(pen, width, height, sharp);
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    const view = {
      width: box.width,
      height: box.height,
      scaleX: box.width / (this.#camera.width || 1),
      scaleY: box.height / (this.#camera.height || 1),
      taken: [],
      unit: Math.max(0.85 * (rem() / 16), Math.min(2, box.width / 640)),
    };
    this.#heat.draw(pen, view.width, view.height);
    for (const zone of this.#camera.zones) drawZone(pen, view, zone);
    const isFresh = performance.now() - this.#shownMs < OLD_AFTER_MS;
    if (isFresh) for (const track of this.#tracks) drawTrack(pen, view, track);
    // Names stay readable where many people are: no track's number covers one.
    for (const zone of this.#camera.zones) nameZone(pen, view, zone);
    for (const line of this.#camera.lines) drawLine(pen, view, line, this.#glow(line.name));
    for (const line of this.#camera.lines) drawSides(pen, view, line, line.points.map((point) => place(view, point)));
    if (this.#flashes.size) this.#paintSoon();
  }

  #glow(name) {
    const flash = this.#flashes.get(name);
    if (!flash) return null;
    const age = (performance.now() - flash.atMs) / FLASH_MS;
    if (age >= 1) {
      this.#flashes.delete(name);
      return null;
    }
    return { colour: flash.direction === "in" ? IN : OUT, strength: prefersCalm() ? 1 : 1 - age };
  }
}

function ground(pen, width, height, sharp) {
  pen.fillStyle = "#1b232b";
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = "rgba(255, 255, 255, 0.05)";
  pen.lineWidth = sharp;
  pen.beginPath();
  const step = 32 * sharp;
  for (let x = step; x < width; x += step) pen.rect(x, 0, 0, height);
  for (let y = step; y < height; y += step) pen.rect(0, y, width, 0);
  pen.stroke();
}

const rem = () => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
const place = (view, [x, y]) => [x * view.scaleX, y * view.scaleY];

function trace(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
}

function drawZone(pen, view, zone) {
  const points = zone.points.map((point) => place(view, point));
  trace(pen, points);
  pen.closePath();
  pen.fillStyle = "rgba(255, 255, 255, 0.10)";
  pen.fill();
  pen.setLineDash([6 * view.unit, 5 * view.unit]);
  pen.lineWidth = 1.5 * view.unit;
  pen.strokeStyle = "rgba(255, 255, 255, 0.75)";
  pen.stroke();
  pen.setLineDash([]);
}

function nameZone(pen, view, zone) {
  chip(pen, view, zone.name, [place(view, middle(zone.points))], { weight: 500 });
}

function drawTrack(pen, view, track) {
  const [x1, y1] = place(view, track.box);
  const [x2, y2] = place(view, track.box.slice(2));
  pen.beginPath();
  pen.roundRect(x1, y1, x2 - x1, y2 - y1, 3 * view.unit);
  pen.lineWidth = 3 * view.unit;
  pen.strokeStyle = "rgba(9, 14, 19, 0.5)";
  pen.stroke();
  pen.lineWidth = 1.25 * view.unit;
  pen.strokeStyle = "#fff";
  pen.stroke();
  chip(pen, view, String(track.id), [[(x1 + x2) / 2, y1 - 8 * view.unit]], { size: 10.5, weight: 500, isLoose: true });
}

function drawLine(pen, view, line, glow) {
  const points = line.points.map((point) => place(view, point));
  pen.lineCap = pen.lineJoin = "round";
  if (glow) {
    trace(pen, points);
    pen.globalAlpha = 0.75 * glow.strength;
    pen.lineWidth = 16 * view.unit;
    pen.strokeStyle = glow.colour;
    pen.stroke();
    pen.globalAlpha = 1;
  }
  trace(pen, points);
  pen.lineWidth = 5.5 * view.unit;
  pen.strokeStyle = INK;
  pen.stroke();
  pen.lineWidth = 2.75 * view.unit;
  pen.strokeStyle = glow ? glow.colour : "#fff";
  pen.stroke();

  const half = along(points, 0.5);
  const way = inwards(half.direction, line.swap);
  arrow(pen, view, half.at, way);
  const tip = [half.at[0] + way[0] * 44 * view.unit, half.at[1] + way[1] * 44 * view.unit];
  chip(pen, view, "in", [tip], { colour: IN, weight: 700 });
  chip(pen, view, line.name, [along(points, 0.12).at, along(points, 0).at], { weight: 700 });
}

// The sides' names stand on each hand of A->B, where the arrow and other names leave room.
function drawSides(pen, view, line, points) {
  const names = line.sides ?? [];
  const spots = SIDE_SHARES.map((share) => along(points, share));
  names.forEach((name, hand) => {
    if (!name) return;
    const sign = hand === 0 ? -1 : 1;
    const places = spots.map(({ at, direction }) => {
      const right = rightOf(direction);
      const away = (15 + Math.abs(right[0]) * (4 + name.length * 3.4)) * view.unit * sign;
      return [at[0] + right[0] * away, at[1] + right[1] * away];
    });
    chip(pen, view, name, places, { size: 11, weight: 500 });
  });
}

function arrow(pen, view, [x, y], [dx, dy]) {
  const [length, head] = [30 * view.unit, 9 * view.unit];
  const tip = [x + dx * length, y + dy * length];
  const neck = [x + dx * (length - head), y + dy * (length - head)];
  const shape = () => {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(...neck);
    pen.moveTo(neck[0] - dy * head * 0.75, neck[1] + dx * head * 0.75);
    pen.lineTo(...tip);
    pen.lineTo(neck[0] + dy * head * 0.75, neck[1] - dx * head * 0.75);
    pen.closePath();
  };
  for (const [width, colour] of [[7, INK], [3.5, IN]]) {
    shape();
    pen.lineWidth = width * view.unit;
    pen.strokeStyle = colour;
    pen.stroke();
  }
  pen.fillStyle = IN;
  pen.fill();
}

// Writes a text on a dark ground at the first of the places that no other text has taken, else at the first.
function chip(pen, view, text, places, { colour = "#fff", size = 12, weight = 600, isLoose = false } = {}) {
  const px = Math.max(10, size * view.unit);
  pen.font = `${weight} ${px}px system-ui, sans-serif`;
  const [width, height] = [pen.measureText(text).width + px * 0.9, px * 1.5];
  const boxes = places.map(([x, y]) => ({
    left: Math.min(Math.max(2, x - width / 2), view.width - width - 2),
    top: Math.min(Math.max(2, y - height / 2), view.height - height - 2),
    width,
    height,
  }));
  const box = boxes.find((candidate) => !view.taken.some((other) => overlap(candidate, other))) ?? boxes[0];
  if (!isLoose) view.taken.push(box);
  pen.beginPath();
  pen.roundRect(box.left, box.top, width, height, height * 0.3);
  pen.fillStyle = INK;
  pen.fill();
  pen.fillStyle = colour;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, box.left + width / 2, box.top + height / 2 + px * 0.05);
}

function overlap(a, b) {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}
