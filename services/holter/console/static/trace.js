// The last seconds of each patient's samples, whoever draws them; a tab that sleeps keeps no more than these.

const KEPT = 13000; // ms
const traces = new Map();

/** A patient's samples: `chunks` in order of time, and `broken`, other after the device's clock was set. */
export function traceOf(device) {
  if (!traces.has(device)) traces.set(device, { chunks: [], broken: 0 });
  return traces.get(device);
}

export function forget(device) {
  traces.delete(device);
}

export function hear({ device, t0, fs, samples }) {
  const trace = traceOf(device), last = trace.chunks.at(-1);
  if (last && (t0 < last.end - 1 || t0 > last.end + KEPT)) {
    if (t0 > trace.chunks[0].t0 - KEPT && t0 < last.end) return; // again, or late
    trace.chunks.length = 0;
    trace.broken += 1;
  }
  const end = t0 + (samples.length * 1000) / fs;
  trace.chunks.push({ t0, fs, samples, end });
  while (trace.chunks[0].end < end - KEPT) trace.chunks.shift();
}
