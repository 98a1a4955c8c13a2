// What things are called, and how numbers and times are written.

const KINDS = {
  asystole: ["Asystole", "Asystole"],
  ventricular_fibrillation: ["Ventricular fibrillation", "V-Fib"],
  ventricular_tachycardia: ["Ventricular tachycardia", "V-Tach"],
  extreme_bradycardia: ["Extreme bradycardia", "Extr brady"],
  extreme_tachycardia: ["Extreme tachycardia", "Extr tachy"],
  tachycardia: ["Tachycardia", "Tachy"],
  bradycardia: ["Bradycardia", "Brady"],
  ventricular_run: ["Ventricular run", "V-Run"],
  ectopy: ["Ectopy", "Ectopy"],
  irregular_rhythm: ["Irregular rhythm", "Irregular"],
  anomaly: ["Anomaly", "Anomaly"],
  lead_off: ["Lead off", "Lead off"],
  ecg_lost: ["ECG lost", "ECG lost"],
  poor_signal: ["Poor signal", "Poor signal"],
  no_data: ["No data", "No data"],
};

const LEVELS = { high: 3, medium: 2, low: 1 };

/** An alert's kind in words, long or short; a kind of a newer worker is written as it is. */
export function kind(name, short = false) {
  const known = KINDS[name];
  return known ? known[short ? 1 : 0] : name.replaceAll("_", " ");
}

/** Three, two or one mark: asterisks for the patient, exclamation marks for the equipment. */
export function symbol(alert) {
  return (alert.technical ? "!" : "*").repeat(LEVELS[alert.priority] ?? 1);
}

export function level(alert) {
  return `${alert.priority.toUpperCase()}${alert.technical ? " technical" : ""}`;
}

/** Seconds, minutes or hours. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 100) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** The heart rate, or a dash: for what is old, and where no QRS complex is there to be counted, whatever was counted. */
const NOTHING_TO_COUNT = ["ventricular_fibrillation", "asystole", "ecg_lost", "lead_off"];
export function heartRate({ rate }, alerts, stale) {
  const without = alerts.some((alert) => alert.active && NOTHING_TO_COUNT.includes(alert.kind));
  return stale || without || rate === null || rate === undefined ? "–" : String(rate);
}

const WITHOUT = ["lead_off", "ecg_lost", "no_data"];

/** The signal in words: what an open alert says of it, else its quality. */
export function signal({ quality, leadOff }, alerts, stale) {
  if (stale) return "Signal not known";
  const found = alerts.find((alert) => alert.active && WITHOUT.includes(alert.kind));
  if (found) return kind(found.kind);
  if (leadOff) return "Lead off";
  if (quality === null || quality === undefined) return "Signal not judged yet";
  return `Signal ${quality >= 0.75 ? "good" : quality >= 0.5 ? "fair" : "poor"}`;
}

export const byName = new Intl.Collator("en", { numeric: true }).compare;
