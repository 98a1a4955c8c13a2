// One patient: live strip, the last minutes on paper, alerts with their strips, scores and features.

import { alertItem } from "./alerts.js";
import { byId, make, mark, write } from "./dom.js";
import { byUrgency, freshness, model } from "./model.js";
import { MM, paintCurve, paintRows } from "./paper.js";
import { ask } from "./session.js";
import { Sweep } from "./sweep.js";
import { traceOf } from "./trace.js";
import { parse } from "./wire.js";
import { clock, heartRate, kind, level, signal, span, symbol } from "./words.js";

const EVERY = 5000;
const MINUTES = { 1: 60, 2: 120, 5: 300 };
const FEATURES = {
  residual_own: "Beat shape against own", decorrelation_own: "Decorrelation", width: "QRS width", residual_dominant: "Against dominant beat",
  compensation: "Compensatory pause", prematurity: "Prematurity", rr_change: "R-R change", premature_residual: "Early and misshapen",
  band_rise: "Band power", tilt: "Spectral tilt", spread: "Spread", kurtosis: "Kurtosis",
};

let view = null;

export function openPatient(id) {
  if (view?.id === id) return;
  closePatient();
  view = new View(id);
}

export function closePatient() {
  view?.close();
  view = null;
}

export const showPatient = () => view?.show();
export const repaintPatient = () => view?.paint();

class View {
  constructor(id) {
    this.id = id;
    this.strips = new Map();
    this.state = make("p", { class: "state" });
    this.rate = make("span", { class: "rate", text: "–" });
    this.facts = make("p", { class: "facts" });
    this.live = make("canvas", { role: "img", "aria-label": `Live ECG of ${id}` });
    this.age = make("span", { class: "age" });
    this.paper = make("canvas", { class: "paper", role: "img", "aria-label": `ECG of ${id}, the last minutes` });
    this.paperNote = make("p", { class: "note" });
    this.span = make("select", { id: "paper-span", onchange: () => this.read() }, ...Object.keys(MINUTES).map((m) => make("option", { value: m, text: `${m} min` })));
    this.alerts = make("ul", { class: "own-alerts" });
    this.none = make("p", { class: "empty", text: "No alert of this patient is known." });
    this.curves = make("div", { class: "curves" });
    const title = make("h2", { text: id, tabindex: "-1" });
    this.head = make("div", { class: "patient-head", "data-level": "none" },
      make("a", { class: "back", href: "#/", text: "‹ All patients" }), title, this.state,
      make("p", { class: "heart" }, this.rate, make("span", { class: "unit", text: "/min" })), this.facts);
    byId("patient-view").replaceChildren(this.head,
      make("section", { "aria-label": "Live ECG" }, make("div", { class: "strip live" }, this.live, this.age)),
      make("section", { class: "half" }, make("h3", { text: "Alerts" }), this.none, this.alerts),
      make("section", { class: "half" }, make("h3", { text: "Scores and features, last 30 minutes" }), this.curves),
      make("section", { class: "wide" }, make("div", { class: "row" }, make("h3", { text: "ECG on paper" }), make("label", { text: "Span " }, this.span),
        make("button", { type: "button", text: "Read again", onclick: () => this.read() })), this.paperNote, make("div", { class: "scroller" }, this.paper)));
    this.sweep = new Sweep(this.live, traceOf(id));
    this.sized = new ResizeObserver(() => this.paint());
    this.sized.observe(byId("patient-view"));
    this.timer = setInterval(() => this.history(), EVERY);
    this.read();
    this.history();
    this.show();
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  close() {
    clearInterval(this.timer);
    this.sized.disconnect();
    this.sweep.remove();
    byId("patient-view").replaceChildren();
  }

  show() {
    const patient = model.patients.get(this.id);
    const alerts = [...model.alerts.values()].filter((alert) => alert.device === this.id)
      .sort((a, b) => Number(b.active) - Number(a.active) || (a.active ? byUrgency(a, b) : b.decided - a.decided));
    const top = alerts.find((alert) => alert.active);
    const { age, stale } = patient ? freshness(patient) : { age: 0, stale: true };
    mark(this.head, "data-level", top ? top.priority : "none");
    mark(this.head, "data-seen", top?.acknowledged ? "yes" : "no");
    mark(this.live.parentElement, "data-stale", stale ? "yes" : "no");
    write(this.state, top ? `${symbol(top)} ${kind(top.kind)} · ${level(top)}${top.acknowledged ? " · ✓ acknowledged" : ""}` : patient ? "✓ No alert" : "Not in the ward now");
    write(this.rate, heartRate(patient ?? {}, alerts, stale));
    write(this.age, stale && patient ? `Last data ${span(age)} ago` : "");
    write(this.facts, patient ? `${signal(patient, alerts, stale)} · quality ${patient.quality?.toFixed(2) ?? "not known"} · score ${patient.score ?? "not known"}` : "");
    this.none.hidden = alerts.length > 0;
    this.showAlerts(alerts.slice(0, 20));
  }

  showAlerts(alerts) {
    const key = alerts.map((alert) => `${alert.id}${alert.decided}${alert.acks.length}${alert.active}`).join();
    if (key === this.shown) return;
    this.shown = key;
    this.alerts.replaceChildren(...alerts.map((alert) => alertItem(alert, { strip: true })));
    for (const alert of alerts) this.strip(alert);
  }

  /** The samples around an alert; they are there some 13 s after it was raised. */
  async strip(alert) {
    if (!this.strips.has(alert.id)) {
      try {
        const answer = await ask(`/api/alerts/${alert.id}/strip`);
        this.strips.set(alert.id, parse(await answer.arrayBuffer()));
      } catch (error) {
        if (view === this && error.status === 404 && Date.now() - alert.raised < 60000) setTimeout(() => this.strip(alert), 3000);
      }
    }
    this.paintStrip(alert);
  }

  paintStrip(alert) {
    const canvas = this.alerts.querySelector(`[data-id="${CSS.escape(alert.id)}"] canvas`);
    const chunks = this.strips.get(alert.id);
    if (!canvas) return;
    canvas.hidden = !chunks;
    if (!chunks || canvas.clientWidth < 20) return;
    const { t0, fs, samples } = chunks[0];
    const seconds = samples.length / fs;
    paintRows(canvas, chunks, { width: canvas.clientWidth, rowHeight: 22 * MM, end: t0 + seconds * 1000, seconds, onset: alert.onset });
  }

  async read() {
    try {
      const seconds = MINUTES[this.span.value];
      const answer = await ask(`/api/patients/${encodeURIComponent(this.id)}/ecg?seconds=${seconds}`);
      this.chunks = parse(await answer.arrayBuffer());
      this.seconds = seconds;
      this.paint();
    } catch (error) {
      write(this.paperNote, `Not read: ${error.message}.`);
    }
  }

  async history() {
    try {
      this.past = await (await ask(`/api/patients/${encodeURIComponent(this.id)}`)).json();
      this.paintHistory();
    } catch (error) {
      if (!this.past) this.curves.replaceChildren(make("p", { class: "empty", text: `Not read: ${error.message}.` }));
    }
  }

  paint() {
    if (this.chunks) {
      const last = this.chunks.at(-1);
      const end = last ? last.t0 + (last.samples.length * 1000) / last.fs : 0;
      const width = this.paper.parentElement.clientWidth;
      if (last && width > 20) {
        const shown = paintRows(this.paper, this.chunks, { width, end, seconds: this.seconds });
        write(this.paperNote, `${clock(end - shown * 1000)} to ${clock(end)}, 25 mm/s, 10 mm/mV, from 0.5 Hz`);
      } else write(this.paperNote, last ? "" : "No sample is stored.");
    }
    for (const id of this.strips.keys()) if (model.alerts.has(id)) this.paintStrip(model.alerts.get(id));
    this.paintHistory();
  }

  paintHistory() {
    const past = this.past;
    if (!past) return;
    if (!past.ends.length) {
      this.curves.replaceChildren(make("p", { class: "empty", text: "No window has been scored yet." }));
      return;
    }
    const to = past.ends.at(-1), from = Math.max(past.ends[0], to - 1800000) - 1000;
    const threshold = [...model.alerts.values()].find((alert) => alert.threshold !== null)?.threshold;
    const rows = [["Score", past.score, { threshold: threshold ?? undefined }], ["Signal quality", past.quality, { low: 0, high: 1 }],
      ...Object.entries(past.features).map(([name, values]) => [FEATURES[name] ?? name, values, {}])];
    if (this.curves.children.length !== rows.length || this.curves.firstElementChild.tagName !== "FIGURE") {
      this.curves.replaceChildren(...rows.map(([name]) => make("figure", {}, make("figcaption", {}, make("span", { text: name }), make("span", { class: "last" })), make("canvas", { "aria-hidden": "true" }))));
    }
    rows.forEach(([, values, more], i) => {
      const figure = this.curves.children[i], canvas = figure.querySelector("canvas");
      const known = values.filter((value) => value !== null);
      const near = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2));
      write(figure.querySelector(".last"), known.length ? `now ${values.at(-1) === null ? "–" : near(values.at(-1))} · ${near(Math.min(...known))} to ${near(Math.max(...known))}` : "not known yet");
      if (canvas.clientWidth > 10) paintCurve(canvas, past.ends, values, { width: canvas.clientWidth, height: canvas.clientHeight, from, to, ...more });
    });
  }
}
