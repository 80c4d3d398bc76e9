// Countline's page: one live connection in, numbers and pictures out.

import { CameraPanel } from "./camera.js";
import { CountersPanel } from "./counters.js";
import { byId, oncePerFrame, setHidden, setNumber, setText } from "./dom.js";
import { clockTime, number, setTimezone, signed, since, timezone } from "./format.js";
import { Live } from "./live.js";
import { Model } from "./model.js";
import { TrendPanel } from "./trend.js";
import { ZonesPanel } from "./zones.js";

const RELOADED_FOR = "countline-reloaded-for";

const model = new Model();
const panels = new Map();
const zones = new ZonesPanel();
const counters = new CountersPanel();
let clockOffsetMs = 0;
let version = null;
let isNewConnection = true;

const nowMs = () => Date.now() + clockOffsetMs;
const trend = new TrendPanel(ask, nowMs);
const renderSoon = oncePerFrame(render);
const live = new Live({ message: onMessage, state: onState, signIn: showSignIn, probe });

/** Asks the server; null if it can't answer now. Being signed out shows the form. */
async function ask(path) {
  try {
    const reply = await fetch(path, { headers: { accept: "application/json" } });
    if (reply.status === 401) showSignIn();
    return reply.ok ? await reply.json() : null;
  } catch {
    return null;
  }
}

async function probe() {
  try {
    const reply = await fetch("v1/cameras", { cache: "no-store" });
    if (reply.status === 401) return "signed-out";
    return reply.ok ? "ok" : "down";
  } catch {
    return "down";
  }
}

function onMessage(message, transport) {
  clockOffsetMs = message.server_time_ms - Date.now();
  document.body.dataset.transport = transport;
  const { crossings, panes } = model.apply(message);
  if (message.type === "snapshot") {
    setTimezone(message.timezone);
    trend.reload();
    checkVersion();
  }
  for (const crossing of crossings) panels.get(crossing.camera)?.flash(crossing.line, crossing.direction);
  if (panes.length) trend.feed(panes);
  if (message.type !== "heartbeat") renderSoon();
}

function onState(state, lastMs) {
  document.body.dataset.connection = state;
  const text = {
    live: "Live",
    reconnecting: "Reconnecting",
    stale: `Stale since ${lastMs ? since(lastMs + clockOffsetMs, nowMs()) : "the start"}`,
  }[state];
  setText(byId("connection-text"), text);
  if (state !== "live") isNewConnection = true;
}

// A newer server may speak of things that this page doesn't know: load its own page, but never in a circle.
async function checkVersion() {
  if (!isNewConnection) return;
  isNewConnection = false;
  const health = await ask("v1/health");
  if (!health) {
    isNewConnection = true;
    return;
  }
  version ??= health.version;
  if (health.version === version || sessionStorage.getItem(RELOADED_FOR) === health.version) return;
  sessionStorage.setItem(RELOADED_FOR, health.version);
  location.reload();
}

function render() {
  if (!model.hasSnapshot) return;
  renderHeader();
  renderCameras();
  counters.render(model, nowMs());
  zones.render(model);
  trend.setLines(model);
}

function renderHeader() {
  const sites = [...new Set([...model.cameras.values()].map((camera) => camera.site))];
  setText(byId("site"), sites.join(", ") || "Countline");
  setText(byId("timezone"), timezone());
  const totals = model.totals();
  setNumber(byId("total-in"), number(totals.in));
  setNumber(byId("total-out"), number(totals.out));
  setNumber(byId("total-net"), signed(totals.in - totals.out));
  document.title = `▲ ${number(totals.in)} ▼ ${number(totals.out)} · ${sites.join(", ") || "Countline"}`;
}

function renderCameras() {
  const list = byId("cameras");
  for (const [id, panel] of panels) {
    if (model.cameras.has(id)) continue;
    panel.close();
    panels.delete(id);
  }
  for (const [id, camera] of model.cameras) {
    let panel = panels.get(id);
    if (!panel) {
      panel = new CameraPanel(ask);
      panels.set(id, panel);
      list.append(panel.root);
    }
    panel.render(camera, model, nowMs());
  }
  list.dataset.count = String(Math.min(panels.size, 2));
  setText(byId("no-cameras"), "No camera has reported yet. Start one: countline up --camera rtsp://…");
  setHidden(byId("no-cameras"), panels.size > 0);
}

function showSignIn() {
  live.stop();
  onState("reconnecting", 0);
  setText(byId("connection-text"), "Signed out");
  setHidden(byId("sign-in"), false);
  setHidden(byId("main"), true);
  byId("token").focus();
}

async function signIn(event) {
  event.preventDefault();
  const field = byId("token");
  const error = byId("sign-in-error");
  setText(error, "");
  try {
    const reply = await fetch("v1/session", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token: field.value }),
    });
    if (!reply.ok) {
      setText(error, await whyRefused(reply));
      field.select();
      return;
    }
  } catch {
    setText(error, "The box does not answer. Try again.");
    return;
  }
  field.value = "";
  setHidden(byId("sign-in"), true);
  setHidden(byId("main"), false);
  setText(byId("connection-text"), "Connecting");
  live.start();
}

async function whyRefused(reply) {
  if (reply.status === 401) return "That is not the token of this box.";
  const problem = await reply.json().catch(() => ({}));
  return [problem.detail ?? "The box could not check the token.", problem.hint ?? "Try again."].join(" ");
}

function everySecond() {
  if (model.hasSnapshot) {
    setText(byId("clock"), clockTime(nowMs()));
    if (document.visibilityState === "visible" && document.body.dataset.connection === "live") trend.tick();
  }
  setTimeout(everySecond, 1_000 - (nowMs() % 1_000));
}

byId("sign-in-form").addEventListener("submit", signIn);
everySecond();
// Asked first, so that a signed-out visitor sees the form at once and no failed connection.
probe().then((answer) => (answer === "signed-out" ? showSignIn() : live.start()));
