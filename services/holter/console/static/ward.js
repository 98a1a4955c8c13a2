// The tiles: one a patient, most urgent first.

import { byId, make, mark, write } from "./dom.js";
import { alertsByDevice, byUrgency, freshness, model } from "./model.js";
import { Sweep } from "./sweep.js";
import { forget, traceOf } from "./trace.js";
import { byName, heartRate, kind, level, signal, span, symbol } from "./words.js";

const SETTLE = 1000; // ms between two orders: a tile must not run away from a finger
const AT_ONCE = 20; // tiles written in one frame: laying out 50 takes most of the time that a frame has
const tiles = new Map();
let waiting = [];
let fitted = ""; // number of tiles and size of the window that their size was chosen for
let order = "urgency";
let ordered = 0;

class Tile {
  constructor(id) {
    this.id = id;
    this.symbol = make("span", { class: "symbol", "aria-hidden": "true" });
    this.words = make("span", { class: "kind" });
    this.short = make("span", { class: "kind-short", "aria-hidden": "true" });
    this.level = make("span", { class: "level" });
    this.more = make("span", { class: "more" });
    this.seen = make("span", { class: "seen" });
    this.rate = make("span", { class: "rate" });
    this.quality = make("span", { class: "quality" });
    this.age = make("span", { class: "age" });
    this.reason = make("p", { class: "reason" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.element = make("li", { class: "tile", "data-id": id },
      make("p", { class: "state" }, this.symbol, this.words, this.short, this.level, this.more, this.seen),
      make("div", { class: "figures" },
        make("div", { class: "who" },
          make("h3", {}, make("a", { href: `#/patient/${encodeURIComponent(id)}`, text: id })),
          make("p", { class: "signal" }, this.quality)),
        make("p", { class: "heart" }, this.rate, make("span", { class: "unit", text: "/min" }))),
      this.reason,
      make("div", { class: "strip" }, this.canvas, this.age));
    this.sweep = new Sweep(this.canvas, traceOf(id));
  }

  show(patient, alerts) {
    const top = alerts[0];
    const { age, stale } = freshness(patient);
    mark(this.element, "data-level", top ? top.priority : "none");
    mark(this.element, "data-seen", top?.acknowledged ? "yes" : "no");
    mark(this.element, "data-stale", stale ? "yes" : "no");
    write(this.symbol, top ? symbol(top) : stale ? "–" : "✓");
    write(this.words, top ? kind(top.kind) : stale ? "No contact" : "No alert");
    write(this.short, top ? kind(top.kind, true) : stale ? "No contact" : "No alert");
    write(this.level, top ? level(top) : "");
    write(this.more, alerts.length > 1 ? `+${alerts.length - 1}` : "");
    write(this.seen, top?.acknowledged ? "✓ acknowledged" : "");
    write(this.reason, top ? top.reason : "");
    write(this.rate, heartRate(patient, alerts, stale));
    write(this.quality, signal(patient, alerts, stale));
    write(this.age, stale ? `Last data ${span(age)} ago` : "");
  }
}

export function setOrder(name) {
  order = name;
  ordered = 0;
  showWard();
}

/** Writes what is other, those with an alert first, and brings the tiles into their order. */
export function showWard() {
  const alerts = alertsByDevice();
  for (const [id, tile] of tiles) {
    if (!model.patients.has(id)) {
      tile.sweep.remove();
      tile.element.remove();
      tiles.delete(id);
      forget(id);
    }
  }
  for (const id of model.patients.keys()) {
    if (!tiles.has(id)) {
      tiles.set(id, new Tile(id));
      ordered = 0;
    }
  }
  const more = waiting.length > 0;
  waiting = [...alerts.keys(), ...[...model.patients.keys()].filter((id) => !alerts.has(id))];
  if (!more) showSome();
  byId("empty").hidden = model.patients.size > 0;
  if (performance.now() - ordered > SETTLE) arrange(alerts);
  fit();
}

function showSome() {
  const alerts = alertsByDevice();
  for (const id of waiting.splice(0, AT_ONCE)) {
    const patient = model.patients.get(id);
    if (patient) tiles.get(id)?.show(patient, alerts.get(id) ?? []);
  }
  if (waiting.length > 0) requestAnimationFrame(showSome);
}

/** The largest tiles that are all in sight at once; where none are, by their number. Looks only after a change of size. */
function fit() {
  const list = byId("tiles"), count = list.children.length, key = [count, innerWidth, innerHeight].join();
  if (key === fitted || list.offsetParent === null) return;
  fitted = key;
  const below = document.querySelector("footer").offsetHeight + parseFloat(getComputedStyle(byId("ward")).paddingBottom);
  const room = innerHeight - list.getBoundingClientRect().top - scrollY - below;
  const fits = (size) => {
    list.dataset.count = size;
    return list.offsetHeight <= room;
  };
  if (!["few", "some"].some(fits)) list.dataset.count = count <= 12 ? "few" : count <= 48 ? "some" : "many";
}

function arrange(alerts) {
  ordered = performance.now();
  const rank = (id) => alerts.get(id)?.[0];
  const wanted = [...tiles.keys()].sort((a, b) => {
    if (order === "name") return byName(a, b);
    const one = rank(a), other = rank(b);
    if (one && other) return byUrgency(one, other) || byName(a, b);
    if (one || other) return one ? -1 : 1;
    const quiet = Number(freshness(model.patients.get(b)).stale) - Number(freshness(model.patients.get(a)).stale);
    return quiet || byName(a, b);
  });
  const list = byId("tiles"), focused = document.activeElement;
  let place = list.firstElementChild;
  for (const id of wanted) {
    const { element } = tiles.get(id);
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
  if (focused && list.contains(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
}
