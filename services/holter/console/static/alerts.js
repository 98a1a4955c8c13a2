// The list of alerts, what is said aloud, and acknowledging.

import { byId, make, mark, write } from "./dom.js";
import { clearedAlerts, model, openAlerts, serverNow } from "./model.js";
import { ask, session } from "./session.js";
import { clock, kind, level, span, symbol } from "./words.js";

const PAST = 30;
const items = new Map();

/** One alert as an item of a list; also used for a patient's own. */
export function alertItem(alert, { strip = false } = {}) {
  const link = make("a", { href: `#/patient/${encodeURIComponent(alert.device)}`, text: alert.device });
  const item = make("li", { class: "alert", "data-level": alert.priority, "data-seen": alert.acknowledged ? "yes" : "no", "data-active": alert.active ? "yes" : "no", "data-id": alert.id },
    make("p", { class: "headline" }, make("span", { class: "symbol", "aria-hidden": "true", text: symbol(alert) }), make("strong", { text: kind(alert.kind) }), make("span", { class: "level", text: level(alert) })),
    make("p", { class: "whose" }, link, make("span", { class: "when" })),
    make("p", { class: "reason", text: alert.reason }),
    make("p", { class: "delay", text: `Decided ${alert.delay.toFixed(1)} s after onset at ${clock(alert.onset)}` }),
    ...alert.acks.map((ack) => make("p", { class: "ack", text: `✓ ${ack.by}, ${clock(ack.at)}${ack.reason ? `: ${ack.reason}` : ""}` })));
  if (alert.active && !alert.acknowledged) {
    item.append(make("button", { type: "button", class: "acknowledge", text: "Acknowledge", "aria-label": `Acknowledge ${kind(alert.kind)} of ${alert.device}`, onclick: () => acknowledge(alert.id) }));
  }
  if (strip) item.append(make("canvas", { class: "strip-canvas", role: "img", "aria-label": `ECG 10 s before and after the onset of ${kind(alert.kind)}` }));
  return item;
}

export function showAlerts() {
  const now = serverNow();
  const open = openAlerts();
  list(byId("alert-list"), open);
  list(byId("past-list"), clearedAlerts().slice(0, PAST));
  byId("no-alerts").hidden = open.length > 0;
  for (const item of document.querySelectorAll("li.alert")) {
    const alert = model.alerts.get(item.dataset.id);
    if (alert) write(item.querySelector(".when"), alert.active ? `${span((now - alert.onset) / 1000)} ago` : `cleared ${clock(alert.decided)}`);
  }
  const waiting = open.filter((alert) => !alert.acknowledged);
  const high = waiting.filter((alert) => alert.priority === "high").length;
  write(byId("counts"), `${model.patients.size} ${model.patients.size === 1 ? "patient" : "patients"} · ${waiting.length} to acknowledge${high ? ` · ${high} high` : ""}`);
  mark(byId("counts"), "data-high", high ? "yes" : "no");
  document.title = `${high ? `(${high} high) ` : ""}${model.cohort || "Holter"} – Holter`;
}

/** Items are made anew only when their alert is other; so focus and what a screen reader has read stay. */
function list(element, alerts) {
  const wanted = new Set(alerts.map((alert) => alert.id));
  for (const child of [...element.children]) if (!wanted.has(child.dataset.id)) child.remove();
  let place = element.firstElementChild;
  for (const alert of alerts) {
    const known = items.get(alert.id);
    let item = known?.alert === alert && known.item;
    if (!item) {
      item = alertItem(alert);
      if (known) {
        const focused = known.item.contains(document.activeElement);
        if (known.item === place) place = place.nextElementSibling;
        known.item.remove();
        if (focused) queueMicrotask(() => item.querySelector("a").focus());
      }
      items.set(alert.id, { alert, item });
    }
    if (item === place) place = place.nextElementSibling;
    else element.insertBefore(item, place);
  }
  for (const id of items.keys()) if (!model.alerts.has(id)) items.delete(id);
}

/** Only red interrupts; the rest waits for its turn. A snapshot is summed up. */
export function announce(asking, snapshot) {
  const high = asking.filter((alert) => alert.priority === "high");
  const rest = asking.filter((alert) => alert.priority !== "high");
  const say = (alert) => `${level(alert)}: ${kind(alert.kind)}, ${alert.device}. ${alert.reason}.`;
  if (snapshot) {
    if (asking.length) byId(high.length ? "urgent" : "polite").textContent = `${asking.length} alerts to acknowledge, ${high.length} of high priority.`;
    return;
  }
  if (high.length) byId("urgent").textContent = high.map(say).join(" ");
  if (rest.length) byId("polite").textContent = rest.map(say).join(" ");
}

let current = null;

export function acknowledge(id) {
  const alert = model.alerts.get(id);
  if (!alert) return;
  current = id;
  const dialog = byId("acknowledge"), form = dialog.querySelector("form");
  write(dialog.querySelector(".what"), `${symbol(alert)} ${kind(alert.kind)} of ${alert.device}: ${alert.reason}`);
  form.by.value = session.name;
  form.reason.value = "";
  form.token.value = "";
  needToken(form, !session.may.includes("acknowledge"));
  write(form.querySelector(".fault"), "");
  dialog.showModal();
  (form.by.value ? form.reason : form.by).focus();
}

function needToken(form, needed) {
  form.querySelector(".token").hidden = !needed;
  form.token.required = needed;
}

export function setUpAcknowledging(changed) {
  const dialog = byId("acknowledge"), form = dialog.querySelector("form");
  form.querySelector("[value=cancel]").onclick = () => dialog.close();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = form.querySelector(".main");
    button.disabled = true;
    const token = form.token.required ? form.token.value.trim() : session.token;
    try {
      await ask(`/api/alerts/${current}/acknowledgement`, { token, body: { by: form.by.value.trim(), reason: form.reason.value.trim() } });
      session.name = form.by.value.trim();
      if (form.token.required) {
        session.token = token;
        session.may = ["acknowledge", "view"];
        changed();
      }
      dialog.close();
    } catch (error) {
      if (error.status === 401 || error.status === 403) needToken(form, true);
      write(form.querySelector(".fault"), `Not acknowledged: ${error.message}.`);
    } finally {
      button.disabled = false;
    }
  };
}
