// Puts the parts together: address, link, preferences, health.

import { announce, setUpAcknowledging, showAlerts } from "./alerts.js";
import { freeze } from "./clock.js";
import { byId, make, mark, write } from "./dom.js";
import { connect } from "./link.js";
import { freshness, model, serverNow, takeAlerts, takeFigures } from "./model.js";
import { closePatient, openPatient, repaintPatient, showPatient } from "./patient.js";
import { ask, session, takeToken } from "./session.js";
import { repaint } from "./sweep.js";
import { hear } from "./trace.js";
import { setOrder, showWard } from "./ward.js";
import { span } from "./words.js";

const STATES = { connecting: "Connecting", live: "Live", lost: "Connection lost", refused: "Not signed in" };
const LAG = 5; // s

let state = "connecting";
let asked = false; // to be shown, once a frame at most

function show() {
  if (asked) return;
  asked = true;
  setTimeout(() => {
    asked = false;
    showWard();
    showAlerts();
    showPatient();
  }, 30);
}

const link = connect({
  batch(chunks) { chunks.forEach(hear); },
  message(message) {
    if (message.type === "hello") {
      Object.assign(model, { cohort: message.cohort, namespace: message.namespace, ahead: message.now - Date.now() });
      session.may = message.may;
      write(byId("cohort"), model.cohort);
      write(byId("namespace"), model.namespace);
      showSession();
    } else if (message.type === "alerts") {
      model.alerts.clear();
      announce(takeAlerts(message.alerts), true);
    } else if (message.type === "alert") {
      announce(takeAlerts([message.alert]), false);
    } else if (message.type === "figures") {
      takeFigures(message);
      showHealth();
    }
    show();
  },
  state(name) {
    state = name;
    model.live = name === "live";
    write(byId("link"), STATES[name]);
    mark(byId("link"), "data-state", name);
    document.documentElement.dataset.link = name;
    showTrouble();
    show();
    if (name === "refused") signIn(session.token ? "This token is not valid any more." : "");
  },
});

function showTrouble() {
  const silent = model.heard ? (serverNow() - model.heard) / 1000 : 0;
  let words = "";
  if (state === "lost") words = `Connection lost: what you see is ${silent ? `${span(silent)} old` : "not live"}. Trying again.`;
  else if (state === "live" && model.health.store) words = "The store does not answer the console: alerts and ECG may be missing here. Alerts still go out to their receivers.";
  const line = byId("trouble");
  line.hidden = !words;
  write(line, words);
}

function showHealth() {
  const { health } = model;
  if (!model.heard) return;
  const stale = [...model.patients.values()].filter((patient) => freshness(patient).stale).length;
  const scored = health.scored ? (serverNow() - health.scored) / 1000 : null;
  const rows = [
    ["Patients", String(model.patients.size), false],
    ["Silent", String(stale), stale > 0],
    ["ECG arrives here after", health.lag === null ? "–" : `${health.lag.toFixed(1)} s`, health.lag > LAG],
    ["Last scored", scored === null ? "–" : `${span(scored)} ago`, scored > 30],
    ["Model", health.revision ? `revision ${health.revision}` : "learning", false],
    ["Store", health.store ? "does not answer" : `${Math.round(health.readSeconds * 1000)} ms`, Boolean(health.store)],
  ];
  const list = byId("health");
  if (list.children.length !== rows.length) list.replaceChildren(...rows.map(([name]) => make("div", {}, make("dt", { text: name }), make("dd"))));
  rows.forEach(([, value, bad], i) => {
    write(list.children[i].lastElementChild, bad ? `! ${value}` : value);
    mark(list.children[i], "data-bad", bad ? "yes" : "no");
  });
}

function showSession() {
  const may = session.may.includes("acknowledge") ? "May acknowledge" : session.may.length ? "Read only" : "";
  write(byId("session"), session.may.length ? `${may} · sign out` : "Sign in");
}

function signIn(fault) {
  const dialog = byId("sign-in"), form = dialog.querySelector("form");
  write(form.querySelector(".fault"), fault);
  form.token.value = "";
  if (!dialog.open) dialog.showModal();
}

function setUpSignIn() {
  const dialog = byId("sign-in"), form = dialog.querySelector("form");
  form.querySelector("[value=cancel]").onclick = () => dialog.close();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const token = form.token.value.trim();
    try {
      await ask("/api/session", { token });
      session.token = token;
      dialog.close();
      link.close();
      link.open();
    } catch (error) {
      write(form.querySelector(".fault"), error.status === 401 ? "This is not a token of this ward." : `${error.message}.`);
    }
  };
  byId("session").onclick = () => {
    if (session.may.length) {
      session.forget();
      link.close();
      location.reload();
    } else signIn("");
  };
}

/** Preferences of this browser; they say nothing of a patient. */
function preference(id, apply) {
  const select = byId(id), kept = localStorage.getItem(`holter.${id}`);
  if (kept && [...select.options].some((option) => option.value === kept)) select.value = kept;
  select.onchange = () => {
    localStorage.setItem(`holter.${id}`, select.value);
    apply(select.value);
  };
  apply(select.value);
}

function paintAgain() {
  repaint();
  repaintPatient();
}

function route() {
  const found = /^#\/patient\/(.+)$/.exec(location.hash);
  byId("ward-view").hidden = Boolean(found);
  byId("patient-view").hidden = !found;
  if (found) openPatient(decodeURIComponent(found[1]));
  else closePatient();
}

takeToken();
preference("order", setOrder);
preference("size", (value) => { document.documentElement.dataset.size = value; });
preference("theme", (value) => { document.documentElement.dataset.theme = value; requestAnimationFrame(paintAgain); });
matchMedia("(prefers-color-scheme: light)").addEventListener("change", paintAgain);
byId("freeze").onclick = ({ target }) => {
  const on = target.getAttribute("aria-pressed") !== "true";
  target.setAttribute("aria-pressed", String(on));
  write(target, on ? "Strips frozen" : "Freeze strips");
  document.documentElement.dataset.frozen = on ? "yes" : "no";
  freeze(on);
};
setUpSignIn();
setUpAcknowledging(showSession);
addEventListener("hashchange", () => { takeToken(); route(); });
setInterval(() => { showTrouble(); show(); if (!model.live) showHealth(); }, 1000);
route();
if (session.token) link.open();
else {
  write(byId("link"), STATES.refused);
  signIn("");
}
