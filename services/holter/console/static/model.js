// What is known: patients, alerts, health. No element is touched here.

import { byName } from "./words.js";

const STALE = 6000; // ms of silence, as the worker's own limit
const CLEARED_KEPT = 200;

export const model = {
  cohort: "", namespace: "",
  patients: new Map(),
  alerts: new Map(),
  health: {},
  ahead: 0, // ms that the server's clock is ahead of this one
  heard: 0, // server time of the newest figures
  live: false,
};

export const serverNow = () => Date.now() + model.ahead;

export function takeFigures({ now, health, patients }) {
  model.ahead = now - Date.now();
  model.heard = now;
  model.health = health;
  const present = new Set(patients.map((patient) => patient.id));
  for (const id of model.patients.keys()) if (!present.has(id)) model.patients.delete(id);
  for (const patient of patients) model.patients.set(patient.id, patient);
}

/** Enters alerts; those that ask to be seen and were not known to. */
export function takeAlerts(alerts) {
  const asking = [];
  for (const alert of alerts) {
    const known = model.alerts.get(alert.id);
    model.alerts.set(alert.id, alert);
    const asks = alert.active && !alert.acknowledged;
    const asked = known && known.active && !known.acknowledged && known.priority === alert.priority;
    if (asks && !asked) asking.push(alert);
  }
  const cleared = [...model.alerts.values()].filter((alert) => !alert.active).sort((a, b) => b.decided - a.decided);
  for (const alert of cleared.slice(CLEARED_KEPT)) model.alerts.delete(alert.id);
  return asking;
}

/** The less, the sooner somebody has to come. What is red stays before all yellow, acknowledged too, while it goes on. */
export function urgency(alert) {
  return 4 * alert.rank + (alert.acknowledged ? 2 : 0) + (alert.technical ? 1 : 0);
}

export const byUrgency = (a, b) => urgency(a) - urgency(b) || b.onset - a.onset || byName(a.device, b.device);

export function openAlerts() {
  return [...model.alerts.values()].filter((alert) => alert.active).sort(byUrgency);
}

export function clearedAlerts() {
  return [...model.alerts.values()].filter((alert) => !alert.active).sort((a, b) => b.decided - a.decided);
}

export function alertsByDevice() {
  const found = new Map();
  for (const alert of openAlerts()) {
    if (!found.has(alert.device)) found.set(alert.device, []);
    found.get(alert.device).push(alert);
  }
  return found;
}

/** How old a patient's newest sample is, in seconds, and whether that is too old to be looked at as now. */
export function freshness(patient) {
  const age = Math.max(0, serverNow() - patient.heard);
  return { age: age / 1000, stale: !model.live || age > STALE };
}
